// Front-to-back blending of one tile.
#pragma once
#include <climits>

#include "tiles.hpp"

namespace KERNEL_ISA {

static void fill_empty_tile(const Context& context, const ForwardArguments& arguments, int tile_index, int group) {
  const TilePosition tile(context, tile_index);
  const int width = context.camera.width, planes = std::min(GROUP, context.channels - GROUP * group);
  const size_t area = (size_t)width * context.camera.height;
  const auto fill = [&](float* plane, float value) {
    for (int y = 0; y < tile.height; y++) std::fill_n(plane + (size_t)(tile.y + y) * width + tile.x, tile.width, value);
  };
  for (int k = 0; k < planes; k++)
    fill(arguments.image + (GROUP * group + k) * area, context.background.data()[GROUP * group + k]);
  if (group == 0 && arguments.alpha) fill(arguments.alpha, 0.0f);
}

// Blends one group of three channels into one tile, and leaves behind what the backward pass needs: the masks, the
// final transmittance, and where pixels were saturated.
static void blend_tile(Context& context, const ForwardArguments& arguments, int tile_index, int group) {
  const int first = context.tile_first.data()[tile_index];
  const int count = context.tile_first.data()[tile_index + 1] - first;
  if (!count) return fill_empty_tile(context, arguments, tile_index, group);
  const TilePosition tile(context, tile_index);
  const float tile_x = (float)tile.x, tile_y = (float)tile.y;
  const Entry* entries = context.entries.data() + first;
  const Record* records = context.records.data();
  uint64_t* masks = context.masks.data() + first;
  float* final_transmittance = context.transmittance.data() + (size_t)tile_index * PIXELS_PER_TILE;
  int32_t* done = context.done.data() + (size_t)tile_index * PIXELS_PER_TILE;

  // Masks in a pass of their own: the blending loop's trip counts are then known early, and mispredicting them is
  // cheap.
  if (group == 0)
    for (int k = 0; k < count; k++) {
      if (k + 8 < count) __builtin_prefetch(&records[entries[k + 8].gaussian]);
      masks[k] = block_mask(records[entries[k].gaussian], tile.x, tile.y);
    }

  // The tile's state lives on the stack (8 KB): thread_local would cost a call per access in a shared library.
  struct alignas(64) Block {
    float transmittance[LANES], red[LANES], green[LANES], blue[LANES];
  };
  alignas(64) Block storage[BLOCKS_PER_TILE];
  Block* __restrict blocks = storage;
  for (int b = 0; b < BLOCKS_PER_TILE; b++) {
    store_aligned(blocks[b].transmittance, splat(1.0f));
    store_aligned(blocks[b].red, splat(0.0f));
    store_aligned(blocks[b].green, splat(0.0f));
    store_aligned(blocks[b].blue, splat(0.0f));
  }

  uint64_t active = ~0ull;  // blocks with a pixel that is not saturated
  bool any_done = false;
  Splat g;
  int k = 0;
  for (; k < count; k++) {
    if (k + 6 < count) __builtin_prefetch(&records[entries[k + 6].gaussian]);
    uint64_t rest = masks[k] & active;
    if (!rest) {
      if (!active) break;
      continue;
    }
    broadcast(records[entries[k].gaussian], tile_x, tile_y, g);
    do {
      const size_t b = __builtin_ctzll(rest);
      rest &= rest - 1;
      Block& block = blocks[b];
      const f8 p = log2_alpha(g, center_x(b) - g.mean_x, center_y(b) - g.mean_y);
      const f8 alpha = keep(p >= LOG2_ALPHA_MIN, min(exp2(p), splat(ALPHA_MAX)));
      // The transmittance of a saturated pixel is NaN, for which both comparisons are false.
      const f8 before = load_aligned(block.transmittance);
      const f8 full_weight = alpha * before, after = before - full_weight;
      const i8 goes_on = after > TRANSMITTANCE_MIN, ends = after <= TRANSMITTANCE_MIN;
      const f8 weight = keep(goes_on, full_weight);
      f8 next = select(goes_on, after, before);
      if (UNLIKELY(lane_bits(ends))) {
        if (!any_done) {
          any_done = true;
          for (int j = 0; j < PIXELS_PER_TILE; j += LANES) store_int(done + j, splat_int(INT_MAX));
        }
        int32_t* block_done = done + LANES * b;
        store_int(block_done, select_int(ends, splat_int(k), load_int(block_done)));
        store(final_transmittance + LANES * b, select(ends, before, load(final_transmittance + LANES * b)));
        next = select(ends, splat(__builtin_nanf("")), next);
        if (lane_bits(next != next) == 0xff) active &= ~(1ull << b);
      }
      store_aligned(block.red, load_aligned(block.red) + weight * g.red);
      store_aligned(block.green, load_aligned(block.green) + weight * g.green);
      store_aligned(block.blue, load_aligned(block.blue) + weight * g.blue);
      store_aligned(block.transmittance, next);
    } while (rest);
  }
  context.tile_blended.data()[tile_index] = any_done ? -k : k;

  const int width = context.camera.width, planes = std::min(GROUP, context.channels - GROUP * group);
  const size_t area = (size_t)width * context.camera.height;
  const float* background = context.background.data() + GROUP * group;
  for (int b = 0; b < BLOCKS_PER_TILE; b++) {
    if (!tile.has(b)) continue;
    const Block& block = blocks[b];
    const f8 kept = load_aligned(block.transmittance);
    const f8 transmittance = select(kept != kept, load(final_transmittance + LANES * b), kept);
    store(final_transmittance + LANES * b, transmittance);
    const float* colors[GROUP] = {block.red, block.green, block.blue};
    for (int c = 0; c < planes; c++)
      store_block(arguments.image + (GROUP * group + c) * area, width, tile, b,
                  load_aligned(colors[c]) + transmittance * background[c]);
    if (group == 0 && arguments.alpha) store_block(arguments.alpha, width, tile, b, 1.0f - transmittance);
  }
}

}  // namespace KERNEL_ISA
