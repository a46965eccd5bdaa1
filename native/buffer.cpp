#include "buffer.hpp"

#include <cstdlib>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#elif defined(_WIN32)
#include <malloc.h>
#endif

void* allocate_aligned(std::size_t bytes) {
  constexpr std::size_t huge_page = std::size_t(1) << 21;
  const std::size_t alignment = bytes >= huge_page / 2 ? huge_page : 64;
  bytes = (bytes + alignment - 1) / alignment * alignment;
#if defined(_WIN32)
  void* block = _aligned_malloc(bytes, alignment);
#else
  void* block = std::aligned_alloc(alignment, bytes);
#endif
  if (!block) throw std::bad_alloc();
#if defined(__linux__)
  if (alignment == huge_page) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

void free_aligned(void* block) {
#if defined(_WIN32)
  _aligned_free(block);
#else
  std::free(block);
#endif
}
