// From projected Gaussians to a list of entries per tile, front to back.
#pragma once
#include <algorithm>
#include <climits>
#include <cstring>
#include <stdexcept>

#include "context.hpp"
#include "pool.hpp"

namespace KERNEL_ISA {

// Packs the chunks' keys together, makes the chunks' slot counts cumulative, and joins their boxes.
static void gather_chunks(Context& context, int chunks) {
  uint64_t* keys = context.keys.data();
  int32_t* first_slot = context.chunk_first_slot.data();
  const int32_t* chunk_drawn = context.chunk_drawn.data();
  int drawn = 0;
  int64_t slots = 0;
  context.box = {INT_MAX, -1, INT_MAX, -1};
  for (int chunk = 0; chunk < chunks; chunk++) {
    if (drawn != chunk * CHUNK)
      std::memmove(keys + drawn, keys + (size_t)chunk * CHUNK, chunk_drawn[chunk] * sizeof *keys);
    drawn += chunk_drawn[chunk];
    const PixelBox &box = context.box, &part = context.chunk_box.data()[chunk];
    context.box = {std::min(box.first_x, part.first_x), std::max(box.last_x, part.last_x),
                   std::min(box.first_y, part.first_y), std::max(box.last_y, part.last_y)};
    const int32_t chunk_slots = first_slot[chunk];
    first_slot[chunk] = (int32_t)slots;
    slots += chunk_slots;
    if (slots > MAX_SLOTS) throw std::length_error("the Gaussians cover too many tiles: they are far too large");
  }
  context.drawn = drawn;
  context.slots = (int)slots;
}

// Least-significant-digit radix sort by depth, stable, so that equal depths stay in the order of the Gaussians. Only
// the bits in which the depths differ are sorted: two or three passes of at most 11 bits.
static const uint64_t* sort_by_depth(Context& context) {
  constexpr int DIGIT = 11;
  const int n = context.drawn;
  uint64_t *from = context.keys.data(), *to = context.keys_spare.reserve(n);
  uint32_t lowest = ~0u, highest = 0;
  for (int i = 0; i < n; i++) {
    const uint32_t key = (uint32_t)(from[i] >> 32);
    lowest = std::min(lowest, key);
    highest = std::max(highest, key);
  }
  int bits = 0;
  while (n && bits < 32 && ((highest - lowest) >> bits)) bits++;
  const int passes = (bits + DIGIT - 1) / DIGIT;
  if (!passes) return from;
  const int digit = (bits + passes - 1) / passes;
  const uint32_t mask = (1u << digit) - 1;
  uint32_t starts[3][1 << DIGIT] = {};
  for (int i = 0; i < n; i++) {
    const uint32_t key = (uint32_t)(from[i] >> 32) - lowest;
    for (int pass = 0; pass < passes; pass++) starts[pass][(key >> (pass * digit)) & mask]++;
  }
  for (int pass = 0; pass < passes; pass++) {
    uint32_t sum = 0;
    for (uint32_t j = 0; j <= mask; j++) {
      const uint32_t count = starts[pass][j];
      starts[pass][j] = sum;
      sum += count;
    }
    for (int i = 0; i < n; i++) {
      const uint32_t key = ((uint32_t)(from[i] >> 32) - lowest) >> (pass * digit);
      to[starts[pass][key & mask]++] = from[i];
    }
    std::swap(from, to);
  }
  return from;
}

// Deals the sorted Gaussians out to the tiles that they touch: a counting sort by tile, in parallel over runs of the
// sorted list. Each run has its own histogram, so the entries of a tile keep the depth order however many runs there
// are.
static void deal_to_tiles(Context& context, const uint64_t* sorted_keys) {
  const int n = context.drawn, tiles = context.tiles_x * context.tiles_y;
  const int runs = n > 4096 ? std::min(Pool::instance().threads(), 16) : 1, run_length = (n + runs - 1) / runs;
  int32_t* histogram = context.histogram.reserve((size_t)runs * tiles);
  int32_t* tile_first = context.tile_first.reserve((size_t)tiles + 1);
  Entry* entries = context.entries.reserve((size_t)context.slots + 1);
  const TileSpan* spans = context.spans.data();
  const int32_t* chunk_first_slot = context.chunk_first_slot.data();

  const auto for_each_tile = [&](int run, auto&& visit) {
    const int end = std::min(n, run * run_length + run_length);
    for (int i = run * run_length; i < end; i++) {
      const uint32_t gaussian = (uint32_t)sorted_keys[i];
      const TileSpan span = spans[gaussian];
      uint32_t slot = chunk_first_slot[gaussian / CHUNK] + span.slot;
      for (int y = span.first_y; y <= span.last_y; y++)
        for (int x = span.first_x; x <= span.last_x; x++) visit(y * context.tiles_x + x, gaussian, slot++);
    }
  };
  parallel_for(runs, [&](int run) {
    int32_t* counts = histogram + (size_t)run * tiles;
    std::memset(counts, 0, tiles * sizeof *counts);
    for_each_tile(run, [&](int tile, uint32_t, uint32_t) { counts[tile]++; });
  });
  int32_t sum = 0;
  for (int tile = 0; tile < tiles; tile++) {
    tile_first[tile] = sum;
    for (int run = 0; run < runs; run++) {
      int32_t& cell = histogram[(size_t)run * tiles + tile];
      const int32_t count = cell;
      cell = sum;
      sum += count;
    }
  }
  tile_first[tiles] = sum;
  parallel_for(runs, [&](int run) {
    int32_t* next = histogram + (size_t)run * tiles;
    for_each_tile(run, [&](int tile, uint32_t gaussian, uint32_t slot) { entries[next[tile]++] = {gaussian, slot}; });
  });

  int32_t* order = context.tile_order.reserve(tiles);
  for (int tile = 0; tile < tiles; tile++) order[tile] = tile;
  std::sort(order, order + tiles, [=](int32_t a, int32_t b) {
    const int32_t length_a = tile_first[a + 1] - tile_first[a], length_b = tile_first[b + 1] - tile_first[b];
    return length_a != length_b ? length_a > length_b : a < b;
  });
}

}  // namespace KERNEL_ISA
