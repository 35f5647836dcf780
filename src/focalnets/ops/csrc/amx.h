// Tiles of AMX: registers of 16 rows of 64 bytes and the product of bfloat16 pairs that adds to float32.
//
// With FOCAL_AMX_EMULATED the same names work on ordinary memory, so that what is written for them can be tested on any
// processor. The numbers of tiles must be literals.
#pragma once

#include <cstdint>

#if defined(FOCAL_AMX_EMULATED)

namespace FOCAL_NAMESPACE {
namespace {

struct EmulatedTiles {
  alignas(64) unsigned char bytes[8][16][64];
  bool configured = false;
};
inline thread_local EmulatedTiles emulated;

inline void emulated_load(int tile, const void* source, int64_t stride) {
  for (int row = 0; row < 16; ++row)
    __builtin_memcpy(emulated.bytes[tile][row], static_cast<const char*>(source) + row * stride, 64);
}
inline void emulated_store(int tile, void* target, int64_t stride) {
  for (int row = 0; row < 16; ++row)
    __builtin_memcpy(static_cast<char*>(target) + row * stride, emulated.bytes[tile][row], 64);
}
inline float emulated_number(const unsigned char* bfloat16) {
  const uint32_t bits = static_cast<uint32_t>(bfloat16[1]) << 24 | static_cast<uint32_t>(bfloat16[0]) << 16;
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
// Where the tiles are not configured the processor would refuse; here the result is spoilt.
inline void emulated_multiply(int sum, int left, int right) {
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 16; ++column) {
      float total;
      __builtin_memcpy(&total, emulated.bytes[sum][row] + 4 * column, 4);
      for (int pair = 0; pair < 16; ++pair)
        for (int i = 0; i < 2; ++i)
          total += emulated_number(emulated.bytes[left][row] + 4 * pair + 2 * i) *
                   emulated_number(emulated.bytes[right][pair] + 4 * column + 2 * i);
      if (!emulated.configured) total = __builtin_nanf("");
      __builtin_memcpy(emulated.bytes[sum][row] + 4 * column, &total, 4);
    }
}

}  // namespace
}  // namespace FOCAL_NAMESPACE

#define FOCAL_TILE_ZERO(tile) __builtin_memset(emulated.bytes[tile], 0, sizeof emulated.bytes[tile])
#define FOCAL_TILE_LOAD(tile, source, stride) emulated_load(tile, source, stride)
#define FOCAL_TILE_STORE(tile, target, stride) emulated_store(tile, target, stride)
#define FOCAL_TILE_MULTIPLY(sum, left, right) emulated_multiply(sum, left, right)
#define FOCAL_TILES_CONFIGURE() (emulated.configured = true)
#define FOCAL_TILES_RELEASE() (emulated.configured = false)

#else

#include <immintrin.h>

namespace FOCAL_NAMESPACE {
namespace {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig tile_config;

}  // namespace
}  // namespace FOCAL_NAMESPACE

#define FOCAL_TILE_ZERO(tile) _tile_zero(tile)
#define FOCAL_TILE_LOAD(tile, source, stride) _tile_loadd(tile, source, stride)
#define FOCAL_TILE_STORE(tile, target, stride) _tile_stored(tile, target, stride)
#define FOCAL_TILE_MULTIPLY(sum, left, right) _tile_dpbf16ps(sum, left, right)
#define FOCAL_TILES_CONFIGURE() _tile_loadconfig(&tile_config)
#define FOCAL_TILES_RELEASE() _tile_release()

#endif
