// SPDX-License-Identifier: Apache-2.0
// Overrides by layer and kv head, protected layers, budgets.
#include "recipe_support.hpp"

namespace mustafar::test {
namespace {

// K counts of all layers (head 0) as a list: "64,40,128,128".
std::string keeps(const std::string& members, std::uint32_t layers = 4) {
    const Geometry shape = geometry(128, layers);
    const ResolvedRecipe resolved = Recipe::parse(json(members))->resolve(shape);
    std::string list;
    for (std::uint32_t layer = 0; layer < layers; ++layer) {
        list += (layer == 0 ? "" : ",") + std::to_string(resolved.head(layer, 0, 2).k.keep);
    }
    return list;
}

std::string at(const std::string& list) {
    return R"("layers":[{"at":")" + list + R"(","k":{"keep":8}}])";
}

TEST(RecipeAt, SinglesRangesListsAndNegatives_NameTheirLayers) {
    EXPECT_EQ(keeps(at("0")), "8,128,128,128");
    EXPECT_EQ(keeps(at("1-2")), "128,8,8,128");
    EXPECT_EQ(keeps(at("0,2-3")), "8,128,8,8");
    EXPECT_EQ(keeps(at("3,0,0-1")), "8,8,128,8");
    EXPECT_EQ(keeps(at("-1")), "128,128,128,8");
    EXPECT_EQ(keeps(at("-4--3")), "8,8,128,128");
    EXPECT_EQ(keeps(at("1--2")), "128,8,8,128");
    EXPECT_EQ(keeps(at("0--1")), "8,8,8,8");
    EXPECT_EQ(keeps(at("-4-0")), "8,128,128,128");
}

TEST(RecipeAt, MalformedLists_AreRefused) {
    for (const char* list : {"",      " ",     "a",     "1,",          ",1",  "1-",  "1--",
                             "--1",   "1-2-3", "1 ,2",  "1, 2",        "0x1", "1.0", "3-1",
                             "-1--2", "4096",  "-4097", "99999999999", "+1",  "all", "*"}) {
        expect_refused(json(at(list)), "layers[0].at");
    }
    expect_refused(json(R"("layers":[{"at":"0","heads":[{"at":"1024"}]}])"),
                   "layers[0].heads[0].at");
    expect_refused(json(R"("layers":[{"at":"0","heads":[{"at":"-1025"}]}])"),
                   "layers[0].heads[0].at");
}

TEST(RecipeAt, BeyondTheGeometry_IsUnsupportedAndSaysWhatThereIs) {
    expect_unsupported(json(at("4")), "layers[0].at = \"4\": 4 is beyond the 4 layers");
    expect_unsupported(json(at("0-4")), "layers[0].at");
    expect_unsupported(json(at("-5")), "layers[0].at = \"-5\": -5 is beyond the 4 layers");
    expect_unsupported(json(at("3--2")), "layers[0].at = \"3--2\": 3--2 runs backwards");
    expect_unsupported(json(R"("layers":[{"at":"0","heads":[{"at":"0"},{"at":"2"}]}])"),
                       "layers[0].heads[1].at = \"2\": 2 is beyond the 2 kv heads");
    expect_unsupported(json(R"("protect":[0],"layers":[{"at":"0","heads":[{"at":"-3"}]}])"),
                       "layers[0].heads[0].at");
}

TEST(RecipeLayers, LaterEntries_OverrideEarlierOnesKeyByKey) {
    EXPECT_EQ(keeps(
                  R"("k":{"keep":64},"layers":[{"at":"1-3","k":{"keep":40}},
            {"at":"2","k":{"keep":"d"}}])"),
              "64,40,128,40");
    const HeadSpec head = head_of(json(
        R"("k":{"keep":64,"bits":4},"layers":[{"at":"0","k":{"keep":40}},
            {"at":"0","k":{"bits":8}},{"at":"0"}])"));
    EXPECT_EQ(head.k.keep, 40);
    EXPECT_EQ(head.k.bits, 8);
    EXPECT_EQ(head.v.keep, 128);
}

TEST(RecipeLayers, KeepAndSparsity_ReplaceEachOther) {
    EXPECT_EQ(keeps(R"("k":{"keep":64},"layers":[{"at":"1","k":{"sparsity":0.7}}])"),
              "64,39,64,64");
    EXPECT_EQ(keeps(R"("k":{"sparsity":0.7},"layers":[{"at":"1","k":{"keep":64}}])"),
              "39,64,39,39");
    EXPECT_EQ(keeps(R"("k":{"keep":50},"layers":[{"at":"1","k":{"multiple":8}}])"), "50,56,50,50");
}

TEST(RecipeLayers, KeepOverThePaperRule_LeavesThePaperRule) {
    const std::string text = json(
        R"("k":{"sparsity":0.7,"rule":"paper"},
            "layers":[{"at":"1","k":{"keep":64}},{"at":"2","k":{"sparsity":0.5}}])");
    EXPECT_EQ(head_of(text, 128, 1).k.encoding, Encoding::exact);
    EXPECT_EQ(head_of(text, 128, 1).k.keep, 64);
    EXPECT_EQ(head_of(text, 128, 2).k.prune.keep, 65);
    EXPECT_TRUE(head_of(text, 128, 2).k.prune.paper);
}

TEST(RecipeLayers, GivingAMethod_ResetsItsNumbersButNotTheBits) {
    const std::string text =
        json(R"("k":{"keep":64,"multiple":8,"bits":4},"layers":[{"at":"1","k":{"method":"none"}},
             {"at":"2","k":{"method":"n_m","n":1,"m":4}},
            {"at":"3","k":{"method":"token_topk","keep":33}}])");
    EXPECT_EQ(head_of(text, 128, 1).k.keep, 128);
    EXPECT_EQ(head_of(text, 128, 1).k.bits, 4);
    EXPECT_EQ(head_of(text, 128, 2).k.keep, 32);
    EXPECT_EQ(head_of(text, 128, 3).k.keep, 33) << "the multiple went with the old method";
    expect_unsupported(json(R"("k":{"keep":64},"layers":[{"at":"1","k":{"method":"token_topk"}}])"),
                       "layers[0].k.method");
}

TEST(RecipeLayers, KeepOverMethodNone_PrunesAfterAll) {
    EXPECT_EQ(keeps(R"("k":{"method":"none"},"layers":[{"at":"1","k":{"keep":64}}])"),
              "128,64,128,128");
    EXPECT_EQ(keeps(R"("layers":[{"at":"1","k":{"sparsity":0.5}}])"), "128,64,128,128");
}

TEST(RecipeLayers, NumbersOfAnotherMethodThanTheDefaults_AreUnsupported) {
    expect_unsupported(
        json(R"("k":{"method":"n_m","n":2,"m":4},"layers":[{"at":"1","k":{"keep":64}}])"),
        "layers[0].k.keep");
    expect_unsupported(json(R"("k":{"keep":64},"layers":[{"at":"1","k":{"n":2,"m":4}}])"),
                       "layers[0].k.n");
}

TEST(RecipeHeads, OverrideTheirLayer_WhicheverEntryComesLater) {
    const std::string text = json(
        R"("layers":[{"at":"0-1","k":{"keep":64},"heads":[{"at":"1","k":{"keep":32},"budget":100}]},
        {"at":"1","k":{"keep":16},"budget":200}])");
    EXPECT_EQ(head_of(text, 128, 0, 0).k.keep, 64);
    EXPECT_EQ(head_of(text, 128, 0, 1).k.keep, 32);
    EXPECT_EQ(head_of(text, 128, 1, 0).k.keep, 16);
    EXPECT_EQ(head_of(text, 128, 1, 1).k.keep, 32);
    EXPECT_EQ(head_of(text, 128, 0, 0).budget, 0U);
    EXPECT_EQ(head_of(text, 128, 1, 0).budget, 200U);
    EXPECT_EQ(head_of(text, 128, 1, 1).budget, 100U);
}

TEST(RecipeHeads, LaterHeadEntries_OverrideEarlierOnes) {
    const std::string text = json(
        R"("layers":[{"at":"0","heads":[{"at":"0--1","v":{"keep":32}},
            {"at":"-1","v":{"bits":4}},{"at":"1","v":{"keep":16}}]}])");
    EXPECT_EQ(head_of(text, 128, 0, 0).v.keep, 32);
    EXPECT_EQ(head_of(text, 128, 0, 1).v.keep, 16);
    EXPECT_EQ(head_of(text, 128, 0, 1).v.bits, 4);
    EXPECT_EQ(head_of(text, 128, 1, 1).v.keep, 128);
}

TEST(RecipeProtect, ProtectedLayers_AreDenseWhateverElseIsSaid) {
    const std::string text = json(
        R"("k":{"keep":64,"bits":4,"centre":"mean"},"v":{"bits":2},"budget":500,"protect":[0,-1],
        "layers":[{"at":"0--1","k":{"keep":40},"heads":[{"at":"0","budget":64}]}])");
    for (const std::uint32_t layer : {0U, 3U}) {
        const HeadSpec head = head_of(text, 128, layer);
        EXPECT_EQ(head.k.keep, 128);
        EXPECT_EQ(head.k.bits, 16);
        EXPECT_FALSE(head.k.centred);
        EXPECT_EQ(head.k.prune, PruneRule{});
        EXPECT_EQ(head.v.bits, 16);
        EXPECT_EQ(head.budget, 0U);
    }
    EXPECT_EQ(head_of(text, 128, 1).k.keep, 40);
    EXPECT_EQ(head_of(text, 128, 2).budget, 64U);
    EXPECT_EQ(head_of(text, 128, 2, 1).budget, 500U);
}

TEST(RecipeProtect, LayersBeyondTheGeometry_AreUnsupported) {
    expect_unsupported(json(R"("protect":[4])"), "protect: layer 4 is beyond the 4 layers");
    expect_unsupported(json(R"("protect":[0,-5])"), "protect: layer -5");
}

TEST(RecipeBudget, BelowRecentAndSink_IsUnsupported) {
    expect_unsupported(json(R"("budget":31)"),
                       "budget = 31 is below window.recent + window.sink = 32");
    expect_unsupported(json(R"("window":{"sink":4},"layers":[{"at":"0","budget":35}])"),
                       "layers[0].budget = 35");
    expect_unsupported(json(R"("layers":[{"at":"0","budget":[32,1]}])"), "layers[0].budget[1] = 1");
    expect_unsupported(json(R"("layers":[{"at":"0","heads":[{"at":"0","budget":1}]}])"),
                       "layers[0].heads[0].budget = 1");
    EXPECT_EQ(head_of(json(R"("window":{"sink":4},"budget":36)")).budget, 36U);
    EXPECT_EQ(head_of(json(R"("window":{"recent":0},"budget":1)")).budget, 1U);
}

TEST(RecipeBudget, OnePerKvHead_NeedsTheirNumber) {
    const std::string text = json(R"("budget":64,"layers":[{"at":"1-2","budget":[100,0]}])");
    EXPECT_EQ(head_of(text, 128, 0, 1).budget, 64U);
    EXPECT_EQ(head_of(text, 128, 1, 0).budget, 100U);
    EXPECT_EQ(head_of(text, 128, 2, 1).budget, 0U);
    expect_unsupported(json(R"("layers":[{"at":"0","budget":[100]}])"),
                       "layers[0].budget has 1 numbers");
    expect_unsupported(json(R"("layers":[{"at":"0","budget":[100,100,100]}])"),
                       "layers[0].budget has 3");
}

TEST(RecipeResolve, HeadsOfEveryLayer_AreInOrder) {
    const Geometry shape = geometry(64, 6, 3);
    const auto recipe = Recipe::parse(json(
        R"("layers":[{"at":"1,3,5","v":{"keep":8}},
            {"at":"4","heads":[{"at":"2","v":{"keep":16}}]}])"));
    const ResolvedRecipe resolved = recipe->resolve(shape);
    ASSERT_EQ(resolved.heads.size(), 18U);
    for (std::uint32_t layer = 0; layer < 6; ++layer) {
        for (std::uint32_t head = 0; head < 3; ++head) {
            const int keep = layer % 2 == 1 ? 8 : layer == 4 && head == 2 ? 16 : 64;
            EXPECT_EQ(resolved.head(layer, head, 3).v.keep, keep) << layer << " " << head;
        }
    }
}

} // namespace
} // namespace mustafar::test
