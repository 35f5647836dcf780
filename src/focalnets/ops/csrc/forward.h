// The forward pass: rows of the context stream through all levels, so that only a few rows of each level exist at a time.
#pragma once

#include "convolution.h"

namespace FOCAL_NAMESPACE {
namespace {

// result[x] = sum over l of gates[x][l] * Z_l[x]; adds the row of the last level to `sum`.
template <int fixed_levels>
void gate_row(const float* const* level_rows, int64_t any_levels, const float* gates, int64_t gate_stride, int64_t width,
              int64_t count, float* result, int64_t stride, Vector* sum) {
  const int64_t levels = fixed_levels > 0 ? fixed_levels : any_levels;
  Vector total = *sum;
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
  *sum = total;
}

// Adds the global level to rows [first, last) of the result.
void add_global_level(const Plan& plan, int64_t image, int64_t first, int64_t last, int64_t channel, int64_t count, Vector global) {
  const Problem& p = *plan.problem;
  for (int64_t y = first; y < last; ++y) {
    const float* gates = p.gates + offset_of(p.gates_strides, image, y) + p.levels;
    float* result = plan.result + ((image * p.height + y) * p.width) * p.channels + channel;
    const MaskRow mask(p, image, y);
    for (int64_t x = 0; x < p.width; ++x, result += p.channels) {
      if (mask && !mask[x]) continue;
      const float gate = gates[x * p.gates_strides.column];
      if (count == lanes)
        store_unaligned(result, (global * gate + load_unaligned(result)) * p.scale);
      else
        store_some(result, (global * gate + load_some(result, count)) * p.scale, count);
    }
  }
}

// Adds the global level to a band once all bands of its image are done.
void forward_finish(const Plan& plan, int64_t task) {
  const int64_t band = task % plan.bands, image = task / plan.bands / plan.blocks;
  const ChannelBlock block(plan, task / plan.bands % plan.blocks);
  const RowRange rows(plan, band, 0);
  for (int64_t v = 0; v < block.vectors; ++v) {
    const int64_t channel = block.channel(v), count = block.count(v);
    Vector sum = {};
    for (int64_t other = 0; other < plan.bands; ++other)
      sum += load(plan.band_sums + ((image * plan.bands + other) * plan.vectors + block.first + v) * lanes);
    const Vector mean = sum * plan.inverse_counts[image];
    if (band == 0) store_some(plan.means + image * plan.problem->channels + channel, mean, count);
    add_global_level(plan, image, rows.first, rows.last, channel, count, gelu(mean));
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
      gate(level_rows, levels, p.gates + offset_of(p.gates_strides, image, y), p.gates_strides.column, p.width, block.count(v),
           plan.result + ((image * p.height + y) * p.width) * p.channels + block.channel(v), p.channels, &sums[v]);
    }
  }

  for (int64_t v = 0; v < block.vectors; ++v)
    store(plan.band_sums + ((image * plan.bands + band) * plan.vectors + block.first + v) * lanes, sums[v]);
  if (plan.bands == 1) forward_finish(plan, task);
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
