// A growable, 64-byte aligned array whose contents are not kept when it grows. Renders reuse their buffers.
#pragma once
#include <cstddef>

// Allocates at least `bytes`, aligned to 64; large blocks on huge pages where the system has them (fewer TLB misses).
// Throws std::bad_alloc. Not a template, so that the kernels compiled for newer processors share this one copy.
void* allocate_aligned(std::size_t bytes);
void free_aligned(void* block);

template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { free_aligned(data_); }

  // Room for `count` elements, with a quarter to spare so that a slowly growing scene rarely reallocates.
  __attribute__((always_inline)) T* reserve(std::size_t count) {
    if (count > capacity_) {
      const std::size_t wanted = count + count / 4 + 64;
      free_aligned(data_);
      data_ = nullptr;
      capacity_ = 0;
      data_ = static_cast<T*>(allocate_aligned(wanted * sizeof(T)));
      capacity_ = wanted;
    }
    return data_;
  }
  __attribute__((always_inline)) T* data() const { return data_; }

 private:
  T* data_ = nullptr;
  std::size_t capacity_ = 0;
};
