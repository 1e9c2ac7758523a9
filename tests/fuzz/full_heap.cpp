// SPDX-License-Identifier: Apache-2.0
// Every call of operator new that a parse, a resolve or a load makes fails once, alone and with all
// later ones: OUT_OF_MEMORY, nothing left behind, and the process lives. (The blocks of the
// context's allocator are another matter: tests/capi/memory.c.)
#include <cstdio>
#include <functional>

#include <gtest/gtest.h>

#include "heap.hpp"
#include "support.hpp"

namespace mustafar::fuzz {

namespace {

using Call = std::function<mustafar_status()>;

// `call` gives `whole` once no allocation fails any more; gives back how many it makes.
long exhaust(const std::string& name, mustafar_status whole, const Call& call) {
    long made = 0;
    for (const long sign : {1L, -1L}) {
        for (long n = 1;; ++n) {
            const long live = heap_live;
            heap_fails_at = sign * n;
            const mustafar_status status = call();
            const bool reached = sign > 0 ? heap_fails_at == 0 : heap_fails_at == -1;
            heap_fails_at = 0;
            made = n - 1;
            EXPECT_EQ(heap_live, live) << name << ", left behind after allocation " << n;
            if (!reached) {
                EXPECT_EQ(status, whole) << name;
                break;
            }
            EXPECT_EQ(status, MUSTAFAR_OUT_OF_MEMORY)
                << name << ", allocation " << n << (sign > 0 ? " alone" : " and all later");
            if (status != MUSTAFAR_OUT_OF_MEMORY) { break; }
        }
    }
    return made;
}

mustafar_status parse(const std::string& text) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_recipe* recipe = nullptr;
    const mustafar_status status = mustafar_recipe_parse(text.data(), text.size(), &recipe, &error);
    EXPECT_EQ(recipe != nullptr, status == MUSTAFAR_OK);
    mustafar_recipe_destroy(recipe);
    return status;
}

const char* const head = R"({"schema":"mustafar.recipe","version":1,)";

} // namespace

class FullHeap : public testing::Test {
  protected:
    void SetUp() override {
        if (!heap_counts) { GTEST_SKIP() << "operator new is the sanitizer's"; }
    }
};

TEST_F(FullHeap, WhileARecipeIsParsed) {
    const std::string layers =
        std::string(head) +
        R"("k":{"keep":"1/2","bits":4,"centre":[0.5,1,1.5,2]},"v":{"method":"n_m","n":2,"m":4},)"
        R"("layers":[{"at":"0-3","heads":[{"at":"0","k":{"keep":9}},{"at":"-1","budget":64}]},)"
        R"({"at":"4","v":{"bits":8},"budget":[64,65]}],"protect":[0,-1],"note":"longer than any small string is"})";
    long made = 0;
    for (const std::string& text : {std::string("mustafar-50"), std::string("lean"),
                                    std::string("k40i4m/v64i2/w16/s4"), layers}) {
        made += exhaust(text, MUSTAFAR_OK, [&] { return parse(text); });
    }
    std::printf("%ld allocations, each failed twice\n", made);
    EXPECT_GT(made, 100);
}

// What is refused destroys a tree that is half built.
TEST_F(FullHeap, WhileARecipeIsRefused) {
    const std::string texts[] = {
        std::string(head) + R"("k":{"keep":5,"bits":3},"protect":[1,2,3]})",
        std::string(head) + R"("k":{"keep":5},"layers":[{"at":"0","k":{"bits":4}},{"at":)",
        std::string(head) + R"("layers":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]})",
        std::string(head) + R"("k":{"keep":5},"k":{}})",
        "k40i4/v64i3",
        "leanest",
    };
    for (const std::string& text : texts) {
        exhaust(text, MUSTAFAR_INVALID_ARGUMENT, [&] { return parse(text); });
    }
}

TEST_F(FullHeap, WhileASnapshotIsLoaded) {
    Gate gate;
    for (const char* name :
         {"exact-i4-i8", "mixed", "channel-ragged-holes", "marks", "ragged-evicted"}) {
        const Bytes file = golden::read_file(MUSTAFAR_SOURCE_DIR "/tests/golden/v1/" +
                                             std::string(name) + ".snap");
        const long made = exhaust(name, MUSTAFAR_OK, [&] {
            Outcome outcome;
            const CachePtr cache = golden::load(gate.context(), file, outcome);
            EXPECT_EQ(cache != nullptr, outcome.status == MUSTAFAR_OK);
            return outcome.status;
        });
        EXPECT_EQ(gate.cache_bytes(), 0U) << name;
        std::printf("%s: %ld allocations\n", name, made);
    }
}

} // namespace mustafar::fuzz
