// Products of rows with packed weights, for each precision: what lies in memory, and the kernel that multiplies.
//
// A panel is two vectors of outputs wide. A tile of rows times a panel stays in registers while all inputs are added.
#pragma once

#include <new>

#include "gelu.h"
#if defined(FOCAL_ENGINE_AMX)
#include "amx.h"
#endif

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

// What a processor must be told before and after products; nothing for most.
struct NoSession {
  NoSession() {}
  ~NoSession() {}
};

struct Float32 {
  typedef float Element;
  typedef float Map;
  typedef NoSession Session;
  static constexpr int64_t group = 1;
  static constexpr int64_t tile_rows = most_rows;
  static constexpr bool scaled = false;
  static constexpr const char* name = "float32";

  template <int rows>
  static void multiply_tile(const float* a, int64_t stride, const float* b, int64_t inputs, const float*, float* out) {
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

#if defined(FOCAL_ENGINE_BFLOAT16) || defined(FOCAL_ENGINE_AMX)
FOCAL_INLINE uint16_t round_to_bfloat16(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Pairs of inputs lie together, as the processor takes them; `group` inputs are a whole number of pairs.
template <int64_t group>
void pack_pairs(const float* weight, int64_t outputs, int64_t inputs, void* packed, float*, float*) {
  uint16_t* out = static_cast<uint16_t*>(packed);
  for (int64_t first = 0; first < outputs; first += panel)
    for (int64_t k = 0; k < round_up(inputs, group); k += 2)
      for (int64_t j = 0; j < panel; ++j)
        for (int64_t i = 0; i < 2; ++i) {
          const bool inside = first + j < outputs && k + i < inputs;
          *out++ = inside ? round_to_bfloat16(weight[(first + j) * inputs + k + i]) : uint16_t{0};
        }
}
#endif

#if defined(FOCAL_ENGINE_BFLOAT16)
struct BFloat16 {
  typedef uint16_t Element;
  typedef uint16_t Map;
  typedef NoSession Session;
  static constexpr int64_t group = 2;
  static constexpr int64_t tile_rows = most_rows;
  static constexpr bool scaled = false;
  static constexpr const char* name = "bfloat16";

  template <int rows>
  static void multiply_tile(const uint16_t* a, int64_t stride, const uint16_t* b, int64_t inputs, const float*,
                            float* out) {
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

  static constexpr auto pack = pack_pairs<group>;

  static FOCAL_INLINE void put(uint16_t* target, Vector value) { store_unaligned(target, value); }
};
#endif

#if defined(FOCAL_ENGINE_AMX)
struct TileSession {
  TileSession() { FOCAL_TILES_CONFIGURE(); }
  ~TileSession() { FOCAL_TILES_RELEASE(); }
};

// Two tiles of rows times two of outputs; rows beyond those asked for are multiplied as well, and must be readable.
struct BFloat16Tiles {
  typedef uint16_t Element;
  typedef uint16_t Map;
  typedef TileSession Session;
  static constexpr int64_t group = 32;
  static constexpr int64_t tile_rows = 32;
  static constexpr bool scaled = false;
  static constexpr const char* name = "bfloat16";
  static_assert(panel == 32, "two tiles of 16 outputs");

  // Never inlined: compilers know not that loading a tile reads memory.
  static __attribute__((noinline)) void multiply_tiles(const uint16_t* a, int64_t stride, const void* weight,
                                                       int64_t inputs, const float*, float* out) {
    const uint16_t *b = static_cast<const uint16_t*>(weight), *lower = a + 16 * stride;
    FOCAL_TILE_ZERO(0);
    FOCAL_TILE_ZERO(1);
    FOCAL_TILE_ZERO(2);
    FOCAL_TILE_ZERO(3);
    for (int64_t k = 0; k < inputs; k += 32, b += 32 * panel) {
      FOCAL_TILE_LOAD(6, b, 4 * panel);
      FOCAL_TILE_LOAD(7, b + 2 * lanes, 4 * panel);
      FOCAL_TILE_LOAD(4, a + k, 2 * stride);
      FOCAL_TILE_MULTIPLY(0, 4, 6);
      FOCAL_TILE_MULTIPLY(1, 4, 7);
      FOCAL_TILE_LOAD(5, lower + k, 2 * stride);
      FOCAL_TILE_MULTIPLY(2, 5, 6);
      FOCAL_TILE_MULTIPLY(3, 5, 7);
    }
    FOCAL_TILE_STORE(0, out, 4 * panel);
    FOCAL_TILE_STORE(1, out + lanes, 4 * panel);
    FOCAL_TILE_STORE(2, out + 16 * panel, 4 * panel);
    FOCAL_TILE_STORE(3, out + 16 * panel + lanes, 4 * panel);
  }

  static constexpr auto pack = pack_pairs<group>;

  static FOCAL_INLINE void put(uint16_t* target, Vector value) { store_unaligned(target, value); }
};
#endif

#if defined(FOCAL_ENGINE_INT8)
// In assembly, because GCC 12 copies the sums around the intrinsic and stores each of them in every step.
FOCAL_INLINE void add_fours(__m512i& sum, __m512i x, __m512i y) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
}

// Activations are numbers from 1 to 255 around 128, scaled for each row; weights from -127 to 127, scaled for each output.
struct Int8 {
  typedef uint8_t Element;
  typedef uint16_t Map;
  typedef NoSession Session;
  static constexpr int64_t group = 4;
  static constexpr int64_t tile_rows = most_rows;
  static constexpr bool scaled = true;
  static constexpr const char* name = "int8";

  template <int rows>
  static void multiply_tile(const uint8_t* a, int64_t stride, const int8_t* b, int64_t inputs, const float* offsets,
                            float* out) {
    // Integers, so that nothing is rounded when the 128 that activations are moved by is taken out again.
    const __m512i first[2] = {_mm512_cvtps_epi32((__m512)(-load(offsets))),
                              _mm512_cvtps_epi32((__m512)(-load(offsets + lanes)))};
    __m512i sums[rows][2];
    FOCAL_UNROLL
    for (int r = 0; r < rows; ++r) sums[r][0] = first[0], sums[r][1] = first[1];
    const RowPointers<uint8_t> row(a, stride);
    FOCAL_KEEP_LOOP
    for (int64_t k = 0; k < inputs; k += 4, b += 4 * panel) {
      const __m512i left = _mm512_load_si512(b), right = _mm512_load_si512(b + 4 * lanes);
      FOCAL_UNROLL
      for (int r = 0; r < rows; ++r) {
        int32_t four;
        __builtin_memcpy(&four, row(r, k), 4);
        const __m512i x = _mm512_set1_epi32(four);
        add_fours(sums[r][0], x, left);
        add_fours(sums[r][1], x, right);
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

  template <class Source>
  static void quantize(const Source* row, int64_t count, uint8_t* target, float* scale) {
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
      const Vector x = load_up_to(row + c, smaller(lanes, count - c));
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
using Tile = void (*)(const typename P::Element*, int64_t, const void*, int64_t, const float*, float*);

template <class P, int rows>
void tile_of(const typename P::Element* a, int64_t stride, const void* b, int64_t inputs, const float* offsets,
             float* out) {
  if constexpr (P::scaled)
    P::template multiply_tile<rows>(a, stride, static_cast<const int8_t*>(b), inputs, offsets, out);
  else
    P::template multiply_tile<rows>(a, stride, static_cast<const typename P::Element*>(b), inputs, offsets, out);
}

template <class P, int rows = 1>
FOCAL_INLINE Tile<P> tile_for(int64_t count) {
  if constexpr (P::tile_rows != most_rows) {
    return &P::multiply_tiles;
  } else if constexpr (rows < most_rows) {
    return count == rows ? &tile_of<P, rows> : tile_for<P, rows + 1>(count);
  } else {
    return &tile_of<P, rows>;
  }
}

// Calls finish(row, output, vector, count) for every vector of outputs of every row, bias included; `count` of its lanes
// are outputs of the layer.
template <class P, class Finish>
FOCAL_INLINE void multiply(const Operand<P>& a, int64_t rows, const focal::Layer& layer, const Finish& finish) {
  alignas(64) float out[P::tile_rows * panel];
  const int64_t inputs = round_up(layer.inputs, P::group), tiles = (rows + P::tile_rows - 1) / P::tile_rows;
  const char* weight = static_cast<const char*>(layer.weight);
  const int64_t panel_bytes = inputs * panel * static_cast<int64_t>(sizeof(typename P::Element));
  for (int64_t n = 0; n < layer.outputs; n += panel, weight += panel_bytes) {
    int64_t m = 0;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t count = rows / tiles + (tile < rows % tiles);
      tile_for<P>(count)(a.row(m), a.stride, weight, inputs, P::scaled ? layer.offsets + n : nullptr, out);
      FOCAL_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int64_t output = n + half * lanes, valid = smaller(lanes, layer.outputs - output);
        if (valid <= 0) break;
        const Vector bias = load(layer.bias + output);
        Vector scale = {};
        if constexpr (P::scaled) scale = load(layer.scales + output);
        for (int64_t r = 0; r < count; ++r) {
          Vector value = load(out + r * panel + half * lanes);
          if constexpr (P::scaled)
            value = value * (scale * a.scales[m + r]) + bias;
          else
            value += bias;
          finish(m + r, output, value, valid);
        }
      }
      m += count;
    }
  }
}

// Whether products come out as by plain arithmetic: of numbers that every precision holds exactly, with odd sizes.
template <class P>
bool agrees_with_plain_arithmetic() {
  constexpr int64_t rows = 37, inputs = 75, outputs = 41, padded = (outputs + panel - 1) / panel * panel;
  constexpr int64_t stride = (inputs + 31) / 32 * 32;
  static_assert(P::tile_rows <= 64, "rows that are read");
  if constexpr (P::scaled) {
    return true;
  } else {
    struct Numbers {
      alignas(64) typename P::Element left[64 * stride] = {}, packed[padded * stride] = {};
      alignas(64) float bias[padded] = {}, weight[outputs * inputs], plain[rows * inputs];
    };
    Numbers* numbers = new (std::nothrow) Numbers;
    if (!numbers) return false;
    for (int64_t i = 0; i < outputs * inputs; ++i) numbers->weight[i] = static_cast<float>((i * 7 + 3) % 17 - 8);
    for (int64_t m = 0; m < rows; ++m)
      for (int64_t k = 0; k < inputs; k += lanes) {
        Vector values = {};
        for (int64_t i = 0; i < smaller(lanes, inputs - k); ++i)
          values[i] = numbers->plain[m * inputs + k + i] = static_cast<float>(((m + 2) * 5 + (k + i) * 3) % 13 - 6);
        P::put(numbers->left + m * stride + k, values);
      }
    P::pack(numbers->weight, outputs, inputs, numbers->packed, nullptr, nullptr);
    const focal::Layer layer = {numbers->packed, numbers->bias, nullptr, nullptr, outputs, inputs};
    const Operand<P> operand = {numbers->left, stride, nullptr};
    int64_t right = 0;
    {
      const typename P::Session session;
      multiply(operand, rows, layer, [&](int64_t m, int64_t n, Vector value, int64_t count) {
        for (int64_t j = 0; j < count; ++j) {
          float exact = 0.0f;
          for (int64_t k = 0; k < inputs; ++k)
            exact += numbers->plain[m * inputs + k] * numbers->weight[(n + j) * inputs + k];
          right += value[j] == exact;
        }
      });
    }
    delete numbers;
    return right == rows * outputs;
  }
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
