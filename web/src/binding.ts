/**
 * The frames of all triangles (Eq. 1), as in spatialavatar/avatar/binding.py:
 *
 *     a0 = unit(v1 - v0)    a1 = unit normal    a2 = a0 x a1    s = (|v1 - v0| + |a2 . (v2 - v0)|) / 2
 *
 * A Gaussian at x in the frame is at s (a0 a1 a2) x + centre in the world. Twelve floats per triangle, as the shader
 * reads them: a0, s, a1, brightness (`light.ts`), centre, 0.
 */

export const FRAME_FLOATS = 12;
const MIN_EDGE = 1e-8;
const MIN_SINE = 1e-6;

/** Writes the frames of `faces` (F, 3) over `vertices` (V, 3) to `frames` (F, 12). Allocates nothing. */
export function triangleFrames(vertices: Float32Array, faces: Int32Array, frames: Float32Array): void {
  for (let corner = 0, at = 0; corner < faces.length; corner += 3, at += FRAME_FLOATS) {
    const i0 = 3 * faces[corner]!, i1 = 3 * faces[corner + 1]!, i2 = 3 * faces[corner + 2]!;
    const x0 = vertices[i0]!, y0 = vertices[i0 + 1]!, z0 = vertices[i0 + 2]!;
    const x1 = vertices[i1]!, y1 = vertices[i1 + 1]!, z1 = vertices[i1 + 2]!;
    const x2 = vertices[i2]!, y2 = vertices[i2 + 1]!, z2 = vertices[i2 + 2]!;
    let ex = x1 - x0, ey = y1 - y0, ez = z1 - z0;
    const sx = x2 - x0, sy = y2 - y0, sz = z2 - z0;
    let nx = ey * sz - ez * sy, ny = ez * sx - ex * sz, nz = ex * sy - ey * sx;
    const edge = Math.sqrt(ex * ex + ey * ey + ez * ez);
    const side = Math.sqrt(sx * sx + sy * sy + sz * sz);
    const normal = Math.sqrt(nx * nx + ny * ny + nz * nz);
    let scale = 0;
    if (edge > MIN_EDGE) {
      ex /= edge;
      ey /= edge;
      ez /= edge;
      scale = edge / 2;
    } else {
      ex = 1;
      ey = ez = 0;
    }
    if (edge > MIN_EDGE && normal > MIN_SINE * edge * side) {
      nx /= normal;
      ny /= normal;
      nz /= normal;
      scale += normal / edge / 2;
    } else {
      // Without area: some direction at right angles to the edge, across the axis it points along least.
      const ax = Math.abs(ex), ay = Math.abs(ey), az = Math.abs(ez);
      if (ax <= ay && ax <= az) {
        nx = 0;
        ny = ez;
        nz = -ey;
      } else if (ay <= az) {
        nx = -ez;
        ny = 0;
        nz = ex;
      } else {
        nx = ey;
        ny = -ex;
        nz = 0;
      }
      const length = Math.sqrt(nx * nx + ny * ny + nz * nz);
      nx /= length;
      ny /= length;
      nz /= length;
    }
    frames[at] = ex;
    frames[at + 1] = ey;
    frames[at + 2] = ez;
    frames[at + 3] = scale > MIN_EDGE ? scale : MIN_EDGE;
    frames[at + 4] = nx;
    frames[at + 5] = ny;
    frames[at + 6] = nz;
    frames[at + 8] = (x0 + x1 + x2) / 3;
    frames[at + 9] = (y0 + y1 + y2) / 3;
    frames[at + 10] = (z0 + z1 + z2) / 3;
  }
}
