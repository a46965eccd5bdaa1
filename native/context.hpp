// Data that the Python module and the kernels share.
#pragma once
#include <cstddef>
#include <cstdint>

#include "buffer.hpp"

// A tile is 32 x 16 pixels: 8 x 8 blocks of 4 x 2 pixels, so that a block fills one 8-lane vector and a set of blocks
// one 64-bit word.
constexpr int TILE_WIDTH = 32, TILE_HEIGHT = 16;
constexpr int BLOCK_WIDTH = 4, BLOCK_HEIGHT = 2, LANES = 8;
constexpr int BLOCKS_PER_TILE = 64, PIXELS_PER_TILE = TILE_WIDTH * TILE_HEIGHT;

// Gaussians are projected in chunks of this many, one chunk a task.
constexpr int CHUNK = 1024;

// Colours are blended three channels at a time.
constexpr int GROUP = 3;

// A projected Gaussian: one cache line. Its alpha at the pixel centre (x, y) is 2^p with
//   p = log2_opacity + a dx^2 + b dx dy + c dy^2,   dx = x - mean_x - rest_x,  dy = y - mean_y - rest_y.
// The opacity stands in the exponent so that "alpha >= 1/255" is one comparison of p.
struct alignas(64) Record {
  float mean_x, mean_y, a, b, c, log2_opacity;
  float red, green, blue;  // the group of channels being blended
  float rightmost_dy;      // dy of the rightmost point of the ellipse alpha = 1/255
  float rest_x, rest_y;  // what the mean loses when rounded to float: at 500 px a float's steps are 3e-5 px, too coarse
  int32_t columns, rows;  // first | last << 16 of the pixels that the ellipse's bounding box covers
  int32_t tiles;          // how many tiles its box touches; 0 = not drawn
  int32_t padding;
};
static_assert(sizeof(Record) == 64, "a record is meant to fill one cache line");

struct TileSpan {
  uint16_t first_x, last_x, first_y, last_y;  // inclusive
  uint32_t slot;                              // first of the Gaussian's gradient slots, counted within its chunk
};

struct Entry {  // one Gaussian in one tile
  uint32_t gaussian, slot;
};

// What one tile adds to one Gaussian's gradient. Slots of a Gaussian lie next to each other; no two tiles write the
// same one, so there are no atomics, and the order of summation is fixed.
struct GradientSlot {
  float s, sx, sy, sxx, sxy, syy;  // moments of s = dLoss/d(ln alpha) over the pixel offsets (dx, dy)
  float red, green, blue;
  float padding[3];
};
static_assert(sizeof(GradientSlot) == 48, "slots are written with 32-byte stores");

// What a camera's numbers receive: rotation and translation (rows of 4: R | t), then focal x, y and centre x, y.
constexpr int CAMERA_GRADIENTS = 16;

struct PixelBox {  // inclusive; empty if the first is beyond the last
  int32_t first_x, last_x, first_y, last_y;
};

// Beyond this the buffers would take 8 GB.
constexpr int64_t MAX_SLOTS = int64_t(1) << 27;

struct CameraParameters {
  double rotation[9], translation[3];  // camera from world
  double focal_x, focal_y, center_x, center_y;
  int width, height;
};

// The state of one render, kept for its backward pass.
struct Context {
  CameraParameters camera{};
  int count = 0, channels = 0, tiles_x = 0, tiles_y = 0;
  int slots = 0, drawn = 0;
  Buffer<Record> records;
  Buffer<TileSpan> spans;
  Buffer<uint64_t> keys, keys_spare;  // depth << 32 | Gaussian, of those drawn, in depth order
  Buffer<int32_t> chunk_first_slot, chunk_drawn;
  Buffer<PixelBox> chunk_box;
  PixelBox box{};              // around all that was drawn
  Buffer<Entry> entries;       // of all tiles, tile by tile, front to back
  Buffer<int32_t> tile_first;  // (tiles + 1,) where each tile's entries begin
  Buffer<int32_t> histogram;
  Buffer<int32_t> tile_order;    // fullest first, so that no thread is left with a big one at the end
  Buffer<uint64_t> masks;        // per entry, the blocks of the tile that its ellipse can touch
  Buffer<float> transmittance;   // (tiles, blocks, lanes) what is left after the last Gaussian
  Buffer<int32_t> done;          // (tiles, blocks, lanes) the entry that would have saturated the pixel, or INT_MAX
  Buffer<int32_t> tile_blended;  // entries that can contribute; negative if `done` holds values for this tile
  Buffer<float> background;      // (channels rounded up to groups,)
  Buffer<GradientSlot> gradients;
  Buffer<float> weights;  // (slots, 2) what each tile shows of each Gaussian; only for `shown`
  Buffer<float> moments;  // (count, 6) sums over slots and groups of channels; only for more than one group
  Buffer<double> background_partials;  // (tiles, 3)
  Buffer<double> camera_partials;      // (chunks, CAMERA_GRADIENTS)
};

struct GaussianArrays {
  const float *positions, *quaternions_wxyz, *scales, *opacities, *colors;
};

struct ForwardArguments {
  GaussianArrays gaussians;
  const float* background;                          // (channels,)
  float *image, *alpha;  // (channels, height, width), (height, width); alpha may be null
  // (N, 2), (N, 3), (N,), (N,); all of them or none
  float *means2d, *covariances2d, *depths, *radii;
  // One sum of L_aspect's excess per chunk, or null.
  double* aspect_sums = nullptr;
  float aspect_threshold = 0.0f;
};

struct BackwardArguments {
  GaussianArrays gaussians;
  // What comes in; any of them may be null, meaning zero.
  const float *image, *alpha, *means2d, *covariances2d, *depths;
  // What goes out; `background` may be null.
  float *positions, *quaternions_wxyz, *scales, *opacities, *colors, *background;
  // Weight of each Gaussian's excess over the threshold of L_aspect; 0 if there is no such loss.
  float aspect_share = 0.0f, aspect_threshold = 0.0f;
  // (groups of 8 Gaussians,) 0 where no gradient is wanted: what goes out is not written there. Or null: all are wanted.
  const uint8_t* wanted = nullptr;
  // (CAMERA_GRADIENTS,) or null.
  double* camera = nullptr;
};

struct BindingArguments {
  int faces_count, vertices_count;
  const float* vertices;
  const int32_t *faces, *first_of_face, *corners, *first_of_vertex;
  const float *local_positions, *local_quaternions, *log_scales;
  float *positions, *quaternions, *scales;  // outputs of the forward pass; the backward pass reads `scales`
  const float *grad_positions, *grad_quaternions, *grad_scales;
  float *grad_local_positions, *grad_local_quaternions, *grad_log_scales;
  float* face_gradients;  // scratch, (faces, 9)
  float* grad_vertices;   // may be null
};

struct LossArguments {
  const float *image, *target;  // (channels, height, width)
  float* gradient;              // the same shape, or null
  float* scratch;               // at least loss_scratch_size(...) floats
  double* sums;                 // at least loss_task_limit(...) of them
  int channels, height, width;
  float l1_weight, ssim_weight;
  int x0, x1, y0, y1;  // the box that is computed; outside of it the images are equal
};

constexpr std::size_t loss_row(int width) { return static_cast<std::size_t>(width + 15) / 8 * 8; }
constexpr std::size_t loss_scratch_size(int channels, int height, int width) {
  return std::size_t(3) * channels * height * loss_row(width) + 64;
}
constexpr std::size_t loss_task_limit(int channels, int height, int width) {
  return std::size_t(channels) * (height / 64 + 1) * (width / 64 + 1);
}

struct AspectArguments {
  const float* covariances2d;  // (N, 3)
  float* gradient;             // (N, 3) or null
  double* sums;                // one per chunk of Gaussians
  int count;
  float threshold;
};

struct RefineArguments;  // refine_context.hpp
struct RefineContext;
struct DrawArguments;
struct SideArguments;
struct ShownArguments;
struct CoarseMapArguments;

// The kernels, compiled once per instruction set; the module picks a table when it is loaded.
struct Kernels {
  const char* name;
  void (*forward)(Context&, const ForwardArguments&);
  void (*backward)(Context&, const BackwardArguments&);
  void (*bind_forward)(const BindingArguments&);
  void (*bind_backward)(const BindingArguments&);
  double (*l1_ssim)(const LossArguments&);
  double (*aspect)(const AspectArguments&);
  double (*refine_step)(const RefineArguments&, RefineContext&);
  void (*draw)(const DrawArguments&, RefineContext&);
  double (*side_view)(const SideArguments&, RefineContext&);
  void (*shown)(Context&, const ShownArguments&);
  void (*spread_maps)(const CoarseMapArguments&);
  void (*gather_maps)(const CoarseMapArguments&);
};
