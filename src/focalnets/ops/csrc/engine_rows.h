// A block of rows on its way from one aggregation of context to the next, and the embedding of patches.
#pragma once

#include "engine.h"
#include "products.h"

namespace FOCAL_NAMESPACE {
namespace {

// Calls put(channel, vector, count) with the normalised row, with its factors unless they are null.
template <class Put>
FOCAL_INLINE void normalize(const float* row, int64_t channels, const focal::Norm& norm, const Put& put) {
  Vector sum = {};
  for (int64_t c = 0; c < channels; c += lanes) sum += load_up_to(row + c, smaller(lanes, channels - c));
  const float mean = sum_of_lanes(sum) / static_cast<float>(channels);
  Vector squares = {};
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) {
    const Vector d = load_unaligned(row + c) - mean;
    squares += d * d;
  }
  float rest = 0.0f;
  for (; c < channels; ++c) rest += (row[c] - mean) * (row[c] - mean);
  const float variance = (sum_of_lanes(squares) + rest) / static_cast<float>(channels);
  const float factor = 1.0f / __builtin_sqrtf(variance + focal::norm_epsilon);
  for (c = 0; c < channels; c += lanes) {
    const int64_t count = smaller(lanes, channels - c);
    Vector value = (load_up_to(row + c, count) - mean) * factor;
    if (norm.weight) value = value * load_up_to(norm.weight + c, count) + load_up_to(norm.bias + c, count);
    put(c, value, count);
  }
}

// Scratch memory of one task, handed out in whole cache lines.
struct Arena {
  char* memory;
  int64_t used = 0;

  template <class T>
  T* take(int64_t count) {
    T* part = reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(memory) + static_cast<uintptr_t>(used));
    used += round_up(count * static_cast<int64_t>(sizeof(T)), 64);
    return part;
  }
};

// Rows of `inputs` numbers to be multiplied. Strides of an odd number of cache lines keep rows of a tile in different sets.
template <class P>
Operand<P> take_operand(Arena& arena, int64_t rows, int64_t inputs) {
  const int64_t line = 64 / static_cast<int64_t>(sizeof(typename P::Element));
  const int64_t stride = round_up(inputs, line) + (round_up(inputs, line) / line % 2 == 0 ? line : 0);
  const int64_t read = P::tile_rows == most_rows ? rows : round_up(rows, P::tile_rows);
  const Operand<P> operand = {arena.take<typename P::Element>(read * stride + line), stride,
                              arena.take<float>(P::scaled ? rows : 0)};
  return operand;
}

// What is computed for an operand, until its rows are complete: written at once, or kept as float32 to be quantized.
template <class P>
struct Writer {
  Operand<P> operand;
  float* kept;
  int64_t kept_stride;

  FOCAL_INLINE void put(int64_t row, int64_t channel, Vector value) const {
    if constexpr (P::scaled)
      store_unaligned(kept + row * kept_stride + channel, value);
    else
      P::put(operand.row(row) + channel, value);
  }
  // Also clears the inputs that are multiplied beyond the last vector: what lies there may not be a number.
  void complete(int64_t rows, int64_t count) const {
    const int64_t written = round_up(count, lanes), multiplied = round_up(count, P::group);
    if constexpr (P::scaled) {
      for (int64_t row = 0; row < rows; ++row)
        P::quantize(kept + row * kept_stride, count, operand.row(row), operand.scales + row);
    } else if (multiplied > written) {
      for (int64_t row = 0; row < rows; ++row)
        __builtin_memset(operand.row(row) + written, 0, static_cast<size_t>(multiplied - written) * sizeof(*operand.data));
    }
  }
};

constexpr int64_t hidden_at_once = 1024;

template <class P>
struct RowBlock {
  typedef typename P::Map Map;
  const focal::Rows& task;
  int64_t channels, stride;
  Operand<P> narrow, wide;
  float *kept, *branch, *last_gates;
  const float** shifts;
  Writer<P> to_narrow, to_wide;

  static int64_t wide_inputs(const focal::Rows& rows) {
    const int64_t hidden = rows.done ? rows.done->widen.outputs : 0;
    return larger(smaller(hidden, hidden_at_once), rows.channels);
  }

  RowBlock(const focal::Rows& rows, int64_t count, Arena& arena) : task(rows), channels(rows.channels) {
    const int64_t widest = round_up(wide_inputs(rows), panel);
    stride = round_up(channels, panel);
    narrow = take_operand<P>(arena, count, round_up(channels, panel));
    wide = take_operand<P>(arena, count, widest);
    kept = arena.take<float>(P::scaled ? count * widest : 0);
    branch = arena.take<float>(count * stride);
    last_gates = arena.take<float>(count);
    shifts = arena.take<const float*>(count);
    to_narrow = {narrow, kept, widest};
    to_wide = {wide, kept, widest};
  }

  // Normalised rows, or the rows as they are with norms after the branches.
  void prepare(const float* tokens, int64_t rows, bool normalized, const Writer<P>& target) const {
    for (int64_t m = 0; m < rows; ++m) {
      const float* row = tokens + m * channels;
      const auto put = [&](int64_t c, Vector value, int64_t) { target.put(m, c, value); };
      if (normalized)
        normalize(row, channels, focal::Norm{nullptr, nullptr}, put);
      else
        for (int64_t c = 0; c < channels; c += lanes) put(c, load_up_to(row + c, smaller(lanes, channels - c)), 0);
    }
    target.complete(rows, channels);
  }

  // Adds what a branch gave to the rows, through its norm if that comes after it.
  FOCAL_INLINE void add_branch(float* tokens, int64_t rows, const focal::Norm& norm) const {
    for (int64_t m = 0; m < rows; ++m)
      normalize(branch + m * stride, channels, norm, [&](int64_t c, Vector value, int64_t count) {
        float* place = tokens + m * channels + c;
        store_up_to(place, load_up_to(place, count) + value, count);
      });
  }

  void project(const float* tokens, int64_t rows, const focal::Block& block, Map* query, Map* context,
               float* gates) const {
    prepare(tokens, rows, !block.post_norm, to_narrow);
    multiply(narrow, rows, block.query, [&](int64_t m, int64_t n, Vector value, int64_t count)
             __attribute__((always_inline)) { store_up_to(query + m * channels + n, value, count); });
    multiply(narrow, rows, block.context, [&](int64_t m, int64_t n, Vector value, int64_t count)
             __attribute__((always_inline)) { store_up_to(context + m * channels + n, value, count); });
    multiply(narrow, rows, block.gates, [&](int64_t m, int64_t n, Vector value, int64_t count)
             __attribute__((always_inline)) { store_up_to(gates + m * task.gate_stride + n, value, count); });
  }

  // The rows of gathered context as an operand; read where they are if they are what is multiplied.
  Operand<P> gathered_rows(const Map* gathered, int64_t rows) const {
    if constexpr (P::scaled) {
      for (int64_t m = 0; m < rows; ++m)
        P::quantize(gathered + m * channels, channels, narrow.row(m), narrow.scales + m);
    } else if (sizeof(Map) == sizeof(typename P::Element) && channels % P::group == 0) {
      return {reinterpret_cast<typename P::Element*>(const_cast<Map*>(gathered)), channels, nullptr};  // only read
    } else {
      for (int64_t m = 0; m < rows; ++m)
        for (int64_t c = 0; c < channels; c += lanes)
          to_narrow.put(m, c, load_up_to(gathered + m * channels + c, smaller(lanes, channels - c)));
      to_narrow.complete(rows, channels);
    }
    return narrow;
  }

  void modulate(float* tokens, const Map* gathered, const Map* query, const float* gates, int64_t first, int64_t rows,
                const focal::Block& block) const {
    for (int64_t m = 0; m < rows; ++m) {
      const bool valid = !task.mask || task.mask[first + m];  // gates of tokens that are not valid may be anything
      last_gates[m] = valid ? gates[m * task.gate_stride + block.levels] : 0.0f;
      shifts[m] = task.shifts + (first + m) / task.rows_an_image * stride;
    }
    const Operand<P> context = gathered_rows(gathered, rows);
    const auto modulated = [&](int64_t m, int64_t n, Vector value, int64_t count) __attribute__((always_inline)) {
      return (load(shifts[m] + n) * last_gates[m] + value) * load_up_to(query + m * channels + n, count);
    };
    if (block.modulation_norm) {
      multiply(context, rows, block.modulator, [&](int64_t m, int64_t n, Vector value, int64_t count)
               __attribute__((always_inline)) { store_unaligned(branch + m * stride + n, modulated(m, n, value, count)); });
      for (int64_t m = 0; m < rows; ++m)
        normalize(branch + m * stride, channels, focal::Norm{nullptr, nullptr},
                  [&](int64_t c, Vector value, int64_t) { to_wide.put(m, c, value); });
    } else {
      multiply(context, rows, block.modulator, [&](int64_t m, int64_t n, Vector value, int64_t count)
               __attribute__((always_inline)) { to_wide.put(m, n, modulated(m, n, value, count)); });
    }
    to_wide.complete(rows, channels);
    add_product(wide, tokens, rows, block.output, block, block.norm1, true);
  }

  // Adds a product to the rows, or collects it in `branch` where a norm comes after it.
  FOCAL_INLINE void add_product(const Operand<P>& operand, float* tokens, int64_t rows, const focal::Layer& layer,
                                const focal::Block& block, const focal::Norm& norm, bool first) const {
    float* target = block.post_norm ? branch : tokens;
    const int64_t target_stride = block.post_norm ? stride : channels;
    const bool add = !block.post_norm || !first;
    multiply(operand, rows, layer, [&](int64_t m, int64_t n, Vector value, int64_t count)
             __attribute__((always_inline)) {
               float* place = target + m * target_stride + n;
               store_up_to(place, add ? value + load_up_to(place, count) : value, count);
             });
    if (block.post_norm && first) add_branch(tokens, rows, norm);
  }

  void widen_and_narrow(float* tokens, int64_t rows, const focal::Block& block) const {
    prepare(tokens, rows, !block.post_norm, to_narrow);
    const int64_t hidden = block.widen.outputs;
    const char *widen = static_cast<const char*>(block.widen.weight), *back = static_cast<const char*>(block.narrow.weight);
    const int64_t element = sizeof(typename P::Element);
    float* target = block.post_norm ? branch : tokens;
    const int64_t target_stride = block.post_norm ? stride : channels;
    for (int64_t first = 0; first < hidden; first += hidden_at_once) {
      const int64_t part = smaller(hidden_at_once, hidden - first);
      focal::Layer up = block.widen, down = block.narrow;
      up.weight = widen + first * round_up(channels, P::group) * element;
      up.bias += first, up.outputs = part;
      if constexpr (P::scaled) up.scales += first, up.offsets += first;
      multiply(narrow, rows, up, [&](int64_t m, int64_t n, Vector value, int64_t)
               __attribute__((always_inline)) { to_wide.put(m, n, gelu_for<Map>(value)); });
      to_wide.complete(rows, part);
      // The narrowing layer is packed by parts of its inputs; its bias belongs to the first, offsets to each.
      const int64_t outputs = round_up(channels, panel), number = first / hidden_at_once;
      down.weight = back + first * outputs * element;
      down.inputs = part;
      down.bias += number * outputs;
      if constexpr (P::scaled) down.scales += number * outputs, down.offsets += number * outputs;
      const bool add = !block.post_norm || first > 0;
      multiply(wide, rows, down, [&](int64_t m, int64_t n, Vector value, int64_t count)
               __attribute__((always_inline)) {
                 float* place = target + m * target_stride + n;
                 store_up_to(place, add ? value + load_up_to(place, count) : value, count);
               });
    }
    if (block.post_norm) add_branch(tokens, rows, block.norm2);
  }
};

template <class P>
int64_t rows_scratch(const focal::Rows& task, int64_t rows) {
  Arena arena = {nullptr};
  RowBlock<P>(task, rows, arena);
  return arena.used;
}

template <class P>
void go_by_rows(const focal::Rows& task, int64_t first, int64_t rows, char* scratch) {
  Arena arena = {scratch};
  typedef typename P::Map Map;
  const RowBlock<P> block(task, rows, arena);
  const typename P::Session session;
  const int64_t place = first * task.channels;
  float *tokens = task.tokens + place, *gates = task.gates + first * task.gate_stride;
  Map *query = static_cast<Map*>(task.query) + place, *context = static_cast<Map*>(task.context) + place;
  if (task.done) {
    block.modulate(tokens, context, query, gates, first, rows, *task.done);
    block.widen_and_narrow(tokens, rows, *task.done);
  }
  if (task.next) block.project(tokens, rows, *task.next, query, context, gates);
}

template <class P>
struct ShiftMemory {
  Operand<P> levels;
  float *kept, *no_bias;

  ShiftMemory(const focal::Shift& task, Arena& arena) {
    const int64_t padded = round_up(task.channels, panel);
    levels = take_operand<P>(arena, task.images, padded);
    kept = arena.take<float>(task.images * padded);
    no_bias = arena.take<float>(padded);
  }
};

template <class P>
int64_t shift_scratch(const focal::Shift& task) {
  Arena arena = {nullptr};
  ShiftMemory<P>(task, arena);
  return arena.used;
}

template <class P>
void shift(const focal::Shift& task, char* scratch) {
  Arena arena = {scratch};
  const ShiftMemory<P> memory(task, arena);
  const typename P::Session session;
  const int64_t channels = task.channels, padded = round_up(channels, panel);
  const Writer<P> writer = {memory.levels, memory.kept, padded};
  for (int64_t image = 0; image < task.images; ++image) {
    float* means = memory.kept + image * padded;
    for (int64_t c = 0; c < channels; ++c)
      means[c] = static_cast<float>(task.sums[image * channels + c] * task.inverse_counts[image]);
    for (int64_t c = 0; c < channels; c += lanes) writer.put(image, c, gelu_for<typename P::Map>(load_unaligned(means + c)));
  }
  writer.complete(task.images, channels);
  focal::Layer part = *task.modulator;
  const int64_t first = task.first_panel * panel;
  part.weight = static_cast<const char*>(part.weight) +
                first * round_up(part.inputs, P::group) * static_cast<int64_t>(sizeof(typename P::Element));
  part.bias = memory.no_bias;
  part.outputs = smaller(part.outputs - first, task.panels * panel);
  if constexpr (P::scaled) part.scales += first, part.offsets += first;
  multiply(memory.levels, task.images, part, [&](int64_t m, int64_t n, Vector value, int64_t)
           __attribute__((always_inline)) { store_unaligned(task.shifts + m * padded + first + n, value); });
}

template <class P>
struct Patches {
  Operand<P> operand;
  float *kept, *embedded;
  int64_t inputs, padded, stride;

  Patches(const focal::Embedding& task, int64_t rows, Arena& arena) {
    inputs = task.projection.inputs;
    padded = round_up(inputs, panel);
    stride = round_up(task.projection.outputs, panel);
    operand = take_operand<P>(arena, rows, padded);
    kept = arena.take<float>(padded);
    embedded = arena.take<float>(rows * stride);
  }
};

template <class P>
int64_t embedding_scratch(const focal::Embedding& task, int64_t rows) {
  Arena arena = {nullptr};
  Patches<P>(task, rows, arena);
  return arena.used;
}

// One patch as (row, column, channel), zero outside the map and where it is masked.
inline void gather_patch(const focal::Embedding& task, int64_t token, float* patch) {
  const int64_t across = (task.width + task.stride - 1) / task.stride;
  const int64_t down = (task.height + task.stride - 1) / task.stride;
  const int64_t image = token / (across * down), y = token / across % down * task.stride,
                x = token % across * task.stride;
  const int64_t rows = smaller(task.stride, task.height - y), columns = smaller(task.stride, task.width - x);
  const bool whole = rows == task.stride && columns == task.stride && !task.mask;
  if (!whole) __builtin_memset(patch, 0, static_cast<size_t>(task.stride * task.stride * task.channels) * 4);
  for (int64_t r = 0; r < rows; ++r) {
    const float* source = task.features + image * task.image_stride + (y + r) * task.row_stride + x * task.column_stride;
    float* target = patch + r * task.stride * task.channels;
    if (!task.mask && task.channel_stride == 1 && task.column_stride == task.channels) {
      __builtin_memcpy(target, source, static_cast<size_t>(columns * task.channels) * 4);
      continue;
    }
    for (int64_t c = 0; c < columns; ++c) {
      if (task.mask && !task.mask[(image * task.height + y + r) * task.width + x + c]) continue;
      for (int64_t channel = 0; channel < task.channels; ++channel)
        target[c * task.channels + channel] = source[c * task.column_stride + channel * task.channel_stride];
    }
  }
}

template <class P>
void embed(const focal::Embedding& task, int64_t first, int64_t rows, char* scratch) {
  Arena arena = {scratch};
  const Patches<P> patches(task, rows, arena);
  const int64_t outputs = task.projection.outputs;
  for (int64_t m = 0; m < rows; ++m) {
    float* patch = patches.kept;
    if constexpr (sizeof(typename P::Element) == 4) patch = reinterpret_cast<float*>(patches.operand.row(m));
    gather_patch(task, first + m, patch);
    if constexpr (P::scaled) {
      P::quantize(patch, patches.inputs, patches.operand.row(m), patches.operand.scales + m);
    } else if constexpr (sizeof(typename P::Element) != 4) {
      for (int64_t c = 0; c < patches.inputs; c += lanes)
        P::put(patches.operand.row(m) + c, load_up_to(patch + c, smaller(lanes, patches.inputs - c)));
    }
  }
  const typename P::Session session;
  multiply(patches.operand, rows, task.projection, [&](int64_t m, int64_t n, Vector value, int64_t)
           __attribute__((always_inline)) { store_unaligned(patches.embedded + m * patches.stride + n, value); });
  for (int64_t m = 0; m < rows; ++m) {
    const float* row = patches.embedded + m * patches.stride;
    float* target = task.tokens + (first + m) * outputs;
    normalize(row, outputs, task.norm,
              [&](int64_t c, Vector value, int64_t count) { store_up_to(target + c, value, count); });
  }
}

template <class P>
constexpr focal::Engine engine_of() {
  return {P::name,
          FOCAL_NAME,
          panel,
          P::group,
          static_cast<int64_t>(sizeof(typename P::Element)),
          static_cast<int64_t>(sizeof(typename P::Map)),
          P::tile_rows,
          P::pack,
          rows_scratch<P>,
          go_by_rows<P>,
          embedding_scratch<P>,
          embed<P>,
          shift_scratch<P>,
          shift<P>,
          agrees_with_plain_arithmetic<P>};
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
