// SPDX-License-Identifier: Apache-2.0
// Built-in names and the shorthand.
#include <map>
#include <set>

#include "recipe_support.hpp"

namespace mustafar::test {
namespace {

struct Shape {
    int k_keep, k_bits, v_keep, v_bits; // at d = 128
    Encoding k_encoding = Encoding::exact;
};

TEST(RecipeNames, EveryName_MeansWhatItsSentenceSays) {
    const std::map<std::string, Shape> expected = {
        {"dense", {128, 16, 128, 16}},
        {"mustafar-50", {64, 16, 64, 16}},
        {"mustafar-70", {40, 16, 40, 16}},
        {"k50-v70", {64, 16, 40, 16}},
        {"kivi-4", {128, 4, 128, 4, Encoding::channel}},
        {"kivi-2", {128, 2, 128, 2, Encoding::channel}},
        {"int8", {128, 8, 128, 8}},
        {"int4", {128, 4, 128, 4}},
        {"int2", {128, 2, 128, 2}},
        {"k4v2", {128, 4, 128, 2}},
        {"mustafar-50-int4", {64, 4, 64, 4}},
        {"mustafar-70-int8", {40, 8, 40, 8}},
        {"mustafar-70-int4", {40, 4, 40, 4}},
        {"lean", {64, 4, 128, 2}},
        {"leaner", {40, 4, 128, 2}},
    };
    EXPECT_EQ(named_recipes().size(), expected.size());
    for (const auto& [name, shape] : expected) {
        SCOPED_TRACE(name);
        const HeadSpec head = head_of(name);
        EXPECT_EQ(head.k.keep, shape.k_keep);
        EXPECT_EQ(head.k.bits, shape.k_bits);
        EXPECT_EQ(head.v.keep, shape.v_keep);
        EXPECT_EQ(head.v.bits, shape.v_bits);
        EXPECT_EQ(head.k.encoding, shape.k_encoding);
        EXPECT_EQ(head.v.encoding, Encoding::exact);
    }
}

TEST(RecipeNames, EveryName_ResolvesAtCommonHeadDims) {
    std::set<std::string> digests;
    for (const NamedRecipe& named : named_recipes()) {
        SCOPED_TRACE(named.name);
        const auto recipe = Recipe::parse(named.name);
        for (const std::uint32_t d : {64U, 80U, 128U}) {
            EXPECT_EQ(recipe->resolve(geometry(d)).heads.size(), 8U);
        }
        EXPECT_EQ(recipe->json(), Recipe::parse(named.json)->json());
        EXPECT_NE(recipe->json().find(std::string("\"name\":\"") + named.name + "\""),
                  std::string::npos);
        EXPECT_TRUE(digests.insert(recipe->digest()).second) << "two names for one recipe";
        EXPECT_GT(std::string(named.sentence).size(), 20U);
        EXPECT_EQ(std::string(named.sentence).back(), '.');
    }
}

TEST(RecipeNames, UnknownName_ListsTheKnownAndMentionsTheOtherForms) {
    const Error error = refusal([] { (void)Recipe::parse("leen"); }, "leen");
    EXPECT_EQ(error.code, MUSTAFAR_INVALID_ARGUMENT);
    for (const char* part : {"recipe \"leen\": unknown name", "did you mean \"lean\"?",
                             "mustafar-50", "k64i4/v128i2", "JSON"}) {
        EXPECT_NE(error.text.find(part), std::string::npos) << error.text;
    }
    for (const char* text :
         {"LEAN", "lean ", "lean\n", "null", "[]", "k64i4", "/", "\"lean\"", "v64/k64"}) {
        expect_refused(text, "recipe \"");
    }
    expect_refused("", "recipe: empty");
    expect_refused(" \n", "recipe: empty");
    expect_refused(std::string(100000, 'k'), "recipe \"kkk");
    expect_refused(std::string("lean\0", 5), "recipe \"lean?");
}

TEST(RecipeShorthand, YieldsWhatTheJsonWould) {
    const char* const cases[][2] = {
        {"k64i4/v128i2", R"("k":{"keep":64,"bits":4},"v":{"keep":128,"bits":2})"},
        {"kdi4c/vdi4", R"("k":{"keep":"d","bits":4,"axis":"channel"},"v":{"bits":4})"},
        {"k64i4m/vdi2/w64/s4", R"("k":{"keep":64,"bits":4,"centre":"mean"},"v":{"bits":2},)"
                               R"("window":{"recent":64,"sink":4})"},
        {"kd/vd", R"("k":{},"v":{})"},
        {"k1/v256", R"("k":{"keep":1},"v":{"keep":256})"},
        {"kdi8g32/vdi2g64/s1",
         R"("k":{"bits":8,"group":32},"v":{"bits":2,"group":64},"window":{"sink":1})"},
        {"kdi4mg32/vd/w0", R"("k":{"bits":4,"centre":"mean","group":32},"window":{"recent":0})"},
    };
    for (const auto& [shorthand, members] : cases) {
        SCOPED_TRACE(shorthand);
        const auto recipe = Recipe::parse(shorthand);
        EXPECT_EQ(recipe->json(),
                  canonical(json(std::string("\"name\":\"") + shorthand + "\"," + members)));
        EXPECT_EQ(recipe->digest(), Recipe::parse(json(members))->digest());
    }
}

TEST(RecipeShorthand, Errors_NameThePosition) {
    const char* const cases[][2] = {
        {"k/v1", "recipe \"k/v1\": position 1"},
        {"k64/", "recipe \"k64/\": position 4"},
        {"k64/w4", "recipe \"k64/w4\": position 4"},
        {"k64i3/v1", "recipe \"k64i3/v1\": position 4"},
        {"k64i/v1", "recipe \"k64i/v1\": position 4"},
        {"k64x/v1", "recipe \"k64x/v1\": position 3"},
        {"k-1/v1", "recipe \"k-1/v1\": position 1"},
        {"k64mc/v1", "recipe \"k64mc/v1\": position 4"},
        {"k64g16/v1", "recipe \"k64g16/v1\": position 4"},
        {"k64/v64/", "recipe \"k64/v64/\": position 7"},
        {"k64/v64/w", "recipe \"k64/v64/w\": position 9"},
        {"k64/v64/s1/w1", "recipe \"k64/v64/s1/w1\": position 10"},
        {"k64/v64 ", "recipe \"k64/v64 \": position 7"},
        {"k99999999999999999999999/v1", "recipe \"k99999999999999999999999/v1\": position 1"},
    };
    for (const auto& [text, start] : cases) expect_refused(text, start);
}

TEST(RecipeShorthand, WhatTheJsonWouldRefuse_IsRefusedWithTheText) {
    expect_refused("kdc/vd", "recipe \"kdc/vd\": k.axis");
    expect_refused("kdi4/vdi4c", "recipe \"kdi4/vdi4c\": v.axis");
    expect_refused("kd/vdi4m", "recipe \"kd/vdi4m\": v.centre");
    expect_refused("k0/v1", "recipe \"k0/v1\": k.keep = 0");
    expect_refused("k257/v1", "recipe \"k257/v1\": k.keep = 257");
    expect_refused("kdg32/v1", "recipe \"kdg32/v1\": k.group");
    expect_refused("kd/vd/w1048577", "recipe \"kd/vd/w1048577\": window.recent");
    expect_unsupported("k65/vd", "k.keep = 65 exceeds head_dim = 64", geometry(64));
}

} // namespace
} // namespace mustafar::test
