// SPDX-License-Identifier: Apache-2.0
// Canonical text and digest.
#include <vector>

#include "effort.h"
#include "recipe_support.hpp"

namespace mustafar::test {
namespace {

constexpr const char* defaults_k =
    R"("k":{"method":"none","bits":16,"axis":"token","group":0,"centre":"none"})";
constexpr const char* defaults_v = R"("v":{"method":"none","bits":16,"axis":"token","group":0})";

TEST(RecipeCanonical, Defaults_AreWrittenOutInOneOrder) {
    EXPECT_EQ(canonical(json("")), std::string(R"({"schema":"mustafar.recipe","version":1,)"
                                               R"("window":{"recent":32,"sink":0,"step":32},)") +
                                       R"("precise":false,)" + defaults_k + "," + defaults_v +
                                       R"(,"budget":0,"protect":[]})");
}

TEST(RecipeCanonical, FullRecipe_HasThisText) {
    const std::string text =
        R"( {"layers" : [ {"budget":[64, 0], "at":"2,0-1,1", "k":{"bits":4,"keep":"2/4"},
        "heads":[{"v":{}, "at":"-1"}], "v":{}}, {"heads":[], "at":"-1,0"} ],
        "v":{"sparsity":7e-1,"rule":"paper"},
        "k":{"multiple":8, "keep":"10/32", "centre":[0.5,-0.0,1e2]},
        "protect":[-1,3,0,-2,3], "budget":1000,
        "note":"a \"quote\"\u000a\u00e9", "name":"x", "precise":true,
        "window":{"sink":4}, "version":1,
        "schema":"mustafar.recipe"})";
    EXPECT_EQ(canonical(text),
              "{\"schema\":\"mustafar.recipe\",\"version\":1,\"name\":\"x\",\"note\":\"a "
              "\\\"quote\\\"\\n\xc3\xa9\","
              R"("window":{"recent":32,"sink":4,"step":32},"precise":true,)"
              R"("k":{"method":"token_topk","keep":"5/16","rule":"exact","multiple":8,)"
              R"("bits":16,"axis":"token",)"
              R"("group":0,"centre":[0.5,0,100]},)"
              R"("v":{"method":"token_topk","sparsity":0.7,"rule":"paper","multiple":1,)"
              R"("bits":16,"axis":"token",)"
              R"("group":0},"budget":1000,"protect":[0,3,-2,-1],)"
              R"("layers":[{"at":"0-2","k":{"keep":"1/2","bits":4},"budget":[64,0],)"
              R"("heads":[{"at":"-1"}]},)"
              R"({"at":"-1,0"}]})");
}

TEST(RecipeCanonical, EqualRecipes_HaveEqualTextAndDigest) {
    const char* const groups[][3] = {
        {R"("k":{"keep":"1/2"})", R"("k":{"keep":"32/64","method":"token_topk"})",
         R"("k":{"bits":16,"keep":"1/2","rule":"exact","multiple":1,"group":0})"},
        {R"("k":{"keep":"d"})", R"("k":{"method":"none"},"v":{})", R"("budget":0,"layers":[])"},
        {R"("k":{"sparsity":0.5})", R"("k":{"sparsity":5e-1})", R"("k":{"sparsity":0.50})"},
        {R"("k":{"centre":[0.1]},"protect":[0,0])", R"("k":{"centre":[0.10]},"protect":[0])",
         R"("k":{"centre":[0.1000000014901161]},"protect":[0])"},
        {R"("layers":[{"at":"0,1,2"}])", R"("layers":[{"at":"0-2","heads":[]}])",
         R"("layers":[{"at":"1,0-2","k":{}}])"},
        {R"("v":{"rule":"paper","sparsity":0.5})",
         R"("v":{"rule":"paper","sparsity":0.5,"multiple":1})",
         R"("v":{"rule":"paper","bits":16,"sparsity":0.5,"method":"token_topk"})"},
    };
    for (const auto& group : groups) {
        for (const char* members : group) {
            EXPECT_EQ(canonical(json(members)), canonical(json(group[0])));
            EXPECT_EQ(Recipe::parse(json(members))->digest(),
                      Recipe::parse(json(group[0]))->digest());
        }
    }
}

TEST(RecipeCanonical, OverridesStayAsGiven_ForTheyDifferFromTheDefault) {
    EXPECT_NE(canonical(json(R"("k":{"bits":4},"layers":[{"at":"0","k":{"bits":16}}])")),
              canonical(json(R"("k":{"bits":4},"layers":[{"at":"0"}])")));
}

TEST(RecipeDigest, IgnoresNameAndNoteAlone) {
    const std::string plain = Recipe::parse(json(R"("k":{"keep":64})"))->digest();
    EXPECT_EQ(Recipe::parse(json(R"("name":"a","note":"b","k":{"keep":64})"))->digest(), plain);
    for (const char* members :
         {R"("k":{"keep":63})", R"("k":{"keep":64},"precise":true)",
          R"("k":{"keep":64},"budget":99)", R"("k":{"keep":64},"protect":[0])",
          R"("k":{"keep":64},"window":{"step":16})", R"("k":{"keep":64},"layers":[{"at":"0"}])",
          R"("v":{"keep":64})"}) {
        EXPECT_NE(Recipe::parse(json(members))->digest(), plain) << members;
    }
}

TEST(RecipeDigest, OfTheDefaults_NeverChanges) {
    // A snapshot written today must know its recipe in ten years.
    EXPECT_EQ(Recipe::parse("dense")->digest(), "4650372583c8c74898362ecda179d09e");
    EXPECT_EQ(Recipe::parse("lean")->digest(), "0462142bddaf42dc12ff67c547937a5b");
}

// Random recipe text; most of it is valid, some of it contradicts itself and is refused.
class Generator {
  public:
    explicit Generator(std::uint64_t salt) : random_(salt) {}

    std::string recipe() {
        std::string out;
        add(out, 30, "name", "\"n\\u00e9 \\\"" + number(1000) + "\"");
        add(out, 30, "window", window());
        add(out, 30, "precise", random_.chance(50) ? "true" : "false");
        add(out, 70, "k", side(true));
        add(out, 70, "v", side(false));
        add(out, 30, "budget", number(3000));
        add(out, 40, "protect",
            list(4, [&] { return std::to_string(static_cast<int>(random_.below(9)) - 4); }));
        add(out, 70, "layers", list(4, [&] { return entry(true); }));
        return json(out);
    }

  private:
    static std::string quote(const std::string& text) { return "\"" + text + "\""; }
    std::string number(std::uint64_t limit) { return std::to_string(random_.below(limit)); }
    std::string pick(const std::vector<std::string>& words) {
        return words[random_.below(words.size())];
    }

    void add(std::string& out, unsigned percent, const std::string& key, const std::string& value) {
        if (random_.chance(percent)) out += (out.empty() ? "" : ",") + quote(key) + ":" + value;
    }

    template <class Item>
    std::string list(std::uint64_t size_max, Item&& item) {
        std::string out;
        for (std::uint64_t i = random_.below(size_max + 1); i > 0; --i)
            out += (out.empty() ? "" : ",") + item();
        return "[" + out + "]";
    }

    std::string decimal() {
        const std::string digits = number(1000000000);
        return pick({"0.", "0.0", "0.000000000000"}) + digits + pick({"", "", "e-3", "e-30"});
    }

    std::string window() {
        std::string out;
        add(out, 50, "recent", number(64));
        add(out, 50, "sink", number(8));
        add(out, 50, "step", pick({"1", "8", "16", "32", "32", "32"}));
        return "{" + out + "}";
    }

    std::string side(bool k) {
        std::string out;
        switch (random_.below(8)) {
        case 0:
            add(out, 100, "keep", std::to_string(1 + random_.below(140)));
            break;
        case 1:
            add(out, 100, "keep", quote(pick({"d", "1/2", "2/4", "5/16", "7/7"})));
            break;
        case 2:
            add(out, 100, "sparsity", decimal());
            break;
        case 3:
            add(out, 100, "method", R"("n_m","n":2,"m":4)");
            break;
        case 4:
            add(out, 100, "method", R"("threshold","threshold":)" + decimal());
            break;
        case 5:
            add(out, 100, "method",
                quote(pick({"none", "mask", "token_topk", "channels", "channel_topk"})));
            break;
        case 6:
            add(out, 100, "rule", quote(pick({"paper", "exact"})) + R"(,"sparsity":)" + decimal());
            break;
        default:
            break;
        }
        add(out, 20, "multiple", pick({"1", "4", "8"}));
        add(out, 50, "bits", pick({"16", "8", "4", "2"}));
        add(out, 15, "axis", quote(pick({"token", "channel"})));
        add(out, 15, "group", pick({"0", "32", "64"}));
        if (k)
            add(out, 20, "centre",
                pick({"\"none\"", "\"mean\"", "[" + decimal() + ",-" + decimal() + ",-0.0]"}));
        return "{" + out + "}";
    }

    std::string entry(bool layer) {
        std::string out;
        add(out, 100, "at",
            quote(pick({"0", "3,1,2", "0-3", "-1", "1--1", "0,0,-1", "2-3,0-1", "01"})));
        add(out, 60, "k", side(true));
        add(out, 60, "v", side(false));
        add(out, 30, "budget",
            layer && random_.chance(50) ? "[" + number(99) + "," + number(99) + "]" : number(99));
        if (layer) add(out, 40, "heads", list(3, [&] { return entry(false); }));
        return "{" + out + "}";
    }

    Random random_;
};

// Two parses mean the same for a geometry: both refuse, or both give the same heads.
void expect_same_meaning(const Recipe& a, const Recipe& b) {
    const auto meaning = [](const Recipe& recipe, ResolvedRecipe& out) {
        try {
            out = recipe.resolve(geometry());
            return std::string();
        } catch (const Error& error) {
            EXPECT_EQ(error.code, MUSTAFAR_UNSUPPORTED);
            return error.text;
        }
    };
    ResolvedRecipe one;
    ResolvedRecipe two;
    EXPECT_EQ(meaning(a, one), meaning(b, two));
    EXPECT_EQ(one.heads, two.heads);
    EXPECT_EQ(one.centres, two.centres);
    EXPECT_EQ(one.window, two.window);
}

TEST(RecipeCanonical, RandomRecipes_ParseToTheSameTextAndMeaningAgain) {
    Generator generator(0xCA70);
    const int count = 20000 / static_cast<int>(every_nth(8));
    int accepted = 0;
    for (int i = 0; i < count; ++i) {
        const std::string text = generator.recipe();
        SCOPED_TRACE("MUSTAFAR_SEED=" + std::to_string(Random::seed()) + " case " +
                     std::to_string(i) + " " + text);
        std::shared_ptr<const Recipe> first;
        try {
            first = Recipe::parse(text);
        } catch (const Error& error) {
            ASSERT_EQ(error.code, MUSTAFAR_INVALID_ARGUMENT);
            continue;
        }
        ++accepted;
        std::shared_ptr<const Recipe> second;
        try {
            second = Recipe::parse(first->json());
        } catch (const Error& error) { FAIL() << error.text << "\n" << first->json(); }
        ASSERT_EQ(second->json(), first->json());
        ASSERT_EQ(second->digest(), first->digest());
        expect_same_meaning(*first, *second);
        if (HasFailure()) return;
    }
    EXPECT_GT(accepted, count / 5) << "the generator makes too few valid recipes to prove anything";
}

} // namespace
} // namespace mustafar::test
