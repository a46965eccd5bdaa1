#include "mesh.hpp"

#include <algorithm>
#include <cmath>

namespace {

struct Corner {
  double x, y, nearness;
};

// Twice the signed area of a, b, (x, y).
inline double edge(const Corner& a, const Corner& b, double x, double y) {
  return (b.x - a.x) * (y - a.y) - (b.y - a.y) * (x - a.x);
}

// Samples whose centres may lie in [low, high], kept within [0, size).
inline void sample_range(double low, double high, int size, int& first, int& last) {
  first = static_cast<int>(std::ceil(std::clamp(low, 0.0, size + 1.0) - 0.5));
  last = static_cast<int>(std::floor(std::clamp(high, -1.0, double(size)) - 0.5));
  first = std::max(first, 0);
  last = std::min(last, size - 1);
}

void draw_triangle(const MeshTarget& target, const Corner& a, const Corner& b, const Corner& c, int32_t face,
                   bool perspective) {
  const double area = edge(a, b, c.x, c.y);
  if (!(std::fabs(area) > 1e-12)) return;  // also when a coordinate is not a number
  int x0, x1, y0, y1;
  sample_range(std::min({a.x, b.x, c.x}), std::max({a.x, b.x, c.x}), target.width, x0, x1);
  sample_range(std::min({a.y, b.y, c.y}), std::max({a.y, b.y, c.y}), target.height, y0, y1);
  const double scale = 1 / area;
  for (int y = y0; y <= y1; y++) {
    for (int x = x0; x <= x1; x++) {
      const double px = x + 0.5, py = y + 0.5;
      const double u = edge(b, c, px, py) * scale, v = edge(c, a, px, py) * scale, w = edge(a, b, px, py) * scale;
      if (u < 0 || v < 0 || w < 0) continue;
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
    // The clamp also turns what is not a number into a place inside.
    const float x = std::min(std::max(places[2 * m] * width - 0.5f, 0.0f), float(width - 1));
    const float y = std::min(std::max(places[2 * m + 1] * height - 0.5f, 0.0f), float(height - 1));
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
