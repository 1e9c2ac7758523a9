// SPDX-License-Identifier: Apache-2.0
// Walks the tiles of one part of a kv head: scores, online softmax, values. What depends on an
// instruction set is behind TileOps; nothing here is hot.
#include "cpu/attend/driver.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/tensor.hpp"
#include "cpu/attend/tiles.hpp"

namespace mustafar::cpu {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

struct Work {          // laid out in the call's workspace
    float* q;          // [max_queries][d_k]
    std::byte* native; // the same as the kernels like it, and 8-bit planes behind
    float* scores;     // [max_queries][32]
    float* weights;    // [max_queries][32]
    float* out;        // [max_queries][d_v, whole vectors]
    Scratch scratch;
};

Work lay_out(std::byte* memory) {
    std::size_t at = 0;
    const auto take = [&](std::size_t bytes) {
        std::byte* start = memory + at;
        at += bytes;
        return start;
    };
    constexpr std::size_t queries = std::size_t{max_queries} * max_dim * 4;
    constexpr std::size_t tile = std::size_t{tile_rows} * max_dim * 4;
    constexpr std::size_t scores = std::size_t{max_queries} * tile_rows * 4;
    constexpr std::size_t planes = std::size_t{max_queries} * (max_dim * 2 + 8);
    static_assert(planes + 3 * queries + 2 * scores + 2 * (tile + 64) + tile / 2 + 64 <= part_at);
    Work work{};
    work.q = reinterpret_cast<float*>(take(queries));
    work.native = take(queries + planes);
    work.out = reinterpret_cast<float*>(take(queries));
    work.scores = reinterpret_cast<float*>(take(scores));
    work.weights = reinterpret_cast<float*>(take(scores));
    work.scratch.columns = take(tile + 64);
    work.scratch.rows = take(tile + 64);
    work.scratch.codes = take(tile / 2 + 64);
    return work;
}

// Kernels take 1, 2 or a multiple of 4 query rows.
std::uint32_t padded(std::uint32_t n) { return n <= 2 ? n : (n + 3) / 4 * 4; }

// ---- one part ----------------------------------------------------------------------------------

class Part {
  public:
    Part(const AttendArgs& args, const Work& work)
        : args_(args), work_(work), tiles_(args.head), n_(args.part.queries),
          stride_((args.head.spec->v.d + 31U) / 32 * 32) {
        load_queries();
    }

    bool run(const TileOps& ops);
    void store() const;

  private:
    struct Query {
        std::int64_t position = 0;
        const mustafar_tensor* weights = nullptr;
        std::int64_t weights_at = 0;
        float sink = minus_infinity;
        float centre = 0.0F; // q . centre
    };
    struct Pending { // scores are done, values are not
        std::uint32_t tile = 0;
        std::uint32_t needed = 0;
        bool any = false;
    };

    void load_queries();
    void start(const TileOps& ops);
    bool score_tile(const TileOps& ops, std::uint32_t tile, std::uint32_t row, const Ahead& ahead);
    std::uint32_t visible(const Query& query, std::uint32_t slots, std::uint32_t row) const;
    void keep_scores(const Query& query, const float* scores, std::uint32_t slots,
                     std::uint32_t seen, std::uint32_t row) const;
    void leave_out(std::uint32_t slots);
    bool finite() const;

    const AttendArgs& args_;
    const Work& work_;
    Tiles tiles_;
    std::uint32_t n_;
    std::size_t stride_; // of the output rows: whole vectors
    Query queries_[max_queries];
    Softmax states_[max_queries];
    std::uint32_t needed_ = 0;
};

void Part::load_queries() {
    const std::size_t d = args_.head.spec->k.d;
    std::memset(work_.q, 0, padded(n_) * d * sizeof(float));
    for (std::uint32_t i = 0; i < n_; ++i) {
        const std::uint32_t row = args_.part.first_query + i;
        const std::int64_t token = row / args_.group;
        const std::int64_t head = std::int64_t{args_.kv_head} * args_.group + row % args_.group;
        const auto in = [&](const mustafar_tensor& tensor) {
            return args_.cache * tensor.strides[0] + token * tensor.strides[1] +
                   head * tensor.strides[2];
        };
        Query& query = queries_[i];
        query = Query{};
        query.position = args_.q_position + token;
        const std::int64_t at = in(*args_.q);
        double centre = 0.0;
        for (std::size_t c = 0; c < d; ++c) {
            const float value =
                load_element(*args_.q, at + static_cast<std::int64_t>(c) * args_.q->strides[3]);
            work_.q[i * d + c] = value;
            if (args_.head.centre != nullptr) { centre += double{value} * args_.head.centre[c]; }
        }
        query.centre = static_cast<float>(centre);
        if (args_.sinks != nullptr && args_.part.first_tile == 0) {
            query.sink = load_element(*args_.sinks, head * args_.sinks->strides[0]);
        }
        if (args_.weights != nullptr) {
            query.weights = args_.weights;
            query.weights_at = in(*args_.weights);
        }
    }
}

void Part::start(const TileOps& ops) {
    float factor[max_queries];
    const SideSpec& k = args_.head.spec->k;
    const bool code_rows = k.encoding == Encoding::exact && k.keep == k.d && k.bits < 8;
    ops.load_queries(work_.q, padded(n_), k.d, code_rows ? k.bits : 0U, work_.native, factor);
    const double rows = std::max(1U, args_.head.rows());
    for (std::uint32_t i = 0; i < padded(n_); ++i) {
        Softmax& state = states_[i];
        state = Softmax{};
        state.max = minus_infinity;
        if (i >= n_) { continue; }
        state.scale = static_cast<float>(args_.scale * factor[i]);
        state.softcap = static_cast<float>(args_.softcap);
        state.drop = static_cast<float>(args_.drop_mass / rows);
        if (queries_[i].sink == minus_infinity) { continue; }
        state.max = queries_[i].sink;
        state.sum = 1.0F;
    }
    std::memset(work_.out, 0, padded(n_) * stride_ * sizeof(float));
    std::memset(work_.weights, 0, std::size_t{padded(n_)} * tile_rows * sizeof(float));
}

// The slots that a query may look at: its own position and before, within the sliding window.
std::uint32_t Part::visible(const Query& query, std::uint32_t slots, std::uint32_t row) const {
    const std::int32_t* positions = args_.head.positions;
    const auto count = static_cast<std::uint32_t>(std::popcount(slots));
    const auto position = [&](std::uint32_t index) {
        return positions != nullptr ? std::int64_t{positions[row + index]}
                                    : std::int64_t{row + index};
    };
    const std::int64_t oldest = args_.sliding_window == 0
                                    ? std::numeric_limits<std::int64_t>::min()
                                    : query.position - args_.sliding_window + 1;
    if (position(count - 1) <= query.position && position(0) >= oldest) { return slots; }
    std::uint32_t seen = 0;
    std::uint32_t index = 0;
    for (std::uint32_t rest = slots; rest != 0; rest &= rest - 1, ++index) {
        const std::int64_t at = position(index);
        if (at <= query.position && at >= oldest) { seen |= rest & (~rest + 1); }
    }
    return seen;
}

void Part::keep_scores(const Query& query, const float* scores, std::uint32_t slots,
                       std::uint32_t seen, std::uint32_t row) const {
    auto* data = static_cast<float*>(query.weights->data) + query.weights_at;
    for (std::uint32_t rest = slots; rest != 0; rest &= rest - 1, ++row) {
        const auto slot = static_cast<std::uint32_t>(std::countr_zero(rest));
        data[row * query.weights->strides[3]] =
            ((seen >> slot) & 1U) != 0 ? scores[slot] : minus_infinity;
    }
}

// Rows that no query needs are left out; their weight is remembered.
void Part::leave_out(std::uint32_t slots) {
    const std::uint32_t skipped = slots & ~needed_;
    if (skipped == 0) { return; }
    for (std::uint32_t i = 0; i < n_; ++i) {
        for (std::uint32_t rest = skipped; rest != 0; rest &= rest - 1) {
            states_[i].dropped +=
                work_.weights[i * tile_rows + static_cast<std::uint32_t>(std::countr_zero(rest))];
        }
    }
}

// Scores and weights of one tile; false where half precision did not suffice.
bool Part::score_tile(const TileOps& ops, std::uint32_t tile, std::uint32_t row,
                      const Ahead& ahead) {
    const std::uint32_t slots = tiles_.slots(tile);
    const bool body = tiles_.is_page(tile);
    std::uint32_t seen[max_queries];
    std::uint32_t any = 0;
    for (std::uint32_t i = 0; i < n_; ++i) {
        seen[i] = visible(queries_[i], slots, row);
        any |= seen[i];
    }
    needed_ = 0;
    if (any == 0 && args_.weights == nullptr) {
        for (std::uint32_t i = 0; i < n_; ++i) { states_[i].correction = 1.0F; }
        return true;
    }
    Rows keys = tiles_.rows(tile, Side::k);
    ops.score(keys, work_.native, padded(n_), work_.scores, work_.scratch, ahead);
    for (std::uint32_t i = 0; i < n_; ++i) {
        Softmax& state = states_[i];
        float* scores = work_.scores + i * tile_rows;
        state.offset = body ? static_cast<float>(args_.scale * queries_[i].centre) : 0.0F;
        needed_ |= ops.weigh(scores, work_.weights + i * tile_rows, seen[i], state);
        if (std::isnan(state.max) || state.max > std::numeric_limits<float>::max()) {
            return false;
        }
        if (queries_[i].weights != nullptr) {
            keep_scores(queries_[i], scores, slots, seen[i], row);
        }
    }
    if (args_.drop_mass != 0.0) { leave_out(any); }
    return true;
}

bool Part::finite() const {
    float sum = 0.0F;
    for (std::size_t i = 0; i < n_; ++i) {
        for (std::size_t c = 0; c < args_.head.spec->v.d; ++c) {
            sum += work_.out[i * stride_ + c] * 0.0F; // NaN if any is not finite
        }
    }
    return sum == 0.0F;
}

bool Part::run(const TileOps& ops) {
    start(ops);
    const std::uint32_t first = args_.part.first_tile;
    const std::uint32_t count = args_.part.tiles;
    const bool newest_first = args_.drop_mass != 0.0; // its running sum is the largest soonest
    std::uint32_t row = tiles_.first_row(newest_first ? first + count : first);
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t tile = newest_first ? first + count - 1 - i : first + i;
        const auto rows = static_cast<std::uint32_t>(std::popcount(tiles_.slots(tile)));
        const std::uint32_t later = // wraps to no tile before the first one
            newest_first ? tile - tiles_.tiles_ahead() : tile + tiles_.tiles_ahead();
        if (newest_first) { row -= rows; }
        if (!score_tile(ops, tile, row, tiles_.ahead(later, Side::k))) { return false; }
        if (!newest_first) { row += rows; }
        ops.add_values(tiles_.rows(tile, Side::v), work_.weights, padded(n_), needed_, states_,
                       work_.out, static_cast<std::uint32_t>(stride_), work_.scratch,
                       newest_first ? Ahead{}
                                    : tiles_.ahead(later, Side::v)); // V not before it is needed
    }
    return finite();
}

void Part::store() const {
    const std::size_t d = args_.head.spec->v.d;
    for (std::uint32_t i = 0; i < n_; ++i) {
        float* partial = args_.part.partial + i * part_floats(d);
        partial[0] = states_[i].max;
        partial[1] = states_[i].sum;
        partial[2] = states_[i].dropped;
        partial[3] = 0.0F;
        std::memcpy(partial + part_head, work_.out + i * stride_, d * sizeof(float));
    }
}

} // namespace

void attend_part(const AttendArgs& args, const TileOps* fast, const TileOps& safe) {
    const Work work = lay_out(args.work);
    Part part(args, work);
    const bool done = (fast != nullptr && part.run(*fast)) || part.run(safe);
    part.store();
    if (!done) { args.part.partial[0] = std::numeric_limits<float>::quiet_NaN(); }
}

} // namespace mustafar::cpu
