// The backward pass: the levels are computed again, row by row, and the gradients follow a few rows behind, from the last level to
// the context. Only the mean of Z_L must be known before (the forward pass saves it), because the global level sends every token
// the same gradient.
#pragma once

#include "convolution.h"

namespace FOCAL_NAMESPACE {
namespace {

// What the mean of Z_L receives from the global level of one image, divided by the number of valid tokens.
void mean_gradient(const Plan& plan, int64_t task) {
  const Problem& p = *plan.problem;
  const int64_t image = task / plan.blocks;
  const ChannelBlock block(plan, task % plan.blocks);
  Vector sums[focal::max_vectors_per_block] = {};
  for (int64_t y = 0; y < p.height; ++y) {
    const float* gates = p.gates + offset_of(p.gates_strides, image, y) + p.levels;
    const Strides& strides = plan.gradients->upstream_strides;
    const float* upstream = plan.gradients->upstream + offset_of(strides, image, y);
    const MaskRow mask(p, image, y);
    for (int64_t v = 0; v < block.vectors; ++v) {
      const float* source = upstream + block.channel(v);
      const int64_t count = block.count(v);
      Vector sum = sums[v];
      for (int64_t x = 0; x < p.width; ++x) {
        if (mask && !mask[x]) continue;
        const Vector value = count == lanes ? load_unaligned(source + x * strides.column) : load_some(source + x * strides.column, count);
        sum = value * gates[x * p.gates_strides.column] + sum;
      }
      sums[v] = sum;
    }
  }
  for (int64_t v = 0; v < block.vectors; ++v) {
    Vector derivative;
    gelu_with_derivative(load_some(plan.gradients->means + image * p.channels + block.channel(v), block.count(v)), &derivative);
    store(plan.mean_gradients + (image * plan.vectors + block.first + v) * lanes,
          sums[v] * derivative * (p.scale * plan.inverse_counts[image]));
  }
}

// Gradients of all gates of one row, summed over the channels of a block: upstream times each level.
void gate_gradient_row(const Ring* level, const Ring& upstream, const ChannelBlock& block, int64_t levels, int64_t y, int64_t width,
                       const Vector* global, float* gradients) {
  for (int64_t x = 0; x < width; x += 4) {
    const int64_t count = smaller(4, width - x);
    for (int64_t l = 0; l <= levels; ++l) {
      Vector products[4] = {};
      for (int64_t v = 0; v < block.vectors; ++v) {
        const float* values = upstream.row(y, v) + x * lanes;
        if (l < levels) {
          const float* level_row = level[l + 1].row(y, v) + x * lanes;
          for (int i = 0; i < 4; ++i) products[i] = load(values + i * lanes) * load(level_row + i * lanes) + products[i];
        } else {
          for (int i = 0; i < 4; ++i) products[i] = load(values + i * lanes) * global[v] + products[i];
        }
      }
      const Quad sums = sum_lanes(products[0], products[1], products[2], products[3]);
      for (int64_t i = 0; i < count; ++i) gradients[(x + i) * (levels + 1) + l] = sums[i];
    }
  }
}

// One task of the backward pass: a block of channels and a band of rows, for one image after the other.
struct BackwardBand {
  const Plan& plan;
  const Problem& p;
  const int64_t levels, band;
  const ChannelBlock block;
  const int64_t block_index;
  const RowRange rows;
  const bool wants_kernels, wants_levels;
  float* kernel_sums;
  Ring level[focal::max_levels + 1], derivative[focal::max_levels + 1], gradient[focal::max_levels + 1], upstream;

  BackwardBand(const Plan& plan_, int64_t task, float* scratch)
      : plan(plan_),
        p(*plan.problem),
        levels(p.levels),
        band(task % plan.bands),
        block(plan, task / plan.bands % plan.blocks),
        block_index(task / plan.bands % plan.blocks),
        rows(plan, band, 0),
        wants_kernels(plan.gradients->kernels != nullptr),
        wants_levels(wants_kernels || plan.gradients->context != nullptr),
        upstream(scratch, plan.upstream, plan.vectors_per_block) {
    const int64_t group = task / plan.bands / plan.blocks;
    for (int64_t l = 0; l <= levels; ++l) {
      level[l] = Ring(scratch, plan.level[l], plan.vectors_per_block);
      derivative[l] = Ring(scratch, plan.derivative[l], plan.vectors_per_block);
      gradient[l] = Ring(scratch, plan.gradient[l], plan.vectors_per_block);
    }
    if (wants_kernels) {
      kernel_sums = plan.kernel_partials + ((group * plan.bands + band) * plan.vectors + block.first) * plan.taps * lanes;
      for (int64_t i = 0; i < block.vectors * plan.taps; ++i) store(kernel_sums + i * lanes, Vector{});
    }
    const int64_t last_image = smaller(p.images, (group + 1) * plan.images_per_group);
    for (int64_t image = group * plan.images_per_group; image < last_image; ++image) {
      if (plan.bands == 1) mean_gradient(plan, image * plan.blocks + block_index);
      const int64_t first_step = RowRange(plan, band, plan.gradient_lag[0]).first;
      for (int64_t step = first_step; step < rows.last + plan.gradient_lag[0]; ++step) {
        compute_levels(image, step);
        start_gradients(image, step - plan.lag[levels]);
        if (wants_levels) propagate_gradients(image, step);
      }
    }
  }

  const float* kernel(int64_t l, int64_t v) const {
    return plan.packed_kernels + ((block.first + v) * plan.taps + plan.first_tap[l - 1]) * lanes;
  }

  // Z_l and gelu'(U_l) of the rows that this step reaches.
  void compute_levels(int64_t image, int64_t step) const {
    const int64_t halo = plan.gradient_lag[0];
    if (RowRange(plan, band, halo).has(step))
      for (int64_t v = 0; v < block.vectors; ++v)
        pack_row(p.context + offset_of(p.context_strides, image, step) + block.channel(v), p.context_strides.column,
                 block.count(v), MaskRow(p, image, step), p.width, level[0].row(step, v));
    for (int64_t l = 1; l <= levels; ++l) {
      const int64_t y = step - plan.lag[l];
      if (!RowRange(plan, band, halo - plan.lag[l]).has(y)) continue;
      const MaskRow mask(p, image, y);
      for (int64_t v = 0; v < block.vectors; ++v) {
        float *output = level[l].row(y, v), *slope = derivative[l].row(y, v);
        convolve(level[l - 1], v, y, kernel(l, v), p.kernel_heights[l - 1], p.kernel_widths[l - 1], p.height, p.width,
                 StoreGeluAndDerivative{output, slope});
        clear_masked(output, mask, p.width);
        clear_masked(slope, mask, p.width);
      }
    }
  }

  // Row y of the upstream gradient, of the gates' gradients and of the gradient of U_L.
  void start_gradients(int64_t image, int64_t y) const {
    if (!RowRange(plan, band, plan.lag[levels]).has(y)) return;
    const Strides& strides = plan.gradients->upstream_strides;
    Vector global[focal::max_vectors_per_block];
    for (int64_t v = 0; v < block.vectors; ++v) {
      float* row = upstream.row(y, v);
      pack_row(plan.gradients->upstream + offset_of(strides, image, y) + block.channel(v), strides.column, block.count(v),
               MaskRow(p, image, y), p.width, row);
      if (p.scale != 1.0f)
        for (int64_t x = 0; x < p.width; ++x) store(row + x * lanes, load(row + x * lanes) * p.scale);
      global[v] = gelu(load_some(plan.gradients->means + image * p.channels + block.channel(v), block.count(v)));
    }
    if (plan.gate_partials && rows.has(y)) {
      const int64_t position = (image * p.height + y) * p.width;
      float* target = plan.gate_partials + (block_index * p.images * p.height * p.width + position) * (levels + 1);
      gate_gradient_row(level, upstream, block, levels, y, p.width, global, target);
    }
    if (!wants_levels || levels == 0) return;
    const float* gates = p.gates + offset_of(p.gates_strides, image, y) + levels - 1;
    for (int64_t v = 0; v < block.vectors; ++v) {
      const Vector from_mean = load(mean_gradients(image, v));
      const float *row = upstream.row(y, v), *slope = derivative[levels].row(y, v);
      float* output = gradient[levels].row(y, v);
      for (int64_t x = 0; x < p.width; ++x) {
        const Vector total = load(row + x * lanes) * gates[x * p.gates_strides.column] + from_mean;
        store(output + x * lanes, total * load(slope + x * lanes));
      }
    }
  }

  const float* mean_gradients(int64_t image, int64_t v) const {
    return plan.mean_gradients + (image * plan.vectors + block.first + v) * lanes;
  }

  // The rows of the gradients of U_{L-1} .. U_1, the context and the kernels that this step reaches.
  void propagate_gradients(int64_t image, int64_t step) const {
    for (int64_t l = levels - 1; l >= 1; --l) {
      const int64_t y = step - plan.gradient_lag[l];
      if (!RowRange(plan, band, plan.lag[l]).has(y)) continue;
      const float* gates = p.gates + offset_of(p.gates_strides, image, y) + l - 1;
      for (int64_t v = 0; v < block.vectors; ++v)
        convolve(gradient[l + 1], v, y, kernel(l + 1, v), p.kernel_heights[l], p.kernel_widths[l], p.height, p.width,
                 StoreLevelGradient{gradient[l].row(y, v), upstream.row(y, v), derivative[l].row(y, v), gates,
                                    p.gates_strides.column});
    }
    const int64_t y = step - plan.gradient_lag[0];
    if (plan.gradients->context && rows.has(y)) {
      const MaskRow mask(p, image, y);
      for (int64_t v = 0; v < block.vectors; ++v) {
        float* row = gradient[0].row(y, v);
        if (levels > 0)
          convolve(gradient[1], v, y, kernel(1, v), p.kernel_heights[0], p.kernel_widths[0], p.height, p.width, StoreGradient{row});
        else
          for (int64_t x = 0; x < p.width; ++x) store(row + x * lanes, load(mean_gradients(image, v)));
        clear_masked(row, mask, p.width);
        unpack_row(row, block.count(v), p.width,
                   plan.gradients->context + (image * p.height + y) * p.width * p.channels + block.channel(v), p.channels);
      }
    }
    if (!wants_kernels) return;
    for (int64_t l = 1; l <= levels; ++l) {
      const int64_t done = step - plan.gradient_lag[l] - rows.first + 1;  // rows of this band whose gradient of U_l is known
      if (done < 1 || done > rows.last - rows.first) continue;
      if (done % plan.flush_rows != 0 && done != rows.last - rows.first) continue;
      const int64_t last = rows.first + done, first = rows.first + (done - 1) / plan.flush_rows * plan.flush_rows;
      for (int64_t v = 0; v < block.vectors; ++v)
        add_kernel_gradient(level[l - 1], gradient[l], v, first, last, p.kernel_heights[l - 1], p.kernel_widths[l - 1], p.height,
                            p.width, kernel_sums + (v * plan.taps + plan.first_tap[l - 1]) * lanes);
    }
  }
};

void backward_band(const Plan& plan, int64_t task, float* scratch) { BackwardBand(plan, task, scratch); }

void reduce_kernels(const Plan& plan, int64_t vector) {
  const Problem& p = *plan.problem;
  const int64_t channel = vector * lanes, count = smaller(lanes, p.channels - channel);
  for (int64_t l = 0; l < p.levels; ++l) {
    const int64_t taps = p.kernel_heights[l] * p.kernel_widths[l];
    for (int64_t tap = 0; tap < taps; ++tap) {
      Vector sum = {};
      for (int64_t part = 0; part < plan.groups * plan.bands; ++part)
        sum += load(plan.kernel_partials + ((part * plan.vectors + vector) * plan.taps + plan.first_tap[l] + tap) * lanes);
      for (int64_t lane = 0; lane < count; ++lane) plan.gradients->kernels[l][(channel + lane) * taps + tap] = sum[lane];
    }
  }
}

void reduce_gates(const Plan& plan, int64_t first, int64_t last) {
  const Problem& p = *plan.problem;
  const int64_t gates = p.levels + 1, values = p.images * p.height * p.width * gates;
  for (int64_t i = first * gates; i < last * gates; ++i) {
    float sum = plan.gate_partials[i];
    for (int64_t block = 1; block < plan.blocks; ++block) sum += plan.gate_partials[block * values + i];
    plan.gradients->gates[i] = sum;
  }
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
