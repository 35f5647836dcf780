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

template <class Element>
void gelu_of_many(int64_t count, const void* inputs, void* activated, void* gradient) {
  const Element* source = static_cast<const Element*>(inputs);
  Element *target = static_cast<Element*>(activated), *slopes = static_cast<Element*>(gradient);
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t left = smaller(lanes, count - i);
    const Vector x = load_up_to(source + i, left);
    Vector y;
    if (gradient) {
      Vector slope;
      y = gelu_with_derivative_for<Element>(x, &slope);
      store_up_to(slopes + i, load_up_to(slopes + i, left) * slope, left);
    } else {
      y = gelu_for<Element>(x);
    }
    store_up_to(target + i, y, left);
  }
}

template <class Element>
constexpr focal::MapKernels of_maps = {
    forward_band<Element>, add_global_level_to_row<Element>, mean_gradient_row<Element>,
    backward_band<Element>, gelu_of_many<Element>,
};

}  // namespace

extern const focal::Kernels kernels;
const focal::Kernels kernels = {
    FOCAL_NAME,
    lanes,
    of_maps<float>,
    of_maps<uint16_t>,
    pack_kernels,
    global_levels_of_image,
    mean_gradients_of_image,
    reduce_kernels,
    reduce_gates,
};

}  // namespace FOCAL_NAMESPACE
