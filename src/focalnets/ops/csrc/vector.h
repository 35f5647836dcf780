// One vector of float32 channels, as wide as the instruction set this file is compiled for.
//
// Everything sits in a namespace of that instruction set and is internal to the file including it: the linker must
// never merge code compiled for AVX-512 with code for older processors. For the same reason no inline library function
// is used.
#pragma once

#include <cstddef>
#include <cstdint>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define FOCAL_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define FOCAL_VECTOR_BYTES 32
#else
#define FOCAL_VECTOR_BYTES 16
#endif

#define FOCAL_INLINE inline __attribute__((always_inline))
#if defined(FOCAL_SANITIZED)  // instrumented and unrolled, the kernels take many minutes to compile
#define FOCAL_UNROLL
#define FOCAL_KEEP_LOOP
#elif defined(__clang__)
#define FOCAL_UNROLL _Pragma("clang loop unroll(full)")
#define FOCAL_KEEP_LOOP _Pragma("clang loop unroll(disable)")
#else
#define FOCAL_UNROLL _Pragma("GCC unroll 64")
#define FOCAL_KEEP_LOOP _Pragma("GCC unroll 1")
#endif

namespace FOCAL_NAMESPACE {
namespace {

constexpr int64_t lanes = FOCAL_VECTOR_BYTES / 4;
typedef float Vector __attribute__((vector_size(FOCAL_VECTOR_BYTES), may_alias));
typedef int32_t Integers __attribute__((vector_size(FOCAL_VECTOR_BYTES), may_alias));
typedef float UnalignedVector __attribute__((vector_size(FOCAL_VECTOR_BYTES), may_alias, aligned(4)));

FOCAL_INLINE Vector load(const float* source) { return *reinterpret_cast<const Vector*>(source); }
FOCAL_INLINE void store(float* target, Vector value) { *reinterpret_cast<Vector*>(target) = value; }
FOCAL_INLINE Vector load_unaligned(const float* source) { return *reinterpret_cast<const UnalignedVector*>(source); }
FOCAL_INLINE void store_unaligned(float* target, Vector value) { *reinterpret_cast<UnalignedVector*>(target) = value; }
FOCAL_INLINE Vector splat(float value) { return value - Vector{}; }

// What compilers do not find the best instruction for by themselves: max(0, x), where NaN stays NaN, min(|x|, bound),
// and the difference from p to the nearest integer, given that integer as well.
#if defined(__AVX512F__)
FOCAL_INLINE Vector positive_part(Vector x) { return (Vector)_mm512_max_ps(_mm512_setzero_ps(), (__m512)x); }
FOCAL_INLINE Vector magnitude(Vector x, float bound) {
  return (Vector)_mm512_range_ps((__m512)x, _mm512_set1_ps(bound), 0b1010);
}
FOCAL_INLINE Vector fraction(Vector p, Vector) { return (Vector)_mm512_reduce_ps((__m512)p, _MM_FROUND_NO_EXC); }
#elif defined(__AVX2__)
FOCAL_INLINE Vector positive_part(Vector x) { return (Vector)_mm256_max_ps(_mm256_setzero_ps(), (__m256)x); }
FOCAL_INLINE Vector magnitude(Vector x, float bound) {
  return (Vector)_mm256_min_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), (__m256)x), _mm256_set1_ps(bound));
}
FOCAL_INLINE Vector fraction(Vector p, Vector nearest) { return p - nearest; }
#elif defined(__SSE2__)
FOCAL_INLINE Vector positive_part(Vector x) { return (Vector)_mm_max_ps(_mm_setzero_ps(), (__m128)x); }
FOCAL_INLINE Vector magnitude(Vector x, float bound) {
  return (Vector)_mm_min_ps(_mm_andnot_ps(_mm_set1_ps(-0.0f), (__m128)x), _mm_set1_ps(bound));
}
FOCAL_INLINE Vector fraction(Vector p, Vector nearest) { return p - nearest; }
#else
FOCAL_INLINE Vector positive_part(Vector x) { return x < 0.0f ? Vector{} : x; }
FOCAL_INLINE Vector magnitude(Vector x, float bound) {
  const Vector a = (Vector)((Integers)x & 0x7fffffff);
  return a < bound ? a : splat(bound);
}
FOCAL_INLINE Vector fraction(Vector p, Vector nearest) { return p - nearest; }
#endif

FOCAL_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
FOCAL_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// The last vector of a tensor may hold fewer channels than lanes: nothing beyond them is read or written.
#if defined(__AVX512F__)
FOCAL_INLINE Vector load_some(const float* source, int64_t count) {
  return (Vector)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), source);
}
FOCAL_INLINE void store_some(float* target, Vector value, int64_t count) {
  _mm512_mask_storeu_ps(target, (__mmask16)((1u << count) - 1), (__m512)value);
}
#elif defined(__AVX2__)
FOCAL_INLINE Integers first_lanes(int64_t count) { return Integers{0, 1, 2, 3, 4, 5, 6, 7} < (int32_t)count; }
FOCAL_INLINE Vector load_some(const float* source, int64_t count) {
  return (Vector)_mm256_maskload_ps(source, (__m256i)first_lanes(count));
}
FOCAL_INLINE void store_some(float* target, Vector value, int64_t count) {
  _mm256_maskstore_ps(target, (__m256i)first_lanes(count), (__m256)value);
}
#else
FOCAL_INLINE Vector load_some(const float* source, int64_t count) {
  Vector value = {};
  for (int64_t lane = 0; lane < count; ++lane) value[lane] = source[lane];
  return value;
}
FOCAL_INLINE void store_some(float* target, Vector value, int64_t count) {
  for (int64_t lane = 0; lane < count; ++lane) target[lane] = value[lane];
}
#endif

// Maps may also lie in memory as bfloat16: the upper half of a float32, rounded to the nearest.
typedef uint32_t Bits __attribute__((vector_size(FOCAL_VECTOR_BYTES), may_alias));
typedef uint16_t Halves __attribute__((vector_size(FOCAL_VECTOR_BYTES / 2), may_alias, aligned(2)));
#if defined(__AVX512BF16__)
FOCAL_INLINE Halves to_bfloat16(Vector value) { return (Halves)_mm512_cvtneps_pbh((__m512)value); }
#else
FOCAL_INLINE Halves to_bfloat16(Vector value) {
  const Bits bits = (Bits)value;
  return __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, Halves);
}
#endif
FOCAL_INLINE Vector load_unaligned(const uint16_t* source) {
  return (Vector)(__builtin_convertvector(*reinterpret_cast<const Halves*>(source), Bits) << 16);
}
FOCAL_INLINE void store_unaligned(uint16_t* target, Vector value) {
  *reinterpret_cast<Halves*>(target) = to_bfloat16(value);
}
FOCAL_INLINE Vector load_some(const uint16_t* source, int64_t count) {
  Halves value = {};
  __builtin_memcpy(&value, source, static_cast<size_t>(count) * 2);
  return load_unaligned(reinterpret_cast<const uint16_t*>(&value));
}
FOCAL_INLINE void store_some(uint16_t* target, Vector value, int64_t count) {
  const Halves rounded = to_bfloat16(value);
  __builtin_memcpy(target, &rounded, static_cast<size_t>(count) * 2);
}

// A vector of which `count` lanes are in memory.
template <class Element>
FOCAL_INLINE Vector load_up_to(const Element* source, int64_t count) {
  return count == lanes ? load_unaligned(source) : load_some(source, count);
}
template <class Element>
FOCAL_INLINE void store_up_to(Element* target, Vector value, int64_t count) {
  if (count == lanes)
    store_unaligned(target, value);
  else
    store_some(target, value, count);
}

typedef float Quad __attribute__((vector_size(16), may_alias));

// Shuffles of two vectors that repeat in every group of four lanes: 0..3 are the group's lanes of the first, 4..7 of
// the second.
#define FOCAL_PICK(group, i) ((i) < 4 ? 4 * (group) + (i) : FOCAL_VECTOR_BYTES / 4 + 4 * (group) + (i) - 4)
#define FOCAL_GROUP(group, i, j, k, l) \
  FOCAL_PICK(group, i), FOCAL_PICK(group, j), FOCAL_PICK(group, k), FOCAL_PICK(group, l)
#if FOCAL_VECTOR_BYTES == 64
#define FOCAL_GROUPS(...) \
  FOCAL_GROUP(0, __VA_ARGS__), FOCAL_GROUP(1, __VA_ARGS__), FOCAL_GROUP(2, __VA_ARGS__), FOCAL_GROUP(3, __VA_ARGS__)
#elif FOCAL_VECTOR_BYTES == 32
#define FOCAL_GROUPS(...) FOCAL_GROUP(0, __VA_ARGS__), FOCAL_GROUP(1, __VA_ARGS__)
#else
#define FOCAL_GROUPS(...) FOCAL_GROUP(0, __VA_ARGS__)
#endif
typedef int32_t QuadIntegers __attribute__((vector_size(16)));
#if defined(__clang__)
#define FOCAL_SHUFFLE_QUADS(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define FOCAL_SHUFFLE_QUADS(a, b, i, j, k, l) __builtin_shuffle(a, b, QuadIntegers{i, j, k, l})
#endif
#if defined(__clang__)
#define FOCAL_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, FOCAL_GROUPS(__VA_ARGS__))
#else
#define FOCAL_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Integers{FOCAL_GROUPS(__VA_ARGS__)})
#endif

typedef float UnalignedQuad __attribute__((vector_size(16), may_alias, aligned(4)));

// Writes the transpose of four rows of four numbers.
FOCAL_INLINE void transpose(const float* source, int64_t source_stride, float* target, int64_t target_stride) {
  Quad in[4];
  for (int i = 0; i < 4; ++i) in[i] = *reinterpret_cast<const UnalignedQuad*>(source + i * source_stride);
  const Quad low01 = FOCAL_SHUFFLE_QUADS(in[0], in[1], 0, 4, 1, 5),
             high01 = FOCAL_SHUFFLE_QUADS(in[0], in[1], 2, 6, 3, 7);
  const Quad low23 = FOCAL_SHUFFLE_QUADS(in[2], in[3], 0, 4, 1, 5),
             high23 = FOCAL_SHUFFLE_QUADS(in[2], in[3], 2, 6, 3, 7);
  const Quad out[4] = {FOCAL_SHUFFLE_QUADS(low01, low23, 0, 1, 4, 5), FOCAL_SHUFFLE_QUADS(low01, low23, 2, 3, 6, 7),
                       FOCAL_SHUFFLE_QUADS(high01, high23, 0, 1, 4, 5),
                       FOCAL_SHUFFLE_QUADS(high01, high23, 2, 3, 6, 7)};
  for (int i = 0; i < 4; ++i) *reinterpret_cast<UnalignedQuad*>(target + i * target_stride) = out[i];
}

// The same for any matrix, (rows, columns) to (columns, rows).
[[maybe_unused]] void transpose(const float* source, int64_t source_stride, float* target, int64_t target_stride,
                                int64_t rows, int64_t columns) {
  if (rows < 4 || columns < 4) {
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column)
        target[column * target_stride + row] = source[row * source_stride + column];
    return;
  }
  for (int64_t row = 0;; row = smaller(row + 4, rows - 4)) {  // the last four may overlap those before
    for (int64_t column = 0;; column = smaller(column + 4, columns - 4)) {
      transpose(source + row * source_stride + column, source_stride, target + column * target_stride + row,
                target_stride);
      if (column == columns - 4) break;
    }
    if (row == rows - 4) break;
  }
}

// Sums over the lanes of four vectors.
FOCAL_INLINE Quad sum_lanes(Vector a, Vector b, Vector c, Vector d) {
  const Vector ab = FOCAL_SHUFFLE(a, b, 0, 4, 1, 5) + FOCAL_SHUFFLE(a, b, 2, 6, 3, 7);
  const Vector cd = FOCAL_SHUFFLE(c, d, 0, 4, 1, 5) + FOCAL_SHUFFLE(c, d, 2, 6, 3, 7);
  const Vector abcd = FOCAL_SHUFFLE(ab, cd, 0, 1, 4, 5) + FOCAL_SHUFFLE(ab, cd, 2, 3, 6, 7);
  Quad quads[lanes / 4];
  __builtin_memcpy(quads, &abcd, sizeof abcd);
  Quad sum = quads[0];
  FOCAL_UNROLL
  for (int64_t group = 1; group < lanes / 4; ++group) sum += quads[group];
  return sum;
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
