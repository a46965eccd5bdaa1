// Arrays of rows, eight rows at a time as one vector per column.
#pragma once
#include <algorithm>
#include <cstddef>

#include "simd.hpp"

namespace KERNEL_ISA {

// Loads 8 rows of `Columns` floats, starting at row i of n, as `Columns` vectors.
template <int Columns>
static ALWAYS_INLINE void load_rows(const float* p, int i, int n, f8* out) {
  if (i + 16 <= n) {  // loads of 8 floats a row read up to 7 floats beyond row i + 7
    if (Columns == 1) {
      out[0] = load(p + i);
      return;
    }
    f8 rows[8];
    for (int l = 0; l < 8; l++) rows[l] = load(p + (size_t)(i + l) * Columns);
    transpose(rows);
    for (int d = 0; d < Columns; d++) out[d] = rows[d];
  } else {
    for (int d = 0; d < Columns; d++)
      for (int l = 0; l < 8; l++) out[d][l] = p[(size_t)std::min(i + l, n - 1) * Columns + d];
  }
}

// Stores lanes 0..n-i-1 of `Columns` vectors as rows.
template <int Columns>
static ALWAYS_INLINE void store_rows(float* p, int i, int n, const f8* values) {
  float lanes[Columns][8];
  for (int d = 0; d < Columns; d++) store(lanes[d], values[d]);
  const int rows = std::min(8, n - i);
  for (int l = 0; l < rows; l++)
    for (int d = 0; d < Columns; d++) p[(size_t)(i + l) * Columns + d] = lanes[d][l];
}

}  // namespace KERNEL_ISA
