// SPDX-License-Identifier: Apache-2.0
// What one SIDE object means for one head_dim.
#include <array>
#include <cmath>

#include "recipe_support.hpp"

namespace mustafar::test {
namespace {

std::string sparsity(double s, const std::string& more = "") {
    return R"({"sparsity":)" + std::to_string(s) + more + "}";
}

TEST(RecipeKeep, CountFractionAndD_GiveTheCount) {
    EXPECT_EQ(k_of(R"({"keep":40})").keep, 40);
    EXPECT_EQ(k_of(R"({"keep":1})").keep, 1);
    EXPECT_EQ(k_of(R"({"keep":"5/16"})").keep, 40);
    EXPECT_EQ(k_of(R"({"keep":"5/16"})", 80).keep, 25);
    EXPECT_EQ(k_of(R"({"keep":"1/3"})").keep, 42) << "floor(128 / 3)";
    EXPECT_EQ(k_of(R"({"keep":"1/1000"})").keep, 1) << "at least 1";
    EXPECT_EQ(k_of(R"({"keep":"d"})").keep, 128);
    EXPECT_EQ(k_of(R"({"keep":"65535/65535"})").keep, 128);
}

TEST(RecipeKeep, MalformedFractions_AreRefused) {
    for (const char* text : {"", "1", "1/", "/2", "1/0", "0/2", "3/2", "-1/2", "1/2 ", " 1/2",
                             "1/2/3", "D", "1.0/2", "1/65536"}) {
        expect_refused(json(std::string(R"("k":{"keep":")") + text + "\"}"), "k.keep");
    }
}

TEST(RecipeKeep, PrunedSide_IsExactTokenTopk) {
    const SideSpec side = k_of(R"({"keep":40,"bits":4})");
    EXPECT_EQ(side.encoding, Encoding::exact);
    EXPECT_EQ(side.prune, (PruneRule{Method::token_topk, false, 40, 0, 0.0F}));
    EXPECT_EQ(side.d, 128);
    EXPECT_EQ(side.bits, 4);
    EXPECT_EQ(side.group, 0);
    EXPECT_FALSE(side.centred);
    EXPECT_EQ(side.centre_at, -1);
}

TEST(RecipeKeep, AllOfD_BecomesMethodNone) {
    for (const char* side : {R"({})", R"({"keep":"d"})", R"({"keep":128})", R"({"method":"none"})",
                             R"({"sparsity":0})", R"({"method":"token_topk","keep":128})",
                             R"({"method":"channels","keep":"d"})", R"({"sparsity":0.001})",
                             R"({"method":"n_m","n":4,"m":4})", R"({"sparsity":0,"rule":"paper"})",
                             R"({"sparsity":0.01,"rule":"paper"})", R"({"keep":125,"multiple":8})",
                             R"({"method":"none","keep":128})", R"({"method":"none","sparsity":0})",
                             R"({"multiple":8})"}) {
        SCOPED_TRACE(side);
        const SideSpec spec = k_of(side);
        EXPECT_EQ(spec.prune, PruneRule{});
        EXPECT_EQ(spec.encoding, Encoding::exact);
        EXPECT_EQ(spec.keep, 128);
    }
}

TEST(RecipeKeep, CountBeyondHeadDim_NamesThePathAndHeadDim) {
    expect_unsupported(json(R"("k":{"keep":200})"),
                       "k.keep = 200 exceeds head_dim = 128; give 1..128");
    expect_unsupported(json(R"("layers":[{"at":"0-3"},{"at":"2","v":{"keep":129}}])"),
                       "layers[1].v.keep = 129 exceeds head_dim = 128");
    expect_unsupported(json(R"("k":{"method":"none","keep":64})"), "k.keep = 64");
}

TEST(RecipeKeep, KAndV_FollowTheirOwnHeadDim) {
    Geometry shape = geometry(128);
    shape.head_dim_v = 64;
    const auto recipe = Recipe::parse("mustafar-50");
    const HeadSpec head = recipe->resolve(shape).head(0, 0, shape.kv_heads);
    EXPECT_EQ(head.k.keep, 64);
    EXPECT_EQ(head.v.keep, 32);
    EXPECT_EQ(head.v.d, 64);
}

TEST(RecipeSparsity, ExactRule_IsDMinusTheFloor) {
    struct Case {
        double s;
        int keep;
    };
    for (const auto& [s, keep] : {Case{0.3, 90}, Case{0.5, 64}, Case{0.6, 52}, Case{0.7, 39},
                                  Case{0.8, 26}, Case{0.9, 13}, Case{0.25, 96}, Case{0.999, 1}}) {
        EXPECT_EQ(k_of(sparsity(s)).keep, keep) << s;
        EXPECT_EQ(k_of(sparsity(s)).encoding, Encoding::exact);
    }
}

TEST(RecipeSparsity, EveryHundredthAtEveryHeadDim_IsNeverOffByOne) {
    for (std::uint32_t d = 32; d <= 256; d += 8) {
        for (std::uint32_t hundredths = 1; hundredths < 100; ++hundredths) {
            const std::uint32_t keep = d - hundredths * d / 100; // integers: no rounding to doubt
            ASSERT_EQ(k_of(sparsity(hundredths / 100.0), d).keep, keep) << d << " " << hundredths;
        }
    }
}

TEST(RecipeSparsity, CloseToOne_KeepsAtLeastOneElement) {
    EXPECT_EQ(k_of(R"({"sparsity":0.99999999999999})").keep, 1);
    EXPECT_EQ(k_of(R"({"method":"channel_topk","sparsity":0.99999999999999})").prune.keep, 1);
}

TEST(RecipeSparsity, PaperRule_KeepsOneMoreAndTiesInRaggedRows) {
    struct Case {
        double s;
        int keep;
    };
    for (const auto& [s, keep] : {Case{0.3, 91}, Case{0.5, 65}, Case{0.6, 53}, Case{0.7, 40},
                                  Case{0.8, 27}, Case{0.9, 14}}) {
        const SideSpec side = k_of(sparsity(s, R"(,"rule":"paper")"));
        EXPECT_EQ(side.prune,
                  (PruneRule{Method::token_topk, true, static_cast<std::uint16_t>(keep), 0, 0.0F}))
            << s;
        EXPECT_EQ(side.encoding, Encoding::ragged);
        EXPECT_EQ(side.keep, 0) << "the data decide";
    }
}

TEST(RecipeSparsity, PaperRule_TakesTheDoubleProductOfTheReference) {
    // int(0.29 * 200) is 57 in Python: the product falls just short of 58.
    EXPECT_EQ(k_of(R"({"sparsity":0.29,"rule":"paper"})", 200).prune.keep, 200 - 57 + 1);
    EXPECT_EQ(k_of(R"({"sparsity":0.29})", 200).keep, 200 - 58);
}

TEST(RecipeMultiple, RoundsTheCountUpAndStopsAtD) {
    EXPECT_EQ(k_of(R"({"keep":39,"multiple":8})").keep, 40);
    EXPECT_EQ(k_of(R"({"keep":40,"multiple":8})").keep, 40);
    EXPECT_EQ(k_of(R"({"keep":"5/16","multiple":4})", 80).keep, 28);
    EXPECT_EQ(k_of(R"({"sparsity":0.7,"multiple":1})").keep, 39);
    EXPECT_EQ(k_of(R"({"method":"channels","keep":30,"multiple":4})").keep, 32);
}

TEST(RecipeMethod, NOfM_KeepsItsShareOfD) {
    const SideSpec side = k_of(R"({"method":"n_m","n":2,"m":4,"bits":8})");
    EXPECT_EQ(side.prune, (PruneRule{Method::n_m, false, 2, 4, 0.0F}));
    EXPECT_EQ(side.keep, 64);
    EXPECT_EQ(side.encoding, Encoding::exact);
    expect_unsupported(json(R"("k":{"method":"n_m","n":1,"m":3})"), "k.m = 3 does not divide");
    expect_unsupported(json(R"("k":{"method":"n_m","n":1,"m":256})"), "k.m = 256 does not divide");
    expect_refused(json(R"("k":{"method":"n_m","n":5,"m":4})"), "k.n = 5 exceeds m = 4");
    expect_refused(json(R"("k":{"method":"n_m","n":2})"), "k.method = \"n_m\" needs");
}

TEST(RecipeMethod, Channels_KeepsWholeChannelsExactly) {
    const SideSpec side = k_of(R"({"method":"channels","keep":"1/2"})");
    EXPECT_EQ(side.prune, (PruneRule{Method::channels, false, 64, 0, 0.0F}));
    EXPECT_EQ(side.keep, 64);
    EXPECT_EQ(side.encoding, Encoding::exact);
}

TEST(RecipeMethod, ChannelTopk_CountsRowsOfThirtyTwo) {
    const SideSpec side = k_of(R"({"method":"channel_topk","keep":9})");
    EXPECT_EQ(side.prune, (PruneRule{Method::channel_topk, false, 9, 0, 0.0F}));
    EXPECT_EQ(side.encoding, Encoding::ragged);
    EXPECT_EQ(side.keep, 0);
    EXPECT_EQ(k_of(R"({"method":"channel_topk","sparsity":0.7})").prune.keep, 32 - 22);
    EXPECT_EQ(k_of(R"({"method":"channel_topk","sparsity":0.5})").prune.keep, 16);
    expect_refused(json(R"("k":{"method":"channel_topk","keep":33})"), "k.keep = 33");
    expect_refused(json(R"("k":{"method":"channel_topk","keep":"1/2"})"), "k.keep = \"1/2\"");
    expect_refused(json(R"("k":{"method":"channel_topk","keep":"d"})"), "k.keep = \"d\"");
}

TEST(RecipeMethod, ThresholdAndMask_AreRagged) {
    const SideSpec threshold = k_of(R"({"method":"threshold","threshold":0.25,"bits":2})");
    EXPECT_EQ(threshold.prune, (PruneRule{Method::threshold, false, 0, 0, 0.25F}));
    EXPECT_EQ(threshold.encoding, Encoding::ragged);
    EXPECT_EQ(threshold.bits, 2);
    const SideSpec mask = k_of(R"({"method":"mask"})");
    EXPECT_EQ(mask.prune.method, Method::mask);
    EXPECT_EQ(mask.encoding, Encoding::ragged);
    EXPECT_EQ(mask.keep, 0);
    EXPECT_NO_THROW((void)k_of(R"({"method":"threshold","threshold":0})"));
}

TEST(RecipeMethod, WithoutItsNumbers_IsRefused) {
    for (const char* method : {"token_topk", "n_m", "channels", "channel_topk", "threshold"}) {
        const std::string side = std::string(R"({"method":")") + method + "\"}";
        expect_refused(json(R"("k":)" + side), "k.method");
        expect_unsupported(json(R"("layers":[{"at":"1","k":)" + side + "}]"), "layers[0].k.method");
    }
}

TEST(RecipeMethod, NumbersOfAnotherMethod_AreRefusedByName) {
    const char* const cases[][2] = {
        {R"({"keep":4,"sparsity":0.5})", "k.sparsity"},
        {R"({"n":2})", "k.n"},
        {R"({"m":4})", "k.m"},
        {R"({"threshold":1})", "k.threshold"},
        {R"({"keep":4,"n":2})", "k.n"},
        {R"({"method":"none","keep":"1/2"})", "k.keep"},
        {R"({"method":"none","sparsity":0.5})", "k.sparsity"},
        {R"({"method":"none","threshold":1})", "k.threshold"},
        {R"({"method":"none","sparsity":0,"rule":"paper"})", "k.rule"},
        {R"({"method":"n_m","n":2,"m":4,"keep":64})", "k.keep"},
        {R"({"method":"n_m","n":2,"m":4,"sparsity":0.5})", "k.sparsity"},
        {R"({"method":"n_m","n":2,"m":4,"multiple":8})", "k.multiple"},
        {R"({"method":"channels","keep":64,"threshold":1})", "k.threshold"},
        {R"({"method":"channel_topk","keep":8,"multiple":4})", "k.multiple"},
        {R"({"method":"threshold","threshold":1,"keep":3})", "k.keep"},
        {R"({"method":"mask","keep":3})", "k.keep"},
        {R"({"method":"mask","multiple":4})", "k.multiple"},
    };
    for (const auto& [side, path] : cases)
        expect_refused(json(std::string(R"("k":)") + side), path);
}

TEST(RecipeRule, Paper_NeedsSparsityTokenTopkAndNoMultiple) {
    expect_refused(json(R"("k":{"rule":"paper"})"), "k.rule");
    expect_refused(json(R"("k":{"rule":"paper","keep":40})"), "k.rule");
    expect_refused(json(R"("k":{"rule":"paper","sparsity":0.5,"method":"channels"})"), "k.rule");
    expect_refused(json(R"("k":{"rule":"paper","sparsity":0.5,"multiple":8})"), "k.multiple");
    EXPECT_NO_THROW(
        (void)k_of(R"({"rule":"paper","sparsity":0.5,"multiple":1,"method":"token_topk"})"));
}

TEST(RecipeAxis, Channel_IsDenseKWithItsOwnEncoding) {
    const SideSpec side = k_of(R"({"bits":4,"axis":"channel"})");
    EXPECT_EQ(side.encoding, Encoding::channel);
    EXPECT_EQ(side.prune, PruneRule{});
    EXPECT_EQ(side.keep, 128);
    EXPECT_EQ(side.bits, 4);
    EXPECT_EQ(k_of(R"({"bits":2,"axis":"token"})").encoding, Encoding::exact);
}

TEST(RecipeSide, Defaults_MustMakeSenseOnTheirOwnWhateverTheOverridesSay) {
    const std::string layers = R"(,"layers":[{"at":"0--1","k":{"bits":4,"sparsity":0.5}}])";
    expect_refused(json(R"("k":{"axis":"channel"})" + layers), "k.axis");
    expect_refused(json(R"("k":{"group":32})" + layers), "k.group");
    expect_refused(json(R"("k":{"rule":"paper"})" + layers), "k.rule");
    expect_refused(json(R"("k":{"method":"channels"})" + layers), "k.method");
}

TEST(RecipeAxis, ChannelWhereItCannotBe_IsRefusedByName) {
    expect_refused(json(R"("v":{"bits":4,"axis":"channel"})"), "v.axis");
    expect_refused(json(R"("k":{"axis":"channel"})"), "k.axis");
    expect_refused(json(R"("k":{"axis":"channel","bits":16})"), "k.axis");
    expect_refused(json(R"("k":{"axis":"channel","bits":4,"group":32})"), "k.axis");
    expect_refused(json(R"("k":{"axis":"channel","bits":4,"centre":"mean"})"), "k.axis");
    expect_refused(json(R"("k":{"axis":"channel","bits":4,"centre":[0]})"), "k.axis");
    expect_refused(json(R"("k":{"axis":"channel","bits":4,"keep":"1/2"})"), "k.axis");
    expect_refused(json(R"("k":{"axis":"channel","bits":4,"sparsity":0.5})"), "k.axis");
    expect_refused(json(R"("k":{"axis":"channel","bits":4,"method":"mask"})"), "k.axis");
    expect_refused(json(R"("window":{"step":16},"k":{"axis":"channel","bits":4})"), "k.axis");
    expect_refused(json(R"("layers":[{"at":"0","k":{"axis":"channel","bits":16}}])"),
                   "layers[0].k.axis");
    expect_unsupported(json(R"("k":{"axis":"channel","bits":4,"keep":64})"), "k.axis");
    expect_unsupported(
        json(R"("k":{"axis":"channel","bits":4},"layers":[{"at":"1","k":{"keep":64}}])"), "k.axis");
    expect_unsupported(
        json(R"("k":{"bits":4,"centre":"mean"},"layers":[{"at":"1","k":{"axis":"channel"}}])"),
        "layers[0].k.axis");
    expect_unsupported(json(R"("layers":[{"at":"1","k":{"axis":"channel"}}])"), "layers[0].k.axis");
}

TEST(RecipeGroup, DividesADenseQuantizedRow) {
    for (const int group : {32, 64}) {
        const SideSpec side = k_of(R"({"bits":4,"group":)" + std::to_string(group) + "}");
        EXPECT_EQ(side.encoding, Encoding::grouped);
        EXPECT_EQ(side.group, group);
        EXPECT_EQ(side.keep, 128);
    }
    EXPECT_EQ(k_of(R"({"bits":4,"group":0})").encoding, Encoding::exact);
    EXPECT_EQ(k_of(R"({"bits":4,"group":32,"keep":128})").encoding, Encoding::grouped);
    EXPECT_EQ(head_of(json(R"("v":{"bits":2,"group":32})")).v.encoding, Encoding::grouped);
    EXPECT_TRUE(k_of(R"({"bits":4,"group":32,"centre":"mean"})").centred);
}

TEST(RecipeGroup, WhereItCannotBe_IsRefusedByName) {
    expect_refused(json(R"("k":{"group":32})"), "k.group = 32");
    expect_refused(json(R"("k":{"group":32,"bits":16})"), "k.group = 32");
    expect_refused(json(R"("v":{"group":64,"bits":4,"keep":"1/2"})"), "v.group = 64");
    expect_refused(json(R"("v":{"group":64,"bits":4,"method":"mask"})"), "v.group = 64");
    expect_unsupported(json(R"("k":{"group":32,"bits":4,"keep":64})"), "k.group = 32");
    expect_unsupported(json(R"("k":{"group":32,"bits":4})"), "k.group = 32 does not divide",
                       geometry(80));
    expect_unsupported(json(R"("k":{"group":64,"bits":4})"), "k.group = 64 does not divide",
                       geometry(96));
    expect_unsupported(json(R"("k":{"group":32,"bits":4},"layers":[{"at":"0","k":{"bits":16}}])"),
                       "k.group");
}

std::string numbers(std::size_t count, const std::string& value) {
    std::string text = "[" + value;
    for (std::size_t i = 1; i < count; ++i) text += "," + value;
    return text + "]";
}

TEST(RecipeCentre, MeanAndNone_SetTheFlagAlone) {
    EXPECT_TRUE(k_of(R"({"bits":4,"centre":"mean"})").centred);
    EXPECT_EQ(k_of(R"({"bits":4,"centre":"mean"})").centre_at, -1);
    EXPECT_FALSE(k_of(R"({"bits":4,"centre":"none"})").centred);
    EXPECT_TRUE(k_of(R"({"keep":40,"centre":"mean"})").centred);
    EXPECT_TRUE(k_of(R"({"method":"mask","centre":"mean"})").centred);
}

TEST(RecipeCentre, GivenNumbers_AreStoredOncePerArray) {
    const std::string text =
        json(R"("k":{"bits":4,"centre":)" + numbers(64, "1.5") +
             R"(},"layers":[{"at":"1","k":{"centre":)" + numbers(64, "-32752") +
             R"(}},{"at":"2","k":{"centre":"mean"}},{"at":"3","k":{"centre":"none"}}])");
    const ResolvedRecipe resolved = Recipe::parse(text)->resolve(geometry(64));
    ASSERT_EQ(resolved.centres.size(), 128U);
    EXPECT_EQ(resolved.head(0, 0, 2).k.centre_at, 0);
    EXPECT_EQ(resolved.head(0, 1, 2).k.centre_at, 0);
    EXPECT_EQ(resolved.head(1, 1, 2).k.centre_at, 64);
    EXPECT_EQ(resolved.head(2, 0, 2).k.centre_at, -1);
    EXPECT_TRUE(resolved.head(2, 0, 2).k.centred);
    EXPECT_FALSE(resolved.head(3, 0, 2).k.centred);
    EXPECT_EQ(resolved.centres[0], 1.5F);
    EXPECT_EQ(resolved.centres[127], -32752.0F);
    EXPECT_FALSE(resolved.head(0, 0, 2).v.centred);
}

TEST(RecipeCentre, OnV_IsRefusedByName) {
    for (const char* centre : {R"("none")", R"("mean")", "[0]"}) {
        expect_refused(json(std::string(R"("v":{"centre":)") + centre + "}"), "v.centre: only K");
    }
    expect_refused(json(R"("layers":[{"at":"0","heads":[{"at":"0","v":{"centre":"mean"}}]}])"),
                   "layers[0].heads[0].v.centre");
}

TEST(RecipeCentre, OfAnotherLengthThanHeadDim_IsUnsupported) {
    expect_unsupported(json(R"("k":{"centre":)" + numbers(127, "0") + "}"),
                       "k.centre has 127 numbers");
    expect_refused(json(R"("k":{"centre":)" + numbers(257, "0") + "}"),
                   "k.centre has 257 elements");
}

} // namespace
} // namespace mustafar::test
