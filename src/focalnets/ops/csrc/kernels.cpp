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

// activated = gelu(inputs); unless null, `gradient` (of the result) becomes that of the inputs.
void gelu_of_many(int64_t count, const float* inputs, float* activated, float* gradient) {
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t left = smaller(lanes, count - i);
    const Vector x = left == lanes ? load_unaligned(inputs + i) : load_some(inputs + i, left);
    Vector y;
    if (gradient) {
      Vector slope;
      y = gelu_with_derivative(x, &slope);
      if (left == lanes)
        store_unaligned(gradient + i, load_unaligned(gradient + i) * slope);
      else
        store_some(gradient + i, load_some(gradient + i, left) * slope, left);
    } else {
      y = gelu(x);
    }
    if (left == lanes)
      store_unaligned(activated + i, y);
    else
      store_some(activated + i, y, left);
  }
}

}  // namespace

extern const focal::Kernels kernels;
const focal::Kernels kernels = {
    FOCAL_NAME,
    lanes,
    pack_kernels,
    forward_band<float>,
    forward_band<uint16_t>,
    global_levels_of_image,
    add_global_level_to_row,
    mean_gradient_row,
    mean_gradients_of_image,
    backward_band,
    reduce_kernels,
    reduce_gates,
    gelu_of_many,
};

}  // namespace FOCAL_NAMESPACE
