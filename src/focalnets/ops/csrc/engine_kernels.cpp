// Compiled once for each instruction set that multiplies, with FOCAL_NAMESPACE and FOCAL_NAME set by the build.
#include "engine_rows.h"

namespace FOCAL_NAMESPACE {

#if defined(FOCAL_ENGINE_BFLOAT16)
extern const focal::Engine bfloat16_engine;
const focal::Engine bfloat16_engine = engine_of<BFloat16>();
#elif defined(FOCAL_ENGINE_AMX)
extern const focal::Engine bfloat16_engine;
const focal::Engine bfloat16_engine = engine_of<BFloat16Tiles>();
#elif defined(FOCAL_ENGINE_INT8)
extern const focal::Engine int8_engine;
const focal::Engine int8_engine = engine_of<Int8>();
#else
extern const focal::Engine float32_engine;
const focal::Engine float32_engine = engine_of<Float32>();
#endif

}  // namespace FOCAL_NAMESPACE
