// SPDX-License-Identifier: Apache-2.0
// The built-in recipes, each as a user could have written it. Adding one: a row here, nothing else.
#include <array>

#include "recipe/recipe.hpp"

namespace mustafar {

namespace {

#define MUSTAFAR_NAMED(name, sides)                                                                \
    R"({"schema":"mustafar.recipe","version":1,"name":")" name R"(",)" sides "}"

constexpr std::array named = {
    NamedRecipe{"dense", "Keeps everything at 16 bits: the baseline.",
                MUSTAFAR_NAMED("dense", R"("k":{},"v":{})")},
    NamedRecipe{"mustafar-50", "Keeps half of every K and V row at 16 bits.",
                MUSTAFAR_NAMED("mustafar-50", R"("k":{"keep":"1/2"},"v":{"keep":"1/2"})")},
    NamedRecipe{"mustafar-70",
                "Keeps 5/16 of every K and V row at 16 bits, what the paper's 70 % really keeps.",
                MUSTAFAR_NAMED("mustafar-70", R"("k":{"keep":"5/16"},"v":{"keep":"5/16"})")},
    NamedRecipe{"k50-v70", "Keeps half of every K row and 5/16 of every V row at 16 bits.",
                MUSTAFAR_NAMED("k50-v70", R"("k":{"keep":"1/2"},"v":{"keep":"5/16"})")},
    NamedRecipe{"kivi-4",
                "Dense 4-bit codes, K with a scale per channel and V with a scale per token.",
                MUSTAFAR_NAMED("kivi-4", R"("k":{"bits":4,"axis":"channel"},"v":{"bits":4})")},
    NamedRecipe{"kivi-2",
                "Dense 2-bit codes, K with a scale per channel and V with a scale per token.",
                MUSTAFAR_NAMED("kivi-2", R"("k":{"bits":2,"axis":"channel"},"v":{"bits":2})")},
    NamedRecipe{"int8", "Dense 8-bit codes with a scale per token.",
                MUSTAFAR_NAMED("int8", R"("k":{"bits":8},"v":{"bits":8})")},
    NamedRecipe{"int4", "Dense 4-bit codes with a scale per token.",
                MUSTAFAR_NAMED("int4", R"("k":{"bits":4},"v":{"bits":4})")},
    NamedRecipe{"int2", "Dense 2-bit codes with a scale per token.",
                MUSTAFAR_NAMED("int2", R"("k":{"bits":2},"v":{"bits":2})")},
    NamedRecipe{"k4v2", "Dense codes with a scale per token, 4 bits for K and 2 bits for V.",
                MUSTAFAR_NAMED("k4v2", R"("k":{"bits":4},"v":{"bits":2})")},
    NamedRecipe{"mustafar-50-int4", "Keeps half of every K and V row at 4 bits.",
                MUSTAFAR_NAMED("mustafar-50-int4",
                               R"("k":{"keep":"1/2","bits":4},"v":{"keep":"1/2","bits":4})")},
    NamedRecipe{"mustafar-70-int8", "Keeps 5/16 of every K and V row at 8 bits.",
                MUSTAFAR_NAMED("mustafar-70-int8",
                               R"("k":{"keep":"5/16","bits":8},"v":{"keep":"5/16","bits":8})")},
    NamedRecipe{"mustafar-70-int4", "Keeps 5/16 of every K and V row at 4 bits.",
                MUSTAFAR_NAMED("mustafar-70-int4",
                               R"("k":{"keep":"5/16","bits":4},"v":{"keep":"5/16","bits":4})")},
    NamedRecipe{"lean", "Keeps half of every K row at 4 bits and all of V at 2 bits.",
                MUSTAFAR_NAMED("lean", R"("k":{"keep":"1/2","bits":4},"v":{"bits":2})")},
    NamedRecipe{"leaner", "Keeps 5/16 of every K row at 4 bits and all of V at 2 bits.",
                MUSTAFAR_NAMED("leaner", R"("k":{"keep":"5/16","bits":4},"v":{"bits":2})")},
};

#undef MUSTAFAR_NAMED

} // namespace

std::span<const NamedRecipe> named_recipes() { return named; }

} // namespace mustafar
