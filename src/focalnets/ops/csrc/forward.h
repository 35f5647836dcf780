// The forward pass: rows of the context stream through all levels, so that only a few rows of each level exist at a
// time.
#pragma once

#include "convolution.h"

namespace FOCAL_NAMESPACE {
namespace {

// result[x] = sum over l of gates[x][l] * Z_l[x]; adds the row of the last level to `sum`.
template <int fixed_levels>
void gate_row(const float* const* level_rows, int64_t any_levels, const float* gates, int64_t gate_stride,
              int64_t width, int64_t count, float* result, int64_t stride, Vector* sum) {
  const int64_t levels = fixed_levels > 0 ? fixed_levels : any_levels;
  Vector total = {};
  for (int64_t x = 0; x < width; ++x) {
    const float* gate = gates + x * gate_stride;
    const Vector last = load(level_rows[levels] + x * lanes);
    total += last;
    Vector gated = levels > 0 ? last * gate[levels - 1] : Vector{};
    for (int64_t l = levels - 1; l > 0; --l) gated = load(level_rows[l] + x * lanes) * gate[l - 1] + gated;
    if (count == lanes)
      store_unaligned(result + x * stride, gated);
    else
      store_some(result + x * stride, gated, count);
  }
  *sum += total;
}

// The global level of one image and one vector of channels, once the sums of all bands are known.
Vector global_level(const Plan& plan, int64_t image, int64_t vector) {
  const int64_t channels = plan.problem->channels, channel = vector * lanes;
  Vector sum = {};
  for (int64_t band = 0; band < plan.bands; ++band)
    sum += load(plan.band_sums + ((image * plan.bands + band) * plan.vectors + vector) * lanes);
  const Vector mean = sum * plan.inverse_counts[image];
  store_some(plan.means + image * channels + channel, mean, smaller(lanes, channels - channel));
  return gelu(mean);
}

FOCAL_INLINE void add_global_level(float* result, int64_t count, Vector global, float gate, float scale) {
  if (count == lanes)
    store_unaligned(result, (global * gate + load_unaligned(result)) * scale);
  else
    store_some(result, (global * gate + load_some(result, count)) * scale, count);
}

// For maps of which a block of channels fits the cache: right after the task that wrote it.
void add_global_level_to_block(const Plan& plan, int64_t image, const ChannelBlock& block) {
  const Problem& p = *plan.problem;
  Vector global[focal::max_vectors_per_block];
  for (int64_t v = 0; v < block.vectors; ++v) global[v] = global_level(plan, image, block.first + v);
  for (int64_t y = 0; y < p.height; ++y) {
    const float* gates = p.gates + offset_of(p.gates_strides, image, y) + p.levels;
    float* result = plan.result + ((image * p.height + y) * p.width) * p.channels + block.channel(0);
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
void add_global_level_to_row(const Plan& plan, int64_t row) {
  const Problem& p = *plan.problem;
  const int64_t image = row / p.height, y = row % p.height;
  const float* gates = p.gates + offset_of(p.gates_strides, image, y) + p.levels;
  const float* global = plan.global_levels + image * plan.vectors * lanes;
  float* result = plan.result + row * p.width * p.channels;
  const MaskRow mask(p, image, y);
  for (int64_t x = 0; x < p.width; ++x, result += p.channels) {
    if (mask && !mask[x]) continue;
    for (int64_t v = 0; v < plan.vectors; ++v)
      add_global_level(result + v * lanes, smaller(lanes, p.channels - v * lanes), load(global + v * lanes),
                       gates[x * p.gates_strides.column], plan.scale);
  }
}

void forward_band(const Plan& plan, int64_t task, float* scratch) {
  const Problem& p = *plan.problem;
  const int64_t levels = p.levels, band = task % plan.bands, image = task / plan.bands / plan.blocks;
  const ChannelBlock block(plan, task / plan.bands % plan.blocks);
  const RowRange rows(plan, band, 0);
  Ring ring[focal::max_levels + 1];
  for (int64_t l = 0; l <= levels; ++l) ring[l] = Ring(scratch, plan.level[l], plan.vectors_per_block);

  const int64_t total_lag = plan.lag[levels];
  Vector sums[focal::max_vectors_per_block] = {};
  for (int64_t step = RowRange(plan, band, total_lag).first; step < rows.last + total_lag; ++step) {
    if (RowRange(plan, band, total_lag).has(step + 1))
      prefetch_row(p.context + offset_of(p.context_strides, image, step + 1) + block.channel(0),
                   p.context_strides.column, block.all_channels(), p.width, false);
    if (rows.has(step - total_lag))
      prefetch_row(plan.result + ((image * p.height + step - total_lag) * p.width) * p.channels + block.channel(0),
                   p.channels, block.all_channels(), p.width, true);
    if (RowRange(plan, band, total_lag).has(step))
      for (int64_t v = 0; v < block.vectors; ++v)
        pack_row(p.context + offset_of(p.context_strides, image, step) + block.channel(v), p.context_strides.column,
                 block.count(v), MaskRow(p, image, step), p.width, ring[0].row(step, v));
    for (int64_t l = 1; l <= levels; ++l) {
      const int64_t y = step - plan.lag[l];
      if (!RowRange(plan, band, total_lag - plan.lag[l]).has(y)) continue;
      for (int64_t v = 0; v < block.vectors; ++v) {
        const float* kernel = plan.packed_kernels + ((block.first + v) * plan.taps + plan.first_tap[l - 1]) * lanes;
        float* output = ring[l].row(y, v);
        convolve(ring[l - 1], v, y, kernel, p.kernel_heights[l - 1], p.kernel_widths[l - 1], p.height, p.width,
                 StoreGelu{output});
        clear_masked(output, MaskRow(p, image, y), p.width);
      }
    }
    const int64_t y = step - total_lag;
    if (!rows.has(y)) continue;
    for (int64_t v = 0; v < block.vectors; ++v) {
      const float* level_rows[focal::max_levels + 1];
      for (int64_t l = 0; l <= levels; ++l) level_rows[l] = ring[l].row(y, v);
      const auto gate = levels == 3 ? gate_row<3> : levels == 2 ? gate_row<2> : gate_row<0>;
      gate(level_rows, levels, p.gates + offset_of(p.gates_strides, image, y), p.gates_strides.column, p.width,
           block.count(v), plan.result + ((image * p.height + y) * p.width) * p.channels + block.channel(v), p.channels,
           &sums[v]);
    }
  }

  for (int64_t v = 0; v < block.vectors; ++v)
    store(plan.band_sums + ((image * plan.bands + band) * plan.vectors + block.first + v) * lanes, sums[v]);
  if (!plan.apart) add_global_level_to_block(plan, image, block);
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
