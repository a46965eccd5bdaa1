// Coarse UV maps of shifts and colours, taken to the Gaussians and back (spatialavatar/refine/correctives.py).
#pragma once
#include "pool.hpp"
#include "refine_context.hpp"
#include "simd.hpp"

namespace KERNEL_ISA {

// A cell of a map fills one vector: a shift along the axes of the mesh at rest, and a brightness.
typedef float f4 __attribute__((vector_size(16)));
typedef float f4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));
static ALWAYS_INLINE f4 load_cell(const float* p) { return *(const f4_unaligned*)p; }
static ALWAYS_INLINE void store_cell(float* p, f4 v) { *(f4_unaligned*)p = v; }

static void spread_maps(const CoarseMapArguments& a) {
  parallel_for((a.count + CHUNK - 1) / CHUNK, [&](int chunk) {
    for (int i = chunk * CHUNK, end = std::min(a.count, i + CHUNK); i < end; i++) {
      f4 sum = {};
      for (int k = 0; k < MAP_CORNERS; k++) {
        const size_t at = MAP_CORNERS * (size_t)i + k;
        sum += a.shares[at] * load_cell(a.map + MAP_WIDTH * (size_t)a.cells[at]);
      }
      const float* turn = a.local_from_rest + 9 * (size_t)i;
      for (int k = 0; k < 3; k++) {
        a.positions[3 * (size_t)i + k] = turn[3 * k] * sum[0] + turn[3 * k + 1] * sum[1] + turn[3 * k + 2] * sum[2];
        a.colors[3 * (size_t)i + k] = a.color_unit * sum[3];
      }
    }
  });
}

// The derivative of the above: each cell gathers from the Gaussians that take of it, in a fixed order.
static void gather_maps(const CoarseMapArguments& a) {
  parallel_for((a.count + CHUNK - 1) / CHUNK, [&](int chunk) {
    for (int i = chunk * CHUNK, end = std::min(a.count, i + CHUNK); i < end; i++) {
      const float *turn = a.local_from_rest + 9 * (size_t)i, *shift = a.positions + 3 * (size_t)i;
      const float* color = a.colors + 3 * (size_t)i;
      f4 row = {0, 0, 0, a.color_unit * (color[0] + color[1] + color[2])};
      for (int k = 0; k < 3; k++) row[k] = turn[k] * shift[0] + turn[3 + k] * shift[1] + turn[6 + k] * shift[2];
      store_cell(a.scratch + MAP_WIDTH * (size_t)i, row);
    }
  });
  parallel_for((a.cells_count + CELLS_PER_TASK - 1) / CELLS_PER_TASK, [&](int task) {
    for (int cell = task * CELLS_PER_TASK, end = std::min(a.cells_count, cell + CELLS_PER_TASK); cell < end; cell++) {
      f4 sum = {};
      for (int k = a.first_of_cell[cell]; k < a.first_of_cell[cell + 1]; k++)
        sum += a.member_shares[k] * load_cell(a.scratch + MAP_WIDTH * (size_t)a.members[k]);
      store_cell(a.gradient + MAP_WIDTH * (size_t)cell, sum);
    }
  });
}

}  // namespace KERNEL_ISA
