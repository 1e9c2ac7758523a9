// SPDX-License-Identifier: Apache-2.0
// operator new of the whole process, the shared library included, with a note of the largest block.
#include "heap.hpp"

#include <cstdlib>
#include <new>

std::size_t heap_largest = 0;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
const bool heap_counts = false;
#else
const bool heap_counts = true;

void* operator new(std::size_t bytes) {
    heap_largest = bytes > heap_largest ? bytes : heap_largest;
    void* data = std::malloc(bytes);
    if (data == nullptr) { throw std::bad_alloc(); }
    return data;
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t /*bytes*/) noexcept { std::free(data); }
#endif
