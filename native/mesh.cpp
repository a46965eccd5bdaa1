#include "mesh.hpp"

#include <algorithm>
#include <cmath>

namespace {

struct Corner {
  double x, y, nearness;
};

// A corner's weight at a place, a x + b y + c: 1 on the corner, 0 on the edge that it faces.
struct Weight {
  double a, b, c, inverse_a;

  // Of the corner that faces the edge from p to q; `scale` is 1 over twice the triangle's signed area.
  Weight(const Corner& p, const Corner& q, double scale)
      : a((p.y - q.y) * scale), b((q.x - p.x) * scale), c(-(a * p.x + b * p.y)), inverse_a(a != 0 ? 1 / a : 0) {}

  // Leaves of the samples first..last of a row those where the weight may be positive, give or take one.
  void narrow(double in_row, int& first, int& last) const {
    if (a == 0) {
      if (in_row < -EDGE_TOLERANCE) last = first - 1;
      return;
    }
    const double crossing = -in_row * inverse_a;
    if (a > 0) {
      if (crossing > first) first = crossing < last + 1 ? static_cast<int>(crossing) - 1 : last + 1;
    } else {
      if (crossing < last) last = crossing > first - 1 ? static_cast<int>(crossing) + 1 : first - 1;
    }
  }

  // Rounding may put a sample on a shared edge outside both triangles by this much.
  static constexpr double EDGE_TOLERANCE = 1e-9;
};

// Samples whose centres may lie in [low, high], kept within [0, size).
inline void sample_range(double low, double high, int size, int& first, int& last) {
  first = static_cast<int>(std::clamp(low - 0.5, 0.0, double(size)));
  last = static_cast<int>(std::clamp(high + 0.5, 0.0, double(size))) - 1;
}

void draw_triangle(const MeshTarget& target, const Corner& a, const Corner& b, const Corner& c, int32_t face,
                   bool perspective) {
  const double area = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
  if (!(std::fabs(area) > 1e-12)) return;  // also when a coordinate is not a number
  int x0, x1, y0, y1;
  sample_range(std::min({a.x, b.x, c.x}), std::max({a.x, b.x, c.x}), target.width, x0, x1);
  sample_range(std::min({a.y, b.y, c.y}), std::max({a.y, b.y, c.y}), target.height, y0, y1);
  const Weight of_a(b, c, 1 / area), of_b(c, a, 1 / area), of_c(a, b, 1 / area);
  const bool is_wide = x1 - x0 > 3;
  constexpr double outside = -Weight::EDGE_TOLERANCE;
  for (int y = y0; y <= y1; y++) {
    const double py = y + 0.5;
    const double row_a = of_a.b * py + of_a.c, row_b = of_b.b * py + of_b.c, row_c = of_c.b * py + of_c.c;
    int first = x0, last = x1;
    if (is_wide) {  // most of a slanted ribbon's box is empty
      of_a.narrow(row_a, first, last);
      of_b.narrow(row_b, first, last);
      of_c.narrow(row_c, first, last);
      first = std::max(first, x0);
      last = std::min(last, x1);
    }
    for (int x = first; x <= last; x++) {
      const double px = x + 0.5;
      const double u = of_a.a * px + row_a, v = of_b.a * px + row_b, w = of_c.a * px + row_c;
      if (u < outside || v < outside || w < outside) continue;
      const double nearness = u * a.nearness + v * b.nearness + w * c.nearness;
      const std::size_t at = std::size_t(y) * target.width + x;
      if (!(static_cast<float>(nearness) > target.nearness[at])) continue;
      target.nearness[at] = static_cast<float>(nearness);
      target.face[at] = face;
      target.barycentric[2 * at] = static_cast<float>(perspective ? v * b.nearness / nearness : v);
      target.barycentric[2 * at + 1] = static_cast<float>(perspective ? w * c.nearness / nearness : w);
    }
  }
}

}  // namespace

void draw_triangles(const MeshTarget& target, const float* points, const int32_t* faces, std::size_t face_count,
                    int32_t first_face, bool perspective) {
  for (std::size_t f = 0; f < face_count; f++) {
    Corner corners[3];
    bool in_front = true;
    for (int k = 0; k < 3; k++) {
      const float* p = points + 3 * std::size_t(faces[3 * f + k]);
      corners[k] = {p[0], p[1], p[2]};
      in_front = in_front && p[2] > 0;
    }
    if (perspective && !in_front) continue;
    draw_triangle(target, corners[0], corners[1], corners[2], first_face + static_cast<int32_t>(f), perspective);
  }
}

void interpolate_corners(const int32_t* face, const float* barycentric, std::size_t count, const int32_t* faces,
                         const float* attributes, int channels, float* result) {
  for (std::size_t m = 0; m < count; m++) {
    const int32_t* corner = faces + 3 * std::size_t(face[m]);
    const float v = barycentric[2 * m], w = barycentric[2 * m + 1], u = 1 - v - w;
    const float* a = attributes + std::size_t(corner[0]) * channels;
    const float* b = attributes + std::size_t(corner[1]) * channels;
    const float* c = attributes + std::size_t(corner[2]) * channels;
    for (int k = 0; k < channels; k++) result[m * channels + k] = u * a[k] + v * b[k] + w * c[k];
  }
}

void sample_texture(const float* texture, int height, int width, int channels, const float* places, std::size_t count,
                    float* result) {
  for (std::size_t m = 0; m < count; m++) {
    // What is not a number becomes 0: of its arguments std::max returns the first where they cannot be compared.
    const float x = std::min(std::max(0.0f, places[2 * m] * width - 0.5f), float(width - 1));
    const float y = std::min(std::max(0.0f, places[2 * m + 1] * height - 0.5f), float(height - 1));
    const int x0 = std::min(static_cast<int>(x), width - 1), y0 = std::min(static_cast<int>(y), height - 1);
    const int x1 = std::min(x0 + 1, width - 1), y1 = std::min(y0 + 1, height - 1);
    const float fx = x - x0, fy = y - y0;
    const float* a = texture + (std::size_t(y0) * width + x0) * channels;
    const float* b = texture + (std::size_t(y0) * width + x1) * channels;
    const float* c = texture + (std::size_t(y1) * width + x0) * channels;
    const float* d = texture + (std::size_t(y1) * width + x1) * channels;
    for (int k = 0; k < channels; k++)
      result[m * channels + k] = (1 - fy) * ((1 - fx) * a[k] + fx * b[k]) + fy * ((1 - fx) * c[k] + fx * d[k]);
  }
}
