/** The arithmetic of shaders.ts in WebGPU's language: a pass that projects Gaussians, and one that draws them. */

import { CONSTANTS, FRAME_TEXELS } from "./shaders";

/** Gaussians per workgroup. */
export const GROUP = 64;
/** Camera rows, lens, size and count of `View`, padded. */
export const VIEW_FLOATS = 20;
/** Of a `Splat`. */
export const SPLAT_BYTES = 48;

const number = (value: number): string => (Number.isInteger(value) ? `${value}.0` : String(value));

const SHARED = `
struct View {
  camera: array<vec4f, 3>,   // rows of camera_from_world
  lens: vec4f,               // fx, fy, cx, cy
  size: vec2f,               // of the viewport, pixels
  count: f32,                // Gaussians
}

struct Splat {
  mean: vec2f,               // pixels
  major: vec2f,              // half axes of the ellipse at one standard deviation, pixels
  minor: vec2f,
  cutoff: f32,               // in standard deviations; 0: not drawn
  unused: f32,
  color: vec4f,              // rgb, opacity
}

@group(0) @binding(0) var<uniform> view: View;
`;

/**
 * One invocation for each Gaussian.
 *
 * @param quartets Channels of the residual head's features by four; 0 for none.
 */
export const projectShader = (quartets: number, matrixRows: number, gaussianLayers: number): string => `
${SHARED}
@group(0) @binding(1) var<storage, read> gaussians: array<vec4f>;   // layer by layer, as gaussianTexels writes them
@group(0) @binding(2) var<storage, read> frames: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> splats: array<Splat>;
${quartets === 0 ? "" : `
@group(0) @binding(4) var<storage, read> features: array<vec2u>;   // four halves; a layer for each four channels
@group(0) @binding(5) var<storage, read> matrix: array<vec4f>;     // rows of features, each followed by its constant
`}
fn turned(q: vec4f, v: vec3f) -> vec3f {
  // q = w, x, y, z, of length 1
  let t = 2.0 * cross(q.yzw, v);
  return v + q.x * t + cross(q.yzw, t);
}

@compute @workgroup_size(${GROUP})
fn project(@builtin(global_invocation_id) id: vec3u) {
  let item = id.x;
  if (f32(item) >= view.count) { return; }
  splats[item] = Splat();

  let layer = arrayLength(&gaussians) / ${gaussianLayers}u;
  var place = gaussians[item];
  var q = gaussians[layer + item];
  var extent = gaussians[2u * layer + item];
  var color = gaussians[3u * layer + item].rgb;
${quartets === 0 ? "" : `
  var sums: array<f32, ${matrixRows}>;
  for (var row = 0u; row < ${matrixRows}u; row++) { sums[row] = matrix[row * ${quartets + 1}u + ${quartets}u].x; }
  for (var quartet = 0u; quartet < ${quartets}u; quartet++) {
    let halves = features[quartet * layer + item];
    let feature = vec4f(unpack2x16float(halves.x), unpack2x16float(halves.y));
    for (var row = 0u; row < ${matrixRows}u; row++) {
      sums[row] += dot(feature, matrix[row * ${quartets + 1}u + quartet]);
    }
  }
  place += vec4f(sums[0], sums[1], sums[2], 0.0);
  q += vec4f(sums[3], sums[4], sums[5], sums[6]);
  extent *= vec4f(exp(vec3f(sums[7], sums[8], sums[9])), 1.0);
  color = clamp(color + vec3f(sums[10], sums[11], sums[12]), vec3f(0.0), vec3f(1.0));
`}
  let opacity = extent.w;
  if (!(opacity >= ${number(CONSTANTS.ALPHA_MIN)})) { return; }
  let squared = dot(q, q);
  if (!(squared >= 1e-24)) { return; }
  q *= inverseSqrt(squared);

  let at = u32(place.w) * ${FRAME_TEXELS}u;
  let edge = frames[at];
  let facing = frames[at + 1u];
  let normal = facing.xyz;
  let center = frames[at + 2u].xyz;
  let axes = mat3x3f(edge.xyz, normal, cross(edge.xyz, normal)) * edge.w;   // Eq. 1

  let rotation = transpose(mat3x3f(view.camera[0].xyz, view.camera[1].xyz, view.camera[2].xyz));
  let shift = vec3f(view.camera[0].w, view.camera[1].w, view.camera[2].w);
  let point = rotation * (axes * place.xyz + center) + shift;
  let depth = point.z;
  let mean = view.lens.xy * (point.xy / depth) + view.lens.zw;

  // The projection is linearised no further outside the picture than this.
  let margin = ${number(CONSTANTS.FRUSTUM_MARGIN)} * 0.5 * view.size;
  let slope = clamp(
    point.xy / depth, (-margin - view.lens.zw) / view.lens.xy, (view.size + margin - view.lens.zw) / view.lens.xy);
  let local = mat3x3f(
    turned(q, vec3f(extent.x, 0.0, 0.0)), turned(q, vec3f(0.0, extent.y, 0.0)), turned(q, vec3f(0.0, 0.0, extent.z)));
  let rows = transpose(rotation * (axes * local));
  let across = (view.lens.x / depth) * (rows[0] - slope.x * rows[2]);
  let down = (view.lens.y / depth) * (rows[1] - slope.y * rows[2]);
  let xx = dot(across, across) + ${number(CONSTANTS.DILATION)};
  let xy = dot(across, down);
  let yy = dot(down, down) + ${number(CONSTANTS.DILATION)};

  // Half axes of the ellipse, by eigenvalues.
  let middle = 0.5 * (xx + yy);
  let spread = length(vec2f(0.5 * (xx - yy), xy));
  let largest = middle + spread;
  let least = max(middle - spread, 0.5 * ${number(CONSTANTS.DILATION)});
  let along = select(vec2f(xy, largest - xx), vec2f(largest - yy, xy), xx >= yy);
  let norm = length(along);
  let direction = select(vec2f(1.0, 0.0), along / norm, norm > 1e-9);
  splats[item] = Splat(
    mean, sqrt(largest) * direction, sqrt(least) * vec2f(-direction.y, direction.x), sqrt(2.0 * log(255.0 * opacity)),
    0.0, vec4f(clamp(facing.w * color, vec3f(0.0), vec3f(1.0)), opacity));
}
`;

/** Corners 4 i .. 4 i + 3 belong to Gaussian i. */
export const DRAW_SHADER = `
${SHARED}
@group(0) @binding(3) var<storage, read> splats: array<Splat>;

struct Corner {
  @builtin(position) position: vec4f,
  @location(0) reach: vec2f,                      // in standard deviations from the centre
  @location(1) @interpolate(flat) color: vec4f,   // rgb, opacity
}

@vertex
fn corner(@builtin(vertex_index) index: u32) -> Corner {
  let splat = splats[index >> 2u];
  let reach = (vec2f(f32(index & 1u), f32((index >> 1u) & 1u)) * 2.0 - 1.0) * splat.cutoff;
  let pixel = splat.mean + reach.x * splat.major + reach.y * splat.minor;
  let place = vec2f(2.0 * pixel.x / view.size.x - 1.0, 1.0 - 2.0 * pixel.y / view.size.y);
  return Corner(vec4f(place, 0.0, 1.0), reach, splat.color);
}

@fragment
fn paint(corner: Corner) -> @location(0) vec4f {
  let alpha = min(corner.color.a * exp(-0.5 * dot(corner.reach, corner.reach)), ${number(CONSTANTS.ALPHA_MAX)});
  if (alpha < ${number(CONSTANTS.ALPHA_MIN)}) { discard; }
  return vec4f(corner.color.rgb * alpha, alpha);
}
`;
