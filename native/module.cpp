// The Python module spatialavatar._native. Arrays come in as contiguous float32 numpy views of torch tensors; the
// Python side has checked them for the user, the checks here only keep a programming error from becoming a crash.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>

#include "arrays.hpp"
#include "constants.hpp"
#include "context.hpp"
#include "mesh.hpp"
#include "pool.hpp"
#include "refine_context.hpp"

namespace base {
extern const Kernels kernels;
}
#if defined(SPATIALAVATAR_HAS_X86_LEVELS)
namespace v3 {
extern const Kernels kernels;
}
namespace v4 {
extern const Kernels kernels;
}
#endif

const Kernels* kernels = &base::kernels;

namespace {

// Those compiled in that this processor has, best last.
std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> available = {&base::kernels};
#if defined(SPATIALAVATAR_HAS_X86_LEVELS)
  // The builtin asks the system too, whether it saves the wide registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
      __builtin_cpu_supports("bmi2")) {
    available.push_back(&v3::kernels);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
      available.push_back(&v4::kernels);
  }
#endif
  return available;
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Kernels* known : available_kernels()) names.push_back(known->name);
  return names;
}

void select_instruction_set(const std::string& name) {
  for (const Kernels* known : available_kernels())
    if (known->name == name) {
      kernels = known;
      return;
    }
  throw std::invalid_argument("no such instruction set on this processor: " + name);
}

GaussianArrays gaussian_arrays(const Context& context, const Floats& positions, const Floats& quaternions,
                               const Floats& scales, const Floats& opacities, const Floats& colors) {
  const std::size_t n = context.count;
  return {checked("positions", positions, 3 * n), checked("quaternions", quaternions, 4 * n),
          checked("scales", scales, 3 * n), checked("opacities", opacities, n),
          checked("colors", colors, n * context.channels)};
}

void render_forward(Context& context, const Floats& positions, const Floats& quaternions, const Floats& scales,
                    const Floats& opacities, const Floats& colors, const Doubles& camera_from_world,
                    const Doubles& intrinsics, const Floats& background, const FloatsOut& image, const FloatsOut& alpha,
                    const FloatsOut& means2d, const FloatsOut& covariances2d, const FloatsOut& depths,
                    const FloatsOut& radii) {
  if (image.ndim() != 3) throw std::invalid_argument("image must have 3 dimensions");
  const std::size_t n = opacities.size();
  if (n > (std::size_t(1) << 30)) throw std::invalid_argument("too many Gaussians");
  CameraParameters& camera = context.camera;
  set_camera(camera, camera_from_world, intrinsics);
  camera.height = static_cast<int>(image.shape(1));
  camera.width = static_cast<int>(image.shape(2));
  check_size(camera);
  context.count = static_cast<int>(n);
  context.channels = static_cast<int>(image.shape(0));
  const ForwardArguments arguments{gaussian_arrays(context, positions, quaternions, scales, opacities, colors),
                                   checked("background", background, context.channels),
                                   image.data(),
                                   checked("alpha", alpha, image.shape(1) * image.shape(2)),
                                   checked("means2d", means2d, 2 * n),
                                   checked("covariances2d", covariances2d, 3 * n),
                                   checked("depths", depths, n),
                                   checked("radii", radii, n)};
  nb::gil_scoped_release release;
  kernels->forward(context, arguments);
}

void render_backward(Context& context, const Floats& positions, const Floats& quaternions, const Floats& scales,
                     const Floats& opacities, const Floats& colors, const Maybe<Floats>& image,
                     const Maybe<Floats>& alpha, const Maybe<Floats>& means2d, const Maybe<Floats>& covariances2d,
                     const Maybe<Floats>& depths, const FloatsOut& grad_positions, const FloatsOut& grad_quaternions,
                     const FloatsOut& grad_scales, const FloatsOut& grad_opacities, const FloatsOut& grad_colors,
                     const Maybe<FloatsOut>& grad_background, const Maybe<DoublesOut>& grad_camera) {
  const std::size_t n = context.count, area = std::size_t(context.camera.width) * context.camera.height;
  BackwardArguments arguments{gaussian_arrays(context, positions, quaternions, scales, opacities, colors),
                              checked("image", image, area * context.channels),
                              checked("alpha", alpha, area),
                              checked("means2d", means2d, 2 * n),
                              checked("covariances2d", covariances2d, 3 * n),
                              checked("depths", depths, n),
                              checked("grad_positions", grad_positions, 3 * n),
                              checked("grad_quaternions", grad_quaternions, 4 * n),
                              checked("grad_scales", grad_scales, 3 * n),
                              checked("grad_opacities", grad_opacities, n),
                              checked("grad_colors", grad_colors, n * context.channels),
                              checked("grad_background", grad_background, context.channels)};
  arguments.camera = checked("grad_camera", grad_camera, CAMERA_GRADIENTS);
  nb::gil_scoped_release release;
  kernels->backward(context, arguments);
}

void shown(Context& context, const Floats& positions, const Floats& quaternions, const Floats& scales,
           const Floats& opacities, const Doubles& camera_from_world, const Doubles& intrinsics, const Bytes& nobody,
           const FloatsOut& shown, const FloatsOut& spilt) {
  if (nobody.ndim() != 2) throw std::invalid_argument("nobody must have 2 dimensions");
  const std::size_t n = opacities.size();
  if (n > (std::size_t(1) << 30)) throw std::invalid_argument("too many Gaussians");
  CameraParameters& camera = context.camera;
  set_camera(camera, camera_from_world, intrinsics);
  camera.height = static_cast<int>(nobody.shape(0));
  camera.width = static_cast<int>(nobody.shape(1));
  check_size(camera);
  context.count = static_cast<int>(n);
  const ShownArguments arguments{{checked("positions", positions, 3 * n), checked("quaternions", quaternions, 4 * n),
                                  checked("scales", scales, 3 * n), checked("opacities", opacities, n), nullptr},
                                 nobody.data(),
                                 checked("shown", shown, n),
                                 checked("spilt", spilt, n)};
  nb::gil_scoped_release release;
  kernels->shown(context, arguments);
}

BindingArguments binding_arguments(const Floats& vertices, const Integers& faces, const Integers& first_of_face,
                                   const Floats& local_positions, const Floats& local_quaternions) {
  BindingArguments b{};
  b.faces_count = static_cast<int>(faces.size() / 3);
  b.vertices_count = static_cast<int>(vertices.size() / 3);
  b.vertices = vertices.data();
  b.faces = faces.data();
  b.first_of_face = checked("first_of_face", first_of_face, b.faces_count + 1);
  check_faces(b);
  const std::size_t n = b.first_of_face[b.faces_count];
  b.local_positions = checked("local_positions", local_positions, 3 * n);
  b.local_quaternions = checked("local_quaternions", local_quaternions, 4 * n);
  return b;
}

void bind_forward(const Floats& vertices, const Integers& faces, const Integers& first_of_face,
                  const Floats& local_positions, const Floats& local_quaternions, const Floats& log_scales,
                  const FloatsOut& positions, const FloatsOut& quaternions, const FloatsOut& scales) {
  BindingArguments b = binding_arguments(vertices, faces, first_of_face, local_positions, local_quaternions);
  const std::size_t n = b.first_of_face[b.faces_count];
  b.log_scales = checked("log_scales", log_scales, 3 * n);
  b.positions = checked("positions", positions, 3 * n);
  b.quaternions = checked("quaternions", quaternions, 4 * n);
  b.scales = checked("scales", scales, 3 * n);
  nb::gil_scoped_release release;
  kernels->bind_forward(b);
}

void bind_backward(const Floats& vertices, const Integers& faces, const Integers& first_of_face,
                   const Integers& corners, const Integers& first_of_vertex, const Floats& local_positions,
                   const Floats& local_quaternions, const Floats& scales, const Floats& grad_positions,
                   const Floats& grad_quaternions, const Floats& grad_scales, const FloatsOut& grad_local_positions,
                   const FloatsOut& grad_local_quaternions, const FloatsOut& grad_log_scales,
                   const Maybe<FloatsOut>& grad_vertices) {
  BindingArguments b = binding_arguments(vertices, faces, first_of_face, local_positions, local_quaternions);
  const std::size_t n = b.first_of_face[b.faces_count];
  b.corners = checked("corners", corners, 3 * std::size_t(b.faces_count));
  b.first_of_vertex = checked("first_of_vertex", first_of_vertex, b.vertices_count + 1);
  check_corners(b);
  b.scales = const_cast<float*>(checked("scales", scales, 3 * n));
  b.grad_positions = checked("grad_positions", grad_positions, 3 * n);
  b.grad_quaternions = checked("grad_quaternions", grad_quaternions, 4 * n);
  b.grad_scales = checked("grad_scales", grad_scales, 3 * n);
  b.grad_local_positions = checked("grad_local_positions", grad_local_positions, 3 * n);
  b.grad_local_quaternions = checked("grad_local_quaternions", grad_local_quaternions, 4 * n);
  b.grad_log_scales = checked("grad_log_scales", grad_log_scales, 3 * n);
  b.grad_vertices = checked("grad_vertices", grad_vertices, 3 * std::size_t(b.vertices_count));
  static thread_local Buffer<float> face_gradients;
  b.face_gradients = face_gradients.reserve(9 * std::size_t(b.faces_count));
  nb::gil_scoped_release release;
  kernels->bind_backward(b);
}

double l1_ssim(const Floats& image, const Floats& target, const Maybe<FloatsOut>& gradient, float l1_weight,
               float ssim_weight, int x0, int x1, int y0, int y1) {
  if (image.ndim() != 3) throw std::invalid_argument("image must have 3 dimensions");
  LossArguments a{};
  a.channels = static_cast<int>(image.shape(0));
  a.height = static_cast<int>(image.shape(1));
  a.width = static_cast<int>(image.shape(2));
  a.image = image.data();
  a.target = checked("target", target, image.size());
  a.gradient = checked("gradient", gradient, image.size());
  a.l1_weight = l1_weight;
  a.ssim_weight = ssim_weight;
  if (!(0 <= x0 && x0 < x1 && x1 <= a.width && 0 <= y0 && y0 < y1 && y1 <= a.height))
    throw std::invalid_argument("the box does not lie in the image");
  a.x0 = x0;
  a.x1 = x1;
  a.y0 = y0;
  a.y1 = y1;
  static thread_local Buffer<float> scratch;
  static thread_local Buffer<double> sums;
  a.scratch = scratch.reserve(loss_scratch_size(a.channels, a.height, a.width));
  a.sums = sums.reserve(loss_task_limit(a.channels, a.height, a.width));
  nb::gil_scoped_release release;
  return kernels->l1_ssim(a);
}

double aspect(const Floats& covariances2d, const Maybe<FloatsOut>& gradient, float threshold) {
  AspectArguments a{};
  a.count = static_cast<int>(covariances2d.size() / 3);
  a.covariances2d = covariances2d.data();
  a.gradient = checked("gradient", gradient, covariances2d.size());
  a.threshold = threshold;
  static thread_local Buffer<double> sums;
  a.sums = sums.reserve(a.count / CHUNK + 1);
  nb::gil_scoped_release release;
  return kernels->aspect(a);
}

// (F, 3) corners that all lie in [0, count).
const int32_t* checked_faces(const Integers& faces, std::size_t count) {
  if (faces.size() % 3 != 0) throw std::invalid_argument("faces must have 3 corners each");
  for (std::size_t i = 0; i < faces.size(); i++)
    if (faces.data()[i] < 0 || std::size_t(faces.data()[i]) >= count)
      throw std::invalid_argument("a face has a corner that is no vertex");
  return faces.data();
}

void mesh_draw(const Floats& points, const Integers& faces, const FloatsOut& nearness, const IntegersOut& face,
               const FloatsOut& barycentric, int first_face, bool perspective) {
  if (nearness.ndim() != 2) throw std::invalid_argument("nearness must have 2 dimensions");
  const std::size_t area = nearness.size();
  const MeshTarget target{static_cast<int>(nearness.shape(1)), static_cast<int>(nearness.shape(0)), nearness.data(),
                          checked("face", face, area), checked("barycentric", barycentric, 2 * area)};
  const int32_t* corners = checked_faces(faces, points.size() / 3);
  nb::gil_scoped_release release;
  draw_triangles(target, points.data(), corners, faces.size() / 3, first_face, perspective);
}

void mesh_interpolate(const Integers& face, const Floats& barycentric, const Integers& faces, const Floats& attributes,
                      const FloatsOut& result) {
  if (attributes.ndim() != 2) throw std::invalid_argument("attributes must have 2 dimensions");
  const std::size_t count = face.size(), channels = attributes.shape(1);
  const float* weights = checked("barycentric", barycentric, 2 * count);
  float* out = checked("result", result, count * channels);
  const int32_t* corners = checked_faces(faces, attributes.shape(0));
  for (std::size_t m = 0; m < count; m++)
    if (face.data()[m] < 0 || std::size_t(face.data()[m]) >= faces.size() / 3)
      throw std::invalid_argument("a sample has no such face");
  nb::gil_scoped_release release;
  interpolate_corners(face.data(), weights, count, corners, attributes.data(), static_cast<int>(channels), out);
}

void mesh_sample(const Floats& texture, const Floats& places, const FloatsOut& result) {
  if (texture.ndim() != 3 || texture.size() == 0) throw std::invalid_argument("texture must have 3 dimensions");
  const std::size_t count = places.size() / 2, channels = texture.shape(2);
  float* out = checked("result", result, count * channels);
  nb::gil_scoped_release release;
  sample_texture(texture.data(), static_cast<int>(texture.shape(0)), static_cast<int>(texture.shape(1)),
                 static_cast<int>(channels), places.data(), count, out);
}

nb::dict constants() {
  nb::dict d;
  d["ALPHA_MIN"] = ALPHA_MIN;
  d["ALPHA_MAX"] = ALPHA_MAX;
  d["TRANSMITTANCE_MIN"] = TRANSMITTANCE_MIN;
  d["DILATION"] = DILATION;
  d["NEAR"] = NEAR_DEPTH;
  d["FRUSTUM_MARGIN"] = FRUSTUM_MARGIN;
  d["MAX_IMAGE_SIZE"] = MAX_IMAGE_SIZE;
  d["MAX_LENGTH"] = MAX_LENGTH;
  d["MIN_SQUARED_QUATERNION"] = MIN_SQUARED_QUATERNION;
  d["ASPECT_FLOOR"] = ASPECT_FLOOR;
  d["ASPECT_ROUND"] = ASPECT_ROUND;
  d["MIN_EDGE"] = MIN_EDGE;
  d["MIN_SINE"] = MIN_SINE;
  return d;
}

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "The CPU kernels of spatialavatar: rasteriser, binding, L1 + SSIM.";
  // Contexts that are kept for reuse live until the interpreter ends; that is no leak to warn of.
  nb::set_leak_warnings(false);
  select_instruction_set(instruction_sets().back());
  nb::class_<Context>(m, "Context", "The buffers of one render, kept for its backward pass and then used again.")
      .def(nb::init<>())
      .def_prop_ro(
          "drawn", [](const Context& c) { return c.drawn; }, "How many Gaussians were drawn.")
      .def_prop_ro(
          "box",
          [](const Context& c) {
            return nb::make_tuple(c.box.first_x, c.box.last_x + 1, c.box.first_y, c.box.last_y + 1);
          },
          "x0, x1, y0, y1 of the pixels that Gaussians may have touched; only if some were drawn.")
      .def_prop_ro("entries", [](const Context& c) { return c.slots; }, "Pairs of a Gaussian and a tile it touches.");
  m.def("set_threads", [](int count) { Pool::instance().set_threads(count); }, "count"_a);
  m.def("threads", [] { return Pool::instance().threads(); });
  m.def("instruction_sets", &instruction_sets, "Those compiled in that this processor has, best last.");
  m.def("instruction_set", [] { return std::string(kernels->name); });
  m.def("select_instruction_set", &select_instruction_set, "name"_a);
  m.def("constants", &constants);
  m.def("render_forward", &render_forward);
  m.def("render_backward", &render_backward, "context"_a, "positions"_a, "quaternions"_a, "scales"_a, "opacities"_a,
        "colors"_a, "image"_a.none(), "alpha"_a.none(), "means2d"_a.none(), "covariances2d"_a.none(), "depths"_a.none(),
        "grad_positions"_a, "grad_quaternions"_a, "grad_scales"_a, "grad_opacities"_a, "grad_colors"_a,
        "grad_background"_a.none(), "grad_camera"_a.none() = nb::none());
  m.def("shown", &shown, "context"_a, "positions"_a, "quaternions"_a, "scales"_a, "opacities"_a, "camera_from_world"_a,
        "intrinsics"_a, "nobody"_a, "shown"_a, "spilt"_a);
  m.def("bind_forward", &bind_forward);
  m.def("bind_backward", &bind_backward, "vertices"_a, "faces"_a, "first_of_face"_a, "corners"_a, "first_of_vertex"_a,
        "local_positions"_a, "local_quaternions"_a, "scales"_a, "grad_positions"_a, "grad_quaternions"_a,
        "grad_scales"_a, "grad_local_positions"_a, "grad_local_quaternions"_a, "grad_log_scales"_a,
        "grad_vertices"_a.none());
  m.def("l1_ssim", &l1_ssim, "image"_a, "target"_a, "gradient"_a.none(), "l1_weight"_a, "ssim_weight"_a, "x0"_a, "x1"_a,
        "y0"_a, "y1"_a);
  m.def("aspect", &aspect, "covariances2d"_a, "gradient"_a.none(), "threshold"_a);
  define_refinement(m);
  m.def("mesh_draw", &mesh_draw, "points"_a, "faces"_a, "nearness"_a, "face"_a, "barycentric"_a, "first_face"_a,
        "perspective"_a);
  m.def("mesh_interpolate", &mesh_interpolate, "face"_a, "barycentric"_a, "faces"_a, "attributes"_a, "result"_a);
  m.def("mesh_sample", &mesh_sample, "texture"_a, "places"_a, "result"_a);
}
