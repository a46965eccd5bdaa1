// Data of one refinement step (Stage 2), and of one frame drawn, that the Python module and the kernels share.
#pragma once
#include <array>

#include "context.hpp"

// The Gaussians' attributes in the order of the parameters, and how many numbers each has.
enum Attribute { POSITION, ROTATION, LOG_SCALE, OPACITY, COLOR, ATTRIBUTES };
constexpr int WIDTHS[ATTRIBUTES] = {3, 4, 3, 1, 3};

struct RefineSettings {
  float l1_weight = 0.8f, ssim_weight = 0.2f;
  float aspect_weight = 0.0f, aspect_threshold = 0.0f;  // L_aspect: a weight of 0 leaves both parts out
  float own_aspect_factor = 1.0f, own_aspect_threshold = 0.0f;  // the Gaussians' own axes, times the same weight
  float position_tether = 0.0f, log_scale_tether = 0.0f, color_tether = 0.0f, opacity_tether = 0.0f;
  float hidden_evidence = 0.0f;  // what shows less than this is drawn in the background's colour
  bool clamp = true;             // log-scales, after the step
  float spread = 3.0f;
  // Adam: learning rate over the first bias correction, root of the second, and epsilon.
  std::array<float, ATTRIBUTES> step_sizes{}, epsilons{};
  float second_correction = 1.0f;
  std::array<float, 3> background{};
};

struct RefineArguments {
  RefineSettings settings;
  // Of the binding; its outputs and gradients are set by the kernel.
  BindingArguments binding;
  CameraParameters camera;
  int count;
  float *values[ATTRIBUTES], *first_moments[ATTRIBUTES], *second_moments[ATTRIBUTES];  // changed in place
  const float *anchors, *start_log_scales, *start_colors;  // (N, 3) what tethers of positions and of these lead to
  const float *lowest, *highest;                // (N,) bounds of the log-scales; `lowest` is where own aspects begin
  const float *moving, *weight;                 // (N,) 1 where parameters move, else 0; evidence. Null: all, none hidden
  const float* extra[ATTRIBUTES];               // gradients of other losses, (N, width) each, or null
  const float* corrections[ATTRIBUTES];         // added to the values by a residual head, (N, width) each, or null
  const uint8_t *frame, *matte;                 // (3, h, w), (h, w) bytes
  int box_x0, box_x1, box_y0, box_y1;           // where they lie in the image
  int disregard_from;  // from this row on, pixels in which nobody is are compared with themselves
  int filmed_x0, filmed_x1, filmed_y0, filmed_y1;  // pixels outside of these are compared with themselves
  float* grad_vertices;                         // (V, 3) or null
  float *grad_positions, *grad_colors;          // (N, 3) of the picture's and the aspects' losses alone, or null
};

// What a step's time goes to: bind and project, sort, blend, compose the target and compare, undo the blending, and
// all that follows it (projection's and binding's derivative, Adam, clamps).
constexpr int PHASES = 6;

struct DrawArguments {
  BindingArguments binding;  // its outputs are set by the kernel
  CameraParameters camera;
  int count;
  const float *values[ATTRIBUTES], *corrections[ATTRIBUTES];  // corrections may be null
  float background[3];
  bool straight;  // no background: colours are not multiplied by the alpha
  uint8_t* out;   // (height, width, 4)
};

// A view from aside, of the avatar as it stands and of its start.
struct SideArguments {
  BindingArguments binding;
  CameraParameters camera;
  int count;
  const float *values[ATTRIBUTES], *start[ATTRIBUTES], *corrections[ATTRIBUTES];  // corrections may be null
  const float* moving;  // (N,) 1 where parameters move, else 0; null: all
  float background[3];
  float weight;                  // of the mean absolute difference
  int coarse;                    // pixels, along a side, that are averaged before pictures are compared; at least 1
  float* gradients[ATTRIBUTES];  // (N, width) each
};

// How much of each Gaussian one view shows.
struct ShownArguments {
  GaussianArrays gaussians;  // without colours
  const uint8_t* nobody;     // (height, width) not 0 where nobody is
  float *shown, *spilt;      // (N,) blend weights summed over all pixels, and over those where nobody is
};

// Coarse UV maps, and which of their cells each Gaussian lies between.
constexpr int MAP_WIDTH = 4, MAP_CORNERS = 4, CELLS_PER_TASK = 128;
struct CoarseMapArguments {
  int count, cells_count;
  const int32_t* cells;            // (N, 4)
  const float* shares;             // (N, 4) of these cells
  const float* local_from_rest;    // (N, 3, 3) what turns a shift
  const int32_t *first_of_cell, *members;  // (M + 1,), (4 N,): the Gaussians that take of each cell
  const float* member_shares;      // (4 N,) how much
  float color_unit;                // of a brightness
  const float* map;                // (M, 4) going out
  float *positions, *colors;       // (N, 3) filled from the map; or gradients by these, which are read
  float *gradient, *scratch;       // (M, 4) and (N, 4) coming back
};

// Buffers of a run, used step by step.
struct RefineContext {
  Context render;
  Buffer<float> locals[ATTRIBUTES];  // values with corrections, or what is drawn instead of the colours
  Buffer<float> positions, quaternions, scales, opacities;
  Buffer<float> image, target, gradient, scratch;
  Buffer<float> gradients[ATTRIBUTES];  // of all Gaussians; only with gradients of the mesh
  Buffer<float> face_gradients;
  Buffer<double> loss_sums, aspect_sums, own_aspect_sums;
  // Per group of 8 Gaussians: whether a moment is not zero. Groups without moments that do not move are left alone.
  Buffer<uint8_t> active, wanted;
  Buffer<uint8_t> side_wanted;  // per group: whether a view from aside may change it
  int known_groups = 0;  // groups whose `active` is known
  double phases[PHASES] = {};  // seconds spent in each phase of all steps
};
