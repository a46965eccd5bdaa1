// Any bytes as input to the kernels: none of them may read or write out of bounds, loop for ever, or yield anything
// but finite numbers where finite numbers are promised. Built with sanitizers by `make fuzz`.
//
// With Clang's -fsanitize=fuzzer this is a libFuzzer target; otherwise `main` below feeds it random bytes:
//     fuzz_kernels [SECONDS] [SEED]
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <random>
#include <vector>

#include "../context.hpp"
#include "../mesh.hpp"
#include "../pool.hpp"
#include "../refine_context.hpp"

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

namespace {

// Deals out the input; zeros when it is used up.
class Source {
 public:
  Source(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t byte() { return at_ < size_ ? data_[at_++] : 0; }
  int below(int limit) { return byte() % limit; }
  // Mostly numbers near what is wanted, now and then any bits at all: NaN, infinities, denormals, huge ones.
  float number(float low, float high) {
    const uint8_t kind = byte();
    if (kind < 24) {
      uint32_t bits = 0;
      for (int i = 0; i < 4; i++) bits = bits << 8 | byte();
      float value;
      std::memcpy(&value, &bits, sizeof value);
      return value;
    }
    if (kind == 24) return 0.0f;
    return low + (high - low) * (float)(byte() | byte() << 8) / 65535.0f;
  }
  std::vector<float> numbers(size_t count, float low, float high) {
    std::vector<float> values(count);
    for (float& value : values) value = number(low, high);
    return values;
  }

 private:
  const uint8_t* data_;
  size_t size_, at_ = 0;
};

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not as promised: %s\n", what);
  std::abort();
}

CameraParameters camera_of(Source& source) {
  CameraParameters camera{};
  for (int i = 0; i < 3; i++) camera.rotation[4 * i] = i == 0 ? 1.0 : -1.0;
  camera.translation[2] = 1.0;
  camera.width = 1 + source.below(90);
  camera.height = 1 + source.below(70);
  camera.focal_x = source.number(20.0f, 400.0f);
  camera.focal_y = source.number(20.0f, 400.0f);
  camera.center_x = source.number(0.0f, 60.0f);
  camera.center_y = source.number(0.0f, 60.0f);
  return camera;
}

void draw(Source& source, const Kernels& kernels, Context& context) {
  const int n = source.below(70), channels = 1 + source.below(7);
  context.camera = camera_of(source);
  context.count = n;
  context.channels = channels;
  const size_t area = (size_t)context.camera.width * context.camera.height;
  auto positions = source.numbers(3 * n, -0.2f, 0.2f), quaternions = source.numbers(4 * n, -1, 1);
  auto scales = source.numbers(3 * n, 0.0f, 0.1f), opacities = source.numbers(n, 0, 1);
  auto colors = source.numbers((size_t)n * channels, 0, 1);
  std::vector<float> background(channels, 0.5f), image(area * channels), alpha(area);
  std::vector<float> means(2 * n), covariances(3 * n), depths(n), radii(n);
  const GaussianArrays gaussians{positions.data(), quaternions.data(), scales.data(), opacities.data(), colors.data()};
  ForwardArguments forward{};
  forward.gaussians = gaussians;
  forward.background = background.data();
  forward.image = image.data();
  forward.alpha = alpha.data();
  if (source.byte() % 2) {
    forward.means2d = means.data();
    forward.covariances2d = covariances.data();
    forward.depths = depths.data();
    forward.radii = radii.data();
  }
  kernels.forward(context, forward);
  for (float value : alpha) require(value >= -1e-6f && value <= 1.0f + 1e-6f, "alpha lies in [0, 1]");

  const auto image_gradient = source.numbers(area * channels, -1, 1);
  std::vector<float> outputs[6] = {std::vector<float>(3 * n), std::vector<float>(4 * n), std::vector<float>(3 * n),
                                   std::vector<float>(n), std::vector<float>((size_t)n * channels),
                                   std::vector<float>(channels)};
  double camera[CAMERA_GRADIENTS];
  BackwardArguments backward{};
  backward.gaussians = gaussians;
  if (source.byte() % 4) backward.image = image_gradient.data();
  if (source.byte() % 2) backward.alpha = image_gradient.data();
  if (source.byte() % 2) backward.covariances2d = source.byte() % 2 ? covariances.data() : nullptr;
  backward.positions = outputs[0].data();
  backward.quaternions_wxyz = outputs[1].data();
  backward.scales = outputs[2].data();
  backward.opacities = outputs[3].data();
  backward.colors = outputs[4].data();
  backward.background = outputs[5].data();
  if (source.byte() % 2) backward.camera = camera;
  kernels.backward(context, backward);

  std::vector<uint8_t> nobody(area);
  for (auto& value : nobody) value = source.byte() % 2;
  std::vector<float> shown(n), spilt(n);
  kernels.shown(context, {gaussians, nobody.data(), shown.data(), spilt.data()});
}

void compare(Source& source, const Kernels& kernels) {
  LossArguments a{};
  a.channels = 1 + source.below(4);
  a.height = 1 + source.below(150);
  a.width = 1 + source.below(150);
  const size_t size = (size_t)a.channels * a.height * a.width;
  const auto image = source.numbers(size, 0, 1), target = source.numbers(size, 0, 1);
  std::vector<float> gradient(size), scratch(loss_scratch_size(a.channels, a.height, a.width));
  std::vector<double> sums(loss_task_limit(a.channels, a.height, a.width));
  a.image = image.data();
  a.target = target.data();
  a.gradient = source.byte() % 2 ? gradient.data() : nullptr;
  a.scratch = scratch.data();
  a.sums = sums.data();
  a.l1_weight = 0.8f;
  a.ssim_weight = 0.2f;
  a.x0 = source.below(a.width);
  a.x1 = a.x0 + 1 + source.below(a.width - a.x0);
  a.y0 = source.below(a.height);
  a.y1 = a.y0 + 1 + source.below(a.height - a.y0);
  kernels.l1_ssim(a);

  AspectArguments b{};
  b.count = source.below(40);
  const auto covariances = source.numbers(3 * b.count, 0, 10);
  std::vector<float> aspect_gradient(3 * b.count);
  double sum[1];
  b.covariances2d = covariances.data();
  b.gradient = aspect_gradient.data();
  b.sums = sum;
  b.threshold = 1.4f;
  kernels.aspect(b);
}

// A strip of triangles with a few Gaussians on each, and a step or two of refinement on it.
void refine(Source& source, const Kernels& kernels) {
  const int faces_count = 1 + source.below(12), vertices_count = faces_count + 2;
  std::vector<int32_t> faces, first_of_face = {0}, corners, first_of_vertex = {0};
  for (int face = 0; face < faces_count; face++) {
    for (int k = 0; k < 3; k++) faces.push_back(face + k);
    first_of_face.push_back(first_of_face.back() + source.below(9));
  }
  for (int vertex = 0; vertex < vertices_count; vertex++) {
    for (int corner = 0; corner < 3 * faces_count; corner++)
      if (faces[corner] == vertex) corners.push_back(corner);
    first_of_vertex.push_back((int)corners.size());
  }
  const size_t n = first_of_face.back();
  RefineArguments a{};
  a.count = (int)n;
  a.camera = camera_of(source);
  const auto vertices = source.numbers(3 * vertices_count, -0.2f, 0.2f);
  BindingArguments& b = a.binding;
  b.faces_count = faces_count;
  b.vertices_count = vertices_count;
  b.vertices = vertices.data();
  b.faces = faces.data();
  b.first_of_face = first_of_face.data();
  b.corners = corners.data();
  b.first_of_vertex = first_of_vertex.data();
  std::vector<float> values[ATTRIBUTES], first[ATTRIBUTES], second[ATTRIBUTES], corrections[ATTRIBUTES];
  for (int k = 0; k < ATTRIBUTES; k++) {
    values[k] = source.numbers(WIDTHS[k] * n, -2, 1);
    first[k].assign(WIDTHS[k] * n, 0.0f);
    second[k].assign(WIDTHS[k] * n, 0.0f);
    corrections[k] = source.numbers(WIDTHS[k] * n, -0.1f, 0.1f);
    a.values[k] = values[k].data();
    a.first_moments[k] = first[k].data();
    a.second_moments[k] = second[k].data();
    if (k != OPACITY && n % 2) a.corrections[k] = corrections[k].data();
    if (n % 3 == 0) a.extra[k] = corrections[k].data();
    a.settings.step_sizes[k] = 0.01f;
    a.settings.epsilons[k] = 1e-8f;
  }
  const auto starts = source.numbers(3 * n, -1, 1);
  a.anchors = a.start_log_scales = a.start_colors = starts.data();
  const std::vector<float> lowest(n, -4.0f), highest(n, 2.0f);
  a.lowest = lowest.data();
  a.highest = highest.data();
  const auto moving = source.numbers(n, 0, 1), weight = source.numbers(n, 0, 0.1f);
  if (source.byte() % 2) a.moving = moving.data();
  if (source.byte() % 2) a.weight = weight.data();
  a.box_x0 = source.below(a.camera.width);
  a.box_x1 = a.box_x0 + source.below(a.camera.width - a.box_x0 + 1);
  a.box_y0 = source.below(a.camera.height);
  a.box_y1 = a.box_y0 + source.below(a.camera.height - a.box_y0 + 1);
  const size_t area = (size_t)(a.box_x1 - a.box_x0) * (a.box_y1 - a.box_y0);
  std::vector<uint8_t> frame(3 * area), matte(area);
  for (auto& value : frame) value = source.byte();
  for (auto& value : matte) value = source.byte();
  a.frame = frame.data();
  a.matte = matte.data();
  a.disregard_from = source.below(a.camera.height + 1);
  a.filmed_x0 = source.below(a.camera.width + 1), a.filmed_x1 = source.below(a.camera.width + 1);
  a.filmed_y0 = source.below(a.camera.height + 1), a.filmed_y1 = source.below(a.camera.height + 1);
  a.settings.aspect_weight = source.byte() % 2 ? 0.5f : 0.0f;
  a.settings.aspect_threshold = 0.5f;
  a.settings.hidden_evidence = 0.05f;
  std::vector<float> grad_vertices(3 * vertices_count);
  if (source.byte() % 2) a.grad_vertices = grad_vertices.data();
  std::vector<float> grad_positions(3 * n), grad_colors(3 * n);
  if (source.byte() % 2) a.grad_positions = grad_positions.data();
  if (source.byte() % 2) a.grad_colors = grad_colors.data();
  RefineContext context;
  SideArguments s{};
  std::vector<float> gradients[ATTRIBUTES];
  s.binding = b;
  s.camera = camera_of(source);
  s.count = a.count;
  for (int k = 0; k < ATTRIBUTES; k++) {
    gradients[k].resize(WIDTHS[k] * n);
    s.values[k] = a.values[k];
    s.start[k] = corrections[k].data();
    s.corrections[k] = a.corrections[k];
    s.gradients[k] = gradients[k].data();
  }
  s.moving = a.moving;
  s.weight = 1.0f;
  s.coarse = 1 + source.below(9);
  for (int step = 0; step < 2; step++) {
    kernels.refine_step(a, context);
    kernels.side_view(s, context);
  }
}

// A few triangles with corners anywhere, what is seen of them, and a texture looked up at any place.
void mesh(Source& source) {
  const int width = 1 + source.below(60), height = 1 + source.below(60), vertices = 3 + source.below(20);
  const bool perspective = source.byte() % 2;
  const size_t area = (size_t)width * height;
  std::vector<float> nearness(area, perspective ? 0.0f : -HUGE_VALF), barycentric(2 * area);
  std::vector<int32_t> face(area, -1), faces(3 * source.below(20));
  const MeshTarget target{width, height, nearness.data(), face.data(), barycentric.data()};
  std::vector<float> points = source.numbers(3 * vertices, -1, 2);
  for (int k = 0; k < vertices; k++) {
    points[3 * k] *= width;
    points[3 * k + 1] *= height;
  }
  for (auto& corner : faces) corner = source.below(vertices);
  draw_triangles(target, points.data(), faces.data(), faces.size() / 3, 0, perspective);
  std::vector<int32_t> seen;
  std::vector<float> weights;
  for (size_t m = 0; m < area; m++) {
    if (face[m] < 0) continue;
    require((size_t)face[m] < faces.size() / 3, "a sample shows a triangle that there is");
    seen.push_back(face[m]);
    weights.insert(weights.end(), {barycentric[2 * m], barycentric[2 * m + 1]});
  }
  const int channels = 1 + source.below(4);
  const auto attributes = source.numbers((size_t)vertices * channels, 0, 1);
  std::vector<float> carried(seen.size() * channels);
  interpolate_corners(seen.data(), weights.data(), seen.size(), faces.data(), attributes.data(), channels, carried.data());

  const int rows = 1 + source.below(12), columns = 1 + source.below(12);
  const size_t count = source.below(60);
  std::vector<float> texture((size_t)rows * columns * channels, 0.5f), found(count * channels);
  const auto places = source.numbers(2 * count, -0.5f, 1.5f);
  sample_texture(texture.data(), rows, columns, channels, places.data(), count, found.data());
  for (float value : found) require(std::fabs(value - 0.5f) < 1e-4f, "a flat texture is flat at every place");
}

std::vector<const Kernels*> available() {
  std::vector<const Kernels*> all = {&base::kernels};
#if defined(SPATIALAVATAR_HAS_X86_LEVELS)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all.push_back(&v3::kernels);
  if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) all.push_back(&v4::kernels);
#endif
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Context context;  // used again and again, as renders do
  Pool::instance().set_threads(2);
  if (size > 0 && data[0] % 4 == 0) {
    Source source(data + 1, size - 1);
    mesh(source);
    return 0;
  }
  for (const Kernels* kernels : available()) {
    Source source(data, size);
    const int kind = source.below(4);
    try {
      if (kind < 2)
        draw(source, *kernels, context);
      else if (kind == 2)
        compare(source, *kernels);
      else
        refine(source, *kernels);
    } catch (const std::exception&) {  // too many tiles, out of memory: refused, not crashed
    }
  }
  return 0;
}

#if !defined(SPATIALAVATAR_LIBFUZZER)
int main(int count, char** words) {
  const double seconds = count > 1 ? std::atof(words[1]) : 10.0;
  std::mt19937 random(count > 2 ? (unsigned)std::atoi(words[2]) : 0u);
  const auto began = std::chrono::steady_clock::now();
  std::vector<uint8_t> input;
  long runs = 0;
  while (std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() < seconds) {
    input.resize(random() % 6000);
    for (uint8_t& value : input) value = (uint8_t)random();
    LLVMFuzzerTestOneInput(input.data(), input.size());
    runs++;
  }
  std::printf("%ld inputs through %zu instruction sets, nothing found\n", runs, available().size());
}
#endif
