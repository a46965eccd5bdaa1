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
  /** Wait until everything is drawn. */
  finish(): Promise<void>;
  /**
   * What was drawn last, top row first, (height, width, 4) bytes; colours multiplied by alpha. To be called in the same
   * task as `draw`: afterwards the browser may have taken the picture.
   */
  readPixels(): Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * WebGL2, or WebGPU where it is asked for by "#webgpu" behind the page's address and there is one: its pictures were
 * compared with WebGL2's, but only as the page reads them back, never on a screen (docs/viewer.md).
 *
 * @throws UserError when the browser has neither.
 */
export async function makeRenderer(canvas: HTMLCanvasElement, asked = location.hash): Promise<Renderer> {
  if (asked === "#webgpu") {
    const renderer = await WebgpuRenderer.make(canvas, true).catch((error: unknown) => {
      console.info("WebGPU is left alone:", error);
      return null;
    });
    if (renderer !== null) return renderer;
  }
  return new WebglRenderer(canvas);
}
