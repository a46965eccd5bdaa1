// A whole render and its backward pass.
#pragma once
#include "pool.hpp"
#include "projection_backward.hpp"
#include "sorting.hpp"
#include "tiles_backward.hpp"
#include "tiles_forward.hpp"

namespace KERNEL_ISA {

// Puts a group of three channels into the records. (The first group is put there by the projection.)
static void load_group(Context& context, const float* colors, int group) {
  const int chunks = (context.count + CHUNK - 1) / CHUNK, channels = context.channels;
  parallel_for(chunks, [&](int chunk) {
    for (int i = chunk * CHUNK, end = std::min(context.count, i + CHUNK); i < end; i++) {
      float color[GROUP] = {};
      for (int k = 0; k < std::min(GROUP, channels - GROUP * group); k++)
        color[k] = colors[(size_t)i * channels + GROUP * group + k];
      Record& record = context.records.data()[i];
      record.red = color[0];
      record.green = color[1];
      record.blue = color[2];
    }
  });
}

// Buffers for the projection of the context's Gaussians into its camera.
static void prepare_projection(Context& context, const float* background) {
  const int n = context.count, chunks = (n + CHUNK - 1) / CHUNK;
  const int groups = (context.channels + GROUP - 1) / GROUP;
  context.tiles_x = (context.camera.width + TILE_WIDTH - 1) / TILE_WIDTH;
  context.tiles_y = (context.camera.height + TILE_HEIGHT - 1) / TILE_HEIGHT;
  float* padded = context.background.reserve((size_t)groups * GROUP);
  for (int c = 0; c < groups * GROUP; c++) padded[c] = c < context.channels ? background[c] : 0.0f;
  context.records.reserve((size_t)n + LANES);
  context.spans.reserve((size_t)n + LANES);
  context.keys.reserve((size_t)chunks * CHUNK);
  context.chunk_first_slot.reserve(chunks);
  context.chunk_drawn.reserve(chunks);
  context.chunk_box.reserve(chunks);
}

// Deals out to the tiles what was projected, front to back.
static void sort_projected(Context& context) {
  gather_chunks(context, (context.count + CHUNK - 1) / CHUNK);
  deal_to_tiles(context, sort_by_depth(context));
}

// Blends it.
static void blend_sorted(Context& context, const ForwardArguments& arguments) {
  const int tiles = context.tiles_x * context.tiles_y;
  const int groups = (context.channels + GROUP - 1) / GROUP;
  context.masks.reserve(context.slots);
  context.transmittance.reserve((size_t)tiles * PIXELS_PER_TILE);
  context.done.reserve((size_t)tiles * PIXELS_PER_TILE);
  context.tile_blended.reserve(tiles);
  const int32_t* order = context.tile_order.data();
  for (int group = 0; group < groups; group++) {
    if (group) load_group(context, arguments.gaussians.colors, group);
    parallel_for(tiles, [&](int k) { blend_tile(context, arguments, order[k], group); });
  }
}

static void forward(Context& context, const ForwardArguments& arguments) {
  prepare_projection(context, arguments.background);
  const int chunks = (context.count + CHUNK - 1) / CHUNK;
  parallel_for(chunks, [&](int chunk) { project_chunk(context, arguments, chunk); });
  sort_projected(context);
  blend_sorted(context, arguments);
}

// The tiles' part of the backward pass: fills the gradient slots. True if there was anything to do.
static bool unblend_tiles(Context& context, const BackwardArguments& arguments) {
  const int chunks = (context.count + CHUNK - 1) / CHUNK, tiles = context.tiles_x * context.tiles_y;
  const int groups = (context.channels + GROUP - 1) / GROUP;
  const int32_t* order = context.tile_order.data();
  const bool drawn = arguments.image || arguments.alpha;
  if (drawn) {
    context.gradients.reserve((size_t)context.slots);
    if (groups > 1) context.moments.reserve((size_t)(context.count + LANES) * 8);
    if (arguments.background && arguments.image) context.background_partials.reserve((size_t)tiles * GROUP);
    for (int group = 0; group < groups; group++) {
      if (groups > 1) load_group(context, arguments.gaussians.colors, group);
      parallel_for(tiles, [&](int k) { unblend(context, arguments, order[k], group); });
      if (groups > 1) parallel_for(chunks, [&](int chunk) { collect_group(context, arguments, chunk, group); });
      if (!arguments.background || !arguments.image) continue;
      for (int c = 0; c < std::min(GROUP, context.channels - GROUP * group); c++) {
        double sum = 0.0;
        for (int tile = 0; tile < tiles; tile++) sum += context.background_partials.data()[(size_t)tile * GROUP + c];
        arguments.background[GROUP * group + c] = (float)sum;
      }
    }
  }
  return drawn;
}

static void backward(Context& context, const BackwardArguments& arguments) {
  const int chunks = (context.count + CHUNK - 1) / CHUNK;
  const bool drawn = unblend_tiles(context, arguments);
  if (arguments.camera) context.camera_partials.reserve((size_t)chunks * CAMERA_GRADIENTS);
  parallel_for(chunks, [&](int chunk) { unproject_chunk(context, arguments, chunk, drawn); });
  for (int k = 0; arguments.camera && k < CAMERA_GRADIENTS; k++) {
    arguments.camera[k] = 0.0;
    for (int chunk = 0; chunk < chunks; chunk++)
      arguments.camera[k] += context.camera_partials.data()[(size_t)chunk * CAMERA_GRADIENTS + k];
  }
}

}  // namespace KERNEL_ISA
