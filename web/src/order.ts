/**
 * The order in which Gaussians are drawn: farthest first, by a counting sort on 16 bits of depth. Over a head's depth
 * of some 0.4 m one step is 6 micrometres. Equal ones keep the order of the Python renderer. No call allocates memory.
 */

import { FRAME_FLOATS } from "./binding";
import type { Residual } from "./residual";

const STEPS = 65536;
/** Gaussians whose centre is this near, or behind the camera, are not drawn (metres). */
export const NEAR = 0.01;

export class Order {
  /** Two triangles per Gaussian, back to front: corners 4 i .. 4 i + 3 belong to Gaussian i. */
  readonly indices: Uint32Array;
  /** How many Gaussians `indices` lists. */
  length = 0;

  private readonly depths: Float32Array;
  private readonly keys: Uint16Array;
  private readonly slots = new Uint32Array(STEPS + 1);
  /** (F, 4): depth = row . (position in the frame, 1). */
  private readonly rows: Float32Array;
  /** (C,): what the features of a triangle's Gaussians add to their depth. */
  private readonly mix: Float32Array;

  /**
   * @param triangles (N,) triangle of each Gaussian.
   * @param positions (N, 3) in the triangles' frames.
   * @param faces How many triangles there are.
   * @param residual Moves the Gaussians in their frames; null for none.
   */
  constructor(
    private readonly triangles: Int32Array, private readonly positions: Float32Array, faces: number,
    private readonly residual: Residual | null,
  ) {
    const count = triangles.length;
    this.indices = new Uint32Array(6 * count);
    this.depths = new Float32Array(count);
    this.keys = new Uint16Array(count);
    this.rows = new Float32Array(4 * faces);
    this.mix = new Float32Array(residual?.head.channels ?? 0);
  }

  /**
   * Sort by depth before a camera.
   *
   * @param frames (F, 12) of `triangleFrames`.
   * @param forward (4,) the camera's third row: depth = forward . (x, y, z, 1).
   */
  sort(frames: Float32Array, forward: Float64Array): void {
    this.measure(frames, forward);
    const { depths, keys, slots, indices } = this;
    const count = depths.length;
    let nearest = Infinity, farthest = -Infinity;
    for (let i = 0; i < count; i++) {
      const depth = depths[i]!;
      if (depth > NEAR) {
        if (depth < nearest) nearest = depth;
        if (depth > farthest) farthest = depth;
      }
    }
    slots.fill(0);
    const scale = farthest > nearest ? (STEPS - 1) / (farthest - nearest) : 0;
    let drawn = 0;
    // Slot k + 1 counts the Gaussians that are k steps before the farthest.
    for (let i = 0; i < count; i++) {
      const depth = depths[i]!;
      if (!(depth > NEAR)) continue;
      const key = ((farthest - depth) * scale) | 0;
      keys[i] = key;
      slots[key + 1] = slots[key + 1]! + 1;
      drawn++;
    }
    for (let key = 1; key <= STEPS; key++) slots[key] = slots[key]! + slots[key - 1]!;
    // From the last to the first: front to back, equal depths are drawn in the order of their numbers.
    for (let i = count - 1; i >= 0; i--) {
      if (!(depths[i]! > NEAR)) continue;
      const key = keys[i]!;
      const slot = slots[key]!;
      slots[key] = slot + 1;
      const at = 6 * slot;
      const corner = 4 * i;
      indices[at] = corner;
      indices[at + 1] = corner + 1;
      indices[at + 2] = corner + 2;
      indices[at + 3] = corner + 2;
      indices[at + 4] = corner + 1;
      indices[at + 5] = corner + 3;
    }
    this.length = drawn;
  }

  private measure(frames: Float32Array, forward: Float64Array): void {
    const { rows, triangles, positions, depths } = this;
    const fx = forward[0]!, fy = forward[1]!, fz = forward[2]!, fw = forward[3]!;
    for (let at = 0, row = 0; row < rows.length; at += FRAME_FLOATS, row += 4) {
      const ex = frames[at]!, ey = frames[at + 1]!, ez = frames[at + 2]!;
      const nx = frames[at + 4]!, ny = frames[at + 5]!, nz = frames[at + 6]!;
      const scale = frames[at + 3]!;
      rows[row] = scale * (fx * ex + fy * ey + fz * ez);
      rows[row + 1] = scale * (fx * nx + fy * ny + fz * nz);
      rows[row + 2] = scale * (fx * (ey * nz - ez * ny) + fy * (ez * nx - ex * nz) + fz * (ex * ny - ey * nx));
      rows[row + 3] = fx * frames[at + 8]! + fy * frames[at + 9]! + fz * frames[at + 10]! + fw;
    }
    for (let i = 0, at = 0; i < depths.length; i++, at += 3) {
      const row = 4 * triangles[i]!;
      depths[i] = rows[row]! * positions[at]! + rows[row + 1]! * positions[at + 1]! +
        rows[row + 2]! * positions[at + 2]! + rows[row + 3]!;
    }
    if (this.residual !== null) this.addResidual(this.residual);
  }

  /** Depth is linear in the position, and this in the features: one product for each triangle, then one sum each. */
  private addResidual(residual: Residual): void {
    const { rows, triangles, depths, mix } = this;
    const { matrix, features, head: { channels }, quartets } = residual;
    const stride = 4 * (quartets + 1), last = 4 * quartets;
    let constant = 0, before = -1;
    for (let i = 0, at = 0; i < depths.length; i++, at += channels) {
      const triangle = triangles[i]!;
      if (triangle !== before) {
        before = triangle;
        const x = rows[4 * triangle]!, y = rows[4 * triangle + 1]!, z = rows[4 * triangle + 2]!;
        for (let c = 0; c < channels; c++) {
          mix[c] = x * matrix[c]! + y * matrix[stride + c]! + z * matrix[2 * stride + c]!;
        }
        constant = x * matrix[last]! + y * matrix[stride + last]! + z * matrix[2 * stride + last]!;
      }
      // Four sums, so that none waits for the one before it.
      let sum = depths[i]! + constant, second = 0, third = 0, fourth = 0, c = 0;
      for (; c + 3 < channels; c += 4) {
        sum += mix[c]! * features[at + c]!;
        second += mix[c + 1]! * features[at + c + 1]!;
        third += mix[c + 2]! * features[at + c + 2]!;
        fourth += mix[c + 3]! * features[at + c + 3]!;
      }
      for (; c < channels; c++) sum += mix[c]! * features[at + c]!;
      depths[i] = sum + second + third + fourth;
    }
  }
}
