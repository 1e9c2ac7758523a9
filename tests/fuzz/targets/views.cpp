// SPDX-License-Identifier: Apache-2.0
// Random geometries, and tensor views of random shapes, strides, types and alignment, through every call that takes one.
// A view the library may accept lies inside an arena of exactly its size, so that one element too far is seen by the
// address sanitizer; views whose elements lie outside the address space must be refused.
#include <algorithm>
#include <cstring>

#include "support.hpp"

using namespace mustafar::fuzz;
using namespace mustafar::golden;

namespace {

class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
    std::uint64_t take(std::size_t bytes) {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < bytes && at_ < size_; ++i) {
            value |= std::uint64_t{data_[at_++]} << (8 * i);
        }
        return value;
    }
    bool left() const { return at_ < size_; }

  private:
    const std::uint8_t* data_;
    std::size_t size_;
    std::size_t at_ = 0;
};

__extension__ using Wide = __int128; // of any shape times any stride

constexpr Wide arena_max = 1 << 20;

std::uint32_t element_bytes(mustafar_dtype dtype) {
    return dtype == MUSTAFAR_U8 ? 1 : dtype == MUSTAFAR_F16 || dtype == MUSTAFAR_BF16 ? 2 : 4;
}

std::int64_t number(Input& in, std::int64_t usual) {
    switch (in.take(1) % 16) {
    case 0:
        return 0;
    case 1:
        return -static_cast<std::int64_t>(in.take(1));
    case 2:
        return static_cast<std::int64_t>(in.take(8));
    case 3:
        return INT64_MAX - static_cast<std::int64_t>(in.take(1));
    case 4:
        return INT64_MIN + static_cast<std::int64_t>(in.take(1));
    case 5:
        return std::int64_t{1} << in.take(1) % 63;
    case 6:
        return static_cast<std::int64_t>(in.take(1));
    case 7:
        return -usual;
    default:
        return usual;
    }
}

struct View {
    mustafar_tensor tensor{};
    std::unique_ptr<unsigned char[]> memory;
    bool usable =
        true; // may be handed over: either inside the memory, or outside the address space
};

View make_view(Input& in, const std::vector<std::int64_t>& shape, mustafar_dtype dtype,
               bool output) {
    View view;
    mustafar_tensor& t = view.tensor;
    t = tensor(nullptr, dtype, shape);
    const std::uint64_t odd = in.take(1);
    for (std::uint32_t i = 0; i < t.ndim; ++i) {
        if ((odd & 1) != 0) { t.shape[i] = number(in, t.shape[i]); }
        if ((odd & 2) != 0) { t.strides[i] = number(in, t.strides[i]); }
    }
    if ((odd & 4) != 0) { t.dtype = static_cast<mustafar_dtype>(in.take(1)) % 8; }
    if ((odd & 8) != 0) { t.ndim = static_cast<std::uint32_t>(in.take(1) % 8); }
    if ((odd & 16) != 0) { t.device = static_cast<std::int32_t>(in.take(1)); }
    if ((odd & 32) != 0) { t.reserved = static_cast<std::uint32_t>(in.take(1)); }
    Wide low = 0;
    Wide high = 0;
    for (std::uint32_t i = 0; i < std::min(t.ndim, 4U); ++i) {
        if (t.shape[i] <= 0) { continue; }                // must be refused, whatever the rest
        constexpr Wide far = static_cast<Wide>(1) << 100; // so that four of them can be added
        const Wide reach =
            std::clamp((static_cast<Wide>(t.shape[i]) - 1) * t.strides[i], -far, far);
        (reach < 0 ? low : high) += reach;
    }
    const Wide size = element_bytes(t.dtype);
    const Wide bytes = (high - low + 1) * size;
    if (bytes > arena_max) {
        view.usable = bytes > (static_cast<Wide>(1) << 62);
        view.memory = std::make_unique<unsigned char[]>(64);
        t.data = view.memory.get();
        return view;
    }
    const std::size_t shift = (odd & 64) != 0 ? 1 : 0; // misaligned for all but bytes
    view.memory = std::make_unique<unsigned char[]>(static_cast<std::size_t>(bytes) + shift);
    if (!output) {
        for (std::size_t i = 0; i < static_cast<std::size_t>(bytes) + shift; ++i) {
            view.memory[i] = static_cast<unsigned char>(i % 61 == 0 ? 0x3C : i * 7 % 53);
        }
    }
    t.data = view.memory.get() + shift + static_cast<std::size_t>(-low * size);
    if ((odd & 128) != 0 && in.take(1) == 255) { t.data = nullptr; }
    return view;
}

void note(mustafar_status status, const mustafar_error& error, const char* what) {
    if (status == MUSTAFAR_INTERNAL) { fail(std::string(what) + ": " + error.message); }
}

void calls_of(Input& in, mustafar_context* context, mustafar_cache* cache,
              const mustafar_geometry& g) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    const auto tokens = static_cast<std::int64_t>(1 + in.take(1) % 40);
    const auto dtype = static_cast<mustafar_dtype>(MUSTAFAR_F32 + in.take(1) % 3);
    const auto layer = static_cast<std::uint32_t>(in.take(1) % 3);
    const std::int64_t kv = g.kv_heads;
    const std::int64_t qh = g.q_heads;
    const std::int64_t dk = g.head_dim_k;
    const std::int64_t dv = g.head_dim_v;
    std::uint32_t rows = 0;
    switch (in.take(1) % 6) {
    case 0: {
        const View k = make_view(in, {tokens, kv, dk}, dtype, false);
        const View v = make_view(in, {tokens, kv, dv}, dtype, false);
        if (!k.usable || !v.usable) { return; }
        note(mustafar_cache_append(cache, layer, &k.tensor, &v.tensor, in.take(1) % 4, &error),
             error, "append");
        return;
    }
    case 1: {
        const View q = make_view(in, {1, 2, qh, dk}, dtype, false);
        const View sinks = make_view(in, {qh}, MUSTAFAR_F32, false);
        const View out = make_view(in, {1, 2, qh, dv}, dtype, true);
        const View lse = make_view(in, {1, 2, qh}, MUSTAFAR_F32, true);
        const View weights = make_view(in, {1, 2, qh, 200}, MUSTAFAR_F32, true);
        const View dropped = make_view(in, {1, 2, qh}, MUSTAFAR_F32, true);
        if (!q.usable || !sinks.usable || !out.usable || !lse.usable || !weights.usable ||
            !dropped.usable) {
            return;
        }
        mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
        options.flags = in.take(1) % 4;
        options.q_position = number(in, 5);
        options.sliding_window = static_cast<std::uint32_t>(in.take(1));
        const std::uint64_t parts = in.take(1);
        const mustafar_cache* both[] = {cache, cache};
        const std::uint64_t count = in.take(1) % 8 == 0 ? in.take(1) % 3 : 1;
        note(mustafar_attend(both, count, layer, &q.tensor,
                             (parts & 1) != 0 ? &sinks.tensor : nullptr, &options, &out.tensor,
                             (parts & 2) != 0 ? &lse.tensor : nullptr,
                             (parts & 4) != 0 ? &weights.tensor : nullptr,
                             (parts & 8) != 0 ? &dropped.tensor : nullptr, &error),
             error, "attend");
        return;
    }
    case 2: {
        const auto side = static_cast<std::uint32_t>(in.take(1) % 3);
        const auto head = static_cast<std::uint32_t>(in.take(1) % 4);
        if (mustafar_cache_rows(cache, layer, head, &rows, nullptr, &error) != MUSTAFAR_OK) {
            rows = 3;
        }
        const auto begin = static_cast<std::uint32_t>(in.take(1) % 4);
        const auto end = static_cast<std::uint32_t>(rows + in.take(1) % 2);
        const std::int64_t d = side == 0 ? dk : dv;
        const View out = make_view(in, {std::int64_t{end} - begin, d}, dtype, true);
        std::vector<std::uint8_t> bits(
            std::max<std::size_t>(1, end * static_cast<std::size_t>(d) / 8));
        if (!out.usable) { return; }
        note(mustafar_cache_export(cache, layer, head, side, begin, end, &out.tensor, bits.data(),
                                   &error),
             error, "export");
        return;
    }
    case 3: {
        const auto begin = static_cast<std::uint32_t>(in.take(1) % 8);
        const std::int64_t count = 1 + static_cast<std::int64_t>(in.take(1) % 8);
        const auto side = static_cast<std::uint32_t>(in.take(1) % 2);
        const std::int64_t d = side == 0 ? dk : dv;
        const View channel = make_view(in, {kv, d}, MUSTAFAR_F32, false);
        const View token = make_view(in, {kv, count}, MUSTAFAR_F32, false);
        const View mask = make_view(in, {kv, count, d / 8}, MUSTAFAR_U8, false);
        if (!channel.usable || !token.usable || !mask.usable) { return; }
        mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
        options.method = static_cast<std::uint32_t>(in.take(1) % 9);
        options.keep = static_cast<std::uint32_t>(in.take(1));
        options.of = static_cast<std::uint32_t>(in.take(1));
        const std::uint64_t parts = in.take(1);
        const bool counts = options.method >= MUSTAFAR_PRUNE_TOKEN_TOPK &&
                            options.method <= MUSTAFAR_PRUNE_CHANNEL_TOPK;
        if ((parts & 8) == 0) { // numbers that the method does not use are refused
            options.keep = counts ? options.keep : 0;
            options.of = options.method == MUSTAFAR_PRUNE_N_M ? options.of : 0;
        }
        note(mustafar_cache_prune(
                 cache, layer, MUSTAFAR_ALL, side, begin, begin + static_cast<std::uint32_t>(count),
                 &options, (parts & 1) != 0 ? &channel.tensor : nullptr,
                 (parts & 2) != 0 ? &token.tensor : nullptr,
                 options.method == MUSTAFAR_PRUNE_MASK || (parts & 4) != 0 ? &mask.tensor : nullptr,
                 &error),
             error, "prune");
        return;
    }
    case 4: {
        const View out_a = make_view(in, {2, qh, dv}, dtype, false);
        const View lse_a = make_view(in, {2, qh}, MUSTAFAR_F32, false);
        const View out_b = make_view(in, {2, qh, dv}, dtype, false);
        const View lse_b = make_view(in, {2, qh}, MUSTAFAR_F32, false);
        const View out = make_view(in, {2, qh, dv}, dtype, true);
        const View lse = make_view(in, {2, qh}, MUSTAFAR_F32, true);
        if (!out_a.usable || !lse_a.usable || !out_b.usable || !lse_b.usable || !out.usable ||
            !lse.usable) {
            return;
        }
        note(mustafar_merge(context, &out_a.tensor, &lse_a.tensor, &out_b.tensor, &lse_b.tensor,
                            &out.tensor, &lse.tensor, &error),
             error, "merge");
        return;
    }
    default:
        note(mustafar_cache_compress(cache, MUSTAFAR_ALL, &error), error, "compress");
        note(mustafar_cache_truncate(cache, static_cast<std::uint32_t>(in.take(1)), in.take(1) % 2,
                                     &error),
             error, "truncate");
        return;
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Gate gate;
    static const char* const recipes[] = {
        "lean",
        "k7i2/v9i4/w2",
        "kdi4c/vdi2/w1",
        "dense",
        "kdi4m/v5/w3/s2",
        R"({"schema":"mustafar.recipe","version":1,"window":{"recent":2,"step":4},
                                          "k":{"method":"threshold","threshold":0.1},"v":{"bits":4}})"};
    Input in(data, size);
    const RecipePtr recipe = make_recipe(recipes[in.take(1) % std::size(recipes)]);
    mustafar_geometry geometry{};
    geometry.struct_size = sizeof(geometry);
    const std::uint64_t odd = in.take(1);
    geometry.layers =
        (odd & 1) != 0 && in.take(1) == 0 ? static_cast<std::uint32_t>(in.take(4)) : 1 + odd % 2;
    geometry.kv_heads = (odd & 2) != 0 ? static_cast<std::uint32_t>(in.take(1) % 4) : 2;
    geometry.q_heads =
        (odd & 4) != 0 ? static_cast<std::uint32_t>(in.take(1)) : geometry.kv_heads * 2;
    geometry.head_dim_k = (odd & 8) != 0 ? static_cast<std::uint32_t>(in.take(2)) : 32;
    geometry.head_dim_v = (odd & 16) != 0 ? static_cast<std::uint32_t>(in.take(1) % 33 * 8) : 64;
    geometry.dtype = (odd & 32) != 0 ? static_cast<mustafar_dtype>(in.take(1) % 5) : MUSTAFAR_F16;
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    options.max_tokens = (odd & 64) != 0 ? static_cast<std::uint32_t>(in.take(4)) : 150;
    options.flags = odd >> 7;
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_cache* made = nullptr;
    note(mustafar_cache_create(gate.context(), &geometry, recipe.get(), &options, &made, &error),
         error, "create");
    {
        const CachePtr cache(made);
        for (int i = 0; cache && in.left() && i < 12; ++i) {
            calls_of(in, gate.context(), cache.get(), geometry);
        }
        if (cache && geometry.layers < 100) {
            const std::string problem = problem_of(gate, cache.get(), {});
            if (!problem.empty()) { fail(problem); }
        }
    }
    if (gate.cache_bytes() != 0) { fail("something was left behind"); }
    return 0;
}
