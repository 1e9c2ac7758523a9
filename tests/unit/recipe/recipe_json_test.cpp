// SPDX-License-Identifier: Apache-2.0
// How strictly recipe text is read.
#include "recipe_support.hpp"

namespace mustafar::test {
namespace {

TEST(RecipeJson, SchemaAndVersionAlone_AreTheDenseDefaults) {
    const auto recipe = Recipe::parse(json(""));
    const ResolvedRecipe resolved = recipe->resolve(geometry());
    EXPECT_EQ(resolved.window, Window{});
    EXPECT_FALSE(resolved.precise);
    ASSERT_EQ(resolved.heads.size(), 8U);
    EXPECT_EQ(resolved.heads[0].k.keep, 128);
    EXPECT_EQ(resolved.heads[0].k.bits, 16);
    EXPECT_EQ(resolved.heads[0].k.encoding, Encoding::exact);
    EXPECT_EQ(resolved.heads[0].budget, 0U);
}

TEST(RecipeJson, LeadingWhiteSpace_IsAllowed) {
    EXPECT_EQ(canonical(" \t\r\n" + json("") + " \n"), canonical(json("")));
}

TEST(RecipeJson, MissingOrOtherSchema_IsRefusedByName) {
    expect_refused(R"({"version":1})", "schema");
    expect_refused(R"({"schema":"other","version":1})", "schema = \"other\"");
    expect_refused(R"({"schema":7,"version":1})", "schema = 7");
}

TEST(RecipeJson, OtherVersions_AreRefusedByNameBeforeTheirUnknownKeys) {
    expect_refused(R"({"schema":"mustafar.recipe"})", "version");
    expect_refused(R"({"schema":"mustafar.recipe","version":2,"new":1})", "version = 2");
    expect_refused(R"({"schema":"mustafar.recipe","version":0})", "version = 0");
    expect_refused(R"({"schema":"mustafar.recipe","version":1.0})", "version");
    expect_refused(R"({"schema":"mustafar.recipe","version":"1"})", "version");
    expect_refused(R"({"schema":"mustafar.recipe","version":-1})", "version");
}

TEST(RecipeJson, UnknownKeys_NameTheirPathAndTheNearestKnownKey) {
    expect_refused(json(R"("layers":[{"at":"0"},{"at":"1","k":{"keeep":3}}])"),
                   R"(layers[1].k.keeep: unknown key; did you mean "keep"?)");
    expect_refused(json(R"("windw":{})"), R"(windw: unknown key; did you mean "window"?)");
    expect_refused(json(R"("window":{"steps":1})"),
                   R"(window.steps: unknown key; did you mean "step")");
    expect_refused(json(R"("layers":[{"at":"0","heads":[{"at":"0","heads":[]}]}])"),
                   "layers[0].heads[0].heads: unknown key");
    expect_refused(json(R"("k":{"zzzzzzzz":1})"), "k.zzzzzzzz: unknown key; known are");
    expect_refused(json(R"("k":{"":1})"), "k.: unknown key");
}

TEST(RecipeJson, DuplicateKeys_AreRefusedWithTheirPath) {
    expect_refused(json(R"("version":1)"), "version: this key is given twice");
    expect_refused(json(R"("k":{"keep":1,"keep":1})"), "k.keep: this key is given twice");
    expect_refused(json(R"("layers":[{"at":"0"},{"at":"0","v":{"bits":4,"\u0062its":4}}])"),
                   "layers[1].v.bits: this key is given twice");
}

TEST(RecipeJson, TrailingBytes_AreRefused) {
    expect_refused(json("") + "x", "not valid JSON at line 1");
    expect_refused(json("") + "{}", "not valid JSON");
    expect_refused(json("") + std::string("\0", 1), "not valid JSON: NUL");
    expect_refused(json("") + std::string("\0{}", 3), "not valid JSON: NUL");
}

TEST(RecipeJson, CommentsAndOtherRelaxedForms_AreRefused) {
    for (const char* members :
         {"/* c */\"budget\":0", "\"budget\":0,", "'budget':0", "budget:0", "\"budget\":+0",
          "\"budget\":00", "\"budget\":0x1", "\"budget\":.5"}) {
        expect_refused(json(members), "not valid JSON");
    }
}

TEST(RecipeJson, NaNAndInfinityLiterals_AreRefused) {
    for (const char* word : {"NaN", "nan", "Infinity", "-Infinity", "inf", "-inf"}) {
        expect_refused(json(std::string(R"("k":{"sparsity":)") + word + "}"), "not valid JSON");
    }
}

TEST(RecipeJson, HugeNumbers_AreRefused) {
    expect_refused(json(R"("k":{"sparsity":1e999})"), "not valid JSON");
    expect_refused(json(R"("k":{"sparsity":1e308})"), "k.sparsity");
    expect_refused(json(R"("budget":99999999999999999999999999)"), "budget");
    expect_refused(json(R"("budget":18446744073709551615)"), "budget = 18446744073709551615");
    expect_refused(json(R"("budget":-9223372036854775808)"), "budget = -9223372036854775808");
    expect_refused(json(R"("k":{"keep":4294967297})"), "k.keep");
    expect_refused(json(R"("k":{"keep":"4294967297/4294967298"})"), "k.keep");
    expect_refused(json(R"("k":{"method":"threshold","threshold":1e39})"), "k.threshold");
    expect_refused(json(R"("budget":)" + std::string(300, '9')), "budget = ");
    expect_refused(json(R"("budget":)" + std::string(5000, '9')), "not valid JSON");
}

TEST(RecipeJson, NestingBeyondTheLimit_IsRefusedAtOnce) {
    const auto nested = [](std::size_t depth, const char* open, const char* close) {
        std::string text = R"("note":)";
        for (std::size_t i = 0; i < depth; ++i) text += open;
        text += "1";
        for (std::size_t i = 0; i < depth; ++i) text += close;
        return json(text);
    };
    expect_refused(nested(15, "[", "]"), "note = [1 values]");
    expect_refused(nested(16, "[", "]"), "note[0][0]");
    expect_refused(nested(16, R"({"a":)", "}"), "note.a.a");
    expect_refused(nested(150000, "[", "]"), "note[0][0]");
}

TEST(RecipeJson, TextBeyondOneMebibyte_IsRefused) {
    std::string text = json("");
    text += std::string((1U << 20U) - text.size(), ' ');
    ASSERT_EQ(text.size(), std::size_t{1} << 20U);
    EXPECT_NO_THROW((void)Recipe::parse(text));
    expect_refused(text + " ", "recipe text of 1048577 bytes");
}

TEST(RecipeJson, CanonicalTextBeyondOneMebibyte_IsRefusedSinceNobodyCouldReadItBack) {
    const std::string head = json(R"("note":")");
    std::string text = head.substr(0, head.size() - 1);
    text += std::string((1U << 20U) - text.size() - 2, 'x') + "\"}"; // defaults come on top
    ASSERT_EQ(text.size(), std::size_t{1} << 20U);
    expect_refused(text, "recipe: its canonical form");
}

TEST(RecipeJson, MalformedUtf8_IsRefused) {
    for (const char* bytes :
         {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\x01"}) {
        expect_refused(json(std::string(R"("note":")") + bytes + "\""), "not valid JSON");
    }
    expect_refused(json(R"("note":"\ud800")"), "not valid JSON");
    expect_refused("\xef\xbb\xbf" + json(""), "recipe"); // a byte order mark is not white space
}

TEST(RecipeJson, ErrorTexts_ArePrintableAscii) {
    const std::string text = json("\"k\":{\"\xc3\xa9\\n\\u0007\":1}");
    const Error error = refusal([&] { (void)Recipe::parse(text); }, text);
    for (const char c : error.text) EXPECT_TRUE(c >= ' ' && c <= '~') << error.text;
}

TEST(RecipeJson, WrongTypes_AreRefusedWithTheirPath) {
    const char* const cases[][2] = {
        {R"("name":1)", "name = 1"},
        {R"("note":null)", "note = null"},
        {R"("window":[])", "window = [0 values]"},
        {R"("window":{"recent":"32"})", "window.recent = \"32\""},
        {R"("window":{"recent":32.0})", "window.recent"},
        {R"("window":{"recent":true})", "window.recent = true"},
        {R"("precise":1)", "precise = 1"},
        {R"("precise":"False")", "precise = \"False\""},
        {R"("k":[])", "k = [0 values]"},
        {R"("k":null)", "k = null"},
        {R"("v":"d")", "v = \"d\""},
        {R"("budget":[1,2])", "budget = [2 values]"},
        {R"("budget":1.5)", "budget = 1.5"},
        {R"("protect":0)", "protect = 0"},
        {R"("protect":[0,"1"])", "protect[1] = \"1\""},
        {R"("layers":{})", "layers = {...}"},
        {R"("layers":[0])", "layers[0] = 0"},
        {R"("layers":[{"k":{}}])", "layers[0].at: missing"},
        {R"("layers":[{"at":3}])", "layers[0].at = 3"},
        {R"("layers":[{"at":"0","heads":{}}])", "layers[0].heads = {...}"},
        {R"("layers":[{"at":"0","heads":[{}]}])", "layers[0].heads[0].at: missing"},
        {R"("layers":[{"at":"0","heads":[{"at":"0","budget":[1]}]}])", "layers[0].heads[0].budget"},
        {R"("layers":[{"at":"0","budget":[]}])", "layers[0].budget: empty"},
        {R"("layers":[{"at":"0","budget":[100,"2"]}])", "layers[0].budget[1] = \"2\""},
        {R"("k":{"method":1})", "k.method = 1"},
        {R"("k":{"bits":"4"})", "k.bits = \"4\""},
        {R"("k":{"sparsity":"0.5"})", "k.sparsity = \"0.5\""},
        {R"("k":{"keep":0.5})", "k.keep = 0.5"},
        {R"("k":{"keep":null})", "k.keep = null"},
        {R"("k":{"centre":1})", "k.centre = 1"},
        {R"("k":{"centre":[]})", "k.centre"},
        {R"("k":{"centre":[0,"1"]})", "k.centre[1] = \"1\""},
    };
    for (const auto& [members, path] : cases) expect_refused(json(members), path);
}

TEST(RecipeJson, ValuesOutOfRange_AreRefusedWithTheirPath) {
    const char* const cases[][2] = {
        {R"("window":{"recent":-1})", "window.recent = -1"},
        {R"("window":{"recent":1048577})", "window.recent = 1048577"},
        {R"("window":{"sink":1048577})", "window.sink = 1048577"},
        {R"("window":{"step":3})", "window.step = 3"},
        {R"("window":{"step":0})", "window.step = 0"},
        {R"("window":{"step":64})", "window.step = 64"},
        {R"("budget":-1)", "budget = -1"},
        {R"("budget":2147483648)", "budget = 2147483648"},
        {R"("protect":[4096])", "protect[0] = 4096"},
        {R"("protect":[0,-4097])", "protect[1] = -4097"},
        {R"("k":{"keep":0})", "k.keep = 0"},
        {R"("k":{"keep":-1})", "k.keep = -1"},
        {R"("k":{"keep":257})", "k.keep = 257"},
        {R"("k":{"sparsity":1})", "k.sparsity = 1"},
        {R"("k":{"sparsity":1.0})", "k.sparsity = 1"},
        {R"("k":{"sparsity":-0.1})", "k.sparsity = -0.1"},
        {R"("k":{"rule":"papper"})", "k.rule = \"papper\""},
        {R"("k":{"method":"topk"})", "k.method = \"topk\""},
        {R"("k":{"method":"recipe"})", "k.method = \"recipe\""},
        {R"("k":{"multiple":2})", "k.multiple = 2"},
        {R"("k":{"n":0})", "k.n = 0"},
        {R"("k":{"m":257})", "k.m = 257"},
        {R"("k":{"threshold":-1})", "k.threshold = -1"},
        {R"("k":{"bits":3})", "k.bits = 3"},
        {R"("k":{"bits":4.0})", "k.bits = 4"},
        {R"("k":{"bits":-16})", "k.bits = -16"},
        {R"("k":{"axis":"row"})", "k.axis = \"row\""},
        {R"("k":{"group":16})", "k.group = 16"},
        {R"("k":{"centre":"median"})", "k.centre = \"median\""},
        {R"("k":{"centre":[1,32753]})", "k.centre[1] = 32753"},
        {R"("k":{"centre":[-32752.5]})", "k.centre[0] = -32752.5"},
    };
    for (const auto& [members, path] : cases) expect_refused(json(members), path);
    expect_refused(json(R"("layers":[{"at":"0","v":{"bits":5}}])"), "layers[0].v.bits = 5");
}

TEST(RecipeJson, LargestAllowedValues_AreAccepted) {
    const auto recipe = Recipe::parse(json(R"("window":{"recent":1048576,"sink":1048576,"step":1},
        "precise":true,"budget":2147483647,"protect":[3,-4],"k":{"keep":256})"));
    const ResolvedRecipe resolved = recipe->resolve(geometry(256));
    EXPECT_EQ(resolved.window.recent, 1048576U);
    EXPECT_EQ(resolved.window.sink, 1048576U);
    EXPECT_EQ(resolved.window.step, 1U);
    EXPECT_TRUE(resolved.precise);
    EXPECT_EQ(resolved.head(1, 0, 2).budget, 2147483647U);
}

TEST(RecipeJson, MoreEntriesThanTheLimit_AreRefused) {
    std::string layers = R"("layers":[{"at":"0"})";
    for (int i = 1; i < 4096; ++i) layers += R"(,{"at":"0"})";
    EXPECT_NO_THROW((void)Recipe::parse(json(layers + "]")));
    expect_refused(json(layers + R"(,{"at":"0"}])"), "layers has 4097 elements");
    expect_refused(json(layers.substr(0, layers.size() - 1) + R"(,"heads":[{"at":"0"}]}])"),
                   "layers[4095].heads[0]: more than 4096 entries");
}

} // namespace
} // namespace mustafar::test
