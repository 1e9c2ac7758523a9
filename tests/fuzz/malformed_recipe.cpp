// SPDX-License-Identifier: Apache-2.0
// The text of every named recipe cut at every byte and with every bit flipped: refused by INVALID_ARGUMENT, or a
// recipe whose canonical text gives itself.
#include <cstdio>
#include <filesystem>

#include <gtest/gtest.h>

#include "support.hpp"

namespace mustafar::fuzz {

namespace {

// Canonical JSON of all named recipes, and the files of the corpus.
std::vector<std::string> texts() {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < mustafar_recipe_count(); ++i) {
        const auto recipe = golden::make_recipe(mustafar_recipe_name(i));
        out.emplace_back(mustafar_recipe_json(recipe.get()));
    }
    for (const auto& item :
         std::filesystem::directory_iterator(MUSTAFAR_SOURCE_DIR "/tests/fuzz/corpus/recipe")) {
        const Bytes bytes = golden::read_file(item.path().string());
        if (!bytes.empty() && bytes[0] == '{') { out.emplace_back(bytes.begin(), bytes.end()); }
    }
    return out;
}

} // namespace

TEST(MalformedRecipe, CutAtEveryByte) {
    std::size_t tried = 0;
    for (const std::string& text : texts()) {
        const std::size_t whole = text.find_last_of('}');
        for (std::size_t size = 0; size <= whole; ++size, ++tried) {
            ASSERT_EQ(try_recipe(std::string_view(text).substr(0, size)), MUSTAFAR_INVALID_ARGUMENT)
                << text.substr(0, size);
        }
        ASSERT_EQ(try_recipe(text), MUSTAFAR_OK) << text;
    }
    std::printf("%zu texts, all refused\n", tried);
}

// Every bit of the first text, one bit of every byte of the others.
TEST(MalformedRecipe, EveryBitFlipped) {
    std::size_t tried = 0;
    std::size_t accepted = 0;
    for (const std::string& text : texts()) {
        for (std::size_t bit = 0; bit < text.size() * 8; bit += tried < 3000 ? 1 : 7, ++tried) {
            std::string flipped = text;
            flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
            const mustafar_status status = try_recipe(flipped);
            ASSERT_TRUE(status == MUSTAFAR_OK || status == MUSTAFAR_INVALID_ARGUMENT) << flipped;
            accepted += status == MUSTAFAR_OK ? 1 : 0;
        }
    }
    std::printf("%zu texts, %zu of them recipes\n", tried, accepted);
    EXPECT_LT(accepted, tried / 4);
}

} // namespace mustafar::fuzz
