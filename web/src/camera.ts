/** The camera that orbits an avatar, starting from its source's own, as in spatialavatar/avatar/framing.py. */

import type { Packet } from "./packet";
import { identity, matrixFromAxisAngle, multiply, rotate, transpose } from "./rotations";

/** How the page looks at all of its avatars. */
export interface View {
  /** Radians around the head: positive towards the subject's left, and up. */
  yaw: number;
  pitch: number;
  /** Factor on the focal length about the head's place in the picture. */
  zoom: number;
  /** Shift of the picture in shares of its shorter side, to the right and down. */
  shiftX: number;
  shiftY: number;
}

export function frontView(): View {
  return { yaw: 0, pitch: 0, zoom: 1, shiftX: 0, shiftY: 0 };
}

/** A camera before a viewport of `width` x `height` pixels. */
export interface ViewCamera {
  /** 3 x 4, row by row. */
  readonly cameraFromWorld: Float64Array;
  focalX: number;
  focalY: number;
  centerX: number;
  centerY: number;
  width: number;
  height: number;
}

export function viewCamera(): ViewCamera {
  return { cameraFromWorld: new Float64Array(12), focalX: 1, focalY: 1, centerX: 0, centerY: 0, width: 1, height: 1 };
}

const turn = identity(), nod = identity(), back = identity(), rows = identity(), rotation = identity();
const offset = new Float64Array(3), place = new Float64Array(3);

/** How much wider than a narrow viewport the source's picture may be: at its sides are shoulders. */
const MOST_CROPPED = 1.45;

/** Writes the camera that shows the source's picture in a viewport, moved as `view` says. Allocates nothing. */
export function lookAt(packet: Packet, view: View, width: number, height: number, out: ViewCamera): void {
  const { camera, center } = packet;
  const source = camera.cameraFromWorld;
  offset[0] = offset[2] = 0;
  offset[1] = view.yaw;
  matrixFromAxisAngle(offset, 0, turn);
  offset[1] = 0;
  offset[0] = -view.pitch;
  matrixFromAxisAngle(offset, 0, nod);
  transpose(multiply(turn, nod, rows), back);
  for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) rows[3 * i + j] = source[4 * i + j]!;
  multiply(rows, back, rotation);
  rotate(back, center, offset);
  for (let i = 0; i < 3; i++) offset[i] = center[i]! - offset[i]!;
  rotate(rows, offset, offset);
  rotate(rows, center, place);
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) out.cameraFromWorld[4 * i + j] = rotation[3 * i + j]!;
    out.cameraFromWorld[4 * i + 3] = offset[i]! + source[4 * i + 3]!;
    place[i] = place[i]! + source[4 * i + 3]!;
  }
  const k = camera.intrinsics;
  const fit = Math.min((MOST_CROPPED * width) / camera.width, height / camera.height);
  const pixelX = k[0]! * (place[0]! / place[2]!) + k[2]!;
  const pixelY = k[4]! * (place[1]! / place[2]!) + k[5]!;
  const left = (width - fit * camera.width) / 2 + view.shiftX * Math.min(width, height);
  // A bust stands on the lower edge; below the source's picture there is nothing.
  const top = height - fit * camera.height + view.shiftY * Math.min(width, height);
  out.focalX = fit * view.zoom * k[0]!;
  out.focalY = fit * view.zoom * k[4]!;
  // The head keeps its place in the picture.
  out.centerX = fit * (pixelX - view.zoom * (pixelX - k[2]!)) + left;
  out.centerY = fit * (pixelY - view.zoom * (pixelY - k[5]!)) + top;
  out.width = width;
  out.height = height;
}
