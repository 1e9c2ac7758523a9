// SPDX-License-Identifier: Apache-2.0
// Marks on dense rows: what survives there, before anything is packed.
#include <bit>
#include <cmath>
#include <cstring>

#include "core/cache.hpp"
#include "core/tensor.hpp"

namespace mustafar {
namespace {

void check_rule(const PruneRule& rule, std::uint32_t d, bool has_mask) {
    const auto refuse = [](const std::string& text) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT, text);
    };
    const auto check_keep = [&](std::uint32_t most) {
        if (rule.keep >= 1 && rule.keep <= most) { return; }
        refuse("options.keep = " + std::to_string(rule.keep) + " is out of range; give 1.." +
               std::to_string(most));
    };
    switch (rule.method) {
    case Method::token_topk:
    case Method::channels:
        check_keep(d);
        break;
    case Method::channel_topk:
        check_keep(page_rows);
        break;
    case Method::n_m:
        if (rule.of == 0 || rule.of > d || d % rule.of != 0) {
            refuse("options.of = " + std::to_string(rule.of) +
                   " does not divide head_dim = " + std::to_string(d));
        }
        check_keep(rule.of);
        break;
    case Method::threshold:
        if (!(rule.threshold >= 0.0F) || std::isinf(rule.threshold)) {
            refuse("options.threshold = " + shown(rule.threshold) +
                   " must be finite and at least 0");
        }
        break;
    case Method::mask:
        if (!has_mask) { refuse("mask = NULL, but the method is MUSTAFAR_PRUNE_MASK"); }
        break;
    case Method::none:
        break;
    case Method::recipe:
        break;
    }
    if (has_mask && rule.method != Method::mask) {
        refuse("mask is given, but the method is not MUSTAFAR_PRUNE_MASK");
    }
}

void check_mask(const PruneRule& recipe_rule, bool has_mask) {
    const bool wanted = recipe_rule.method == Method::mask;
    if (wanted == has_mask) { return; }
    throw Error(MUSTAFAR_INVALID_ARGUMENT,
                wanted ? "mask = NULL, but the recipe's method is \"mask\""
                       : "mask is given, but the recipe's method is not \"mask\"; pass NULL");
}

// The caller's bits of one head; `token_of(row)` is their second index.
template <typename TokenOf>
void copy_mask(const mustafar_tensor& mask, std::uint32_t head_index, const TokenOf& token_of,
               std::vector<std::uint8_t>& bits) {
    const auto* data = static_cast<const std::uint8_t*>(mask.data);
    const auto row_bytes = static_cast<std::size_t>(mask.shape[2]);
    for (std::size_t at = 0; at < bits.size(); ++at) {
        const auto row = static_cast<std::uint32_t>(at / row_bytes);
        bits[at] = data[head_index * mask.strides[0] + token_of(row) * mask.strides[1] +
                        static_cast<std::int64_t>(at % row_bytes) * mask.strides[2]];
    }
}

} // namespace

void Cache::prune(const PruneRequest& request) {
    const std::uint32_t first_layer = request.layer == MUSTAFAR_ALL ? 0 : request.layer;
    const std::uint32_t layers = request.layer == MUSTAFAR_ALL ? geometry_.layers : 1;
    const std::uint32_t first_head = request.kv_head == MUSTAFAR_ALL ? 0 : request.kv_head;
    const std::uint32_t heads = request.kv_head == MUSTAFAR_ALL ? geometry_.kv_heads : 1;
    std::vector<std::vector<std::uint8_t>> bits(std::size_t{layers} * heads); // built aside
    std::vector<DenseRange> ranges(bits.size());
    try {
        for (std::size_t i = 0; i < bits.size(); ++i) {
            const auto l = first_layer + static_cast<std::uint32_t>(i / heads);
            HeadState& head = mutable_head(l, first_head + static_cast<std::uint32_t>(i % heads));
            ranges[i] = dense_range(head, layers_[l], request);
            choose_marks(head, request, static_cast<std::uint32_t>(i % heads), ranges[i], bits[i]);
            if (head.marks.empty() && ranges[i].count > 0) {
                head.stage.marks =
                    Buffer<std::uint8_t>(memory(), mark_bytes(head.spec, head.slots));
            }
        }
    } catch (...) {
        drop_stages();
        throw;
    }
    for (std::size_t i = 0; i < bits.size(); ++i) {
        HeadState& head = mutable_head(first_layer + static_cast<std::uint32_t>(i / heads),
                                       first_head + static_cast<std::uint32_t>(i % heads));
        if (!head.stage.marks.empty()) { head.marks.swap(head.stage.marks); }
        publish_marks(head, request, ranges[i], bits[i]);
        head.centre_frozen |= head.stage.centre_ready;
        for (int side = 0; side < 2; ++side) {
            head.mask_frozen[side] |= head.stage.mask_ready[side];
        }
        head.stage = Stage{};
    }
}

// The dense slots of the positions asked for, all of them outside the window.
Cache::DenseRange Cache::dense_range(const HeadState& head, const LayerState& layer,
                                     const PruneRequest& request) const {
    const std::uint32_t first = kept_rows(head, request.begin);
    const std::uint32_t last = kept_rows(head, request.end);
    const std::uint32_t sink = sink_rows(head);
    const std::uint32_t committed = head.dense_rows - std::min(layer.tentative, head.dense_rows);
    const std::uint32_t tail_end =
        committed > sink + window_.recent ? committed - window_.recent : sink;
    if (request.begin > request.end || request.end > layer.length()) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT, "begin = " + std::to_string(request.begin) +
                                                   ", end = " + std::to_string(request.end) +
                                                   " is no range of the " +
                                                   std::to_string(layer.length()) + " tokens here");
    }
    if (first == last) { return {0, 0}; }
    if (first < sink + head.body_rows || last > tail_end + head.body_rows) {
        throw Error(
            MUSTAFAR_BAD_STATE,
            "positions " + std::to_string(request.begin) + ".." + std::to_string(request.end - 1) +
                " are not all dense and outside the window; rows that may be marked here: " +
                std::to_string(tail_end - sink) +
                (tail_end > sink
                     ? ", from position " + std::to_string(position(head, sink + head.body_rows))
                     : ""));
    }
    return {first - head.body_rows, last - first};
}

void Cache::choose_marks(HeadState& head, const PruneRequest& request, std::uint32_t head_index,
                         const DenseRange& range, std::vector<std::uint8_t>& bits) {
    const SideSpec& spec = head.spec.side(request.side);
    const PruneRule& rule = request.as_recipe ? spec.prune : request.rule;
    if (request.as_recipe) {
        check_mask(rule, request.mask != nullptr);
    } else {
        check_rule(rule, spec.d, request.mask != nullptr);
    }
    bits.assign(range.count * (spec.d / 8U), 0xFF);
    if (range.count == 0 || rule.method == Method::none) { return; }
    const auto token_of = [&](std::uint32_t row) { // index into what is given per position
        return position(head, range.slot + head.body_rows + row) -
               static_cast<std::int32_t>(request.begin);
    };
    if (rule.method == Method::mask) { copy_mask(*request.mask, head_index, token_of, bits); }
    HalfRows rows{dense_halves(head, request.side) + std::size_t{range.slot} * spec.d, spec.d,
                  geometry_.store};
    if (spec.centred) { centre_rows(head, rows, range.count); }
    if (rule.method == Method::mask) { return; }
    std::vector<float> channel_weights;
    std::vector<float> token_weights;
    if (request.channel_weights != nullptr) {
        const mustafar_tensor& weights = *request.channel_weights;
        for (std::int64_t c = 0; c < spec.d; ++c) {
            channel_weights.push_back(
                load_element(weights, head_index * weights.strides[0] + c * weights.strides[1]));
        }
    }
    if (request.token_weights != nullptr) {
        const mustafar_tensor& weights = *request.token_weights;
        for (std::uint32_t i = 0; i < range.count; ++i) {
            token_weights.push_back(load_element(weights, head_index * weights.strides[0] +
                                                              token_of(i) * weights.strides[1]));
        }
    }
    if (request.as_recipe) {
        recipe_survivors(head, request.side, rows, {channel_weights, token_weights}, bits);
        return;
    }
    context_->kernels().prune({rule, spec.d, {}, channel_weights, token_weights, bits, rows});
}

void Cache::publish_marks(HeadState& head, const PruneRequest& request, const DenseRange& range,
                          const std::vector<std::uint8_t>& bits) {
    if (range.count == 0) { return; }
    const SideSpec& spec = head.spec.side(request.side);
    const std::size_t row_bytes = spec.d / 8U;
    const auto which = static_cast<std::uint32_t>(request.side);
    std::uint8_t* mark_bits =
        head.marks.data() + head.slots +
        (request.side == Side::k ? 0 : std::size_t{head.slots} * (head.spec.k.d / 8U));
    const PruneRule& rule = request.as_recipe ? spec.prune : request.rule;
    const bool unmark = rule.method == Method::none;
    for (std::uint32_t i = 0; i < range.count; ++i) {
        std::uint8_t& flags = head.marks[range.slot + i];
        flags = static_cast<std::uint8_t>(unmark ? flags & ~(1U << which) : flags | (1U << which));
        std::memcpy(mark_bits + (range.slot + i) * row_bytes, bits.data() + i * row_bytes,
                    row_bytes);
    }
}

} // namespace mustafar
