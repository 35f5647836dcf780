// Compiled once for each instruction set, with FOCAL_NAMESPACE and FOCAL_NAME set by the build.
#include "backward.h"
#include "forward.h"

namespace FOCAL_NAMESPACE {
namespace {

// Kernels (C, height, width) of all levels to (taps, lanes), zeros in lanes without a channel.
void pack_kernels(const Plan& plan, int64_t vector) {
  const Problem& p = *plan.problem;
  const int64_t channel = vector * lanes, count = smaller(lanes, p.channels - channel);
  for (int64_t l = 0; l < p.levels; ++l) {
    const int64_t taps = p.kernel_heights[l] * p.kernel_widths[l];
    float* packed = plan.packed_kernels + (vector * plan.taps + plan.first_tap[l]) * lanes;
    if (count < lanes)
      for (int64_t tap = 0; tap < taps; ++tap) store(packed + tap * lanes, Vector{});
    transpose(p.kernels[l] + channel * taps, taps, packed, lanes, count, taps);
  }
}

}  // namespace

extern const focal::Kernels kernels;
const focal::Kernels kernels = {
    FOCAL_NAME,
    lanes,
    pack_kernels,
    forward_band,
    global_levels_of_image,
    add_global_level_to_row,
    mean_gradient_row,
    mean_gradients_of_image,
    backward_band,
    reduce_kernels,
    reduce_gates,
};

}  // namespace FOCAL_NAMESPACE
