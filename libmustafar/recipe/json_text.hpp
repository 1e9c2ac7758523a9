// SPDX-License-Identifier: Apache-2.0
// Bytes to a JSON tree, strictly; and typed reads of a tree that name the path of what they refuse.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace mustafar::recipes {

using Json = nlohmann::json;

constexpr std::size_t text_bytes_max = std::size_t{1} << 20U;
constexpr std::size_t depth_max = 16;

// Owns a tree. nlohmann flattens a container into a vector before it destroys it, inside a
// destructor: where the heap is full, that ends the process. Emptied from its leaves it needs no
// memory. So no other object of this module may own a container with something in it, not even
// while an exception passes. (And [] must not meet a null: one that is half an object stays behind.)
class JsonTree {
  public:
    JsonTree() = default;
    JsonTree(JsonTree&& other) noexcept : root_(std::move(other.root_)) {}
    JsonTree& operator=(JsonTree&&) = delete;
    ~JsonTree() { clear(root_); }
    Json& root() { return root_; }
    const Json& root() const { return root_; }

  private:
    static void clear(Json& node) noexcept;

    Json root_;
};

// UTF-8 JSON with nothing behind it. Refuses texts above text_bytes_max, nesting above depth_max
// (before the deeper value is built), duplicate keys, numbers beyond double. Throws
// Error{INVALID_ARGUMENT}.
JsonTree parse_json(std::string_view text);

// Whether `value` is this string. (nlohmann's == makes a value of the string, and may not throw.)
bool is_word(const Json& value, std::string_view word);

// `value` as an error text shows it, cut to a readable length.
std::string shown(const Json& value);

// One JSON object whose keys are all known. Paths look like "layers[1].k".
class ObjectReader {
  public:
    ObjectReader(const Json& node, std::string path, std::span<const std::string_view> known);

    const Json* find(std::string_view key) const;    // nullptr where absent
    const Json& require(std::string_view key) const; // refuses where absent
    std::string path_of(std::string_view key) const;

  private:
    const Json& node_;
    std::string path_;
};

std::int64_t read_integer(const Json& value, const std::string& path, std::int64_t low,
                          std::int64_t high);
double read_number(const Json& value, const std::string& path);
bool read_bool(const Json& value, const std::string& path);
const std::string& read_string(const Json& value, const std::string& path);
const Json& read_array(const Json& value, const std::string& path, std::size_t size_max);

// One of a few integers, or one of a few words (its index is returned).
std::uint32_t read_one_of(const Json& value, const std::string& path,
                          std::span<const std::uint32_t> allowed);
std::size_t read_word(const Json& value, const std::string& path,
                      std::span<const std::string_view> words);

} // namespace mustafar::recipes
