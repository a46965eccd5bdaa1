// How much of each Gaussian a view shows: its blend weight, summed over pixels (spatialavatar/refine/unseen.py).
#pragma once
#include "refine_context.hpp"
#include "render.hpp"

namespace KERNEL_ISA {

// The weights of `blend_tile`, summed for each entry instead of each pixel.
static void weigh_tile(Context& context, const uint8_t* nobody, int tile_index) {
  const int first = context.tile_first.data()[tile_index];
  const int count = context.tile_first.data()[tile_index + 1] - first;
  const TilePosition tile(context, tile_index);
  const float tile_x = (float)tile.x, tile_y = (float)tile.y;
  const Entry* entries = context.entries.data() + first;
  const Record* records = context.records.data();
  float* weights = context.weights.data();
  struct alignas(64) Block {
    float transmittance[LANES], inside[LANES], nobody[LANES];
  };
  alignas(64) Block blocks[BLOCKS_PER_TILE];
  for (int b = 0; b < BLOCKS_PER_TILE; b++) {
    f8 inside = splat(0.0f), empty = splat(0.0f);
    for (int lane = 0; lane < LANES; lane++) {
      const int x = (b & 7) * BLOCK_WIDTH + lane % BLOCK_WIDTH, y = (b >> 3) * BLOCK_HEIGHT + lane / BLOCK_WIDTH;
      if (x >= tile.width || y >= tile.height) continue;
      inside[lane] = 1.0f;
      empty[lane] = nobody[(size_t)(tile.y + y) * context.camera.width + tile.x + x] ? 1.0f : 0.0f;
    }
    store_aligned(blocks[b].transmittance, splat(1.0f));
    store_aligned(blocks[b].inside, inside);
    store_aligned(blocks[b].nobody, empty);
  }
  uint64_t active = ~0ull;  // blocks with a pixel that is not saturated
  Splat g;
  for (int k = 0; k < count; k++) {
    if (k + 6 < count) __builtin_prefetch(&records[entries[k + 6].gaussian]);
    const Record& record = records[entries[k].gaussian];
    float* out = weights + 2 * (size_t)entries[k].slot;
    f8 shown = splat(0.0f), spilt = splat(0.0f);
    uint64_t rest = active ? block_mask(record, tile.x, tile.y) & active : 0;
    if (rest) broadcast(record, tile_x, tile_y, g);
    for (; rest; rest &= rest - 1) {
      const size_t b = __builtin_ctzll(rest);
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
        next = select(ends, splat(__builtin_nanf("")), next);
        if (lane_bits(next != next) == 0xff) active &= ~(1ull << b);
      }
      store_aligned(block.transmittance, next);
      shown += weight * load_aligned(block.inside);
      spilt += weight * load_aligned(block.nobody);
    }
    out[0] = sum_lanes(shown);
    out[1] = sum_lanes(spilt);
  }
}

static void shown(Context& context, const ShownArguments& arguments) {
  const int n = context.count, chunks = (n + CHUNK - 1) / CHUNK;
  const float nothing[GROUP] = {};
  ForwardArguments forward{};
  forward.gaussians = arguments.gaussians;
  // Any three finite numbers a row do for colours, which nobody looks at.
  forward.gaussians.colors = arguments.gaussians.positions;
  context.channels = GROUP;
  prepare_projection(context, nothing);
  parallel_for(chunks, [&](int chunk) { project_chunk(context, forward, chunk); });
  sort_projected(context);
  context.weights.reserve(2 * (size_t)context.slots);
  const int32_t* order = context.tile_order.data();
  parallel_for(context.tiles_x * context.tiles_y, [&](int k) { weigh_tile(context, arguments.nobody, order[k]); });
  parallel_for(chunks, [&](int chunk) {
    const float* weight = context.weights.data() + 2 * (size_t)context.chunk_first_slot.data()[chunk];
    for (int i = chunk * CHUNK, end = std::min(n, i + CHUNK); i < end; i++) {
      float all = 0.0f, outside = 0.0f;
      for (int k = 0; k < context.records.data()[i].tiles; k++, weight += 2) {
        all += weight[0];
        outside += weight[1];
      }
      arguments.shown[i] = all;
      arguments.spilt[i] = outside;
    }
  });
}

}  // namespace KERNEL_ISA
