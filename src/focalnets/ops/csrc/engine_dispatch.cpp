// The C ABI of the engine: picks precision and instruction set, cuts a call into blocks of rows.
#include "engine.h"

#include <cstring>

#include "parallel.h"

#if defined(FOCAL_X86)
namespace focal_engine_avx2 {
extern const focal::Engine float32_engine;
}
namespace focal_engine_avx512 {
extern const focal::Engine float32_engine;
}
namespace focal_engine_bfloat16 {
extern const focal::Engine bfloat16_engine;
}
namespace focal_engine_int8 {
extern const focal::Engine int8_engine;
}
#endif
namespace focal_engine_baseline {
extern const focal::Engine float32_engine;
}

namespace {

using focal::Embedding;
using focal::Engine;
using focal::Rows;

// Candidates, best first; `index` counts them, so that Python can name the one that it packed for.
struct Candidate {
  const Engine* engine;
  bool runs;
};

int list_candidates(Candidate* found) {
  int count = 0;
#if defined(FOCAL_X86)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  found[count++] = {&focal_engine_avx512::float32_engine, avx512};
  found[count++] = {&focal_engine_avx2::float32_engine, avx2};
  found[count++] = {&focal_engine_bfloat16::bfloat16_engine, avx512 && __builtin_cpu_supports("avx512bf16")};
  found[count++] = {&focal_engine_int8::int8_engine, avx512 && __builtin_cpu_supports("avx512vnni")};
#endif
  found[count++] = {&focal_engine_baseline::float32_engine, true};
  return count;
}

const Engine* engine_at(int64_t index) {
  Candidate candidates[8];
  const int count = list_candidates(candidates);
  return index >= 0 && index < count && candidates[index].runs ? candidates[index].engine : nullptr;
}

// Blocks small enough for the second-level cache, large enough that weights are read seldom, and of about equal size for
// all threads.
int64_t rows_at_once(int64_t rows, int64_t threads, int64_t bytes_a_row) {
  const int64_t most = focal::larger(56, focal::smaller(224, 768 * 1024 / focal::larger(bytes_a_row, 1)));
  const int64_t each = focal::ceil_divide(rows, threads), parts = focal::ceil_divide(each, most);
  return focal::larger(1, focal::smaller(each, focal::ceil_divide(focal::ceil_divide(each, parts), 14) * 14));
}

template <class Run>
int32_t in_row_blocks(int64_t rows, int64_t threads, int64_t bytes_a_row, int64_t (*scratch_bytes)(const void*, int64_t),
                      const void* task, const Run& run) {
  const int64_t at_once = rows_at_once(rows, threads, bytes_a_row), count = focal::ceil_divide(rows, at_once);
  const int64_t workers = focal::smaller(threads, count), floats = focal::ceil_divide(scratch_bytes(task, at_once), 4) + 16;
  focal::Memory memory;
  char* scratch = reinterpret_cast<char*>(memory.floats(workers * floats));
  if (memory.failed) return focal::out_of_memory;
  std::memset(scratch, 0, static_cast<size_t>(workers * floats * 4));
  focal::in_parallel(threads, count, [&](int64_t block, int64_t thread) {
    const int64_t first = block * at_once;
    run(first, focal::smaller(at_once, rows - first), scratch + thread * floats * 4);
  });
  return focal::done;
}

}  // namespace

// Describes candidate `index`: its precision and instruction set by name, and [panel, group, bytes an element, whether it
// can run here]. Returns 0 beyond the last one.
FOCAL_EXPORT int32_t focal_engine(int64_t index, const char** precision, const char** name, int64_t* numbers) {
  Candidate candidates[8];
  const int count = list_candidates(candidates);
  if (index < 0 || index >= count) return 0;
  const Engine& engine = *candidates[index].engine;
  *precision = engine.precision, *name = engine.name;
  numbers[0] = engine.panel, numbers[1] = engine.group, numbers[2] = engine.element_bytes;
  numbers[3] = candidates[index].runs;
  return 1;
}

FOCAL_EXPORT int64_t focal_engine_interface() {
  return 1000000 + sizeof(focal::Block) * 1000 + sizeof(Embedding) + sizeof(Rows);
}

FOCAL_EXPORT int32_t focal_engine_pack(int64_t index, const float* weight, int64_t outputs, int64_t inputs, void* packed,
                                       float* scales, float* offsets) {
  const Engine* engine = engine_at(index);
  if (!engine) return focal::missing_instruction_set;
  engine->pack(weight, outputs, inputs, packed, scales, offsets);
  return focal::done;
}

FOCAL_EXPORT int32_t focal_engine_rows(int64_t index, const Rows* task) {
  const Engine* engine = engine_at(index);
  if (!engine) return focal::missing_instruction_set;
  const struct Both {
    const Engine* engine;
    const Rows* task;
  } both = {engine, task};
  const auto scratch = [](const void* context, int64_t rows) {
    const Both& both = *static_cast<const Both*>(context);
    return both.engine->rows_scratch(*both.task, rows);
  };
  const int64_t bytes_a_row = scratch(&both, 64) / 64;
  return in_row_blocks(task->rows, focal::larger(task->threads, 1), bytes_a_row, scratch, &both,
                       [&](int64_t first, int64_t rows, char* memory) { engine->rows(*task, first, rows, memory); });
}

FOCAL_EXPORT int32_t focal_engine_embed(int64_t index, const Embedding* task) {
  const Engine* engine = engine_at(index);
  if (!engine) return focal::missing_instruction_set;
  const struct Both {
    const Engine* engine;
    const Embedding* task;
  } both = {engine, task};
  const auto scratch = [](const void* context, int64_t rows) {
    const Both& both = *static_cast<const Both*>(context);
    return both.engine->embedding_scratch(*both.task, rows);
  };
  const int64_t rows = task->images * focal::ceil_divide(task->height, task->stride) *
                       focal::ceil_divide(task->width, task->stride);
  return in_row_blocks(rows, focal::larger(task->threads, 1), scratch(&both, 64) / 64, scratch, &both,
                       [&](int64_t first, int64_t count, char* memory) { engine->embed(*task, first, count, memory); });
}
