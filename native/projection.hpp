// Projection of 3D Gaussians to 2D ones, eight at a time. spatialavatar/splat/projection.py is the form to read.
#pragma once
#include <algorithm>
#include <climits>

#include "aspect.hpp"
#include "constants.hpp"
#include "context.hpp"
#include "rows.hpp"
#include "simd.hpp"

namespace KERNEL_ISA {

// Everything that the projection of 8 Gaussians and its derivative share. Recomputed by the backward pass: that is
// cheaper than writing and reading it.
struct Projection {
  i8 valid;  // has a projection: finite, rotation not zero, before the near plane
  f8 camera_mean[3];
  d8 pixel_x, pixel_y;  // the mean; in double, since its rounding is what limits the gradients' accuracy
  f8 inverse_depth;
  f8 slope_x, slope_y;  // x / z, y / z where the projection is linearised, clamped to around the image
  i8 free_x, free_y;    // not clamped
  f8 unit_quaternion[4], inverse_norm;
  f8 rotation[9];  // of the Gaussian
  f8 axes[9];      // camera rotation * rotation * scales: columns are the axes of the ellipsoid
  f8 axes2d[6];    // J axes: 2 x 3, in pixels
  f8 xx, xy, yy;   // covariance in the image, not dilated: axes2d axes2d^T
  f8 determinant;  // of the dilated covariance
};

// f8 of 0 where x is finite, NaN elsewhere.
static ALWAYS_INLINE f8 zero_if_finite(f8 x) { return x - x; }

static ALWAYS_INLINE void project(const CameraParameters& camera, const f8 position[3], const f8 quaternion[4],
                                  const f8 scale[3], f8 more, Projection& o) {
  const double* r = camera.rotation;
  const d8 x = to_double(position[0]), y = to_double(position[1]), z = to_double(position[2]);
  const d8 cx = r[0] * x + r[1] * y + r[2] * z + camera.translation[0];
  const d8 cy = r[3] * x + r[4] * y + r[5] * z + camera.translation[1];
  const d8 cz = r[6] * x + r[7] * y + r[8] * z + camera.translation[2];
  const d8 exact_inverse = 1.0 / cz;
  const d8 exact_slope_x = cx * exact_inverse, exact_slope_y = cy * exact_inverse;
  o.pixel_x = camera.focal_x * exact_slope_x + camera.center_x;
  o.pixel_y = camera.focal_y * exact_slope_y + camera.center_y;
  o.camera_mean[0] = to_float(cx);
  o.camera_mean[1] = to_float(cy);
  o.camera_mean[2] = to_float(cz);
  o.inverse_depth = to_float(exact_inverse);

  const float focal_x = (float)camera.focal_x, focal_y = (float)camera.focal_y;
  const double margin_x = 0.5 * FRUSTUM_MARGIN * camera.width, margin_y = 0.5 * FRUSTUM_MARGIN * camera.height;
  const f8 lowest_x = splat((float)((-margin_x - camera.center_x) / camera.focal_x));
  const f8 highest_x = splat((float)((camera.width + margin_x - camera.center_x) / camera.focal_x));
  const f8 lowest_y = splat((float)((-margin_y - camera.center_y) / camera.focal_y));
  const f8 highest_y = splat((float)((camera.height + margin_y - camera.center_y) / camera.focal_y));
  const f8 slope_x = to_float(exact_slope_x), slope_y = to_float(exact_slope_y);
  o.free_x = (slope_x >= lowest_x) & (slope_x <= highest_x);
  o.free_y = (slope_y >= lowest_y) & (slope_y <= highest_y);
  o.slope_x = min(max(slope_x, lowest_x), highest_x);
  o.slope_y = min(max(slope_y, lowest_y), highest_y);

  const f8* q = quaternion;
  const f8 squared_norm = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3];
  o.inverse_norm = 1.0f / square_root(squared_norm);
  for (int i = 0; i < 4; i++) o.unit_quaternion[i] = q[i] * o.inverse_norm;
  const f8 qw = o.unit_quaternion[0], qx = o.unit_quaternion[1], qy = o.unit_quaternion[2], qz = o.unit_quaternion[3];
  o.rotation[0] = 1.0f - 2.0f * (qy * qy + qz * qz);
  o.rotation[1] = 2.0f * (qx * qy - qw * qz);
  o.rotation[2] = 2.0f * (qx * qz + qw * qy);
  o.rotation[3] = 2.0f * (qx * qy + qw * qz);
  o.rotation[4] = 1.0f - 2.0f * (qx * qx + qz * qz);
  o.rotation[5] = 2.0f * (qy * qz - qw * qx);
  o.rotation[6] = 2.0f * (qx * qz - qw * qy);
  o.rotation[7] = 2.0f * (qy * qz + qw * qx);
  o.rotation[8] = 1.0f - 2.0f * (qx * qx + qy * qy);
  for (int i = 0; i < 3; i++) {
    const float r0 = (float)r[3 * i], r1 = (float)r[3 * i + 1], r2 = (float)r[3 * i + 2];
    for (int k = 0; k < 3; k++)
      o.axes[3 * i + k] = (r0 * o.rotation[k] + r1 * o.rotation[3 + k] + r2 * o.rotation[6 + k]) * scale[k];
  }
  const f8 jx = focal_x * o.inverse_depth, jy = focal_y * o.inverse_depth;
  f8* p = o.axes2d;
  for (int k = 0; k < 3; k++) {
    p[k] = jx * (o.axes[k] - o.slope_x * o.axes[6 + k]);
    p[3 + k] = jy * (o.axes[3 + k] - o.slope_y * o.axes[6 + k]);
  }
  o.xx = p[0] * p[0] + p[1] * p[1] + p[2] * p[2];
  o.xy = p[0] * p[3] + p[1] * p[4] + p[2] * p[5];
  o.yy = p[3] * p[3] + p[4] * p[4] + p[5] * p[5];
  // det(P P^T + d I) = |row0 x row1|^2 + d trace + d^2. The textbook xx yy - xy^2 cancels for needles.
  const f8 c0 = p[1] * p[5] - p[2] * p[4], c1 = p[2] * p[3] - p[0] * p[5], c2 = p[0] * p[4] - p[1] * p[3];
  o.determinant = c0 * c0 + c1 * c1 + c2 * c2 + DILATION * (o.xx + o.yy) + DILATION * DILATION;

  // Comparisons with NaN are false, so a NaN among these lengths counts as too large.
  i8 proper = squared_norm >= MIN_SQUARED_QUATERNION;
  for (int k = 0; k < 3; k++)
    proper &= (position[k] <= MAX_LENGTH) & (position[k] >= -MAX_LENGTH) & (scale[k] <= MAX_LENGTH) &
              (scale[k] >= -MAX_LENGTH);
  const f8 nothing = zero_if_finite(o.determinant) + zero_if_finite(to_float(o.pixel_x)) +
                     zero_if_finite(to_float(o.pixel_y)) + zero_if_finite(squared_norm) + zero_if_finite(more);
  o.valid = proper & (nothing == 0.0f) & (o.camera_mean[2] > NEAR_DEPTH);
}

// One value per Gaussian that is finite only if its opacity and all its colours are, and those colours of the first
// group of channels.
static ALWAYS_INLINE f8 load_colors(const Context& context, const GaussianArrays& gaussians, int i, f8 opacity,
                                    f8 color[GROUP]) {
  const int n = context.count, channels = context.channels;
  f8 all = opacity;
  if (channels == GROUP) {
    load_rows<GROUP>(gaussians.colors, i, n, color);
    for (int k = 0; k < GROUP; k++) all += color[k];
    return all;
  }
  for (int k = 0; k < GROUP; k++) color[k] = splat(0.0f);
  for (int l = 0; l < std::min(8, n - i); l++) {
    const float* row = gaussians.colors + (size_t)(i + l) * channels;
    for (int k = 0; k < channels; k++) all[l] += row[k] - row[k];
    for (int k = 0; k < std::min(channels, GROUP); k++) color[k][l] = row[k];
  }
  return all;
}

// Projects one chunk of Gaussians: outputs, records, tile spans, and the sort keys of those that will be drawn.
static void project_chunk(Context& context, const ForwardArguments& arguments, int chunk) {
  const GaussianArrays& gaussians = arguments.gaussians;
  const CameraParameters& camera = context.camera;
  Record* records = context.records.data();
  TileSpan* spans = context.spans.data();
  uint64_t* keys = context.keys.data() + (size_t)chunk * CHUNK;
  const int n = context.count, begin = chunk * CHUNK, end = std::min(n, begin + CHUNK);
  const float last_column = (float)(camera.width - 1), last_row = (float)(camera.height - 1);
  int drawn = 0, slots = 0;
  double aspect_sum = 0.0;
  i8 box_x0 = splat_int(INT_MAX), box_x1 = splat_int(-1), box_y0 = box_x0, box_y1 = box_x1;
  for (int i = begin; i < end; i += 8) {
    f8 position[3], quaternion[4], scale[3], opacity, color[GROUP];
    load_rows<3>(gaussians.positions, i, n, position);
    load_rows<4>(gaussians.quaternions_wxyz, i, n, quaternion);
    load_rows<3>(gaussians.scales, i, n, scale);
    load_rows<1>(gaussians.opacities, i, n, &opacity);
    const f8 all_colors = load_colors(context, gaussians, i, opacity, color);
    Projection o;
    project(camera, position, quaternion, scale, all_colors, o);

    const f8 dilated_xx = o.xx + DILATION, dilated_yy = o.yy + DILATION, inverse = 1.0f / o.determinant;
    const f8 mean_x = to_float(o.pixel_x), mean_y = to_float(o.pixel_y);
    const f8 log2_opacity = log2(max(opacity, splat(1e-8f)));
    const f8 reach = max(log2_opacity - LOG2_ALPHA_MIN, splat(0.0f)) * (2.0f / LOG2_E);  // 2 ln(255 opacity)
    const f8 half_width = square_root(reach * dilated_xx), half_height = square_root(reach * dilated_yy);
    // The box around the ellipse alpha = 1/255, in units where pixel centres are whole numbers.
    const f8 left = mean_x - half_width - 0.5f, right = mean_x + half_width - 0.5f;
    const f8 top = mean_y - half_height - 0.5f, bottom = mean_y + half_height - 0.5f;
    const i8 x0 = ceil_int(min(max(left, splat(0.0f)), splat(last_column)));
    const i8 y0 = ceil_int(min(max(top, splat(0.0f)), splat(last_row)));
    const i8 x1 = truncate(min(max(right, splat(0.0f)), splat(last_column)));
    const i8 y1 = truncate(min(max(bottom, splat(0.0f)), splat(last_row)));
    i8 visible = o.valid & (opacity >= ALPHA_MIN) & (right >= 0.0f) & (bottom >= 0.0f) & (left <= last_column) &
                 (top <= last_row) & (x0 <= x1) & (y0 <= y1);
    for (int l = n - i; l < 8; l++) visible[l] = 0;
    const i8 tile_x0 = x0 / TILE_WIDTH, tile_x1 = x1 / TILE_WIDTH;
    const i8 tile_y0 = y0 / TILE_HEIGHT, tile_y1 = y1 / TILE_HEIGHT;
    const i8 tiles = visible & ((tile_x1 - tile_x0 + 1) * (tile_y1 - tile_y0 + 1));
    box_x0 = min_int(box_x0, select_int(visible, x0, box_x0));
    box_x1 = max_int(box_x1, select_int(visible, x1, box_x1));
    box_y0 = min_int(box_y0, select_int(visible, y0, box_y0));
    box_y1 = max_int(box_y1, select_int(visible, y1, box_y1));
    i8 slot;
    for (int l = 0; l < 8; l++) {
      slot[l] = slots;
      slots += tiles[l];
    }

    // Eight records of two 8-float halves, written through two transposes.
    f8 first[8] = {mean_x,
                   mean_y,
                   (-0.5f * LOG2_E) * dilated_yy * inverse,
                   LOG2_E * o.xy * inverse,
                   (-0.5f * LOG2_E) * dilated_xx * inverse,
                   log2_opacity,
                   color[0],
                   color[1]};
    f8 second[8] = {color[2],
                    o.xy / dilated_xx * half_width,
                    to_float(o.pixel_x - to_double(mean_x)),
                    to_float(o.pixel_y - to_double(mean_y)),
                    as_float(x0 | (x1 << 16)),
                    as_float(y0 | (y1 << 16)),
                    as_float(tiles),
                    splat(0.0f)};
    transpose(first);
    transpose(second);
    for (int l = 0; l < 8; l++) {
      store_aligned(&records[i + l].mean_x, first[l]);
      store_aligned(&records[i + l].blue, second[l]);
    }
    int32_t lanes[6][8];
    store_int(lanes[0], tile_x0);
    store_int(lanes[1], tile_x1);
    store_int(lanes[2], tile_y0);
    store_int(lanes[3], tile_y1);
    store_int(lanes[4], as_int(o.camera_mean[2]));  // positive floats order like their bits
    store_int(lanes[5], slot);
    for (int rest = lane_bits(visible); rest; rest &= rest - 1) {
      const int l = __builtin_ctz(rest);
      spans[i + l] = {(uint16_t)lanes[0][l], (uint16_t)lanes[1][l], (uint16_t)lanes[2][l], (uint16_t)lanes[3][l],
                      (uint32_t)lanes[5][l]};
      keys[drawn++] = (uint64_t)(uint32_t)lanes[4][l] << 32 | (uint32_t)(i + l);
    }

    if (arguments.aspect_sums) {
      const f8 lane = {0, 1, 2, 3, 4, 5, 6, 7};
      f8 unused[3];
      const i8 counts = o.valid & (lane < (float)(n - i));
      aspect_sum += sum_lanes(aspect_excess(o.xx, o.xy, o.yy, counts, arguments.aspect_threshold, 1.0f, unused));
    }
    if (!arguments.means2d) continue;  // nobody asks for the projection itself
    const f8 means2d[2] = {keep(o.valid, mean_x), keep(o.valid, mean_y)};
    const f8 covariances2d[3] = {select(o.valid, o.xx, splat(1.0f)), keep(o.valid, o.xy),
                                 select(o.valid, o.yy, splat(1.0f))};
    const f8 depth = keep(o.valid, o.camera_mean[2]);
    const f8 half_difference = 0.5f * (o.xx - o.yy);
    const f8 largest = 0.5f * (dilated_xx + dilated_yy) + square_root(half_difference * half_difference + o.xy * o.xy);
    const f8 radius = keep(visible, square_root(reach * largest));
    store_rows<2>(arguments.means2d, i, n, means2d);
    store_rows<3>(arguments.covariances2d, i, n, covariances2d);
    store_rows<1>(arguments.depths, i, n, &depth);
    store_rows<1>(arguments.radii, i, n, &radius);
  }
  if (arguments.aspect_sums) arguments.aspect_sums[chunk] = aspect_sum;
  context.chunk_first_slot.data()[chunk] = slots;  // made cumulative once all chunks are done
  context.chunk_drawn.data()[chunk] = drawn;
  PixelBox& box = context.chunk_box.data()[chunk];
  box = {INT_MAX, -1, INT_MAX, -1};
  for (int l = 0; l < 8; l++)
    box = {std::min(box.first_x, box_x0[l]), std::max(box.last_x, box_x1[l]), std::min(box.first_y, box_y0[l]),
           std::max(box.last_y, box_y1[l])};
}

}  // namespace KERNEL_ISA
