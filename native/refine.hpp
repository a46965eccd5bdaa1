// One step of refinement (§3.3) without anything in between: bind, draw, compare, differentiate, Adam, clamp.
// spatialavatar/refine/loop.py has the same step in torch, which is the form to read.
#pragma once
#include <chrono>
#include <cmath>
#include <cstring>

#include "binding.hpp"
#include "loss.hpp"
#include "refine_context.hpp"
#include "render.hpp"

namespace KERNEL_ISA {

// Adam's decay of the second moment, and what both moments take of the new gradient: 1 - 0.9 and 1 - 0.999.
constexpr float KEPT_SECOND = 0.999f, TAKEN_FIRST = 0.1f, TAKEN_SECOND = 0.001f;
constexpr int ROWS_PER_TASK = 32;

static ALWAYS_INLINE f8 sigmoid(f8 x) {
  const f8 value = 1.0f / (1.0f + exp2(max(min(x * -LOG2_E, splat(120.0f)), splat(-120.0f))));
  return select(x != x, x, value);  // NaN stays NaN
}

// What is drawn of Gaussians begin .. end - 1: values with the residual head's corrections, opacities, hidden colours.
static void prepare_locals(const RefineArguments& a, RefineContext& c, int begin, int end) {
  if (a.corrections[POSITION])
    for (const int attribute : {POSITION, ROTATION, LOG_SCALE, COLOR}) {
      const size_t first = (size_t)begin * WIDTHS[attribute], last = (size_t)end * WIDTHS[attribute];
      const float *value = a.values[attribute], *correction = a.corrections[attribute];
      float* out = c.locals[attribute].data();
      for (size_t i = first; i < last; i++) out[i] = value[i] + correction[i];
      if (attribute == COLOR)
        for (size_t i = first; i < last; i++) out[i] = out[i] < 0.0f ? 0.0f : out[i] > 1.0f ? 1.0f : out[i];
    }
  else if (a.weight)
    std::memcpy(c.locals[COLOR].data() + (size_t)begin * 3, a.values[COLOR] + (size_t)begin * 3,
                sizeof(float) * 3 * (end - begin));
  if (a.weight) {
    float* colors = c.locals[COLOR].data();
    for (int i = begin; i < end; i++)
      if (a.weight[i] < a.settings.hidden_evidence)
        for (int k = 0; k < 3; k++) colors[(size_t)i * 3 + k] = a.settings.background[k];
  }
  const float* logits = a.values[OPACITY];
  float* opacities = c.opacities.data();
  for (int i = begin; i < end; i += 8) {
    f8 x;
    load_rows<1>(logits, i, a.count, &x);
    const f8 value = sigmoid(x);
    store_rows<1>(opacities, i, a.count, &value);
  }
}

// The frame over the background by its matte (Eq. 13), in one row of all planes; x0 .. x1 - 1 only.
static void compose_row(const RefineArguments& a, const float* image, float* target, int row, int x0, int x1) {
  const int width = a.camera.width, box_width = a.box_x1 - a.box_x0;
  const size_t plane = (size_t)width * a.camera.height;
  const bool inside = row >= a.box_y0 && row < a.box_y1;
  const int from = inside ? std::max(x0, a.box_x0) : x1, to = inside ? std::min(x1, a.box_x1) : x1;
  const size_t box_plane = (size_t)box_width * (a.box_y1 - a.box_y0);
  const size_t box_row = inside ? (size_t)(row - a.box_y0) * box_width : 0;
  constexpr float SHARE = 1.0f / 255.0f;
  for (int k = 0; k < 3; k++) {
    const float background = a.settings.background[k];
    float* out = target + k * plane + (size_t)row * width;
    for (int x = x0; x < std::max(from, x0); x++) out[x] = background;
    if (inside && from < to) {
      const uint8_t* color = a.frame + k * box_plane + box_row - a.box_x0;
      const uint8_t* matte = a.matte + box_row - a.box_x0;
      for (int x = from; x < to; x++)
        out[x] = ((float)color[x] * SHARE - background) * ((float)matte[x] * SHARE) + background;
    }
    for (int x = std::max(to, x0); x < x1; x++) out[x] = background;
    const float* drawn = image + k * plane + (size_t)row * width;
    const bool filmed_row = row >= a.filmed_y0 && row < a.filmed_y1;
    const int filmed_x0 = filmed_row ? std::min(a.filmed_x0, x1) : x1, filmed_x1 = std::max(a.filmed_x1, x0);
    for (int x = x0; x < filmed_x0; x++) out[x] = drawn[x];
    for (int x = filmed_x1; x < x1; x++) out[x] = drawn[x];
    if (row < a.disregard_from) continue;
    for (int x = x0; x < x1; x++)
      if (x < from || x >= to || a.matte[box_row + x - a.box_x0] < 128) out[x] = drawn[x];
  }
}

// Adam on `count` numbers in a row; the arithmetic of torch.optim.Adam.
static void adam(float* value, float* first, float* second, const float* gradient, size_t count, float step_size,
                 float second_correction, float epsilon) {
  const float inverse = 1.0f / second_correction;
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const f8 g = load(gradient + i);
    const f8 m = load(first + i) + TAKEN_FIRST * (g - load(first + i));
    const f8 v = load(second + i) * KEPT_SECOND + TAKEN_SECOND * g * g;
    store(first + i, m);
    store(second + i, v);
    store(value + i, load(value + i) - step_size * m / (square_root(v) * inverse + epsilon));
  }
  for (; i < count; i++) {
    const float g = gradient[i];
    first[i] += TAKEN_FIRST * (g - first[i]);
    second[i] = second[i] * KEPT_SECOND + TAKEN_SECOND * g * g;
    value[i] -= step_size * first[i] / (std::sqrt(second[i]) * inverse + epsilon);
  }
}

// Into an absolute range, then each Gaussian's spread about its mean (refine/anti_spike.py).
static void clamp_shapes(const RefineArguments& a, int begin, int end) {
  for (int i = begin; i < end; i += 8) {
    f8 x[3], low, high;
    load_rows<3>(a.values[LOG_SCALE], i, a.count, x);
    load_rows<1>(a.lowest, i, a.count, &low);
    load_rows<1>(a.highest, i, a.count, &high);
    for (int k = 0; k < 3; k++) x[k] = min(high, max(low, x[k]));  // NaN stays NaN
    const f8 spread = max(max(x[0], x[1]), x[2]) - min(min(x[0], x[1]), x[2]);
    const i8 wide = spread > a.settings.spread;
    const f8 mean = (x[0] + x[1] + x[2]) * (1.0f / 3.0f), factor = a.settings.spread / spread;
    for (int k = 0; k < 3; k++) x[k] = select(wide, (x[k] - mean) * factor + mean, x[k]);
    store_rows<3>(a.values[LOG_SCALE], i, end, x);
  }
}

// ReLU(longest - shortest - threshold) of 8 Gaussians' log-scales, and `share` times its gradient; see
// refine/anti_spike.py. Equal axes share a gradient, and so does an axis with the bound that it lies on.
static ALWAYS_INLINE f8 own_aspect_excess(const f8 x[3], f8 lowest, i8 counts, float threshold, float share,
                                          f8 gradient[3]) {
  f8 floored[3];
  for (int k = 0; k < 3; k++) floored[k] = max(x[k], lowest);
  const f8 longest = max(max(floored[0], floored[1]), floored[2]);
  const f8 shortest = min(min(floored[0], floored[1]), floored[2]);
  const f8 excess = longest - shortest - threshold;
  const i8 pays = (excess > 0.0f) & counts;
  const f8 one = splat(1.0f);
  f8 longest_count = splat(0.0f), shortest_count = splat(0.0f);
  for (int k = 0; k < 3; k++) {
    longest_count += keep(floored[k] == longest, one);
    shortest_count += keep(floored[k] == shortest, one);
  }
  for (int k = 0; k < 3; k++) {
    const f8 outer = keep(floored[k] == longest, share / longest_count) - keep(floored[k] == shortest, share / shortest_count);
    const f8 own = select(x[k] == lowest, splat(0.5f), keep(x[k] > lowest, one));
    gradient[k] = keep(pays, outer * own);
  }
  return keep(pays, excess);
}

// Gradients of a chunk's parameters; row 0 is that of Gaussian `first_row`.
struct ParameterGradients {
  float* of[ATTRIBUTES];
  int first_row;
};

// `backward` with the gradients in the world going where those of the parameters will be: they are turned in place.
static BackwardArguments into(BackwardArguments backward, const ParameterGradients& g) {
  backward.positions = g.of[POSITION];
  backward.quaternions_wxyz = g.of[ROTATION];
  backward.scales = g.of[LOG_SCALE];
  backward.opacities = g.of[OPACITY];
  backward.colors = g.of[COLOR];
  return backward;
}

// The gradients of 8 Gaussians' corrections: those of what moves.
static ALWAYS_INLINE void store_moving(float* out, int i, int end, const f8 gradient[3], f8 moving) {
  const f8 felt[3] = {gradient[0] * moving, gradient[1] * moving, gradient[2] * moving};
  store_rows<3>(out, i, end, felt);
}

// From the frames' gradients to the parameters' own: opacity logits, colours that were drawn, tethers, what moves.
static void complete_gradients(const RefineArguments& a, const RefineContext& c, const ParameterGradients& g, int begin,
                               int end, double* own_aspect_sum) {
  const RefineSettings& s = a.settings;
  const bool stretched = s.aspect_weight > 0.0f;
  const f8 lane = {0, 1, 2, 3, 4, 5, 6, 7};
  const float share = s.aspect_weight * s.own_aspect_factor / (float)a.count;
  double own_aspect = 0.0;
  for (int i = begin; i < end; i += 8) {
    const int row = i - g.first_row, rows_end = end - g.first_row;
    f8 log_scale[3], lowest, own[3];
    load_rows<3>(a.values[LOG_SCALE], i, a.count, log_scale);
    if (stretched) {
      load_rows<1>(a.lowest, i, a.count, &lowest);
      const i8 counts = lane < (float)(end - i);
      own_aspect += sum_lanes(own_aspect_excess(log_scale, lowest, counts, s.own_aspect_threshold, share, own));
    }
    if (!c.wanted.data()[i / 8]) {
      for (float* felt : {a.grad_positions, a.grad_colors})
        if (felt) std::fill(felt + 3 * (size_t)i, felt + 3 * (size_t)std::min(i + 8, end), 0.0f);
      continue;
    }
    f8 moving = splat(1.0f), position[3], quaternion[4], scale[3], value[4], start[3], opacity, opacity_gradient, color[3];
    if (a.moving) load_rows<1>(a.moving, i, a.count, &moving);
    load_rows<3>(g.of[POSITION], row, rows_end, position);
    if (a.grad_positions) store_moving(a.grad_positions, i, end, position, moving);
    load_rows<3>(a.values[POSITION], i, a.count, value);
    load_rows<3>(a.anchors, i, a.count, start);
    for (int k = 0; k < 3; k++) position[k] = (position[k] + s.position_tether * (value[k] - start[k])) * moving;
    store_rows<3>(g.of[POSITION], row, rows_end, position);
    load_rows<4>(g.of[ROTATION], row, rows_end, quaternion);
    for (int k = 0; k < 4; k++) quaternion[k] = quaternion[k] * moving;
    store_rows<4>(g.of[ROTATION], row, rows_end, quaternion);
    load_rows<3>(g.of[LOG_SCALE], row, rows_end, scale);
    load_rows<3>(a.start_log_scales, i, a.count, start);
    for (int k = 0; k < 3; k++) {
      if (stretched) scale[k] += own[k];
      scale[k] = (scale[k] + s.log_scale_tether * (log_scale[k] - start[k])) * moving;
    }
    store_rows<3>(g.of[LOG_SCALE], row, rows_end, scale);
    load_rows<1>(c.opacities.data(), i, a.count, &opacity);
    load_rows<1>(g.of[OPACITY], row, rows_end, &opacity_gradient);
    opacity_gradient = (opacity_gradient * opacity * (1.0f - opacity) - s.opacity_tether) * moving;
    store_rows<1>(g.of[OPACITY], row, rows_end, &opacity_gradient);
    load_rows<3>(g.of[COLOR], row, rows_end, color);
    i8 drawn = splat_int(-1);
    if (a.weight) {
      f8 weight;
      load_rows<1>(a.weight, i, a.count, &weight);
      drawn = ~(weight < s.hidden_evidence);
    }
    if (a.corrections[COLOR]) {
      f8 correction[3];
      load_rows<3>(a.corrections[COLOR], i, a.count, correction);
      load_rows<3>(a.values[COLOR], i, a.count, value);
      for (int k = 0; k < 3; k++) {
        const f8 sum = value[k] + correction[k];
        color[k] = keep((sum >= 0.0f) & (sum <= 1.0f), color[k]);
      }
    }
    load_rows<3>(a.values[COLOR], i, a.count, value);
    load_rows<3>(a.start_colors, i, a.count, start);
    for (int k = 0; k < 3; k++) color[k] = keep(drawn, color[k]);
    if (a.grad_colors) store_moving(a.grad_colors, i, end, color, moving);
    for (int k = 0; k < 3; k++) color[k] = (color[k] + s.color_tether * (value[k] - start[k])) * moving;
    store_rows<3>(g.of[COLOR], row, rows_end, color);
  }
  for (int attribute = 0; attribute < ATTRIBUTES; attribute++) {
    if (!a.extra[attribute]) continue;
    const int width = WIDTHS[attribute];
    for (int i = begin; i < end; i++) {
      if (!c.wanted.data()[i / 8]) continue;
      const float moving = a.moving ? a.moving[i] : 1.0f;
      for (int k = 0; k < width; k++)
        g.of[attribute][(size_t)(i - g.first_row) * width + k] += a.extra[attribute][(size_t)i * width + k] * moving;
    }
  }
  *own_aspect_sum = own_aspect;
}

// Adam and the clamps on a chunk's Gaussians, run by run of those that are wanted.
static void update_values(const RefineArguments& a, const RefineContext& c, const ParameterGradients& g, int begin,
                          int end) {
  const RefineSettings& s = a.settings;
  const uint8_t* wanted = c.wanted.data();
  for (int i = begin; i < end;) {
    const int from = i;
    while (i < end && wanted[i / 8]) i += 8;
    const int to = std::min(i, end);
    for (int attribute = 0; attribute < ATTRIBUTES && from < to; attribute++) {
      const size_t width = WIDTHS[attribute], offset = from * width;
      adam(a.values[attribute] + offset, a.first_moments[attribute] + offset, a.second_moments[attribute] + offset,
           g.of[attribute] + (from - g.first_row) * width, (to - from) * width, s.step_sizes[attribute],
           s.second_correction, s.epsilons[attribute]);
    }
    if (from < to) {
      if (s.clamp) clamp_shapes(a, from, to);
      float* colors = a.values[COLOR];
      size_t j = (size_t)from * 3;
      for (const size_t last = (size_t)to * 3; j < last; j++)
        colors[j] = colors[j] < 0.0f ? 0.0f : colors[j] > 1.0f ? 1.0f : colors[j];
    }
    while (i < end && !wanted[i / 8]) i += 8;
  }
}

// Which groups of a chunk the step may change: those with a Gaussian that moves, or that still has momentum.
static void find_wanted(const RefineArguments& a, RefineContext& c, int begin, int end, bool known) {
  for (int i = begin; i < end; i += 8) {
    const int last = std::min(i + 8, end);
    uint8_t &active = c.active.data()[i / 8], &wanted = c.wanted.data()[i / 8];
    if (!known) {
      active = 0;
      for (int attribute = 0; attribute < ATTRIBUTES; attribute++)
        for (size_t j = (size_t)i * WIDTHS[attribute]; j < (size_t)last * WIDTHS[attribute]; j++)
          active |= a.first_moments[attribute][j] != 0.0f || a.second_moments[attribute][j] != 0.0f;
    }
    wanted = !a.moving;
    for (int j = i; a.moving && j < last; j++) wanted |= a.moving[j] != 0.0f;
    active |= wanted;
    wanted = active;
  }
}

// From the gradients in the world to those in the frames, for Gaussians begin .. end - 1; in place, row 0 is `begin`.
static void unbind_range(const BindingArguments& b, const ParameterGradients& g, const uint8_t* wanted, int begin,
                         int end) {
  int face = face_of(b, begin);
  for (int i = begin; i < end; face++) {
    const int face_end = std::min<int>(b.first_of_face[face + 1], end);
    bool any = false;
    for (int j = i; j < face_end; j++) any |= wanted[j / 8];
    if (!any) {
      i = std::max(i, face_end);
      continue;
    }
    TriangleFrame f;
    triangle_frame(b.vertices, b.faces + 3 * (size_t)face, f);
    const float conjugate[4] = {f.quaternion[0], -f.quaternion[1], -f.quaternion[2], -f.quaternion[3]};
    for (; i < face_end; i++) {
      const size_t row = i - begin;
      float *position = g.of[POSITION] + 3 * row, *quaternion = g.of[ROTATION] + 4 * row;
      into_frame(f, conjugate, position, quaternion, position, quaternion);
      for (int k = 0; k < 3; k++) g.of[LOG_SCALE][3 * row + k] *= b.scales[3 * (size_t)i + k];
    }
  }
}

static void reserve_buffers(const RefineArguments& a, RefineContext& c) {
  const size_t n = a.count, area = (size_t)a.camera.width * a.camera.height;
  const size_t chunks = (n + CHUNK - 1) / CHUNK, groups = (n + 7) / 8;
  c.positions.reserve(3 * n);
  c.quaternions.reserve(4 * n);
  c.scales.reserve(3 * n);
  c.opacities.reserve(n);
  for (int k = 0; k < ATTRIBUTES; k++)
    if (a.corrections[k] || (k == COLOR && a.weight)) c.locals[k].reserve(WIDTHS[k] * n);
  c.image.reserve(3 * area);
  c.target.reserve(3 * area);
  c.gradient.reserve(3 * area);
  c.scratch.reserve(loss_scratch_size(3, a.camera.height, a.camera.width));
  c.loss_sums.reserve(loss_task_limit(3, a.camera.height, a.camera.width));
  c.aspect_sums.reserve(chunks);
  c.own_aspect_sums.reserve(chunks);
  if (c.known_groups != (int)groups) {
    c.known_groups = 0;
    c.active.reserve(groups);
    c.wanted.reserve(groups);
  }
  if (a.grad_vertices) {
    for (int k = 0; k < ATTRIBUTES; k++) c.gradients[k].reserve(WIDTHS[k] * n);
    c.face_gradients.reserve(9 * (size_t)a.binding.faces_count);
  }
}

// The box in which image and target may differ, and that SSIM sees: a window's reach around, twice.
static bool loss_box(const RefineArguments& a, const Context& context, LossArguments& loss) {
  int x0 = a.box_x0, x1 = a.box_x1, y0 = a.box_y0, y1 = a.box_y1;
  if (context.drawn) {
    x0 = std::min(x0, context.box.first_x);
    x1 = std::max(x1, context.box.last_x + 1);
    y0 = std::min(y0, context.box.first_y);
    y1 = std::max(y1, context.box.last_y + 1);
  }
  constexpr int REACH = WINDOW - 1;
  loss.x0 = std::max(0, x0 - REACH);
  loss.x1 = std::min(a.camera.width, x1 + REACH);
  loss.y0 = std::max(0, y0 - REACH);
  loss.y1 = std::min(a.camera.height, y1 + REACH);
  return loss.x0 < loss.x1 && loss.y0 < loss.y1;
}

// Adds the time since the last phase to one.
struct Watch {
  double* phases;
  std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();

  ALWAYS_INLINE void next(int phase) {
    const auto now = std::chrono::steady_clock::now();
    phases[phase] += std::chrono::duration<double>(now - last).count();
    last = now;
  }
};

// One step. Returns the loss before it.
static double refine_step(const RefineArguments& a, RefineContext& c) {
  const int n = a.count, chunks = (n + CHUNK - 1) / CHUNK;
  const RefineSettings& s = a.settings;
  const bool stretched = s.aspect_weight > 0.0f;
  Watch watch{c.phases};
  reserve_buffers(a, c);
  Context& context = c.render;
  context.camera = a.camera;
  context.count = n;
  context.channels = 3;
  const auto drawn_of = [&](Attribute k) { return a.corrections[k] ? c.locals[k].data() : a.values[k]; };
  BindingArguments b = a.binding;
  b.local_positions = drawn_of(POSITION);
  b.local_quaternions = drawn_of(ROTATION);
  b.log_scales = drawn_of(LOG_SCALE);
  b.positions = c.positions.data();
  b.quaternions = c.quaternions.data();
  b.scales = c.scales.data();

  ForwardArguments forward{};
  forward.gaussians = {b.positions, b.quaternions, b.scales, c.opacities.data(),
                       a.corrections[COLOR] || a.weight ? c.locals[COLOR].data() : a.values[COLOR]};
  forward.background = s.background.data();
  forward.image = c.image.data();
  forward.aspect_sums = stretched ? c.aspect_sums.data() : nullptr;
  forward.aspect_threshold = s.aspect_threshold;
  prepare_projection(context, s.background.data());
  const bool known = c.known_groups > 0;
  parallel_for(chunks, [&](int chunk) {
    const int begin = chunk * CHUNK, end = std::min(n, begin + CHUNK);
    find_wanted(a, c, begin, end, known);
    prepare_locals(a, c, begin, end);
    bind_range(b, face_of(b, begin), begin, end);
    project_chunk(context, forward, chunk);
  });
  c.known_groups = (n + 7) / 8;
  watch.next(0);
  sort_projected(context);
  watch.next(1);
  blend_sorted(context, forward);
  watch.next(2);

  LossArguments loss{};
  loss.image = forward.image;
  loss.target = c.target.data();
  loss.gradient = c.gradient.data();
  loss.scratch = c.scratch.data();
  loss.sums = c.loss_sums.data();
  loss.channels = 3;
  loss.height = a.camera.height;
  loss.width = a.camera.width;
  loss.l1_weight = s.l1_weight;
  loss.ssim_weight = s.ssim_weight;
  double total = 0.0;
  const bool compared = loss_box(a, context, loss);
  if (compared) {
    // The windows at the border of the box reach further.
    const int x0 = std::max(0, loss.x0 - HALF_WINDOW), x1 = std::min(loss.width, loss.x1 + HALF_WINDOW);
    const int y0 = std::max(0, loss.y0 - HALF_WINDOW), y1 = std::min(loss.height, loss.y1 + HALF_WINDOW);
    parallel_for((y1 - y0 + ROWS_PER_TASK - 1) / ROWS_PER_TASK, [&](int task) {
      const int first = y0 + task * ROWS_PER_TASK, last = std::min(y1, first + ROWS_PER_TASK);
      for (int row = first; row < last; row++) compose_row(a, forward.image, c.target.data(), row, x0, x1);
    });
    total = l1_ssim(loss);
  }
  watch.next(3);

  BackwardArguments backward{};
  backward.gaussians = forward.gaussians;
  backward.image = compared ? loss.gradient : nullptr;
  backward.aspect_share = stretched ? s.aspect_weight / (float)n : 0.0f;
  backward.aspect_threshold = s.aspect_threshold;
  const bool drawn = unblend_tiles(context, backward);
  watch.next(4);
  if (a.grad_vertices) {
    ParameterGradients all{};
    for (int k = 0; k < ATTRIBUTES; k++) all.of[k] = c.gradients[k].data();
    const BackwardArguments world = into(backward, all);
    parallel_for(chunks, [&](int chunk) { unproject_chunk(context, world, chunk, drawn); });
    // In place: a Gaussian's gradients in the world are read before those in its frame are written.
    b.grad_positions = b.grad_local_positions = all.of[POSITION];
    b.grad_quaternions = b.grad_local_quaternions = all.of[ROTATION];
    b.grad_scales = b.grad_log_scales = all.of[LOG_SCALE];
    b.face_gradients = c.face_gradients.data();
    b.grad_vertices = a.grad_vertices;
    bind_backward(b);
    parallel_for(chunks, [&](int chunk) {
      const int begin = chunk * CHUNK, end = std::min(n, begin + CHUNK);
      complete_gradients(a, c, all, begin, end, &c.own_aspect_sums.data()[chunk]);
      update_values(a, c, all, begin, end);
    });
  } else {
    backward.wanted = c.wanted.data();
    parallel_for(chunks, [&](int chunk) {
      alignas(64) float gradients[14 * CHUNK];
      const int begin = chunk * CHUNK, end = std::min(n, begin + CHUNK);
      ParameterGradients own{{gradients, gradients + 3 * CHUNK, gradients + 7 * CHUNK, gradients + 10 * CHUNK,
                              gradients + 11 * CHUNK},
                             begin};
      unproject_chunk(context, into(backward, own), chunk, drawn, begin);
      unbind_range(b, own, c.wanted.data(), begin, end);
      complete_gradients(a, c, own, begin, end, &c.own_aspect_sums.data()[chunk]);
      update_values(a, c, own, begin, end);
    });
  }
  if (stretched) {
    double excess = 0.0;
    for (int chunk = 0; chunk < chunks; chunk++)
      excess += c.aspect_sums.data()[chunk] + s.own_aspect_factor * c.own_aspect_sums.data()[chunk];
    total += s.aspect_weight * (excess / std::max(n, 1));
  }
  watch.next(5);
  return total;
}

}  // namespace KERNEL_ISA
