// SPDX-License-Identifier: Apache-2.0
// operator new of the whole process, the shared library included, with a note of the largest block
// and a heap that can be told to be full.
#include "heap.hpp"

#include <cstdlib>
#include <new>

std::size_t heap_largest = 0;
long heap_fails_at = 0;
long heap_live = 0;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
const bool heap_counts = false;
#else
const bool heap_counts = true;

static bool full() {
    if (heap_fails_at == 0) { return false; }
    if (heap_fails_at > 0) { return --heap_fails_at == 0; }
    if (heap_fails_at < -1) { ++heap_fails_at; }
    return heap_fails_at == -1;
}

void* operator new(std::size_t bytes) {
    if (full()) { throw std::bad_alloc(); }
    heap_largest = bytes > heap_largest ? bytes : heap_largest;
    void* data = std::malloc(bytes);
    if (data == nullptr) { throw std::bad_alloc(); }
    ++heap_live;
    return data;
}
void operator delete(void* data) noexcept {
    heap_live -= data != nullptr ? 1 : 0;
    std::free(data);
}
void operator delete(void* data, std::size_t /*bytes*/) noexcept { operator delete(data); }
#endif
