// Causal focal aggregation: what Python asks for, how a call is cut, and what each instruction set offers.
//
// Legend: B sequences, T positions, C channels, L focal levels, R running levels behind them, H groups of adjacent
// channels with gates of their own, Z_l the level of context, U_l its convolution (Z_l = gelu(U_l)), S_r what runs along.
// All tensors are channels-last float32 unless said otherwise; strides are in elements, and channels (or gates) are
// adjacent.
#pragma once

#include <cstdint>

namespace focal {

constexpr int max_causal_levels = 16;

enum Decay { mean_of_all = 0, fixed_decay = 1, decay_by_position = 2 };

// Filled by Python as arrays of 64-bit integers; the order of the fields is the interface.
struct Causal {
  int64_t sequences, length, channels, levels, running, groups, threads;
  int64_t decay_kind;
  int64_t tile;          // positions that are handled at once
  const float* context;  // (B, T, C)
  int64_t context_sequence, context_position;
  const float* gates;  // (B, T, L + R, H)
  int64_t gates_sequence, gates_position;
  const float* decay;  // null, (R, C) contiguous, or (B, T, C)
  int64_t decay_sequence, decay_position;
  const uint8_t* mask;         // (B, T) contiguous, 1 = valid; null = all valid
  const int64_t* count;        // (B): valid positions so far; null = none
  const void* running_before;  // (B, R, C): doubles for the mean of all, else floats; null = zeros
  const float* windows[max_causal_levels];  // L tensors (B, past, C), what level l + 1 convolves; null = zeros
  const float* kernels[max_causal_levels];  // L contiguous tensors (C, size)
  int64_t sizes[max_causal_levels];
  int64_t dilations[max_causal_levels];
};

struct CausalResult {
  float* result;       // (B, T, C) contiguous
  void* running;       // (B, R, C), as running_before
  float* checkpoints;  // (B, tiles, checkpoint rows, C), or null: windows and sums at the beginning of each tile
  float* windows[max_causal_levels];
};

struct CausalGradients {
  const float* upstream;  // (B, T, C): gradient of the result
  int64_t upstream_sequence, upstream_position;
  const float* checkpoints;
  float* context;  // (B, T, C) contiguous, or null if not wanted
  float* gates;    // (B, T, L + R, H) contiguous, or null
  float* decay;    // contiguous, as the decay, or null
  int64_t wants_kernels;
  float* kernels[max_causal_levels];
};
static_assert(sizeof(Causal) == (21 + 4 * max_causal_levels) * 8 &&
                  sizeof(CausalResult) == (3 + max_causal_levels) * 8 &&
                  sizeof(CausalGradients) == (8 + max_causal_levels) * 8,
              "64-bit pointers");

// A task takes a block of channels of one sequence through all tiles, forwards or backwards. A call is cut by shapes
// only, never by the number of threads, so that results do not depend on it.
struct CausalPlan {
  const Causal* problem;
  const CausalResult* result;
  const CausalGradients* gradients;
  int64_t lanes;              // channels per vector
  int64_t vectors;            // ceil(C / lanes)
  int64_t vectors_per_block;  // a block lies within one group
  int64_t blocks;
  int64_t tiles;
  int64_t taps;                           // of all levels together
  int64_t first_tap[max_causal_levels];   // of level l + 1
  int64_t past[max_causal_levels + 1];    // positions that the kernel of level l + 1 reaches back; [L] = 0
  int64_t first_row[max_causal_levels];   // of the window of level l + 1 in a checkpoint
  int64_t window_rows;                    // of all windows together
  int64_t checkpoint_rows;                // and what runs along: a sum has two rows, its value and what that leaves
  int64_t vector_floats, scratch_floats;  // of one vector of channels, and of one thread
  float* packed_kernels;                  // (vectors, taps, lanes)
  float* gate_partials;                   // (blocks, B * T, L + R)
  float* kernel_partials;                 // (B, vectors, taps, lanes)
  float* decay_partials;                  // (B, vectors, R, lanes)
};

// The tasks of one instruction set; causal_kernels.cpp is compiled once for each.
struct CausalKernels {
  const char* name;
  int64_t lanes;
  void (*pack)(const CausalPlan&, int64_t vector);
  void (*lay)(CausalPlan&);  // fills vector_floats and scratch_floats
  void (*forward)(const CausalPlan&, int64_t task, float* scratch);  // task = sequence * blocks + block
  void (*backward)(const CausalPlan&, int64_t task, float* scratch);
  void (*reduce_kernels)(const CausalPlan&, int64_t vector);  // and a fixed decay
  void (*reduce_gates)(const CausalPlan&, int64_t first, int64_t last);  // positions of (B * T)
};

}  // namespace focal
