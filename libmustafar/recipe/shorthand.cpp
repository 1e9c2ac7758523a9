// SPDX-License-Identifier: Apache-2.0
// "k64i4m/vdi2/w64/s4": a uniform recipe in one word. It becomes the JSON tree that a user would
// have written, so that there is one reading of it.
#include <charconv>

#include "recipe/document.hpp"
#include "recipe/text.hpp"

namespace mustafar::recipes {

namespace {

class ShorthandParser {
  public:
    explicit ShorthandParser(std::string_view text) : text_(text) {}

    JsonTree parse() {
        JsonTree tree;
        Json& root = tree.root() = Json::object();
        root["schema"] = "mustafar.recipe";
        root["version"] = 1;
        root["name"] = text_;
        side('k', root["k"] = Json::object());
        expect('/');
        side('v', root["v"] = Json::object());
        Json& window = root["window"] = Json::object();
        if (section('w')) { window["recent"] = number(); }
        if (section('s')) { window["sink"] = number(); }
        if (at_ != text_.size()) {
            fail("the end, or what comes next in "
                 "k<count|d>[i8|i4|i2][c][m][g32|g64]/v<...>[/w<recent>][/s<sink>]");
        }
        return tree;
    }

  private:
    [[noreturn]] void fail(std::string_view wanted) const {
        refuse("recipe ", in_quotes(text_), ": position ", at_, ": give ", wanted);
    }

    bool take(std::string_view wanted) {
        const bool there = text_.substr(at_).starts_with(wanted);
        at_ += there ? wanted.size() : 0;
        return there;
    }

    void expect(char wanted) {
        if (!take({&wanted, 1})) { fail(cat("'", std::string_view(&wanted, 1), "'")); }
    }

    bool section(char letter) {
        const std::string wanted = {'/', letter};
        return take(wanted);
    }

    std::uint64_t number() {
        std::uint64_t value = 0;
        const char* begin = text_.data() + at_;
        const auto [end, problem] = std::from_chars(begin, text_.data() + text_.size(), value);
        if (problem != std::errc{}) { fail("a count"); }
        at_ += static_cast<std::size_t>(end - begin);
        return value;
    }

    void side(char letter, Json& out) {
        expect(letter);
        if (take("d")) {
            out["keep"] = "d";
        } else {
            out["keep"] = number();
        }
        if (take("i")) { out["bits"] = one_of({"8", "4", "2"}); }
        if (take("c")) { out["axis"] = "channel"; }
        if (take("m")) { out["centre"] = "mean"; }
        if (take("g")) { out["group"] = one_of({"32", "64"}); }
    }

    int one_of(std::initializer_list<std::string_view> words) {
        std::string list;
        for (const std::string_view word : words) {
            if (take(word)) { return std::stoi(std::string(word)); }
            list += cat(list.empty() ? "" : " or ", word);
        }
        fail(list);
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

} // namespace

bool looks_like_shorthand(std::string_view text) {
    return text.starts_with('k') && text.find('/') != std::string_view::npos;
}

JsonTree shorthand_json(std::string_view text) { return ShorthandParser(text).parse(); }

} // namespace mustafar::recipes
