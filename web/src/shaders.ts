/**
 * Splatting as in spatialavatar/splat: EWA projection in the vertex shader, one quad around the cut-off ellipse of each
 * Gaussian, alpha in the fragment shader. The numbers are those of splat/constants.py; a test compares the two.
 */

import { MATRIX_ROWS } from "./residual";

export const CONSTANTS = {
  ALPHA_MIN: 1 / 255,
  ALPHA_MAX: 0.999,
  DILATION: 0.3,
  FRUSTUM_MARGIN: 0.3,
} as const;

/** Gaussians and triangles per row of their textures. */
export const ITEMS_PER_ROW = 512;
/** Layers of the Gaussians' texture: position and triangle, quaternion, extent and opacity, colour. */
export const GAUSSIAN_LAYERS = 4;
export const FRAME_TEXELS = 3;

const number = (value: number): string => (Number.isInteger(value) ? `${value}.0` : String(value));

export const VERTEX_SHADER = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp sampler2DArray;

uniform sampler2DArray gaussians;
uniform sampler2D frames;
uniform vec4 camera[3];   // rows of camera_from_world
uniform vec4 lens;        // fx, fy, cx, cy
uniform vec2 size;        // of the viewport, pixels

out vec2 reach;           // in standard deviations from the centre
flat out vec4 color;      // rgb, opacity

vec3 turned(vec4 q, vec3 v) {
  // q = w, x, y, z, of length 1
  vec3 t = 2.0 * cross(q.yzw, v);
  return v + q.x * t + cross(q.yzw, t);
}

void main() {
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);   // outside: not drawn
  reach = vec2(0.0);
  color = vec4(0.0);

  int item = gl_VertexID >> 2;
  ivec2 at = ivec2(item % ${ITEMS_PER_ROW}, item / ${ITEMS_PER_ROW});
  vec4 place = texelFetch(gaussians, ivec3(at, 0), 0);
  vec4 extent = texelFetch(gaussians, ivec3(at, 2), 0);
  float opacity = extent.w;
  if (!(opacity >= ${number(CONSTANTS.ALPHA_MIN)})) return;

  int face = int(place.w);
  ivec2 row = ivec2((face % ${ITEMS_PER_ROW}) * ${FRAME_TEXELS}, face / ${ITEMS_PER_ROW});
  vec4 edge = texelFetch(frames, row, 0);
  vec4 facing = texelFetch(frames, row + ivec2(1, 0), 0);
  vec3 normal = facing.xyz;
  vec3 center = texelFetch(frames, row + ivec2(2, 0), 0).xyz;
  mat3 axes = mat3(edge.xyz, normal, cross(edge.xyz, normal)) * edge.w;   // Eq. 1

  mat3 rotation = transpose(mat3(camera[0].xyz, camera[1].xyz, camera[2].xyz));
  vec3 point = rotation * (axes * place.xyz + center) + vec3(camera[0].w, camera[1].w, camera[2].w);
  float depth = point.z;
  vec2 slope = point.xy / depth;
  vec2 mean = lens.xy * slope + lens.zw;

  // The projection is linearised no further outside the picture than this.
  vec2 margin = ${number(CONSTANTS.FRUSTUM_MARGIN)} * 0.5 * size;
  slope = clamp(slope, (-margin - lens.zw) / lens.xy, (size + margin - lens.zw) / lens.xy);
  vec4 q = texelFetch(gaussians, ivec3(at, 1), 0);
  float squared = dot(q, q);
  if (!(squared >= 1e-24)) return;
  q *= inversesqrt(squared);
  mat3 local = mat3(
    turned(q, vec3(extent.x, 0.0, 0.0)), turned(q, vec3(0.0, extent.y, 0.0)), turned(q, vec3(0.0, 0.0, extent.z)));
  mat3 inCamera = rotation * (axes * local);
  vec3 depths = vec3(inCamera[0].z, inCamera[1].z, inCamera[2].z);
  vec3 across = (lens.x / depth) * (vec3(inCamera[0].x, inCamera[1].x, inCamera[2].x) - slope.x * depths);
  vec3 down = (lens.y / depth) * (vec3(inCamera[0].y, inCamera[1].y, inCamera[2].y) - slope.y * depths);
  float xx = dot(across, across) + ${number(CONSTANTS.DILATION)};
  float xy = dot(across, down);
  float yy = dot(down, down) + ${number(CONSTANTS.DILATION)};

  // Half axes of the ellipse, by eigenvalues.
  float middle = 0.5 * (xx + yy);
  float spread = length(vec2(0.5 * (xx - yy), xy));
  float largest = middle + spread;
  float least = max(middle - spread, 0.5 * ${number(CONSTANTS.DILATION)});
  vec2 direction = xx >= yy ? vec2(largest - yy, xy) : vec2(xy, largest - xx);
  float norm = length(direction);
  direction = norm > 1e-9 ? direction / norm : vec2(1.0, 0.0);
  float cutoff = sqrt(2.0 * log(255.0 * opacity));
  vec2 corner = vec2(float(gl_VertexID & 1), float((gl_VertexID >> 1) & 1)) * 2.0 - 1.0;
  reach = corner * cutoff;
  vec2 pixel = mean + reach.x * sqrt(largest) * direction + reach.y * sqrt(least) * vec2(-direction.y, direction.x);
  gl_Position = vec4(2.0 * pixel.x / size.x - 1.0, 1.0 - 2.0 * pixel.y / size.y, 0.0, 1.0);
  color = vec4(clamp(facing.w * texelFetch(gaussians, ivec3(at, 3), 0).rgb, 0.0, 1.0), opacity);
}
`;

export const FRAGMENT_SHADER = `#version 300 es
precision highp float;

in vec2 reach;
flat in vec4 color;
out vec4 fragment;

void main() {
  float alpha = min(color.a * exp(-0.5 * dot(reach, reach)), ${number(CONSTANTS.ALPHA_MAX)});
  if (alpha < ${number(CONSTANTS.ALPHA_MIN)}) discard;
  fragment = vec4(color.rgb * alpha, alpha);
}
`;

/** A triangle that covers everything. */
export const COVER_SHADER = `#version 300 es
void main() {
  gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}
`;

/**
 * Gaussians with the residual head's corrections: writes the layers that VERTEX_SHADER reads.
 *
 * @param quartets Channels of the features by four.
 */
export const residualShader = (quartets: number): string => `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2DArray;

uniform sampler2DArray gaussians;
uniform sampler2DArray features;              // a layer for each four channels
uniform vec4 matrix[${MATRIX_ROWS * (quartets + 1)}];   // rows of features, each followed by its constant

layout(location = 0) out vec4 place;
layout(location = 1) out vec4 quaternion;
layout(location = 2) out vec4 extent;
layout(location = 3) out vec4 color;

void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  float sums[${MATRIX_ROWS}];
  for (int row = 0; row < ${MATRIX_ROWS}; row++) sums[row] = matrix[row * ${quartets + 1} + ${quartets}].x;
  for (int q = 0; q < ${quartets}; q++) {
    vec4 feature = texelFetch(features, ivec3(at, q), 0);
    for (int row = 0; row < ${MATRIX_ROWS}; row++) sums[row] += dot(feature, matrix[row * ${quartets + 1} + q]);
  }
  place = texelFetch(gaussians, ivec3(at, 0), 0) + vec4(sums[0], sums[1], sums[2], 0.0);
  quaternion = texelFetch(gaussians, ivec3(at, 1), 0) + vec4(sums[3], sums[4], sums[5], sums[6]);
  extent = texelFetch(gaussians, ivec3(at, 2), 0) * vec4(exp(vec3(sums[7], sums[8], sums[9])), 1.0);
  color = clamp(texelFetch(gaussians, ivec3(at, 3), 0) + vec4(sums[10], sums[11], sums[12], 0.0), 0.0, 1.0);
}
`;
