// A stage of a network in one call: the embedding of patches and all blocks, cut into blocks of rows.
#include <cstring>
#include <initializer_list>

#include "engine.h"
#include "parallel.h"
#include "problem.h"

namespace {

using focal::Block;
using focal::Embedding;
using focal::Engine;
using focal::Layer;
using focal::Norm;
using focal::Rows;
using focal::Shift;
using focal::Stage;
using focal::ceil_divide;
using focal::larger;
using focal::smaller;

// Reads what Python laid out:
//   stage: stride of the patches (0: no embedding), channels, number of blocks, [embedding], blocks
//   embedding: layer, norm
//   block: query, context, gates, modulator, output, widen, narrow, norm1, norm2, post_norm, modulation_norm, levels, and
//     for each level its kernel, height and width
//   layer: weight, bias, scales, offsets, outputs, inputs; norm: weight, bias
// Weights are places in `packed`, 0 where there is none.
class Reader {
 public:
  Reader(const int64_t* words, const char* packed) : next_(words), packed_(packed) {}

  int64_t number() { return *next_++; }

  Layer layer() {
    const void* weight = place();
    const float *bias = floats(), *scales = floats(), *offsets = floats();
    const int64_t outputs = number(), inputs = number();
    return {weight, bias, scales, offsets, outputs, inputs};
  }

  Norm norm() {
    const float *weight = floats(), *bias = floats();
    return {weight, bias};
  }

  Block block() {
    Block block = {};
    for (Layer* each : {&block.query, &block.context, &block.gates, &block.modulator, &block.output, &block.widen,
                        &block.narrow})
      *each = layer();
    block.norm1 = norm(), block.norm2 = norm();
    block.post_norm = number(), block.modulation_norm = number(), block.levels = number();
    for (int64_t l = 0; l < block.levels; ++l) {
      block.kernels[l] = floats();
      block.kernel_heights[l] = number(), block.kernel_widths[l] = number();
    }
    return block;
  }

 private:
  const void* place() {
    const int64_t offset = number();
    return offset ? packed_ + offset : nullptr;
  }
  const float* floats() { return static_cast<const float*>(place()); }

  const int64_t* next_;
  const char* packed_;
};

// Blocks small enough for the second-level cache, large enough that weights are read seldom, and of about equal size for
// all threads.
int64_t rows_at_once(const Engine& engine, int64_t rows, int64_t threads, int64_t bytes_a_row) {
  const int64_t most = larger(56, smaller(16 * larger(engine.tile_rows, 14), 768 * 1024 / larger(bytes_a_row, 1)));
  const int64_t each = ceil_divide(rows, threads), parts = ceil_divide(each, most);
  return larger(1, smaller(each, ceil_divide(ceil_divide(each, parts), engine.tile_rows) * engine.tile_rows));
}

// bytes(rows): scratch memory of a task; run(first, rows, scratch).
template <class Bytes, class Run>
int32_t in_row_blocks(const Engine& engine, int64_t rows, int64_t threads, const Bytes& bytes, const Run& run) {
  const int64_t at_once = rows_at_once(engine, rows, threads, bytes(64) / 64), count = ceil_divide(rows, at_once);
  const int64_t workers = smaller(threads, count), floats = ceil_divide(bytes(at_once), 64) * 16 + 16;
  focal::Memory memory;
  char* scratch = reinterpret_cast<char*>(memory.floats(workers * floats));
  if (memory.failed) return focal::out_of_memory;
  std::memset(scratch, 0, static_cast<size_t>(workers * floats * 4));
  focal::in_parallel(threads, count, [&](int64_t block, int64_t thread) {
    const int64_t first = block * at_once;
    run(first, smaller(at_once, rows - first), scratch + thread * floats * 4);
  });
  return focal::done;
}

int32_t run_rows(const Engine& engine, const Rows& task, int64_t threads) {
  return in_row_blocks(
      engine, task.rows, threads, [&](int64_t rows) { return engine.rows_scratch(task, rows); },
      [&](int64_t first, int64_t rows, char* scratch) { engine.rows(task, first, rows, scratch); });
}

// Takes the global levels of all images through the modulator.
int32_t run_shift(const Engine& engine, Shift task, int64_t threads) {
  const int64_t panels = ceil_divide(task.channels, engine.panel), each = ceil_divide(panels, smaller(threads, panels));
  const int64_t parts = ceil_divide(panels, each), floats = ceil_divide(engine.shift_scratch(task), 64) * 16 + 16;
  focal::Memory memory;
  char* scratch = reinterpret_cast<char*>(memory.floats(parts * floats));
  if (memory.failed) return focal::out_of_memory;
  std::memset(scratch, 0, static_cast<size_t>(parts * floats * 4));
  focal::in_parallel(threads, parts, [&](int64_t part, int64_t) {
    Shift mine = task;
    mine.first_panel = part * each, mine.panels = each;
    engine.shift(mine, scratch + part * floats * 4);
  });
  return focal::done;
}

struct Map {
  int64_t images, height, width, channels, threads;

  int64_t rows() const { return images * height * width; }
};

// In the place of the context.
int32_t aggregate(const Engine& engine, const char* instruction_set, const Map& map, const Rows& rows, const Block& block,
                  double* sums) {
  focal::Problem problem = {};
  problem.images = map.images, problem.height = map.height, problem.width = map.width, problem.channels = map.channels;
  problem.levels = block.levels, problem.threads = map.threads, problem.last_row = map.height;
  problem.context = rows.context;
  problem.context_strides = {map.height * map.width * map.channels, map.width * map.channels, map.channels};
  problem.gates = rows.gates;
  problem.gates_strides = {map.height * map.width * rows.gate_stride, map.width * rows.gate_stride, rows.gate_stride};
  problem.mask = rows.mask;
  problem.mask_strides = {map.height * map.width, map.width, 1};
  for (int64_t l = 0; l < block.levels; ++l) {
    problem.kernels[l] = block.kernels[l];
    problem.kernel_heights[l] = block.kernel_heights[l], problem.kernel_widths[l] = block.kernel_widths[l];
  }
  return focal::forward(instruction_set, problem, engine.map_bytes == 2, rows.context, nullptr, sums);
}

int32_t refine(const Engine& engine, const char* instruction_set, const Map& map, const uint8_t* mask, float* tokens,
               int64_t blocks, Reader reader) {
  const int64_t rows = map.rows(), readable = rows + 32;
  Rows task = {};
  task.rows = rows, task.channels = map.channels, task.rows_an_image = map.height * map.width;
  task.gate_stride = 0, task.mask = mask, task.tokens = tokens;
  {
    Reader ahead = reader;
    for (int64_t b = 0; b < blocks; ++b) task.gate_stride = larger(task.gate_stride, ahead.block().levels + 1);
  }
  focal::Memory memory;
  const auto take_map = [&] { return memory.floats(ceil_divide(readable * map.channels * engine.map_bytes, 4)); };
  task.query = take_map(), task.context = take_map();
  task.gates = memory.floats(rows * task.gate_stride);
  float* shifts = memory.floats(map.images * ceil_divide(map.channels, engine.panel) * engine.panel);
  double* sums = reinterpret_cast<double*>(memory.floats(2 * map.images * map.channels));
  double* inverse_counts = reinterpret_cast<double*>(memory.floats(2 * map.images));
  if (memory.failed) return focal::out_of_memory;
  task.shifts = shifts;
  for (int64_t image = 0; image < map.images; ++image) {
    int64_t valid = task.rows_an_image;
    if (mask) {
      valid = 0;
      for (int64_t row = 0; row < task.rows_an_image; ++row) valid += mask[image * task.rows_an_image + row] != 0;
    }
    inverse_counts[image] = 1.0 / static_cast<double>(larger(valid, 1));
  }

  Block current = {}, next = reader.block();
  task.next = &next;
  int32_t status = run_rows(engine, task, map.threads);
  for (int64_t b = 0; b < blocks && status == focal::done; ++b) {
    current = next;
    if (b + 1 < blocks) next = reader.block();
    task.done = &current, task.next = b + 1 < blocks ? &next : nullptr;
    status = aggregate(engine, instruction_set, map, task, current, sums);
    const Shift shift = {map.images, map.channels, 0, 0, &current.modulator, sums, inverse_counts, shifts};
    if (status == focal::done) status = run_shift(engine, shift, map.threads);
    if (status == focal::done) status = run_rows(engine, task, map.threads);
  }
  return status;
}

}  // namespace

FOCAL_EXPORT int32_t focal_engine_stage(int64_t index, const char* instruction_set, const Stage* asked) {
  const Engine* engine = focal::engine_at(index);
  if (!engine) return focal::missing_instruction_set;
  const Stage& stage = *asked;
  const int64_t threads = larger(stage.threads, 1);
  Reader reader(stage.layout, stage.packed);
  const int64_t stride = reader.number(), channels = reader.number(), blocks = reader.number();
  Map map = {stage.images, stage.height, stage.width, channels, threads};
  if (stride > 0) {
    map.height = ceil_divide(stage.height, stride), map.width = ceil_divide(stage.width, stride);
    const Layer projection = reader.layer();
    const Norm norm = reader.norm();
    const Embedding task = {stage.images,     stage.height,         stage.width,    stage.channels, stride,
                            stage.image_stride, stage.row_stride, stage.column_stride, stage.channel_stride,
                            stage.features,   stage.mask,           projection,     norm,           stage.tokens};
    const int32_t status = in_row_blocks(
        *engine, map.rows(), threads, [&](int64_t rows) { return engine->embedding_scratch(task, rows); },
        [&](int64_t first, int64_t rows, char* scratch) { engine->embed(task, first, rows, scratch); });
    if (status != focal::done) return status;
  }
  return blocks > 0 ? refine(*engine, instruction_set, map, stage.token_mask, stage.tokens, blocks, reader) : focal::done;
}
