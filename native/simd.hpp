// Vectors of 8 floats on the vector extensions of GCC and Clang. Intrinsics appear only where the compilers' generic
// code is poor on AVX; without AVX the same source becomes pairs of SSE or NEON operations.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

typedef float f8 __attribute__((vector_size(32)));
typedef int32_t i8 __attribute__((vector_size(32)));
typedef double d8 __attribute__((vector_size(64)));
// The same without the alignment, for loads and stores anywhere.
typedef float f8_unaligned __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t i8_unaligned __attribute__((vector_size(32), aligned(4), may_alias));

static ALWAYS_INLINE f8 load(const float* p) { return *(const f8_unaligned*)p; }
static ALWAYS_INLINE void store(float* p, f8 v) { *(f8_unaligned*)p = v; }
static ALWAYS_INLINE i8 load_int(const int32_t* p) { return *(const i8_unaligned*)p; }
static ALWAYS_INLINE void store_int(int32_t* p, i8 v) { *(i8_unaligned*)p = v; }
static ALWAYS_INLINE f8 load_aligned(const float* p) { return *(const f8*)p; }
static ALWAYS_INLINE void store_aligned(float* p, f8 v) { *(f8*)p = v; }
static ALWAYS_INLINE f8 splat(float x) { return f8{x, x, x, x, x, x, x, x}; }
static ALWAYS_INLINE i8 splat_int(int32_t x) { return i8{x, x, x, x, x, x, x, x}; }
static ALWAYS_INLINE f8 as_float(i8 x) { return (f8)x; }
static ALWAYS_INLINE i8 as_int(f8 x) { return (i8)x; }

// Lanes of two vectors, numbered through both.
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#if defined(__SSE2__) && !defined(__AVX__)
static ALWAYS_INLINE __m128 lower(f8 a) { return (__m128)PICK(a, a, 0, 1, 2, 3); }
static ALWAYS_INLINE __m128 upper(f8 a) { return (__m128)PICK(a, a, 4, 5, 6, 7); }
static ALWAYS_INLINE f8 join(__m128 low, __m128 high) { return (f8)PICK(low, high, 0, 1, 2, 3, 4, 5, 6, 7); }
#endif

// Masks are integer vectors of 0 and -1, as comparisons yield them.
static ALWAYS_INLINE f8 keep(i8 mask, f8 v) { return as_float(mask & as_int(v)); }  // 0 where the mask is not set
static ALWAYS_INLINE i8 select_int(i8 mask, i8 a, i8 b) { return (mask & a) | (~mask & b); }
#if defined(__AVX__)
static ALWAYS_INLINE f8 select(i8 mask, f8 a, f8 b) { return (f8)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask); }
// Where an argument is NaN, min and max return the second one.
static ALWAYS_INLINE f8 min(f8 a, f8 b) { return (f8)_mm256_min_ps((__m256)a, (__m256)b); }
static ALWAYS_INLINE f8 max(f8 a, f8 b) { return (f8)_mm256_max_ps((__m256)a, (__m256)b); }
static ALWAYS_INLINE f8 square_root(f8 a) { return (f8)_mm256_sqrt_ps((__m256)a); }
static ALWAYS_INLINE int lane_bits(i8 mask) { return _mm256_movemask_ps((__m256)mask); }  // bit l = lane l is set
#else
static ALWAYS_INLINE f8 select(i8 mask, f8 a, f8 b) { return as_float((mask & as_int(a)) | (~mask & as_int(b))); }
static ALWAYS_INLINE f8 min(f8 a, f8 b) { return select(a < b, a, b); }
static ALWAYS_INLINE f8 max(f8 a, f8 b) { return select(a > b, a, b); }
#if defined(__SSE2__)
static ALWAYS_INLINE f8 square_root(f8 a) {
  return join(_mm_sqrt_ps(lower(a)), _mm_sqrt_ps(upper(a)));
}
static ALWAYS_INLINE int lane_bits(i8 mask) {
  return _mm_movemask_ps(lower(as_float(mask))) | _mm_movemask_ps(upper(as_float(mask))) << 4;
}
#else
static ALWAYS_INLINE f8 square_root(f8 a) {
  f8 r;
  for (int i = 0; i < 8; i++) r[i] = std::sqrt(a[i]);
  return r;
}
static ALWAYS_INLINE int lane_bits(i8 mask) {
  const i8 bits = mask & i8{1, 2, 4, 8, 16, 32, 64, 128};
  const auto halves = PICK(bits, bits, 0, 1, 2, 3) | PICK(bits, bits, 4, 5, 6, 7);
  const auto pairs = halves | PICK(halves, halves, 2, 3, 0, 1);
  return pairs[0] | pairs[1];
}
#endif
#endif
static ALWAYS_INLINE i8 min_int(i8 a, i8 b) { return select_int(a < b, a, b); }
static ALWAYS_INLINE i8 max_int(i8 a, i8 b) { return select_int(a > b, a, b); }

static ALWAYS_INLINE i8 truncate(f8 x) { return __builtin_convertvector(x, i8); }  // |x| must be below 2^31
static ALWAYS_INLINE f8 to_float(i8 x) { return __builtin_convertvector(x, f8); }
static ALWAYS_INLINE i8 floor_int(f8 x) {
  const i8 i = truncate(x);
  return i + (to_float(i) > x);
}
static ALWAYS_INLINE i8 ceil_int(f8 x) {
  const i8 i = truncate(x);
  return i - (to_float(i) < x);
}
static ALWAYS_INLINE d8 to_double(f8 x) { return __builtin_convertvector(x, d8); }
static ALWAYS_INLINE f8 to_float(d8 x) { return __builtin_convertvector(x, f8); }

// 2^p for p in about [-126, 126]. Degree 5, relative error 9e-8, 2^0 is exactly 1. Evaluated in Estrin's order, whose
// chain of dependent operations is shorter than Horner's.
static ALWAYS_INLINE f8 exp2(f8 p) {
  const f8 shift = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const f8 rounded = p + shift;
  const f8 f = p - (rounded - shift), f2 = f * f;
  const f8 high = f * 1.32647e-3f + 9.67151e-3f, middle = f * 5.550734e-2f + 2.4022242e-1f;
  const f8 low = f * 6.9314698e-1f + 1.0f;
  const f8 r = (high * f2 + middle) * f2 + low;
  return as_float(as_int(r) + (as_int(rounded) << 23));
}

static ALWAYS_INLINE f8 log2(f8 x) {  // x > 0 and normal
  const i8 i = as_int(x);
  const i8 exponent = (i - splat_int(0x3f3504f3)) >> 23;  // relative to sqrt(1/2)
  const f8 m = as_float(i - (exponent << 23));
  const f8 s = (m - 1.0f) / (m + 1.0f), s2 = s * s;
  f8 r = splat(1.0f / 9.0f);
  r = r * s2 + splat(1.0f / 7.0f);
  r = r * s2 + splat(1.0f / 5.0f);
  r = r * s2 + splat(1.0f / 3.0f);
  r = r * s2 + splat(1.0f);
  return to_float(exponent) + s * r * splat(2.8853900817779268f);
}

// Rows of an 8 x 8 matrix to its columns.
static ALWAYS_INLINE void transpose(f8* r) {
#if defined(__AVX__)
  __m256 pairs[8], quads[8];
  for (int i = 0; i < 4; i++) {
    pairs[2 * i] = _mm256_unpacklo_ps((__m256)r[2 * i], (__m256)r[2 * i + 1]);
    pairs[2 * i + 1] = _mm256_unpackhi_ps((__m256)r[2 * i], (__m256)r[2 * i + 1]);
  }
  for (int i = 0; i < 2; i++) {
    quads[4 * i] = _mm256_shuffle_ps(pairs[4 * i], pairs[4 * i + 2], 0x44);
    quads[4 * i + 1] = _mm256_shuffle_ps(pairs[4 * i], pairs[4 * i + 2], 0xEE);
    quads[4 * i + 2] = _mm256_shuffle_ps(pairs[4 * i + 1], pairs[4 * i + 3], 0x44);
    quads[4 * i + 3] = _mm256_shuffle_ps(pairs[4 * i + 1], pairs[4 * i + 3], 0xEE);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = (f8)_mm256_permute2f128_ps(quads[i], quads[4 + i], 0x20);
    r[4 + i] = (f8)_mm256_permute2f128_ps(quads[i], quads[4 + i], 0x31);
  }
#else
  f8 pairs[8], quads[8];
  for (int i = 0; i < 4; i++) {
    pairs[2 * i] = PICK(r[2 * i], r[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[2 * i + 1] = PICK(r[2 * i], r[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 2; i++) {
    quads[4 * i] = PICK(pairs[4 * i], pairs[4 * i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    quads[4 * i + 1] = PICK(pairs[4 * i], pairs[4 * i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    quads[4 * i + 2] = PICK(pairs[4 * i + 1], pairs[4 * i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    quads[4 * i + 3] = PICK(pairs[4 * i + 1], pairs[4 * i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = PICK(quads[i], quads[4 + i], 0, 1, 2, 3, 8, 9, 10, 11);
    r[4 + i] = PICK(quads[i], quads[4 + i], 4, 5, 6, 7, 12, 13, 14, 15);
  }
#endif
}

static ALWAYS_INLINE float sum_lanes(f8 a) {
#if defined(__AVX__)
  __m128 l = _mm_add_ps(_mm256_castps256_ps128((__m256)a), _mm256_extractf128_ps((__m256)a, 1));
  l = _mm_add_ps(l, _mm_movehl_ps(l, l));
  l = _mm_add_ss(l, _mm_shuffle_ps(l, l, 1));
  return _mm_cvtss_f32(l);
#else
  return ((a[0] + a[4]) + (a[1] + a[5])) + ((a[2] + a[6]) + (a[3] + a[7]));
#endif
}

// The lane sums of eight vectors, as one vector.
static ALWAYS_INLINE f8 sum_lanes_of_8(f8 a, f8 b, f8 c, f8 d, f8 e, f8 f, f8 g, f8 h) {
#if defined(__AVX__)
  const __m256 ab = _mm256_hadd_ps((__m256)a, (__m256)b), cd = _mm256_hadd_ps((__m256)c, (__m256)d);
  const __m256 ef = _mm256_hadd_ps((__m256)e, (__m256)f), gh = _mm256_hadd_ps((__m256)g, (__m256)h);
  const __m256 abcd = _mm256_hadd_ps(ab, cd), efgh = _mm256_hadd_ps(ef, gh);
  return (f8)_mm256_add_ps(_mm256_permute2f128_ps(abcd, efgh, 0x20), _mm256_permute2f128_ps(abcd, efgh, 0x31));
#else
  f8 rows[8] = {a, b, c, d, e, f, g, h};
  transpose(rows);
  return ((rows[0] + rows[4]) + (rows[1] + rows[5])) + ((rows[2] + rows[6]) + (rows[3] + rows[7]));
#endif
}

// A block of 4 x 2 pixels of an image: two rows of four.
static ALWAYS_INLINE f8 load_two_rows(const float* upper, const float* lower) {
#if defined(__AVX__)
  return (f8)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(upper)), _mm_loadu_ps(lower), 1);
#else
  return f8{upper[0], upper[1], upper[2], upper[3], lower[0], lower[1], lower[2], lower[3]};
#endif
}
static ALWAYS_INLINE void store_two_rows(float* upper, float* lower, f8 v) {
#if defined(__AVX__)
  _mm_storeu_ps(upper, _mm256_castps256_ps128((__m256)v));
  _mm_storeu_ps(lower, _mm256_extractf128_ps((__m256)v, 1));
#else
  for (int i = 0; i < 4; i++) {
    upper[i] = v[i];
    lower[i] = v[4 + i];
  }
#endif
}

// The low byte of each lane, lane 0 lowest.
static ALWAYS_INLINE uint64_t pack_bytes(i8 v) {
#if defined(__AVX2__)
  const __m256i order = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                         0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i s = _mm256_shuffle_epi8((__m256i)v, order);
  return (uint32_t)_mm256_extract_epi32(s, 0) | ((uint64_t)(uint32_t)_mm256_extract_epi32(s, 4) << 32);
#else
  uint64_t r = 0;
  for (int i = 0; i < 8; i++) r |= (uint64_t)(v[i] & 0xff) << (8 * i);
  return r;
#endif
}
