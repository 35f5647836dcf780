// Products of rows with packed weights, for each precision: what lies in memory, and the kernel that multiplies.
//
// A panel is two vectors of outputs wide. A tile of rows times a panel stays in registers while all inputs are added.
#pragma once

#include <cmath>

#include "gelu.h"

namespace FOCAL_NAMESPACE {
namespace {

constexpr int64_t panel = 2 * lanes;

#if defined(__AVX512F__)
constexpr int most_rows = 14;
#elif defined(__AVX2__) || !defined(__aarch64__)
constexpr int most_rows = 6;
#else
constexpr int most_rows = 12;
#endif

FOCAL_INLINE int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

FOCAL_INLINE float sum_of_lanes(Vector v) {
  float sums[lanes];
  __builtin_memcpy(sums, &v, sizeof v);
  FOCAL_UNROLL
  for (int64_t width = lanes / 2; width > 0; width /= 2)
    for (int64_t i = 0; i < width; ++i) sums[i] += sums[i + width];
  return sums[0];
}

// Rows of a tile lie `stride` elements apart; groups of three share a pointer, for there are few registers for them.
template <class Element>
struct RowPointers {
  const Element* groups[(most_rows + 2) / 3];
  int64_t stride;

  FOCAL_INLINE RowPointers(const Element* first, int64_t row_stride) : stride(row_stride) {
    FOCAL_UNROLL
    for (int i = 0; i < (most_rows + 2) / 3; ++i) groups[i] = first + 3 * i * stride;
  }
  FOCAL_INLINE const Element* operator()(int row, int64_t input) const {
    return groups[row / 3] + (row % 3) * stride + input;
  }
};

struct Float32 {
  typedef float Element;
  static constexpr int64_t group = 1;
  static constexpr bool scaled = false;
  static constexpr const char* name = "float32";

  template <int rows>
  static void multiply_tile(const float* a, int64_t stride, const float* b, int64_t inputs, float* out) {
    Vector sums[rows][2] = {};
    const RowPointers<float> row(a, stride);
    FOCAL_KEEP_LOOP
    for (int64_t k = 0; k < inputs; ++k, b += panel) {
      const Vector left = load(b), right = load(b + lanes);
      FOCAL_UNROLL
      for (int r = 0; r < rows; ++r) {
        const Vector x = splat(*row(r, k));
        sums[r][0] += x * left;
        sums[r][1] += x * right;
      }
    }
    FOCAL_UNROLL
    for (int r = 0; r < rows; ++r) {
      store(out + r * panel, sums[r][0]);
      store(out + r * panel + lanes, sums[r][1]);
    }
  }

  static void pack(const float* weight, int64_t outputs, int64_t inputs, void* packed, float*, float*) {
    float* out = static_cast<float*>(packed);
    for (int64_t first = 0; first < outputs; first += panel)
      for (int64_t k = 0; k < inputs; ++k)
        for (int64_t j = 0; j < panel; ++j) *out++ = first + j < outputs ? weight[(first + j) * inputs + k] : 0.0f;
  }

  static FOCAL_INLINE void put(float* target, Vector value) { store_unaligned(target, value); }
};

#if defined(__AVX512BF16__)
FOCAL_INLINE uint16_t to_bfloat16(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

struct BFloat16 {
  typedef uint16_t Element;
  static constexpr int64_t group = 2;
  static constexpr bool scaled = false;
  static constexpr const char* name = "bfloat16";

  template <int rows>
  static void multiply_tile(const uint16_t* a, int64_t stride, const uint16_t* b, int64_t inputs, float* out) {
    __m512 sums[rows][2] = {};
    const RowPointers<uint16_t> row(a, stride);
    FOCAL_KEEP_LOOP
    for (int64_t k = 0; k < inputs; k += 2, b += 2 * panel) {
      const __m512bh left = (__m512bh)_mm512_load_si512(b), right = (__m512bh)_mm512_load_si512(b + 2 * lanes);
      FOCAL_UNROLL
      for (int r = 0; r < rows; ++r) {
        int32_t pair;
        __builtin_memcpy(&pair, row(r, k), 4);
        const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
        sums[r][0] = _mm512_dpbf16_ps(sums[r][0], x, left);
        sums[r][1] = _mm512_dpbf16_ps(sums[r][1], x, right);
      }
    }
    FOCAL_UNROLL
    for (int r = 0; r < rows; ++r) {
      store(out + r * panel, (Vector)sums[r][0]);
      store(out + r * panel + lanes, (Vector)sums[r][1]);
    }
  }

  static void pack(const float* weight, int64_t outputs, int64_t inputs, void* packed, float*, float*) {
    uint16_t* out = static_cast<uint16_t*>(packed);
    for (int64_t first = 0; first < outputs; first += panel)
      for (int64_t k = 0; k < round_up(inputs, 2); k += 2)
        for (int64_t j = 0; j < panel; ++j)
          for (int64_t i = 0; i < 2; ++i)
            *out++ = first + j < outputs && k + i < inputs ? to_bfloat16(weight[(first + j) * inputs + k + i]) : 0;
  }

  static FOCAL_INLINE void put(uint16_t* target, Vector value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), (__m256i)_mm512_cvtneps_pbh((__m512)value));
  }
};
#endif

#if defined(__AVX512VNNI__)
// Activations are numbers from 1 to 255 around 128, scaled for each row; weights from -127 to 127, scaled for each output.
struct Int8 {
  typedef uint8_t Element;
  static constexpr int64_t group = 4;
  static constexpr bool scaled = true;
  static constexpr const char* name = "int8";

  template <int rows>
  static void multiply_tile(const uint8_t* a, int64_t stride, const int8_t* b, int64_t inputs, float* out) {
    __m512i sums[rows][2] = {};
    const RowPointers<uint8_t> row(a, stride);
    FOCAL_KEEP_LOOP
    for (int64_t k = 0; k < inputs; k += 4, b += 4 * panel) {
      const __m512i left = _mm512_load_si512(b), right = _mm512_load_si512(b + 4 * lanes);
      FOCAL_UNROLL
      for (int r = 0; r < rows; ++r) {
        int32_t four;
        __builtin_memcpy(&four, row(r, k), 4);
        const __m512i x = _mm512_set1_epi32(four);
        sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], x, left);
        sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], x, right);
      }
    }
    FOCAL_UNROLL
    for (int r = 0; r < rows; ++r) {
      store(out + r * panel, (Vector)_mm512_cvtepi32_ps(sums[r][0]));
      store(out + r * panel + lanes, (Vector)_mm512_cvtepi32_ps(sums[r][1]));
    }
  }

  static void pack(const float* weight, int64_t outputs, int64_t inputs, void* packed, float* scales, float* offsets) {
    int8_t* out = static_cast<int8_t*>(packed);
    for (int64_t first = 0; first < outputs; first += panel) {
      for (int64_t j = 0; j < panel; ++j) {
        float largest = 0.0f;
        for (int64_t k = 0; first + j < outputs && k < inputs; ++k)
          largest = __builtin_fmaxf(largest, __builtin_fabsf(weight[(first + j) * inputs + k]));
        scales[first + j] = largest > 0.0f ? largest / 127.0f : 1.0f;
        offsets[first + j] = 0.0f;
      }
      for (int64_t k = 0; k < round_up(inputs, 4); k += 4)
        for (int64_t j = 0; j < panel; ++j)
          for (int64_t i = 0; i < 4; ++i) {
            const bool inside = first + j < outputs && k + i < inputs;
            const float value = inside ? weight[(first + j) * inputs + k + i] / scales[first + j] : 0.0f;
            const int8_t rounded = static_cast<int8_t>(__builtin_lrintf(value));
            offsets[first + j] += 128.0f * rounded;
            *out++ = rounded;
          }
    }
  }

  static FOCAL_INLINE void put(uint8_t*, Vector) {}  // rows are quantized when they are complete

  static void quantize(const float* row, int64_t count, uint8_t* target, float* scale) {
    Vector largest = {};
    int64_t c = 0;
    for (; c + lanes <= count; c += lanes)
      largest = (Vector)_mm512_max_ps((__m512)largest, _mm512_abs_ps((__m512)load_unaligned(row + c)));
    if (c < count)
      largest = (Vector)_mm512_max_ps((__m512)largest, _mm512_abs_ps((__m512)load_some(row + c, count - c)));
    const float most = _mm512_reduce_max_ps((__m512)largest);
    *scale = most > 0.0f ? most / 127.0f : 1.0f;
    const Vector factor = splat(1.0f / *scale);
    for (c = 0; c < count; c += lanes) {
      const Vector x = count - c >= lanes ? load_unaligned(row + c) : load_some(row + c, count - c);
      const __m512i rounded = _mm512_add_epi32(_mm512_cvtps_epi32((__m512)(x * factor)), _mm512_set1_epi32(128));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(target + c), _mm512_cvtusepi32_epi8(rounded));
    }
  }
};
#endif

// Rows that are multiplied: the element type of a precision, with zeros (quantized: anything, for weights are zero there)
// up to whole groups of inputs, and the scale of each row.
template <class P>
struct Operand {
  typename P::Element* data;
  int64_t stride;
  float* scales;

  FOCAL_INLINE typename P::Element* row(int64_t index) const { return data + index * stride; }
};

template <class P>
using Tile = void (*)(const typename P::Element*, int64_t, const void*, int64_t, float*);

template <class P, int rows>
void tile_of(const typename P::Element* a, int64_t stride, const void* b, int64_t inputs, float* out) {
  if constexpr (P::scaled)
    P::template multiply_tile<rows>(a, stride, static_cast<const int8_t*>(b), inputs, out);
  else
    P::template multiply_tile<rows>(a, stride, static_cast<const typename P::Element*>(b), inputs, out);
}

template <class P, int rows = 1>
FOCAL_INLINE Tile<P> tile_for(int64_t count) {
  if constexpr (rows < most_rows) {
    return count == rows ? &tile_of<P, rows> : tile_for<P, rows + 1>(count);
  } else {
    return &tile_of<P, rows>;
  }
}

// Calls finish(row, output, vector, count) for every vector of outputs of every row, bias included; `count` of its lanes
// are outputs of the layer.
template <class P, class Finish>
FOCAL_INLINE void multiply(const Operand<P>& a, int64_t rows, const focal::Layer& layer, const Finish& finish) {
  alignas(64) float out[most_rows * panel];
  const int64_t inputs = round_up(layer.inputs, P::group), tiles = (rows + most_rows - 1) / most_rows;
  const char* weight = static_cast<const char*>(layer.weight);
  const int64_t panel_bytes = inputs * panel * static_cast<int64_t>(sizeof(typename P::Element));
  for (int64_t n = 0; n < layer.outputs; n += panel, weight += panel_bytes) {
    int64_t m = 0;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t count = rows / tiles + (tile < rows % tiles);
      tile_for<P>(count)(a.row(m), a.stride, weight, inputs, out);
      FOCAL_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int64_t output = n + half * lanes, valid = smaller(lanes, layer.outputs - output);
        if (valid <= 0) break;
        const Vector bias = load(layer.bias + output);
        Vector scale = {}, offset = {};
        if constexpr (P::scaled) scale = load(layer.scales + output), offset = load(layer.offsets + output);
        for (int64_t r = 0; r < count; ++r) {
          Vector value = load(out + r * panel + half * lanes);
          if constexpr (P::scaled) value = (value - offset) * scale * a.scales[m + r];
          finish(m + r, output, value + bias, valid);
        }
      }
      m += count;
    }
  }
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
