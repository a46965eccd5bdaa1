/** Light that stays where it is while a head turns (avatar/light.py): one factor of brightness for each triangle. */

import { FRAME_FLOATS } from "./binding";

/** Numbers of a light. */
export const SHADES = 8;
const DARKEST = 0.6;
const BRIGHTEST = 1.5;
/** Where a triangle's frame, as the shader reads it, holds the brightness: behind its normal. */
const PLACE = 7;

export class Light {
  /** For each triangle, the light that falls on it at rest. */
  private readonly atRest: Float32Array;

  /**
   * @param light Eight numbers.
   * @param frames Of the triangles at rest, as `triangleFrames` writes them.
   * @param faces How many triangles there are.
   */
  constructor(private readonly light: Float32Array, frames: Float32Array, faces: number) {
    this.atRest = new Float32Array(faces);
    for (let face = 0; face < faces; face++) this.atRest[face] = this.on(frames, face * FRAME_FLOATS);
  }

  /** Write each triangle's brightness beside its normal. Allocates nothing. */
  shine(frames: Float32Array): void {
    for (let face = 0, at = 0; face < this.atRest.length; face++, at += FRAME_FLOATS) {
      const factor = 1 + this.on(frames, at) - this.atRest[face]!;
      frames[at + PLACE] = Math.min(Math.max(factor, DARKEST), BRIGHTEST);
    }
  }

  /** What falls on the triangle whose frame begins there. */
  private on(frames: Float32Array, at: number): number {
    const { light } = this;
    const x = frames[at + 4]!, y = frames[at + 5]!, z = frames[at + 6]!;
    return light[0]! * x + light[1]! * y + light[2]! * z + light[3]! * x * y + light[4]! * y * z + light[5]! * x * z +
      light[6]! * (x * x - y * y) + light[7]! * (3 * z * z - 1);
  }
}

/** Brightness 1 for every triangle: an avatar without a light. */
export function unlit(frames: Float32Array): void {
  for (let at = PLACE; at < frames.length; at += FRAME_FLOATS) frames[at] = 1;
}
