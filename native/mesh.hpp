// A z-buffer for triangle meshes: which triangle each sample of an image shows and where on it, attributes carried over,
// textures looked up. It draws the made-up people of synth/, so it shares nothing with the Gaussian rasteriser that is
// trained on them.
//
// All arithmetic is in double precision and in a fixed order: the same input gives the same bits, whoever calls.
#pragma once
#include <cstddef>
#include <cstdint>

// What has been drawn so far. Later calls draw in front of or behind it.
struct MeshTarget {
  int width, height;
  float* nearness;     // (H, W) of the nearest surface, larger is nearer; 0 where nothing was drawn (perspective)
  int32_t* face;       // (H, W) triangle, -1 where nothing was drawn
  float* barycentric;  // (H, W, 2) weights of its second and third corner
};

// Draws triangles, both sides. A sample at column j and row i lies at (j + 0.5, i + 0.5); it belongs to a triangle whose
// closed area it lies in, and of equally near ones to the one drawn first.
//
// points: (V, 3) x, y in samples and nearness. With `perspective` nearness is 1 / depth, triangles with a corner at
// nearness <= 0 are left out, and the weights are those on the surface in space; without, nearness is any linear
// function of depth.
void draw_triangles(const MeshTarget& target, const float* points, const int32_t* faces, std::size_t face_count,
                    int32_t first_face, bool perspective);

// (M, C) = attributes (V, C) of the corners of `face[m]`, weighted.
void interpolate_corners(const int32_t* face, const float* barycentric, std::size_t count, const int32_t* faces,
                         const float* attributes, int channels, float* result);

// (M, C) = texture (H, W, C) at places (M, 2), bilinear; (0, 0) is the left upper corner of the left upper texel and
// (1, 1) the right lower corner of the last. Beyond the border the last texel repeats; NaN counts as 0.
void sample_texture(const float* texture, int height, int width, int channels, const float* places, std::size_t count,
                    float* result);
