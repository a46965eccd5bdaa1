// l1_weight * mean |x - y| + ssim_weight * (1 - mean SSIM), and its gradient in x, in two passes over the image.
//
// SSIM's window is separable. The image is cut into strips of 64 columns; a row of a strip is filtered horizontally
// into a ring of 16 rows, which stays in the first-level cache, and the vertical filter reads from the ring. The first
// pass filters four maps (x, y, x^2 + y^2, x y) and writes three derivative maps; the second filters those.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "context.hpp"
#include "pool.hpp"
#include "simd.hpp"

namespace KERNEL_ISA {

constexpr int WINDOW = 11, HALF_WINDOW = 5;
static const float WINDOW_WEIGHTS[WINDOW] = {0.001028380084f, 0.007598758135f, 0.03600077213f, 0.1093606895f,
                                             0.2130055377f,   0.2660117249f,   0.2130055377f,  0.1093606895f,
                                             0.03600077213f,  0.007598758135f, 0.001028380084f};
constexpr float SSIM_C1 = 0.0001f, SSIM_C2 = 0.0009f;
constexpr int STRIP = 64, RING = 16;
// A source row holds the strip, half a window on either side, and what the last vector reads beyond that.
constexpr int SOURCE_ROW = STRIP + 24;

template <int Maps>
struct alignas(64) Strip {
  float source[Maps][SOURCE_ROW];
  float ring[RING][Maps][STRIP];
};

template <int Maps>
static ALWAYS_INLINE void filter_row(const float (*source)[SOURCE_ROW], float (*out)[STRIP], int columns) {
  for (int x = 0; x < columns; x += LANES) {
    f8 sum[Maps];
#pragma GCC unroll 4
    for (int m = 0; m < Maps; m++) sum[m] = load(source[m] + x) * WINDOW_WEIGHTS[0];
#pragma GCC unroll 11
    for (int k = 1; k < WINDOW; k++) {
      const f8 weight = splat(WINDOW_WEIGHTS[k]);
#pragma GCC unroll 4
      for (int m = 0; m < Maps; m++) sum[m] += weight * load(source[m] + x + k);
    }
#pragma GCC unroll 4
    for (int m = 0; m < Maps; m++) store_aligned(out[m] + x, sum[m]);
  }
}

// Filters the rows row - 10 .. row of the ring at column x.
template <int Maps>
static ALWAYS_INLINE void filter_column(float (*ring)[Maps][STRIP], int row, int x, f8* sum) {
  const float* rows[WINDOW];
#pragma GCC unroll 11
  for (int k = 0; k < WINDOW; k++) rows[k] = &ring[(row - (WINDOW - 1) + k) & (RING - 1)][0][0] + x;
#pragma GCC unroll 4
  for (int m = 0; m < Maps; m++) sum[m] = load_aligned(rows[0] + m * STRIP) * WINDOW_WEIGHTS[0];
#pragma GCC unroll 11
  for (int k = 1; k < WINDOW; k++) {
    const f8 weight = splat(WINDOW_WEIGHTS[k]);
#pragma GCC unroll 4
    for (int m = 0; m < Maps; m++) sum[m] += weight * load_aligned(rows[k] + m * STRIP);
  }
}

// One task: a strip of one channel, cut into bands of rows.
struct LossTask {
  int channel, column, columns, row, row_end;

  LossTask(const LossArguments& a, int index) {
    const int strips = count_strips(a), bands = count_bands(a), band = band_rows(a);
    channel = index / (strips * bands);
    column = a.x0 + index / bands % strips * STRIP;
    columns = std::min(STRIP, a.x1 - column);
    row = a.y0 + index % bands * band;
    row_end = std::min(row + band, a.y1);
  }
  static int band_rows(const LossArguments& a) { return a.y1 - a.y0 >= 256 ? 128 : 64; }
  static int count_strips(const LossArguments& a) { return (a.x1 - a.x0 + STRIP - 1) / STRIP; }
  static int count_bands(const LossArguments& a) { return (a.y1 - a.y0 + band_rows(a) - 1) / band_rows(a); }
  static int count(const LossArguments& a) { return a.channels * count_strips(a) * count_bands(a); }
};

static ALWAYS_INLINE f8 magnitude(f8 x) { return as_float(as_int(x) & splat_int(0x7fffffff)); }

// Sum of SSIM over a task's pixels; writes dSSIM/d(mean of x), d(mean of x^2) and d(mean of x y).
static double similarity(const LossArguments& a, const LossTask& task) {
  Strip<4> s;
  const size_t plane = (size_t)a.height * a.width, row_size = loss_row(a.width);
  const float *image = a.image + task.channel * plane, *target = a.target + task.channel * plane;
  float* derivative[3];
  for (int m = 0; m < 3; m++) derivative[m] = a.scratch + ((size_t)m * a.channels + task.channel) * a.height * row_size;
  const int n = task.columns;
  // Columns of the source row that lie in the image; the others stay zero.
  const int from = std::max(0, HALF_WINDOW - task.column),
            to = std::min(n + WINDOW - 1, a.width + HALF_WINDOW - task.column);
  std::memset(s.source, 0, sizeof s.source);
  f8 sum = splat(0.0f);
  double tail_sum = 0.0;
  for (int r = task.row - HALF_WINDOW; r < task.row_end + HALF_WINDOW; r++) {
    auto ring_row = s.ring[r & (RING - 1)];
    if (r < 0 || r >= a.height) {
      std::memset(ring_row, 0, sizeof s.ring[0]);
    } else {
      const float* x = image + (size_t)r * a.width + task.column - HALF_WINDOW;
      const float* y = target + (size_t)r * a.width + task.column - HALF_WINDOW;
      for (int j = from; j < to; j++) {
        s.source[0][j] = x[j];
        s.source[1][j] = y[j];
        s.source[2][j] = x[j] * x[j] + y[j] * y[j];
        s.source[3][j] = x[j] * y[j];
      }
      filter_row<4>(s.source, ring_row, n);
    }
    const int row = r - HALF_WINDOW;
    if (row < task.row) continue;
    const size_t offset = row * row_size + task.column;
    for (int j = 0; j < n; j += LANES) {
      f8 moments[4];
      filter_column<4>(s.ring, r, j, moments);
      const f8 mx = moments[0], my = moments[1], mxx = mx * mx, myy = my * my, mxy = mx * my;
      const f8 a1 = 2.0f * mxy + SSIM_C1, a2 = 2.0f * (moments[3] - mxy) + SSIM_C2;
      const f8 b1 = mxx + myy + SSIM_C1, b2 = moments[2] - mxx - myy + SSIM_C2;
      const f8 inverse = 1.0f / (b1 * b2), value = a1 * a2 * inverse;
      const f8 inverse_b2 = b1 * inverse, inverse_b1 = b2 * inverse;
      const f8 d_square = -value * inverse_b2, d_product = 2.0f * a1 * inverse;
      const f8 d_mean = 2.0f * (my * a2 * inverse - mx * value * inverse_b1) - 2.0f * mx * d_square - my * d_product;
      if (j + LANES <= n) {
        sum += value;
        store(derivative[0] + offset + j, d_mean);
        store(derivative[1] + offset + j, d_square);
        store(derivative[2] + offset + j, d_product);
      } else {
        for (int l = 0; l < n - j; l++) {
          tail_sum += value[l];
          derivative[0][offset + j + l] = d_mean[l];
          derivative[1][offset + j + l] = d_square[l];
          derivative[2][offset + j + l] = d_product[l];
        }
      }
    }
  }
  return tail_sum + sum_lanes(sum);
}

// Sum of |x - y| over a task's pixels; writes the gradient if it is wanted.
static double absolute_difference(const LossArguments& a, const LossTask& task) {
  const size_t plane = (size_t)a.height * a.width, row_size = loss_row(a.width);
  const float *image = a.image + task.channel * plane, *target = a.target + task.channel * plane;
  const int n = task.columns;
  f8 sum = splat(0.0f);
  double tail_sum = 0.0;
  if (!a.gradient) {
    for (int row = task.row; row < task.row_end; row++) {
      const float *x = image + (size_t)row * a.width + task.column, *y = target + (size_t)row * a.width + task.column;
      int j = 0;
      for (; j + LANES <= n; j += LANES) sum += magnitude(load(x + j) - load(y + j));
      for (; j < n; j++) tail_sum += std::fabs(x[j] - y[j]);
    }
    return tail_sum + sum_lanes(sum);
  }

  Strip<3> s;
  std::memset(s.source, 0, sizeof s.source);
  const int from = std::max(0, a.x0 + HALF_WINDOW - task.column);
  const int to = std::min(n + WINDOW - 1, a.x1 + HALF_WINDOW - task.column);
  const float pixels = (float)((double)a.channels * a.height * a.width);
  const float l1_step = a.l1_weight / pixels, ssim_step = -a.ssim_weight / pixels;
  for (int r = task.row - HALF_WINDOW; r < task.row_end + HALF_WINDOW; r++) {
    auto ring_row = s.ring[r & (RING - 1)];
    if (r < a.y0 || r >= a.y1) {
      std::memset(ring_row, 0, sizeof s.ring[0]);
    } else {
      for (int m = 0; m < 3; m++) {
        const float* derivative = a.scratch + (((size_t)m * a.channels + task.channel) * a.height + r) * row_size;
        std::memcpy(s.source[m] + from, derivative + task.column - HALF_WINDOW + from, sizeof(float) * (to - from));
      }
      filter_row<3>(s.source, ring_row, n);
    }
    const int row = r - HALF_WINDOW;
    if (row < task.row) continue;
    const size_t offset = (size_t)row * a.width + task.column;
    const float *x = image + offset, *y = target + offset;
    float* gradient = a.gradient + task.channel * plane + offset;
    for (int j = 0; j < n; j += LANES) {
      f8 d[3];
      filter_column<3>(s.ring, r, j, d);
      if (j + LANES <= n) {
        const f8 xv = load(x + j), yv = load(y + j), difference = xv - yv;
        sum += magnitude(difference);
        const i8 sign = as_int(difference) & splat_int((int)0x80000000u);
        const f8 l1 = keep(difference != 0.0f, as_float(sign ^ as_int(splat(l1_step))));
        store(gradient + j, l1 + ssim_step * (d[0] + 2.0f * xv * d[1] + yv * d[2]));
      } else {
        for (int l = 0; l < n - j; l++) {
          const float difference = x[j + l] - y[j + l];
          tail_sum += std::fabs(difference);
          const float l1 = difference > 0 ? l1_step : difference < 0 ? -l1_step : 0.0f;
          gradient[j + l] = l1 + ssim_step * (d[0][l] + 2.0f * x[j + l] * d[1][l] + y[j + l] * d[2][l]);
        }
      }
    }
  }
  return tail_sum + sum_lanes(sum);
}

static double l1_ssim(const LossArguments& a) {
  const int tasks = LossTask::count(a);
  double* sums = a.sums;
  parallel_for(tasks, [&](int index) { sums[index] = similarity(a, LossTask(a, index)); });
  double similar = 0.0, absolute = 0.0;  // summed in the order of the tasks: the same for any number of threads
  for (int i = 0; i < tasks; i++) similar += sums[i];
  const size_t pixels = (size_t)a.channels * a.height * a.width;
  const size_t computed = (size_t)a.channels * (a.x1 - a.x0) * (a.y1 - a.y0);
  if (a.gradient && computed < pixels) std::memset(a.gradient, 0, sizeof(float) * pixels);
  parallel_for(tasks, [&](int index) { sums[index] = absolute_difference(a, LossTask(a, index)); });
  for (int i = 0; i < tasks; i++) absolute += sums[i];
  similar += (double)(pixels - computed);  // outside of the box the images are equal
  return a.l1_weight * (absolute / pixels) + a.ssim_weight * (1.0 - similar / pixels);
}

}  // namespace KERNEL_ISA
