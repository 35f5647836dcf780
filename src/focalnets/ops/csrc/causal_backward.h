// The same backwards in time: each tile computes its levels again from its checkpoint, then its gradients.
#pragma once

#include "causal_forward.h"

namespace FOCAL_NAMESPACE {
namespace {

// What a tile needs of one vector of channels.
struct Part {
  const Plan& plan;
  const Span& span;
  const Tile& tile;
  int64_t vector, channel, count;  // channels in this vector
  const float* gates;              // of the first position and level, of this group
  const double* inverse;           // reciprocals of the counts

  Vector gate(int64_t i, int64_t level) const {
    return splat(gates[i * plan.problem->gates_position + level * plan.problem->groups]);
  }
};

// Z_l and gelu'(U_l), S_r and gelu'(S_r), and the upstream gradient, zero where not valid.
inline void compute_again(const Part& part) {
  const Plan& plan = part.plan;
  const Causal& p = *plan.problem;
  const Span& span = part.span;
  const Tile& tile = part.tile;
  const float* rows = plan.gradients->checkpoints +
                      (span.sequence * plan.tiles + span.first / p.tile) * plan.checkpoint_rows * p.channels +
                      part.channel;
  for (int64_t l = 0; l < p.levels; ++l)
    for (int64_t i = 0; i < plan.past[l]; ++i)
      store(tile.level[l] + i * lanes,
            load_some_or_all(rows + (plan.first_row[l] + i) * p.channels, part.count));
  rows += plan.window_rows * p.channels;
  Sums sums = {};
  if (p.decay_kind == focal::mean_of_all)
    sums = widen(load_some_or_all(rows, part.count)) + widen(load_some_or_all(rows + p.channels, part.count));
  else
    for (int64_t r = 0; r < p.running; ++r)
      store(tile.running[r], load_some_or_all(rows + r * p.channels, part.count));

  load_rows(p.context + span.sequence * p.context_sequence + span.first * p.context_position + part.channel,
            p.context_position, span, part.count, tile.level[0] + plan.past[0] * lanes);
  for (int64_t l = 1; l <= p.levels; ++l) {
    float *level = tile.level[l] + plan.past[l] * lanes, *slopes = tile.slope[l];
    convolve(tile.level[l - 1], plan.packed_kernels + (part.vector * plan.taps + plan.first_tap[l - 1]) * lanes,
             p.sizes[l - 1], p.dilations[l - 1], span.count, [&](int64_t i, Vector u) __attribute__((always_inline)) {
               Vector slope;
               store(level + i * lanes, gelu_with_derivative(u, &slope));
               store(slopes + i * lanes, slope);
             });
    zero_where_invalid(span, level);
  }
  run_along(p, span, tile, part.inverse, part.channel, part.count, &sums);
  const focal::CausalGradients& gradients = *plan.gradients;
  load_rows(gradients.upstream + span.sequence * gradients.upstream_sequence + span.first * gradients.upstream_position +
                part.channel,
            gradients.upstream_position, span, part.count, tile.upstream);
}

// Adds what this vector contributes to the gradients of the gates to `products` (tile, L + R, lanes), and fills
// gelu'(S_r).
inline void multiply_by_levels(const Part& part, float* products) {
  const Plan& plan = part.plan;
  const Causal& p = *plan.problem;
  const Tile& tile = part.tile;
  const int64_t levels = p.levels + p.running;
  for (int64_t l = 1; products && l <= p.levels; ++l) {
    const float* level = tile.level[l] + plan.past[l] * lanes;
    for (int64_t i = 0; i < part.span.count; ++i) {
      float* product = products + (i * levels + l - 1) * lanes;
      store(product, load(product) + load(tile.upstream + i * lanes) * load(level + i * lanes));
    }
  }
  for (int64_t r = 0; r < p.running; ++r)
    for (int64_t i = 0; i < part.span.count; ++i) {
      Vector slope;
      const Vector activated = gelu_with_derivative(load(tile.running[r] + (i + 1) * lanes), &slope);
      store(tile.running_slope[r] + i * lanes, slope);
      if (products) {
        float* product = products + (i * levels + p.levels + r) * lanes;
        store(product, load(product) + load(tile.upstream + i * lanes) * activated);
      }
    }
}

// Adds to the gradient of Z_L (tile.sum) what comes through the running levels, last position first.
inline void return_from_running(const Part& part) {
  const Plan& plan = part.plan;
  const Causal& p = *plan.problem;
  const Span& span = part.span;
  const Tile& tile = part.tile;
  const float* top = tile.level[p.levels];
  for (int64_t r = 0; r < p.running; ++r) {
    const auto arriving = [&](int64_t i) __attribute__((always_inline)) {
      return load(tile.upstream + i * lanes) * part.gate(i, p.levels + r) * load(tile.running_slope[r] + i * lanes);
    };
    if (p.decay_kind == focal::mean_of_all) {
      Sums carried;
      __builtin_memcpy(&carried, tile.carried, sizeof carried);
      for (int64_t i = span.count - 1; i >= 0; --i) {
        if (!span.valid(i)) continue;
        carried = carried + widen(arriving(i)) * part.inverse[i];
        store(tile.sum + i * lanes, load(tile.sum + i * lanes) + narrow(carried));
      }
      __builtin_memcpy(tile.carried, &carried, sizeof carried);
      continue;
    }
    const bool fixed = p.decay_kind == focal::fixed_decay;
    const int64_t stride = fixed ? 0 : p.decay_position;
    const float* decays = fixed ? p.decay + r * p.channels + part.channel
                                : p.decay + span.sequence * p.decay_sequence + span.first * p.decay_position + part.channel;
    float* wanted = fixed || !plan.gradients->decay
                        ? nullptr
                        : plan.gradients->decay + (span.sequence * p.length + span.first) * p.channels + part.channel;
    Vector carried = load(tile.carried + r * lanes), total = {};
    for (int64_t i = span.count - 1; i >= 0; --i) {
      Vector changed = {};
      if (span.valid(i)) {
        const Vector decay = load_some_or_all(decays + i * stride, part.count);
        carried += arriving(i);
        changed = carried * (load(tile.running[r] + i * lanes) - load(top + i * lanes));
        store(tile.sum + i * lanes, load(tile.sum + i * lanes) + (1.0f - decay) * carried);
        carried *= decay;
      }
      total += changed;
      if (wanted) store_some_or_all(wanted + i * p.channels, changed, part.count);
    }
    store(tile.carried + r * lanes, carried);
    store(tile.decay + r * lanes, load(tile.decay + r * lanes) + total);
  }
}

// Adds the gradient of a kernel: for each tap the sum over the positions of the tile.
inline void add_kernel_gradient(const float* gradient, const float* before, int64_t size, int64_t dilation,
                                int64_t positions, float* kernel) {
  for (int64_t tap = 0; tap < size; ++tap) {
    const float* source = before + tap * dilation * lanes;
    Vector sums[4] = {};
    int64_t i = 0;
    for (; i + 4 <= positions; i += 4) {
      FOCAL_UNROLL
      for (int64_t n = 0; n < 4; ++n) sums[n] += load(gradient + (i + n) * lanes) * load(source + (i + n) * lanes);
    }
    for (; i < positions; ++i) sums[0] += load(gradient + i * lanes) * load(source + i * lanes);
    store(kernel + tap * lanes, load(kernel + tap * lanes) + ((sums[0] + sums[1]) + (sums[2] + sums[3])));
  }
}

// From the gradient of Z_L (tile.sum) down to that of the context (tile.sum again).
inline void descend(const Part& part) {
  const Plan& plan = part.plan;
  const Causal& p = *plan.problem;
  const Span& span = part.span;
  const Tile& tile = part.tile;
  const bool wants_kernels = plan.gradients->wants_kernels;
  for (int64_t l = p.levels; l > 0; --l) {
    const int64_t size = p.sizes[l - 1], dilation = p.dilations[l - 1];
    const float* taps = plan.packed_kernels + (part.vector * plan.taps + plan.first_tap[l - 1]) * lanes;
    float* gradient = tile.gradient[l];  // behind the tile lies what the next one needs of this one
    for (int64_t i = 0; i < span.count; ++i)
      store(gradient + i * lanes, load(tile.sum + i * lanes) * load(tile.slope[l] + i * lanes));
    zero_where_invalid(span, gradient);
    if (wants_kernels)
      add_kernel_gradient(gradient, tile.level[l - 1], size, dilation, span.count,
                          tile.kernels + plan.first_tap[l - 1] * lanes);
    const auto arriving = [&](int64_t i) __attribute__((always_inline)) {
      return l > 1 ? load(tile.upstream + i * lanes) * part.gate(i, l - 2) : Vector{};
    };
    // The tap that reaches furthest back comes first in the kernel: it sends this position's gradient from furthest on.
    const int64_t step = dilation * lanes;
    int64_t i = 0;
    for (; i + 4 <= span.count; i += 4) {
      Vector sums[4];
      FOCAL_UNROLL
      for (int64_t n = 0; n < 4; ++n) sums[n] = arriving(i + n);
      FOCAL_KEEP_LOOP
      for (int64_t tap = 0; tap < size; ++tap) {
        const Vector weight = load(taps + (size - 1 - tap) * lanes);
        FOCAL_UNROLL
        for (int64_t n = 0; n < 4; ++n) sums[n] += weight * load(gradient + (i + n) * lanes + tap * step);
      }
      FOCAL_UNROLL
      for (int64_t n = 0; n < 4; ++n) store(tile.sum + (i + n) * lanes, sums[n]);
    }
    for (; i < span.count; ++i) {
      Vector sum = arriving(i);
      for (int64_t tap = 0; tap < size; ++tap)
        sum += load(taps + (size - 1 - tap) * lanes) * load(gradient + i * lanes + tap * step);
      store(tile.sum + i * lanes, sum);
    }
    // The tile before this one is a whole one: it finds these rows behind its own.
    __builtin_memmove(gradient + p.tile * lanes, gradient,
                      static_cast<size_t>(plan.past[l - 1] * lanes) * sizeof(float));
  }
}

void backward(const Plan& plan, int64_t task, float* scratch) {
  const Causal& p = *plan.problem;
  const focal::CausalGradients& gradients = *plan.gradients;
  const int64_t sequence = task / plan.blocks, block = task % plan.blocks, levels = p.levels + p.running;
  const int64_t first_vector = block * plan.vectors_per_block;
  const int64_t last_vector = smaller(first_vector + plan.vectors_per_block, plan.vectors);
  const int64_t group = first_vector * lanes / (p.channels / p.groups);
  double* inverse = reinterpret_cast<double*>(scratch);
  float* products = scratch + ((2 * p.tile + lanes - 1) / lanes) * lanes;
  float* vectors = scratch + shared_floats(plan);
  Tile tile;
  __builtin_memset(vectors, 0, static_cast<size_t>(plan.vectors_per_block * plan.vector_floats) * sizeof(float));

  int64_t counted = p.count ? p.count[sequence] : 0;
  for (int64_t i = 0; i < p.length; ++i) counted += !p.mask || p.mask[sequence * p.length + i];
  for (int64_t index = plan.tiles - 1; index >= 0; --index) {
    const Span span = span_of(p, sequence, index);
    for (int64_t i = 0; i < span.count; ++i) counted -= span.valid(i);
    invert_counts(span, counted, inverse);
    if (gradients.gates)
      __builtin_memset(products, 0, static_cast<size_t>(span.count * levels * lanes) * sizeof(float));
    for (int64_t vector = first_vector; vector < last_vector; ++vector) {
      const int64_t channel = vector * lanes;
      lay_tile(plan, vectors + (vector - first_vector) * plan.vector_floats, &tile);
      const Part part = {plan, span, tile, vector, channel, smaller(lanes, p.channels - channel),
                         p.gates + sequence * p.gates_sequence + span.first * p.gates_position + group, inverse};
      compute_again(part);
      multiply_by_levels(part, gradients.gates ? products : nullptr);
      for (int64_t i = 0; i < span.count; ++i)
        store(tile.sum + i * lanes,
              p.levels > 0 ? load(tile.upstream + i * lanes) * part.gate(i, p.levels - 1) : Vector{});
      return_from_running(part);
      descend(part);
      zero_where_invalid(span, tile.sum);
      if (gradients.context) {
        float* target = gradients.context + (sequence * p.length + span.first) * p.channels + channel;
        for (int64_t i = 0; i < span.count; ++i)
          store_some_or_all(target + i * p.channels, load(tile.sum + i * lanes), part.count);
      }
    }
    if (gradients.gates) {
      float* target = plan.gate_partials + ((block * p.sequences + sequence) * p.length + span.first) * levels;
      const int64_t count = span.count * levels;
      int64_t i = 0;
      for (; i + 4 <= count; i += 4) {
        const float* rows = products + i * lanes;
        const Quad sums = sum_lanes(load(rows), load(rows + lanes), load(rows + 2 * lanes), load(rows + 3 * lanes));
        *reinterpret_cast<UnalignedQuad*>(target + i) = sums;
      }
      for (; i < count; ++i) target[i] = sum_lanes(load(products + i * lanes), Vector{}, Vector{}, Vector{})[0];
    }
  }

  for (int64_t vector = first_vector; vector < last_vector; ++vector) {
    lay_tile(plan, vectors + (vector - first_vector) * plan.vector_floats, &tile);
    const int64_t at = sequence * plan.vectors + vector;
    if (plan.kernel_partials)
      __builtin_memcpy(plan.kernel_partials + at * plan.taps * lanes, tile.kernels,
                       static_cast<size_t>(plan.taps * lanes) * sizeof(float));
    if (plan.decay_partials)
      __builtin_memcpy(plan.decay_partials + at * p.running * lanes, tile.decay,
                       static_cast<size_t>(p.running * lanes) * sizeof(float));
  }
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
