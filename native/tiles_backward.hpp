// The derivative of blending one tile: back to front, undoing the transmittance entry by entry.
#pragma once
#include <climits>
#include <cstring>
#include <type_traits>

#include "tiles.hpp"

namespace KERNEL_ISA {

// dLoss/dBackground of a tile: the sum over its pixels of transmittance times the image's gradient.
static void background_gradient(Context& context, const BackwardArguments& arguments, int tile_index, int group) {
  const TilePosition tile(context, tile_index);
  const int width = context.camera.width, planes = std::min(GROUP, context.channels - GROUP * group);
  const size_t area = (size_t)width * context.camera.height;
  const bool empty = context.tile_first.data()[tile_index] == context.tile_first.data()[tile_index + 1];
  const float* transmittance = context.transmittance.data() + (size_t)tile_index * PIXELS_PER_TILE;
  double* partial = context.background_partials.data() + (size_t)tile_index * GROUP;
  for (int c = 0; c < planes; c++) {
    f8 sum = splat(0.0f);
    for (int b = 0; b < BLOCKS_PER_TILE; b++) {
      if (!tile.has(b)) continue;
      const f8 gradient = load_block(arguments.image + (GROUP * group + c) * area, width, tile, b);
      sum += empty ? gradient : gradient * load(transmittance + LANES * b);
    }
    partial[c] = sum_lanes(sum);
  }
}

// For pixel colour C = sum_k w_k c_k + T_end * background with w_k = alpha_k T_k and T_k = prod_{j<k} (1 - alpha_j):
//   dC/d(alpha_k) = T_k c_k - Q_k / (1 - alpha_k),   Q_k = sum_{j>k} w_j c_j + T_end * background,
// and the same for the image's alpha, whose "colour" is 1 over a background of 0. Here Q is kept already multiplied
// with the pixel's gradient, so it is one number per pixel.
//
// HasDone: some pixels of this tile were saturated, so each has its own last entry.
template <bool HasDone>
static void unblend_tile(Context& context, const BackwardArguments& arguments, int tile_index, int group) {
  const int first = context.tile_first.data()[tile_index];
  const int count = context.tile_first.data()[tile_index + 1] - first;
  const TilePosition tile(context, tile_index);
  const float tile_x = (float)tile.x, tile_y = (float)tile.y;
  const Entry* entries = context.entries.data() + first;
  const Record* records = context.records.data();
  const uint64_t* masks = context.masks.data() + first;
  const float* final_transmittance = context.transmittance.data() + (size_t)tile_index * PIXELS_PER_TILE;
  const int32_t* done = context.done.data() + (size_t)tile_index * PIXELS_PER_TILE;
  const float* background = context.background.data() + GROUP * group;
  const int width = context.camera.width, planes = std::min(GROUP, context.channels - GROUP * group);
  const size_t area = (size_t)width * context.camera.height;
  const int blended = HasDone ? -context.tile_blended.data()[tile_index] : context.tile_blended.data()[tile_index];
  GradientSlot* slots = context.gradients.data();

  struct alignas(64) Block {
    float transmittance[LANES], behind[LANES];                  // T and Q
    float red[LANES], green[LANES], blue[LANES], alpha[LANES];  // the pixels' gradients
  };
  alignas(64) Block storage[BLOCKS_PER_TILE];
  Block* __restrict blocks = storage;
  uint64_t active = 0;                // blocks with a pixel that the current entry was blended into
  uint16_t pending[BLOCKS_PER_TILE];  // the others, the one that comes to life next first
  int last_entry[BLOCKS_PER_TILE], pending_count = 0;
  for (int b = 0; b < BLOCKS_PER_TILE; b++) {
    Block& block = blocks[b];
    f8 gradient[GROUP] = {}, alpha_gradient = splat(0.0f), transmittance = splat(1.0f), behind = splat(0.0f);
    if (tile.has(b)) {
      if (arguments.image)
        for (int c = 0; c < planes; c++)
          gradient[c] = load_block(arguments.image + (GROUP * group + c) * area, width, tile, b);
      if (arguments.alpha && group == 0) alpha_gradient = load_block(arguments.alpha, width, tile, b);
      transmittance = load(final_transmittance + LANES * b);
      behind =
          transmittance * (background[0] * gradient[0] + background[1] * gradient[1] + background[2] * gradient[2]);
      int latest = INT_MAX;
      if (HasDone) {
        latest = 0;
        for (int lane = 0; lane < LANES; lane++) latest = std::max(latest, done[LANES * b + lane]);
      }
      if (latest >= blended) {
        active |= 1ull << b;
      } else {
        last_entry[b] = latest;
        pending[pending_count++] = (uint16_t)b;
      }
    }
    store_aligned(block.transmittance, transmittance);
    store_aligned(block.behind, behind);
    store_aligned(block.red, gradient[0]);
    store_aligned(block.green, gradient[1]);
    store_aligned(block.blue, gradient[2]);
    store_aligned(block.alpha, alpha_gradient);
  }
  if (HasDone) std::sort(pending, pending + pending_count, [&](int x, int y) { return last_entry[x] > last_entry[y]; });

  for (int k = count - 1; k >= blended; k--) std::memset(&slots[entries[k].slot], 0, sizeof(GradientSlot));
  int next_pending = 0;
  Splat g;
  alignas(32) float exponentials[BLOCKS_PER_TILE * LANES];
  for (int k = blended - 1; k >= 0; k--) {
    if (HasDone)
      while (next_pending < pending_count && last_entry[pending[next_pending]] > k)
        active |= 1ull << pending[next_pending++];
    if (k >= 6) __builtin_prefetch(&records[entries[k - 6].gaussian]);
    GradientSlot& slot = slots[entries[k].slot];
    const uint64_t touched = masks[k] & active;
    if (!touched) {
      std::memset(&slot, 0, sizeof slot);
      continue;
    }
    const Record& record = records[entries[k].gaussian];
    broadcast(record, tile_x, tile_y, g);
    f8 s0 = splat(0.0f), sx = s0, sy = s0, sxx = s0, sxy = s0, syy = s0, red = s0, green = s0, blue = s0;

    // Two loops over the blocks, exponentials first: two short chains of dependent operations beat one long one.
    float* exponential = exponentials;
    for (uint64_t rest = touched; rest; rest &= rest - 1) {
      const size_t b = __builtin_ctzll(rest);
      const f8 p = log2_alpha(g, center_x(b) - g.mean_x, center_y(b) - g.mean_y);
      i8 inside = p >= LOG2_ALPHA_MIN;
      if (HasDone) inside &= load_int(done + LANES * b) > k;
      store_aligned(exponential, keep(inside, exp2(p)));
      exponential += LANES;
    }
    exponential = exponentials;
    const auto accumulate = [&](auto clamps) __attribute__((always_inline)) {
      for (uint64_t rest = touched; rest; rest &= rest - 1) {
        const size_t b = __builtin_ctzll(rest);
        Block& block = blocks[b];
        const f8 e = load_aligned(exponential);
        exponential += LANES;
        const f8 alpha = clamps ? min(e, splat(ALPHA_MAX)) : e;
        const f8 inverse = 1.0f / (1.0f - alpha);
        const f8 transmittance = load_aligned(block.transmittance) * inverse;  // before this entry
        store_aligned(block.transmittance, transmittance);
        const f8 gradient_red = load_aligned(block.red), gradient_green = load_aligned(block.green);
        const f8 gradient_blue = load_aligned(block.blue), behind = load_aligned(block.behind);
        const f8 weight = alpha * transmittance;
        const f8 own =
            gradient_red * g.red + (gradient_green * g.green + (gradient_blue * g.blue + load_aligned(block.alpha)));
        red += weight * gradient_red;
        green += weight * gradient_green;
        blue += weight * gradient_blue;
        const f8 gradient_alpha = transmittance * own - behind * inverse;
        store_aligned(block.behind, behind + weight * own);
        f8 s = e * gradient_alpha;
        if (clamps) s = keep(e <= ALPHA_MAX, s);
        const f8 dx = center_x(b) - g.mean_x, dy = center_y(b) - g.mean_y, s_dx = s * dx, s_dy = s * dy;
        s0 += s;
        sx += s_dx;
        sy += s_dy;
        sxx += s_dx * dx;
        sxy += s_dx * dy;
        syy += s_dy * dy;
      }
    };
    if (UNLIKELY(record.log2_opacity > LOG2_ALPHA_MAX))
      accumulate(std::true_type{});
    else
      accumulate(std::false_type{});
    store(&slot.s, sum_lanes_of_8(s0, sx, sy, sxx, sxy, syy, red, green));
    slot.blue = sum_lanes(blue);
  }
}

static void unblend(Context& context, const BackwardArguments& arguments, int tile_index, int group) {
  if (arguments.background && arguments.image) background_gradient(context, arguments, tile_index, group);
  const int32_t* tile_first = context.tile_first.data();
  if (tile_first[tile_index] == tile_first[tile_index + 1]) return;
  if (context.tile_blended.data()[tile_index] < 0)
    unblend_tile<true>(context, arguments, tile_index, group);
  else
    unblend_tile<false>(context, arguments, tile_index, group);
}

}  // namespace KERNEL_ISA
