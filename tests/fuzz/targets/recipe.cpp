// SPDX-License-Identifier: Apache-2.0
// Any bytes as a recipe: name, shorthand or JSON.
#include "support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    mustafar::fuzz::try_recipe({reinterpret_cast<const char*>(data), size});
    return 0;
}
