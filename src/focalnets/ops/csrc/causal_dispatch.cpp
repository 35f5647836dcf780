// The C ABI of causal focal aggregation: picks the instruction set, cuts a call into tasks and runs them.
#include "causal.h"

#include <cstring>

#include "parallel.h"

namespace focal_causal_baseline {
extern const focal::CausalKernels causal_kernels;
}
#if defined(FOCAL_X86)
namespace focal_causal_avx2 {
extern const focal::CausalKernels causal_kernels;
}
namespace focal_causal_avx512 {
extern const focal::CausalKernels causal_kernels;
}
#endif

namespace {

using focal::Causal;
using focal::CausalGradients;
using focal::CausalKernels;
using focal::CausalPlan;
using focal::CausalResult;
using focal::Memory;
using focal::ceil_divide;
using focal::done;
using focal::in_parallel;
using focal::larger;
using focal::out_of_memory;
using focal::smaller;

// By a name that focal_instruction_set gave, so that it runs here.
const CausalKernels* kernels_of(const char* name) {
#if defined(FOCAL_X86)
  if (std::strcmp(name, "avx512") == 0) return &focal_causal_avx512::causal_kernels;
  if (std::strcmp(name, "avx2") == 0) return &focal_causal_avx2::causal_kernels;
#endif
  return std::strcmp(name, "baseline") == 0 ? &focal_causal_baseline::causal_kernels : nullptr;
}

// A block is two cache lines of channels, or one where a group has no more.
void cut(CausalPlan& plan, const CausalKernels& kernels) {
  const Causal& p = *plan.problem;
  const int64_t group = p.channels / p.groups, channels = p.groups > 1 && group % 32 != 0 ? 16 : 32;
  plan.lanes = kernels.lanes;
  plan.vectors = ceil_divide(p.channels, plan.lanes);
  plan.vectors_per_block = smaller(channels / plan.lanes, plan.vectors);
  plan.blocks = ceil_divide(plan.vectors, plan.vectors_per_block);
  plan.tiles = ceil_divide(p.length, p.tile);
  for (int64_t l = 0; l < p.levels; ++l) {
    plan.past[l] = (p.sizes[l] - 1) * p.dilations[l];
    plan.first_tap[l] = plan.taps;
    plan.first_row[l] = plan.window_rows;
    plan.taps += p.sizes[l];
    plan.window_rows += plan.past[l];
  }
  plan.checkpoint_rows = plan.window_rows + (p.decay_kind == focal::mean_of_all ? 2 : p.running);
  kernels.lay(plan);
}

// Waking other threads does not pay for less work than this (multiply-adds; about ten microseconds).
int64_t threads_for(const Causal& p, const CausalPlan& plan) {
  const int64_t work = p.sequences * p.length * p.channels * (plan.taps + 20 * (p.levels + p.running) + 2);
  return work < 200000 ? 1 : larger(p.threads, 1);
}

}  // namespace

// Changes with the structures that Python fills, so that a library left over from another version is not used.
FOCAL_EXPORT int64_t focal_causal_interface() {
  return 1000000 + 1000 * sizeof(Causal) + sizeof(CausalResult) + sizeof(CausalGradients);
}

FOCAL_EXPORT int32_t focal_causal_forward(const char* instruction_set, const Causal* problem,
                                          const CausalResult* result) {
  const CausalKernels* kernels = kernels_of(instruction_set);
  if (!kernels) return focal::unknown_instruction_set;
  CausalPlan plan = {};
  plan.problem = problem;
  plan.result = result;
  cut(plan, *kernels);
  const int64_t threads = threads_for(*problem, plan), tasks = problem->sequences * plan.blocks;
  Memory memory;
  float* scratch = memory.floats(smaller(threads, tasks) * plan.scratch_floats);
  plan.packed_kernels = memory.floats(plan.vectors * plan.taps * plan.lanes);
  if (memory.failed) return out_of_memory;
  for (int64_t vector = 0; vector < plan.vectors; ++vector) kernels->pack(plan, vector);
  in_parallel(threads, tasks, [&](int64_t task, int64_t thread) {
    kernels->forward(plan, task, scratch + thread * plan.scratch_floats);
  });
  return done;
}

FOCAL_EXPORT int32_t focal_causal_backward(const char* instruction_set, const Causal* problem,
                                           const CausalGradients* gradients) {
  const CausalKernels* kernels = kernels_of(instruction_set);
  if (!kernels) return focal::unknown_instruction_set;
  const Causal& p = *problem;
  CausalPlan plan = {};
  plan.problem = problem;
  plan.gradients = gradients;
  cut(plan, *kernels);
  const int64_t threads = threads_for(p, plan), tasks = p.sequences * plan.blocks;
  const int64_t positions = p.sequences * p.length, levels = p.levels + p.running;
  Memory memory;
  float* scratch = memory.floats(smaller(threads, tasks) * plan.scratch_floats);
  plan.packed_kernels = memory.floats(plan.vectors * plan.taps * plan.lanes);
  if (gradients->gates)
    plan.gate_partials = plan.blocks == 1 ? gradients->gates : memory.floats(plan.blocks * positions * levels);
  if (gradients->wants_kernels)
    plan.kernel_partials = memory.floats(p.sequences * plan.vectors * plan.taps * plan.lanes);
  if (gradients->decay && p.decay_kind == focal::fixed_decay)
    plan.decay_partials = memory.floats(p.sequences * plan.vectors * p.running * plan.lanes);
  if (memory.failed) return out_of_memory;
  for (int64_t vector = 0; vector < plan.vectors; ++vector) kernels->pack(plan, vector);
  in_parallel(threads, tasks, [&](int64_t task, int64_t thread) {
    kernels->backward(plan, task, scratch + thread * plan.scratch_floats);
  });
  if (plan.kernel_partials || plan.decay_partials)
    in_parallel(threads, plan.vectors, [&](int64_t vector, int64_t) { kernels->reduce_kernels(plan, vector); });
  if (gradients->gates && plan.blocks > 1) {
    const int64_t share = 4096;
    in_parallel(threads, ceil_divide(positions, share), [&](int64_t task, int64_t) {
      kernels->reduce_gates(plan, task * share, smaller(positions, (task + 1) * share));
    });
  }
  return done;
}
