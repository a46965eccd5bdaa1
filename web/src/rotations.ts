/** Rotations as axis-angle vectors and 3 x 3 matrices, row by row, in plain arrays. */

export type Vector = readonly number[] | Float32Array | Float64Array;
export type Matrix = Float64Array;

export function identity(): Matrix {
  return Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
}

/** Rodrigues' formula; `out` gets the matrix of the vector at `offset`. */
export function matrixFromAxisAngle(vector: Vector, offset = 0, out: Matrix = identity()): Matrix {
  const x = vector[offset]!, y = vector[offset + 1]!, z = vector[offset + 2]!;
  const squared = x * x + y * y + z * z;
  const angle = Math.sqrt(squared);
  const small = squared < 1e-6;
  // The series leave 1e-14 at this angle; the closed forms would lose digits to cancellation.
  const sine = small ? 1 - squared / 6 : Math.sin(angle) / angle;
  const half = Math.sin(angle / 2);
  const versine = small ? 0.5 - squared / 24 : (2 * half * half) / squared;
  out[0] = 1 - versine * (y * y + z * z);
  out[1] = versine * x * y - sine * z;
  out[2] = versine * x * z + sine * y;
  out[3] = versine * x * y + sine * z;
  out[4] = 1 - versine * (x * x + z * z);
  out[5] = versine * y * z - sine * x;
  out[6] = versine * x * z - sine * y;
  out[7] = versine * y * z + sine * x;
  out[8] = 1 - versine * (x * x + y * y);
  return out;
}

/** Writes the axis-angle vector of angle at most pi to `out` at `offset`. */
export function axisAngleFromMatrix(m: Vector, out: Float32Array | Float64Array, offset = 0): void {
  const m00 = m[0]!, m11 = m[4]!, m22 = m[8]!;
  const wx = m[7]! - m[5]!, wy = m[2]! - m[6]!, wz = m[3]! - m[1]!;
  const xy = m[1]! + m[3]!, xz = m[2]! + m[6]!, yz = m[5]! + m[7]!;
  const ww = 1 + m00 + m11 + m22, xx = 1 + m00 - m11 - m22, yy = 1 - m00 + m11 - m22, zz = 1 - m00 - m11 + m22;
  // A row of 4 q q^T is q times a number; the one with the largest diagonal entry is the accurate one.
  const best = Math.max(ww, xx, yy, zz);
  let w: number, x: number, y: number, z: number;
  if (best === ww) [w, x, y, z] = [ww, wx, wy, wz];
  else if (best === xx) [w, x, y, z] = [wx, xx, xy, xz];
  else if (best === yy) [w, x, y, z] = [wy, xy, yy, yz];
  else [w, x, y, z] = [wz, xz, yz, zz];
  const length = Math.sqrt(w * w + x * x + y * y + z * z) * (w < 0 ? -1 : 1);
  w /= length;
  x /= length;
  y /= length;
  z /= length;
  const sine = Math.sqrt(x * x + y * y + z * z);
  const factor = sine < 1e-8 ? 2 : (2 * Math.atan2(sine, w)) / sine;
  out[offset] = factor * x;
  out[offset + 1] = factor * y;
  out[offset + 2] = factor * z;
}

/** a b */
export function multiply(a: Vector, b: Vector, out: Matrix = identity()): Matrix {
  for (let i = 0; i < 3; i++) {
    const x = a[3 * i]!, y = a[3 * i + 1]!, z = a[3 * i + 2]!;
    for (let j = 0; j < 3; j++) out[3 * i + j] = x * b[j]! + y * b[3 + j]! + z * b[6 + j]!;
  }
  return out;
}

export function transpose(m: Vector, out: Matrix = identity()): Matrix {
  for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) out[3 * i + j] = m[3 * j + i]!;
  return out;
}

/** Writes m v to `out`, which may be `v`. */
export function rotate(m: Vector, v: Vector, out: Float64Array): void {
  const x = v[0]!, y = v[1]!, z = v[2]!;
  for (let i = 0; i < 3; i++) out[i] = m[3 * i]! * x + m[3 * i + 1]! * y + m[3 * i + 2]! * z;
}

/** A turn by yaw about y, then pitch about x, then roll about z, each about the axes the turn before has moved. */
export function matrixFromAngles(pitch: number, yaw: number, roll: number): Matrix {
  const turn = matrixFromAxisAngle([0, yaw, 0]);
  const nod = matrixFromAxisAngle([pitch, 0, 0]);
  return multiply(multiply(turn, nod), matrixFromAxisAngle([0, 0, roll]));
}
