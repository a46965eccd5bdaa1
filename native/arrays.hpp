// What the parts of the Python module share: arrays, their checks, cameras. Arrays come in as contiguous numpy views of
// torch tensors.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <stdexcept>
#include <string>

#include "constants.hpp"
#include "context.hpp"

namespace nb = nanobind;
using namespace nb::literals;

using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const int32_t, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<const uint8_t, nb::c_contig, nb::device::cpu>;
using DoublesOut = nb::ndarray<double, nb::c_contig, nb::device::cpu>;
using BytesOut = nb::ndarray<uint8_t, nb::c_contig, nb::device::cpu>;
using FloatsOut = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using IntegersOut = nb::ndarray<int32_t, nb::c_contig, nb::device::cpu>;
template <class T>
using Maybe = std::optional<T>;

// The kernels in use; module.cpp chooses them.
extern const Kernels* kernels;

void define_refinement(nb::module_& m);

// The array's data, if it has `size` elements. Throws std::invalid_argument.
template <class Array>
auto checked(const char* name, const Array& array, std::size_t size) {
  if (array.size() != size)
    throw std::invalid_argument(std::string(name) + " has " + std::to_string(array.size()) + " elements, not " +
                                std::to_string(size));
  return array.data();
}
template <class Array>
auto checked(const char* name, const Maybe<Array>& array, std::size_t size) {
  return array ? checked(name, *array, size) : nullptr;
}

inline void set_camera(CameraParameters& camera, const Doubles& camera_from_world, const Doubles& intrinsics) {
  const double* world = checked("camera_from_world", camera_from_world, 16);
  const double* pinhole = checked("intrinsics", intrinsics, 9);
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < 3; j++) camera.rotation[3 * i + j] = world[4 * i + j];
    camera.translation[i] = world[4 * i + 3];
  }
  camera.focal_x = pinhole[0];
  camera.focal_y = pinhole[4];
  camera.center_x = pinhole[2];
  camera.center_y = pinhole[5];
}

inline void check_size(const CameraParameters& camera) {
  if (camera.height < 1 || camera.width < 1 || camera.height > MAX_IMAGE_SIZE || camera.width > MAX_IMAGE_SIZE)
    throw std::invalid_argument("image size out of range");
}

// Throws unless every index lies where the kernels will look.
inline void check_faces(const BindingArguments& b) {
  bool fine = b.first_of_face[0] == 0;
  for (int i = 0; i < b.faces_count; i++) fine &= b.first_of_face[i] <= b.first_of_face[i + 1];
  if (!fine) throw std::invalid_argument("starts must ascend from 0");
  for (int i = 0; i < 3 * b.faces_count; i++)
    if (b.faces[i] < 0 || b.faces[i] >= b.vertices_count)
      throw std::invalid_argument("a face has a corner that is no vertex");
}

// The same of what only the backward pass reads.
inline void check_corners(const BindingArguments& b) {
  bool fine = b.first_of_vertex[0] == 0 && b.first_of_vertex[b.vertices_count] == 3 * b.faces_count;
  for (int i = 0; i < b.vertices_count; i++) fine &= b.first_of_vertex[i] <= b.first_of_vertex[i + 1];
  for (int i = 0; i < 3 * b.faces_count; i++) fine &= b.corners[i] >= 0 && b.corners[i] < 3 * b.faces_count;
  if (!fine) throw std::invalid_argument("the corners are not those of the faces");
}
