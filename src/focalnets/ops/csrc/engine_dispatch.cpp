// The engines that were built: which of them can run here, what they are called, and packing for them.
#include "engine.h"

#include "parallel.h"

#if defined(FOCAL_AMX) && !defined(FOCAL_AMX_EMULATED)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace focal_engine_baseline {
extern const focal::Engine float32_engine;
}
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
#if defined(FOCAL_AMX)
namespace focal_engine_amx {
extern const focal::Engine bfloat16_engine;
}
#endif

namespace {

using focal::Engine;

// Candidates, best first of each precision; `index` counts them, so that Python can name the one that it packed for.
struct Candidate {
  const Engine* engine;
  const char* missing;  // why it cannot run here, or null if it can
};

#if defined(FOCAL_X86) || defined(FOCAL_AMX)
const char* missing_for_avx512() {
  __builtin_cpu_init();
  const bool all = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx512f") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl");
  return all ? nullptr : "this processor has no AVX-512";
}
#endif

#if defined(FOCAL_AMX)
const char* missing_for_amx() {
  if (const char* missing = missing_for_avx512()) return missing;
#if !defined(FOCAL_AMX_EMULATED)
  unsigned a, b, c, d;
  const unsigned bfloat16 = 1u << 22, tiles = 1u << 24, saves_state = 1u << 27;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & bfloat16) || !(d & tiles)) return "this processor has no AMX";
  const char* const not_saved = "the operating system does not save the tiles of AMX";
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & saves_state)) return not_saved;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const unsigned tile_state = 3u << 17;
  if ((low & tile_state) != tile_state) return not_saved;
#if defined(__linux__)
  const long request_permission = 0x1023, tile_data = 18;
  if (syscall(SYS_arch_prctl, request_permission, tile_data) != 0) return "the kernel does not grant the use of AMX";
#endif
#endif
  if (!focal_engine_amx::bfloat16_engine.agrees()) return "a product by AMX did not come out as by plain arithmetic";
  return nullptr;
}
#endif

int list_candidates(Candidate* found) {
  int count = 0;
#if defined(FOCAL_X86)
  const char* const no_avx512 = missing_for_avx512();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  found[count++] = {&focal_engine_avx512::float32_engine, no_avx512};
  found[count++] = {&focal_engine_avx2::float32_engine, avx2 ? nullptr : "this processor has no AVX2"};
#endif
#if defined(FOCAL_AMX)
  static const char* const no_amx = missing_for_amx();
  found[count++] = {&focal_engine_amx::bfloat16_engine, no_amx};
#endif
#if defined(FOCAL_X86)
  const char* no_bfloat16 = __builtin_cpu_supports("avx512bf16") ? nullptr : "this processor has no AVX-512 BF16";
  const char* no_int8 = __builtin_cpu_supports("avx512vnni") ? nullptr : "this processor has no AVX-512 VNNI";
  if (no_avx512) no_bfloat16 = no_int8 = no_avx512;
  found[count++] = {&focal_engine_bfloat16::bfloat16_engine, no_bfloat16};
  found[count++] = {&focal_engine_int8::int8_engine, no_int8};
#endif
  found[count++] = {&focal_engine_baseline::float32_engine, nullptr};
  return count;
}

constexpr int most_candidates = 8;

}  // namespace

const Engine* focal::engine_at(int64_t index) {
  Candidate candidates[most_candidates];
  const int count = list_candidates(candidates);
  return index >= 0 && index < count && !candidates[index].missing ? candidates[index].engine : nullptr;
}

// Describes candidate `index`: precision, instruction set and (null if it can run here) what is missing, and [panel, group,
// bytes of an element]. Returns 0 beyond the last one.
FOCAL_EXPORT int32_t focal_engine(int64_t index, const char** texts, int64_t* numbers) {
  Candidate candidates[most_candidates];
  const int count = list_candidates(candidates);
  if (index < 0 || index >= count) return 0;
  const Engine& engine = *candidates[index].engine;
  texts[0] = engine.precision, texts[1] = engine.name, texts[2] = candidates[index].missing;
  numbers[0] = engine.panel, numbers[1] = engine.group, numbers[2] = engine.element_bytes;
  return 1;
}

// Changes with the structure that Python fills and with the layout, so that a library left over from another version is
// not used.
FOCAL_EXPORT int64_t focal_engine_interface() { return 2000000 + sizeof(focal::Stage); }

FOCAL_EXPORT int32_t focal_engine_pack(int64_t index, const float* weight, int64_t outputs, int64_t inputs, void* packed,
                                       float* scales, float* offsets) {
  const Engine* engine = focal::engine_at(index);
  if (!engine) return focal::missing_instruction_set;
  engine->pack(weight, outputs, inputs, packed, scales, offsets);
  return focal::done;
}
