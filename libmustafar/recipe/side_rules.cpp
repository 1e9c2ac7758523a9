// SPDX-License-Identifier: Apache-2.0
// Which keys of a SIDE object exclude each other, whatever head_dim is.
#include "recipe/document.hpp"
#include "recipe/text.hpp"

namespace mustafar::recipes {

namespace {

constexpr std::uint32_t rows_of_block =
    page_rows; // channel_topk counts in blocks of this many rows

bool takes_keep(Method method) {
    return method == Method::none || method == Method::token_topk || method == Method::channels ||
           method == Method::channel_topk;
}

bool takes_multiple(Method method) { return takes_keep(method) && method != Method::channel_topk; }

// True where elements go for every d the library serves (32 and more). A count is judged at
// resolve.
bool surely_drops(const SidePatch& side) {
    if (side.keep) { return !side.keep->is_count() && !side.keep->is_all(); }
    const double least = side.paper.is(true) ? 2.0 / 32 : 1.0 / 32; // floor(s * d) of 2, or 1
    return side.sparsity && *side.sparsity >= least;
}

bool surely_prunes(const SidePatch& side) {
    switch (side.method.value.value_or(Method::token_topk)) {
    case Method::none:
        return false;
    case Method::n_m:
        return side.n && side.m && *side.n < *side.m;
    case Method::channel_topk:
    case Method::threshold:
    case Method::mask:
        return true;
    default:
        return surely_drops(side);
    }
}

} // namespace

std::string keep_text(const Keep& keep) {
    if (keep.is_count()) { return cat(keep.a); }
    return keep.is_all() ? "\"d\"" : cat("\"", keep.a, "/", keep.b, "\"");
}

void SideRules::fail(std::uint32_t origin, std::string_view key, const std::string& rest) const {
    throw Error(code, cat(paths[origin], ".", key, rest));
}

void SideRules::check(const SidePatch& side, bool whole) const {
    if (side.keep && side.sparsity) {
        fail(side.sparsity.origin, "sparsity", R"(: give "keep" or "sparsity", not both)");
    }
    if (side.method) { check_method(side); }
    if (side.n && side.m && *side.n > *side.m) {
        fail(side.n.origin, "n",
             cat(" = ", *side.n, " exceeds m = ", *side.m, "; give 1..", *side.m));
    }
    if (side.paper.is(true)) { check_paper(side); }
    check_layout(side);
    if (whole) { check_whole(side); }
}

void SideRules::check_method(const SidePatch& side) const {
    const Method method = *side.method;
    const auto not_taken = [&](const auto& leaf, std::string_view key, const std::string& others) {
        if (leaf) {
            fail(leaf.origin, key,
                 cat(": method \"", method_name(method), "\" does not take it; drop it or give ",
                     others));
        }
    };
    if (!takes_keep(method)) {
        const std::string others =
            R"("method": "token_topk", "channels" or "channel_topk" beside it)";
        not_taken(side.keep, "keep", others);
        not_taken(side.sparsity, "sparsity", others);
    }
    if (method != Method::n_m) {
        not_taken(side.n, "n", R"("method": "n_m" beside it)");
        not_taken(side.m, "m", R"("method": "n_m" beside it)");
    }
    if (method != Method::threshold) {
        not_taken(side.threshold, "threshold", R"("method": "threshold" beside it)");
    }
    if (side.multiple && *side.multiple != 1 && !takes_multiple(method)) {
        not_taken(side.multiple, "multiple", R"("method": "token_topk" or "channels" beside it)");
    }
    if (method == Method::none && surely_drops(side)) {
        const bool keep = static_cast<bool>(side.keep);
        fail(keep ? side.keep.origin : side.sparsity.origin, keep ? "keep" : "sparsity",
             R"(: method "none" keeps all; drop one of the two or give "method": "token_topk")");
    }
    if (method == Method::channel_topk && side.keep &&
        (!side.keep->is_count() || side.keep->a > rows_of_block)) {
        fail(side.keep.origin, "keep",
             cat(" = ", keep_text(*side.keep), ": method \"channel_topk\" counts rows of every ",
                 rows_of_block, "; give 1..", rows_of_block));
    }
}

void SideRules::check_paper(const SidePatch& side) const {
    if (side.method && *side.method != Method::token_topk) {
        fail(
            side.paper.origin, "rule",
            cat(R"( = "paper" needs method "token_topk", not ")", method_name(*side.method), "\""));
    }
    if (side.keep) {
        fail(side.paper.origin, "rule",
             R"( = "paper" counts from a sparsity, not from "keep"; give "sparsity")");
    }
    if (side.multiple && *side.multiple != 1) {
        fail(side.multiple.origin, "multiple",
             cat(" = ", *side.multiple,
                 R"(: rule "paper" fixes the count; give 1 or "rule": "exact")"));
    }
}

void SideRules::check_layout(const SidePatch& side) const {
    const auto fail_axis = [&](const std::string& rest) {
        fail(side.axis.origin, "axis", R"( = "channel" )" + rest);
    };
    const auto fail_group = [&](const std::string& rest) {
        fail(side.group.origin, "group", cat(" = ", *side.group, rest));
    };
    if (side.axis.is(Axis::channel)) {
        if (side.bits.is(16)) {
            fail_axis("needs codes of 8, 4 or 2 bits, but bits = 16; give \"bits\"");
        }
        if (side.group && *side.group != 0) {
            fail_axis(cat("has a scale per channel already, but group = ", *side.group,
                          "; give \"group\": 0"));
        }
        if (side.centre && !side.centre->is_none()) {
            fail_axis("has a zero per channel, which makes \"centre\" redundant; give \"centre\": "
                      "\"none\"");
        }
        if (surely_prunes(side)) {
            fail_axis(R"(needs all d elements of a row; give "method": "none" or "axis": "token")");
        }
    }
    if (side.group && *side.group != 0) {
        if (side.bits.is(16)) {
            fail_group(
                ": raw 16-bit values have no scales; give \"bits\" 8, 4 or 2, or \"group\": 0");
        }
        if (surely_prunes(side)) {
            fail_group(R"( needs all d elements of a row; give "method": "none" or "group": 0)");
        }
    }
}

void SideRules::check_whole(const SidePatch& side) const {
    const Method method = *side.method;
    if (side.paper.is(true) && !side.sparsity) {
        fail(side.paper.origin, "rule", R"( = "paper" needs "sparsity")");
    }
    const auto needs = [&](bool there, std::string_view what) {
        if (!there) {
            fail(side.method.origin, "method",
                 cat(" = \"", method_name(method), "\" needs ", what,
                     "; give it beside the method"));
        }
    };
    if (takes_keep(method) && method != Method::none) {
        needs(side.keep || side.sparsity, R"("keep" or "sparsity")");
    }
    if (method == Method::n_m) { needs(side.n && side.m, R"("n" and "m")"); }
    if (method == Method::threshold) { needs(static_cast<bool>(side.threshold), R"("threshold")"); }
}

} // namespace mustafar::recipes
