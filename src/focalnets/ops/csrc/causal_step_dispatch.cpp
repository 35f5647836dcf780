// The C ABI of one token's way through a causal network: picks the instruction set, shares products among threads.
#include "causal_network.h"

#include <cstring>

#include "parallel.h"

namespace focal_causal_baseline {
extern const focal::StepKernels step_kernels;
}
#if defined(FOCAL_X86)
namespace focal_causal_avx2 {
extern const focal::StepKernels step_kernels;
}
namespace focal_causal_avx512 {
extern const focal::StepKernels step_kernels;
}
#endif

namespace {

using focal::Finish;
using focal::Product;
using focal::StepBlock;
using focal::StepKernels;
using focal::StepNetwork;
using focal::Weights;
using focal::ceil_divide;
using focal::in_parallel;
using focal::larger;
using focal::smaller;

// By a name that focal_instruction_set gave, so that it runs here.
const StepKernels* kernels_of(const char* name) {
#if defined(FOCAL_X86)
  if (std::strcmp(name, "avx512") == 0) return &focal_causal_avx512::step_kernels;
  if (std::strcmp(name, "avx2") == 0) return &focal_causal_avx2::step_kernels;
#endif
  return std::strcmp(name, "baseline") == 0 ? &focal_causal_baseline::step_kernels : nullptr;
}

// Weights are read once a token: threads pay where they are larger than a share of the caches.
void multiply(const StepKernels& kernels, int64_t threads, const Product& product) {
  const int64_t share = 64, parts = ceil_divide(product.outputs, share);
  const int64_t work = product.sequences * product.outputs * product.inputs;
  in_parallel(work < 500000 ? 1 : larger(threads, 1), parts, [&](int64_t part, int64_t) {
    kernels.multiply(product, part * share, smaller(product.outputs, (part + 1) * share));
  });
}

}  // namespace

// Changes with the structures that Python fills, so that a library left over from another version is not used.
FOCAL_EXPORT int64_t focal_step_interface() { return 1000000 + 1000 * sizeof(StepNetwork) + sizeof(StepBlock); }

// Reads one token of each sequence: updates the states of all blocks and the counts, and writes the logits.
FOCAL_EXPORT int32_t focal_step(const char* instruction_set, const StepNetwork* network) {
  const StepKernels* kernels = kernels_of(instruction_set);
  if (!kernels) return focal::unknown_instruction_set;
  const StepNetwork& net = *network;
  const int64_t many = net.sequences, channels = net.channels, threads = net.threads;
  const int64_t gated_levels = net.levels + net.running + (net.memory_keys > 0 ? 1 : 0);
  const int64_t projected_width = 2 * channels + gated_levels * net.groups, keys_width = net.groups * net.memory_keys;
  focal::Memory memory;
  float* tokens = memory.floats(many * channels);
  float* normal = memory.floats(many * channels);
  float* projected = memory.floats(many * larger(projected_width, 3 * channels));
  float* decay = memory.floats(many * channels);
  float* gathered = memory.floats(many * channels);
  float* hidden = memory.floats(many * net.hidden);
  float* convolved = memory.floats(keys_width > 0 ? many * channels : 0);
  float* key = memory.floats(many * keys_width);
  float* query = memory.floats(many * keys_width);
  float* scores = memory.floats(net.filled + 1);
  if (memory.failed) return focal::out_of_memory;

  for (int64_t i = 0; i < many; ++i)
    std::memcpy(tokens + i * channels, net.embedding + net.tokens[i] * channels,
                static_cast<size_t>(channels) * sizeof(float));
  const auto normalize = [&](const Weights& norm) {
    for (int64_t i = 0; i < many; ++i)
      kernels->normalize(tokens + i * channels, norm, channels, normal + i * channels);
  };
  const auto product = [&](const Weights& layer, const float* source, int64_t inputs, float* target, int64_t outputs,
                           Finish finish) {
    multiply(*kernels, threads,
             {layer, source, target, projected, many, inputs, outputs, projected_width, finish});
  };
  for (int64_t i = 0; net.valid && i < many; ++i) net.valid[i * net.places + net.filled] = 1;
  for (int64_t index = 0; index < net.depth; ++index) {
    const StepBlock& block = net.blocks[index];
    normalize(block.norm1);
    if (block.keys) {
      product(block.input, normal, channels, projected, 3 * channels, focal::as_it_is);
      for (int64_t i = 0; i < many; ++i)
        kernels->attend(net, block, i, projected + i * 3 * channels, scores, gathered + i * channels);
      product(block.output, gathered, channels, tokens, channels, focal::added);
    } else {
      product(block.input, normal, channels, projected, projected_width, focal::as_it_is);
      if (block.decay.weight) product(block.decay, normal, channels, decay, channels, focal::through_sigmoid);
      for (int64_t i = 0; i < many; ++i)
        kernels->aggregate(net, block, i, projected + i * projected_width, decay + i * channels,
                           gathered + i * channels);
      if (block.memory_key.weight) {
        for (int64_t i = 0; i < many; ++i)
          kernels->convolve(net, block, i, normal + i * channels, convolved + i * channels);
        product(block.memory_key, convolved, channels, key, keys_width, focal::as_it_is);
        product(block.memory_query, normal, channels, query, keys_width, focal::as_it_is);
        for (int64_t i = 0; i < many; ++i)
          kernels->remember(net, block, i, projected + i * projected_width, key + i * keys_width,
                            query + i * keys_width, convolved, gathered + i * channels);
      }
      product(block.modulator, gathered, channels, normal, channels, focal::multiplied);  // by the query
      product(block.output, normal, channels, tokens, channels, focal::added);
    }
    normalize(block.norm2);
    product(block.widen, normal, channels, hidden, net.hidden, focal::through_gelu);
    product(block.narrow, hidden, net.hidden, tokens, channels, focal::added);
  }
  normalize(net.norm);
  product({net.embedding, nullptr}, normal, channels, net.logits, net.vocabulary, focal::as_it_is);
  for (int64_t i = 0; i < many; ++i) ++net.count[i];
  return focal::done;
}
