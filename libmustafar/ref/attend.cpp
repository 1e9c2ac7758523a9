// SPDX-License-Identifier: Apache-2.0
// attend_ref: softmax attention of one kv head's query group, in double, two passes over the rows.
//   s_j = softcap(scale * q . k_j);  lse = ln(sum_j e^(s_j) [+ e^sink]);  out = sum_j e^(s_j - lse)
//   v_j
// The running sum of the first pass is online softmax (Milakov & Gimelshein, arXiv 1805.02867).
// drop_mass eps: V rows whose weight is below eps / n for every query head of the group are left
// out, so that the weight left out is at most eps (n rows are seen).
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/kernels.hpp"
#include "core/tensor.hpp"

namespace mustafar {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
constexpr std::uint32_t block_queries = 64; // query rows that share one reading of the keys

struct Tile { // up to 32 rows that lie together
    const PageRef* page = nullptr;
    std::uint32_t first = 0; // dense slot
    std::uint32_t count = 0;
    std::uint32_t row = 0; // index of its first row
};

struct Query {
    std::int64_t position = 0;
    std::int64_t index[3] = {0, 0, 0}; // cache, query, head
    double max = minus_infinity;
    double sum = 0.0;
    double lse = minus_infinity;
    double seen = 0.0; // rows it sees
    double dropped = 0.0;
};

struct Scratch {    // laid out in the call's workspace
    double* keys;   // [32, d_k]
    double* values; // [32, d_v]
    double* q;      // [block_queries, d_k]
    double* out;    // [block_queries, d_v]
    double* scores; // [block_queries, 32]
    Query* queries; // [block_queries]
};

Scratch scratch_of(const AttendArgs& args) {
    const std::size_t dk = args.head.spec->k.d;
    const std::size_t dv = args.head.spec->v.d;
    Scratch s{};
    auto* at = reinterpret_cast<double*>(args.work);
    s.keys = at;
    s.values = s.keys + page_rows * dk;
    s.q = s.values + page_rows * dv;
    s.out = s.q + block_queries * dk;
    s.scores = s.out + block_queries * dv;
    s.queries = reinterpret_cast<Query*>(s.scores + std::size_t{block_queries} * page_rows);
    static_assert(8 * (2 * page_rows * max_head_dim + 2 * block_queries * max_head_dim +
                       std::size_t{block_queries} * page_rows) +
                          block_queries * sizeof(Query) <=
                      work_bytes,
                  "the largest head fits a workspace");
    return s;
}

std::int64_t offset(const mustafar_tensor& tensor, const Query& query) {
    return query.index[0] * tensor.strides[0] + query.index[1] * tensor.strides[1] +
           query.index[2] * tensor.strides[2];
}

// Rows in order: sinks, pages, the dense rest.
template <typename Visit>
void for_each_tile(const HeadView& head, const Visit& visit) {
    std::uint32_t row = 0;
    const auto dense = [&](std::uint32_t begin, std::uint32_t end) {
        for (std::uint32_t first = begin; first < end; first += page_rows) {
            const std::uint32_t count = std::min(page_rows, end - first);
            visit(Tile{nullptr, first, count, row});
            row += count;
        }
    };
    dense(0, head.dense.sink);
    for (std::uint32_t p = 0; p < head.page_count; ++p) {
        const auto count = static_cast<std::uint32_t>(std::popcount(head.pages[p].valid));
        visit(Tile{&head.pages[p], 0, count, row});
        row += count;
    }
    dense(head.dense.sink, head.dense.count);
}

bool sees(const AttendArgs& args, const Query& query, std::uint32_t row) {
    const std::int64_t position = args.head.positions != nullptr ? args.head.positions[row] : row;
    if (position > query.position) { return false; }
    return args.sliding_window == 0 || position > query.position - args.sliding_window;
}

// scores[i, t] of every query of the block with every row of the tile; -inf where it may not look.
void score_tile(const AttendArgs& args, const Scratch& s, std::uint32_t queries, const Tile& tile) {
    const std::size_t d = args.head.spec->k.d;
    unpack_ref({&args.head, Side::k, tile.page, tile.first, tile.count, s.keys, nullptr});
    for (std::uint32_t i = 0; i < queries; ++i) {
        for (std::uint32_t t = 0; t < tile.count; ++t) {
            double& score = s.scores[i * page_rows + t];
            score = minus_infinity;
            if (!sees(args, s.queries[i], tile.row + t)) { continue; }
            double dot = 0.0;
            for (std::size_t c = 0; c < d; ++c) { dot += s.q[i * d + c] * s.keys[t * d + c]; }
            score = args.scale * dot;
            if (args.softcap != 0.0) { score = args.softcap * std::tanh(score / args.softcap); }
        }
    }
}

void add_to_sum(Query& query, double score) {
    if (score == minus_infinity) { return; }
    if (score > query.max) {
        query.sum *= std::exp(query.max - score); // 0 at first: max is -inf
        query.max = score;
    }
    query.sum += std::exp(score - query.max);
}

void load_queries(const AttendArgs& args, const Scratch& s, std::uint32_t first,
                  std::uint32_t count) {
    const std::size_t d = args.head.spec->k.d;
    for (std::uint32_t i = 0; i < count; ++i) {
        Query& query = s.queries[i];
        query = Query{};
        const std::uint32_t token = (first + i) / args.group;
        query.position = args.q_position + token;
        query.index[0] = args.cache;
        query.index[1] = token;
        query.index[2] = std::int64_t{args.kv_head} * args.group + (first + i) % args.group;
        const std::int64_t at = offset(*args.q, query);
        for (std::size_t c = 0; c < d; ++c) {
            s.q[i * d + c] =
                load_element(*args.q, at + static_cast<std::int64_t>(c) * args.q->strides[3]);
        }
        if (args.sinks != nullptr) {
            add_to_sum(query, load_element(*args.sinks, query.index[2] * args.sinks->strides[0]));
        }
    }
}

// First pass: lse of every query.
void sum_scores(const AttendArgs& args, const Scratch& s, std::uint32_t queries) {
    for_each_tile(args.head, [&](const Tile& tile) {
        score_tile(args, s, queries, tile);
        for (std::uint32_t i = 0; i < queries; ++i) {
            for (std::uint32_t t = 0; t < tile.count; ++t) {
                const double score = s.scores[i * page_rows + t];
                if (score != minus_infinity) { s.queries[i].seen += 1.0; }
                add_to_sum(s.queries[i], score);
            }
        }
    });
    for (std::uint32_t i = 0; i < queries; ++i) {
        Query& query = s.queries[i];
        if (query.sum > 0.0) { query.lse = query.max + std::log(query.sum); }
    }
}

// Turns the scores of a tile into weights, and sets those of V rows that may be left out to 0.
void weigh_tile(const AttendArgs& args, const Scratch& s, std::uint32_t queries, const Tile& tile) {
    for (std::uint32_t i = 0; i < queries; ++i) {
        for (std::uint32_t t = 0; t < tile.count; ++t) {
            double& weight = s.scores[i * page_rows + t];
            weight = weight == minus_infinity
                         ? 0.0
                         : std::exp(weight - s.queries[i].max) / s.queries[i].sum;
            if (args.weights != nullptr) {
                const std::int64_t at =
                    offset(*args.weights, s.queries[i]) + (tile.row + t) * args.weights->strides[3];
                store_element(*args.weights, at, weight);
            }
        }
    }
    if (args.drop_mass == 0.0) { return; }
    for (std::uint32_t first = 0; first < queries; first += args.group) { // one token's query heads
        for (std::uint32_t t = 0; t < tile.count; ++t) {
            bool needed = false;
            for (std::uint32_t i = first; i < first + args.group; ++i) {
                needed |= s.scores[i * page_rows + t] * s.queries[i].seen >= args.drop_mass;
            }
            if (needed) { continue; }
            for (std::uint32_t i = first; i < first + args.group; ++i) {
                s.queries[i].dropped += s.scores[i * page_rows + t];
                s.scores[i * page_rows + t] = 0.0;
            }
        }
    }
}

// Second pass: the weighted sum of the values.
void add_values(const AttendArgs& args, const Scratch& s, std::uint32_t queries) {
    const std::size_t d = args.head.spec->v.d;
    std::fill_n(s.out, queries * d, 0.0);
    for_each_tile(args.head, [&](const Tile& tile) {
        score_tile(args, s, queries, tile);
        weigh_tile(args, s, queries, tile);
        unpack_ref({&args.head, Side::v, tile.page, tile.first, tile.count, s.values, nullptr});
        for (std::uint32_t i = 0; i < queries; ++i) {
            for (std::uint32_t t = 0; t < tile.count; ++t) {
                const double weight = s.scores[i * page_rows + t];
                if (weight == 0.0) { continue; }
                for (std::size_t c = 0; c < d; ++c) {
                    s.out[i * d + c] += weight * s.values[t * d + c];
                }
            }
        }
    });
}

float upper_bound(double value) { // of a sum of weights, as float, rounding and summation included
    const auto rounded = static_cast<float>(value);
    return value > 0.0 ? std::nextafter(rounded, 1.0F) : 0.0F;
}

void store_results(const AttendArgs& args, const Scratch& s, std::uint32_t queries) {
    const std::size_t d = args.head.spec->v.d;
    for (std::uint32_t i = 0; i < queries; ++i) {
        const Query& query = s.queries[i];
        const std::int64_t at = offset(*args.out, query);
        for (std::size_t c = 0; c < d; ++c) {
            store_element(*args.out, at + static_cast<std::int64_t>(c) * args.out->strides[3],
                          s.out[i * d + c]);
        }
        if (args.lse != nullptr) { store_element(*args.lse, offset(*args.lse, query), query.lse); }
        if (args.dropped != nullptr) {
            store_element(*args.dropped, offset(*args.dropped, query), upper_bound(query.dropped));
        }
        if (args.weights == nullptr) { continue; }
        for (std::int64_t row = args.head.rows(); row < args.weights->shape[3]; ++row) {
            store_element(*args.weights,
                          offset(*args.weights, query) + row * args.weights->strides[3], 0.0);
        }
    }
}

} // namespace

void attend_ref(const AttendArgs& args) {
    const Scratch s = scratch_of(args);
    const std::uint32_t whole_tokens = std::max(1U, block_queries / args.group);
    const std::uint32_t block = whole_tokens * args.group;
    const std::uint32_t total = args.q_len * args.group;
    for (std::uint32_t first = 0; first < total; first += block) {
        const std::uint32_t queries = std::min(block, total - first);
        load_queries(args, s, first, queries);
        sum_scores(args, s, queries);
        add_values(args, s, queries);
        store_results(args, s, queries);
    }
}

} // namespace mustafar
