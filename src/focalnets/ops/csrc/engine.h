// The fast form of a network: what Python asks for and what each instruction set offers.
//
// Between two aggregations of context every token goes its own way: modulator, product with the query, output
// projection, residual sum, norm, MLP, residual sum, norm and projection of the next block. A task takes a block of rows
// (tokens) through all of it while they are in cache.
//
// Legend: M rows (tokens), C channels, L focal levels. Maps are contiguous float32 unless said otherwise.
#pragma once

#include <cstdint>

namespace focal {

// Filled by Python as arrays of 64-bit integers; the order of the fields is the interface.
struct Layer {
  const void* weight;    // packed by `pack`
  const float* bias;     // padded to whole panels with zeros
  const float* scales;   // int8 only: of each output
  const float* offsets;  // int8 only: 128 times the sum of each output's weights
  int64_t outputs, inputs;
};

struct Norm {
  const float* weight;  // null: the factors are part of the layer that follows
  const float* bias;
};

// One block. Norms that stand before a linear layer have their factors in it, layer scale lies in the layer or norm that
// comes last in its branch.
struct Block {
  Layer query, context, modulator, output, widen, narrow;  // context: C context channels, then L + 1 gates
  Norm norm1, norm2;                                       // only with post_norm
  int64_t post_norm, modulation_norm;
};

struct Rows {
  int64_t rows, channels, threads, context_stride;
  const Block* done;      // the block whose aggregation is there, or null for none
  const Block* next;      // the block whose query and context are wanted, or null for none
  float* tokens;          // (M, C), read and written
  const float* gathered;  // (M, C): aggregated context of `done`
  float* query;           // (M, C): of `done` on the way in, of `next` on the way out
  float* context;         // (M, context_stride): of `next`: context, then gates
};

struct Embedding {
  int64_t images, height, width, channels, threads;  // of what is embedded
  int64_t stride;                                    // of the patches, which do not overlap
  int64_t image_stride, row_stride, column_stride, channel_stride;
  const float* features;
  const uint8_t* mask;  // (B, H, W), contiguous, 1 = valid; null = all valid
  Layer projection;     // inputs ordered row, column, channel of the patch
  Norm norm;            // weight null: no norm
  int64_t has_norm;
  float* tokens;  // (B, ceil(H / stride), ceil(W / stride), C)
};

constexpr float norm_epsilon = 1e-5f;

// What one instruction set offers for one precision.
struct Engine {
  const char* precision;
  const char* name;
  int64_t panel;  // outputs that are computed together: those of a packed layer are padded to a multiple
  int64_t group;  // inputs that are taken together: likewise
  int64_t element_bytes;
  // Packs a weight (outputs, inputs) into whole panels; scales and offsets are written for int8 only.
  void (*pack)(const float* weight, int64_t outputs, int64_t inputs, void* packed, float* scales, float* offsets);
  int64_t (*rows_scratch)(const Rows&, int64_t rows);  // bytes
  void (*rows)(const Rows&, int64_t first, int64_t count, char* scratch);
  int64_t (*embedding_scratch)(const Embedding&, int64_t rows);
  void (*embed)(const Embedding&, int64_t first, int64_t count, char* scratch);
};

}  // namespace focal
