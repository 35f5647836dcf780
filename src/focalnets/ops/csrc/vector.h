// One vector of float32 channels, as wide as the instruction set this file is compiled for.
//
// Everything sits in a namespace of that instruction set and is internal to the file including it: the linker must never
// merge code compiled for AVX-512 with code for older processors. For the same reason no inline library function is used.
#pragma once

#include <cstdint>
#if defined(__AVX2__)
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
FOCAL_INLINE Vector minimum(Vector a, Vector b) { return a < b ? a : b; }

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
FOCAL_INLINE Integers first_lanes(int64_t count) {
  return Integers{0, 1, 2, 3, 4, 5, 6, 7} < (int32_t)count;
}
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

typedef float Quad __attribute__((vector_size(16), may_alias));

// Sums over the lanes of four vectors.
FOCAL_INLINE Quad sum_lanes(Vector a, Vector b, Vector c, Vector d) {
  constexpr int64_t quads = lanes / 4;
  alignas(64) float memory[4][lanes];
  store(memory[0], a);
  store(memory[1], b);
  store(memory[2], c);
  store(memory[3], d);
  Quad folded[4];
  FOCAL_UNROLL
  for (int row = 0; row < 4; ++row) {
    folded[row] = *reinterpret_cast<const Quad*>(memory[row]);
    FOCAL_UNROLL
    for (int64_t quad = 1; quad < quads; ++quad) folded[row] += *reinterpret_cast<const Quad*>(memory[row] + 4 * quad);
  }
  return Quad{folded[0][0], folded[1][0], folded[2][0], folded[3][0]} +
         Quad{folded[0][1], folded[1][1], folded[2][1], folded[3][1]} +
         Quad{folded[0][2], folded[1][2], folded[2][2], folded[3][2]} +
         Quad{folded[0][3], folded[1][3], folded[2][3], folded[3][3]};
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
