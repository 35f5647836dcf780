// The parts of one token's way through a causal network.
#pragma once

#include "causal_forward.h"
#include "causal_network.h"

namespace FOCAL_NAMESPACE {
namespace {

FOCAL_INLINE float sum_of(Vector x) { return sum_lanes(x, Vector{}, Vector{}, Vector{})[0]; }

FOCAL_INLINE float dot(const float* a, const float* b, int64_t size) {
  Vector sum = {};
  for (int64_t c = 0; c < size; c += lanes) {
    const int64_t count = smaller(lanes, size - c);
    sum += load_some_or_all(a + c, count) * load_some_or_all(b + c, count);
  }
  return sum_of(sum);
}

FOCAL_INLINE Vector sigmoid(Vector x) {
  const Vector power = exp2_of(magnitude(x, 80.0f) * -1.442695041f);  // exp(-|x|)
  const Vector positive = 1.0f / (1.0f + power);
  return x < 0.0f ? power * positive : positive;
}

void normalize(const float* source, const focal::Weights& norm, int64_t channels, float* target) {
  Vector sum = {};
  for (int64_t c = 0; c < channels; c += lanes) sum += load_some_or_all(source + c, smaller(lanes, channels - c));
  const float mean = sum_of(sum) / static_cast<float>(channels);
  Vector squares = {};
  for (int64_t c = 0; c < channels; c += lanes) {
    const int64_t count = smaller(lanes, channels - c);
    const Vector x = load_some_or_all(source + c, count) - mean;
    store_some_or_all(target + c, x, count);
    const Vector kept = load_some_or_all(target + c, count);  // lanes without a channel are zero again
    squares += kept * kept;
  }
  const float scale = 1.0f / __builtin_sqrtf(sum_of(squares) / static_cast<float>(channels) + 1e-5f);
  for (int64_t c = 0; c < channels; c += lanes) {
    const int64_t count = smaller(lanes, channels - c);
    const Vector x = load_some_or_all(target + c, count) * scale;
    store_some_or_all(target + c,
                      x * load_some_or_all(norm.weight + c, count) + load_some_or_all(norm.bias + c, count), count);
  }
}

void finish(const focal::Product& p, int64_t sequence, int64_t first, int64_t count, Vector sums) {
  float* target = p.target + sequence * p.outputs + first;
  if (p.layer.bias) sums += load_some_or_all(p.layer.bias + first, count);
  if (p.finish == focal::through_gelu)
    sums = gelu(sums);
  else if (p.finish == focal::through_sigmoid)
    sums = sigmoid(sums);
  else if (p.finish == focal::added)
    sums += load_some_or_all(target, count);
  else if (p.finish == focal::multiplied)
    sums *= load_some_or_all(p.factor + sequence * p.factor_stride + first, count);
  store_some_or_all(target, sums, count);
}

// Rows of the weight are read four at a time, once for all sequences.
void multiply(const focal::Product& p, int64_t first, int64_t last) {
  const int64_t whole = p.inputs / lanes * lanes, rest = p.inputs - whole;
  alignas(64) float sums[lanes];
  for (int64_t output = first; output < last; output += lanes) {
    const int64_t outputs = smaller(lanes, last - output);
    for (int64_t sequence = 0; sequence < p.sequences; ++sequence) {
      const float* source = p.source + sequence * p.inputs;
      for (int64_t part = 0; part < lanes; part += 4) {
        const float* rows[4];
        for (int64_t n = 0; n < 4; ++n)  // rows that are not there repeat the last one
          rows[n] = p.layer.weight + smaller(output + part + n, last - 1) * p.inputs;
        Vector totals[4] = {};
        for (int64_t c = 0; c < whole; c += lanes) {
          const Vector x = load_unaligned(source + c);
          FOCAL_UNROLL
          for (int64_t n = 0; n < 4; ++n) totals[n] += x * load_unaligned(rows[n] + c);
        }
        if (rest > 0) {
          const Vector x = load_some(source + whole, rest);
          for (int64_t n = 0; n < 4; ++n) totals[n] += x * load_some(rows[n] + whole, rest);
        }
        *reinterpret_cast<Quad*>(sums + part) = sum_lanes(totals[0], totals[1], totals[2], totals[3]);
      }
      finish(p, sequence, output, outputs, load(sums));
    }
  }
}

void aggregate(const focal::StepNetwork& net, const focal::StepBlock& block, int64_t sequence, const float* projected,
               const float* decay, float* gathered) {
  const int64_t channels = net.channels, group = channels / net.groups;
  const float *context = projected + channels, *gates = context + channels;
  const auto gate = [&](int64_t level, int64_t c, int64_t count) __attribute__((always_inline)) {
    if (net.groups == 1 || c / group == (c + count - 1) / group) return splat(gates[level * net.groups + c / group]);
    Vector mixed = {};
    for (int64_t lane = 0; lane < count; ++lane) mixed[lane] = gates[level * net.groups + (c + lane) / group];
    return mixed;
  };
  for (int64_t c = 0; c < channels; c += lanes) {
    const int64_t count = smaller(lanes, channels - c);
    Vector level = load_some_or_all(context + c, count), total = {};
    for (int64_t l = 0; l < net.levels; ++l) {
      const int64_t size = net.sizes[l], past = (size - 1) * net.dilations[l];
      float* window = block.windows[l] + sequence * past * channels + c;
      Vector sum = {};
      for (int64_t tap = 0; tap < size; ++tap) {
        const Vector weight = load_some_or_all(block.kernels[l] + tap * channels + c, count);
        const int64_t row = tap * net.dilations[l];
        sum += weight * (row == past ? level : load_some_or_all(window + row * channels, count));
      }
      for (int64_t row = 0; row + 1 < past; ++row)
        store_some_or_all(window + row * channels, load_some_or_all(window + (row + 1) * channels, count), count);
      if (past > 0) store_some_or_all(window + (past - 1) * channels, level, count);
      level = gelu(sum);
      total += gate(l, c, count) * level;
    }
    for (int64_t r = 0; r < net.running; ++r) {
      const int64_t at = (sequence * net.running + r) * channels + c;
      Vector now;
      if (net.decay_kind == focal::mean_of_all) {
        double* sums = static_cast<double*>(block.running) + at;
        const double inverse = 1.0 / static_cast<double>(net.count[sequence] + 1);
        now = Vector{};
        for (int64_t lane = 0; lane < count; ++lane) {
          sums[lane] += static_cast<double>(level[lane]);
          now[lane] = static_cast<float>(sums[lane] * inverse);
        }
      } else {
        float* held = static_cast<float*>(block.running) + at;
        const Vector kept = load_some_or_all(
            net.decay_kind == focal::fixed_decay ? block.fixed_decay + r * channels + c : decay + c, count);
        now = kept * load_some_or_all(held, count) + (1.0f - kept) * level;
        store_some_or_all(held, now, count);
      }
      total += gate(net.levels + r, c, count) * gelu(now);
    }
    store_some_or_all(gathered + c, total, count);
  }
}

void convolve(const focal::StepNetwork& net, const focal::StepBlock& block, int64_t sequence, const float* tokens,
              float* convolved) {
  const int64_t channels = net.channels, past = net.memory_taps - 1;
  float* window = block.memory_window + sequence * past * channels;
  for (int64_t c = 0; c < channels; ++c) {
    float sum = 0.0f;
    for (int64_t tap = 0; tap < past; ++tap)
      sum += window[tap * channels + c] * block.memory_kernel[tap * channels + c];
    convolved[c] = sum + tokens[c] * block.memory_kernel[past * channels + c];
  }
  if (past == 0) return;
  __builtin_memmove(window, window + channels, static_cast<size_t>((past - 1) * channels) * sizeof(float));
  __builtin_memcpy(window + (past - 1) * channels, tokens, static_cast<size_t>(channels) * sizeof(float));
}

inline void bring_to_length_1(float* vector, int64_t size) {
  const float length = __builtin_sqrtf(dot(vector, vector, size));
  const float scale = 1.0f / (length > 1e-12f ? length : 1e-12f);
  for (int64_t c = 0; c < size; ++c) vector[c] *= scale;
}

void remember(const focal::StepNetwork& net, const focal::StepBlock& block, int64_t sequence, const float* projected,
              float* key, float* query, float* read, float* gathered) {
  const int64_t size = net.channels / net.groups, keys = net.memory_keys;
  const float *context = projected + net.channels, *gates = context + net.channels;
  gates += (net.levels + net.running) * net.groups;
  for (int64_t group = 0; group < net.groups; ++group) {
    float *written_under = key + group * keys, *asked = query + group * keys;
    bring_to_length_1(written_under, keys);
    bring_to_length_1(asked, keys);
    const float* value = context + group * size;
    double* written = block.written + (sequence * net.groups + group) * keys * size;
    for (int64_t d = 0; d < size; ++d) read[d] = 0.0f;
    for (int64_t k = 0; k < keys; ++k, written += size)
      for (int64_t d = 0; d < size; ++d) {
        written[d] += static_cast<double>(written_under[k] * value[d]);
        read[d] += asked[k] * static_cast<float>(written[d]);
      }
    const float mean = dot(read, read, size) / static_cast<float>(size);
    const float scale = gates[group] / __builtin_sqrtf(mean + 1e-6f);
    for (int64_t d = 0; d < size; ++d) gathered[group * size + d] += read[d] * scale;
  }
}

// Turns neighbouring channels of a head by angles that grow with the position.
inline void turn(float* head, int64_t channels, int64_t position) {
  const int64_t half = channels / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float speed = __builtin_powf(10000.0f, -static_cast<float>(i) / static_cast<float>(half));
    const float angle = static_cast<float>(position) * speed;
    const float cosine = __builtin_cosf(angle), sine = __builtin_sinf(angle);
    const float first = head[2 * i], second = head[2 * i + 1];
    head[2 * i] = first * cosine - second * sine;
    head[2 * i + 1] = first * sine + second * cosine;
  }
}

void attend(const focal::StepNetwork& net, const focal::StepBlock& block, int64_t sequence, float* projected,
            float* scores, float* gathered) {
  const int64_t size = net.channels / net.heads, places = net.filled + 1;
  const uint8_t* valid = net.valid + sequence * net.places;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(size));
  for (int64_t head = 0; head < net.heads; ++head) {
    float *query = projected + head * size, *key = query + net.channels;
    const float* value = key + net.channels;
    float* keys = block.keys + (sequence * net.heads + head) * net.places * size;
    float* values = block.values + (sequence * net.heads + head) * net.places * size;
    turn(query, size, net.count[sequence]);
    turn(key, size, net.count[sequence]);
    __builtin_memcpy(keys + net.filled * size, key, static_cast<size_t>(size) * sizeof(float));
    __builtin_memcpy(values + net.filled * size, value, static_cast<size_t>(size) * sizeof(float));

    float most = dot(query, keys + net.filled * size, size) * scale;  // the token itself is always valid
    for (int64_t place = 0; place < places; ++place) {
      scores[place] = dot(query, keys + place * size, size) * scale;
      if (valid[place] && scores[place] > most) most = scores[place];
    }
    float total = 0.0f;
    for (int64_t place = 0; place < places; place += lanes) {
      const int64_t count = smaller(lanes, places - place);
      const Vector below = (most - load_some_or_all(scores + place, count)) * 1.442695041f;
      store_some_or_all(scores + place, exp2_of(-magnitude(below, 119.0f)), count);
      for (int64_t i = place; i < place + count; ++i) total += scores[i] = valid[i] ? scores[i] : 0.0f;
    }
    float* target = gathered + head * size;
    for (int64_t c = 0; c < size; c += lanes) {
      const int64_t count = smaller(lanes, size - c);
      Vector sum = {};
      for (int64_t place = 0; place < places; ++place)
        if (valid[place]) sum += scores[place] * load_some_or_all(values + place * size + c, count);
      store_some_or_all(target + c, sum / total, count);
    }
  }
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
