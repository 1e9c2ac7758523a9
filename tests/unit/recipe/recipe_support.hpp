// SPDX-License-Identifier: Apache-2.0
// What the recipe tests share: short ways to parse, resolve, and catch a refusal.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "core/error.hpp"
#include "recipe/recipe.hpp"

namespace mustafar::test {

inline Geometry geometry(std::uint32_t d = 128, std::uint32_t layers = 4,
                         std::uint32_t kv_heads = 2) {
    return {layers, kv_heads * 4, kv_heads, d, d, Dtype::f16};
}

// The JSON text of a recipe with these members beside schema and version.
inline std::string json(const std::string& members) {
    return R"({"schema":"mustafar.recipe","version":1)" + (members.empty() ? "" : "," + members) +
           "}";
}

inline std::string canonical(const std::string& text) { return Recipe::parse(text)->json(); }

inline HeadSpec head_of(const std::string& text, std::uint32_t d = 128, std::uint32_t layer = 0,
                        std::uint32_t kv_head = 0) {
    const Geometry shape = geometry(d);
    return Recipe::parse(text)->resolve(shape).head(layer, kv_head, shape.kv_heads);
}

// K of head 0 in layer 0, for a recipe whose K is `side`.
inline SideSpec k_of(const std::string& side, std::uint32_t d = 128) {
    return head_of(json(R"("k":)" + side), d).k;
}

template <class Call>
Error refusal(Call&& call, const std::string& of) {
    try {
        call();
    } catch (const Error& error) { return error; }
    ADD_FAILURE() << "accepted, but should be refused: " << of;
    return {MUSTAFAR_OK, ""};
}

// Refused at parse, and the text starts with the path of the key at fault.
inline void expect_refused(const std::string& text, const std::string& path) {
    SCOPED_TRACE(text.substr(0, 300));
    const Error error = refusal([&] { (void)Recipe::parse(text); }, text.substr(0, 300));
    EXPECT_EQ(error.code, MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(error.text.substr(0, path.size()), path) << error.text;
    EXPECT_LT(error.text.size(), 500U) << "longer than what mustafar_error holds";
}

// Parsed, but refused for the geometry.
inline void expect_unsupported(const std::string& text, const std::string& path,
                               const Geometry& shape = geometry()) {
    SCOPED_TRACE(text.substr(0, 300));
    const auto recipe = Recipe::parse(text);
    const Error error = refusal([&] { (void)recipe->resolve(shape); }, text.substr(0, 300));
    EXPECT_EQ(error.code, MUSTAFAR_UNSUPPORTED);
    EXPECT_EQ(error.text.substr(0, path.size()), path) << error.text;
}

// splitmix64; the seed is MUSTAFAR_SEED where given, so that a failure can be run again.
class Random {
  public:
    explicit Random(std::uint64_t salt) : state_(seed() ^ salt) {}

    static std::uint64_t seed() {
        const char* given = std::getenv("MUSTAFAR_SEED");
        return given == nullptr ? 1 : std::strtoull(given, nullptr, 0);
    }
    std::uint64_t below(std::uint64_t limit) { return next() % limit; }
    bool chance(unsigned percent) { return below(100) < percent; }

  private:
    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
        z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31U);
    }
    std::uint64_t state_;
};

} // namespace mustafar::test
