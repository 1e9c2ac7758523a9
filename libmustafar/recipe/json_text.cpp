// SPDX-License-Identifier: Apache-2.0
#include "recipe/json_text.hpp"

#include <algorithm>
#include <vector>

#include "recipe/text.hpp"

namespace mustafar::recipes {

namespace {

std::string join_path(const std::string& path, std::string_view key) {
    return path.empty() ? std::string(key) : cat(path, ".", key);
}

// Builds the tree, and refuses what the DOM parser of nlohmann lets pass: deep nesting, duplicate
// keys.
class TreeBuilder : public nlohmann::json_sax<Json> {
  public:
    explicit TreeBuilder(std::string_view text) : text_(text) {}

    bool null() override { return put(nullptr); }
    bool boolean(bool value) override { return put(value); }
    bool number_integer(number_integer_t value) override { return put(value); }
    bool number_unsigned(number_unsigned_t value) override { return put(value); }
    bool number_float(number_float_t value, const string_t& /*token*/) override {
        return put(value);
    }
    bool string(string_t& value) override { return put(std::move(value)); }
    bool binary(binary_t& /*value*/) override { return false; } // no JSON text has one
    bool start_object(std::size_t /*unknown*/) override { return open(Json::object()); }
    bool start_array(std::size_t /*unknown*/) override { return open(Json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }

    bool key(string_t& name) override {
        Frame& frame = frames_.back();
        frame.key = std::move(name);
        if (frame.node->contains(frame.key)) {
            refuse(here(), ": this key is given twice; give it once");
        }
        return true;
    }

    bool parse_error(std::size_t position, const std::string& /*token*/,
                     const nlohmann::detail::exception& problem) override {
        std::string_view what = problem.what();
        // "[json.exception...] parse error at line 1, column 2: syntax error ...": only the last
        // part.
        what.remove_prefix(std::min(what.size(), what.find("] ") + 2));
        if (what.starts_with("parse error at")) {
            what.remove_prefix(std::min(what.size(), what.find(": ") + 2));
        }
        const std::string_view before = text_.substr(0, position);
        const auto line = 1 + std::count(before.begin(), before.end(), '\n');
        const std::size_t line_start = before.find_last_of('\n') + 1; // npos + 1 = 0
        refuse("not valid JSON at line ", line, ", column ", before.size() - line_start, ": ",
               printable(what, 160));
    }

    JsonTree take() { return std::move(tree_); }

  private:
    struct Frame {
        Json* node;
        std::string key; // of the member being read, where node is an object
    };

    std::string here() const {
        std::string path;
        for (const Frame& frame : frames_) {
            if (frame.node->is_array()) { // the element that is open is already in its array
                const std::size_t placed = frame.node->size();
                path += cat("[", &frame == &frames_.back() ? placed : placed - 1, "]");
            } else {
                path = join_path(path, printable(frame.key));
            }
        }
        return path;
    }

    template <class Value>
    Json* place(Value&& value) {
        if (frames_.empty()) {
            tree_.root() = std::forward<Value>(value);
            return &tree_.root();
        }
        Frame& frame = frames_.back();
        if (frame.node->is_array()) {
            frame.node->push_back(std::forward<Value>(value));
            return &frame.node->back();
        }
        return &((*frame.node)[frame.key] = std::forward<Value>(value));
    }

    template <class Value>
    bool put(Value&& value) {
        place(std::forward<Value>(value));
        return true;
    }

    bool open(Json container) {
        if (frames_.size() == depth_max) {
            refuse(here(), ": nested deeper than ", depth_max, " levels; a recipe needs 5");
        }
        frames_.push_back({place(std::move(container)), {}});
        return true;
    }

    bool close() {
        frames_.pop_back();
        return true;
    }

    std::string_view text_;
    JsonTree tree_;
    std::vector<Frame> frames_;
};

std::string word_list(std::span<const std::string_view> words) {
    std::string list;
    for (const std::string_view word : words) {
        list += cat(list.empty() ? "" : ", ", "\"", word, "\"");
    }
    return list;
}

} // namespace

void JsonTree::clear(Json& node) noexcept { // at most depth_max deep
    if (!node.is_structured()) { return; }
    for (Json& child : node) { clear(child); }
    node.clear(); // of empty containers and plain values
}

JsonTree parse_json(std::string_view text) {
    if (text.size() > text_bytes_max) {
        refuse("recipe text of ", text.size(), " bytes; at most ", text_bytes_max);
    }
    // The lexer takes a NUL for the end of the text and would not look at what follows.
    if (const std::size_t at = text.find('\0'); at != std::string_view::npos) {
        refuse("not valid JSON: NUL at byte ", at);
    }
    TreeBuilder builder(text);
    if (!Json::sax_parse(text.begin(), text.end(), &builder)) { refuse("not valid JSON"); }
    return builder.take();
}

bool is_word(const Json& value, std::string_view word) {
    return value.is_string() && value.get_ref<const std::string&>() == word;
}

std::string shown(const Json& value) {
    if (value.is_object()) { return "{...}"; }
    if (value.is_array()) { return cat("[", value.size(), " values]"); }
    if (value.is_number_float()) { return number_text(value.get<double>()); }
    return value.is_string() ? in_quotes(value.get_ref<const std::string&>())
                             : printable(value.dump());
}

ObjectReader::ObjectReader(const Json& node, std::string path,
                           std::span<const std::string_view> known)
    : node_(node), path_(std::move(path)) {
    if (!node.is_object()) {
        refuse(path_.empty() ? "recipe" : path_, " = ", shown(node), ": give an object {...}");
    }
    for (const auto& item : node.items()) {
        if (std::find(known.begin(), known.end(), item.key()) != known.end()) { continue; }
        const std::string at = path_of(printable(item.key()));
        const std::string_view guess = nearest(item.key(), known);
        if (!guess.empty()) { refuse(at, ": unknown key; did you mean \"", guess, "\"?"); }
        refuse(at, ": unknown key; known are ", word_list(known));
    }
}

const Json* ObjectReader::find(std::string_view key) const {
    const auto found = node_.find(key);
    return found == node_.end() ? nullptr : &*found;
}

const Json& ObjectReader::require(std::string_view key) const {
    const Json* value = find(key);
    if (value == nullptr) { refuse(path_of(key), ": missing; this key is required"); }
    return *value;
}

std::string ObjectReader::path_of(std::string_view key) const { return join_path(path_, key); }

std::int64_t read_integer(const Json& value, const std::string& path, std::int64_t low,
                          std::int64_t high) {
    const bool fits = value.is_number_unsigned()
                          ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX)
                          : value.is_number_integer();
    const std::int64_t number = fits ? value.get<std::int64_t>() : 0;
    if (!fits || number < low || number > high) {
        refuse(path, " = ", shown(value), ": give an integer ", low, "..", high);
    }
    return number;
}

double read_number(const Json& value, const std::string& path) {
    if (!value.is_number()) { refuse(path, " = ", shown(value), ": give a number"); }
    return value.get<double>();
}

bool read_bool(const Json& value, const std::string& path) {
    if (!value.is_boolean()) { refuse(path, " = ", shown(value), ": give true or false"); }
    return value.get<bool>();
}

const std::string& read_string(const Json& value, const std::string& path) {
    if (!value.is_string()) { refuse(path, " = ", shown(value), ": give a string"); }
    return value.get_ref<const std::string&>();
}

const Json& read_array(const Json& value, const std::string& path, std::size_t size_max) {
    if (!value.is_array()) { refuse(path, " = ", shown(value), ": give an array [...]"); }
    if (value.size() > size_max) {
        refuse(path, " has ", value.size(), " elements; at most ", size_max);
    }
    return value;
}

std::uint32_t read_one_of(const Json& value, const std::string& path,
                          std::span<const std::uint32_t> allowed) {
    std::string list;
    for (const std::uint32_t number : allowed) {
        if (value.is_number_integer() && value == number) { return number; }
        list += cat(list.empty() ? "" : ", ", number);
    }
    refuse(path, " = ", shown(value), ": give one of ", list);
}

std::size_t read_word(const Json& value, const std::string& path,
                      std::span<const std::string_view> words) {
    if (value.is_string()) {
        const auto& text = value.get_ref<const std::string&>();
        const auto found = std::find(words.begin(), words.end(), text);
        if (found != words.end()) { return static_cast<std::size_t>(found - words.begin()); }
    }
    refuse(path, " = ", shown(value), ": give one of ", word_list(words));
}

} // namespace mustafar::recipes
