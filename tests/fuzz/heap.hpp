// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

extern std::size_t heap_largest; // bytes of the largest block that was asked of operator new
extern long heap_live;           // blocks of operator new that are not given back
extern const bool heap_counts;   // not where a sanitizer brings its own

// The call of operator new that throws, counted from 1 at the next one: n alone, or (-n) that one and
// all later ones. 0 = none. Back at 0 once a single one has thrown.
extern long heap_fails_at;
