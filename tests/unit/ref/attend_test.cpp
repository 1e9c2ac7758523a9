// SPDX-License-Identifier: Apache-2.0
// Attention over caches against softmax over the rows they export, thirty lines in double.
#include <limits>
#include <optional>

#include "core/kernels.hpp"
#include "core/unit_support.hpp"

namespace mustafar::test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

struct Options {
    double scale = 0.125, softcap = 0.0, drop_mass = 0.0;
    std::uint32_t sliding_window = 0;
    std::optional<std::int64_t> position; // of query 0; else the queries are the last tokens
    std::vector<float> sinks;             // [q_heads]
};
struct Result {
    Array out, lse, weights, dropped;
};
constexpr std::int64_t width = 320; // of the weights: more than any cache has rows

Result run(const std::vector<const Cache*>& caches, const Array& q, const Options& options) {
    const std::int64_t n = q.shape[0], len = q.shape[1], heads = q.shape[2];
    const auto dv = static_cast<std::int64_t>(caches[0]->geometry().head_dim_v);
    Result result{Array({n, len, heads, dv}, NAN), Array({n, len, heads}, NAN),
                  Array({n, len, heads, width}, NAN), Array({n, len, heads}, NAN)};
    mustafar_tensor sinks{};
    sinks.data = const_cast<float*>(options.sinks.data());
    sinks.dtype = MUSTAFAR_F32;
    sinks.ndim = 1;
    sinks.shape[0] = heads;
    sinks.strides[0] = 1;
    const mustafar_tensor views[] = {q.view(), result.out.view(), result.lse.view(),
                                     result.weights.view(), result.dropped.view()};
    AttendRequest request;
    request.caches = caches;
    request.at = options.position.has_value();
    request.q_position = options.position.value_or(0);
    request.args.q_len = static_cast<std::uint32_t>(len);
    request.args.scale = options.scale;
    request.args.softcap = options.softcap;
    request.args.sliding_window = options.sliding_window;
    request.args.drop_mass = options.drop_mass;
    request.args.q = &views[0];
    request.args.out = &views[1];
    request.args.lse = &views[2];
    request.args.weights = &views[3];
    request.args.dropped = &views[4];
    request.args.sinks = options.sinks.empty() ? nullptr : &sinks;
    attend(request);
    return result;
}

// What one query head must get from one cache, nothing left out.
struct Softmax {
    std::vector<double> weights, out;
    double lse = -infinity;
    std::uint32_t seen = 0;

    Softmax(const Cache& cache, const Array& k, const Array& v, const float* q,
            std::int64_t q_position, const Options& options, std::size_t q_head) {
        const std::size_t dk = k.shape[1], dv = v.shape[1],
                          kv_head = q_head / cache.geometry().group();
        const auto positions = positions_of(cache, 0, static_cast<std::uint32_t>(kv_head));
        const double sink = options.sinks.empty() ? -infinity : double{options.sinks[q_head]};
        double most = sink;
        for (std::size_t r = 0; r < positions.size(); ++r) {
            const std::int64_t behind = q_position - positions[r];
            const bool sees =
                behind >= 0 && (options.sliding_window == 0 || behind < options.sliding_window);
            double s = 0.0;
            for (std::size_t c = 0; c < dk; ++c) { s += double{q[c]} * k.values[r * dk + c]; }
            s *= options.scale;
            if (options.softcap != 0) { s = options.softcap * std::tanh(s / options.softcap); }
            weights.push_back(sees ? s : -infinity);
            most = std::max(most, weights.back());
            seen += sees ? 1 : 0;
        }
        double sum = std::isinf(most) ? 0.0 : std::exp(sink - most);
        for (const double s : weights) { sum += std::isinf(most) ? 0.0 : std::exp(s - most); }
        lse = most + (sum > 0 ? std::log(sum) : 0.0);
        out.assign(dv, 0.0);
        for (std::size_t r = 0; r < weights.size(); ++r) {
            weights[r] = sum > 0 ? std::exp(weights[r] - lse) : 0.0;
            for (std::size_t c = 0; c < dv; ++c) { out[c] += weights[r] * v.values[r * dv + c]; }
        }
    }
};

// Visits every (cache, query, head) with what must come out and where it stands in the results.
template <class Visit>
void for_each_query(const std::vector<const Cache*>& caches, const Array& q, const Options& options,
                    const Visit& visit) {
    const std::size_t len = q.shape[1], heads = q.shape[2], dk = q.shape[3];
    for (std::size_t n = 0; n < caches.size(); ++n) {
        const Cache& cache = *caches[n];
        const auto length = static_cast<std::int64_t>(cache.layer(0).length());
        for (std::size_t h = 0; h < heads; ++h) {
            const auto kv_head = static_cast<std::uint32_t>(h / cache.geometry().group());
            const Array k = rows_of(cache, 0, kv_head, Side::k);
            const Array v = rows_of(cache, 0, kv_head, Side::v);
            for (std::size_t i = 0; i < len; ++i) {
                const std::size_t at = (n * len + i) * heads + h;
                const std::int64_t first =
                    options.position.value_or(length - static_cast<std::int64_t>(len));
                visit(Softmax(cache, k, v, &q.values[at * dk], first + static_cast<std::int64_t>(i),
                              options, h),
                      at, n, h, v);
            }
        }
    }
}

void expect_softmax(const std::vector<const Cache*>& caches, const Array& q,
                    const Options& options) {
    const Result got = run(caches, q, options);
    for_each_query(caches, q, options, [&](const Softmax& want, std::size_t at, auto...) {
        if (std::isinf(want.lse)) {
            ASSERT_EQ(got.lse.values[at], -infinity) << "query " << at;
        } else {
            ASSERT_NEAR(got.lse.values[at], want.lse, 1e-5) << "query " << at;
        }
        ASSERT_EQ(got.dropped.values[at], 0.0F);
        for (std::size_t c = 0; c < want.out.size(); ++c) {
            ASSERT_NEAR(got.out.values[at * want.out.size() + c], want.out[c], 1e-5)
                << "query " << at << " channel " << c;
        }
        for (std::size_t r = 0; r < width; ++r) {
            const double weight = r < want.weights.size() ? want.weights[r] : 0.0;
            ASSERT_NEAR(got.weights.values[at * width + r], weight, 1e-5)
                << "query " << at << " row " << r;
            if (weight == 0.0) { ASSERT_EQ(got.weights.values[at * width + r], 0.0F); }
        }
    });
}

class Attend : public testing::Test {
  protected:
    Attend() {
        ContextSettings settings;
        settings.backend = "ref";
        settings.threads = 1;
        settings.allocator = heap.hook();
        context = std::make_shared<Context>(settings);
    }
    Cache::Handle filled(const Kind& kind, std::uint32_t tokens, const Geometry& of) {
        auto cache = Cache::create(context, of, kind.recipe(), {1000, 0, true});
        Sequence(of, tokens, tokens).append(*cache, 0, tokens);
        return cache;
    }
    static Array queries(const Geometry& g, std::int64_t caches, std::int64_t len,
                         float size = 2.0F) {
        Array q({caches, len, g.q_heads, g.head_dim_k});
        q.values = Random(static_cast<std::uint64_t>(len)).values(q.values.size(), -size, size);
        return q;
    }
    Heap heap;
    std::shared_ptr<Context> context;
    const Geometry geometry = small_geometry();
};

TEST_F(Attend, PackedRowsOfEveryKind_AreSeenAsTheyAreExported) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto cache = filled(kind, 75, geometry);
        ASSERT_GT(cache->head(0, 1).body_rows, 0U);
        expect_softmax({cache.get()}, queries(geometry, 1, 3), {});
        Geometry bf16 = geometry;
        bf16.store = Dtype::bf16;
        expect_softmax({filled(kind, 75, bf16).get()}, queries(geometry, 1, 1), {});
    }
}

TEST_F(Attend, MarkedDenseRows_AreSeenPruned) {
    auto cache = Cache::create(context, geometry, kinds[1].recipe(), {100, 0, false});
    Sequence(geometry, 40).append(*cache, 0, 40);
    const Array before = rows_of(*cache, 0, 1, Side::k);
    for (const Side side : {Side::k, Side::v}) {
        PruneRequest request;
        request.kv_head = 1;
        request.side = side;
        request.begin = 2;
        request.end = 30;
        cache->prune(request);
    }
    ASSERT_NE(rows_of(*cache, 0, 1, Side::k).values, before.values);
    expect_softmax({cache.get()}, queries(geometry, 1, 2), {});
}

TEST_F(Attend, GroupsAndQueriesOfAnyNumber_AreEachAttendedAtTheirOwnPosition) {
    for (const auto& [group, len] :
         {std::pair{1U, 75}, {3U, 40}, {5U, 30}, {8U, 8}, {64U, 2}, {4U, 1}}) {
        const Geometry g{1, 2 * group, 2, 40, 56, Dtype::f16};
        SCOPED_TRACE(group);
        expect_softmax({filled(kinds[0], 75, g).get()}, queries(g, 1, len), {});
    }
}

TEST_F(Attend, SeveralCaches_AreEachAttendedAtTheirOwnLength) {
    const auto a = filled(kinds[0], 9, geometry);
    const auto b = filled(kinds[5], 300, geometry);
    const auto c = filled(kinds[1], 33, geometry);
    expect_softmax({a.get(), b.get(), c.get()}, queries(geometry, 3, 2), {});
}

TEST_F(Attend, EveryOption_AloneAndTogether) {
    const auto cache = filled(kinds[1], 75, geometry);
    const Array q = queries(geometry, 1, 5);
    const std::vector<float> sinks = {1.0F, -30.0F, 4.5F, 0.0F};
    for (int i = 1; i < 32; ++i) {
        Options options;
        if ((i & 1) != 0) { options.scale = 0.05; }
        if ((i & 2) != 0) { options.softcap = 1.5; }
        if ((i & 4) != 0) { options.sliding_window = 11; }
        if ((i & 8) != 0) { options.sinks = sinks; }
        if ((i & 16) != 0) { options.position = 40; }
        SCOPED_TRACE(i);
        expect_softmax({cache.get()}, q, options);
    }
}

TEST_F(Attend, ASlidingWindow_CountsTheQuerysOwnPosition) {
    const auto cache = filled(kinds[0], 20, geometry);
    Options options;
    for (const std::uint32_t window : {1U, 2U, 19U, 20U, 4000000000U}) {
        options.sliding_window = window;
        const Result got = run({cache.get()}, queries(geometry, 1, 1), options);
        for (std::uint32_t r = 0; r < 20; ++r) {
            EXPECT_EQ(got.weights.values[r] > 0.0F, r + window >= 20) << window << " row " << r;
        }
        expect_softmax({cache.get()}, queries(geometry, 1, 3), options);
    }
}

TEST_F(Attend, EvictedHeads_AreAttendedByPositionNotByRow) {
    const auto cache = filled(kinds[1], 90, geometry);
    const std::vector<std::int32_t> gone = {2, 3, 4, 20, 41, 42, 77};
    cache->evict(0, 1, gone, false);
    Options options;
    options.sliding_window = 60;
    expect_softmax({cache.get()}, queries(geometry, 1, 7), options);
    options.position = 30; // between rows
    expect_softmax({cache.get()}, queries(geometry, 1, 7), options);
}

TEST_F(Attend, NoRowsInSight_GiveZerosAndMinusInfinityOrTheSinkAlone) {
    const auto empty = filled(kinds[0], 0, geometry);
    const auto full = filled(kinds[0], 20, geometry);
    Options options;
    options.position = 1000;
    options.sliding_window = 3; // behind the last row
    for (const Cache* cache : {empty.get(), full.get()}) {
        const Result got = run({cache}, queries(geometry, 1, 2), options);
        EXPECT_EQ(got.out.values, std::vector<float>(got.out.values.size(), 0.0F));
        EXPECT_EQ(got.lse.values, std::vector<float>(got.lse.values.size(), -infinity));
        EXPECT_EQ(got.weights.values, std::vector<float>(got.weights.values.size(), 0.0F));
    }
    options.sinks = {1.0F, 2.0F, 3.0F, 4.0F};
    const Result got = run({empty.get()}, queries(geometry, 1, 1), options);
    EXPECT_EQ(got.lse.values, options.sinks);
    EXPECT_EQ(got.out.values, std::vector<float>(got.out.values.size(), 0.0F));
}

TEST_F(Attend, ScoresTooLargeForExp_DoNotOverflow) {
    const auto cache = filled(kinds[0], 50, geometry);
    Options options;
    options.scale = 100.0;
    const Result got = run({cache.get()}, queries(geometry, 1, 2), options);
    for (std::size_t i = 0; i < got.lse.values.size(); ++i) {
        ASSERT_TRUE(std::isfinite(got.lse.values[i]));
        float sum = 0.0F;
        for (std::size_t r = 0; r < width; ++r) { sum += got.weights.values[i * width + r]; }
        ASSERT_NEAR(sum, 1.0F, 1e-5F);
    }
}

TEST_F(Attend, DropMass_LeavesOutRowsNoHeadOfTheGroupNeedsAndCertifiesIt) {
    const auto cache = filled(kinds[1], 300, geometry);
    const Array q = queries(geometry, 1, 4);
    Options options;
    options.scale = 0.5; // weights of very different size
    options.sinks = {1.0F, 2.0F, 30.0F, 4.0F};
    const Result exact = run({cache.get()}, q, options);
    double most_dropped = 0.0;
    for (const double eps : {1e-6, 1e-3, 0.1, 1.0}) {
        options.drop_mass = eps;
        const Result got = run({cache.get()}, q, options);
        EXPECT_EQ(got.lse.values, exact.lse.values);
        EXPECT_EQ(got.weights.values, exact.weights.values);
        std::vector<Softmax> all;
        for_each_query({cache.get()}, q, options,
                       [&](const Softmax& want, auto...) { all.push_back(want); });
        for_each_query(
            {cache.get()}, q, options,
            [&](const Softmax& want, std::size_t at, std::size_t, std::size_t h, const Array& v) {
                const double dropped = got.dropped.values[at];
                double left_out = 0.0; // weights no head of the group needs
                for (std::size_t r = 0; r < want.weights.size(); ++r) {
                    bool needed = false;
                    for (const std::size_t head : {h / 2 * 2, h / 2 * 2 + 1}) {
                        const Softmax& one = all[head * 4 + at / 4]; // heads outermost
                        needed |= one.weights[r] * one.seen >= eps;
                    }
                    left_out += needed ? 0.0 : want.weights[r];
                }
                ASSERT_GE(dropped, left_out * (1 - 1e-4)) << "an upper bound";
                ASSERT_NEAR(dropped, left_out, 1e-4 * left_out + 1e-30);
                ASSERT_LE(dropped, eps);
                most_dropped = std::max(most_dropped, dropped);
                float largest = 0.0F;
                for (const float x : v.values) { largest = std::max(largest, std::fabs(x)); }
                for (std::size_t c = 0; c < want.out.size(); ++c) {
                    ASSERT_LE(std::fabs(got.out.values[at * want.out.size() + c] - want.out[c]),
                              dropped * largest + 1e-5);
                }
            });
        if (eps == 0.1) {
            EXPECT_GT(most_dropped, 1e-3) << "some rows do not matter";
            EXPECT_NE(got.out.values, exact.out.values);
        }
    }
}

TEST_F(Attend, QueriesAndResultsInHalvesAndAnyStrides_AreReadAndWrittenWhereTheyLie) {
    const auto cache = filled(kinds[1], 75, geometry);
    Array q = queries(geometry, 1, 3);
    for (float& x : q.values) { x = bf16_to_f32(f32_to_bf16(x)); }
    const Result want = run({cache.get()}, q, {});
    const std::size_t rows = 3 * 4;
    std::vector<std::uint16_t> halves(rows * 64), out(rows * 32); // channels outermost
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t c = 0; c < 64; ++c) {
            halves[c * rows + i] = f32_to_bf16(q.values[i * 64 + c]);
        }
    }
    mustafar_tensor q_view = q.view(), out_view = want.out.view();
    q_view.data = halves.data();
    q_view.dtype = MUSTAFAR_BF16;
    out_view.data = out.data();
    out_view.dtype = MUSTAFAR_F16;
    for (mustafar_tensor* view : {&q_view, &out_view}) {
        view->strides[1] = 4;
        view->strides[2] = 1;
        view->strides[3] = static_cast<std::int64_t>(rows);
    }
    const Cache* caches[] = {cache.get()};
    AttendRequest request;
    request.caches = caches;
    request.args.q_len = 3;
    request.args.scale = Options{}.scale;
    request.args.q = &q_view;
    request.args.out = &out_view; // and no lse, weights, dropped
    attend(request);
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t c = 0; c < 32; ++c) {
            ASSERT_EQ(out[c * rows + i], f32_to_f16(want.out.values[i * 32 + c])) << i << ", " << c;
        }
    }
}

} // namespace
} // namespace mustafar::test
