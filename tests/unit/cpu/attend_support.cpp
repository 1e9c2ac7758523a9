// SPDX-License-Identifier: Apache-2.0
#include "cpu/attend_support.hpp"

#include <numeric>

namespace mustafar::test {
namespace {

constexpr std::uint8_t gap = 0x5A;

std::size_t element_bytes(mustafar_dtype dtype) { return dtype == MUSTAFAR_F32 ? 4 : 2; }

std::vector<float> token_values(const AttendCase& one, bool key, std::size_t rows, std::uint32_t d,
                                Random& random) {
    std::vector<float> values(rows * d);
    const bool wide = one.values == Values::outliers && key;
    for (std::size_t i = 0; i < values.size(); ++i) {
        float& x = values[i];
        x = random.uniform(-2.0F, 2.0F);
        if (one.values == Values::constant) { x = 1.25F; }
        if (one.values == Values::huge) { x *= 3e4F; }
        if (one.values == Values::tiny) { x *= 5e-7F; } // most of them subnormal in f16
        if (one.values == Values::zero) { x = random.chance(50) ? 0.0F : -0.0F; }
        if (wide) { x += i % d % 16 == 5 ? 25.0F : 0.0F; }
    }
    return values;
}

void append(Cache& cache, const AttendCase& one, std::uint32_t tokens, bool tentative,
            Random& random) {
    if (tokens == 0) { return; }
    const Geometry& g = cache.geometry();
    Tensor k(one.input, {tokens, g.kv_heads, g.head_dim_k}, random.next());
    Tensor v(one.input, {tokens, g.kv_heads, g.head_dim_v}, random.next());
    const std::size_t rows = std::size_t{tokens} * g.kv_heads;
    k.fill(token_values(one, true, rows, g.head_dim_k, random));
    v.fill(token_values(one, false, rows, g.head_dim_v, random));
    cache.append(0, k.view(), v.view(), tentative);
}

// Marks rows outside the window: all of those that compress would ask a mask of, else some.
void mark(Cache& cache, const AttendCase& one, bool only_masks, Random& random) {
    const Geometry& g = cache.geometry();
    for (std::uint32_t h = 0; h < g.kv_heads; ++h) {
        const HeadState& head = cache.head(0, h);
        const std::uint32_t first = cache.sink_rows(head) + head.body_rows;
        const std::uint32_t end = head.rows() - std::min(head.rows(), one.window.recent);
        if (end <= first) { continue; }
        for (const Side side : {Side::k, Side::v}) {
            const bool given = one.masks[static_cast<int>(side)];
            if (only_masks && !given) { continue; }
            PruneRequest request;
            request.kv_head = h;
            request.side = side;
            request.begin = static_cast<std::uint32_t>(cache.position(head, first));
            request.end = static_cast<std::uint32_t>(cache.position(head, end - 1)) + 1;
            if (!only_masks) { // any rule, on some of them
                request.as_recipe = false;
                request.rule = {Method::token_topk, false, 13, 0, 0.0F};
                const std::uint32_t middle = first + random.below(end - first);
                request.begin = static_cast<std::uint32_t>(cache.position(head, middle));
            }
            std::vector<std::uint8_t> bits(std::size_t{request.end - request.begin} *
                                           (g.head_dim(side) / 8));
            mustafar_tensor mask{};
            mask.data = bits.data();
            mask.dtype = MUSTAFAR_U8;
            mask.ndim = 3;
            mask.shape[0] = 1;
            mask.shape[1] = request.end - request.begin;
            mask.shape[2] = g.head_dim(side) / 8;
            mask.strides[1] = mask.shape[2];
            mask.strides[0] = mask.shape[1] * mask.strides[1];
            mask.strides[2] = 1;
            for (auto& byte : bits) { byte = static_cast<std::uint8_t>(random.next()); }
            if (only_masks) { request.mask = &mask; }
            cache.prune(request);
        }
    }
}

void evict_some(Cache& cache, const AttendCase& one, Random& random) {
    const HeadState& head = cache.head(0, 0);
    std::vector<std::int32_t> gone;
    const std::uint32_t share = random.chance(20) ? 90 : 25;
    for (std::uint32_t r = one.window.sink; r + one.window.recent < head.rows(); ++r) {
        if (random.chance(share)) { gone.push_back(cache.position(head, r)); }
    }
    if (!gone.empty()) { cache.evict(0, 0, gone, false); }
}

void fill_cache(Cache& cache, const AttendCase& one, std::uint32_t tokens, Random& random) {
    const std::uint32_t first = tokens > 3 ? 1 + random.below(tokens - 1) : tokens;
    std::uint32_t behind = tokens - first;
    const auto pack = [&] {
        if (one.automatic) { return; }
        mark(cache, one, true, random);
        cache.compress(0);
    };
    append(cache, one, first, false, random);
    pack(); // an odd number of rows
    if (one.evicted) { evict_some(cache, one, random); }
    const std::uint32_t middle = behind == 0 ? 0 : random.below(behind + 1);
    append(cache, one, middle, false, random);
    pack();
    if (one.evicted && random.chance(30)) { evict_some(cache, one, random); }
    behind -= middle;
    append(cache, one, behind, false, random);
    if (one.marked) { mark(cache, one, false, random); }
    append(cache, one, one.tentative, true, random);
}

AttendRequest request_of(const AttendCase& one, const std::vector<const Cache*>& caches,
                         const Tensor& q, const mustafar_tensor* sinks) {
    AttendRequest request;
    request.caches = caches;
    request.at = one.position.has_value();
    request.q_position = one.position.value_or(0);
    request.args.q_len = one.q_len;
    request.args.scale = scale_of(one);
    request.args.softcap = one.softcap;
    request.args.sliding_window = one.sliding_window;
    request.args.drop_mass = one.drop_mass;
    request.args.q = &q.view();
    request.args.sinks = one.sinks ? sinks : nullptr;
    return request;
}

std::vector<const Cache*> pointers(const std::vector<Cache::Handle>& caches) {
    std::vector<const Cache*> list;
    for (const auto& cache : caches) { list.push_back(cache.get()); }
    return list;
}

Tensor sinks_of(const AttendCase& one) {
    Tensor sinks(MUSTAFAR_F32, {one.geometry.q_heads});
    sinks.fill(Random(one.seed + 3).values(one.geometry.q_heads, -3.0F, 3.0F));
    return sinks;
}

} // namespace

Tensor::Tensor(mustafar_dtype dtype, std::vector<std::int64_t> shape, std::uint64_t layout) {
    Random random(layout);
    view_.dtype = dtype;
    view_.ndim = static_cast<std::uint32_t>(shape.size());
    std::vector<std::size_t> order(shape.size()); // innermost first
    std::iota(order.rbegin(), order.rend(), std::size_t{0});
    if (layout != 0 && random.chance(50)) {
        std::swap(order[0], order[random.below(static_cast<std::uint32_t>(order.size()))]);
    }
    room_ = 1;
    for (const std::size_t i : order) {
        view_.shape[i] = shape[i];
        view_.strides[i] = room_;
        room_ = room_ * shape[i] + (layout != 0 && random.chance(40) ? random.below(4) : 0);
    }
    bytes_.assign(static_cast<std::size_t>(room_) * element_bytes(dtype), gap);
    view_.data = bytes_.data();
    std::size_t count = 1;
    for (const std::int64_t size : shape) { count *= static_cast<std::size_t>(size); }
    offsets_.reserve(count);
    std::vector<std::int64_t> index(shape.size(), 0);
    for (std::size_t i = 0; i < count; ++i) {
        std::int64_t at = 0;
        for (std::size_t n = 0; n < index.size(); ++n) { at += index[n] * view_.strides[n]; }
        offsets_.push_back(at);
        for (std::size_t n = index.size(); n-- > 0 && ++index[n] == shape[n];) { index[n] = 0; }
    }
}

void Tensor::fill(const std::vector<float>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) { set(i, values[i]); }
}

std::vector<float> Tensor::all() const {
    std::vector<float> values(count());
    for (std::size_t i = 0; i < values.size(); ++i) { values[i] = get(i); }
    return values;
}

bool Tensor::gaps_untouched() const {
    const std::size_t bytes = element_bytes(view_.dtype);
    std::vector<bool> ours(static_cast<std::size_t>(room_), false);
    for (const std::int64_t at : offsets_) { ours[static_cast<std::size_t>(at)] = true; }
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
        if (!ours[i / bytes] && bytes_[i] != gap) { return false; }
    }
    return true;
}

std::shared_ptr<Context> backend_context(const std::string& backend, std::uint32_t threads) {
    ContextSettings settings;
    settings.threads = threads;
    settings.backend = backend;
    return std::make_shared<Context>(settings);
}

std::vector<Cache::Handle> fill_caches(const AttendCase& one, const std::shared_ptr<Context>& in) {
    const auto recipe = Recipe::parse(one.recipe);
    std::vector<Cache::Handle> caches;
    Random random(one.seed);
    for (std::uint32_t i = 0; i < (one.two_caches ? 2U : 1U); ++i) {
        caches.push_back(Cache::create(in, one.geometry, recipe, {20000, 0, one.automatic}));
        // The second: a few more tokens, so that the queries of both see something.
        fill_cache(*caches.back(), one, one.tokens + i * 45, random);
    }
    return caches;
}

std::vector<Cache::Handle> copy_caches(const std::vector<Cache::Handle>& caches,
                                       const std::shared_ptr<Context>& into) {
    std::vector<Cache::Handle> copies;
    for (const auto& cache : caches) { copies.push_back(load(into, snapshot(*cache))); }
    return copies;
}

double scale_of(const AttendCase& one) { return 1.0 / std::sqrt(double(one.geometry.head_dim_k)); }

std::int64_t weight_width(const std::vector<Cache::Handle>& caches) {
    std::uint32_t rows = 1;
    for (const auto& cache : caches) {
        for (std::uint32_t h = 0; h < cache->geometry().kv_heads; ++h) {
            rows = std::max(rows, cache->head(0, h).rows());
        }
    }
    return rows + 2; // more room than rows
}

Attended attend_case(const AttendCase& one, const std::vector<Cache::Handle>& caches,
                     const Tensor& q) {
    const auto n = static_cast<std::int64_t>(caches.size());
    const std::int64_t heads = one.geometry.q_heads;
    Tensor out(MUSTAFAR_F32, {n, one.q_len, heads, one.geometry.head_dim_v});
    Tensor lse(MUSTAFAR_F32, {n, one.q_len, heads});
    Tensor dropped(MUSTAFAR_F32, {n, one.q_len, heads});
    Tensor weights(MUSTAFAR_F32, {n, one.q_len, heads, weight_width(caches)});
    const Tensor sinks = sinks_of(one);
    const auto list = pointers(caches);
    AttendRequest request = request_of(one, list, q, &sinks.view());
    request.args.out = &out.view();
    request.args.lse = &lse.view();
    request.args.weights = &weights.view();
    request.args.dropped = &dropped.view();
    attend(request);
    return {out.all(), lse.all(), weights.all(), dropped.all()};
}

void attend_case_into(const AttendCase& one, const std::vector<Cache::Handle>& caches,
                      const Tensor& q, const Tensor& out) {
    const Tensor sinks = sinks_of(one);
    const auto list = pointers(caches);
    AttendRequest request = request_of(one, list, q, &sinks.view());
    request.args.out = &out.view();
    attend(request);
}

} // namespace mustafar::test
