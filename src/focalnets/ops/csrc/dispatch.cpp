// The C ABI: picks the instruction set, cuts a call into tasks and runs them on the threads asked for.
#include <cstdlib>
#include <cstring>

#include "parallel.h"
#include "problem.h"

namespace focal_baseline {
extern const focal::Kernels kernels;
}
#if defined(FOCAL_X86)
namespace focal_avx2 {
extern const focal::Kernels kernels;
}
namespace focal_avx512 {
extern const focal::Kernels kernels;
}
#endif

namespace {

using focal::Gradients;
using focal::Kernels;
using focal::MapKernels;
using focal::Plan;
using focal::Problem;
using focal::RingShape;
using focal::Memory;
using focal::Status;
using focal::ceil_divide;
using focal::done;
using focal::in_parallel;
using focal::larger;
using focal::missing_instruction_set;
using focal::out_of_memory;
using focal::smaller;
using focal::unknown_instruction_set;

struct Choice {
  const Kernels* kernels;
  Status status;
};

Choice choose_kernels(const char* name) {
#if defined(FOCAL_X86)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const struct {
    const Kernels* kernels;
    bool runs;
  } all[] = {{&focal_avx512::kernels, avx512}, {&focal_avx2::kernels, avx2}, {&focal_baseline::kernels, true}};
#else
  const struct {
    const Kernels* kernels;
    bool runs;
  } all[] = {{&focal_baseline::kernels, true}};
#endif
  for (const auto& candidate : all) {
    if (name && *name) {
      if (std::strcmp(name, candidate.kernels->name) == 0)
        return {candidate.kernels, candidate.runs ? done : missing_instruction_set};
    } else if (candidate.runs) {
      return {candidate.kernels, done};
    }
  }
  return {nullptr, unknown_instruction_set};
}

// What follows from the levels alone.
void describe_levels(Plan& plan) {
  const Problem& p = *plan.problem;
  plan.scale = p.normalize ? 1.0f / static_cast<float>(p.levels + 1) : 1.0f;
  plan.taps = 0;
  plan.row_padding[0] = plan.lag[0] = 0;
  for (int64_t l = 1; l <= p.levels; ++l) {
    plan.first_tap[l - 1] = plan.taps;
    plan.taps += p.kernel_heights[l - 1] * p.kernel_widths[l - 1];
    plan.row_padding[l] = p.kernel_heights[l - 1] / 2;
    plan.lag[l] = plan.lag[l - 1] + plan.row_padding[l];
  }
  plan.gradient_lag[p.levels] = plan.lag[p.levels];
  for (int64_t l = p.levels; l > 0; --l) plan.gradient_lag[l - 1] = plan.gradient_lag[l] + plan.row_padding[l];
}

// Shares of a call: blocks of `channels` channels, and bands of rows if there are too few blocks to keep many threads
// busy. Bands are high enough that computing their halo again costs little.
void cut(Plan& plan, int64_t lanes, int64_t channels, int64_t rows_at_least) {
  const Problem& p = *plan.problem;
  const int64_t tasks_wanted = 32;
  plan.lanes = lanes;
  plan.vectors = ceil_divide(p.channels, lanes);
  plan.vectors_per_block = smaller(channels / lanes, plan.vectors);
  plan.blocks = ceil_divide(plan.vectors, plan.vectors_per_block);
  const int64_t rows = p.last_row - p.first_row;
  const int64_t bands = smaller(ceil_divide(tasks_wanted, p.images * plan.blocks), rows / rows_at_least);
  plan.band_rows = ceil_divide(rows, larger(bands, 1));
  plan.bands = ceil_divide(rows, plan.band_rows);
  plan.apart = plan.bands > 1 || p.height * p.width * channels * 4 > 1024 * 1024;
}

// Blocks of two cache lines of channels where they leave enough tasks and the rows kept fit a usual second level cache,
// else of one.
template <class Lay>
void cut_and_lay(Plan& plan, int64_t lanes, int64_t rows_at_least, const Lay& lay_rings) {
  const int64_t tasks_at_least = 8, bytes_at_most = 1536 * 1024;
  cut(plan, lanes, 32, rows_at_least);
  lay_rings();
  if (plan.problem->images * plan.blocks * plan.bands >= tasks_at_least && plan.scratch_floats * 4 <= bytes_at_most)
    return;
  cut(plan, lanes, 16, rows_at_least);
  lay_rings();
}

class ScratchLayout {
 public:
  explicit ScratchLayout(Plan& plan) : plan_(plan) { plan.scratch_floats = 0; }

  // Eight columns of zeros more than the padding, so that tiles may reach beyond the map.
  RingShape ring(int64_t rows, int64_t kernel_width) {
    const Problem& p = *plan_.problem;
    const int64_t left = kernel_width / 2;
    const RingShape shape = {plan_.scratch_floats, smaller(rows, p.height), left,
                             (p.width + 2 * left + 8) * plan_.lanes};
    plan_.scratch_floats += shape.depth * plan_.vectors_per_block * shape.row_floats;
    return shape;
  }

 private:
  Plan& plan_;
};

// Mean of Z_L: the reciprocal of the number of valid tokens, at least one.
void count_tokens(const Plan& plan) {
  const Problem& p = *plan.problem;
  for (int64_t image = 0; image < p.images; ++image) {
    int64_t count = 0;
    if (p.mask)
      for (int64_t y = 0; y < p.height; ++y)
        for (int64_t x = 0; x < p.width; ++x)
          count += p.mask[image * p.mask_strides.image + y * p.mask_strides.row + x * p.mask_strides.column] != 0;
    else
      count = p.height * p.width;
    plan.inverse_counts[image] = static_cast<float>(1.0 / static_cast<double>(larger(count, 1)));
  }
}

// Waking other threads does not pay for less work than this (multiply-adds; about ten microseconds).
int64_t threads_for(const Problem& p, const Plan& plan) {
  const int64_t work = p.images * p.height * p.width * p.channels * (plan.taps + 20 * p.levels + 2);
  return work < 200000 ? 1 : larger(p.threads, 1);
}

// Keeps the context of both sides of each border between bands, for the result may take its place.
void keep_borders(const Plan& plan, int64_t bytes, int64_t threads) {
  const Problem& p = *plan.problem;
  const int64_t lag = plan.lag[p.levels], row = p.width * p.channels * bytes;
  in_parallel(threads, p.images * (plan.bands - 1), [&](int64_t task, int64_t) {
    const int64_t image = task / (plan.bands - 1), border = (task % (plan.bands - 1) + 1) * plan.band_rows;
    const int64_t first = border - lag, last = smaller(border + lag, p.height);
    std::memcpy(static_cast<char*>(plan.borders) + task * 2 * lag * row,
                static_cast<const char*>(p.context) + (image * p.height + first) * row,
                static_cast<size_t>((last - first) * row));
  });
}

// The rings of every thread start as zeros; tasks leave the padding zero.
float* zeroed_scratch(const Plan& plan, float* scratch, int64_t thread, bool* ready) {
  float* mine = scratch + thread * plan.scratch_floats;
  if (!ready[thread]) {
    std::memset(mine, 0, static_cast<size_t>(plan.scratch_floats) * sizeof(float));
    ready[thread] = true;
  }
  return mine;
}

}  // namespace

// Changes with the structures that Python fills, so that a library left over from another version is not used.
FOCAL_EXPORT int64_t focal_interface() { return 5000000 + 1000 * sizeof(Problem) + sizeof(Gradients); }

// Name of the instruction set that `name` (null or empty: the best one here) stands for; null and a status if it cannot
// run.
FOCAL_EXPORT const char* focal_instruction_set(const char* name, int32_t* status) {
  const Choice choice = choose_kernels(name);
  *status = choice.status;
  return choice.kernels ? choice.kernels->name : nullptr;
}

// Writes `result` (B, rows, W, C) and, unless null, `means` (B, C), the mean of Z_L that the backward call needs. With
// `sums` in place of `means` the global level is left out, and `sums` (B, C) become those of Z_L over the rows of the
// result. All contiguous. With `bfloat16` context and result are such maps. The result may be the memory of a contiguous
// context of which all rows are wanted.
FOCAL_EXPORT int32_t focal_forward(const char* instruction_set, int64_t bfloat16, const Problem* problem, void* result,
                                   float* means, double* sums) {
  return focal::forward(instruction_set, *problem, bfloat16 != 0, result, means, sums);
}

int32_t focal::forward(const char* instruction_set, const Problem& p, bool bfloat16, void* result, float* means,
                       double* sums) {
  const Choice choice = choose_kernels(instruction_set);
  if (choice.status != done) return choice.status;
  const Kernels& kernels = *choice.kernels;
  const MapKernels& of_maps = bfloat16 ? kernels.of_bfloat16 : kernels.of_float32;
  Plan plan = {};
  plan.problem = &p;
  plan.result = result;
  plan.means = means;
  plan.local = sums != nullptr;
  describe_levels(plan);
  const int64_t levels = p.levels, lag = plan.lag[levels];
  cut_and_lay(plan, kernels.lanes, larger(64, 8 * lag), [&] {
    ScratchLayout layout(plan);
    plan.level[0] = layout.ring(levels > 0 ? p.kernel_heights[0] : 1, levels > 0 ? p.kernel_widths[0] : 1);
    for (int64_t l = 1; l < levels; ++l)  // the last level is gated at once
      plan.level[l] = layout.ring(larger(lag - plan.lag[l] + 1, p.kernel_heights[l]), p.kernel_widths[l]);
  });

  const int64_t threads = threads_for(p, plan), tasks = p.images * plan.blocks * plan.bands;
  const int64_t workers = smaller(threads, tasks);
  Memory memory;
  float* scratch = memory.floats(workers * plan.scratch_floats);
  bool* ready = reinterpret_cast<bool*>(memory.floats(ceil_divide(workers, sizeof(float))));
  plan.packed_kernels = memory.floats(plan.vectors * plan.taps * plan.lanes);
  plan.inverse_counts = memory.floats(p.images);
  plan.band_sums = reinterpret_cast<double*>(memory.floats(2 * p.images * plan.bands * plan.vectors * plan.lanes));
  if (plan.apart && !plan.local) plan.global_levels = memory.floats(p.images * plan.vectors * plan.lanes);
  const int64_t bytes = bfloat16 ? 2 : 4;
  const bool keeps_borders = result == p.context && plan.bands > 1 && lag > 0;
  if (keeps_borders)
    plan.borders = memory.floats(ceil_divide(p.images * (plan.bands - 1) * 2 * lag * p.width * p.channels * bytes, 4));
  if (memory.failed) return out_of_memory;
  std::memset(ready, 0, static_cast<size_t>(workers));

  count_tokens(plan);
  if (keeps_borders) keep_borders(plan, bytes, threads);
  in_parallel(threads, plan.vectors, [&](int64_t vector, int64_t) { kernels.pack_kernels(plan, vector); });
  in_parallel(threads, tasks, [&](int64_t task, int64_t thread) {
    of_maps.forward_band(plan, task, zeroed_scratch(plan, scratch, thread, ready));
  });
  if (plan.local) {
    const int64_t stride = plan.vectors * plan.lanes;
    for (int64_t image = 0; image < p.images; ++image)
      for (int64_t channel = 0; channel < p.channels; ++channel) {
        double& sum = sums[image * p.channels + channel] = 0.0;
        for (int64_t band = 0; band < plan.bands; ++band)
          sum += plan.band_sums[(image * plan.bands + band) * stride + channel];
      }
  } else if (plan.apart) {
    in_parallel(threads, p.images, [&](int64_t image, int64_t) { kernels.global_levels_of_image(plan, image); });
    in_parallel(threads, p.images * p.height,
                [&](int64_t row, int64_t) { of_maps.add_global_level_to_row(plan, row); });
  }
  return done;
}

// With `bfloat16` context, upstream gradient and gradient of the context are such maps.
FOCAL_EXPORT int32_t focal_backward(const char* instruction_set, int64_t bfloat16, const Problem* problem,
                                    const Gradients* gradients) {
  const Problem& p = *problem;
  const Choice choice = choose_kernels(instruction_set);
  if (choice.status != done) return choice.status;
  const Kernels& kernels = *choice.kernels;
  const MapKernels& of_maps = bfloat16 ? kernels.of_bfloat16 : kernels.of_float32;
  Plan plan = {};
  plan.problem = problem;
  plan.gradients = gradients;
  describe_levels(plan);
  const int64_t levels = p.levels;
  plan.flush_rows = larger(1, smaller(56 / p.width, p.height));
  cut_and_lay(plan, kernels.lanes, larger(64, 8 * plan.lag[levels]), [&] {
    ScratchLayout layout(plan);
    for (int64_t l = 0; l <= levels; ++l) {
      const int64_t width = l > 0 ? p.kernel_widths[l - 1] : 1;
      // Rows of Z_l are last read for the gradient of the next level's kernel.
      const int64_t kept = l < levels ? plan.gradient_lag[l] + plan.flush_rows - plan.lag[l] : 1;
      plan.level[l] = layout.ring(kept, l < levels ? p.kernel_widths[l] : 1);
      if (l > 0) plan.derivative[l] = layout.ring(plan.gradient_lag[l] - plan.lag[l] + 1, 1);
      plan.gradient[l] = layout.ring(l > 0 ? larger(p.kernel_heights[l - 1], plan.flush_rows) : 1, width);
    }
    plan.upstream = layout.ring(levels > 0 ? plan.gradient_lag[1] - plan.lag[levels] + 1 : 1, 1);
  });
  plan.groups = smaller(p.images, ceil_divide(48, plan.blocks));
  plan.images_per_group = ceil_divide(p.images, plan.groups);
  plan.groups = ceil_divide(p.images, plan.images_per_group);

  const int64_t threads = threads_for(p, plan), tasks = plan.groups * plan.blocks * plan.bands;
  const int64_t workers = smaller(threads, tasks), positions = p.images * p.height * p.width;
  Memory memory;
  float* scratch = memory.floats(workers * plan.scratch_floats);
  bool* ready = reinterpret_cast<bool*>(memory.floats(ceil_divide(workers, sizeof(float))));
  plan.packed_kernels = memory.floats(plan.vectors * plan.taps * plan.lanes);
  plan.inverse_counts = memory.floats(p.images);
  if (plan.apart) plan.row_sums = memory.floats(p.images * p.height * plan.vectors * plan.lanes);
  plan.mean_gradients = memory.floats(p.images * plan.vectors * plan.lanes);
  if (gradients->gates)
    plan.gate_partials = plan.blocks == 1 ? gradients->gates : memory.floats(plan.blocks * positions * (levels + 1));
  if (gradients->wants_kernels)
    plan.kernel_partials = memory.floats(plan.groups * plan.bands * plan.vectors * plan.taps * plan.lanes);
  if (memory.failed) return out_of_memory;
  std::memset(ready, 0, static_cast<size_t>(workers));

  count_tokens(plan);
  in_parallel(threads, plan.vectors, [&](int64_t vector, int64_t) { kernels.pack_kernels(plan, vector); });
  if (plan.apart) {
    in_parallel(threads, p.images * p.height, [&](int64_t row, int64_t) { of_maps.mean_gradient_row(plan, row); });
    in_parallel(threads, p.images, [&](int64_t image, int64_t) { kernels.mean_gradients_of_image(plan, image); });
  }
  in_parallel(threads, tasks, [&](int64_t task, int64_t thread) {
    of_maps.backward_band(plan, task, zeroed_scratch(plan, scratch, thread, ready));
  });
  if (gradients->wants_kernels)
    in_parallel(threads, plan.vectors, [&](int64_t vector, int64_t) { kernels.reduce_kernels(plan, vector); });
  if (gradients->gates && plan.blocks > 1) {
    const int64_t share = 4096;
    in_parallel(threads, ceil_divide(positions, share), [&](int64_t task, int64_t) {
      kernels.reduce_gates(plan, task * share, smaller(positions, (task + 1) * share));
    });
  }
  return done;
}

// activated = gelu(inputs), `count` numbers, which with `bfloat16` are such; unless null, `gradient` (of the result)
// becomes that of the inputs.
FOCAL_EXPORT int32_t focal_gelu(const char* instruction_set, int64_t bfloat16, int64_t count, int64_t threads,
                                const void* inputs, void* activated, void* gradient) {
  const Choice choice = choose_kernels(instruction_set);
  if (choice.status != done) return choice.status;
  const MapKernels& of_maps = bfloat16 ? choice.kernels->of_bfloat16 : choice.kernels->of_float32;
  const int64_t share = 16384, bytes = bfloat16 ? 2 : 4;
  in_parallel(threads, ceil_divide(count, share), [&](int64_t task, int64_t) {
    const int64_t first = task * share;
    const auto from = [&](void* numbers) { return static_cast<char*>(numbers) + first * bytes; };
    of_maps.gelu(smaller(share, count - first), from(const_cast<void*>(inputs)), from(activated),
                 gradient ? from(gradient) : nullptr);
  });
  return done;
}
