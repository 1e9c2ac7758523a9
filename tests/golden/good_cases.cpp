// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "cases.hpp"

namespace mustafar::golden {

namespace {

using Value = std::function<float(std::uint32_t seed, std::uint32_t token, std::uint32_t channel)>;

// Multiples of 1/256 in -4 .. 4: exact in f16, rounded in bf16.
float plain(std::uint32_t seed, std::uint32_t token, std::uint32_t channel) {
    std::uint32_t hash = (seed * 1000003U + token) * 2654435761U + channel * 40503U;
    hash ^= hash >> 15;
    hash *= 2246822519U;
    hash ^= hash >> 13;
    return static_cast<float>(static_cast<int>(hash % 2049U) - 1024) / 256.0F;
}

// A large constant per channel, so that a centre matters.
float shifted(std::uint32_t seed, std::uint32_t token, std::uint32_t channel) {
    return plain(seed, token, channel) / 8.0F + static_cast<float>(channel % 5) * 3.0F;
}

// Zeros of both signs, the smallest and largest values of f16, ties, rows of one value.
float special(std::uint32_t seed, std::uint32_t token, std::uint32_t channel) {
    switch (token % 6) {
    case 0:
        return channel % 2 == 0 ? 0.0F : -0.0F;
    case 1:
        return static_cast<float>(channel % 3) * 0x1p-24F;
    case 2:
        return channel % 2 == 0 ? 65504.0F : -65504.0F;
    case 3:
        return channel % 4 == 0 ? -1.5F : 1.5F;
    case 4:
        return 0.1F;
    default:
        return plain(seed, token, channel) * 0x1p-14F;
    }
}

struct Shape {
    std::uint32_t layers = 1, q_heads = 2, kv_heads = 1, dk = 32, dv = 32;
    mustafar_dtype dtype = MUSTAFAR_F16;
};

// A cache being filled; each step ends the program where it fails.
class Maker {
  public:
    Maker(mustafar_context* context, const Shape& shape, const std::string& recipe,
          std::uint32_t flags = MUSTAFAR_CACHE_AUTO, std::uint32_t max_tokens = 128)
        : shape_(shape) {
        mustafar_geometry geometry{};
        geometry.struct_size = sizeof(geometry);
        geometry.layers = shape.layers;
        geometry.q_heads = shape.q_heads;
        geometry.kv_heads = shape.kv_heads;
        geometry.head_dim_k = shape.dk;
        geometry.head_dim_v = shape.dv;
        geometry.dtype = shape.dtype;
        mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
        options.max_tokens = max_tokens;
        options.flags = flags;
        const RecipePtr parsed = make_recipe(recipe);
        mustafar_cache* cache = nullptr;
        must(mustafar_cache_create(context, &geometry, parsed.get(), &options, &cache, &error_),
             error_);
        cache_.reset(cache);
    }

    Maker& append(std::uint32_t tokens, std::uint32_t layer = 0, std::uint32_t flags = 0,
                  const Value& value = plain) {
        std::uint32_t committed = 0;
        std::uint32_t tentative = 0;
        must(mustafar_cache_length(cache_.get(), layer, &committed, &tentative, &error_), error_);
        std::vector<float> rows[2];
        for (int side = 0; side < 2; ++side) {
            const std::uint32_t d = side == 0 ? shape_.dk : shape_.dv;
            for (std::uint32_t t = 0; t < tokens; ++t) {
                for (std::uint32_t h = 0; h < shape_.kv_heads; ++h) {
                    for (std::uint32_t c = 0; c < d; ++c) {
                        const std::uint32_t seed =
                            (layer * 8 + h) * 2 + static_cast<std::uint32_t>(side);
                        rows[side].push_back(value(seed, committed + tentative + t, c));
                    }
                }
            }
        }
        const mustafar_tensor k =
            tensor(rows[0].data(), MUSTAFAR_F32, {tokens, shape_.kv_heads, shape_.dk});
        const mustafar_tensor v =
            tensor(rows[1].data(), MUSTAFAR_F32, {tokens, shape_.kv_heads, shape_.dv});
        must(mustafar_cache_append(cache_.get(), layer, &k, &v, flags, &error_), error_);
        return *this;
    }

    Maker& evict(std::vector<std::int32_t> positions, std::uint32_t layer = 0,
                 std::uint32_t head = 0) {
        must(mustafar_cache_evict(cache_.get(), layer, head, positions.data(), positions.size(), 0,
                                  &error_),
             error_);
        return *this;
    }

    Maker& mark(std::uint32_t side, std::uint32_t begin, std::uint32_t end, std::uint32_t method,
                std::uint32_t keep) {
        mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
        options.method = method;
        options.keep = keep;
        must(mustafar_cache_prune(cache_.get(), 0, MUSTAFAR_ALL, side, begin, end, &options,
                                  nullptr, nullptr, nullptr, &error_),
             error_);
        return *this;
    }

    // Row i keeps every channel c with (c + i) % 3 == 0, row 0 none at all.
    Maker& mask(std::uint32_t side, std::uint32_t rows) {
        const std::uint32_t d = side == MUSTAFAR_SIDE_K ? shape_.dk : shape_.dv;
        std::vector<std::uint8_t> bits(std::size_t{rows} * d / 8);
        for (std::uint32_t i = 1; i < rows; ++i) {
            for (std::uint32_t c = 0; c < d; ++c) {
                if ((c + i) % 3 != 0) { continue; }
                std::uint8_t& byte = bits[i * d / 8 + c / 8];
                byte = static_cast<std::uint8_t>(byte | 1U << c % 8);
            }
        }
        const mustafar_tensor view = tensor(bits.data(), MUSTAFAR_U8, {1, rows, d / 8});
        mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
        options.method = MUSTAFAR_PRUNE_MASK;
        must(mustafar_cache_prune(cache_.get(), 0, 0, side, 0, rows, &options, nullptr, nullptr,
                                  &view, &error_),
             error_);
        return *this;
    }

    Maker& compress() {
        must(mustafar_cache_compress(cache_.get(), MUSTAFAR_ALL, &error_), error_);
        return *this;
    }

    Maker& truncate(std::uint32_t length) {
        must(mustafar_cache_truncate(cache_.get(), length, MUSTAFAR_TRUNCATE_KEEP_PACKED, &error_),
             error_);
        return *this;
    }

    CachePtr done() { return std::move(cache_); }

  private:
    Shape shape_;
    CachePtr cache_;
    mustafar_error error_ = MUSTAFAR_ERROR_INIT;
};

std::string recipe(const std::string& window, const std::string& k, const std::string& v,
                   const std::string& rest = "") {
    return R"({"schema":"mustafar.recipe","version":1,"window":{)" + window + R"(},"k":{)" + k +
           R"(},"v":{)" + v + "}" + rest + "}";
}

const std::string small = R"("recent":2,"step":4)";
const std::string blocks = R"("recent":2,"step":32)";

std::string given_centre() {
    std::string list;
    for (int c = 0; c < 32; ++c) { list += (c == 0 ? "" : ",") + std::to_string(c % 5 * 3); }
    return "[" + list + "]";
}

} // namespace

std::vector<GoodCase> good_cases() {
    std::vector<GoodCase> out;
    const auto add = [&](const char* name, const char* why,
                         std::function<CachePtr(mustafar_context*)> make,
                         const char* model_id = "") {
        out.push_back(
            {name, why, model_id, [make](mustafar_context* context) { return make(context); }});
    };
    const auto filled = [&](const char* name, const char* why, const std::string& text,
                            std::uint32_t tokens = 12, const Shape& shape = {},
                            const Value& value = plain) {
        add(name, why, [=](mustafar_context* context) {
            return Maker(context, shape, text).append(tokens, 0, 0, value).done();
        });
    };
    filled("empty", "no token yet", recipe("", "", ""), 1);
    out.back().make = [](mustafar_context* context) {
        return Maker(context, {}, recipe("", "", "")).done();
    };
    filled("exact-i4-i8", "exact rows of 5 and 13 elements at 4 and 8 bits",
           recipe(small, R"("keep":5,"bits":4)", R"("keep":13,"bits":8)"));
    filled("exact-16", "exact rows at 16 bits",
           recipe(small, R"("keep":"1/2")", R"("keep":"5/16")"));
    filled("exact-i2", "2-bit codes that do not fill their last byte",
           recipe(small, R"("keep":7,"bits":2)", R"("keep":3,"bits":4)"));
    filled("dense", "k = d: no bitmap", recipe(small, R"("bits":4)", ""));
    filled("head-dims", "40 channels of K, 64 of V",
           recipe(small, R"("keep":"1/2","bits":2)", R"("bits":8)"), 6,
           {1, 3, 1, 40, 64, MUSTAFAR_F16});
    filled("grouped", "scales per 32 and 64 channels",
           recipe(small, R"("bits":4,"group":32)", R"("bits":2,"group":64)"), 6,
           {1, 1, 1, 64, 64, MUSTAFAR_F16});
    filled("channel", "K with a scale per channel",
           recipe(blocks, R"("bits":4,"axis":"channel")", R"("keep":8,"bits":4)"), 35);
    filled("ragged", "threshold and the paper's count, 16 and 4 bits",
           recipe(small, R"("method":"threshold","threshold":2.5)",
                  R"("sparsity":0.7,"rule":"paper","bits":4)"));
    filled("channel-topk", "12 of 32 rows per channel, in proportion for 4 rows",
           recipe(small, R"("method":"channel_topk","keep":12,"bits":8)", R"("keep":8)"));
    filled("n-m-channels", "2 of 4, and whole channels with their mask",
           recipe(small, R"("method":"n_m","n":2,"m":4,"bits":8)",
                  R"("method":"channels","keep":12,"bits":4)"));
    filled("centre-mean", "K centred by the mean of its first rows",
           recipe(small, R"("keep":16,"bits":4,"centre":"mean")", R"("bits":4)"), 12, {}, shifted);
    filled("centre-given", "K centred by the recipe",
           recipe(small, R"("keep":16,"centre":)" + given_centre(), R"("bits":4)"), 8, {}, shifted);
    filled("bf16", "bfloat16 values", recipe(small, R"("keep":9)", R"("keep":9,"bits":8)"), 12,
           {1, 2, 1, 32, 32, MUSTAFAR_BF16});
    filled("special", "zeros of both signs, ties, largest and smallest values, constant rows",
           recipe(small, R"("keep":6)", R"("keep":6,"bits":4)"), 14, {}, special);
    add("sink-evicted", "positions after evictions in body and tail, sinks",
        [](mustafar_context* context) {
            return Maker(context, {},
                         recipe(R"("recent":2,"sink":1,"step":4)", R"("keep":5,"bits":4)", ""))
                .append(14)
                .evict({1, 4, 5, 6, 9})
                .append(3)
                .done();
        });
    add("channel-holes", "evicted rows of a channel group leave holes",
        [](mustafar_context* context) {
            return Maker(context, {}, recipe(blocks, R"("bits":2,"axis":"channel")", R"("bits":2)"))
                .append(68)
                .evict([] {
                    std::vector<std::int32_t> gone = {33, 36, 40};
                    for (std::int32_t p = 0; p < 30; ++p) { gone.insert(gone.end() - 3, p); }
                    return gone;
                }())
                .done();
        });
    add("channel-ragged-holes", "holes, and V ragged", [](mustafar_context* context) {
        return Maker(context, {},
                     recipe(blocks, R"("bits":2,"axis":"channel")",
                            R"("method":"threshold","threshold":3,"bits":8)"))
            .append(35)
            .evict({0, 7, 8, 31})
            .done();
    });
    add("ragged-evicted", "ragged rows after evictions and a manual compress",
        [](mustafar_context* context) {
            return Maker(context, {},
                         recipe(small, R"("method":"threshold","threshold":3)",
                                R"("method":"threshold","threshold":100,"bits":2)"))
                .append(12)
                .evict({0, 3})
                .compress()
                .done();
        });
    add("mask", "the caller's bits; a row that keeps nothing", [](mustafar_context* context) {
        return Maker(context, {},
                     recipe(small, R"("method":"mask")", R"("method":"mask","bits":4)"), 0)
            .append(7)
            .mask(MUSTAFAR_SIDE_K, 5)
            .mask(MUSTAFAR_SIDE_V, 5)
            .compress()
            .done();
    });
    add("marks", "pruned dense rows, not yet packed", [](mustafar_context* context) {
        return Maker(context, {}, recipe(small, R"("keep":5,"bits":4)", R"("bits":8)"), 0)
            .append(8)
            .mark(MUSTAFAR_SIDE_K, 1, 5, MUSTAFAR_PRUNE_TOKEN_TOPK, 5)
            .mark(MUSTAFAR_SIDE_V, 2, 3, MUSTAFAR_PRUNE_TOKEN_TOPK, 9)
            .done();
    });
    add("tentative", "drafts behind committed tokens", [](mustafar_context* context) {
        return Maker(context, {}, recipe(small, R"("keep":5,"bits":4)", ""))
            .append(9)
            .append(3, 0, MUSTAFAR_APPEND_TENTATIVE)
            .done();
    });
    add("deep-truncate", "the body ends inside a page, the window is gone",
        [](mustafar_context* context) {
            return Maker(context, {}, recipe(small, R"("keep":5,"bits":4)", R"("bits":4)"))
                .append(43)
                .truncate(35)
                .done();
        });
    add(
        "mixed", "2 layers of 2 heads, each another recipe; unequal lengths; budgets, protect",
        [](mustafar_context* context) {
            const std::string text =
                recipe(small, R"("keep":"1/4","bits":4)", R"("bits":2)",
                       R"(,"protect":[-1],"layers":[{"at":"0-1","v":{"keep":3},)"
                       R"("budget":[20,0,7],"heads":[{"at":"1","k":{"bits":8,"sparsity":0.5}},)"
                       R"({"at":"-1","k":{"method":"threshold","threshold":2},"v":{"bits":16}}]},)"
                       R"({"at":"1","heads":[{"at":"0","k":{"method":"none","group":32}}]}])");
            return Maker(context, {3, 6, 3, 32, 32, MUSTAFAR_F16}, text)
                .append(7, 0)
                .append(11, 1)
                .append(3, 2)
                .evict({1, 2, 3}, 1, 2)
                .done();
        },
        "tiny-llama rope=10000 \xC3\xBC");
    return out;
}

} // namespace mustafar::golden
