// SPDX-License-Identifier: Apache-2.0
// What we believe, never what a user gave: checked in debug, sanitizer and fuzz builds only.
#pragma once

#include <cassert>

#define MUSTAFAR_ASSERT(condition) assert(condition)
