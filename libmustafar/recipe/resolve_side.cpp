// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "recipe/resolve.hpp"
#include "recipe/text.hpp"

namespace mustafar::recipes {

namespace {

// Sparsities are decimals: 0.7 * 10 must floor to 7 although the double product may fall just
// short.
std::uint32_t dropped(double sparsity, std::uint32_t of) {
    return static_cast<std::uint32_t>(std::floor(sparsity * of + 1e-9));
}

class SideResolver {
  public:
    SideResolver(const SidePatch& side, std::uint32_t d, const SideRules& rules)
        : side_(side), d_(d), rules_(rules) {}

    SideSpec resolve() const {
        SideSpec spec;
        spec.d = static_cast<std::uint16_t>(d_);
        spec.bits = static_cast<std::uint8_t>(*side_.bits);
        spec.prune = prune_rule();
        spec.encoding = encoding(spec.prune);
        if (spec.encoding != Encoding::ragged) {
            spec.keep = static_cast<std::uint16_t>(kept(spec.prune));
        }
        if (spec.encoding == Encoding::grouped) {
            spec.group = static_cast<std::uint8_t>(*side_.group);
        }
        return spec;
    }

  private:
    static PruneRule rule(Method method, std::uint32_t keep, std::uint32_t of = 0) {
        PruneRule out;
        out.method = method;
        out.keep = static_cast<std::uint16_t>(keep);
        out.of = static_cast<std::uint16_t>(of);
        return out;
    }

    PruneRule prune_rule() const {
        switch (*side_.method) {
        case Method::token_topk:
        case Method::channels:
            return side_.paper.is(true) ? paper_rule() : count_rule();
        case Method::n_m:
            return n_m_rule();
        case Method::channel_topk:
            return rule(Method::channel_topk,
                        side_.keep ? side_.keep->a : count_of_sparsity(*side_.sparsity, page_rows));
        case Method::threshold: {
            PruneRule out = rule(Method::threshold, 0);
            out.threshold = *side_.threshold;
            return out;
        }
        case Method::mask:
            return rule(Method::mask, 0);
        default:
            return none_rule();
        }
    }

    PruneRule none_rule() const {
        if (side_.keep && *side_.keep != Keep{d_, 0} && !side_.keep->is_all()) {
            rules_.fail(side_.keep.origin, "keep",
                        cat(" = ", keep_text(*side_.keep),
                            ", but method \"none\" keeps all of head_dim = ", d_,
                            R"(; drop it or give "method": "token_topk")"));
        }
        if (side_.sparsity && count_of_sparsity(*side_.sparsity, d_) != d_) {
            rules_.fail(side_.sparsity.origin, "sparsity",
                        R"(: method "none" keeps all; drop it or give "method": "token_topk")");
        }
        return {};
    }

    PruneRule count_rule() const {
        std::uint32_t k = base_count();
        const std::uint32_t multiple = *side_.multiple;
        k = std::min(d_, (k + multiple - 1) / multiple * multiple);
        return k == d_ ? PruneRule{} : rule(*side_.method, k);
    }

    std::uint32_t base_count() const {
        if (!side_.keep) { return count_of_sparsity(*side_.sparsity, d_); }
        const Keep& keep = *side_.keep;
        if (!keep.is_count()) { return std::max(1U, d_ * keep.a / keep.b); }
        if (keep.a > d_) {
            rules_.fail(side_.keep.origin, "keep",
                        cat(" = ", keep.a, " exceeds head_dim = ", d_, "; give 1..", d_,
                            " or \"sparsity\""));
        }
        return keep.a;
    }

    PruneRule paper_rule() const {
        const std::uint32_t k = paper_count_of_sparsity(*side_.sparsity, d_);
        if (k == d_) { return {}; }
        PruneRule out = rule(Method::token_topk, k);
        out.paper = true;
        return out;
    }

    PruneRule n_m_rule() const {
        const std::uint32_t m = *side_.m;
        if (d_ % m != 0) {
            rules_.fail(side_.m.origin, "m",
                        cat(" = ", m, " does not divide head_dim = ", d_, "; give a divisor"));
        }
        return *side_.n == m ? PruneRule{} : rule(Method::n_m, *side_.n, m);
    }

    std::uint32_t kept(const PruneRule& prune) const {
        switch (prune.method) {
        case Method::none:
            return d_;
        case Method::n_m:
            return d_ / prune.of * prune.keep;
        default:
            return prune.keep;
        }
    }

    Encoding encoding(const PruneRule& prune) const {
        const bool whole_rows = prune.method == Method::none;
        const bool ragged = prune.paper || prune.method == Method::channel_topk ||
                            prune.method == Method::threshold || prune.method == Method::mask;
        if (side_.axis.is(Axis::channel)) {
            if (!whole_rows) {
                rules_.fail(side_.axis.origin, "axis",
                            cat(R"( = "channel" needs all )", d_, " elements of a row, but ",
                                kept(prune),
                                R"( are kept; give "method": "none" or "axis": "token")"));
            }
            return Encoding::channel;
        }
        if (const std::uint32_t group = *side_.group; group != 0) {
            if (!whole_rows) {
                rules_.fail(side_.group.origin, "group",
                            cat(" = ", group, " needs all ", d_, " elements of a row, but ",
                                kept(prune), R"( are kept; give "method": "none" or "group": 0)"));
            }
            if (d_ % group != 0) {
                rules_.fail(side_.group.origin, "group",
                            cat(" = ", group, " does not divide head_dim = ", d_,
                                R"(; give a divisor or "group": 0)"));
            }
            return Encoding::grouped;
        }
        return ragged ? Encoding::ragged : Encoding::exact;
    }

    const SidePatch& side_;
    std::uint32_t d_;
    const SideRules& rules_;
};

} // namespace

std::uint32_t count_of_sparsity(double sparsity, std::uint32_t d) {
    return d - std::min(d - 1, dropped(sparsity, d));
}

std::uint32_t paper_count_of_sparsity(double sparsity, std::uint32_t d) {
    // The plain double product, as the reference implementation's int(s * D) takes it.
    const auto nth = std::max(1U, static_cast<std::uint32_t>(std::floor(sparsity * d)));
    return d - std::min(d, nth) + 1;
}

std::int64_t CentreTable::offset_of(const std::vector<float>& centre) {
    const auto [place, fresh] =
        offsets_.try_emplace(&centre, static_cast<std::int64_t>(floats_.size()));
    if (fresh) { floats_.insert(floats_.end(), centre.begin(), centre.end()); }
    return place->second;
}

SideSpec resolve_side(SidePatch side, Side which, std::uint32_t d,
                      const std::vector<std::string>& paths, CentreTable& centres) {
    fill_defaults(side, which == Side::k ? origin_k : origin_v);
    const SideRules rules{paths, MUSTAFAR_UNSUPPORTED};
    rules.check(side, true);
    SideSpec spec = SideResolver(side, d, rules).resolve();
    const Centre& centre = *side.centre;
    spec.centred = !centre.is_none();
    if (centre.values != nullptr) {
        if (centre.values->size() != d) {
            rules.fail(
                side.centre.origin, "centre",
                cat(" has ", centre.values->size(), " numbers, but head_dim = ", d, "; give ", d));
        }
        spec.centre_at = centres.offset_of(*centre.values);
    }
    return spec;
}

} // namespace mustafar::recipes
