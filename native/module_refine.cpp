// The Python side of refine.hpp and draw.hpp: a run's fixed arrays are checked once, and each step brings its frame.
#include <nanobind/stl/array.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <mutex>
#include <vector>

#include "arrays.hpp"
#include "refine_context.hpp"

namespace {

void set_corrections(const float** out, const Maybe<std::vector<Floats>>& corrections, std::size_t count) {
  if (!corrections) return;
  if (corrections->size() != 4) throw std::invalid_argument("there must be corrections to four attributes");
  const Attribute corrected[4] = {POSITION, ROTATION, LOG_SCALE, COLOR};
  for (int k = 0; k < 4; k++)
    out[corrected[k]] = checked("corrections", (*corrections)[k], WIDTHS[corrected[k]] * count);
}

// A run of refinement. Holds on to its arrays: parameters, moments, starts, anchors, the binding.
class RefineSteps {
 public:
  RefineSteps(Integers faces, Integers first_of_face, Integers corners, Integers first_of_vertex, int vertices_count,
              std::vector<FloatsOut> values, std::vector<FloatsOut> first_moments,
              std::vector<FloatsOut> second_moments, std::vector<Floats> starts, Floats anchors, Floats lowest,
              Floats highest)
      : indices_{faces, first_of_face, corners, first_of_vertex},
        outputs_{values, first_moments, second_moments},
        starts_(starts),
        held_{anchors, lowest, highest} {
    BindingArguments& b = fixed_.binding;
    b.faces_count = static_cast<int>(faces.size() / 3);
    b.vertices_count = vertices_count;
    b.faces = checked("faces", faces, 3 * std::size_t(b.faces_count));
    b.first_of_face = checked("first_of_face", first_of_face, b.faces_count + 1);
    b.corners = checked("corners", corners, 3 * std::size_t(b.faces_count));
    b.first_of_vertex = checked("first_of_vertex", first_of_vertex, std::size_t(vertices_count) + 1);
    check_faces(b);
    check_corners(b);
    const std::size_t n = b.first_of_face[b.faces_count];
    fixed_.count = static_cast<int>(n);
    for (const auto& list : outputs_)
      if (list.size() != ATTRIBUTES) throw std::invalid_argument("there must be one array for each attribute");
    if (starts_.size() != ATTRIBUTES) throw std::invalid_argument("there must be one array for each attribute");
    for (int k = 0; k < ATTRIBUTES; k++) {
      fixed_.values[k] = checked("values", outputs_[0][k], WIDTHS[k] * n);
      fixed_.first_moments[k] = checked("first_moments", outputs_[1][k], WIDTHS[k] * n);
      fixed_.second_moments[k] = checked("second_moments", outputs_[2][k], WIDTHS[k] * n);
      start_[k] = checked("starts", starts_[k], WIDTHS[k] * n);
    }
    fixed_.anchors = checked("anchors", anchors, 3 * n);
    fixed_.start_log_scales = start_[LOG_SCALE];
    fixed_.start_colors = start_[COLOR];
    fixed_.lowest = checked("lowest", lowest, n);
    fixed_.highest = checked("highest", highest, n);
  }

  double step(const RefineSettings& settings, const Floats& vertices, const Doubles& camera_from_world,
              const Doubles& intrinsics, int width, int height, const Bytes& frame, const Bytes& matte,
              std::array<int, 4> box, int disregard_from, std::array<int, 4> filmed, const Maybe<Floats>& moving,
              const Maybe<Floats>& weight,
              const Maybe<std::vector<Floats>>& corrections, const Maybe<std::vector<Maybe<Floats>>>& extra,
              const Maybe<FloatsOut>& grad_vertices, const Maybe<FloatsOut>& grad_positions,
              const Maybe<FloatsOut>& grad_colors) {
    RefineArguments a = fixed_;
    const std::size_t n = a.count;
    a.settings = settings;
    a.binding.vertices = checked("vertices", vertices, 3 * std::size_t(a.binding.vertices_count));
    set_camera(a.camera, camera_from_world, intrinsics);
    a.camera.width = width;
    a.camera.height = height;
    check_size(a.camera);
    a.box_x0 = box[0];
    a.box_x1 = box[1];
    a.box_y0 = box[2];
    a.box_y1 = box[3];
    if (!(0 <= a.box_x0 && a.box_x0 <= a.box_x1 && a.box_x1 <= width && 0 <= a.box_y0 && a.box_y0 <= a.box_y1 &&
          a.box_y1 <= height))
      throw std::invalid_argument("the box does not lie in the image");
    const std::size_t area = std::size_t(a.box_x1 - a.box_x0) * (a.box_y1 - a.box_y0);
    a.frame = checked("frame", frame, 3 * area);
    a.matte = checked("matte", matte, area);
    a.disregard_from = disregard_from;
    a.filmed_x0 = filmed[0], a.filmed_x1 = filmed[1], a.filmed_y0 = filmed[2], a.filmed_y1 = filmed[3];
    a.moving = checked("moving", moving, n);
    a.weight = checked("weight", weight, n);
    set_corrections(a.corrections, corrections, n);
    if (extra) {
      if (extra->size() != ATTRIBUTES) throw std::invalid_argument("there must be one extra gradient for each attribute");
      for (int k = 0; k < ATTRIBUTES; k++) a.extra[k] = checked("extra", (*extra)[k], WIDTHS[k] * n);
    }
    a.grad_vertices = checked("grad_vertices", grad_vertices, 3 * std::size_t(a.binding.vertices_count));
    a.grad_positions = checked("grad_positions", grad_positions, 3 * n);
    a.grad_colors = checked("grad_colors", grad_colors, 3 * n);
    nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);  // Python threads may share this object
    return kernels->refine_step(a, context_);
  }

  // The mean difference from the start in a view from aside; `gradients` receive its gradients.
  double side_view(const Floats& vertices, const Doubles& camera_from_world, const Doubles& intrinsics, int width,
                   int height, std::array<float, 3> background, float weight, int coarse,
                   const Maybe<Floats>& moving, const Maybe<std::vector<Floats>>& corrections,
                   const std::vector<FloatsOut>& gradients) {
    SideArguments s{};
    const std::size_t n = fixed_.count;
    s.binding = fixed_.binding;
    s.binding.vertices = checked("vertices", vertices, 3 * std::size_t(s.binding.vertices_count));
    set_camera(s.camera, camera_from_world, intrinsics);
    s.camera.width = width;
    s.camera.height = height;
    check_size(s.camera);
    s.count = fixed_.count;
    if (coarse < 1 || coarse > MAX_IMAGE_SIZE) throw std::invalid_argument("cells out of range");
    s.weight = weight;
    s.coarse = coarse;
    s.moving = checked("moving", moving, n);
    set_corrections(s.corrections, corrections, n);
    if (gradients.size() != ATTRIBUTES) throw std::invalid_argument("there must be one array for each attribute");
    for (int k = 0; k < ATTRIBUTES; k++) {
      s.values[k] = fixed_.values[k];
      s.start[k] = start_[k];
      s.gradients[k] = checked("gradients", gradients[k], WIDTHS[k] * n);
    }
    for (int k = 0; k < 3; k++) s.background[k] = background[k];
    nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    return kernels->side_view(s, context_);
  }

  std::vector<double> phases() const { return {context_.phases, context_.phases + PHASES}; }

 private:
  std::array<Integers, 4> indices_;
  std::array<std::vector<FloatsOut>, 3> outputs_;
  std::vector<Floats> starts_;
  std::array<Floats, 3> held_;
  const float* start_[ATTRIBUTES];
  RefineArguments fixed_{};
  RefineContext context_;
  std::mutex mutex_;
};

// Coarse UV maps taken to the Gaussians and back. Holds on to its arrays.
class CoarseMaps {
 public:
  CoarseMaps(Integers cells, Floats shares, Floats local_from_rest, Integers first_of_cell, Integers members,
             Floats member_shares, float color_unit)
      : integers_{cells, first_of_cell, members}, floats_{shares, local_from_rest, member_shares} {
    const std::size_t n = cells.size() / MAP_CORNERS, m = first_of_cell.size() - 1;
    if (first_of_cell.size() < 1) throw std::invalid_argument("there must be starts of cells");
    fixed_.count = static_cast<int>(n);
    fixed_.cells_count = static_cast<int>(m);
    fixed_.color_unit = color_unit;
    fixed_.cells = checked("cells", cells, MAP_CORNERS * n);
    fixed_.shares = checked("shares", shares, MAP_CORNERS * n);
    fixed_.local_from_rest = checked("local_from_rest", local_from_rest, 9 * n);
    fixed_.first_of_cell = checked("first_of_cell", first_of_cell, m + 1);
    fixed_.members = checked("members", members, MAP_CORNERS * n);
    fixed_.member_shares = checked("member_shares", member_shares, MAP_CORNERS * n);
    bool fine = fixed_.first_of_cell[0] == 0 && fixed_.first_of_cell[m] == static_cast<int>(MAP_CORNERS * n);
    for (std::size_t i = 0; i < m; i++) fine &= fixed_.first_of_cell[i] <= fixed_.first_of_cell[i + 1];
    for (std::size_t i = 0; i < MAP_CORNERS * n; i++)
      fine &= fixed_.cells[i] >= 0 && fixed_.cells[i] < static_cast<int>(m) && fixed_.members[i] >= 0 &&
              fixed_.members[i] < static_cast<int>(n);
    if (!fine) throw std::invalid_argument("the cells are not those of the Gaussians");
    scratch_.reserve(MAP_WIDTH * n);
  }

  void spread(const Floats& map, const FloatsOut& positions, const FloatsOut& colors) {
    CoarseMapArguments a = fixed_;
    a.map = checked("map", map, MAP_WIDTH * std::size_t(a.cells_count));
    a.positions = checked("positions", positions, 3 * std::size_t(a.count));
    a.colors = checked("colors", colors, 3 * std::size_t(a.count));
    nb::gil_scoped_release release;
    kernels->spread_maps(a);
  }

  void gather(const FloatsOut& positions, const FloatsOut& colors, const FloatsOut& gradient) {
    CoarseMapArguments a = fixed_;
    a.positions = checked("positions", positions, 3 * std::size_t(a.count));
    a.colors = checked("colors", colors, 3 * std::size_t(a.count));
    a.gradient = checked("gradient", gradient, MAP_WIDTH * std::size_t(a.cells_count));
    nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    a.scratch = scratch_.data();
    kernels->gather_maps(a);
  }

 private:
  std::array<Integers, 3> integers_;
  std::array<Floats, 3> floats_;
  CoarseMapArguments fixed_{};
  Buffer<float> scratch_;
  std::mutex mutex_;
};

// Draws one avatar again and again. Holds on to its arrays.
class Drawer {
 public:
  Drawer(Integers faces, Integers first_of_face, int vertices_count, std::vector<Floats> values)
      : indices_{faces, first_of_face}, values_(values) {
    BindingArguments& b = fixed_.binding;
    b.faces_count = static_cast<int>(faces.size() / 3);
    b.vertices_count = vertices_count;
    b.faces = checked("faces", faces, 3 * std::size_t(b.faces_count));
    b.first_of_face = checked("first_of_face", first_of_face, b.faces_count + 1);
    check_faces(b);
    const std::size_t n = b.first_of_face[b.faces_count];
    fixed_.count = static_cast<int>(n);
    if (values_.size() != ATTRIBUTES) throw std::invalid_argument("there must be one array for each attribute");
    for (int k = 0; k < ATTRIBUTES; k++) fixed_.values[k] = checked("values", values_[k], WIDTHS[k] * n);
  }

  void draw(const Floats& vertices, const Doubles& camera_from_world, const Doubles& intrinsics,
            const std::optional<std::array<float, 3>>& background, const Maybe<std::vector<Floats>>& corrections,
            const BytesOut& out) {
    DrawArguments a = fixed_;
    a.binding.vertices = checked("vertices", vertices, 3 * std::size_t(a.binding.vertices_count));
    set_camera(a.camera, camera_from_world, intrinsics);
    if (out.ndim() != 3) throw std::invalid_argument("the picture must have 3 dimensions");
    a.camera.height = static_cast<int>(out.shape(0));
    a.camera.width = static_cast<int>(out.shape(1));
    check_size(a.camera);
    a.out = checked("out", out, 4 * std::size_t(a.camera.height) * a.camera.width);
    a.straight = !background;
    for (int k = 0; k < 3; k++) a.background[k] = background ? (*background)[k] : 0.0f;
    set_corrections(a.corrections, corrections, a.count);
    nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    kernels->draw(a, context_);
  }

 private:
  std::array<Integers, 2> indices_;
  std::vector<Floats> values_;
  DrawArguments fixed_{};
  RefineContext context_;
  std::mutex mutex_;
};

}  // namespace

void define_refinement(nb::module_& m) {
  nb::class_<RefineSettings>(m, "RefineSettings", "Numbers of a refinement step; see native/refine_context.hpp.")
      .def(nb::init<>())
      .def_rw("l1_weight", &RefineSettings::l1_weight)
      .def_rw("ssim_weight", &RefineSettings::ssim_weight)
      .def_rw("aspect_weight", &RefineSettings::aspect_weight)
      .def_rw("aspect_threshold", &RefineSettings::aspect_threshold)
      .def_rw("own_aspect_factor", &RefineSettings::own_aspect_factor)
      .def_rw("own_aspect_threshold", &RefineSettings::own_aspect_threshold)
      .def_rw("position_tether", &RefineSettings::position_tether)
      .def_rw("log_scale_tether", &RefineSettings::log_scale_tether)
      .def_rw("color_tether", &RefineSettings::color_tether)
      .def_rw("opacity_tether", &RefineSettings::opacity_tether)
      .def_rw("hidden_evidence", &RefineSettings::hidden_evidence)
      .def_rw("clamp", &RefineSettings::clamp)
      .def_rw("spread", &RefineSettings::spread)
      .def_rw("second_correction", &RefineSettings::second_correction)
      .def_rw("step_sizes", &RefineSettings::step_sizes)
      .def_rw("epsilons", &RefineSettings::epsilons)
      .def_rw("background", &RefineSettings::background);
  nb::class_<RefineSteps>(m, "RefineSteps", "A run of refinement, step by step; see native/refine.hpp.")
      .def(nb::init<Integers, Integers, Integers, Integers, int, std::vector<FloatsOut>, std::vector<FloatsOut>,
                    std::vector<FloatsOut>, std::vector<Floats>, Floats, Floats, Floats>(),
           "faces"_a, "first_of_face"_a, "corners"_a, "first_of_vertex"_a, "vertices_count"_a, "values"_a,
           "first_moments"_a, "second_moments"_a, "starts"_a, "anchors"_a, "lowest"_a, "highest"_a)
      .def_prop_ro("phases", &RefineSteps::phases, "Seconds spent in each phase so far; see native/refine_context.hpp.")
      .def("step", &RefineSteps::step, "settings"_a, "vertices"_a, "camera_from_world"_a, "intrinsics"_a, "width"_a,
           "height"_a, "frame"_a, "matte"_a, "box"_a, "disregard_from"_a, "filmed"_a, "moving"_a.none(), "weight"_a.none(),
           "corrections"_a.none(), "extra"_a.none(), "grad_vertices"_a.none(), "grad_positions"_a.none(),
           "grad_colors"_a.none(), "One step; returns the loss before it.")
      .def("side_view", &RefineSteps::side_view, "vertices"_a, "camera_from_world"_a, "intrinsics"_a, "width"_a,
           "height"_a, "background"_a, "weight"_a, "coarse"_a, "moving"_a.none(), "corrections"_a.none(), "gradients"_a,
           "The mean difference from the start in a view from aside, and its gradients.");
  nb::class_<CoarseMaps>(m, "CoarseMaps", "Coarse UV maps to Gaussians and back; see native/coarse_maps.hpp.")
      .def(nb::init<Integers, Floats, Floats, Integers, Integers, Floats, float>(), "cells"_a, "shares"_a,
           "local_from_rest"_a, "first_of_cell"_a, "members"_a, "member_shares"_a, "color_unit"_a)
      .def("spread", &CoarseMaps::spread, "map"_a, "positions"_a, "colors"_a,
           "Fills (N, 3) shifts and changes of colour from an (M, 4) map.")
      .def("gather", &CoarseMaps::gather, "positions"_a, "colors"_a, "gradient"_a,
           "Fills the (M, 4) gradient from (N, 3) gradients by shifts and colours.");
  nb::class_<Drawer>(m, "Drawer", "Draws one avatar frame by frame; see native/draw.hpp.")
      .def(nb::init<Integers, Integers, int, std::vector<Floats>>(), "faces"_a, "first_of_face"_a, "vertices_count"_a,
           "values"_a)
      .def("draw", &Drawer::draw, "vertices"_a, "camera_from_world"_a, "intrinsics"_a, "background"_a.none(),
           "corrections"_a.none(), "out"_a, "Draws into `out`, (H, W, 4) bytes.");
}
