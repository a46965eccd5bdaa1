// L_aspect (Eq. 4) and its gradient. spatialavatar/splat/aspect.py is the form to read.
#pragma once
#include "constants.hpp"
#include "context.hpp"
#include "pool.hpp"
#include "rows.hpp"

namespace KERNEL_ISA {

// ReLU(1/2 log(lmax / lmin) - threshold) of 8 covariances where `counts` is set, and `share` times its gradient by
// xx, xy, yy. Both are 0 in the other lanes.
static ALWAYS_INLINE f8 aspect_excess(f8 xx, f8 xy, f8 yy, i8 counts, float threshold, float share, f8 gradient[3]) {
  const f8 half_difference = 0.5f * (xx - yy);
  const f8 half_gap = square_root(half_difference * half_difference + xy * xy + ASPECT_ROUND);
  const f8 largest = 0.5f * (xx + yy) + half_gap;
  const d8 cross = to_double(xy);  // in double: for needles this is the difference of two nearly equal numbers
  const f8 determinant = to_float(to_double(xx) * to_double(yy) - cross * cross);
  const f8 smallest = determinant / max(largest, splat(ASPECT_ROUND));
  const i8 has_largest = largest > ASPECT_FLOOR, has_smallest = smallest > ASPECT_FLOOR;
  const f8 ratio =
      (0.5f / LOG2_E) * (log2(max(largest, splat(ASPECT_FLOOR))) - log2(max(smallest, splat(ASPECT_FLOOR))));
  const i8 pays = (ratio > threshold) & counts;
  // ln of the largest counts once by itself, and once more because smallest = determinant / largest.
  const f8 by_largest = keep(pays & has_largest, share / largest) * select(has_smallest, splat(1.0f), splat(0.5f));
  const f8 by_determinant = keep(pays & has_smallest, (-0.5f * share) / determinant);
  const f8 slope = 0.5f * half_difference / half_gap;
  gradient[0] = by_largest * (0.5f + slope) + by_determinant * yy;
  gradient[1] = by_largest * (xy / half_gap) - 2.0f * by_determinant * xy;
  gradient[2] = by_largest * (0.5f - slope) + by_determinant * xx;
  return keep(pays, ratio - threshold);
}

// Sum over one chunk of Gaussians; the gradient is that of the mean over all of them.
static double aspect_chunk(const AspectArguments& a, int chunk) {
  const int begin = chunk * CHUNK, end = std::min(a.count, begin + CHUNK);
  const f8 lane = {0, 1, 2, 3, 4, 5, 6, 7};
  double total = 0.0;
  for (int i = begin; i < end; i += 8) {
    f8 c[3], gradient[3];
    load_rows<3>(a.covariances2d, i, a.count, c);
    const i8 counts = lane < (float)(end - i);
    total += sum_lanes(aspect_excess(c[0], c[1], c[2], counts, a.threshold, 1.0f / (float)a.count, gradient));
    if (a.gradient) store_rows<3>(a.gradient, i, a.count, gradient);
  }
  return total;
}

static double aspect(const AspectArguments& a) {
  const int chunks = (a.count + CHUNK - 1) / CHUNK;
  parallel_for(chunks, [&](int chunk) { a.sums[chunk] = aspect_chunk(a, chunk); });
  double total = 0.0;
  for (int chunk = 0; chunk < chunks; chunk++) total += a.sums[chunk];
  return a.count ? total / a.count : 0.0;
}

}  // namespace KERNEL_ISA
