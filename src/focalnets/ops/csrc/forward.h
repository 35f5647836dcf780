// The forward pass: rows of the context stream through all levels, so that only a few rows of each level exist at a
// time.
#pragma once

#include "convolution.h"

namespace FOCAL_NAMESPACE {
namespace {

// A row of memory that will be needed one step later; `column` elements from token to token.
template <class Element>
struct RowAhead {
  const Element* row;
  int64_t column;
};

// What becomes of the last level's convolution: Z_L is never stored, but gated together with the levels before it, and
// summed for the mean. Memory that the next row needs is asked for meanwhile, one token at a time: the tokens of a row
// lie too far apart for the processor to foresee, and all requests at once would have to wait for each other.
template <class Element>
struct GateAndStore {
  static constexpr bool flipped = false;
  const float* level_rows[focal::max_levels];  // of Z_1 .. Z_(L - 1)
  int64_t levels;
  const float* gates;
  int64_t gate_stride;
  MaskRow mask;
  Element* result;
  int64_t stride, count;
  Vector* sum;
  RowAhead<Element> context_ahead;
  RowAhead<float> gates_ahead;
  Element* result_ahead;
  mutable int64_t summed = 0;  // columns already in `sum`

  FOCAL_INLINE void operator()(Vector convolved, int64_t x) const {
    __builtin_prefetch(context_ahead.row + x * context_ahead.column);
    __builtin_prefetch(gates_ahead.row + x * gates_ahead.column);
    __builtin_prefetch(result_ahead + x * stride, 1);
    const float* gate = gates + x * gate_stride;
    Vector gated = {};
    if (!mask || mask[x]) {  // gates of tokens that are not valid may be anything
      const Vector last = gelu_for<Element>(convolved);
      if (x >= summed) {
        *sum += last;
        summed = x + 1;
      }
      gated = last * gate[levels - 1];
      for (int64_t l = levels - 2; l >= 0; --l) gated = load(level_rows[l] + x * lanes) * gate[l] + gated;
    }
    store_up_to(result + x * stride, gated, count);
  }
};

// Without levels the mean is that of the context, and nothing is gated but the global level.
template <class Element>
void sum_row(const float* row, int64_t width, int64_t count, Element* result, int64_t stride, Vector* sum) {
  for (int64_t x = 0; x < width; ++x) {
    *sum += load(row + x * lanes);
    store_some(result + x * stride, Vector{}, count);
  }
}

// The global level of one image and one vector of channels, once the sums of all bands are known.
Vector global_level(const Plan& plan, int64_t image, int64_t vector) {
  const int64_t channels = plan.problem->channels, channel = vector * lanes;
  double sums[lanes] = {};
  for (int64_t band = 0; band < plan.bands; ++band) {
    const double* of_band = plan.band_sums + ((image * plan.bands + band) * plan.vectors + vector) * lanes;
    for (int64_t lane = 0; lane < lanes; ++lane) sums[lane] += of_band[lane];
  }
  alignas(Vector) float means[lanes];
  for (int64_t lane = 0; lane < lanes; ++lane)
    means[lane] = static_cast<float>(sums[lane] * static_cast<double>(plan.inverse_counts[image]));
  const Vector mean = load(means);
  store_some(plan.means + image * channels + channel, mean, smaller(lanes, channels - channel));
  return gelu(mean);
}

template <class Element>
FOCAL_INLINE void add_global_level(Element* result, int64_t count, Vector global, float gate, float scale) {
  store_up_to(result, (global * gate + load_up_to(result, count)) * scale, count);
}

// For maps of which a block of channels fits the cache: right after the task that wrote it.
template <class Element>
void add_global_level_to_block(const Plan& plan, int64_t image, const ChannelBlock& block) {
  const Problem& p = *plan.problem;
  Vector global[focal::max_vectors_per_block];
  for (int64_t v = 0; v < block.vectors; ++v) global[v] = global_level(plan, image, block.first + v);
  for (int64_t y = 0; y < p.height; ++y) {
    const float* gates = p.gates + offset_of(p.gates_strides, image, y) + p.levels;
    Element* result =
        static_cast<Element*>(plan.result) + (image * p.height + y) * p.width * p.channels + block.channel(0);
    const MaskRow mask(p, image, y);
    for (int64_t x = 0; x < p.width; ++x, result += p.channels) {
      if (mask && !mask[x]) continue;
      for (int64_t v = 0; v < block.vectors; ++v)
        add_global_level(result + v * lanes, block.count(v), global[v], gates[x * p.gates_strides.column], plan.scale);
    }
  }
}

// For larger maps, in the order of memory: first the global level of all channels of an image ...
void global_levels_of_image(const Plan& plan, int64_t image) {
  for (int64_t v = 0; v < plan.vectors; ++v)
    store(plan.global_levels + (image * plan.vectors + v) * lanes, global_level(plan, image, v));
}

// ... then one row after the other (counted through all images).
template <class Element>
void add_global_level_to_row(const Plan& plan, int64_t row) {
  const Problem& p = *plan.problem;
  const int64_t image = row / p.height, y = row % p.height;
  const float* gates = p.gates + offset_of(p.gates_strides, image, y) + p.levels;
  const float* global = plan.global_levels + image * plan.vectors * lanes;
  Element* result = static_cast<Element*>(plan.result) + row * p.width * p.channels;
  const MaskRow mask(p, image, y);
  for (int64_t x = 0; x < p.width; ++x, result += p.channels) {
    if (mask && !mask[x]) continue;
    for (int64_t v = 0; v < plan.vectors; ++v)
      add_global_level(result + v * lanes, smaller(lanes, p.channels - v * lanes), load(global + v * lanes),
                       gates[x * p.gates_strides.column], plan.scale);
  }
}

// Sums of a row are added up in double: there may be millions of tokens.
void add_to_total(Vector* row_sum, double* total) {
  alignas(Vector) float values[lanes];
  store(values, *row_sum);
  for (int64_t lane = 0; lane < lanes; ++lane) total[lane] += static_cast<double>(values[lane]);
  *row_sum = Vector{};
}

const float* kernel(const Plan& plan, const ChannelBlock& block, int64_t vector, int64_t level) {
  return plan.packed_kernels + ((block.first + vector) * plan.taps + plan.first_tap[level - 1]) * lanes;
}

// Context and result are maps of `Element`.
template <class Element>
void forward_band(const Plan& plan, int64_t task, float* scratch) {
  const Problem& p = *plan.problem;
  const Element* context = static_cast<const Element*>(p.context);
  Element* result = static_cast<Element*>(plan.result);
  const int64_t levels = p.levels, band = task % plan.bands, image = task / plan.bands / plan.blocks;
  const ChannelBlock block(plan, task / plan.bands % plan.blocks);
  const RowRange rows(plan, band, 0);
  Ring ring[focal::max_levels + 1];
  for (int64_t l = 0; l < larger(levels, 1); ++l) ring[l] = Ring(scratch, plan.level[l], plan.vectors_per_block);

  const int64_t total_lag = plan.lag[levels];
  const RowRange needed(plan, band, total_lag);
  // A row of the context. Where the result takes its place, other bands may have written theirs already.
  const auto context_row = [&](int64_t y) {
    if (!plan.borders || rows.has(y)) return context + offset_of(p.context_strides, image, y) + block.channel(0);
    const int64_t border = y < rows.first ? band : band + 1, first = border * plan.band_rows - total_lag;
    const int64_t place = (image * (plan.bands - 1) + border - 1) * 2 * total_lag + y - first;
    return static_cast<const Element*>(plan.borders) + place * p.width * p.channels + block.channel(0);
  };
  Vector sums[focal::max_vectors_per_block] = {};
  double totals[focal::max_vectors_per_block][lanes] = {};
  for (int64_t step = needed.first; step < rows.last + total_lag; ++step) {
    if (needed.has(step))
      for (int64_t v = 0; v < block.vectors; ++v)
        pack_row(context_row(step) + v * lanes, p.context_strides.column, block.count(v), MaskRow(p, image, step),
                 p.width, ring[0].row(step, v));
    for (int64_t l = 1; l < levels; ++l) {
      const int64_t y = step - plan.lag[l];
      if (!RowRange(plan, band, total_lag - plan.lag[l]).has(y)) continue;
      for (int64_t v = 0; v < block.vectors; ++v) {
        float* output = ring[l].row(y, v);
        convolve(ring[l - 1], v, y, kernel(plan, block, v, l), p.kernel_heights[l - 1], p.kernel_widths[l - 1],
                 p.height, p.width, StoreGelu<Element>{output});
        clear_masked(output, MaskRow(p, image, y), p.width);
      }
    }
    const int64_t y = step - total_lag;
    if (!rows.has(y)) continue;
    const int64_t context_ahead = needed.has(step + 1) ? step + 1 : step, y_ahead = rows.has(y + 1) ? y + 1 : y;
    for (int64_t v = 0; v < block.vectors; ++v) {
      const auto result_row = [&](int64_t row) {
        const int64_t of_result = image * (p.last_row - p.first_row) + row - p.first_row;
        return result + of_result * p.width * p.channels + block.channel(v);
      };
      if (levels == 0) {
        sum_row(ring[0].row(y, v), p.width, block.count(v), result_row(y), p.channels, &sums[v]);
        add_to_total(&sums[v], totals[v]);
        continue;
      }
      GateAndStore<Element> finish = {};
      for (int64_t l = 1; l < levels; ++l) finish.level_rows[l - 1] = ring[l].row(y, v);
      finish.levels = levels;
      finish.gates = p.gates + offset_of(p.gates_strides, image, y);
      finish.gate_stride = p.gates_strides.column;
      finish.mask = MaskRow(p, image, y);
      finish.result = result_row(y);
      finish.stride = p.channels;
      finish.count = block.count(v);
      finish.sum = &sums[v];
      finish.context_ahead = {context_row(context_ahead) + v * lanes, p.context_strides.column};
      finish.gates_ahead = {p.gates + offset_of(p.gates_strides, image, y_ahead), p.gates_strides.column};
      finish.result_ahead = result_row(y_ahead);
      convolve(ring[levels - 1], v, y, kernel(plan, block, v, levels), p.kernel_heights[levels - 1],
               p.kernel_widths[levels - 1], p.height, p.width, finish);
      add_to_total(&sums[v], totals[v]);
    }
  }

  for (int64_t v = 0; v < block.vectors; ++v) {
    double* of_band = plan.band_sums + ((image * plan.bands + band) * plan.vectors + block.first + v) * lanes;
    for (int64_t lane = 0; lane < lanes; ++lane) of_band[lane] = totals[v][lane];
  }
  if (!plan.apart && !plan.local) add_global_level_to_block<Element>(plan, image, block);
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
