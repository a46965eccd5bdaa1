/** One avatar on the page: its packet, posed and sorted when something changed. */

import { FRAME_FLOATS, triangleFrames } from "./binding";
import { viewCamera, type ViewCamera } from "./camera";
import { Order } from "./order";
import { Light, unlit } from "./light";
import type { Motion, Packet } from "./packet";
import { Residual } from "./residual";
import { Rig } from "./rig";
import { FRAME_TEXELS, GAUSSIAN_LAYERS, ITEMS_PER_ROW } from "./shaders";

export class Scene {
  readonly rig: Rig;
  readonly order: Order;
  readonly camera: ViewCamera = viewCamera();
  /** Frames of the triangles, padded to whole rows of the texture. */
  readonly frames: Float32Array;
  readonly frameRows: number;
  /** Null where the avatar has no residual head. */
  readonly residual: Residual | null;
  /** Null where the avatar has no light. */
  private readonly light: Light | null;
  private readonly forward = new Float64Array(4);

  constructor(readonly packet: Packet) {
    const faces = packet.faces.length / 3;
    this.rig = new Rig(packet);
    this.residual = packet.residual === null ? null : new Residual(packet.residual);
    this.order = new Order(packet.triangles, packet.positions, faces, this.residual);
    this.frameRows = Math.ceil(faces / ITEMS_PER_ROW);
    this.frames = new Float32Array(this.frameRows * ITEMS_PER_ROW * FRAME_TEXELS * 4);
    if (FRAME_FLOATS !== 4 * FRAME_TEXELS) throw new Error("a frame fills its texels");
    unlit(this.frames);
    this.light = packet.light === null ? null : new Light(packet.light, this.resting(), faces);
  }

  /** The triangles' frames at rest. */
  private resting(): Float32Array {
    this.rig.pose(this.packet.rest);
    triangleFrames(this.rig.vertices, this.packet.faces, this.frames);
    return this.frames;
  }

  /** Pose mesh and triangles. */
  pose(motion: Motion): void {
    this.rig.pose(motion);
    triangleFrames(this.rig.vertices, this.packet.faces, this.frames);
    this.light?.shine(this.frames);
    this.residual?.update(motion);
  }

  /** Sort for `camera`. */
  sort(): void {
    for (let i = 0; i < 4; i++) this.forward[i] = this.camera.cameraFromWorld[8 + i]!;
    this.order.sort(this.frames, this.forward);
  }
}

/** What the shader reads of N Gaussians, layer by layer: position and triangle, quaternion, extent and opacity, colour. */
export function gaussianTexels(packet: Packet): { texels: Float32Array; rows: number } {
  const count = packet.triangles.length;
  const rows = Math.ceil(count / ITEMS_PER_ROW);
  const layer = 4 * ITEMS_PER_ROW * rows;
  const texels = new Float32Array(GAUSSIAN_LAYERS * layer);
  for (let i = 0; i < count; i++) {
    const at = 4 * i;
    for (let k = 0; k < 3; k++) {
      texels[at + k] = packet.positions[3 * i + k]!;
      texels[2 * layer + at + k] = Math.exp(packet.logScales[3 * i + k]!);
      texels[3 * layer + at + k] = packet.colors[3 * i + k]!;
    }
    for (let k = 0; k < 4; k++) texels[layer + at + k] = packet.quaternions[4 * i + k]!;
    texels[at + 3] = packet.triangles[i]!;
    texels[2 * layer + at + 3] = 1 / (1 + Math.exp(-packet.opacityLogits[i]!));
  }
  return { texels, rows };
}
