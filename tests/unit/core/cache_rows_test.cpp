// SPDX-License-Identifier: Apache-2.0
// Truncate and evict: what goes is gone without a trace, what stays keeps every bit.
#include <algorithm>
#include <bit>

#include "unit_support.hpp"

namespace mustafar::test {
namespace {

constexpr CacheOptions automatic{400, 0, true};

class RowsTest : public testing::Test {
  protected:
    ~RowsTest() override { EXPECT_EQ(heap.complaint(), ""); }
    Cache::Handle create(const Kind& kind, const CacheOptions& options = automatic) {
        return Cache::create(context, geometry, kind.recipe(), options);
    }
    Cache::Handle filled(const Kind& kind, std::uint32_t tokens) {
        auto cache = create(kind);
        sequence.append(*cache, 0, tokens);
        return cache;
    }
    // What stats say of the only cache of the context is what the allocator handed out.
    void expect_accounted(const Cache& cache) {
        EXPECT_EQ(cache.bytes(MUSTAFAR_ALL, MUSTAFAR_ALL).total, cache_bytes(*context));
    }
    Heap heap;
    std::shared_ptr<Context> context = make_context(heap);
    const Geometry geometry = small_geometry();
    const Sequence sequence{geometry, 300};
};
using CacheTruncate = RowsTest;
using CacheEvict = RowsTest;

// The first `rows` rows of both sides of a head.
std::vector<float> first_rows(const Cache& cache, std::uint32_t kv_head, std::uint32_t rows) {
    std::vector<float> all;
    for (const Side side : {Side::k, Side::v}) {
        const Array values = rows_of(cache, 0, kv_head, side);
        const auto end = values.values.begin() + rows * values.shape[1];
        all.insert(all.end(), values.values.begin(), end);
    }
    return all;
}

TEST_F(CacheTruncate, AnyExactLength_LeavesTheBytesOfNeverHavingAppended) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto whole = create(kind);
        std::vector<std::string> at; // snapshot by length
        for (std::uint32_t n = 0; n <= 85; ++n) {
            if (n > 0) { sequence.append(*whole, n - 1, n); }
            at.push_back(snapshot(*whole));
        }
        const std::uint32_t body = whole->head(0, 0).body_rows;
        const std::uint32_t exact = 2 + body + 5; // the window stands behind the packed rows
        const std::uint32_t sinks = 2;            // or nothing else is left
        for (std::uint32_t length = 0; length <= 85; ++length) {
            const auto cache = length % 2 == 0 ? whole->fork() : filled(kind, 85);
            const Error error = error_of([&] { cache->truncate(length, false); });
            if (length >= exact || length <= sinks) {
                ASSERT_EQ(error.code, MUSTAFAR_OK) << length << ": " << error.text;
                ASSERT_EQ(snapshot(*cache), at[length]) << length;
                sequence.append(*cache, length, 85); // and so does what is appended from there
                ASSERT_EQ(snapshot(*cache), at[85]) << length;
                continue;
            }
            ASSERT_EQ(error.code, MUSTAFAR_NOT_EXACT) << length;
            ASSERT_EQ(error.values[0], exact);
            ASSERT_NE(error.text.find(std::to_string(exact)), std::string::npos) << error.text;
            ASSERT_EQ(snapshot(*cache), at[85]) << "nothing changed";
        }
        ASSERT_EQ(snapshot(*whole), at[85]) << "what forks truncate is theirs";
    }
}

TEST_F(CacheTruncate, TentativeTokens_LeaveNoTrace) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto cache = filled(kind, 50);
        const std::string before = snapshot(*cache);
        for (const std::uint32_t more : {1U, 40U, 200U}) {
            sequence.append(*cache, 0, 50, 50 + more, true);
            cache->truncate(50 + more / 2, false);
            EXPECT_EQ(cache->layer(0).tentative, more / 2);
            EXPECT_EQ(cache->layer(0).committed, 50U);
            cache->truncate(50, false);
            EXPECT_EQ(snapshot(*cache), before) << more;
        }
    }
}

TEST_F(CacheTruncate, KeepPacked_KeepsTheFirstRowsAsTheyArePacked) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto whole = filled(kind, 85);
        const std::uint32_t body = whole->head(0, 0).body_rows;
        for (std::uint32_t length = 0; length < 2 + body + 5; ++length) {
            auto cache = whole->fork();
            cache->truncate(length, true);
            const HeadState& head = cache->head(0, 1);
            ASSERT_EQ(cache->layer(0).committed, length);
            ASSERT_EQ(head.rows(), length);
            ASSERT_EQ(head.body_rows, length <= 2 ? 0 : std::min(body, length - 2));
            ASSERT_EQ(first_rows(*cache, 1, length), first_rows(*whole, 1, length)) << length;
            cache = load(context, snapshot(*cache));
            sequence.append(*cache, length, 85); // rows go on behind them
            ASSERT_EQ(cache->head(0, 1).rows(), 85U);
            ASSERT_EQ(first_rows(*cache, 1, length > 5 ? length - 5 : 0),
                      first_rows(*whole, 1, length > 5 ? length - 5 : 0))
                << length;
        }
    }
}

TEST_F(CacheTruncate, LayersOfDifferentLength_AreCutToTheSameAndShorterOnesStay) {
    const Geometry two = small_geometry(3);
    const Sequence tokens(two, 60);
    const auto cache = Cache::create(context, two, kinds[0].recipe(), automatic);
    tokens.append(*cache, 0, 0, 20);
    tokens.append(*cache, 1, 0, 41);
    tokens.append(*cache, 2, 0, 60);
    const Error error = error_of([&] { cache->truncate(30, false); });
    EXPECT_EQ(error.values[0], 7 + 48) << "the longest layer decides: " << error.text;
    cache->truncate(55, false);
    EXPECT_EQ(cache->layer(0).committed, 20U);
    EXPECT_EQ(cache->layer(1).committed, 41U);
    EXPECT_EQ(cache->layer(2).committed, 55U);
    cache->truncate(300, false);
    EXPECT_EQ(cache->layer(2).committed, 55U);
}

TEST_F(CacheTruncate, AfterEvictions_LengthsArePositionsAndTheHeadWithMostBodyDecides) {
    const auto cache = filled(kinds[1], 71); // 2 + 64 + 5
    cache->evict(0, 0, std::vector<std::int32_t>{10, 11, 12, 60}, false);
    EXPECT_EQ(error_of([&] { cache->truncate(70, false); }).values[0], 71) << "head 1 is full";
    cache->evict(0, 1, std::vector<std::int32_t>{5, 6, 7, 8, 9}, false);
    sequence.append(*cache, 0, 71, 75);
    EXPECT_EQ(error_of([&] { cache->truncate(70, false); }).values[0], 71);
    cache->truncate(71, false);
    EXPECT_EQ(cache->head(0, 0).rows(), 67U);
    EXPECT_EQ(cache->head(0, 1).rows(), 66U);
    cache->truncate(12, true);
    EXPECT_EQ(positions_of(*cache, 0, 0),
              (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    EXPECT_EQ(positions_of(*cache, 0, 1), (std::vector<std::int32_t>{0, 1, 2, 3, 4, 10, 11}));
    expect_accounted(*cache);
}

// ---- evict -------------------------------------------------------------------------------------

struct Row {
    std::int32_t position;
    std::vector<std::uint32_t> bits; // of K, then V
    bool operator==(const Row&) const = default;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.position; }
std::vector<Row> rows_with_bits(const Cache& cache, std::uint32_t kv_head) {
    std::vector<Row> rows;
    for (const std::int32_t position : positions_of(cache, 0, kv_head)) {
        rows.push_back({position, {}});
    }
    for (const Side side : {Side::k, Side::v}) {
        const Array values = rows_of(cache, 0, kv_head, side);
        for (std::size_t i = 0; i < values.values.size(); ++i) {
            rows[i / static_cast<std::size_t>(values.shape[1])].bits.push_back(
                std::bit_cast<std::uint32_t>(values.values[i]));
        }
    }
    return rows;
}

TEST_F(CacheEvict, Survivors_KeepEveryBitAndTheirOrderWithAndWithoutForks) {
    Random random(3);
    for (const Kind& kind : kinds) {
        for (const bool forked : {false, true}) {
            for (const std::uint32_t percent : {3U, 40U, 90U}) {
                SCOPED_TRACE(std::string(kind.name) + (forked ? ", forked " : " ") +
                             std::to_string(percent) + " %");
                const auto cache = filled(kind, 140);
                Cache::Handle fork(nullptr, [](Cache*) {});
                if (forked) { fork = cache->fork(); }
                const std::string fork_bytes = snapshot(*cache);
                std::uint32_t length = 140, evicted = 0;
                for (int round = 0; round < 3; ++round) {
                    const auto other = rows_with_bits(*cache, 0);
                    std::vector<Row> want = rows_with_bits(*cache, 1);
                    const HeadState& head = cache->head(0, 1);
                    std::uint32_t body = head.body_rows;
                    std::vector<std::int32_t> gone;
                    std::vector<Row> stay;
                    for (std::size_t r = 0; r < want.size(); ++r) {
                        if (r < 2 || r + 5 >= want.size() || !random.chance(percent)) {
                            stay.push_back(want[r]);
                            continue;
                        }
                        gone.push_back(want[r].position);
                        body -= r < 2 + head.body_rows ? 1 : 0;
                    }
                    cache->evict(0, 1, gone, false);
                    evicted += static_cast<std::uint32_t>(gone.size());
                    ASSERT_EQ(rows_with_bits(*cache, 1), stay);
                    ASSERT_EQ(head.body_rows, body);
                    ASSERT_EQ(head.evicted, evicted);
                    if (kind.step != 32) { // others close up
                        ASSERT_EQ(head.page_count, (body + 31) / 32);
                    }
                    ASSERT_EQ(rows_with_bits(*cache, 0), other) << "the other head";
                    if (forked) { ASSERT_EQ(snapshot(*fork), fork_bytes); }
                    if (!forked) { expect_accounted(*cache); }
                    const auto loaded = load(context, snapshot(*cache));
                    ASSERT_EQ(rows_with_bits(*loaded, 1), stay);
                    sequence.append(*cache, 0, length, length + 20); // goes on behind them
                    ASSERT_EQ(positions_of(*cache, 0, 1).back(),
                              static_cast<std::int32_t>(length + 19));
                    length += 20;
                }
            }
        }
    }
}

TEST_F(CacheEvict, RowsToKeep_RemoveTheOthersAndLeaveTheWindow) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto removed = filled(kind, 90);
        const auto kept = filled(kind, 90);
        std::vector<std::int32_t> gone, stay = {1}; // a sink may be named or not
        for (std::int32_t p = 2; p < 85; ++p) { (p % 3 == 0 ? gone : stay).push_back(p); }
        removed->evict(0, 1, gone, false);
        kept->evict(0, 1, stay, true);
        EXPECT_EQ(snapshot(*kept), snapshot(*removed));
        EXPECT_EQ(kept->head(0, 1).rows(), 90U - gone.size());
        kept->evict(0, 1, {}, true);
        EXPECT_EQ(positions_of(*kept, 0, 1), (std::vector<std::int32_t>{0, 1, 85, 86, 87, 88, 89}));
        EXPECT_EQ(kept->head(0, 1).page_count, 0U);
    }
}

TEST_F(CacheEvict, Nothing_ChangesNothingAndStoresNoPositions) {
    const auto cache = filled(kinds[1], 90);
    const std::string before = snapshot(*cache);
    cache->evict(0, 0, {}, false);
    cache->evict_scores(0, 0, std::vector<float>(90, 0.0F), 90);
    EXPECT_EQ(snapshot(*cache), before);
    EXPECT_TRUE(cache->head(0, 0).positions.empty());
}

TEST_F(CacheEvict, TheLowestScores_GoUntilTheBudgetHoldsAndOfEqualOnesTheNewer) {
    Random random(4);
    for (const Kind& kind : kinds) {
        for (const std::uint32_t budget : {7U, 8U, 50U, 89U}) {
            SCOPED_TRACE(std::string(kind.name) + " to " + std::to_string(budget));
            const auto cache = filled(kind, 90);
            std::vector<float> scores;
            for (int r = 0; r < 90; ++r) { scores.push_back(static_cast<float>(random.below(9))); }
            cache->evict_scores(0, 0, scores, budget);
            std::vector<std::int32_t> stay;
            for (std::size_t r = 0; r < 90; ++r) {
                std::uint32_t ahead = 0; // rows outside the window that stay rather
                for (std::size_t j = 2; j < 85; ++j) {
                    ahead += scores[j] > scores[r] || (scores[j] == scores[r] && j < r) ? 1 : 0;
                }
                if (r < 2 || r >= 85 || ahead < budget - 7) {
                    stay.push_back(static_cast<std::int32_t>(r));
                }
            }
            EXPECT_EQ(positions_of(*cache, 0, 0), stay);
        }
    }
}

TEST_F(CacheEvict, MarksOfDenseRows_MoveWithThem) {
    const auto cache = create(kinds[1], {400, 0, false});
    sequence.append(*cache, 0, 60);
    for (const Side side : {Side::k, Side::v}) {
        PruneRequest request;
        request.layer = request.kv_head = MUSTAFAR_ALL;
        request.side = side;
        request.begin = side == Side::k ? 10 : 20;
        request.end = 40;
        cache->prune(request);
    }
    std::vector<Row> stay;
    std::vector<std::int32_t> gone;
    for (const Row& row : rows_with_bits(*cache, 1)) {
        const bool goes = row.position >= 5 && row.position < 55 && row.position % 2 == 0;
        if (goes) { gone.push_back(row.position); }
        if (!goes) { stay.push_back(row); }
    }
    cache->evict(0, 1, gone, false);
    EXPECT_EQ(rows_with_bits(*cache, 1), stay);
    expect_accounted(*cache);
}

TEST_F(CacheEvict, WhatCannotGo_IsRefusedAndNothingChanges) {
    const auto cache = filled(kinds[1], 90);
    cache->evict(0, 0, std::vector<std::int32_t>{30}, false);
    const std::string before = snapshot(*cache);
    const auto refused = [&](std::vector<std::int32_t> positions) {
        const auto status = status_of([&] { cache->evict(0, 0, positions, false); });
        EXPECT_EQ(snapshot(*cache), before);
        return status == MUSTAFAR_INVALID_ARGUMENT;
    };
    EXPECT_TRUE(refused({10, 1})) << "not ascending";
    EXPECT_TRUE(refused({10, 10}));
    EXPECT_TRUE(refused({10, 30})) << "gone already";
    EXPECT_TRUE(refused({10, 90})) << "not there yet";
    EXPECT_TRUE(refused({-1, 10}));
    EXPECT_TRUE(refused({1, 10})) << "a sink";
    EXPECT_TRUE(refused({10, 85})) << "in the window";
    const auto scores = [&](std::size_t count, float one, std::uint32_t budget) {
        std::vector<float> all(count, 0.0F);
        all[0] = one;
        const auto status = status_of([&] { cache->evict_scores(0, 0, all, budget); });
        EXPECT_EQ(snapshot(*cache), before);
        return status;
    };
    EXPECT_EQ(scores(88, 0.0F, 50), MUSTAFAR_INVALID_ARGUMENT) << "89 rows";
    EXPECT_EQ(scores(89, 0.0F, 0), MUSTAFAR_INVALID_ARGUMENT) << "the recipe names no budget";
    EXPECT_EQ(scores(89, 0.0F, 6), MUSTAFAR_INVALID_ARGUMENT) << "the window takes 7";
    EXPECT_EQ(scores(89, NAN, 50), MUSTAFAR_NON_FINITE);
    sequence.append(*cache, 0, 90, 91, true);
    const std::string tentative = snapshot(*cache);
    const std::vector<std::int32_t> one = {10};
    EXPECT_EQ(status_of([&] { cache->evict(0, 0, one, false); }), MUSTAFAR_BAD_STATE);
    EXPECT_EQ(status_of([&] { cache->evict_scores(0, 0, std::vector<float>(90), 50); }),
              MUSTAFAR_BAD_STATE);
    EXPECT_EQ(snapshot(*cache), tentative);
}

} // namespace
} // namespace mustafar::test
