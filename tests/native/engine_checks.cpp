// Checks every engine that can run here against plain loops in double: a stage with an embedding and two blocks, of odd
// sizes. Prints one line an engine; the exit status is 1 if one differs by more than its precision allows.
//
// Legend: B images, H x W features with F channels, h x w tokens with C channels, L focal levels.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "engine.h"

extern "C" {
int32_t focal_engine(int64_t index, const char** texts, int64_t* numbers);
int32_t focal_engine_pack(int64_t index, const float* weight, int64_t outputs, int64_t inputs, void* packed, float* scales,
                          float* offsets);
int32_t focal_engine_stage(int64_t index, const char* instruction_set, const focal::Stage* stage);
}

namespace {

typedef std::vector<double> Numbers;

constexpr int64_t hidden_at_once = 1024;  // as in engine_rows.h

double drawn() {
  static uint64_t state = 1;
  double sum = -6.0;  // twelve uniform numbers are nearly normal
  for (int i = 0; i < 12; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    sum += static_cast<double>(state >> 40) / (1 << 24);
  }
  return static_cast<float>(sum);
}

Numbers draw(int64_t count, double deviation, double mean = 0.0) {
  Numbers numbers(static_cast<size_t>(count));
  for (double& number : numbers) number = static_cast<float>(drawn() * deviation + mean);
  return numbers;
}

struct Linear {
  int64_t outputs, inputs;
  Numbers weight, bias;

  Linear(int64_t outputs, int64_t inputs)
      : outputs(outputs),
        inputs(inputs),
        weight(draw(outputs * inputs, 1 / std::sqrt(static_cast<double>(inputs)))),
        bias(draw(outputs, 0.1)) {}

  Numbers operator()(const Numbers& x) const {
    Numbers y = bias;
    for (int64_t n = 0; n < outputs; ++n)
      for (int64_t k = 0; k < inputs; ++k) y[n] += weight[n * inputs + k] * x[k];
    return y;
  }
};

double gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

Numbers normalize(const Numbers& x) {
  double mean = 0.0, variance = 0.0;
  for (double each : x) mean += each / x.size();
  for (double each : x) variance += (each - mean) * (each - mean) / x.size();
  Numbers y = x;
  for (double& each : y) each = (each - mean) / std::sqrt(variance + static_cast<double>(focal::norm_epsilon));
  return y;
}

struct Sizes {
  int64_t images, height, width, features, stride, channels, levels, hidden;
  int64_t down() const { return (height + stride - 1) / stride; }
  int64_t across() const { return (width + stride - 1) / stride; }
};

struct PlainBlock {
  Linear query, context, gates, modulator, output, widen, narrow;
  std::vector<Numbers> kernels;

  explicit PlainBlock(const Sizes& s)
      : query(s.channels, s.channels),
        context(s.channels, s.channels),
        gates(s.levels + 1, s.channels),
        modulator(s.channels, s.channels),
        output(s.channels, s.channels),
        widen(s.hidden, s.channels),
        narrow(s.channels, s.hidden) {
    for (int64_t l = 0; l < s.levels; ++l) kernels.push_back(draw(s.channels * side(l) * side(l), 1.5 / static_cast<double>(side(l))));
  }
  static int64_t side(int64_t level) { return 3 + 2 * level; }

  void refine(const Sizes& s, std::vector<Numbers>& tokens) const {
    const int64_t h = s.down(), w = s.across();
    std::vector<Numbers> queries, maps, weights;
    for (const Numbers& token : tokens) {
      const Numbers x = normalize(token);
      queries.push_back(query(x)), maps.push_back(context(x)), weights.push_back(gates(x));
    }
    std::vector<Numbers> gathered(tokens.size(), Numbers(static_cast<size_t>(s.channels)));
    for (int64_t l = 0; l < s.levels; ++l) {
      const int64_t size = side(l), half = size / 2;
      std::vector<Numbers> convolved = gathered;
      for (int64_t p = 0; p < static_cast<int64_t>(tokens.size()); ++p)
        for (int64_t c = 0; c < s.channels; ++c) {
          const int64_t image = p / (h * w), y = p / w % h, x = p % w;
          double sum = 0.0;
          for (int64_t i = 0; i < size; ++i)
            for (int64_t j = 0; j < size; ++j) {
              const int64_t yy = y + i - half, xx = x + j - half;
              if (yy >= 0 && yy < h && xx >= 0 && xx < w)
                sum += maps[(image * h + yy) * w + xx][c] * kernels[l][(c * size + i) * size + j];
            }
          convolved[p][c] = gelu(sum);
        }
      maps = convolved;
      if (l == 0)
        for (Numbers& each : gathered) each.assign(each.size(), 0.0);
      for (size_t p = 0; p < tokens.size(); ++p)
        for (int64_t c = 0; c < s.channels; ++c) gathered[p][c] += maps[p][c] * weights[p][l];
    }
    for (int64_t image = 0; image < s.images; ++image)
      for (int64_t c = 0; c < s.channels; ++c) {
        double mean = 0.0;
        for (int64_t p = image * h * w; p < (image + 1) * h * w; ++p) mean += maps[p][c] / static_cast<double>(h * w);
        for (int64_t p = image * h * w; p < (image + 1) * h * w; ++p) gathered[p][c] += gelu(mean) * weights[p][s.levels];
      }
    for (size_t p = 0; p < tokens.size(); ++p) {
      Numbers x = modulator(gathered[p]);
      for (int64_t c = 0; c < s.channels; ++c) x[c] *= queries[p][c];
      x = output(x);
      for (int64_t c = 0; c < s.channels; ++c) tokens[p][c] += x[c];
      x = widen(normalize(tokens[p]));
      for (double& each : x) each = gelu(each);
      x = narrow(x);
      for (int64_t c = 0; c < s.channels; ++c) tokens[p][c] += x[c];
    }
  }
};

// As src/focalnets/engine/packing.py packs.
class Packing {
 public:
  Packing(int64_t index, const int64_t* numbers, bool scaled)
      : index_(index), panel_(numbers[0]), group_(numbers[1]), element_(numbers[2]), scaled_(scaled) {
    memory_.resize(64);
  }

  void number(int64_t word) { words.push_back(word); }

  void floats(const Numbers& values, int64_t count) {
    words.push_back(add(static_cast<size_t>(count) * 4));
    float* target = reinterpret_cast<float*>(memory_.data() + words.back());
    for (size_t i = 0; i < values.size(); ++i) target[i] = static_cast<float>(values[i]);
  }

  bool layer(const Linear& linear, bool in_parts = false) {
    const int64_t padded = (linear.outputs + panel_ - 1) / panel_ * panel_;
    const int64_t most = in_parts ? hidden_at_once : linear.inputs;
    std::vector<char> packed;
    Numbers scales, offsets;
    for (int64_t first = 0; first < linear.inputs; first += most) {
      const int64_t inputs = std::min(most, linear.inputs - first);
      std::vector<float> part, part_scales(padded), part_offsets(padded);
      for (int64_t n = 0; n < linear.outputs; ++n)
        for (int64_t k = 0; k < inputs; ++k) part.push_back(static_cast<float>(linear.weight[n * linear.inputs + first + k]));
      std::vector<char> place(static_cast<size_t>((inputs + group_ - 1) / group_ * group_ * padded * element_));
      if (focal_engine_pack(index_, part.data(), linear.outputs, inputs, place.data(), part_scales.data(), part_offsets.data()))
        return false;
      packed.insert(packed.end(), place.begin(), place.end());
      scales.insert(scales.end(), part_scales.begin(), part_scales.end());
      offsets.insert(offsets.end(), part_offsets.begin(), part_offsets.end());
    }
    const int64_t parts = static_cast<int64_t>(scales.size());
    words.push_back(add(packed.size()));
    std::memcpy(memory_.data() + words.back(), packed.data(), packed.size());
    floats(linear.bias, parts);
    if (scaled_)
      floats(scales, parts), floats(offsets, parts);
    else
      number(0), number(0);
    number(linear.outputs), number(linear.inputs);
    return true;
  }

  // In memory of cache lines.
  char* memory() {
    char* lines = static_cast<char*>(std::aligned_alloc(64, memory_.size()));
    std::memcpy(lines, memory_.data(), memory_.size());
    return lines;
  }

  std::vector<int64_t> words;

 private:
  int64_t add(size_t bytes) {
    const int64_t place = static_cast<int64_t>(memory_.size());
    memory_.resize(memory_.size() + (bytes + 63) / 64 * 64);
    return place;
  }

  int64_t index_, panel_, group_, element_;
  bool scaled_;
  std::vector<char> memory_;
};

double error_of(int64_t index, const int64_t* numbers, bool scaled, const Sizes& s) {
  const Linear projection(s.channels, s.stride * s.stride * s.features);
  const Numbers factors = draw(s.channels, 0.1, 1.0), shifts = draw(s.channels, 0.1);
  const Numbers images = draw(s.images * s.height * s.width * s.features, 1.0);
  const std::vector<PlainBlock> blocks = {PlainBlock(s), PlainBlock(s)};

  std::vector<Numbers> tokens;
  for (int64_t p = 0; p < s.images * s.down() * s.across(); ++p) {
    const int64_t image = p / (s.down() * s.across()), y = p / s.across() % s.down(), x = p % s.across();
    Numbers patch;
    for (int64_t i = y * s.stride; i < (y + 1) * s.stride; ++i)
      for (int64_t j = x * s.stride; j < (x + 1) * s.stride; ++j)
        for (int64_t f = 0; f < s.features; ++f)
          patch.push_back(i < s.height && j < s.width ? images[((image * s.height + i) * s.width + j) * s.features + f] : 0.0);
    Numbers token = normalize(projection(patch));
    for (int64_t c = 0; c < s.channels; ++c) token[c] = token[c] * factors[c] + shifts[c];
    tokens.push_back(token);
  }
  for (const PlainBlock& block : blocks) block.refine(s, tokens);

  Packing packing(index, numbers, scaled);
  for (int64_t word : {s.stride, s.channels, static_cast<int64_t>(blocks.size())}) packing.number(word);
  bool packed = packing.layer(projection);
  packing.floats(factors, s.channels), packing.floats(shifts, s.channels);
  for (const PlainBlock& block : blocks) {
    for (const Linear* each : {&block.query, &block.context, &block.gates, &block.modulator, &block.output, &block.widen})
      packed = packed && packing.layer(*each);
    packed = packed && packing.layer(block.narrow, true);
    for (int i = 0; i < 6; ++i) packing.number(0);  // no norms of its own, no post norm, no modulation norm
    packing.number(s.levels);
    for (int64_t l = 0; l < s.levels; ++l) {
      packing.floats(block.kernels[l], s.channels * PlainBlock::side(l) * PlainBlock::side(l));
      packing.number(PlainBlock::side(l)), packing.number(PlainBlock::side(l));
    }
  }
  if (!packed) return INFINITY;
  char* memory = packing.memory();
  const std::vector<float> features(images.begin(), images.end());
  std::vector<float> result(tokens.size() * static_cast<size_t>(s.channels));
  focal::Stage stage = {};
  stage.images = s.images, stage.height = s.height, stage.width = s.width, stage.channels = s.features;
  stage.image_stride = s.height * s.width * s.features, stage.row_stride = s.width * s.features;
  stage.column_stride = s.features, stage.channel_stride = 1;
  stage.features = features.data(), stage.packed = memory, stage.layout = packing.words.data();
  stage.threads = 2, stage.tokens = result.data();
  const int32_t status = focal_engine_stage(index, nullptr, &stage);
  std::free(memory);
  if (status != 0) return INFINITY;
  double wrong = 0.0, all = 0.0;
  for (size_t p = 0; p < tokens.size(); ++p)
    for (int64_t c = 0; c < s.channels; ++c) {
      const double difference = result[p * s.channels + c] - tokens[p][c];
      wrong += difference * difference, all += tokens[p][c] * tokens[p][c];
    }
  return std::sqrt(wrong / all);
}

}  // namespace

int main() {
  const Sizes sizes[] = {{2, 21, 30, 3, 4, 40, 2, 90}, {1, 9, 5, 48, 2, 64, 1, 1100}, {3, 4, 4, 5, 1, 7, 0, 9}};
  bool right = true;
  const char* texts[3];
  int64_t numbers[3];
  for (int64_t index = 0; focal_engine(index, texts, numbers); ++index) {
    if (texts[2]) {
      std::printf("%s by %s: %s\n", texts[0], texts[1], texts[2]);
      continue;
    }
    const std::string precision = texts[0];
    const double most = precision == "float32" ? 1e-5 : precision == "bfloat16" ? 0.03 : 0.1;
    for (const Sizes& each : sizes) {
      const double error = error_of(index, numbers, precision == "int8", each);
      const bool fine = error <= most;
      right = right && fine;
      std::printf("%s by %s, %d channels: error %.1e%s\n", texts[0], texts[1], static_cast<int>(each.channels), error,
                  fine ? "" : ", too large");
    }
  }
  return right ? 0 : 1;
}
