// The fast form of a network: what Python asks for and what each instruction set offers.
//
// Between two aggregations of context every token goes its own way: modulator, product with the query, output
// projection, residual sum, norm, MLP, residual sum, norm and projection of the next block. A task takes a block of rows
// (tokens) through all of it while they are in cache. The only whole maps are tokens, query, context and gates; what is
// gathered takes the place of the context.
//
// The global level G of an image takes no pass over the map: with the modulator h and the last gate g of a token,
// h(a + g G) = h(a) + g (W_h G), which is added where the product h(a) leaves the registers.
//
// Legend: B images, M rows (tokens), C channels, L focal levels. Query and context are of the engine's map type, float32
// or bfloat16; all else is float32.
#pragma once

#include <cstdint>

namespace focal {

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

constexpr int64_t most_engine_levels = 16;

// One block. Norms that stand before a linear layer have their factors in it, layer scale lies in the layer or norm that
// comes last in its branch, and the division of a normalised modulator in the modulator's layer.
struct Block {
  Layer query, context, gates, modulator, output, widen, narrow;
  Norm norm1, norm2;  // only with post_norm
  int64_t post_norm, modulation_norm, levels;
  const float* kernels[most_engine_levels];  // (C, height, width)
  int64_t kernel_heights[most_engine_levels], kernel_widths[most_engine_levels];
};

struct Rows {
  int64_t rows, channels, rows_an_image, gate_stride;
  const Block* done;     // the block whose aggregation is there, or null for none
  const Block* next;     // the block whose query and context are wanted, or null for none
  const uint8_t* mask;   // (M): 1 = valid; null = all valid
  float* tokens;         // (M, C), read and written
  const float* shifts;   // (B, C padded to whole panels): W_h G of `done`
  void* query;           // (M, C): of `done` on the way in, of `next` on the way out
  void* context;         // (M, C) and 32 rows more that may be read: aggregated for `done`, without global level, on the
                         // way in, of `next` on the way out
  float* gates;          // (M, gate_stride): as the query
};

// The global levels' way through the modulator: shifts (B, C) of the sums (B, C) over valid tokens.
struct Shift {
  int64_t images, channels, first_panel, panels;  // panels of outputs that one task computes
  const Layer* modulator;
  const double* sums;
  const double* inverse_counts;  // (B)
  float* shifts;
};

struct Embedding {
  int64_t images, height, width, channels;  // of what is embedded
  int64_t stride;                           // of the patches, which do not overlap
  int64_t image_stride, row_stride, column_stride, channel_stride;
  const float* features;
  const uint8_t* mask;  // (B, H, W), contiguous, 1 = valid; null = all valid
  Layer projection;     // inputs ordered row, column, channel of the patch
  Norm norm;
  float* tokens;  // (B, ceil(H / stride), ceil(W / stride), C)
};

// Filled by Python as an array of 64-bit integers; the order of the fields is the interface. `layout` describes an
// embedding and the blocks of a stage, see Reader in engine_stage.cpp; places in `packed` stand in it as offsets.
struct Stage {
  int64_t images, height, width, channels;                           // of the features
  int64_t image_stride, row_stride, column_stride, channel_stride;  // in elements
  const float* features;      // null: `tokens` hold what the blocks are to refine
  const uint8_t* mask;        // (B, height, width), contiguous, 1 = valid; null = all valid
  const uint8_t* token_mask;  // the same for the tokens
  const char* packed;
  const int64_t* layout;
  int64_t threads;
  float* tokens;  // (B, h, w, C), written
};

constexpr float norm_epsilon = 1e-5f;

// What one instruction set offers for one precision.
struct Engine {
  const char* precision;
  const char* name;
  int64_t panel;  // outputs that are computed together: those of a packed layer are padded to a multiple
  int64_t group;  // inputs that are taken together: likewise
  int64_t element_bytes;
  int64_t map_bytes;  // of an element of a map: 4 is float32, 2 is bfloat16
  int64_t tile_rows;  // rows that are multiplied together
  // Packs a weight (outputs, inputs) into whole panels; scales and offsets are written for int8 only.
  void (*pack)(const float* weight, int64_t outputs, int64_t inputs, void* packed, float* scales, float* offsets);
  int64_t (*rows_scratch)(const Rows&, int64_t rows);  // bytes
  void (*rows)(const Rows&, int64_t first, int64_t count, char* scratch);
  int64_t (*embedding_scratch)(const Embedding&, int64_t rows);
  void (*embed)(const Embedding&, int64_t first, int64_t count, char* scratch);
  int64_t (*shift_scratch)(const Shift&);
  void (*shift)(const Shift&, char* scratch);
  bool (*agrees)();  // whether a product comes out as by plain arithmetic
};

// The engine that Python knows by this number, or null if it cannot run here.
const Engine* engine_at(int64_t index);

}  // namespace focal
