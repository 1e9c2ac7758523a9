// SPDX-License-Identifier: Apache-2.0
// Any bytes as a JSON body, as mustafard reads it: refused as bad-body with a place, or a document that is written and read
// again alike, no deeper than the limit, and that the typed getters take or refuse.
#include <cmath>

#include "api/shapes.hpp"
#include "support.hpp"
#include "json/fields.hpp"
#include "json/read.hpp"

using namespace mustafar::daemon;

namespace {

void check(bool good, const char* what) {
    if (!good) { mustafar::fuzz::fail(what); }
}

std::size_t depth_of(const Json& value) {
    std::size_t depth = 0;
    if (value.is_structured()) {
        for (const Json& child : value) { depth = std::max(depth, depth_of(child)); }
        ++depth;
    }
    return depth;
}

template <class Read>
void expect_bad_body(const Read& read) {
    try {
        read();
    } catch (const Problem& problem) {
        check(problem.type() == ProblemType::bad_body, "one kind of refusal");
        const std::string pointer =
            problem.members().at("errors").at(0).at("pointer").get<std::string>();
        check(pointer.empty() || pointer.front() == '/', "a JSON pointer");
        check(!dump(problem.members()).empty(), "it can be written");
    }
}

// Every getter on every field, as handlers combine them.
void read_fields(const Json& document) {
    expect_bad_body([&] { read_geometry(JsonFields(document)); });
    expect_bad_body([&] { JsonFields(document).finish(); });
    if (!document.is_object()) { return; }
    for (const auto& [name, value] : document.items()) {
        const char* key = name.c_str();
        if (name.size() != std::string_view(key).size()) { continue; } // a NUL within
        expect_bad_body([&] {
            const auto number = JsonFields(document).integer(key, 3, 1000);
            check(number >= 3 && number <= 1000, "an integer in range");
        });
        expect_bad_body([&] {
            const double number = JsonFields(document).number(key, -2, 2, 0);
            check(std::abs(number) <= 2, "a number in range, and no NaN");
        });
        expect_bad_body([&] {
            const std::string text = JsonFields(document).text(key, 16);
            check(text.size() <= 16 && text.find('\0') == text.npos, "a text that fits");
        });
        expect_bad_body([&] { check(JsonFields(document).id(key).size() <= 64, "an id"); });
        expect_bad_body([&] { JsonFields(document).boolean(key, false); });
        expect_bad_body([&] { check(JsonFields(document).array(key, 4).size() <= 4, "few"); });
        expect_bad_body([&] { check(JsonFields(document).word(key, {"k", "v"}) < 2, "a word"); });
        expect_bad_body([&] { read_fields(value.is_object() ? value : Json::object()); });
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    expect_bad_body([&] {
        const Json document = parse_json(text);
        check(depth_of(document) <= json_depth_max, "no deeper than the limit");
        check(text.find('\0') == text.npos, "no NUL");
        const std::string written = dump(document);
        check(parse_json(written) == document || written.find("\xef\xbf\xbd") != written.npos,
              "read again alike"); // U+FFFD where the text was no UTF-8
        read_fields(document);
    });
    return 0;
}
