// One block of channels of one sequence, tile by tile through all levels: no level is ever stored as a whole.
#pragma once

#include "causal.h"
#include "gelu.h"

namespace FOCAL_NAMESPACE {
namespace {

using focal::Causal;
using Plan = focal::CausalPlan;

typedef float Half __attribute__((vector_size(FOCAL_VECTOR_BYTES / 2), may_alias));
typedef double Doubles __attribute__((vector_size(FOCAL_VECTOR_BYTES), may_alias));

// One vector of double precision: sums of a million positions keep the digits that their mean needs.
struct Sums {
  Doubles low, high;
};

FOCAL_INLINE Sums widen(Vector x) {
  Half halves[2];
  __builtin_memcpy(halves, &x, sizeof x);
  return {__builtin_convertvector(halves[0], Doubles), __builtin_convertvector(halves[1], Doubles)};
}
FOCAL_INLINE Vector narrow(const Sums& sums) {
  const Half halves[2] = {__builtin_convertvector(sums.low, Half), __builtin_convertvector(sums.high, Half)};
  Vector x;
  __builtin_memcpy(&x, halves, sizeof x);
  return x;
}
FOCAL_INLINE Sums operator+(const Sums& a, const Sums& b) { return {a.low + b.low, a.high + b.high}; }
FOCAL_INLINE Sums operator-(const Sums& a, const Sums& b) { return {a.low - b.low, a.high - b.high}; }
FOCAL_INLINE Sums operator*(const Sums& a, double factor) { return {a.low * factor, a.high * factor}; }

FOCAL_INLINE Vector load_some_or_all(const float* source, int64_t count) {
  return count == lanes ? load_unaligned(source) : load_some(source, count);
}
FOCAL_INLINE void store_some_or_all(float* target, Vector value, int64_t count) {
  if (count == lanes)
    store_unaligned(target, value);
  else
    store_some(target, value, count);
}

// Scratch of one vector of channels. Maps of a tile have a row of `lanes` numbers a position; what a kernel convolves
// begins with the positions before the tile that it reaches back to.
struct Tile {
  float* level[focal::max_causal_levels + 1];       // Z_l: past[l] + tile rows
  float* running[focal::max_causal_levels];         // S_r: one row before the tile, then its own
  float* sum;                                       // the result of the tile; backwards: the gradient of Z_l
  float* upstream;                                  // backwards only, all below
  float* slope[focal::max_causal_levels + 1];       // gelu'(U_l), l = 1..L
  float* gradient[focal::max_causal_levels + 1];    // of U_l: tile rows, then past[l - 1] of the tile after it
  float* running_slope[focal::max_causal_levels];   // gelu'(S_r)
  float* kernels;                                   // (taps, lanes): their gradients so far
  float* decay;                                     // (R, lanes): of a fixed decay
  float* carried;                                   // (R, lanes) twice: gradient that the tile after sends to S_r, or
                                                    // to the sum (doubles)
};

// Lays out the scratch of a vector from `next` on; returns the floats that it takes.
inline int64_t lay_tile(const Plan& plan, float* first, Tile* tile) {
  const Causal& p = *plan.problem;
  float* next = first;
  const auto rows = [&](int64_t count) {
    float* here = next;
    next += count * lanes;
    return here;
  };
  for (int64_t l = 0; l <= p.levels; ++l) tile->level[l] = rows(plan.past[l] + p.tile);
  for (int64_t r = 0; r < p.running; ++r) tile->running[r] = rows(1 + p.tile);
  tile->sum = rows(p.tile);
  if (plan.gradients) {
    tile->upstream = rows(p.tile);
    for (int64_t l = 1; l <= p.levels; ++l) {
      tile->slope[l] = rows(p.tile);
      tile->gradient[l] = rows(p.tile + plan.past[l - 1]);
    }
    for (int64_t r = 0; r < p.running; ++r) tile->running_slope[r] = rows(p.tile);
    tile->kernels = rows(plan.taps);
    tile->decay = rows(p.running);
  }
  tile->carried = rows(2 * p.running);
  return next - first;
}

// Gate products of a tile (tile, L + R, lanes) and reciprocals of the counts (tile) stand before the vectors.
inline int64_t shared_floats(const Plan& plan) {
  const Causal& p = *plan.problem;
  return (plan.gradients ? p.tile * (p.levels + p.running) * lanes : 0) + ((2 * p.tile + lanes - 1) / lanes) * lanes;
}

void lay_scratch(Plan& plan) {
  Tile tile;
  alignas(64) float here[lanes];
  plan.vector_floats = lay_tile(plan, here, &tile);
  plan.scratch_floats = shared_floats(plan) + plan.vectors_per_block * plan.vector_floats;
  plan.scratch_floats = (plan.scratch_floats + 15) / 16 * 16;
}

// Positions first .. first + count - 1 of one sequence.
struct Span {
  int64_t sequence, first, count;
  const uint8_t* mask;  // of the first position, or null
  bool valid(int64_t i) const { return !mask || mask[i]; }
};

inline Span span_of(const Causal& p, int64_t sequence, int64_t tile) {
  const int64_t first = tile * p.tile;
  return {sequence, first, smaller(p.tile, p.length - first), p.mask ? p.mask + sequence * p.length + first : nullptr};
}

// Reciprocals of the number of valid positions up to each one; returns the number after the last.
inline int64_t invert_counts(const Span& span, int64_t count, double* inverse) {
  for (int64_t i = 0; i < span.count; ++i) {
    count += span.valid(i);
    inverse[i] = 1.0 / static_cast<double>(count > 0 ? count : 1);
  }
  return count;
}

FOCAL_INLINE void load_rows(const float* source, int64_t stride, const Span& span, int64_t count, float* target) {
  for (int64_t i = 0; i < span.count; ++i)
    store(target + i * lanes, span.valid(i) ? load_some_or_all(source + i * stride, count) : Vector{});
}

// finish(i, U_i) for every position of the tile; `before` are past + tile rows.
template <class Finish>
FOCAL_INLINE void convolve(const float* before, const float* taps, int64_t size, int64_t dilation, int64_t positions,
                           const Finish& finish) {
  const int64_t step = dilation * lanes;
  int64_t i = 0;
  for (; i + 4 <= positions; i += 4) {
    const float* source = before + i * lanes;
    Vector sums[4] = {};
    FOCAL_KEEP_LOOP
    for (int64_t tap = 0; tap < size; ++tap) {
      const Vector weight = load(taps + tap * lanes);
      FOCAL_UNROLL
      for (int64_t n = 0; n < 4; ++n) sums[n] += weight * load(source + tap * step + n * lanes);
    }
    FOCAL_UNROLL
    for (int64_t n = 0; n < 4; ++n) finish(i + n, sums[n]);
  }
  for (; i < positions; ++i) {
    Vector sum = {};
    for (int64_t tap = 0; tap < size; ++tap) sum += load(taps + tap * lanes) * load(before + i * lanes + tap * step);
    finish(i, sum);
  }
}

inline void zero_where_invalid(const Span& span, float* rows) {
  if (span.mask)
    for (int64_t i = 0; i < span.count; ++i)
      if (!span.mask[i]) store(rows + i * lanes, Vector{});
}

// S_r of every position of a tile; the row before it holds what was before, for the mean `sums` does.
inline void run_along(const Causal& p, const Span& span, const Tile& tile, const double* inverse, int64_t channel,
                      int64_t count, Sums* sums) {
  const float* top = tile.level[p.levels];
  for (int64_t r = 0; r < p.running; ++r) {
    float* running = tile.running[r];
    if (p.decay_kind == focal::mean_of_all) {
      for (int64_t i = 0; i < span.count; ++i) {
        *sums = *sums + widen(load(top + i * lanes));  // zero where not valid
        store(running + (i + 1) * lanes, narrow(*sums * inverse[i]));
      }
      continue;
    }
    Vector held = load(running);
    const float* decays = p.decay_kind == focal::fixed_decay
                              ? p.decay + r * p.channels + channel
                              : p.decay + span.sequence * p.decay_sequence + span.first * p.decay_position + channel;
    const int64_t stride = p.decay_kind == focal::fixed_decay ? 0 : p.decay_position;
    for (int64_t i = 0; i < span.count; ++i) {
      if (span.valid(i)) {
        const Vector decay = load_some_or_all(decays + i * stride, count), now = load(top + i * lanes);
        held = decay * held + (1.0f - decay) * now;
      }
      store(running + (i + 1) * lanes, held);
    }
  }
}

// Moves the last `past` of past + count rows to the front.
inline void keep_past(float* rows, int64_t past, int64_t count) {
  if (past > 0) __builtin_memmove(rows, rows + count * lanes, static_cast<size_t>(past * lanes) * sizeof(float));
}

void forward(const Plan& plan, int64_t task, float* scratch) {
  const Causal& p = *plan.problem;
  const focal::CausalResult& result = *plan.result;
  const int64_t sequence = task / plan.blocks, block = task % plan.blocks;
  const int64_t first_vector = block * plan.vectors_per_block;
  const int64_t last_vector = smaller(first_vector + plan.vectors_per_block, plan.vectors);
  const int64_t group = first_vector * lanes / (p.channels / p.groups);
  double* inverse = reinterpret_cast<double*>(scratch);
  float* vectors = scratch + shared_floats(plan);
  const bool mean = p.decay_kind == focal::mean_of_all;
  Tile tile;

  for (int64_t vector = first_vector; vector < last_vector; ++vector) {
    const int64_t channel = vector * lanes, count = smaller(lanes, p.channels - channel);
    lay_tile(plan, vectors + (vector - first_vector) * plan.vector_floats, &tile);
    for (int64_t l = 0; l < p.levels; ++l)
      for (int64_t i = 0; i < plan.past[l]; ++i)
        store(tile.level[l] + i * lanes,
              p.windows[l] ? load_some_or_all(p.windows[l] + (sequence * plan.past[l] + i) * p.channels + channel, count)
                           : Vector{});
    for (int64_t r = 0; r < p.running; ++r) {
      const int64_t at = (sequence * p.running + r) * p.channels + channel;
      double* sums = reinterpret_cast<double*>(tile.carried) + r * lanes;
      store(tile.running[r], Vector{});
      if (mean)
        for (int64_t lane = 0; lane < lanes; ++lane)
          sums[lane] =
              p.running_before && lane < count ? static_cast<const double*>(p.running_before)[at + lane] : 0.0;
      else if (p.running_before)
        store(tile.running[r], load_some_or_all(static_cast<const float*>(p.running_before) + at, count));
    }
  }

  int64_t counted = p.count ? p.count[sequence] : 0;
  for (int64_t index = 0; index < plan.tiles; ++index) {
    const Span span = span_of(p, sequence, index);
    counted = invert_counts(span, counted, inverse);
    const float* gates = p.gates + sequence * p.gates_sequence + span.first * p.gates_position + group;
    for (int64_t vector = first_vector; vector < last_vector; ++vector) {
      const int64_t channel = vector * lanes, count = smaller(lanes, p.channels - channel);
      lay_tile(plan, vectors + (vector - first_vector) * plan.vector_floats, &tile);
      Sums sums;
      __builtin_memcpy(&sums, tile.carried, sizeof sums);
      if (result.checkpoints) {
        float* rows = result.checkpoints +
                      (sequence * plan.tiles + index) * plan.checkpoint_rows * p.channels + channel;
        for (int64_t l = 0; l < p.levels; ++l)
          for (int64_t i = 0; i < plan.past[l]; ++i)
            store_some_or_all(rows + (plan.first_row[l] + i) * p.channels, load(tile.level[l] + i * lanes), count);
        rows += plan.window_rows * p.channels;
        if (mean) {
          const Vector most = narrow(sums);
          store_some_or_all(rows, most, count);
          store_some_or_all(rows + p.channels, narrow(sums - widen(most)), count);
        } else {
          for (int64_t r = 0; r < p.running; ++r)
            store_some_or_all(rows + r * p.channels, load(tile.running[r]), count);
        }
      }

      load_rows(p.context + sequence * p.context_sequence + span.first * p.context_position + channel,
                p.context_position, span, count, tile.level[0] + plan.past[0] * lanes);
      for (int64_t i = 0; i < span.count; ++i) store(tile.sum + i * lanes, Vector{});
      for (int64_t l = 1; l <= p.levels; ++l) {
        float* level = tile.level[l] + plan.past[l] * lanes;
        const float* gate = gates + (l - 1) * p.groups;
        convolve(tile.level[l - 1], plan.packed_kernels + (vector * plan.taps + plan.first_tap[l - 1]) * lanes,
                 p.sizes[l - 1], p.dilations[l - 1], span.count, [&](int64_t i, Vector u) __attribute__((always_inline)) {
                   const Vector z = gelu(u);
                   store(level + i * lanes, z);
                   store(tile.sum + i * lanes, load(tile.sum + i * lanes) + splat(gate[i * p.gates_position]) * z);
                 });
        zero_where_invalid(span, level);
      }
      run_along(p, span, tile, inverse, channel, count, &sums);
      for (int64_t r = 0; r < p.running; ++r) {
        const float* gate = gates + (p.levels + r) * p.groups;
        for (int64_t i = 0; i < span.count; ++i)
          store(tile.sum + i * lanes, load(tile.sum + i * lanes) + splat(gate[i * p.gates_position]) *
                                                                        gelu(load(tile.running[r] + (i + 1) * lanes)));
      }
      zero_where_invalid(span, tile.sum);
      float* target = result.result + (sequence * p.length + span.first) * p.channels + channel;
      for (int64_t i = 0; i < span.count; ++i)
        store_some_or_all(target + i * p.channels, load(tile.sum + i * lanes), count);

      for (int64_t l = 0; l < p.levels; ++l) keep_past(tile.level[l], plan.past[l], span.count);
      for (int64_t r = 0; r < p.running; ++r)
        store(tile.running[r], load(tile.running[r] + span.count * lanes));
      __builtin_memcpy(tile.carried, &sums, sizeof sums);
    }
  }
  for (int64_t vector = first_vector; vector < last_vector; ++vector) {
    const int64_t channel = vector * lanes, count = smaller(lanes, p.channels - channel);
    lay_tile(plan, vectors + (vector - first_vector) * plan.vector_floats, &tile);
    for (int64_t l = 0; l < p.levels; ++l)
      for (int64_t i = 0; i < plan.past[l]; ++i)
        store_some_or_all(result.windows[l] + (sequence * plan.past[l] + i) * p.channels + channel,
                          load(tile.level[l] + i * lanes), count);
    for (int64_t r = 0; r < p.running; ++r) {
      const int64_t at = (sequence * p.running + r) * p.channels + channel;
      if (mean)
        __builtin_memcpy(static_cast<double*>(result.running) + at, tile.carried,
                         static_cast<size_t>(count) * sizeof(double));
      else
        store_some_or_all(static_cast<float*>(result.running) + at, load(tile.running[r]), count);
    }
  }
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
