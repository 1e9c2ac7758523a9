// SPDX-License-Identifier: Apache-2.0
// Damaged and hostile text ends in an Error, never in a crash or another exception.
#include "recipe_support.hpp"

namespace mustafar::test {
namespace {

// Whatever is accepted must be sound: its canonical text is accepted and the same again.
void expect_error_or_sound(const std::string& text) {
    std::shared_ptr<const Recipe> recipe;
    try {
        recipe = Recipe::parse(text);
    } catch (const Error& error) {
        EXPECT_EQ(error.code, MUSTAFAR_INVALID_ARGUMENT);
        EXPECT_FALSE(error.text.empty());
        return;
    }
    EXPECT_EQ(canonical(recipe->json()), recipe->json()) << text;
    try {
        (void)recipe->resolve(geometry(80, 3, 5));
    } catch (const Error& error) { EXPECT_EQ(error.code, MUSTAFAR_UNSUPPORTED); }
}

std::vector<std::string> seeds() {
    std::vector<std::string> texts;
    for (const NamedRecipe& named : named_recipes()) texts.emplace_back(named.json);
    texts.push_back(json(
        R"("note":"\u00e9","window":{"recent":16,"sink":4,"step":8},"budget":99,"protect":[0,-1],
        "k":{"method":"n_m","n":2,"m":4,"centre":[0.5,1e-3]},"v":{"sparsity":0.7,"rule":"paper"},
        "layers":[{"at":"1-2,-1","k":{"method":"threshold","threshold":0.5},"budget":[64,0],
        "heads":[{"at":"0","v":{"bits":4,"group":32,"keep":"d"}}]}])"));
    texts.emplace_back("k64i4m/vdi2g32/w64/s4");
    return texts;
}

TEST(RecipeHostile, TruncatedAtAnyByte_IsRefused) {
    for (const std::string& text : seeds()) {
        if (text[0] != '{') continue; // a shorthand without its tail may be a shorthand
        for (std::size_t bytes = 0; bytes < text.size(); ++bytes)
            expect_refused(text.substr(0, bytes), "");
    }
}

TEST(RecipeHostile, AnyBitFlipped_IsRefusedOrSound) {
    for (const std::string& text : seeds()) {
        for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
            std::string damaged = text;
            damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1U << (bit % 8)));
            SCOPED_TRACE(damaged);
            expect_error_or_sound(damaged);
        }
    }
}

TEST(RecipeHostile, SplicedTexts_AreRefusedOrSound) {
    const std::vector<std::string> texts = seeds();
    Random random(0x5911CE);
    for (int i = 0; i < 20000; ++i) {
        std::string text = texts[random.below(texts.size())];
        for (std::uint64_t edits = 1 + random.below(3); edits > 0; --edits) {
            const std::string& other = texts[random.below(texts.size())];
            const std::string piece = other.substr(random.below(other.size()), random.below(24));
            text.replace(random.below(text.size() + 1), random.below(12), piece);
        }
        SCOPED_TRACE("MUSTAFAR_SEED=" + std::to_string(Random::seed()) + " case " +
                     std::to_string(i) + " " + text);
        expect_error_or_sound(text);
        if (HasFailure()) return;
    }
}

TEST(RecipeHostile, RandomBytes_AreRefused) {
    Random random(0xB17E5);
    for (int i = 0; i < 5000; ++i) {
        std::string text(random.below(64), '\0');
        for (char& c : text) c = static_cast<char>(random.below(256));
        expect_error_or_sound(text);
        expect_error_or_sound("{" + text);
    }
}

TEST(RecipeHostile, LongTextsOfEveryBracket_EndSoon) {
    for (const char* piece : {"[", "{", "\"", ",", "1", "{\"a\":", "[{", "-", "\\", "k/", "e"}) {
        std::string text = "{";
        while (text.size() < 200000) text += piece;
        expect_refused(text, "");
        expect_refused(text.substr(1), "");
    }
}

} // namespace
} // namespace mustafar::test
