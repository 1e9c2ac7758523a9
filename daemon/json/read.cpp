// SPDX-License-Identifier: Apache-2.0
#include "json/read.hpp"

#include <set>
#include <vector>

namespace mustafar::daemon {

namespace {

// Looks at every value before a document is made of it; stops at the first that may not be.
class Inspector final : public nlohmann::json_sax<Json> {
  public:
    std::string pointer() const {
        std::string text;
        for (const Level& level : levels_) { text += level.place; }
        return text;
    }
    const char* code = nullptr;
    std::string message;

    bool null() override { return value(); }
    bool boolean(bool) override { return value(); }
    bool number_integer(number_integer_t) override { return value(); }
    bool number_unsigned(number_unsigned_t) override { return value(); }
    bool number_float(number_float_t, const string_t& text) override {
        value();
        if (text.find_first_of(".eE") != text.npos) { return true; }
        return fail("range", "an integer beyond 64 bits");
    }
    bool string(string_t&) override { return value(); }
    bool binary(binary_t&) override { return fail("syntax", "not JSON"); }
    bool start_object(std::size_t) override { return open(true); }
    bool start_array(std::size_t) override { return open(false); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& name) override {
        Level& level = levels_.back();
        level.place = "/" + escaped(name);
        if (level.keys.insert(name).second) { return true; }
        return fail("duplicate", "the key stands twice");
    }
    bool parse_error(std::size_t at, const std::string&,
                     const nlohmann::detail::exception&) override {
        return fail("syntax", "not JSON at byte " + std::to_string(at));
    }

  private:
    struct Level {
        bool object = false;
        std::string place;
        std::size_t index = 0;
        std::set<std::string> keys;
    };

    static std::string escaped(const std::string& name) { // RFC 6901
        std::string text;
        for (const char c : name) { text += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c); }
        return text;
    }
    bool value() {
        if (!levels_.empty() && !levels_.back().object) {
            levels_.back().place = "/" + std::to_string(levels_.back().index++);
        }
        return true;
    }
    bool open(bool object) {
        value();
        if (levels_.size() == json_depth_max) { return fail("depth", "nested too deeply"); }
        levels_.emplace_back().object = object;
        return true;
    }
    bool close() {
        levels_.pop_back();
        return true;
    }
    bool fail(const char* why, const std::string& text) {
        code = why;
        message = text;
        return false;
    }
    std::vector<Level> levels_;
};

} // namespace

Problem bad_body(const std::string& pointer, const char* code, const std::string& message) {
    const std::string where = pointer.empty() ? "the body" : pointer;
    return Problem(
        ProblemType::bad_body, where + ": " + message,
        {{"errors", Json::array({{{"pointer", pointer}, {"code", code}, {"message", message}}})}});
}

Json parse_json(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) { throw bad_body("", "syntax", "a byte-order mark"); }
    if (text.find('\0') != text.npos) { throw bad_body("", "syntax", "a NUL"); }
    Inspector inspector;
    if (!Json::sax_parse(text.begin(), text.end(), &inspector)) {
        throw bad_body(inspector.pointer(), inspector.code == nullptr ? "syntax" : inspector.code,
                       inspector.message);
    }
    return Json::parse(text.begin(), text.end());
}

} // namespace mustafar::daemon
