// Gaussians bound to triangles (Eq. 1 and 8). spatialavatar/avatar/binding.py is the form to read.
#pragma once
#include <algorithm>
#include <cmath>

#include "constants.hpp"
#include "context.hpp"
#include "pool.hpp"
#include "simd.hpp"

namespace KERNEL_ISA {

constexpr int FACES_PER_TASK = 512, VERTICES_PER_TASK = 1024;

static ALWAYS_INLINE float dot(const float* a, const float* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
static ALWAYS_INLINE float norm(const float* a) { return std::sqrt(dot(a, a)); }
static ALWAYS_INLINE void cross(const float* a, const float* b, float* out) {
  out[0] = a[1] * b[2] - a[2] * b[1];
  out[1] = a[2] * b[0] - a[0] * b[2];
  out[2] = a[0] * b[1] - a[1] * b[0];
}
static ALWAYS_INLINE void multiply_quaternions(const float* a, const float* b, float* out) {
  out[0] = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3];
  out[1] = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2];
  out[2] = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1];
  out[3] = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0];
}

struct TriangleFrame {
  float edge[3], side[3];  // v1 - v0, v2 - v0
  float center[3];
  float a0[3], a1[3], a2[3];  // right-handed
  float quaternion[4];
  float edge_length, normal_length, altitude, scale;
  bool has_edge, has_normal, scale_is_floor;
};

// Unit quaternion, with w >= 0, of the rotation with columns a0, a1, a2. Row k of 4 q q^T is 4 q_k q; the row with the
// largest diagonal entry is the accurate one.
static ALWAYS_INLINE void quaternion_of_columns(const float* a0, const float* a1, const float* a2, float* q) {
  const float m00 = a0[0], m10 = a0[1], m20 = a0[2], m01 = a1[0], m11 = a1[1], m21 = a1[2];
  const float m02 = a2[0], m12 = a2[1], m22 = a2[2];
  const float diagonal[4] = {1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22};
  int best = 0;
  for (int k = 1; k < 4; k++)
    if (diagonal[k] > diagonal[best]) best = k;
  const float wx = m21 - m12, wy = m02 - m20, wz = m10 - m01, xy = m01 + m10, xz = m02 + m20, yz = m12 + m21;
  const float rows[4][4] = {
      {diagonal[0], wx, wy, wz}, {wx, diagonal[1], xy, xz}, {wy, xy, diagonal[2], yz}, {wz, xz, yz, diagonal[3]}};
  const float* row = rows[best];
  const float length = std::sqrt(row[0] * row[0] + row[1] * row[1] + row[2] * row[2] + row[3] * row[3]);
  const float factor = (row[0] < 0.0f ? -1.0f : 1.0f) / length;
  for (int k = 0; k < 4; k++) q[k] = row[k] * factor;
}

static ALWAYS_INLINE void triangle_frame(const float* vertices, const int32_t* face, TriangleFrame& o) {
  const float *v0 = vertices + 3 * (size_t)face[0], *v1 = vertices + 3 * (size_t)face[1];
  const float* v2 = vertices + 3 * (size_t)face[2];
  for (int i = 0; i < 3; i++) {
    o.edge[i] = v1[i] - v0[i];
    o.side[i] = v2[i] - v0[i];
    o.center[i] = (v0[i] + v1[i] + v2[i]) * (1.0f / 3.0f);
  }
  float normal[3];
  cross(o.edge, o.side, normal);
  o.edge_length = norm(o.edge);
  o.normal_length = norm(normal);
  o.has_edge = o.edge_length > MIN_EDGE;
  o.has_normal = o.has_edge && o.normal_length > MIN_SINE * o.edge_length * norm(o.side);
  const float inverse_edge = o.has_edge ? 1.0f / o.edge_length : 0.0f;
  for (int i = 0; i < 3; i++) o.a0[i] = o.has_edge ? o.edge[i] * inverse_edge : (i == 0 ? 1.0f : 0.0f);
  if (o.has_normal) {
    for (int i = 0; i < 3; i++) o.a1[i] = normal[i] / o.normal_length;
  } else {  // any direction at right angles to a0: across the axis that a0 is furthest from
    int axis = 0;
    for (int i = 1; i < 3; i++)
      if (std::fabs(o.a0[i]) < std::fabs(o.a0[axis])) axis = i;
    const float unit[3] = {axis == 0 ? 1.0f : 0.0f, axis == 1 ? 1.0f : 0.0f, axis == 2 ? 1.0f : 0.0f};
    cross(o.a0, unit, o.a1);
    const float inverse = 1.0f / norm(o.a1);
    for (int i = 0; i < 3; i++) o.a1[i] *= inverse;
  }
  cross(o.a0, o.a1, o.a2);
  quaternion_of_columns(o.a0, o.a1, o.a2, o.quaternion);
  o.altitude = o.has_normal ? o.normal_length * inverse_edge : 0.0f;
  o.scale = 0.5f * ((o.has_edge ? o.edge_length : 0.0f) + o.altitude);
  o.scale_is_floor = !(o.scale >= MIN_EDGE);
  if (o.scale_is_floor) o.scale = MIN_EDGE;
}

// The triangle that Gaussian i belongs to.
static int face_of(const BindingArguments& b, int i) {
  return (int)(std::upper_bound(b.first_of_face, b.first_of_face + b.faces_count + 1, i) - b.first_of_face) - 1;
}

// Carries Gaussians begin .. end - 1 of the triangles from `face` on into the world.
static void bind_range(const BindingArguments& b, int face, int begin, int end) {
  for (int next = begin; next < end; face++) {
    const size_t face_end = std::min(b.first_of_face[face + 1], end);
    if ((size_t)next == face_end) continue;
    TriangleFrame f;
    triangle_frame(b.vertices, b.faces + 3 * (size_t)face, f);
    for (size_t i = next; i < face_end; i++) {
      const float* local = b.local_positions + 3 * i;
      for (int k = 0; k < 3; k++) {
        const float turned = f.a0[k] * local[0] + f.a1[k] * local[1] + f.a2[k] * local[2];
        b.positions[3 * i + k] = f.scale * turned + f.center[k];
        b.scales[3 * i + k] = f.scale;
      }
      multiply_quaternions(f.quaternion, b.local_quaternions + 4 * i, b.quaternions + 4 * i);
    }
    next = (int)face_end;
  }
  // The exponentials of the whole range at once, eight at a time; e^42 is beyond any use, and far from overflow.
  size_t i = 3 * (size_t)begin;
  const size_t last = 3 * (size_t)end;
  for (; i + 8 <= last; i += 8) {
    const f8 power = load(b.log_scales + i) * LOG2_E;
    const f8 scale = load(b.scales + i) * exp2(max(min(power, splat(60.0f)), splat(-60.0f)));
    store(b.scales + i, select(power != power, power, scale));  // NaN stays NaN
  }
  for (; i < last; i++) b.scales[i] *= std::exp(b.log_scales[i]);
}

static void bind_forward(const BindingArguments& b) {
  const int tasks = (b.faces_count + FACES_PER_TASK - 1) / FACES_PER_TASK;
  parallel_for(tasks, [&](int task) {
    const int face = task * FACES_PER_TASK, face_end = std::min(b.faces_count, face + FACES_PER_TASK);
    bind_range(b, face, b.first_of_face[face], b.first_of_face[face_end]);
  });
}

// What a triangle's frame receives from its Gaussians: a torque, omega = dLoss/d(rotation vector in the world), a force
// on the centre, and the derivative by the scale.
struct FrameGradient {
  float omega[3] = {}, center[3] = {}, scale = 0.0f;
};

// From the frame to the three corners of the triangle (9 floats).
static ALWAYS_INLINE void corner_gradients(const TriangleFrame& f, const FrameGradient& g, float* out) {
  float edge_gradient[3] = {}, side_gradient[3] = {};
  if (f.has_normal) {
    // A turn (w0, w1, w2) about (a0, a1, a2) comes from the edge, w1 = -a2.dedge / |edge|, w2 = a1.dedge / |edge|, and
    // from the normal n = edge x side, w0 = a2.dn / |n|. The scale is (|edge| + altitude) / 2 with altitude = |n| /
    // |edge|, d|edge| = a0.dedge and d|n| = a1.dn.
    const float inverse_edge = 1.0f / f.edge_length, inverse_normal = 1.0f / f.normal_length;
    const float w0 = dot(g.omega, f.a0) * inverse_normal, w1 = dot(g.omega, f.a1) * inverse_edge;
    const float w2 = dot(g.omega, f.a2) * inverse_edge;
    const float half_scale = f.scale_is_floor ? 0.0f : 0.5f * g.scale;
    const float grow = half_scale * inverse_edge, stretch = half_scale * (1.0f - f.altitude * inverse_edge);
    float normal_gradient[3], from_side[3], from_edge[3];
    for (int i = 0; i < 3; i++) normal_gradient[i] = w0 * f.a2[i] + grow * f.a1[i];
    cross(f.side, normal_gradient, from_side);  // v.(dedge x side) = dedge.(side x v)
    cross(normal_gradient, f.edge, from_edge);  // v.(edge x dside) = dside.(v x edge)
    for (int i = 0; i < 3; i++) {
      edge_gradient[i] = w2 * f.a1[i] - w1 * f.a2[i] + stretch * f.a0[i] + from_side[i];
      side_gradient[i] = from_edge[i];
    }
  } else if (f.has_edge && !f.scale_is_floor) {
    for (int i = 0; i < 3; i++) edge_gradient[i] = 0.5f * g.scale * f.a0[i];
  }
  for (int i = 0; i < 3; i++) {
    const float third = g.center[i] * (1.0f / 3.0f);
    out[i] = third - edge_gradient[i] - side_gradient[i];
    out[3 + i] = third + edge_gradient[i];
    out[6 + i] = third + side_gradient[i];
  }
}

// Gradients of a position and a quaternion in the world, as those in the frame. What goes out may be what came in.
static ALWAYS_INLINE void into_frame(const TriangleFrame& f, const float* conjugate, const float* grad_position,
                                     const float* grad_quaternion, float* local_position, float* local_quaternion) {
  const float position[3] = {grad_position[0], grad_position[1], grad_position[2]};
  const float quaternion[4] = {grad_quaternion[0], grad_quaternion[1], grad_quaternion[2], grad_quaternion[3]};
  local_position[0] = f.scale * dot(f.a0, position);
  local_position[1] = f.scale * dot(f.a1, position);
  local_position[2] = f.scale * dot(f.a2, position);
  multiply_quaternions(conjugate, quaternion, local_quaternion);
}

// One triangle's share: the gradients of its Gaussians, and those of its corners into `face_gradients`.
static void bind_backward_face(const BindingArguments& b, int face) {
  const size_t begin = b.first_of_face[face], end = b.first_of_face[face + 1];
  float* out = b.face_gradients + 9 * (size_t)face;
  if (begin == end) {
    std::fill_n(out, 9, 0.0f);
    return;
  }
  TriangleFrame f;
  triangle_frame(b.vertices, b.faces + 3 * (size_t)face, f);
  const float conjugate[4] = {f.quaternion[0], -f.quaternion[1], -f.quaternion[2], -f.quaternion[3]};
  const float inverse_scale = 1.0f / f.scale;
  FrameGradient g;
  for (size_t i = begin; i < end; i++) {
    const float* local = b.local_positions + 3 * i;
    // Copies, since the gradients in the frame may take the place of those in the world.
    float grad_position[3], grad_quaternion[4];
    std::copy_n(b.grad_positions + 3 * i, 3, grad_position);
    std::copy_n(b.grad_quaternions + 4 * i, 4, grad_quaternion);
    into_frame(f, conjugate, grad_position, grad_quaternion, b.grad_local_positions + 3 * i,
               b.grad_local_quaternions + 4 * i);

    float arm[3], torque[3];  // from the centre to the Gaussian
    for (int k = 0; k < 3; k++) arm[k] = f.scale * (f.a0[k] * local[0] + f.a1[k] * local[1] + f.a2[k] * local[2]);
    cross(arm, grad_position, torque);
    // A small turn w changes the quaternion q by (0, w) q / 2, so its torque is the vector part of grad q* / 2.
    float world[4], product[4];
    multiply_quaternions(f.quaternion, b.local_quaternions + 4 * i, world);
    const float world_conjugate[4] = {world[0], -world[1], -world[2], -world[3]};
    multiply_quaternions(grad_quaternion, world_conjugate, product);
    for (int k = 0; k < 3; k++) {
      const float grad_log_scale = b.grad_scales[3 * i + k] * b.scales[3 * i + k];
      b.grad_log_scales[3 * i + k] = grad_log_scale;
      g.scale += grad_log_scale * inverse_scale;
      g.center[k] += grad_position[k];
      g.omega[k] += torque[k] + 0.5f * product[1 + k];
    }
    g.scale += dot(arm, grad_position) * inverse_scale;
  }
  corner_gradients(f, g, out);
}

static void bind_backward(const BindingArguments& b) {
  const int tasks = (b.faces_count + FACES_PER_TASK - 1) / FACES_PER_TASK;
  parallel_for(tasks, [&](int task) {
    const int end = std::min(b.faces_count, task * FACES_PER_TASK + FACES_PER_TASK);
    for (int face = task * FACES_PER_TASK; face < end; face++) bind_backward_face(b, face);
  });
  if (!b.grad_vertices) return;
  // Each vertex gathers from its corners, in a fixed order and without atomics.
  parallel_for((b.vertices_count + VERTICES_PER_TASK - 1) / VERTICES_PER_TASK, [&](int task) {
    const int end = std::min(b.vertices_count, task * VERTICES_PER_TASK + VERTICES_PER_TASK);
    for (int vertex = task * VERTICES_PER_TASK; vertex < end; vertex++) {
      float sum[3] = {};
      for (int j = b.first_of_vertex[vertex]; j < b.first_of_vertex[vertex + 1]; j++)
        for (int k = 0; k < 3; k++) sum[k] += b.face_gradients[3 * (size_t)b.corners[j] + k];
      for (int k = 0; k < 3; k++) b.grad_vertices[3 * (size_t)vertex + k] = sum[k];
    }
  });
}

}  // namespace KERNEL_ISA
