// What the forward and the backward pass over a tile share: block geometry, masks, image access.
#pragma once
#include <algorithm>

#include "constants.hpp"
#include "context.hpp"
#include "simd.hpp"

namespace KERNEL_ISA {

// Pixel centres of the lanes of a block, relative to the tile: x by the block's column, y by its row.
struct alignas(64) BlockCenters {
  float x[8][LANES], y[8][LANES];
  constexpr BlockCenters() : x(), y() {
    for (int block = 0; block < 8; block++)
      for (int lane = 0; lane < LANES; lane++) {
        x[block][lane] = (float)(BLOCK_WIDTH * block + lane % BLOCK_WIDTH) + 0.5f;
        y[block][lane] = (float)(BLOCK_HEIGHT * block + lane / BLOCK_WIDTH) + 0.5f;
      }
  }
};
static constexpr BlockCenters CENTERS;

static ALWAYS_INLINE f8 center_x(size_t block) { return load_aligned(CENTERS.x[block & 7]); }
static ALWAYS_INLINE f8 center_y(size_t block) { return load_aligned(CENTERS.y[block >> 3]); }

// A record broadcast to all lanes once per entry, its mean relative to the tile.
struct alignas(64) Splat {
  f8 mean_x, mean_y, a, b, c, log2_opacity, red, green, blue;
};
static ALWAYS_INLINE void broadcast(const Record& record, float tile_x, float tile_y, Splat& o) {
  // The first difference is exact, so only the small remainder is rounded.
  o.mean_x = splat((record.mean_x - tile_x) + record.rest_x);
  o.mean_y = splat((record.mean_y - tile_y) + record.rest_y);
  o.a = splat(record.a);
  o.b = splat(record.b);
  o.c = splat(record.c);
  o.log2_opacity = splat(record.log2_opacity);
  o.red = splat(record.red);
  o.green = splat(record.green);
  o.blue = splat(record.blue);
}

// log2 of alpha (before its cut-offs) at the offsets (dx, dy).
static ALWAYS_INLINE f8 log2_alpha(const Splat& g, f8 dx, f8 dy) {
  return dx * (dx * g.a + dy * g.b) + (dy * (dy * g.c) + g.log2_opacity);
}

// The blocks of the tile at (tile_x, tile_y) that hold a pixel centre with alpha >= 1/255, plus a few that do not.
static ALWAYS_INLINE uint64_t block_mask(const Record& record, int tile_x, int tile_y) {
  constexpr int FEW_BLOCKS = 6;  // a box of so few blocks is not worth a closer look
  const int x0 = std::max((record.columns & 0xffff) - tile_x, 0) / BLOCK_WIDTH;
  const int x1 = std::min((record.columns >> 16) - tile_x, TILE_WIDTH - 1) / BLOCK_WIDTH;
  const int y0 = std::max((record.rows & 0xffff) - tile_y, 0) / BLOCK_HEIGHT;
  const int y1 = std::min((record.rows >> 16) - tile_y, TILE_HEIGHT - 1) / BLOCK_HEIGHT;
  const uint64_t rows = (~0ull >> (56 - 8 * (y1 - y0))) << (8 * y0);
  const uint64_t columns = ((2u << x1) - (1u << x0)) * 0x0101010101010101ull;
  const uint64_t box = rows & columns;
  if ((x1 - x0 + 1) * (y1 - y0 + 1) <= FEW_BLOCKS) return box;

  // The range of x that the ellipse a dx^2 + b dx dy + c dy^2 = -reach takes within each block row, all 8 rows at once.
  // Its right edge is furthest out at rightmost_dy, so the range's end lies at the dy of the row nearest to that.
  const f8 row = {0, 1, 2, 3, 4, 5, 6, 7};
  const f8 upper = row * (float)BLOCK_HEIGHT + ((float)tile_y + 0.5f - record.mean_y), lower = upper + 1.0f;
  const f8 dy_right = min(max(splat(record.rightmost_dy), upper), lower);
  const f8 dy_left = min(max(splat(-record.rightmost_dy), upper), lower);
  const f8 b_right = record.b * dy_right, b_left = record.b * dy_left;
  const f8 minus_4a = splat(-4.0f * record.a), half_inverse = splat(-0.5f / record.a);
  const f8 reach = splat(record.log2_opacity - LOG2_ALPHA_MIN);
  const f8 root_right = b_right * b_right + minus_4a * (record.c * dy_right * dy_right + reach);
  const f8 root_left = b_left * b_left + minus_4a * (record.c * dy_left * dy_left + reach);
  const f8 right = half_inverse * (b_right + square_root(max(root_right, splat(0.0f))));
  const f8 left = half_inverse * (b_left - square_root(max(root_left, splat(0.0f))));
  // To blocks, a little widened against rounding. Block column k holds the pixel centres 4 k .. 4 k + 3.
  const float offset = record.mean_x - 0.5f - (float)tile_x;
  const f8 from = max((left + (offset - 1e-3f)) * 0.25f, splat(-1.0f));
  const f8 to = min((right + (offset + 1e-3f)) * 0.25f, splat(7.5f));
  const i8 first = max_int(ceil_int(min(from - 0.75f, splat(9.0f))), splat_int(0));
  const i8 last = floor_int(max(to, splat(-1.0f)));
  const i8 bits = ((splat_int(2) << max_int(last, splat_int(0))) - (splat_int(1) << min_int(first, splat_int(8)))) &
                  (last >= first);
  return box & pack_bytes(bits);
}

struct TilePosition {
  int x, y, width, height;  // pixels; width and height are cut off at the image's border

  TilePosition(const Context& context, int tile)
      : x(tile % context.tiles_x * TILE_WIDTH),
        y(tile / context.tiles_x * TILE_HEIGHT),
        width(std::min(TILE_WIDTH, context.camera.width - x)),
        height(std::min(TILE_HEIGHT, context.camera.height - y)) {}
  // Whether a block has a pixel in the image.
  bool has(int block) const { return (block & 7) * BLOCK_WIDTH < width && (block >> 3) * BLOCK_HEIGHT < height; }
};

// Reads a block of a plane of the image; 0 beyond its border.
static ALWAYS_INLINE f8 load_block(const float* plane, int image_width, const TilePosition& tile, int block) {
  const int bx = (block & 7) * BLOCK_WIDTH, by = (block >> 3) * BLOCK_HEIGHT;
  const float* corner = plane + (size_t)(tile.y + by) * image_width + tile.x + bx;
  if (LIKELY(bx + BLOCK_WIDTH <= tile.width && by + BLOCK_HEIGHT <= tile.height))
    return load_two_rows(corner, corner + image_width);
  float lanes[LANES] = {};
  for (int lane = 0; lane < LANES; lane++) {
    const int x = lane % BLOCK_WIDTH, y = lane / BLOCK_WIDTH;
    if (bx + x < tile.width && by + y < tile.height) lanes[lane] = corner[(size_t)y * image_width + x];
  }
  return load(lanes);
}

static ALWAYS_INLINE void store_block(float* plane, int image_width, const TilePosition& tile, int block, f8 value) {
  const int bx = (block & 7) * BLOCK_WIDTH, by = (block >> 3) * BLOCK_HEIGHT;
  float* corner = plane + (size_t)(tile.y + by) * image_width + tile.x + bx;
  if (LIKELY(bx + BLOCK_WIDTH <= tile.width && by + BLOCK_HEIGHT <= tile.height)) {
    store_two_rows(corner, corner + image_width, value);
    return;
  }
  float lanes[LANES];
  store(lanes, value);
  for (int lane = 0; lane < LANES; lane++) {
    const int x = lane % BLOCK_WIDTH, y = lane / BLOCK_WIDTH;
    if (bx + x < tile.width && by + y < tile.height) corner[(size_t)y * image_width + x] = lanes[lane];
  }
}

}  // namespace KERNEL_ISA
