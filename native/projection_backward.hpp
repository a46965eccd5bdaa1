// The derivative of the projection: from gradients of 2D Gaussians to gradients of 3D ones.
#pragma once
#include <cstring>

#include "projection.hpp"

namespace KERNEL_ISA {

// Sums of the gradient slots of 8 Gaussians: the 6 moments, then the 3 colours.
struct SlotSums {
  f8 values[9];
};

// Adds up the slots of Gaussians i .. i + 7. `slot` is the first one's first slot, and is moved past the last one's.
static ALWAYS_INLINE SlotSums sum_slots(const Context& context, int i, const GradientSlot*& slot) {
  const Record* records = context.records.data();
  SlotSums sums;
  float blue[8] = {};
  for (int l = 0; l < 8; l++) {
    sums.values[l] = splat(0.0f);
    const int tiles = i + l < context.count ? records[i + l].tiles : 0;
    if (!tiles) continue;
    f8 sum = load(&slot->s);
    float sum_blue = slot->blue;
    for (int k = 1; k < tiles; k++) {
      sum += load(&slot[k].s);
      sum_blue += slot[k].blue;
    }
    sums.values[l] = sum;
    blue[l] = sum_blue;
    slot += tiles;
  }
  transpose(sums.values);
  sums.values[8] = load(blue);
  return sums;
}

static ALWAYS_INLINE void store_color_gradients(const Context& context, float* out, int i, int end, int group,
                                                const f8* color) {
  if (context.channels == GROUP) return store_rows<GROUP>(out, i, end, color);
  float lanes[GROUP][8];
  for (int k = 0; k < GROUP; k++) store(lanes[k], color[k]);
  for (int l = 0; l < std::min(8, end - i); l++)
    for (int k = 0; k < GROUP && GROUP * group + k < context.channels; k++)
      out[(size_t)(i + l) * context.channels + GROUP * group + k] = lanes[k][l];
}

// With more than one group of channels, the slots are written anew for each: this adds a group's moments to the sum
// over groups and puts its colour gradients in place.
static void collect_group(Context& context, const BackwardArguments& arguments, int chunk, int group) {
  const int begin = chunk * CHUNK, end = std::min(context.count, begin + CHUNK);
  const GradientSlot* slot = context.gradients.data() + context.chunk_first_slot.data()[chunk];
  for (int i = begin; i < end; i += 8) {
    SlotSums sums = sum_slots(context, i, slot);
    store_color_gradients(context, arguments.colors, i, context.count, group, sums.values + 6);
    transpose(sums.values);  // a row per Gaussian again; columns 6 and 7 are colours, and unused here
    for (int l = 0; l < 8; l++) {
      float* row = context.moments.data() + (size_t)(i + l) * 8;
      store_aligned(row, group ? load_aligned(row) + sums.values[l] : sums.values[l]);
    }
  }
}

// What the projected quantities of 8 Gaussians receive.
struct ProjectedGradients {
  f8 mean_x, mean_y, xx, xy, yy, depth;  // xy is that of the symmetric matrix: half of the single number's
};

// From moments of s = dLoss/d(ln alpha): with ln alpha = ln o - d^T C d / 2, where C is the inverse of the dilated
// covariance S, dLoss/dMean = C sum(s d), dLoss/dC = -sum(s d d^T) / 2, and dLoss/dS = -C dLoss/dC C.
static ALWAYS_INLINE void add_moments(const Projection& o, const f8* moments, ProjectedGradients& g) {
  const f8 inverse = 1.0f / o.determinant;
  const f8 cxx = (o.yy + DILATION) * inverse, cxy = -o.xy * inverse, cyy = (o.xx + DILATION) * inverse;
  g.mean_x += cxx * moments[1] + cxy * moments[2];
  g.mean_y += cxy * moments[1] + cyy * moments[2];
  const f8 vxx = 0.5f * moments[3], vxy = 0.5f * moments[4], vyy = 0.5f * moments[5];
  const f8 q00 = cxx * vxx + cxy * vxy, q01 = cxx * vxy + cxy * vyy;
  const f8 q10 = cxy * vxx + cyy * vxy, q11 = cxy * vxy + cyy * vyy;
  g.xx += q00 * cxx + q01 * cxy;
  g.xy += q00 * cxy + q01 * cyy;
  g.yy += q10 * cxy + q11 * cyy;
}

// Sums of a camera's gradients, lane by lane; `counts` are the lanes that hold a Gaussian.
struct CameraGradients {
  d8 sums[CAMERA_GRADIENTS] = {};
  i8 counts = {};
};

// The chain rule through `project`.
static ALWAYS_INLINE void unproject(const CameraParameters& camera, const Projection& o, const f8 scale[3],
                                    const ProjectedGradients& g, f8 position[3], f8 quaternion[4], f8 scales[3],
                                    CameraGradients* of_camera, const f8 world_position[3]) {
  const f8* p = o.axes2d;
  f8 vp[6];  // of axes2d
  for (int k = 0; k < 3; k++) {
    vp[k] = 2.0f * (g.xx * p[k] + g.xy * p[3 + k]);
    vp[3 + k] = 2.0f * (g.xy * p[k] + g.yy * p[3 + k]);
  }
  // axes2d = J axes with J = [[jx, 0, -jx slope_x], [0, jy, -jy slope_y]], jx = fx / z.
  const f8 jx = (float)camera.focal_x * o.inverse_depth, jy = (float)camera.focal_y * o.inverse_depth;
  const f8 jxz = -o.slope_x * jx, jyz = -o.slope_y * jy;
  f8 v_jx = splat(0.0f), v_jxz = v_jx, v_jy = v_jx, v_jyz = v_jx, v_axes[9];
  for (int k = 0; k < 3; k++) {
    v_jx += vp[k] * o.axes[k];
    v_jxz += vp[k] * o.axes[6 + k];
    v_jy += vp[3 + k] * o.axes[3 + k];
    v_jyz += vp[3 + k] * o.axes[6 + k];
    v_axes[k] = jx * vp[k];
    v_axes[3 + k] = jy * vp[3 + k];
    v_axes[6 + k] = jxz * vp[k] + jyz * vp[3 + k];
  }
  // The mean in the camera's frame: by its pixel, and by where the projection is linearised.
  const f8 x = o.camera_mean[0], y = o.camera_mean[1], iz = o.inverse_depth;
  const f8 v_slope_x = g.mean_x * (float)camera.focal_x + keep(o.free_x, -v_jxz * jx);
  const f8 v_slope_y = g.mean_y * (float)camera.focal_y + keep(o.free_y, -v_jyz * jy);
  const f8 v_x = v_slope_x * iz, v_y = v_slope_y * iz;
  f8 v_z = -(v_x * x + v_y * y) * iz;                               // through the slopes
  v_z -= (v_jx * jx + v_jxz * jxz + v_jy * jy + v_jyz * jyz) * iz;  // through 1 / z in J
  v_z += g.depth;
  if (of_camera) {
    const f8 world[3] = {v_x, v_y, v_z}, zero = splat(0.0f);
    f8 sums[CAMERA_GRADIENTS];
    for (int i = 0; i < 3; i++) {
      for (int k = 0; k < 3; k++) {
        f8 sum = world[i] * world_position[k];
        for (int j = 0; j < 3; j++) sum += v_axes[3 * i + j] * (o.rotation[3 * k + j] * scale[j]);
        sums[4 * i + k] = sum;
      }
      sums[4 * i + 3] = world[i];
    }
    // Where the slope is clamped, it is a bound: (place - centre) / focal.
    const f8 bound_x = keep(~o.free_x, -v_jxz * jx), bound_y = keep(~o.free_y, -v_jyz * jy);
    const float inverse_x = 1.0f / (float)camera.focal_x, inverse_y = 1.0f / (float)camera.focal_y;
    sums[12] = g.mean_x * (x * iz) + (v_jx - v_jxz * o.slope_x) * iz - bound_x * o.slope_x * inverse_x;
    sums[13] = g.mean_y * (y * iz) + (v_jy - v_jyz * o.slope_y) * iz - bound_y * o.slope_y * inverse_y;
    sums[14] = g.mean_x - bound_x * inverse_x;
    sums[15] = g.mean_y - bound_y * inverse_y;
    for (int k = 0; k < CAMERA_GRADIENTS; k++)
      of_camera->sums[k] += to_double(select(o.valid & of_camera->counts, sums[k], zero));
  }
  const double* r = camera.rotation;
  f8 v_rs[9];  // of rotation * scales
  for (int k = 0; k < 3; k++) {
    const float r0 = (float)r[k], r1 = (float)r[3 + k], r2 = (float)r[6 + k];
    position[k] = r0 * v_x + r1 * v_y + r2 * v_z;
    for (int j = 0; j < 3; j++) v_rs[3 * k + j] = r0 * v_axes[j] + r1 * v_axes[3 + j] + r2 * v_axes[6 + j];
  }
  f8 v[9];  // of rotation
  for (int k = 0; k < 3; k++) {
    scales[k] = o.rotation[k] * v_rs[k] + o.rotation[3 + k] * v_rs[3 + k] + o.rotation[6 + k] * v_rs[6 + k];
    for (int j = 0; j < 3; j++) v[3 * j + k] = v_rs[3 * j + k] * scale[k];
  }
  const f8 qw = o.unit_quaternion[0], qx = o.unit_quaternion[1], qy = o.unit_quaternion[2], qz = o.unit_quaternion[3];
  f8 u[4];  // of the unit quaternion
  u[0] = 2.0f * (qx * (v[7] - v[5]) + qy * (v[2] - v[6]) + qz * (v[3] - v[1]));
  u[1] = 2.0f * (-2.0f * qx * (v[4] + v[8]) + qy * (v[1] + v[3]) + qz * (v[2] + v[6]) + qw * (v[7] - v[5]));
  u[2] = 2.0f * (qx * (v[1] + v[3]) - 2.0f * qy * (v[0] + v[8]) + qz * (v[5] + v[7]) + qw * (v[2] - v[6]));
  u[3] = 2.0f * (qx * (v[2] + v[6]) + qy * (v[5] + v[7]) - 2.0f * qz * (v[0] + v[4]) + qw * (v[3] - v[1]));
  const f8 along = u[0] * qw + u[1] * qx + u[2] * qy + u[3] * qz;
  for (int k = 0; k < 4; k++) quaternion[k] = (u[k] - o.unit_quaternion[k] * along) * o.inverse_norm;
}

// Gradients of one chunk of Gaussians. `drawn`: the tiles' gradient slots hold values. Row 0 of what goes out is that of
// Gaussian `first_row`, so that they may be the chunk's own arrays.
static void unproject_chunk(Context& context, const BackwardArguments& arguments, int chunk, bool drawn,
                            int first_row = 0) {
  const GaussianArrays& gaussians = arguments.gaussians;
  const Record* records = context.records.data();
  const int n = context.count, begin = chunk * CHUNK, end = std::min(n, begin + CHUNK);
  const bool many_groups = context.channels > GROUP;
  const bool projected =
      arguments.means2d || arguments.covariances2d || arguments.depths || arguments.aspect_share > 0.0f;
  const GradientSlot* slot = drawn ? context.gradients.data() + context.chunk_first_slot.data()[chunk] : nullptr;
  CameraGradients of_camera;
  for (int i = begin; i < end; i += 8) {
    const int rows = std::min(8, n - i), out = i - first_row, out_end = n - first_row;
    int any = 0;
    i8 visible = {};
    for (int l = 0; l < rows; l++) {
      any += records[i + l].tiles;
      visible[l] = records[i + l].tiles ? -1 : 0;
    }
    if (arguments.wanted && !arguments.wanted[i / 8]) {
      if (slot) slot += any;
      continue;
    }
    if (!(any && drawn) && !projected) {
      std::memset(arguments.positions + (size_t)out * 3, 0, sizeof(float) * 3 * rows);
      std::memset(arguments.quaternions_wxyz + (size_t)out * 4, 0, sizeof(float) * 4 * rows);
      std::memset(arguments.scales + (size_t)out * 3, 0, sizeof(float) * 3 * rows);
      std::memset(arguments.opacities + out, 0, sizeof(float) * rows);
      if (!many_groups || !drawn)
        std::memset(arguments.colors + (size_t)out * context.channels, 0, sizeof(float) * context.channels * rows);
      continue;
    }
    SlotSums sums = {};
    if (drawn && !many_groups) {
      sums = sum_slots(context, i, slot);
      store_color_gradients(context, arguments.colors, out, out_end, 0, sums.values + 6);
    } else if (drawn) {
      for (int l = 0; l < 8; l++) sums.values[l] = load_aligned(context.moments.data() + (size_t)(i + l) * 8);
      transpose(sums.values);
    } else {
      std::memset(arguments.colors + (size_t)out * context.channels, 0, sizeof(float) * context.channels * rows);
    }

    f8 position[3], quaternion[4], scale[3], opacity;
    load_rows<3>(gaussians.positions, i, n, position);
    load_rows<4>(gaussians.quaternions_wxyz, i, n, quaternion);
    load_rows<3>(gaussians.scales, i, n, scale);
    load_rows<1>(gaussians.opacities, i, n, &opacity);
    f8 color[GROUP];
    Projection o;
    project(context.camera, position, quaternion, scale, load_colors(context, gaussians, i, opacity, color), o);

    ProjectedGradients g = {};
    if (arguments.means2d) {
      f8 v[2];
      load_rows<2>(arguments.means2d, i, n, v);
      g.mean_x = v[0];
      g.mean_y = v[1];
    }
    if (arguments.covariances2d) {
      f8 v[3];
      load_rows<3>(arguments.covariances2d, i, n, v);
      g.xx = v[0];
      g.xy = 0.5f * v[1];
      g.yy = v[2];
    }
    if (arguments.aspect_share > 0.0f) {
      f8 v[3];
      aspect_excess(o.xx, o.xy, o.yy, o.valid, arguments.aspect_threshold, arguments.aspect_share, v);
      g.xx += v[0];
      g.xy += 0.5f * v[1];
      g.yy += v[2];
    }
    if (arguments.depths) load_rows<1>(arguments.depths, i, n, &g.depth);
    f8 v_opacity = splat(0.0f);
    if (drawn) {
      for (int k = 0; k < 6; k++) sums.values[k] = keep(visible, sums.values[k]);
      add_moments(o, sums.values, g);
      v_opacity = keep(visible, sums.values[0] / opacity);
    }
    f8 v_position[3], v_quaternion[4], v_scale[3];
    const f8 lane = {0, 1, 2, 3, 4, 5, 6, 7};
    of_camera.counts = lane < (float)rows;
    unproject(context.camera, o, scale, g, v_position, v_quaternion, v_scale, arguments.camera ? &of_camera : nullptr,
              position);
    // Exact zeros, and no NaN, for Gaussians without a projection.
    for (int k = 0; k < 3; k++) {
      v_position[k] = keep(o.valid, v_position[k]);
      v_scale[k] = keep(o.valid, v_scale[k]);
    }
    for (int k = 0; k < 4; k++) v_quaternion[k] = keep(o.valid, v_quaternion[k]);
    store_rows<3>(arguments.positions, out, out_end, v_position);
    store_rows<4>(arguments.quaternions_wxyz, out, out_end, v_quaternion);
    store_rows<3>(arguments.scales, out, out_end, v_scale);
    store_rows<1>(arguments.opacities, out, out_end, &v_opacity);
  }
  if (!arguments.camera) return;
  double* partial = context.camera_partials.data() + (size_t)chunk * CAMERA_GRADIENTS;
  for (int k = 0; k < CAMERA_GRADIENTS; k++) {
    partial[k] = 0.0;
    for (int l = 0; l < 8; l++) partial[k] += of_camera.sums[k][l];
  }
}

}  // namespace KERNEL_ISA
