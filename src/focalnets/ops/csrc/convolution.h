// Depthwise convolution of one row, and the gradient of its kernel.
//
// A tile of up to eight neighbouring outputs stays in registers while all taps are added; the rows of a map that a
// kernel would read outside the map are left out, the columns outside are zeros of the ring.
#pragma once

#include "gelu.h"
#include "rows.h"

namespace FOCAL_NAMESPACE {
namespace {

// The rows of a map under a kernel, from the first to the last inside the map.
struct Window {
  const float* rows[focal::max_kernel_size];  // at the column of the leftmost tap of output column 0
  int64_t first_row, count;                   // kernel rows

  Window(const Ring& ring, int64_t vector, int64_t y, int64_t kernel_height, int64_t kernel_width, int64_t map_height) {
    const int64_t above = kernel_height / 2;
    first_row = larger(0, above - y);
    count = smaller(kernel_height, map_height - y + above) - first_row;
    int64_t slot = ring.slot(y + first_row - above);
    for (int64_t i = 0; i < count; ++i) {
      rows[i] = ring.row_in(slot, vector) - (kernel_width / 2) * lanes;
      if (++slot == ring.depth) slot = 0;
    }
  }
};

// With `whole` the tile is the whole row: then the zeros beside it are left out as well.
template <int width, int tile, bool flipped, bool whole>
FOCAL_INLINE void add_taps(const float* row, const float* taps, Vector (&sums)[tile]) {
  Vector weights[width];
  FOCAL_UNROLL
  for (int tap = 0; tap < width; ++tap) weights[tap] = load(taps + (flipped ? -tap : tap) * lanes);
  constexpr int skipped = whole ? width / 2 : 0;
  FOCAL_UNROLL
  for (int column = skipped; column < tile + width - 1 - skipped; ++column) {
    const Vector value = load(row + column * lanes);
    FOCAL_UNROLL
    for (int tap = 0; tap < width; ++tap) {
      const int output = column - tap;
      if (output >= 0 && output < tile) sums[output] = value * weights[tap] + sums[output];
    }
  }
}

// `taps` is the tap of the window's first row and column; a flipped kernel runs backwards from there. `kernel` is the
// kernel's width if it is known at compile time, else 0: then taps are added five by five. Outputs go to `finish`; the
// last tile of a row overlaps the one before it, so `finish` may see an output twice.
template <int kernel, int tile, bool whole, class Finish>
void convolve_row(const Window& window, const float* taps, int64_t kernel_width, int64_t width, const Finish& finish) {
  constexpr bool flipped = Finish::flipped;
  constexpr int64_t step = flipped ? -lanes : lanes;
  for (int64_t x = 0;; x = smaller(x + tile, width - tile)) {
    Vector sums[tile] = {};
    FOCAL_KEEP_LOOP
    for (int64_t i = 0; i < window.count; ++i) {
      const float* row = window.rows[i] + x * lanes;
      const float* row_taps = taps + i * kernel_width * step;
      if constexpr (kernel > 0) {
        add_taps<kernel, tile, flipped, whole>(row, row_taps, sums);
      } else {
        int64_t tap = 0;
        for (; tap + 5 <= kernel_width; tap += 5)
          add_taps<5, tile, flipped, false>(row + tap * lanes, row_taps + tap * step, sums);
        for (; tap < kernel_width; ++tap)
          add_taps<1, tile, flipped, false>(row + tap * lanes, row_taps + tap * step, sums);
      }
    }
    FOCAL_UNROLL
    for (int output = 0; output < tile; ++output) finish(sums[output], x + output);
    if (x == width - tile) return;
  }
}

template <int kernel, class Finish>
void convolve_row_by_tile(int64_t tile, const Window& w, const float* taps, int64_t kernel_width, int64_t width,
                          const Finish& f) {
  if (width > 8) {
    switch (tile) {
      case 5: return convolve_row<kernel, 5, false>(w, taps, kernel_width, width, f);
      case 6: return convolve_row<kernel, 6, false>(w, taps, kernel_width, width, f);
      case 7: return convolve_row<kernel, 7, false>(w, taps, kernel_width, width, f);
      default: return convolve_row<kernel, 8, false>(w, taps, kernel_width, width, f);
    }
  }
  switch (width) {
    case 1: return convolve_row<kernel, 1, true>(w, taps, kernel_width, width, f);
    case 2: return convolve_row<kernel, 2, true>(w, taps, kernel_width, width, f);
    case 3: return convolve_row<kernel, 3, true>(w, taps, kernel_width, width, f);
    case 4: return convolve_row<kernel, 4, true>(w, taps, kernel_width, width, f);
    case 5: return convolve_row<kernel, 5, true>(w, taps, kernel_width, width, f);
    case 6: return convolve_row<kernel, 6, true>(w, taps, kernel_width, width, f);
    case 7: return convolve_row<kernel, 7, true>(w, taps, kernel_width, width, f);
    default: return convolve_row<kernel, 8, true>(w, taps, kernel_width, width, f);
  }
}

// Convolves one row of `ring` with a kernel packed as (taps, lanes); with Finish::flipped the kernel is turned by 180
// degrees.
template <class Finish>
void convolve(const Ring& ring, int64_t vector, int64_t y, const float* kernel, int64_t kernel_height,
              int64_t kernel_width, int64_t map_height, int64_t width, const Finish& finish) {
  const Window window(ring, vector, y, kernel_height, kernel_width, map_height);
  const int64_t first = window.first_row * kernel_width;
  const float* taps = kernel + (Finish::flipped ? kernel_height * kernel_width - 1 - first : first) * lanes;
  const int64_t tiles = (width + 7) / 8;
  const int64_t tile = (width + tiles - 1) / tiles;
  switch (kernel_width) {
    case 3: return convolve_row_by_tile<3>(tile, window, taps, kernel_width, width, finish);
    case 5: return convolve_row_by_tile<5>(tile, window, taps, kernel_width, width, finish);
    case 7: return convolve_row_by_tile<7>(tile, window, taps, kernel_width, width, finish);
    case 9: return convolve_row_by_tile<9>(tile, window, taps, kernel_width, width, finish);
    default: return convolve_row_by_tile<0>(tile, window, taps, kernel_width, width, finish);
  }
}

template <class Element>  // of the context's map
struct StoreGelu {
  static constexpr bool flipped = false;
  float* output;

  FOCAL_INLINE void operator()(Vector sum, int64_t x) const { store(output + x * lanes, gelu_for<Element>(sum)); }
};

template <class Element>  // the same
struct StoreGeluAndDerivative {
  static constexpr bool flipped = false;
  float* output;
  float* derivative;

  FOCAL_INLINE void operator()(Vector sum, int64_t x) const {
    Vector slope;
    store(output + x * lanes, gelu_with_derivative_for<Element>(sum, &slope));
    store(derivative + x * lanes, slope);
  }
};

// The gradient of U_l: what comes through the next level's convolution and what comes through the gate, times
// gelu'(U_l).
struct StoreLevelGradient {
  static constexpr bool flipped = true;
  float* output;
  const float* upstream;
  const float* derivative;
  const float* gate;
  int64_t gate_stride;

  FOCAL_INLINE void operator()(Vector sum, int64_t x) const {
    const Vector total = load(upstream + x * lanes) * gate[x * gate_stride] + sum;
    store(output + x * lanes, total * load(derivative + x * lanes));
  }
};

struct StoreGradient {
  static constexpr bool flipped = true;
  float* output;

  FOCAL_INLINE void operator()(Vector sum, int64_t x) const { store(output + x * lanes, sum); }
};

// Kernel gradient: sums[tap] += output gradient at (y, x) times input at (y, x) shifted by the tap, for `width`
// neighbouring taps. Reads up to tile - 1 columns of zeros right of the map. `sets` independent sums hide the latency
// of a multiply-add.
template <int width, int tile, int sets, bool whole>
void correlate(const Ring& input, const Ring& gradient, int64_t vector, int64_t first, int64_t last, int64_t rows_down,
               int64_t columns_right, int64_t map_height, int64_t map_width, float* sums) {
  Vector partial[sets][width] = {};
  const int64_t begin = larger(first, -rows_down), end = smaller(last, map_height - rows_down);
  for (int64_t y = begin; y < end; ++y) {
    const float* inputs = input.row(y + rows_down, vector) + columns_right * lanes;
    const float* gradients = gradient.row(y, vector);
    FOCAL_KEEP_LOOP
    for (int64_t x = 0; x < map_width; x += tile) {
      Vector outputs[tile];
      FOCAL_UNROLL
      for (int i = 0; i < tile; ++i) outputs[i] = load(gradients + (x + i) * lanes);
      constexpr int skipped = whole ? width / 2 : 0;
      FOCAL_UNROLL
      for (int column = skipped; column < tile + width - 1 - skipped; ++column) {
        const Vector value = load(inputs + (x + column) * lanes);
        FOCAL_UNROLL
        for (int tap = 0; tap < width; ++tap) {
          const int i = column - tap;
          if (i >= 0 && i < tile) partial[i % sets][tap] = value * outputs[i] + partial[i % sets][tap];
        }
      }
    }
  }
  FOCAL_UNROLL
  for (int tap = 0; tap < width; ++tap) {
    Vector total = partial[0][tap];
    FOCAL_UNROLL
    for (int set = 1; set < sets; ++set) total += partial[set][tap];
    store(sums + tap * lanes, load(sums + tap * lanes) + total);
  }
}

// Rows and columns of a kernel gradient, up to seven taps at a time. `whole`: a row of the map is one tile.
template <int tile, bool whole>
void kernel_gradient_by_tile(const Ring& input, const Ring& gradient, int64_t vector, int64_t first, int64_t last,
                             int64_t kernel_height, int64_t kernel_width, int64_t map_height, int64_t map_width,
                             float* sums) {
  for (int64_t row = 0; row < kernel_height; ++row) {
    const int64_t down = row - kernel_height / 2;
    const auto add = [&](auto correlate_taps, int64_t tap) {
      float* target = sums + (row * kernel_width + tap) * lanes;
      correlate_taps(input, gradient, vector, first, last, down, tap - kernel_width / 2, map_height, map_width, target);
    };
    constexpr int sets7 = lanes > 8 ? 2 : 1;
    if (kernel_width == 7) {
      add(correlate<7, tile, sets7, whole>, 0);
    } else if (kernel_width == 5) {
      add(correlate<5, tile, 2, whole>, 0);
    } else if (kernel_width == 3) {
      add(correlate<3, tile, 3, whole>, 0);
    } else {
      int64_t tap = 0;
      for (; tap + 7 <= kernel_width; tap += 7) add(correlate<7, tile, sets7, false>, tap);
      for (; tap + 3 <= kernel_width; tap += 3) add(correlate<3, tile, 3, false>, tap);
      for (; tap < kernel_width; ++tap) add(correlate<1, tile, 4, false>, tap);
    }
  }
}

// Adds the rows [first, last) of a level's output gradient to the gradient of its kernel, packed as (taps, lanes).
void add_kernel_gradient(const Ring& input, const Ring& gradient, int64_t vector, int64_t first, int64_t last,
                         int64_t kernel_height, int64_t kernel_width, int64_t map_height, int64_t map_width,
                         float* sums) {
  const auto add = map_width == 7       ? kernel_gradient_by_tile<7, true>
                   : map_width == 8     ? kernel_gradient_by_tile<8, true>
                   : map_width <= 4     ? kernel_gradient_by_tile<4, false>
                   : map_width % 7 == 0 ? kernel_gradient_by_tile<7, false>
                                        : kernel_gradient_by_tile<8, false>;
  add(input, gradient, vector, first, last, kernel_height, kernel_width, map_height, map_width, sums);
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
