// SPDX-License-Identifier: Apache-2.0
// A recipe as written, before a geometry is known: defaults and overrides, each leaf with the
// place it came from. Private to this folder; everybody else sees recipe.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "recipe/json_text.hpp"
#include "recipe/spec.hpp"

namespace mustafar::recipes {

constexpr std::int64_t layers_max = 4096;
constexpr std::int64_t kv_heads_max = 1024;
constexpr std::int64_t head_dim_max = 256;
constexpr std::int64_t tokens_max = INT32_MAX;
constexpr std::size_t entries_max = 4096; // of "layers" and "heads" together
constexpr std::uint32_t origin_k = 0;     // Document::paths[0] is "k", [1] is "v"
constexpr std::uint32_t origin_v = 1;

// A value that may be absent, and the object it was given in (an index into Document::paths).
template <class T>
struct Leaf {
    std::optional<T> value;
    std::uint32_t origin = 0;

    explicit operator bool() const { return value.has_value(); }
    const T& operator*() const { return *value; }
    const T* operator->() const { return &*value; }
    bool is(const T& wanted) const { return value == wanted; }
    void set(T wanted, std::uint32_t from) { value = std::move(wanted), origin = from; }
    void clear() { value.reset(); }
};

// A count, or a fraction a/b of d in lowest terms; "d" is 1/1.
struct Keep {
    std::uint32_t a = 0;
    std::uint32_t b = 0; // 0: a is a count
    bool is_count() const { return b == 0; }
    bool is_all() const { return b != 0 && a == b; }
    bool operator==(const Keep&) const = default;
};

enum class Axis : std::uint8_t { token, channel };

struct Centre {
    bool mean = false;
    std::shared_ptr<const std::vector<float>> values; // given in the recipe
    bool is_none() const { return !mean && values == nullptr; }
};

// The keys of one SIDE object, in canonical order. A default, an override, or several merged.
struct SidePatch {
    Leaf<Method> method;
    Leaf<Keep> keep;
    Leaf<double> sparsity;
    Leaf<bool> paper; // "rule"
    Leaf<std::uint32_t> multiple;
    Leaf<std::uint32_t> n;
    Leaf<std::uint32_t> m;
    Leaf<float> threshold;
    Leaf<std::uint32_t> bits;
    Leaf<Axis> axis;
    Leaf<std::uint32_t> group;
    Leaf<Centre> centre;
};

struct AtItem {
    std::int32_t from = 0; // negative counts from the end
    std::int32_t to = 0;   // included
    auto operator<=>(const AtItem&) const = default;
};
using AtList = std::vector<AtItem>;

struct Budget {
    std::vector<std::uint32_t> tokens; // one for all heads, or one per kv head
    bool per_head = false;
};

struct HeadEntry {
    std::string path;
    AtList at;
    SidePatch k;
    SidePatch v;
    std::optional<Budget> budget;
};

struct LayerEntry : HeadEntry {
    std::vector<HeadEntry> heads;
};

struct Document {
    std::string name;
    std::string note;
    Window window;
    bool precise = false;
    SidePatch k; // defaults filled in
    SidePatch v;
    std::uint32_t budget = 0;
    std::vector<std::int32_t> protect; // sorted: from the front, then from the end; no duplicates
    std::vector<LayerEntry> layers;
    std::vector<std::string> paths; // "k", "v", "layers[1].k", ...
};

// read.cpp
Document read_document(const Json& root);

// at.cpp: "0,2-3", "-1", "1--2". `limit`: layers_max or kv_heads_max.
AtList parse_at(const std::string& text, const std::string& path, std::int64_t limit);
std::string at_text(const AtList& at);
// One flag per index of `count`. Throws UNSUPPORTED where the list does not fit; `what` is
// "layers" or "kv heads".
std::vector<bool> at_flags(const AtList& at, const std::string& path, std::uint32_t count,
                           std::string_view what);

// side.cpp
SidePatch read_side(const Json& node, Document& document, const std::string& path, Side side);
void overlay(SidePatch& base, const SidePatch& patch); // `patch` wins, key by key
void fill_defaults(SidePatch& side, std::uint32_t origin);

// side_rules.cpp: what contradicts itself whatever d is. Only keys that are present are looked at,
// so this serves a lone override as well as the merged whole. `whole` also asks for the numbers a
// method needs.
struct SideRules {
    const std::vector<std::string>& paths;
    mustafar_status code;

    void check(const SidePatch& side, bool whole) const;
    [[noreturn]] void fail(std::uint32_t origin, std::string_view key,
                           const std::string& rest) const;

  private:
    void check_method(const SidePatch& side) const;
    void check_paper(const SidePatch& side) const;
    void check_layout(const SidePatch& side) const;
    void check_whole(const SidePatch& side) const;
};
std::string keep_text(const Keep& keep); // as JSON: 64, "1/2" or "d"
std::string_view method_name(Method method);

// canonical.cpp. Without name and note it is what the digest is made of.
std::string canonical_json(const Document& document, bool with_names);

// shorthand.cpp
bool looks_like_shorthand(std::string_view text);
JsonTree shorthand_json(std::string_view text);

} // namespace mustafar::recipes
