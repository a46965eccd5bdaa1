// An avatar's frame without anything to differentiate: bind, project, blend, and bytes at the end.
#pragma once
#include "refine.hpp"

namespace KERNEL_ISA {

static ALWAYS_INLINE uint8_t to_byte(float x) {
  const float y = x * 255.0f + 0.5f;
  return y >= 255.0f ? 255 : y > 0.0f ? (uint8_t)y : 0;  // NaN becomes 0
}

// Interleaves planes into rows of red, green, blue, alpha. Without a background the colours come back straight: not
// multiplied by the alpha.
static void to_bytes(const DrawArguments& a, const float* image, const float* alpha, int row) {
  const int width = a.camera.width;
  const size_t plane = (size_t)width * a.camera.height, offset = (size_t)row * width;
  const float *red = image + offset, *green = red + plane, *blue = green + plane;
  uint8_t* out = a.out + 4 * offset;
  for (int x = 0; x < width; x++) {
    const float covered = alpha[offset + x];
    const float factor = a.straight && covered > 0.0f ? 1.0f / std::max(covered, 1e-6f) : 1.0f;
    out[4 * x] = to_byte(red[x] * factor);
    out[4 * x + 1] = to_byte(green[x] * factor);
    out[4 * x + 2] = to_byte(blue[x] * factor);
    out[4 * x + 3] = to_byte(covered);
  }
}

// What was drawn, for whoever wants to differentiate it.
struct Drawn {
  BindingArguments binding;
  GaussianArrays gaussians;
};

// Draws a run's Gaussians, nothing hidden, into planes: (3, height, width), and (height, width) or null. Reads `values`,
// `corrections`, binding, camera, count and background alone.
static Drawn draw_view(const RefineArguments& a, RefineContext& c, float* image, float* alpha) {
  const int n = a.count, chunks = (n + CHUNK - 1) / CHUNK;
  c.positions.reserve(3 * (size_t)n);
  c.quaternions.reserve(4 * (size_t)n);
  c.scales.reserve(3 * (size_t)n);
  c.opacities.reserve(n);
  for (int k = 0; k < ATTRIBUTES; k++)
    if (a.corrections[k]) c.locals[k].reserve(WIDTHS[k] * (size_t)n);
  Context& context = c.render;
  context.camera = a.camera;
  context.count = n;
  context.channels = 3;
  const auto drawn_of = [&](Attribute k) -> const float* { return a.corrections[k] ? c.locals[k].data() : a.values[k]; };
  BindingArguments b = a.binding;
  b.local_positions = drawn_of(POSITION);
  b.local_quaternions = drawn_of(ROTATION);
  b.log_scales = drawn_of(LOG_SCALE);
  b.positions = c.positions.data();
  b.quaternions = c.quaternions.data();
  b.scales = c.scales.data();
  ForwardArguments forward{};
  forward.gaussians = {b.positions, b.quaternions, b.scales, c.opacities.data(), drawn_of(COLOR)};
  forward.background = a.settings.background.data();
  forward.image = image;
  forward.alpha = alpha;
  prepare_projection(context, forward.background);
  parallel_for(chunks, [&](int chunk) {
    const int begin = chunk * CHUNK, end = std::min(n, begin + CHUNK);
    prepare_locals(a, c, begin, end);
    bind_range(b, face_of(b, begin), begin, end);
    project_chunk(context, forward, chunk);
  });
  sort_projected(context);
  blend_sorted(context, forward);
  return {b, forward.gaussians};
}

static void draw(const DrawArguments& a, RefineContext& c) {
  RefineArguments r{};
  r.binding = a.binding;
  r.camera = a.camera;
  r.count = a.count;
  for (int k = 0; k < 3; k++) r.settings.background[k] = a.background[k];
  for (int k = 0; k < ATTRIBUTES; k++) {
    r.values[k] = const_cast<float*>(a.values[k]);
    r.corrections[k] = a.corrections[k];
  }
  const size_t area = (size_t)a.camera.width * a.camera.height;
  float *image = c.image.reserve(3 * area), *alpha = c.gradient.reserve(area);
  draw_view(r, c, image, alpha);
  const int height = a.camera.height;
  parallel_for((height + ROWS_PER_TASK - 1) / ROWS_PER_TASK, [&](int task) {
    const int first = task * ROWS_PER_TASK, last = std::min(height, first + ROWS_PER_TASK);
    for (int row = first; row < last; row++) to_bytes(a, image, alpha, row);
  });
}

}  // namespace KERNEL_ISA
