// Rows of maps in scratch memory, one vector of channels at a time, and what moves them in and out.
#pragma once

#include "problem.h"
#include "vector.h"

namespace FOCAL_NAMESPACE {
namespace {

using focal::Plan;
using focal::Problem;
using focal::RingShape;
using focal::Strides;

struct Ring {
  float* memory;
  int64_t depth, left, row_floats, vectors;

  Ring() = default;
  Ring(float* scratch, const RingShape& shape, int64_t vectors_per_block)
      : memory(scratch + shape.offset),
        depth(shape.depth),
        left(shape.left),
        row_floats(shape.row_floats),
        vectors(vectors_per_block) {}

  int64_t slot(int64_t y) const { return static_cast<uint32_t>(y) % static_cast<uint32_t>(depth); }
  float* row_in(int64_t slot, int64_t vector) const {
    return memory + (slot * vectors + vector) * row_floats + left * lanes;
  }

  // Column 0 of a row of the map; the row must be one of the last `depth` ones written.
  float* row(int64_t y, int64_t vector) const { return row_in(slot(y), vector); }
};

// The channels of one task: `vectors` vectors from `first` on, the last of which may be partial.
struct ChannelBlock {
  int64_t first, vectors, channels;

  ChannelBlock(const Plan& plan, int64_t block)
      : first(block * plan.vectors_per_block),
        vectors(smaller(plan.vectors_per_block, plan.vectors - first)),
        channels(plan.problem->channels) {}

  int64_t channel(int64_t vector) const { return (first + vector) * lanes; }
  int64_t all_channels() const { return smaller(vectors * lanes, channels - channel(0)); }
  int64_t count(int64_t vector) const { return smaller(lanes, channels - channel(vector)); }
};

FOCAL_INLINE int64_t offset_of(const Strides& strides, int64_t image, int64_t row) {
  return image * strides.image + row * strides.row;
}

// A row of the mask, or null if every token is valid.
struct MaskRow {
  const uint8_t* valid = nullptr;
  int64_t stride = 0;

  MaskRow() = default;
  MaskRow(const Problem& problem, int64_t image, int64_t y)
      : valid(problem.mask ? problem.mask + offset_of(problem.mask_strides, image, y) : nullptr),
        stride(problem.mask_strides.column) {}

  explicit operator bool() const { return valid != nullptr; }
  bool operator[](int64_t x) const { return valid[x * stride] != 0; }
};

void clear_masked(float* row, const MaskRow& mask, int64_t width) {
  if (!mask) return;
  for (int64_t x = 0; x < width; ++x)
    if (!mask[x]) store(row + x * lanes, Vector{});
}

template <class Element>
void pack_row(const Element* source, int64_t stride, int64_t count, const MaskRow& mask, int64_t width, float* row) {
  if (count == lanes)
    for (int64_t x = 0; x < width; ++x) store(row + x * lanes, load_unaligned(source + x * stride));
  else
    for (int64_t x = 0; x < width; ++x) store(row + x * lanes, load_some(source + x * stride, count));
  clear_masked(row, mask, width);
}

// Starts to fetch a block's channels of a row that will soon be read (or written): the tokens of a row lie too far
// apart for the processor to foresee.
template <class Element>
FOCAL_INLINE void prefetch_row(const Element* row, int64_t stride, int64_t channels, int64_t width, bool to_write) {
  constexpr int64_t line = 64 / sizeof(Element);
  for (int64_t x = 0; x < width; ++x)
    for (int64_t channel = 0; channel < channels; channel += line)
      if (to_write)
        __builtin_prefetch(row + x * stride + channel, 1);
      else
        __builtin_prefetch(row + x * stride + channel, 0);
}

template <class Element>
void unpack_row(const float* row, int64_t count, int64_t width, Element* target, int64_t stride) {
  if (count == lanes)
    for (int64_t x = 0; x < width; ++x) store_unaligned(target + x * stride, load(row + x * lanes));
  else
    for (int64_t x = 0; x < width; ++x) store_some(target + x * stride, load(row + x * lanes), count);
}

struct RowRange {
  int64_t first, last;  // last is excluded

  // The rows of a band and `halo` rows around it, as far as the map has them.
  RowRange(const Plan& plan, int64_t band, int64_t halo)
      : first(larger(0, plan.problem->first_row + band * plan.band_rows - halo)),
        last(smaller(plan.problem->height,
                     smaller(plan.problem->last_row, plan.problem->first_row + (band + 1) * plan.band_rows) + halo)) {}

  bool has(int64_t y) const { return y >= first && y < last; }
};

}  // namespace
}  // namespace FOCAL_NAMESPACE
