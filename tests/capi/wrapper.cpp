// SPDX-License-Identifier: Apache-2.0
// The C++ wrapper: every C function has its place in it, handles move, views stay inside, errors and exceptions arrive.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <numeric>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <mustafar/mustafar.hpp>

namespace {

using mustafar::Cache;
using mustafar::Context;
using mustafar::Error;
using mustafar::f32;
using mustafar::Recipe;
using Bytes = std::vector<std::byte>;

const mustafar::Geometry small = {.layers = 1, .q_heads = 4, .kv_heads = 2, .head_dim_k = 32};

std::vector<float> numbers(std::size_t count, unsigned seed = 1) {
    std::vector<float> values(count);
    for (float& x : values) {
        x = static_cast<float>((seed = seed * 1664525U + 1013904223U) >> 8) / 8388608.0F - 1.0F;
    }
    return values;
}

Cache filled(const Context& context, std::string_view recipe, std::int64_t tokens) {
    Cache cache(context, small, Recipe(recipe), {.max_tokens = 512});
    const auto k = numbers(static_cast<std::size_t>(tokens) * 64), v = numbers(k.size(), 2);
    cache.append(0, f32(k, {tokens, 2, 32}), f32(v, {tokens, 2, 32}));
    return cache;
}

Bytes snapshot(const Cache& cache) {
    Bytes out;
    cache.save("model", [&](std::span<const std::byte> part) {
        out.insert(out.end(), part.begin(), part.end());
    });
    return out;
}

auto reader(const Bytes& data) {
    return [&data, at = std::size_t{0}](std::span<std::byte> room) mutable {
        const std::size_t count = std::min({room.size(), data.size() - at, std::size_t{100}});
        std::memcpy(room.data(), data.data() + at, count);
        at += count;
        return count;
    };
}

template <class Call>
mustafar_status status_of(Call&& call, const char* names = "") {
    try {
        call();
        return MUSTAFAR_OK;
    } catch (const Error& error) {
        EXPECT_NE(std::strstr(error.what(), names), nullptr) << error.what();
        return error.code();
    }
}

std::string text_of(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Wrapper, CallsEveryFunctionOfTheABI) {
    const std::filesystem::path source = MUSTAFAR_SOURCE_DIR;
    const std::string text = text_of(source / "capi/include/mustafar/mustafar.hpp") +
                             text_of(source / "capi/include/mustafar/cache.hpp");
    const auto api = nlohmann::json::parse(text_of(source / "capi/abi/api.json"));
    ASSERT_GT(api.at("functions").size(), 40U);
    for (const auto& function :
         api.at("functions")) { // dlpack.h is inline and takes the views as they are
        const auto name = function.at("name").get<std::string>();
        const bool called = text.find(name + "(") != std::string::npos;
        EXPECT_TRUE(called || text.find("Destroy<" + name + ">") != std::string::npos) << name;
    }
}

TEST(Wrapper, AttendSeesWhatWasAppended) {
    const Context context({.threads = 1});
    const Cache cache = filled(context, "dense", 100);
    const auto q = numbers(128, 3);
    std::vector<float> out(128), lse(4), one(128, 0.5F);
    mustafar::attend({&cache}, 0, f32(q, {1, 1, 4, 32}), f32(out, {1, 1, 4, 32}),
                     {.lse = f32(lse, {1, 1, 4})});
    const auto k = cache.export_rows(0, 1, MUSTAFAR_SIDE_K, 0, 100),
               v = cache.export_rows(0, 1, MUSTAFAR_SIDE_V, 0, 100);
    double sum = 0, value = 0; // query head 2, channel 5
    for (std::size_t row = 0; row < 100; ++row) {
        const double dot =
            std::inner_product(&k.values[row * 32], &k.values[row * 32] + 32, &q[2 * 32], 0.0);
        const double weight = std::exp(dot / std::sqrt(32.0));
        sum += weight;
        value += weight * static_cast<double>(v.values[row * 32 + 5]);
    }
    EXPECT_NEAR(static_cast<double>(out[2 * 32 + 5]), value / sum, 2e-3);
    EXPECT_NEAR(static_cast<double>(lse[2]), std::log(sum), 2e-3);
    const std::vector<const Cache*> both = {&cache, &cache};
    const auto two = numbers(256, 3);
    std::vector<float> twice(256);
    mustafar::attend(both, 0, f32(two, {2, 1, 4, 32}), f32(twice, {2, 1, 4, 32}));
    EXPECT_TRUE(std::equal(out.begin(), out.end(), twice.begin()));
    mustafar::merge(context, f32(out, {4, 32}), f32(lse, {4}), f32(out, {4, 32}), f32(lse, {4}),
                    f32(one, {4, 32}), f32(lse, {4}));
    EXPECT_NEAR(static_cast<double>(one[7]), static_cast<double>(out[7]),
                1e-6); // a part merged with itself
}

TEST(Wrapper, AnswersAreThoseOfTheCache) {
    const Context context({.backend = "ref"});
    Cache cache = filled(context, "lean", 100);
    EXPECT_EQ(cache.length().committed, 100U);
    EXPECT_EQ(cache.rows(0, 1).body, 64U);
    EXPECT_EQ(cache.positions(0, 0).back(), 99);
    EXPECT_EQ(cache.describe().geometry.head_dim_v, 32U);
    EXPECT_EQ(cache.describe().recipe, Recipe("lean").json());
    EXPECT_EQ(cache.bytes().total,
              mustafar::plan(Recipe("lean"), small, {.max_tokens = 512}, 100).total);
    EXPECT_EQ(cache.stats().longest, 100U);
    EXPECT_STREQ(context.kernel("attend").backend, "ref");
    EXPECT_EQ(context.stats().caches, 1U);
    EXPECT_EQ(Recipe("lean").side(small, 0, 0, MUSTAFAR_SIDE_K).keep, 16U);
    EXPECT_EQ(Recipe("lean").window(small, 0, 0).recent, 32U);
    EXPECT_EQ(Recipe("lean").digest().size(), 32U);
    EXPECT_EQ(mustafar::version(), MUSTAFAR_VERSION);
    EXPECT_EQ(mustafar::abi_version(), 0U);
    EXPECT_NE(mustafar::build_text().find("libmustafar"), std::string_view::npos);
    EXPECT_EQ(mustafar::dtype_name(MUSTAFAR_F16), "f16");
    EXPECT_FALSE(mustafar::kernels().empty());
    for (const auto& [name, sentence] : mustafar::named_recipes()) {
        EXPECT_FALSE(Recipe(name).json().empty() || sentence.empty());
    }
}

TEST(Wrapper, ChangesAreThoseOfTheCache) {
    const Context context;
    Cache cache(context, small, Recipe("k16/v16"), {.max_tokens = 512, .automatic = false});
    const auto rows = numbers(100 * 64);
    cache.append(0, f32(rows, {100, 2, 32}), f32(rows, {100, 2, 32}));
    cache.append(0, f32(rows, {3, 2, 32}), f32(rows, {3, 2, 32}), MUSTAFAR_APPEND_TENTATIVE);
    EXPECT_EQ(cache.length().tentative, 3U);
    cache.truncate(102);
    cache.commit();
    const std::vector<std::uint8_t> mask(32 * 4, 0x0f);
    cache.prune(0, 0, MUSTAFAR_SIDE_V, 0, 32,
                {.method = MUSTAFAR_PRUNE_MASK, .mask = mustafar::u8(mask, {1, 32, 4})});
    EXPECT_EQ(cache.export_rows(0, 0, MUSTAFAR_SIDE_V, 0, 32).bitmaps, mask);
    cache.compress();
    EXPECT_EQ(cache.rows(0, 0).body, 70U);
    cache.evict(0, 0, std::vector<std::int32_t>{1, 2});
    cache.evict_scores(0, 1, numbers(102), 40);
    EXPECT_EQ(cache.rows(0, 0).rows, 100U);
    EXPECT_EQ(cache.rows(0, 1).rows, 40U);
    cache.reset();
    EXPECT_EQ(cache.length().committed, 0U);
}

TEST(Wrapper, HandlesMoveAndForksAreIndependent) {
    const Context context;
    Cache first = filled(context, "lean", 80);
    const Bytes before = snapshot(first);
    Cache second = std::move(first);
    EXPECT_EQ(snapshot(second), before);
    EXPECT_EQ(status_of([&] { (void)first.length(); }, "cache"),
              MUSTAFAR_INVALID_ARGUMENT); // NOLINT: on purpose
    Cache child = second.fork();
    child.truncate(48, MUSTAFAR_TRUNCATE_KEEP_PACKED);
    EXPECT_EQ(snapshot(second), before);
    static_assert(!std::is_copy_constructible_v<Cache> &&
                  std::is_nothrow_move_constructible_v<Cache>);
    static_assert(std::is_same_v<decltype(f32(std::declval<const std::vector<float>&>(), {1})),
                                 mustafar::Input>);
    static_assert(!std::is_convertible_v<mustafar::Input, mustafar::Output>,
                  "what is const is not written");
}

TEST(Wrapper, ViewsStayInsideTheirData) {
    std::vector<float> data(64);
    constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
    EXPECT_EQ(f32(data, {2, 32}).raw.strides[0], 32);
    EXPECT_EQ(f32(data, {32, 2}, {-2, 1}, 62).raw.data, &data[62]);
    EXPECT_EQ(status_of([&] { f32(data, {3, 32}); }), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { f32(data, {32, 2}, {-2, 1}, 60); }), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { f32(data, {2, 32}, {33, 1}); }), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { f32(data, {1}, {}, 64); }), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { f32(data, {huge, huge, huge}); }), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { f32(data, {2, 2}, {huge, -huge}); }), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { f32(data, {-1, 2}); }), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { f32(data, {1, 1, 1, 1, 1}); }), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { f32(data, {2, 2}, {1}); }), MUSTAFAR_INVALID_ARGUMENT);
}

TEST(Wrapper, ErrorsCarryCodeValuesAndText) {
    const Context context({.quota_bytes = 1 << 20});
    Cache cache = filled(context, "dense", 10);
    auto v = numbers(3 * 64);
    v[64 + 32 + 7] = std::numeric_limits<float>::infinity();
    try {
        cache.append(0, f32(v, {3, 2, 32}), f32(numbers(3 * 64), {3, 2, 32}));
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), MUSTAFAR_NON_FINITE);
        EXPECT_STREQ(error.name(), "MUSTAFAR_NON_FINITE");
        EXPECT_EQ(error.values()[1], 1);
        EXPECT_EQ(error.values()[3], 7);
    }
    EXPECT_EQ(cache.length().committed, 10U);
    EXPECT_EQ(status_of([&] { cache.append(0, {}, {}); }, "k"), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { (void)cache.export_rows(0, 0, 0, 0, 4000000000U); }, "end"),
              MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { Recipe("k64i3/v64"); }), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { Context({.backend = "abacus"}); }, "abacus"), MUSTAFAR_UNSUPPORTED);
    EXPECT_EQ(status_of([&] { Context({.backend = std::string(99, 'x')}); }, "backend"),
              MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { Cache(context, small, Recipe("lean"), {}); }, "max_tokens"),
              MUSTAFAR_INVALID_ARGUMENT);
    const Cache* nothing = nullptr;
    EXPECT_EQ(status_of([&] { mustafar::attend({nothing}, 0, {}, {}); }, "caches[0]"),
              MUSTAFAR_INVALID_ARGUMENT);
}

TEST(Wrapper, SnapshotsComeBack) {
    const Context context;
    const Cache cache = filled(context, "lean", 90);
    const Bytes data = snapshot(cache);
    const Recipe lean("lean");
    const Cache again(context, reader(data),
                      {.geometry = small, .recipe = &lean, .model_id = "model"});
    EXPECT_EQ(snapshot(again), data);
    EXPECT_EQ(status_of([&] { Cache(context, reader(data), {.model_id = "another"}); }, "model_id"),
              MUSTAFAR_MISMATCH);
    const Bytes half(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(data.size() / 2));
    EXPECT_EQ(status_of([&] { Cache(context, reader(half)); }), MUSTAFAR_CORRUPT);
    std::string folder =
        (std::filesystem::temp_directory_path() / "mustafar-wrapper-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    cache.save_file("model", folder + "/snapshot");
    EXPECT_EQ(snapshot(Cache::load_file(context, folder + "/snapshot", {.model_id = "model"})),
              data);
    std::filesystem::remove_all(folder);
    EXPECT_EQ(status_of([&] { Cache::load_file(context, folder + "/snapshot"); }), MUSTAFAR_IO);
}

TEST(Wrapper, ExceptionsOfReadersAndWritersNeverCrossC) {
    const Context context;
    Cache cache = filled(context, "lean", 90);
    struct Torn {};
    EXPECT_THROW(cache.save("", [](std::span<const std::byte>) { throw Torn(); }), Torn);
    EXPECT_THROW(Cache(context, [](std::span<std::byte>) -> std::size_t { throw Torn(); }), Torn);
    cache.reset(); // usable behind it
    EXPECT_EQ(context.stats().caches, 1U);
}

TEST(Wrapper, HooksOfAContextAreThoseOfC) {
    std::int64_t live = 0;
    std::string lines;
    mustafar_allocator allocator{};
    allocator.user = &live;
    allocator.allocate = [](void* user, std::size_t bytes, std::size_t alignment) {
        *static_cast<std::int64_t*>(user) += static_cast<std::int64_t>(bytes);
        return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    };
    allocator.release = [](void* user, void* data, std::size_t bytes, std::size_t) {
        *static_cast<std::int64_t*>(user) -= static_cast<std::int64_t>(bytes);
        std::free(data);
    };
    mustafar_log_hook log{};
    log.level = MUSTAFAR_LOG_TRACE;
    log.user = &lines;
    log.write = [](void* user, std::int32_t, const char* text) {
        *static_cast<std::string*>(user) += text;
    };
    {
        const Context context({.threads = 1, .allocator = allocator, .log = log});
        const Cache cache = filled(context, "lean", 90);
        EXPECT_GT(live, 0);
        EXPECT_EQ(static_cast<std::uint64_t>(live), context.stats().live_bytes);
    }
    EXPECT_EQ(live, 0);
    EXPECT_NE(lines.find("append"), std::string::npos);
}

} // namespace
