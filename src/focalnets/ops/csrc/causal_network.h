// One token through a whole causal network: what Python asks for and what each instruction set offers.
//
// Legend: B sequences, C channels, L focal levels, R running levels, H groups of channels with gates of their own, D
// hidden channels of the MLP, V tokens of the vocabulary, N attention heads, P places of what they keep, K channels of
// the keys of an associative memory. Weights of linear layers are (outputs, inputs) as PyTorch keeps them; all is
// contiguous float32 unless said otherwise.
#pragma once

#include <cstdint>

#include "causal.h"

namespace focal {

struct Weights {
  const float* weight;
  const float* bias;  // null for none
};

// Filled by Python as arrays of 64-bit integers; the order of the fields is the interface.
struct StepBlock {
  Weights norm1, input, decay, modulator, output, norm2, widen, narrow;  // decay: only if it depends on the position
  Weights memory_key, memory_query;         // (H K, C); null without an associative memory
  const float* fixed_decay;                 // (R, C), or null
  void* running;                            // (B, R, C): doubles for the mean of all, else floats; updated
  float* windows[max_causal_levels];        // L tensors (B, past, C), updated
  const float* kernels[max_causal_levels];  // L tensors (size, C)
  float* memory_window;                     // (B, taps - 1, C), updated
  const float* memory_kernel;               // (taps, C)
  double* written;                          // (B, H, K, C / H), updated
  float *keys, *values;                     // (B, N, P, C / N), updated: then the block attends; else null
};

struct StepNetwork {
  int64_t sequences, channels, hidden, vocabulary, depth, levels, running, groups, decay_kind, threads;
  int64_t heads, places, filled;      // attention: N, P, and how many places are taken
  int64_t memory_keys, memory_taps;   // associative memory: K, 0 for none, and the taps of its convolution
  int64_t sizes[max_causal_levels];
  int64_t dilations[max_causal_levels];
  const StepBlock* blocks;
  const float* embedding;  // (V, C)
  Weights norm;
  const int64_t* tokens;  // (B)
  int64_t* count;         // (B), one more afterwards
  float* logits;          // (B, V)
  uint8_t* valid;         // (B, P), 1 = a token of the sequence; null without attention
};
static_assert(sizeof(StepBlock) == (27 + 2 * max_causal_levels) * 8 &&
                  sizeof(StepNetwork) == (23 + 2 * max_causal_levels) * 8,
              "64-bit pointers");

// What becomes of a product before it is stored.
enum Finish { as_it_is, through_gelu, through_sigmoid, added, multiplied };

struct Product {
  Weights layer;
  const float* source;  // (B, inputs)
  float* target;        // (B, outputs)
  const float* factor;  // multiplied: (B, factor_stride), of which the first `outputs` count
  int64_t sequences, inputs, outputs, factor_stride;
  Finish finish;
};

struct StepKernels {
  const char* name;
  void (*normalize)(const float* source, const Weights& norm, int64_t channels, float* target);
  void (*multiply)(const Product&, int64_t first, int64_t last);  // outputs
  // One position of one sequence: `projected` is query, context and gates.
  void (*aggregate)(const StepNetwork&, const StepBlock&, int64_t sequence, const float* projected,
                    const float* decay, float* gathered);
  // What the keys of the associative memory are made from: a convolution of `tokens`.
  void (*convolve)(const StepNetwork&, const StepBlock&, int64_t sequence, const float* tokens, float* convolved);
  // Writes the context into the memory and adds what is read, times its gate; `read` has room for C / H channels.
  void (*remember)(const StepNetwork&, const StepBlock&, int64_t sequence, const float* projected, float* key,
                   float* query, float* read, float* gathered);
  // The same of a block that attends: `projected` is query, key and value; `scores` has room for all places.
  void (*attend)(const StepNetwork&, const StepBlock&, int64_t sequence, float* projected, float* scores,
                 float* gathered);
};

}  // namespace focal
