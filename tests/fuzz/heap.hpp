// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

extern std::size_t heap_largest; // bytes of the largest block that was asked of operator new
extern const bool heap_counts;   // not where a sanitizer brings its own
