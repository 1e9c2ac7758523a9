// SPDX-License-Identifier: Apache-2.0
// append, commit, compress: what makes rows move from the input through the window into the body.
#include <atomic>
#include <cmath>
#include <limits>

#include "core/incoming.hpp"

namespace mustafar {
namespace {

constexpr std::uint32_t piece_tokens = 256; // of a large append, to be looked at by one thread

// Beyond it a scale or zero might not fit f16. A centred row can be twice as large as its values.
float largest_magnitude(const SideSpec& side, Dtype store) {
    if (side.centred) { return 32752.0F; }
    if (side.bits < 16 || store == Dtype::f16) { return 65504.0F; }
    return std::numeric_limits<float>::max();
}

// The largest half that is not larger.
std::uint16_t half_below(float most, Dtype store) {
    const std::uint16_t nearest = store_half(most, store);
    return load_half(nearest, store) <= most ? nearest : static_cast<std::uint16_t>(nearest - 1U);
}

[[noreturn]] void refuse_value(Side side, std::uint32_t token, std::uint32_t head,
                               std::uint32_t channel, float value, float most) {
    const std::string name = side == Side::k ? "k" : "v";
    const std::string why =
        std::isfinite(value)
            ? " exceeds " + shown(most) + ", the largest magnitude that this recipe and dtype store"
            : " is not finite";
    throw Error(MUSTAFAR_NON_FINITE,
                name + "[token " + std::to_string(token) + ", kv_head " + std::to_string(head) +
                    ", channel " + std::to_string(channel) + "] = " + shown(value) + why +
                    "; nothing was stored",
                {static_cast<std::int64_t>(side), token, head, channel});
}

} // namespace

void Cache::check_values(std::uint32_t layer, const Incoming& incoming) const {
    const std::uint32_t heads = geometry_.kv_heads;
    const auto sure_of = [&](Side side) { // what every head of the layer stores
        float least = std::numeric_limits<float>::max();
        for (std::uint32_t h = 0; h < heads; ++h) {
            least =
                std::min(least, largest_magnitude(head(layer, h).spec.side(side), geometry_.store));
        }
        return half_below(least, geometry_.store);
    };
    // Large appends first get a quick look on all threads; only what that is not sure of is searched in order.
    if (incoming.tokens >= 2 * piece_tokens) {
        std::atomic<bool> fits{true};
        const std::size_t pieces = (incoming.tokens + piece_tokens - 1) / piece_tokens;
        context_->parallel_for(pieces, [&](std::size_t piece) {
            const auto first = static_cast<std::uint32_t>(piece) * piece_tokens;
            const std::uint32_t end = std::min(incoming.tokens, first + piece_tokens);
            for (const Side side : {Side::k, Side::v}) {
                if (!incoming.all_within(side, first, end, heads, geometry_.head_dim(side),
                                         sure_of(side))) {
                    fits.store(false, std::memory_order_relaxed);
                }
            }
        });
        if (fits.load(std::memory_order_relaxed)) { return; }
    }
    for (const Side side : {Side::k, Side::v}) {
        const mustafar_tensor& tensor = incoming.tensor(side);
        const std::uint32_t d = geometry_.head_dim(side);
        const std::uint16_t sure = sure_of(side);
        for (std::uint32_t t = 0; t < incoming.tokens; ++t) {
            for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
                if (incoming.surely_within(side, t, h, d, sure)) { continue; }
                const float most =
                    largest_magnitude(head(layer, h).spec.side(side), geometry_.store);
                const std::int64_t at = Incoming::offset(tensor, t, h);
                for (std::uint32_t c = 0; c < d; ++c) {
                    const float value = load_element(tensor, at + c * tensor.strides[2]);
                    const float stored =
                        load_half(store_half(value, geometry_.store), geometry_.store);
                    if (!(std::fabs(stored) <= most)) { refuse_value(side, t, h, c, value, most); }
                }
            }
        }
    }
}

// Tokens [first, end) of what comes in, for one head.
bool Cache::surely_fit(const HeadState& head, std::uint32_t kv_head, const Incoming& incoming,
                       std::uint32_t first, std::uint32_t end) const {
    for (const Side side : {Side::k, Side::v}) {
        const SideSpec& spec = head.spec.side(side);
        const std::uint16_t most =
            half_below(largest_magnitude(spec, geometry_.store), geometry_.store);
        for (std::uint32_t t = first; t < end; ++t) {
            if (!incoming.surely_within(side, t, kv_head, spec.d, most)) { return false; }
        }
    }
    return true;
}

// The incoming rows that staging did not pack.
bool Cache::unpacked_fit(std::uint32_t layer, const Incoming& incoming) const {
    for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
        const HeadState& one = head(layer, h);
        const std::uint32_t first = std::min(window_.sink, one.dense_rows + incoming.tokens);
        const auto token = [&](std::uint32_t row) {
            return row < one.dense_rows ? 0 : row - one.dense_rows;
        };
        if (!surely_fit(one, h, incoming, 0, token(first)) ||
            !surely_fit(one, h, incoming, token(first + one.stage.rows), incoming.tokens)) {
            return false;
        }
    }
    return true;
}

// Large appends are checked chunk by chunk while they are packed, which reads them from memory once instead of
// twice. Whatever goes wrong, a value that does not fit is told first.
void Cache::stage_checked(std::uint32_t layer, const Incoming& incoming) {
    Incoming unchecked = incoming;
    unchecked.check_in_turn = true;
    try {
        stage_all(layer, 1, &unchecked, false);
        if (unpacked_fit(layer, incoming)) { return; }
        drop_stages();
    } catch (const Incoming::Unsure&) { // nothing is staged any more
    } catch (...) {
        check_values(layer, incoming);
        throw;
    }
    check_values(layer, incoming);
    stage_all(layer, 1, &incoming, false);
}

void Cache::append(std::uint32_t layer, const mustafar_tensor& k, const mustafar_tensor& v,
                   bool tentative) {
    const Stopwatch watch(counters_.append_ns);
    LayerState& state = layers_[layer];
    const Incoming incoming{&k, &v, geometry_.store, static_cast<std::uint32_t>(k.shape[0])};
    if (incoming.tokens > options_.max_tokens - state.length()) {
        throw Error(MUSTAFAR_CAPACITY,
                    "layer " + std::to_string(layer) + " holds " + std::to_string(state.length()) +
                        " of max_tokens = " + std::to_string(options_.max_tokens) + ", " +
                        std::to_string(incoming.tokens) +
                        " more asked; truncate, or create the cache with a larger max_tokens",
                    {incoming.tokens, state.length(), options_.max_tokens});
    }
    if (!tentative && state.tentative > 0) {
        throw Error(MUSTAFAR_BAD_STATE, "layer " + std::to_string(layer) + " has " +
                                            std::to_string(state.tentative) +
                                            " tentative tokens; commit or truncate them first");
    }
    const bool most_packed = // what stays is looked at by this thread alone
        options_.automatic && incoming.tokens / 2 > std::uint64_t{window_.sink} + window_.recent;
    const bool in_turn = !tentative && most_packed && incoming.tokens >= 2 * piece_tokens &&
                         incoming.lies_as_stored(Side::k) && incoming.lies_as_stored(Side::v);
    if (!in_turn) { check_values(layer, incoming); }
    if (tentative) { // dense until commit
        try {
            for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
                stage_room(mutable_head(layer, h), incoming.tokens);
            }
        } catch (...) {
            drop_stages();
            throw;
        }
    } else if (in_turn) {
        stage_checked(layer, incoming);
    } else {
        stage_all(layer, 1, &incoming, false);
    }
    for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
        publish(mutable_head(layer, h), &incoming, h, state.length());
    }
    (tentative ? state.tentative : state.committed) += incoming.tokens;
    counters_.appended_tokens.fetch_add(incoming.tokens, std::memory_order_relaxed);
}

void Cache::publish_layers(std::uint32_t first, std::uint32_t count) {
    for (std::uint32_t l = first; l < first + count; ++l) {
        for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
            publish(mutable_head(l, h), nullptr, h, layers_[l].length());
        }
    }
}

void Cache::commit(std::uint32_t layer) {
    const Stopwatch watch(counters_.append_ns);
    const std::uint32_t first = layer == MUSTAFAR_ALL ? 0 : layer;
    const std::uint32_t count = layer == MUSTAFAR_ALL ? geometry_.layers : 1;
    std::vector<LayerState> before(layers_.begin() + first, layers_.begin() + first + count);
    for (std::uint32_t l = first; l < first + count; ++l) { layers_[l] = {layers_[l].length(), 0}; }
    try {
        stage_all(first, count, nullptr, false);
    } catch (...) {
        std::copy(before.begin(), before.end(), layers_.begin() + first);
        throw;
    }
    publish_layers(first, count);
}

void Cache::compress(std::uint32_t layer) {
    const std::uint32_t first = layer == MUSTAFAR_ALL ? 0 : layer;
    const std::uint32_t count = layer == MUSTAFAR_ALL ? geometry_.layers : 1;
    stage_all(first, count, nullptr, true);
    publish_layers(first, count);
}

} // namespace mustafar
