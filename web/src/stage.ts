/** The stage: canvas, scenes and view; poses, sorts and draws them when something changed. */

import { frontView, lookAt, type View } from "./camera";
import type { Motion, Packet } from "./packet";
import type { Color, Renderer } from "./renderer";
import { Scene } from "./scene";

/** Milliseconds on the CPU of the last frame that did each. */
export interface Timing {
  pose: number;
  sort: number;
  /** Uploads and draw calls as the page sees them; a GPU works on after that. */
  submit: number;
}

/** Pixels along a side. */
const LARGEST = 4096;

export class Stage {
  readonly scenes: Scene[] = [];
  readonly timing: Timing = { pose: 0, sort: 0, submit: 0 };
  readonly view: View = frontView();
  background: Color | null = [1, 1, 1];

  private readonly posed = new Set<Scene>();

  constructor(readonly renderer: Renderer) {
    renderer.restored = () => {
      for (const scene of this.scenes) this.posed.add(scene);
      this.draw();
    };
  }

  /** Add a scene, not posed yet. */
  add(packet: Packet): Scene {
    const scene = new Scene(packet);
    this.scenes.push(scene);
    return scene;
  }

  remove(scene: Scene): void {
    const index = this.scenes.indexOf(scene);
    if (index < 0) return;
    this.scenes.splice(index, 1);
    this.posed.delete(scene);
    this.renderer.release(scene);
  }

  /** Pose a scene; the next `draw` shows it. */
  pose(scene: Scene, motion: Motion): void {
    const start = performance.now();
    scene.pose(motion);
    this.timing.pose = performance.now() - start;
    this.posed.add(scene);
  }

  /** Give the canvas as many pixels, or as many as the device can. */
  resize(width: number, height: number): void {
    const { canvas } = this.renderer;
    const fit = Math.min(1, LARGEST / Math.max(width, height));
    const whole = (side: number): number => Math.max(1, Math.round(side * fit));
    if (canvas.width !== whole(width)) canvas.width = whole(width);
    if (canvas.height !== whole(height)) canvas.height = whole(height);
  }

  /** Sort and draw everything as the view says. */
  draw(): void {
    const { canvas } = this.renderer;
    const count = this.scenes.length;
    let sorting = 0;
    const start = performance.now();
    this.scenes.forEach((scene, index) => {
      // Whole pixels, all of the canvas.
      const left = Math.round((canvas.width * index) / count);
      const right = Math.round((canvas.width * (index + 1)) / count);
      lookAt(scene.packet, this.view, right - left, canvas.height, scene.camera);
      const begin = performance.now();
      scene.sort();
      sorting += performance.now() - begin;
      if (this.posed.delete(scene)) this.renderer.uploadPose(scene);
      this.renderer.uploadOrder(scene);
    });
    this.renderer.draw(this.scenes, this.background);
    this.timing.sort = sorting;
    this.timing.submit = performance.now() - start - sorting;
  }
}
