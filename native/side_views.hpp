// A view from aside (Stage 2): the avatar and its start, drawn from where no frame was taken, may not differ coarsely.
// spatialavatar/refine/side_views.py has the same in torch, which is the form to read.
#pragma once
#include "draw.hpp"

namespace KERNEL_ISA {

// Compares a row of cells of coarse x coarse pixels: the sum over cells of |mean difference|, and `share` times its
// gradient in each of the cells' pixels. Pixels of no whole cell have none.
static double compare_cells(const float* image, const float* start, float* gradient, int width, int row, int coarse,
                            float share) {
  const float inverse = 1.0f / ((float)coarse * (float)coarse);
  const size_t first = (size_t)row * coarse * width;
  double sum = 0.0;
  std::fill_n(gradient + first, (size_t)coarse * width, 0.0f);
  for (int x = 0; x + coarse <= width; x += coarse) {
    float difference = 0.0f;
    for (int i = 0; i < coarse; i++) {
      const size_t from = first + (size_t)i * width + x;
      for (int j = 0; j < coarse; j++) difference += image[from + j] - start[from + j];
    }
    sum += std::fabs(difference * inverse);
    const float slope = difference > 0.0f ? share : difference < 0.0f ? -share : 0.0f;
    for (int i = 0; i < coarse; i++) std::fill_n(gradient + first + (size_t)i * width + x, coarse, slope);
  }
  return sum;
}

// From the gradients in the frames to those of the parameters: opacity logits, and colours that were clamped.
static void side_gradients(const RefineArguments& a, const RefineContext& c, const ParameterGradients& g, int begin,
                           int end) {
  for (int i = begin; i < end; i++) {
    if (!c.side_wanted.data()[i / 8]) {
      for (int k = 0; k < ATTRIBUTES; k++) std::fill_n(g.of[k] + (size_t)(i - begin) * WIDTHS[k], WIDTHS[k], 0.0f);
      continue;
    }
    const float opacity = c.opacities.data()[i];
    g.of[OPACITY][i - begin] *= opacity * (1.0f - opacity);
    if (!a.corrections[COLOR]) continue;
    for (int k = 0; k < 3; k++) {
      const float drawn = a.values[COLOR][3 * (size_t)i + k] + a.corrections[COLOR][3 * (size_t)i + k];
      if (!(drawn >= 0.0f && drawn <= 1.0f)) g.of[COLOR][3 * (size_t)(i - begin) + k] = 0.0f;
    }
  }
}

// Returns the weighted mean absolute difference of the cells, and writes its gradients for the groups in which something moves.
static double side_view(const SideArguments& s, RefineContext& c) {
  RefineArguments now{}, start{};  // what drawing reads
  now.binding = s.binding;
  now.camera = s.camera;
  now.count = s.count;
  for (int k = 0; k < 3; k++) now.settings.background[k] = s.background[k];
  for (int k = 0; k < ATTRIBUTES; k++) now.corrections[k] = s.corrections[k];
  start = now;
  for (int k = 0; k < ATTRIBUTES; k++) {
    now.values[k] = const_cast<float*>(s.values[k]);
    start.values[k] = const_cast<float*>(s.start[k]);
  }
  const int n = s.count, chunks = (n + CHUNK - 1) / CHUNK, width = s.camera.width, height = s.camera.height;
  const size_t area = (size_t)width * height;
  // The second one is what the context keeps to be undone.
  draw_view(start, c, c.target.reserve(3 * area), nullptr);
  const Drawn view = draw_view(now, c, c.image.reserve(3 * area), nullptr);

  const int rows = height / s.coarse, columns = width / s.coarse;
  const double cells = 3.0 * rows * columns;
  const float share = (float)(s.weight / std::max(cells, 1.0)) / ((float)s.coarse * (float)s.coarse);
  float* gradient = c.gradient.reserve(3 * area);
  double* sums = c.loss_sums.reserve((size_t)std::max(3 * rows, 1));
  parallel_for(rows, [&](int row) {
    for (int k = 0; k < 3; k++)
      sums[3 * row + k] = compare_cells(c.image.data() + k * area, c.target.data() + k * area, gradient + k * area,
                                        width, row, s.coarse, share);
  });
  for (int k = 0; k < 3; k++)
    std::fill(gradient + k * area + (size_t)rows * s.coarse * width, gradient + (k + 1) * area, 0.0f);
  double total = 0.0;
  for (int i = 0; i < 3 * rows; i++) total += sums[i];

  BackwardArguments backward{};
  backward.gaussians = view.gaussians;
  backward.image = gradient;
  uint8_t* wanted = c.side_wanted.reserve((size_t)(n + 7) / 8);
  for (int i = 0; i < n; i += 8) {
    uint8_t any = !s.moving;
    for (int j = i; s.moving && j < std::min(i + 8, n); j++) any |= s.moving[j] != 0.0f;
    wanted[i / 8] = any;
  }
  backward.wanted = wanted;
  const bool drawn = unblend_tiles(c.render, backward);
  parallel_for(chunks, [&](int chunk) {
    const int begin = chunk * CHUNK, end = std::min(n, begin + CHUNK);
    ParameterGradients own{{}, begin};
    for (int k = 0; k < ATTRIBUTES; k++) own.of[k] = s.gradients[k] + (size_t)begin * WIDTHS[k];
    unproject_chunk(c.render, into(backward, own), chunk, drawn, begin);
    unbind_range(view.binding, own, wanted, begin, end);
    side_gradients(now, c, own, begin, end);
  });
  return cells > 0.0 ? s.weight * (total / cells) : 0.0;
}

}  // namespace KERNEL_ISA
