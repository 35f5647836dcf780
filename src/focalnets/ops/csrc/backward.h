// The backward pass: the levels are computed again, row by row, and the gradients follow a few rows behind, from the
// last level to the context. Only the mean of Z_L must be known before (the forward pass saves it), because the global
// level sends every token the same gradient.
#pragma once

#include "convolution.h"

namespace FOCAL_NAMESPACE {
namespace {

// The mean of Z_L receives one gradient from the global level of its image: gelu'(mean) times the sum over tokens of
// upstream gradient and gate. For every token it is divided by their number.
void finish_mean_gradient(const Plan& plan, int64_t image, int64_t vector, Vector sum) {
  const Problem& p = *plan.problem;
  const int64_t channel = vector * lanes, count = smaller(lanes, p.channels - channel);
  Vector derivative;
  gelu_with_derivative(load_some(plan.gradients->means + image * p.channels + channel, count), &derivative);
  store(plan.mean_gradients + (image * plan.vectors + vector) * lanes,
        sum * derivative * (plan.scale * plan.inverse_counts[image]));
}

// For maps of which a block of channels fits the cache, where the task will need it again at once.
template <class Element>
void mean_gradients_of_block(const Plan& plan, int64_t image, const ChannelBlock& block) {
  const Problem& p = *plan.problem;
  const Strides& strides = plan.gradients->upstream_strides;
  Vector sums[focal::max_vectors_per_block] = {};
  for (int64_t y = 0; y < p.height; ++y) {
    const float* gates = p.gates + offset_of(p.gates_strides, image, y) + p.levels;
    const Element* upstream =
        static_cast<const Element*>(plan.gradients->upstream) + offset_of(strides, image, y) + block.channel(0);
    const MaskRow mask(p, image, y);
    if (y + 1 < p.height) prefetch_row(upstream + strides.row, strides.column, block.all_channels(), p.width, false);
    for (int64_t v = 0; v < block.vectors; ++v) {
      const int64_t count = block.count(v);
      Vector sum = {};
      for (int64_t x = 0; x < p.width; ++x) {
        if (mask && !mask[x]) continue;
        const Vector value = load_up_to(upstream + x * strides.column + v * lanes, count);
        sum = value * gates[x * p.gates_strides.column] + sum;
      }
      sums[v] += sum;
    }
  }
  for (int64_t v = 0; v < block.vectors; ++v) finish_mean_gradient(plan, image, block.first + v, sums[v]);
}

// For larger maps, in the order of memory: the sums of one row (of all images) for all channels.
template <class Element>
void mean_gradient_row(const Plan& plan, int64_t row) {
  const Problem& p = *plan.problem;
  const int64_t image = row / p.height, y = row % p.height;
  const Strides& strides = plan.gradients->upstream_strides;
  const float* gates = p.gates + offset_of(p.gates_strides, image, y) + p.levels;
  const Element* upstream = static_cast<const Element*>(plan.gradients->upstream) + offset_of(strides, image, y);
  const MaskRow mask(p, image, y);
  float* sums = plan.row_sums + row * plan.vectors * lanes;
  for (int64_t v = 0; v < plan.vectors; ++v) store(sums + v * lanes, Vector{});
  for (int64_t x = 0; x < p.width; ++x, upstream += strides.column) {
    if (mask && !mask[x]) continue;
    const float gate = gates[x * p.gates_strides.column];
    for (int64_t v = 0; v < plan.vectors; ++v) {
      const Vector value = load_up_to(upstream + v * lanes, smaller(lanes, p.channels - v * lanes));
      store(sums + v * lanes, value * gate + load(sums + v * lanes));
    }
  }
}

void mean_gradients_of_image(const Plan& plan, int64_t image) {
  const int64_t height = plan.problem->height;
  for (int64_t v = 0; v < plan.vectors; ++v) {
    Vector sum = {};
    for (int64_t y = 0; y < height; ++y) sum += load(plan.row_sums + ((image * height + y) * plan.vectors + v) * lanes);
    finish_mean_gradient(plan, image, v, sum);
  }
}

// Gradients of all gates of one row, summed over the channels of a block: upstream times each level. levels[l * vectors
// + v] is the row of a vector of Z_(l + 1).
void gate_gradient_row(const float* const* levels, const float* const* upstream, int64_t vectors, int64_t level_count,
                       int64_t width, const Vector* global, float* gradients) {
  const int64_t gates = level_count + 1;
  for (int64_t x = 0; x < width; x += 4) {
    const int64_t count = smaller(4, width - x), offset = x * lanes;
    for (int64_t l = 0; l < gates; ++l) {
      Vector a = {}, b = {}, c = {}, d = {};
      for (int64_t v = 0; v < vectors; ++v) {
        const float* values = upstream[v] + offset;
        if (l < level_count) {
          const float* level = levels[l * vectors + v] + offset;
          a = load(values) * load(level) + a;
          b = load(values + lanes) * load(level + lanes) + b;
          c = load(values + 2 * lanes) * load(level + 2 * lanes) + c;
          d = load(values + 3 * lanes) * load(level + 3 * lanes) + d;
        } else {
          a = load(values) * global[v] + a;
          b = load(values + lanes) * global[v] + b;
          c = load(values + 2 * lanes) * global[v] + c;
          d = load(values + 3 * lanes) * global[v] + d;
        }
      }
      const Quad sums = sum_lanes(a, b, c, d);
      for (int64_t i = 0; i < count; ++i) gradients[(x + i) * gates + l] = sums[i];
    }
  }
}

// One task of the backward pass: a block of channels and a band of rows, for one image after the other. Context,
// upstream gradient and gradient of the context are maps of `Element`.
template <class Element>
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
        wants_kernels(plan.gradients->wants_kernels && levels > 0),
        wants_levels(wants_kernels || plan.gradients->context != nullptr),
        upstream(scratch, plan.upstream, plan.vectors_per_block) {
    const int64_t group = task / plan.bands / plan.blocks;
    for (int64_t l = 0; l <= levels; ++l) {
      level[l] = Ring(scratch, plan.level[l], plan.vectors_per_block);
      derivative[l] = Ring(scratch, plan.derivative[l], plan.vectors_per_block);
      gradient[l] = Ring(scratch, plan.gradient[l], plan.vectors_per_block);
    }
    if (wants_kernels) {
      kernel_sums =
          plan.kernel_partials + ((group * plan.bands + band) * plan.vectors + block.first) * plan.taps * lanes;
      for (int64_t i = 0; i < block.vectors * plan.taps; ++i) store(kernel_sums + i * lanes, Vector{});
    }
    const int64_t last_image = smaller(p.images, (group + 1) * plan.images_per_group);
    for (int64_t image = group * plan.images_per_group; image < last_image; ++image) {
      if (!plan.apart) mean_gradients_of_block<Element>(plan, image, block);
      const int64_t first_step = RowRange(plan, band, plan.gradient_lag[0]).first;
      for (int64_t step = first_step; step < rows.last + plan.gradient_lag[0]; ++step) {
        compute_levels(image, step);
        start_gradients(image, step - plan.lag[levels]);
        if (wants_levels) propagate_gradients(image, step);
      }
    }
  }

  const Element* context(int64_t image, int64_t y, int64_t v) const {
    return static_cast<const Element*>(p.context) + offset_of(p.context_strides, image, y) + block.channel(v);
  }

  const float* kernel(int64_t l, int64_t v) const {
    return plan.packed_kernels + ((block.first + v) * plan.taps + plan.first_tap[l - 1]) * lanes;
  }

  // Z_l and gelu'(U_l) of the rows that this step reaches.
  void compute_levels(int64_t image, int64_t step) const {
    const int64_t halo = plan.gradient_lag[0];
    if (RowRange(plan, band, halo).has(step + 1))
      prefetch_row(context(image, step + 1, 0), p.context_strides.column, block.all_channels(), p.width, false);
    if (RowRange(plan, band, halo).has(step))
      for (int64_t v = 0; v < block.vectors; ++v)
        pack_row(context(image, step, v), p.context_strides.column, block.count(v), MaskRow(p, image, step), p.width,
                 level[0].row(step, v));
    for (int64_t l = 1; l <= levels; ++l) {
      const int64_t y = step - plan.lag[l];
      if (!RowRange(plan, band, halo - plan.lag[l]).has(y)) continue;
      const MaskRow mask(p, image, y);
      for (int64_t v = 0; v < block.vectors; ++v) {
        float *output = level[l].row(y, v), *slope = derivative[l].row(y, v);
        convolve(level[l - 1], v, y, kernel(l, v), p.kernel_heights[l - 1], p.kernel_widths[l - 1], p.height, p.width,
                 StoreGeluAndDerivative<Element>{output, slope});
        clear_masked(output, mask, p.width);
        clear_masked(slope, mask, p.width);
      }
    }
  }

  // Row y of the upstream gradient, of the gates' gradients and of the gradient of U_L.
  void start_gradients(int64_t image, int64_t y) const {
    if (!RowRange(plan, band, plan.lag[levels]).has(y)) return;
    const Strides& strides = plan.gradients->upstream_strides;
    const Element* from_above = static_cast<const Element*>(plan.gradients->upstream);
    if (RowRange(plan, band, plan.lag[levels]).has(y + 1))
      prefetch_row(from_above + offset_of(strides, image, y + 1) + block.channel(0), strides.column,
                   block.all_channels(), p.width, false);
    Vector global[focal::max_vectors_per_block];
    for (int64_t v = 0; v < block.vectors; ++v) {
      float* row = upstream.row(y, v);
      pack_row(from_above + offset_of(strides, image, y) + block.channel(v), strides.column, block.count(v),
               MaskRow(p, image, y), p.width, row);
      if (plan.scale != 1.0f)
        for (int64_t x = 0; x < p.width; ++x) store(row + x * lanes, load(row + x * lanes) * plan.scale);
      global[v] = gelu(load_some(plan.gradients->means + image * p.channels + block.channel(v), block.count(v)));
    }
    if (plan.gate_partials && rows.has(y)) {
      const int64_t position = (image * p.height + y) * p.width;
      float* target = plan.gate_partials + (block_index * p.images * p.height * p.width + position) * (levels + 1);
      const float *level_rows[focal::max_levels * focal::max_vectors_per_block],
          *upstream_rows[focal::max_vectors_per_block];
      for (int64_t v = 0; v < block.vectors; ++v) {
        upstream_rows[v] = upstream.row(y, v);
        for (int64_t l = 0; l < levels; ++l) level_rows[l * block.vectors + v] = level[l + 1].row(y, v);
      }
      gate_gradient_row(level_rows, upstream_rows, block.vectors, levels, p.width, global, target);
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
      clear_masked(output, MaskRow(p, image, y), p.width);  // gates of tokens that are not valid may be anything
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
      for (int64_t v = 0; v < block.vectors; ++v) {
        float* output = gradient[l].row(y, v);
        convolve(gradient[l + 1], v, y, kernel(l + 1, v), p.kernel_heights[l], p.kernel_widths[l], p.height, p.width,
                 StoreLevelGradient{output, upstream.row(y, v), derivative[l].row(y, v), gates,
                                    p.gates_strides.column});
        clear_masked(output, MaskRow(p, image, y), p.width);
      }
    }
    const int64_t y = step - plan.gradient_lag[0];
    if (plan.gradients->context && rows.has(y)) {
      Element* target = static_cast<Element*>(plan.gradients->context) + (image * p.height + y) * p.width * p.channels +
                        block.channel(0);
      prefetch_row(target, p.channels, block.all_channels(), p.width, true);
      const MaskRow mask(p, image, y);
      for (int64_t v = 0; v < block.vectors; ++v) {
        float* row = gradient[0].row(y, v);
        if (levels > 0)
          convolve(gradient[1], v, y, kernel(1, v), p.kernel_heights[0], p.kernel_widths[0], p.height, p.width,
                   StoreGradient{row});
        else
          for (int64_t x = 0; x < p.width; ++x) store(row + x * lanes, load(mean_gradients(image, v)));
        clear_masked(row, mask, p.width);
        unpack_row(row, block.count(v), p.width, target + v * lanes, p.channels);
      }
    }
    if (!wants_kernels) return;
    for (int64_t l = 1; l <= levels; ++l) {
      const int64_t done =
          step - plan.gradient_lag[l] - rows.first + 1;  // rows of this band whose gradient of U_l is known
      if (done < 1 || done > rows.last - rows.first) continue;
      if (done % plan.flush_rows != 0 && done != rows.last - rows.first) continue;
      const int64_t last = rows.first + done, first = rows.first + (done - 1) / plan.flush_rows * plan.flush_rows;
      for (int64_t v = 0; v < block.vectors; ++v)
        add_kernel_gradient(level[l - 1], gradient[l], v, first, last, p.kernel_heights[l - 1], p.kernel_widths[l - 1],
                            p.height, p.width, kernel_sums + (v * plan.taps + plan.first_tap[l - 1]) * lanes);
    }
  }
};

template <class Element>
void backward_band(const Plan& plan, int64_t task, float* scratch) {
  BackwardBand<Element>(plan, task, scratch);
}

// Sums what the tasks found into the first of their partial results, and puts that into the order of the kernels.
void reduce_kernels(const Plan& plan, int64_t vector) {
  const Problem& p = *plan.problem;
  const int64_t channel = vector * lanes, count = smaller(lanes, p.channels - channel),
                part_floats = plan.vectors * plan.taps * lanes;
  float* sums = plan.kernel_partials + vector * plan.taps * lanes;
  for (int64_t part = 1; part < plan.groups * plan.bands; ++part)
    for (int64_t tap = 0; tap < plan.taps; ++tap)
      store(sums + tap * lanes, load(sums + tap * lanes) + load(sums + part * part_floats + tap * lanes));
  for (int64_t l = 0; l < p.levels; ++l) {
    const int64_t taps = p.kernel_heights[l] * p.kernel_widths[l];
    transpose(sums + plan.first_tap[l] * lanes, lanes, plan.gradients->kernels[l] + channel * taps, taps, taps, count);
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
