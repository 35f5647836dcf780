// Compiled once for each instruction set, with FOCAL_NAMESPACE and FOCAL_NAME set by the build.
#include "causal_backward.h"
#include "causal_forward.h"
#include "causal_step.h"

namespace FOCAL_NAMESPACE {
namespace {

// Kernels (C, size) of all levels to (taps, lanes), zeros in lanes without a channel.
void pack(const Plan& plan, int64_t vector) {
  const Causal& p = *plan.problem;
  const int64_t channel = vector * lanes, count = smaller(lanes, p.channels - channel);
  float* packed = plan.packed_kernels + vector * plan.taps * lanes;
  for (int64_t tap = 0; tap < plan.taps; ++tap) store(packed + tap * lanes, Vector{});
  for (int64_t l = 0; l < p.levels; ++l)
    transpose(p.kernels[l] + channel * p.sizes[l], p.sizes[l], packed + plan.first_tap[l] * lanes, lanes, count,
              p.sizes[l]);
}

void reduce_kernels(const Plan& plan, int64_t vector) {
  const Causal& p = *plan.problem;
  const focal::CausalGradients& gradients = *plan.gradients;
  const int64_t channel = vector * lanes, count = smaller(lanes, p.channels - channel);
  const auto sum = [&](const float* partials, int64_t rows, int64_t row) {
    Vector total = {};
    for (int64_t sequence = 0; sequence < p.sequences; ++sequence)
      total += load(partials + ((sequence * plan.vectors + vector) * rows + row) * lanes);
    return total;
  };
  if (plan.kernel_partials)
    for (int64_t l = 0; l < p.levels; ++l)
      for (int64_t tap = 0; tap < p.sizes[l]; ++tap) {
        const Vector total = sum(plan.kernel_partials, plan.taps, plan.first_tap[l] + tap);
        for (int64_t lane = 0; lane < count; ++lane)
          gradients.kernels[l][(channel + lane) * p.sizes[l] + tap] = total[lane];
      }
  if (plan.decay_partials)
    for (int64_t r = 0; r < p.running; ++r)
      store_some_or_all(gradients.decay + r * p.channels + channel, sum(plan.decay_partials, p.running, r), count);
}

void reduce_gates(const Plan& plan, int64_t first, int64_t last) {
  const Causal& p = *plan.problem;
  const int64_t levels = p.levels + p.running, positions = p.sequences * p.length;
  const int64_t blocks = plan.blocks / p.groups;  // of one group
  for (int64_t i = first * levels; i < last * levels; ++i)
    for (int64_t group = 0; group < p.groups; ++group) {
      float total = 0.0f;
      for (int64_t block = group * blocks; block < (group + 1) * blocks; ++block)
        total += plan.gate_partials[block * positions * levels + i];
      plan.gradients->gates[i * p.groups + group] = total;
    }
}

}  // namespace

extern const focal::CausalKernels causal_kernels;
const focal::CausalKernels causal_kernels = {
    FOCAL_NAME, lanes, pack, lay_scratch, forward, backward, reduce_kernels, reduce_gates,
};

extern const focal::StepKernels step_kernels;
const focal::StepKernels step_kernels = {FOCAL_NAME, normalize, multiply, aggregate, convolve, remember, attend};

}  // namespace FOCAL_NAMESPACE
