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
    float* scores;     // [tiles of a step][query rows][32]
    float* weights;    // the same
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
static_assert(16 * max_step <= max_queries); // scores of a step fit where those of a full tile do

std::uint32_t count_of(std::uint32_t slots) {
    return slots == ~0U ? tile_rows : static_cast<std::uint32_t>(std::popcount(slots));
}

// ---- one part ----------------------------------------------------------------------------------

class Part {
  public:
    Part(const AttendArgs& args, const Work& work)
        : args_(args), work_(work), tiles_(args.head), n_(args.part.queries),
          stride_((args.head.spec->v.d + 31U) / 32 * 32), newest_first_(args.drop_mass != 0.0) {
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
    struct Tile { // of a step
        std::uint32_t index = 0;
        std::uint32_t row = 0;   // its first
        std::uint32_t slots = 0; // with rows
        std::uint32_t any = 0;   // visible to some query
        std::uint32_t later = 0; // the tile to be fetched meanwhile
    };

    void load_queries();
    void start(const TileOps& ops);
    std::uint32_t index_of(std::uint32_t done) const {
        const std::uint32_t first = args_.part.first_tile;
        return newest_first_ ? first + args_.part.tiles - 1 - done : first + done;
    }
    Tile next_tile(std::uint32_t done);
    void score_tile(const TileOps& ops, Tile& tile, std::uint32_t place);
    bool weigh_step(const TileOps& ops, std::uint32_t tiles);
    void add_step(const TileOps& ops, std::uint32_t tiles);
    bool sees_all(std::uint32_t row, std::uint32_t count) const;
    std::uint32_t visible(const Query& query, std::uint32_t slots, std::uint32_t row) const;
    void keep_scores(const Query& query, const float* scores, std::uint32_t slots,
                     std::uint32_t seen, std::uint32_t row) const;
    void leave_out(std::uint32_t place);
    float* of_tile(float* array, std::uint32_t place) const {
        return array + std::size_t{place} * padded(n_) * tile_rows;
    }
    bool finite() const;

    const AttendArgs& args_;
    const Work& work_;
    Tiles tiles_;
    std::uint32_t n_;
    std::size_t stride_; // of the output rows: whole vectors
    Query queries_[max_queries];
    Softmax states_[max_queries];
    bool newest_first_; // its running sum is the largest soonest
    std::uint32_t row_ = 0;
    std::int64_t least_position_ = 0; // of all queries
    Tile step_[max_step];
    std::uint32_t seen_[max_queries][max_step];
    std::uint32_t needed_[max_step];
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
        least_position_ = i == 0 ? query.position : std::min(least_position_, query.position);
        const std::int64_t at = in(*args_.q);
        float* values = work_.q + i * d;
        load_row(*args_.q, at, d, values);
        double centre = 0.0;
        for (std::size_t c = 0; args_.head.centre != nullptr && c < d; ++c) {
            centre += double{values[c]} * args_.head.centre[c];
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
    const std::size_t tiles = step_of(padded(n_));
    std::memset(work_.weights, 0, tiles * padded(n_) * tile_rows * sizeof(float));
}

// No query has to look at single slots of these rows: the way of most tiles of a decode step.
bool Part::sees_all(std::uint32_t row, std::uint32_t count) const {
    const std::int32_t* positions = args_.head.positions;
    const std::uint32_t last = row + count - 1;
    return args_.sliding_window == 0 &&
           (positions != nullptr ? std::int64_t{positions[last]} : std::int64_t{last}) <=
               least_position_;
}

// The slots that a query may look at: its own position and before, within the sliding window.
std::uint32_t Part::visible(const Query& query, std::uint32_t slots, std::uint32_t row) const {
    const std::int32_t* positions = args_.head.positions;
    const std::uint32_t count = count_of(slots);
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
void Part::leave_out(std::uint32_t place) {
    const std::uint32_t skipped = step_[place].any & ~needed_[place];
    const float* weights = of_tile(work_.weights, place);
    for (std::uint32_t i = 0; skipped != 0 && i < n_; ++i) {
        for (std::uint32_t rest = skipped; rest != 0; rest &= rest - 1) {
            states_[i].dropped +=
                weights[i * tile_rows + static_cast<std::uint32_t>(std::countr_zero(rest))];
        }
    }
}

// The tile that is visited after `done` others.
Part::Tile Part::next_tile(std::uint32_t done) {
    const std::uint32_t ahead = std::max(tiles_.tiles_ahead(), step_of(padded(n_)));
    Tile tile;
    tile.index = index_of(done);
    tile.later = newest_first_ ? tile.index - ahead : tile.index + ahead; // wraps to no tile at 0
    tile.slots = tiles_.slots(tile.index);
    const std::uint32_t count = count_of(tile.slots);
    if (newest_first_) { row_ -= count; }
    tile.row = row_;
    if (!newest_first_) { row_ += count; }
    return tile;
}

void Part::score_tile(const TileOps& ops, Tile& tile, std::uint32_t place) {
    const bool all = sees_all(tile.row, count_of(tile.slots));
    for (std::uint32_t i = 0; i < n_; ++i) {
        seen_[i][place] = all ? tile.slots : visible(queries_[i], tile.slots, tile.row);
        tile.any |= seen_[i][place];
    }
    needed_[place] = 0;
    if (tile.any == 0 && args_.weights == nullptr) { return; }
    ops.score(tiles_.rows(tile.index, Side::k), work_.native, padded(n_),
              of_tile(work_.scores, place), work_.scratch, tiles_.ahead(tile.later, Side::k));
}

// Weights of the tiles of a step; false where half precision did not suffice. The window has no centre:
// a step lies in the body or outside it.
bool Part::weigh_step(const TileOps& ops, std::uint32_t tiles) {
    const bool body = tiles_.is_page(step_[0].index);
    const std::size_t stride = std::size_t{padded(n_)} * tile_rows;
    for (std::uint32_t i = 0; i < n_; ++i) {
        Softmax& state = states_[i];
        state.offset = body ? static_cast<float>(args_.scale * queries_[i].centre) : 0.0F;
        ops.weigh(work_.scores + i * tile_rows, work_.weights + i * tile_rows, stride, tiles,
                  seen_[i], needed_, state);
        if (std::isnan(state.max) || state.max > std::numeric_limits<float>::max()) {
            return false;
        }
        if (queries_[i].weights == nullptr) { continue; }
        for (std::uint32_t t = 0; t < tiles; ++t) {
            keep_scores(queries_[i], of_tile(work_.scores, t) + i * tile_rows, step_[t].slots,
                        seen_[i][t], step_[t].row);
        }
    }
    return true;
}

void Part::add_step(const TileOps& ops, std::uint32_t tiles) {
    // Values are fetched ahead where those of this step are read: the next one will be like it.
    std::uint32_t rows = 0;
    std::uint32_t read = 0;
    for (std::uint32_t t = 0; newest_first_ && t < tiles; ++t) {
        rows += count_of(step_[t].slots);
        read += count_of(needed_[t]);
    }
    const bool mostly_needed = 2 * read >= rows;
    for (std::uint32_t t = 0; t < tiles; ++t) {
        if (newest_first_) { leave_out(t); }
        const Ahead ahead = mostly_needed ? tiles_.ahead(step_[t].later, Side::v) : Ahead{};
        ops.add_values(tiles_.rows(step_[t].index, Side::v), of_tile(work_.weights, t), padded(n_),
                       needed_[t], states_, work_.out, static_cast<std::uint32_t>(stride_),
                       work_.scratch, ahead);
        for (std::uint32_t i = 0; t == 0 && i < n_; ++i) { states_[i].correction = 1.0F; }
    }
}

bool Part::finite() const {
    for (std::size_t i = 0; i < n_; ++i) {
        if (!all_finite(work_.out + i * stride_, args_.head.spec->v.d)) { return false; }
    }
    return true;
}

bool Part::run(const TileOps& ops) {
    start(ops);
    const std::uint32_t count = args_.part.tiles;
    const std::uint32_t most = step_of(padded(n_));
    row_ = tiles_.first_row(args_.part.first_tile + (newest_first_ ? count : 0));
    for (std::uint32_t done = 0; done < count;) {
        std::uint32_t tiles = 0;
        const bool body = tiles_.is_page(index_of(done));
        do {
            step_[tiles] = next_tile(done++);
            score_tile(ops, step_[tiles], tiles);
            ++tiles;
        } while (tiles < most && done < count && tiles_.is_page(index_of(done)) == body);
        if (!weigh_step(ops, tiles)) { return false; }
        add_step(ops, tiles);
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
