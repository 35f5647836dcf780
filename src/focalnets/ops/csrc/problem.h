// What the Python side asks for (Problem, the C ABI) and how one call is cut into tasks (Plan).
//
// Legend: B images, H x W tokens, C channels, L focal levels, Z_l the level of context, U_l its convolution (Z_l =
// gelu(U_l)). All tensors are channels-last; strides are in elements, and channels (or gates) are adjacent. Numbers are
// float32; the maps of a call (context, result, their gradients) may all be bfloat16.
#pragma once

#include <cstdint>

namespace focal {

constexpr int max_levels = 16;
constexpr int max_kernel_size = 63;
constexpr int max_vectors_per_block = 8;

struct Strides {
  int64_t image, row, column;
};

// Filled by Python, which writes them as arrays of 64-bit integers; the order of the fields is the interface.
struct Problem {
  int64_t images, height, width, channels, levels, threads;
  int64_t normalize;            // whether to divide the result by L + 1
  int64_t first_row, last_row;  // rows of the result, the last excluded; the others are there to be read
  const void* context;  // (B, H, W, C)
  Strides context_strides;
  const float* gates;  // (B, H, W, L + 1)
  Strides gates_strides;
  const uint8_t* mask;  // (B, H, W), 1 = valid token; null = all valid
  Strides mask_strides;
  const float* kernels[max_levels];  // L contiguous tensors (C, kernel height, kernel width)
  int64_t kernel_heights[max_levels];
  int64_t kernel_widths[max_levels];
};

struct Gradients {
  const float* means;     // (B, C), saved by the forward call: mean of Z_L over valid tokens
  const void* upstream;   // (B, H, W, C): gradient of the result
  Strides upstream_strides;
  void* context;  // (B, H, W, C) contiguous, or null if not wanted
  float* gates;   // (B, H, W, L + 1) contiguous, or null
  int64_t wants_kernels;
  float* kernels[max_levels];  // L contiguous tensors like the kernels
};
static_assert(sizeof(Problem) == (9 + 3 * 4 + 3 * max_levels) * 8 && sizeof(Gradients) == (8 + max_levels) * 8,
              "64-bit pointers");

// A window of the last `depth` rows of a map, for each vector of a channel block. Columns outside the map stay zero.
struct RingShape {
  int64_t offset;      // floats from the start of a thread's scratch memory
  int64_t depth;       // rows kept
  int64_t left;        // zero columns left of the map
  int64_t row_floats;  // floats from one row to the next, of one vector of channels
};

// A call is cut by shapes only, never by the number of threads, so that results do not depend on it.
struct Plan {
  const Problem* problem;
  const Gradients* gradients;
  float scale;                // multiplies the result
  int64_t lanes;              // channels per vector
  int64_t vectors;            // ceil(C / lanes)
  int64_t vectors_per_block;  // a task handles one block of channels ...
  int64_t blocks;
  int64_t images_per_group;  // ... of a group of images (forward: one image) ...
  int64_t groups;
  int64_t band_rows;  // ... in a band of rows, whose halo it computes again
  int64_t bands;
  bool apart;  // whether the global level is handled apart from these tasks, in the order of memory

  int64_t taps;                          // of all levels together
  int64_t first_tap[max_levels];         // of level l + 1
  int64_t row_padding[max_levels + 1];   // [l] = kernel height of level l / 2, l = 1..L
  int64_t lag[max_levels + 1];           // row of Z_l computed lag[l] steps after that of Z_0
  int64_t gradient_lag[max_levels + 1];  // row of the gradient of U_l (l = 0: of the context) so many steps after
  int64_t flush_rows;                    // rows of a kernel gradient accumulated at a time

  RingShape level[max_levels + 1];       // Z_l
  RingShape derivative[max_levels + 1];  // gelu'(U_l)
  RingShape gradient[max_levels + 1];    // gradient of U_l; [0]: of one row of the context
  RingShape upstream;
  int64_t scratch_floats;  // of one thread

  float* packed_kernels;   // (vectors, taps, lanes)
  float* inverse_counts;   // (B): 1 / number of valid tokens
  double* band_sums;       // (B, bands, vectors * lanes): sums of Z_L
  bool local;              // forward: whether the global level is left out
  float* means;            // forward: (B, C), written unless local
  void* result;            // forward: (B, last_row - first_row, W, C) contiguous, written
  void* borders;           // forward in place, bands > 1: (B, bands - 1, 2 lag[L], W, C), context beside each border
  float* global_levels;    // (B, vectors * lanes), only if apart
  float* row_sums;         // (B * H, vectors * lanes), only if apart: sums of upstream gradient times the last gate
  float* mean_gradients;   // (B, vectors * lanes): gradient that the mean sends to every valid token of Z_L
  float* gate_partials;    // (blocks, B * H * W, L + 1)
  float* kernel_partials;  // (groups * bands, vectors, taps, lanes)
};

// What touches maps, for one type of their numbers.
struct MapKernels {
  void (*forward_band)(const Plan&, int64_t task, float* scratch);  // task = (image * blocks + block) * bands + band
  void (*add_global_level_to_row)(const Plan&, int64_t row);        // only if apart; row of (B * H)
  void (*mean_gradient_row)(const Plan&, int64_t row);              // the same
  void (*backward_band)(const Plan&, int64_t task, float* scratch);  // task = (group * blocks + block) * bands + band
  // activated = gelu(inputs), `count` numbers; unless null, `gradient` (of the result) becomes that of the inputs.
  void (*gelu)(int64_t count, const void* inputs, void* activated, void* gradient);
};

// The tasks of one instruction set; kernels.cpp is compiled once for each.
struct Kernels {
  const char* name;
  int64_t lanes;
  MapKernels of_float32, of_bfloat16;
  void (*pack_kernels)(const Plan&, int64_t vector);
  void (*global_levels_of_image)(const Plan&, int64_t image);   // these two only if apart
  void (*mean_gradients_of_image)(const Plan&, int64_t image);
  void (*reduce_kernels)(const Plan&, int64_t vector);
  void (*reduce_gates)(const Plan&, int64_t first, int64_t last);  // positions of (B * H * W)
};

// The forward call, see focal_forward in dispatch.cpp.
int32_t forward(const char* instruction_set, const Problem& problem, bool bfloat16, void* result, float* means,
                double* sums);

}  // namespace focal
