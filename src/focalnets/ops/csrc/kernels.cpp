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
    for (int64_t lane = 0; lane < lanes; ++lane)
      for (int64_t tap = 0; tap < taps; ++tap)
        packed[tap * lanes + lane] = lane < count ? p.kernels[l][(channel + lane) * taps + tap] : 0.0f;
  }
}

}  // namespace

extern const focal::Kernels kernels;
const focal::Kernels kernels = {
    FOCAL_NAME,    lanes,         pack_kernels,   forward_band, forward_finish,
    mean_gradient, backward_band, reduce_kernels, reduce_gates,
};

}  // namespace FOCAL_NAMESPACE
