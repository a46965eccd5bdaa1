/** What a renderer does, and which one a browser gets. */

import type { Scene } from "./scene";
import { WebglRenderer } from "./webgl_renderer";
import { WebgpuRenderer } from "./webgpu_renderer";

export type Color = readonly [number, number, number];

/** Draws scenes side by side on one canvas. */
export interface Renderer {
  readonly canvas: HTMLCanvasElement;
  /** What draws, for people: "WebGL2, ANGLE (NVIDIA ...)". */
  readonly deviceName: string;
  /** Called when the graphics device was lost and another took its place: every scene must be uploaded again. */
  restored: () => void;
  /** Upload the scene's pose. */
  uploadPose(scene: Scene): void;
  /** Upload the scene's order. */
  uploadOrder(scene: Scene): void;
  /**
   * Draw scenes from left to right, each in its own part of the canvas as wide as its camera.
   *
   * @param background null for transparent.
   */
  draw(scenes: readonly Scene[], background: Color | null): void;
  /** Forget a scene. */
  release(scene: Scene): void;
  /** Whether there is a picture where one was drawn; to be called in the same task as `draw`. */
  works(): Promise<boolean>;
  /** Wait until everything is drawn. */
  finish(): Promise<void>;
  /**
   * What was drawn last, top row first, (height, width, 4) bytes; colours multiplied by alpha. To be called in the same
   * task as `draw`: afterwards the browser may have taken the picture.
   */
  readPixels(): Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * WebGPU where there is one that does not draw in software, and WebGL2 elsewhere: there it is quicker. "#webgl" or
 * "#webgpu" behind the page's address asks for one of the two, in software or not.
 *
 * @throws UserError when the browser has neither.
 */
export async function makeRenderer(canvas: HTMLCanvasElement, asked = location.hash): Promise<Renderer> {
  if (asked !== "#webgl") {
    const renderer = await within(PATIENCE, WebgpuRenderer.make(canvas, asked === "#webgpu")).catch((error: unknown) => {
      console.info("WebGPU is left alone:", error);
      return null;
    });
    if (renderer !== null) return renderer;
  }
  return new WebglRenderer(canvas);
}

/** Milliseconds that a graphics device may take to answer: some drivers never do, and nobody looks at an empty page longer. */
export const PATIENCE = 6000;

/** What a promise comes to. @throws Error when it takes longer than some milliseconds. */
export async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  let timer = 0;
  const late = new Promise<never>((_, reject) => {
    timer = window.setTimeout(() => reject(new Error(`no answer within ${milliseconds / 1000} s`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
