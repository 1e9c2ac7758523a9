// SPDX-License-Identifier: Apache-2.0
// SIDE objects: reading one, laying one over another, filling in the defaults.
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>

#include "recipe/document.hpp"
#include "recipe/text.hpp"

namespace mustafar::recipes {

namespace {

using namespace std::string_view_literals;

constexpr std::array side_keys = {"method"sv,    "keep"sv, "sparsity"sv, "rule"sv,
                                  "multiple"sv,  "n"sv,    "m"sv,        "bits"sv,
                                  "threshold"sv, "axis"sv, "group"sv,    "centre"sv};
// In the order of MUSTAFAR_PRUNE_..., from MUSTAFAR_PRUNE_NONE.
constexpr std::array method_words = {"none"sv,         "token_topk"sv, "n_m"sv, "channels"sv,
                                     "channel_topk"sv, "threshold"sv,  "mask"sv};
constexpr std::array rule_words = {"exact"sv, "paper"sv};
constexpr std::array axis_words = {"token"sv, "channel"sv};
constexpr std::array<std::uint32_t, 4> bits_allowed = {16, 8, 4, 2};
constexpr std::array<std::uint32_t, 3> multiples_allowed = {1, 4, 8};
constexpr std::array<std::uint32_t, 3> groups_allowed = {0, 32, 64};
constexpr double centre_max = 32752.0; // half of f16's largest: x - mu must fit when x and mu do

// "a/b" with 1 <= a <= b. Throws nothing: an empty result is refused by the caller.
std::optional<Keep> parse_fraction(const std::string& text) {
    const char* const end = text.data() + text.size();
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    const auto first = std::from_chars(text.data(), end, a);
    if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '/') { return {}; }
    const auto second = std::from_chars(first.ptr + 1, end, b);
    constexpr std::uint32_t part_max = 65535; // a * d stays far inside 32 bits
    if (second.ec != std::errc{} || second.ptr != end || a < 1 || a > b || b > part_max) {
        return {};
    }
    const std::uint32_t divisor = std::gcd(a, b);
    return Keep{a / divisor, b / divisor};
}

Keep read_keep(const Json& value, const std::string& path) {
    if (value.is_number_integer()) {
        const auto count = read_integer(value, path, 1, head_dim_max);
        return {static_cast<std::uint32_t>(count), 0};
    }
    if (is_word(value, "d")) { return {1, 1}; }
    const auto fraction = value.is_string() ? parse_fraction(value.get_ref<const std::string&>())
                                            : std::optional<Keep>{};
    if (!fraction) {
        refuse(path, " = ", shown(value), ": give a count 1..", head_dim_max,
               R"(, a fraction of d such as "1/2", or "d")");
    }
    return *fraction;
}

double read_sparsity(const Json& value, const std::string& path) {
    const double sparsity = read_number(value, path);
    if (!(sparsity >= 0.0 && sparsity < 1.0)) {
        refuse(path, " = ", shown(value), ": give a number from 0 up to but not including 1");
    }
    return sparsity == 0.0 ? 0.0 : sparsity; // -0 is 0
}

float read_threshold(const Json& value, const std::string& path) {
    const double threshold = read_number(value, path);
    const auto stored = static_cast<float>(threshold);
    if (!(threshold >= 0.0) || !std::isfinite(stored)) {
        refuse(path, " = ", shown(value), ": give a number of at least 0 that fits float");
    }
    return stored == 0.0F ? 0.0F : stored;
}

Centre read_centre(const Json& value, const std::string& path, Side side) {
    if (side == Side::v) {
        refuse(path,
               ": only K can be centred, for softmax ignores q.mu and nothing undoes it for V; "
               "drop this key");
    }
    if (is_word(value, "none")) { return {false, nullptr}; }
    if (is_word(value, "mean")) { return {true, nullptr}; }
    if (!value.is_array() || value.empty()) {
        refuse(path, " = ", shown(value),
               R"(: give "none", "mean" or an array of head_dim numbers)");
    }
    std::vector<float> values;
    for (const Json& item : read_array(value, path, static_cast<std::size_t>(head_dim_max))) {
        const std::string at = cat(path, "[", values.size(), "]");
        const double number = read_number(item, at);
        if (!(std::abs(number) <= centre_max)) {
            refuse(at, " = ", shown(item), ": give a number -32752..32752");
        }
        values.push_back(static_cast<float>(number));
    }
    return {false, std::make_shared<const std::vector<float>>(std::move(values))};
}

Axis read_axis(const Json& value, const std::string& path, Side side, const Window& window) {
    if (read_word(value, path, axis_words) == 0) { return Axis::token; }
    if (side == Side::v) { refuse(path, R"( = "channel": only K takes it; give "token")"); }
    if (window.step != page_rows) {
        refuse(path, R"( = "channel" packs )", page_rows,
               " rows at a time, but window.step = ", window.step, "; give window.step ",
               page_rows);
    }
    return Axis::channel;
}

template <class T>
void copy_given(Leaf<T>& base, const Leaf<T>& patch) {
    if (patch) { base = patch; }
}

template <class T>
void set_default(Leaf<T>& leaf, T value, std::uint32_t origin) {
    if (!leaf) { leaf.set(std::move(value), origin); }
}

} // namespace

std::string_view method_name(Method method) {
    return method_words[static_cast<std::size_t>(method) - MUSTAFAR_PRUNE_NONE];
}

SidePatch read_side(const Json& node, Document& document, const std::string& path, Side side) {
    const ObjectReader object(node, path, side_keys);
    const auto origin = static_cast<std::uint32_t>(document.paths.size());
    document.paths.push_back(path);
    SidePatch out;
    const auto take = [&](std::string_view key, auto& leaf, auto&& read) {
        if (const Json* value = object.find(key)) {
            leaf.set(read(*value, object.path_of(key)), origin);
        }
    };
    const auto one_of = [](const auto& allowed) {
        return [&allowed](const Json& value, const std::string& at) {
            return read_one_of(value, at, allowed);
        };
    };
    const auto channel_count = [](const Json& value, const std::string& at) {
        return static_cast<std::uint32_t>(read_integer(value, at, 1, head_dim_max));
    };
    take("method", out.method, [](const Json& value, const std::string& at) {
        return static_cast<Method>(MUSTAFAR_PRUNE_NONE + read_word(value, at, method_words));
    });
    take("keep", out.keep, read_keep);
    take("sparsity", out.sparsity, read_sparsity);
    take("rule", out.paper, [](const Json& value, const std::string& at) {
        return read_word(value, at, rule_words) == 1;
    });
    take("multiple", out.multiple, one_of(multiples_allowed));
    take("n", out.n, channel_count);
    take("m", out.m, channel_count);
    take("threshold", out.threshold, read_threshold);
    take("bits", out.bits, one_of(bits_allowed));
    take("axis", out.axis, [&](const Json& value, const std::string& at) {
        return read_axis(value, at, side, document.window);
    });
    take("group", out.group, one_of(groups_allowed));
    take("centre", out.centre,
         [&](const Json& value, const std::string& at) { return read_centre(value, at, side); });
    SideRules{document.paths, MUSTAFAR_INVALID_ARGUMENT}.check(out, false);
    return out;
}

void overlay(SidePatch& base, const SidePatch& patch) {
    if (patch.method) { // a method brings its own numbers
        base.keep.clear(), base.sparsity.clear(), base.paper.clear(), base.multiple.clear();
        base.n.clear(), base.m.clear(), base.threshold.clear();
    } else if ((patch.keep || patch.sparsity) && base.method.is(Method::none)) {
        base.method.clear(); // asked to prune after all
    }
    if (patch.keep) { // the paper rule counts from a sparsity, so it goes with it
        base.sparsity.clear(), base.paper.clear();
    }
    if (patch.sparsity) { base.keep.clear(); }
    copy_given(base.method, patch.method);
    copy_given(base.keep, patch.keep);
    copy_given(base.sparsity, patch.sparsity);
    copy_given(base.paper, patch.paper);
    copy_given(base.multiple, patch.multiple);
    copy_given(base.n, patch.n);
    copy_given(base.m, patch.m);
    copy_given(base.threshold, patch.threshold);
    copy_given(base.bits, patch.bits);
    copy_given(base.axis, patch.axis);
    copy_given(base.group, patch.group);
    copy_given(base.centre, patch.centre);
}

void fill_defaults(SidePatch& side, std::uint32_t origin) {
    const bool counted = side.keep || side.sparsity || side.paper.is(true);
    set_default(side.method, counted ? Method::token_topk : Method::none, origin);
    set_default(side.paper, false, origin);
    set_default(side.multiple, 1U, origin);
    set_default(side.bits, 16U, origin);
    set_default(side.axis, Axis::token, origin);
    set_default(side.group, 0U, origin);
    set_default(side.centre, Centre{}, origin);
}

} // namespace mustafar::recipes
