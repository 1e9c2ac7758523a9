// SPDX-License-Identifier: Apache-2.0
// What packing costs: ns per pair of a K and a V row, of each step alone and of append as a whole.
//   pack_bench [--backend NAME] [--dtype f16|bf16|f32] [--recipe NAME]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "core/half.hpp"
#include "core/kernels.hpp"
#include "mustafar/mustafar.h"

namespace {

using namespace mustafar;

constexpr std::uint32_t d = 128;
constexpr std::uint32_t heads = 8;
constexpr std::uint32_t rounds = 7;

double now_ns() { // processor time of this thread: others may share the machine
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// `work` does `units` units; median and spread over the rounds, each of at least 20 ms.
void measure(const char* name, double units, const std::function<void()>& once) {
    const std::uint32_t repeat = units < 100 ? 32 : 1; // the clock costs more than a short step
    const auto work = [&] {
        for (std::uint32_t i = 0; i < repeat; ++i) { once(); }
    };
    work();
    std::vector<double> all;
    for (std::uint32_t round = 0; round < rounds; ++round) {
        const double start = now_ns();
        std::uint32_t times = 0;
        double taken = 0.0;
        do {
            work();
            times += repeat;
            taken = now_ns() - start;
        } while (taken < 20e6);
        all.push_back(taken / times / units);
    }
    std::sort(all.begin(), all.end());
    const auto at = [&all](double p) {
        return all[static_cast<std::size_t>(std::lround(p * static_cast<double>(rounds - 1)))];
    };
    std::printf("%-28s %9.1f  (%.1f .. %.1f)\n", name, at(0.5), at(0.1), at(0.9));
}

std::vector<float> random_values(std::size_t count) { // bell-shaped
    std::vector<float> out(count);
    std::uint64_t state = 1;
    for (float& x : out) {
        x = -6.0F;
        for (int i = 0; i < 12; ++i) {
            state = state * 6364136223846793005ULL + 1442695040888963407ULL;
            x += static_cast<float>(state >> 40) * 0x1p-24F;
        }
    }
    return out;
}

// One page of rows of one side, in the form that append finds them.
struct Rows {
    std::vector<std::uint16_t> halves;
    std::vector<float> centre = std::vector<float>(d, 0.125F);
    std::vector<std::uint8_t> bitmaps = std::vector<std::uint8_t>(page_rows * d / 8);
    std::vector<std::uint8_t> codes = std::vector<std::uint8_t>(page_rows * d * 2);
    std::vector<std::uint8_t> meta = std::vector<std::uint8_t>(page_rows * 64);
    std::vector<std::uint8_t> kept = std::vector<std::uint8_t>(page_rows * d / 8);

    Rows() {
        for (const float x : random_values(page_rows * d)) { halves.push_back(f32_to_f16(x)); }
    }
    void prune(const Kernels& kernels, const PruneRule& rule, bool centred) {
        kernels.prune({rule, d, {}, {}, {}, bitmaps, rows(centred)});
    }
    void pack(const Kernels& kernels, const SideSpec& side) {
        const RowStrides strides = row_strides(side);
        PackedRows out;
        out.rows = page_rows;
        out.bitmap = strides.bitmap != 0 ? kept.data() : nullptr;
        out.codes = codes.data();
        out.meta = meta.data();
        out.bitmap_stride = strides.bitmap;
        out.codes_stride = strides.codes;
        out.meta_stride = strides.meta;
        kernels.pack({&side, Dtype::f16, {}, bitmaps, out, meta.data(), rows(side.centred)});
    }
    HalfRows rows(bool centred) const {
        return {halves.data(), d, Dtype::f16, centred ? centre.data() : nullptr};
    }
};

SideSpec side_of(std::uint16_t keep, std::uint8_t bits) {
    SideSpec side;
    side.d = d;
    side.keep = keep;
    side.bits = bits;
    side.prune.keep = keep;
    side.prune.method = keep < d ? Method::token_topk : Method::none;
    return side;
}

// The steps alone, on one page that stays in cache: twice the work on one side is a pair.
void kernels_alone(const Kernels& kernels) {
    std::printf("%s, %s, %s: ns per K + V row, a page in cache\n", kernels.rows[0].name,
                kernels.rows[1].name, kernels.rows[5].name);
    Rows k, v;
    const auto both = [&](const char* name, const std::function<void(Rows&)>& work) {
        measure(name, page_rows, [&] { work(k), work(v); });
    };
    for (const std::uint16_t keep : {40, 64}) {
        const SideSpec side = side_of(keep, 16);
        const std::string text = "keep " + std::to_string(keep);
        both(("prune, " + text).c_str(),
             [&](Rows& rows) { rows.prune(kernels, side.prune, false); });
        both(("prune, " + text + ", centred").c_str(),
             [&](Rows& rows) { rows.prune(kernels, side.prune, true); });
        for (const std::uint8_t bits : {16, 8, 4, 2}) {
            const SideSpec packed = side_of(keep, bits);
            both(("pack, " + text + ", bits " + std::to_string(bits)).c_str(),
                 [&](Rows& rows) { rows.pack(kernels, packed); });
        }
    }
    const SideSpec dense = side_of(d, 2);
    k.prune(kernels, dense.prune, false);
    v.prune(kernels, dense.prune, false);
    both("pack, dense, bits 2", [&](Rows& rows) { rows.pack(kernels, dense); });
    for (const std::uint8_t bits : {16, 4}) { // the copy that undoes it counts too
        HeadSpec head;
        head.k = side_of(40, bits);
        head.v = side_of(40, 16);
        k.prune(kernels, head.k.prune, false);
        k.pack(kernels, head.k);
        const std::size_t bytes = page_bytes(head, 0, 0);
        std::vector<std::byte> room(sizeof(Page) + bytes + 64);
        const auto start = reinterpret_cast<std::uintptr_t>(room.data()); // pages start at 64 bytes
        auto* page = ::new (room.data() + (64 - start % 64) % 64) Page;
        page->data_bytes = static_cast<std::uint32_t>(bytes);
        page->v_at = static_cast<std::uint32_t>(side_bytes(head.k, 0));
        const PageSide arrays = page_side(head, Side::k, *page);
        measure(("columns, K keep 40, bits " + std::to_string(bits)).c_str(), page_rows, [&] {
            page->key_columns = 0;
            std::memcpy(arrays.bitmaps, k.kept.data(), k.kept.size());
            std::memcpy(arrays.codes, k.codes.data(), page_rows * arrays.strides.codes);
            kernels.order(head, *page);
        });
    }
}

[[noreturn]] void fail(const mustafar_error& error) {
    std::fprintf(stderr, "pack_bench: %s\n", error.message);
    std::exit(1);
}

struct Handles {
    mustafar_context* context = nullptr;
    mustafar_recipe* recipe = nullptr;
    mustafar_cache* cache = nullptr;
    ~Handles() {
        mustafar_cache_destroy(cache);
        mustafar_recipe_destroy(recipe);
        mustafar_context_destroy(context);
    }
};

// Through the C API: one layer of 8 kv heads, on one thread.
void whole_appends(const std::string& backend, const std::string& recipe, mustafar_dtype dtype) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    Handles all;
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    options.threads = 1;
    std::snprintf(options.backend, sizeof(options.backend), "%s", backend.c_str());
    const mustafar_geometry geometry = {
        sizeof(geometry), 1, heads, heads, d, d, dtype == MUSTAFAR_BF16 ? dtype : MUSTAFAR_F16, 0};
    constexpr std::uint32_t tokens = 4096;
    mustafar_cache_options limits = MUSTAFAR_CACHE_OPTIONS_INIT;
    limits.max_tokens = 2 * tokens;
    limits.reserve_tokens = tokens + 64;
    if (mustafar_context_create(&options, nullptr, nullptr, &all.context, &error) != MUSTAFAR_OK ||
        mustafar_recipe_parse(recipe.c_str(), recipe.size(), &all.recipe, &error) != MUSTAFAR_OK ||
        mustafar_cache_create(all.context, &geometry, all.recipe, &limits, &all.cache, &error) !=
            MUSTAFAR_OK) {
        fail(error);
    }
    const std::vector<float> values = random_values(std::size_t{tokens} * heads * d);
    std::vector<std::uint16_t> halves(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        halves[i] = store_half(values[i], dtype == MUSTAFAR_BF16 ? Dtype::bf16 : Dtype::f16);
    }
    const auto append = [&](std::uint32_t first, std::uint32_t count) {
        const std::size_t at = std::size_t{first % tokens} * heads * d;
        mustafar_tensor k{};
        k.data = dtype == MUSTAFAR_F32
                     ? const_cast<void*>(static_cast<const void*>(values.data() + at))
                     : static_cast<void*>(halves.data() + at);
        k.dtype = dtype;
        k.ndim = 3;
        k.shape[0] = count, k.shape[1] = heads, k.shape[2] = d;
        k.strides[0] = heads * d, k.strides[1] = d, k.strides[2] = 1;
        if (mustafar_cache_append(all.cache, 0, &k, &k, 0, &error) != MUSTAFAR_OK) { fail(error); }
    };
    const auto clear = [&] {
        if (mustafar_cache_reset(all.cache, &error) != MUSTAFAR_OK) { fail(error); }
    };
    std::printf("recipe %s, through the C API: ns per K + V row of a kv head\n", recipe.c_str());
    measure("append 4096", double{tokens} * heads, [&] { clear(), append(0, tokens); });
    measure("append 4096, new cache", double{tokens} * heads, [&] {
        mustafar_cache_destroy(std::exchange(all.cache, nullptr));
        limits.reserve_tokens = 0;
        if (mustafar_cache_create(all.context, &geometry, all.recipe, &limits, &all.cache,
                                  &error) != MUSTAFAR_OK) {
            fail(error);
        }
        append(0, tokens);
    });
    measure("append 1, 4096 times", double{tokens} * heads, [&] {
        clear();
        for (std::uint32_t t = 0; t < tokens; ++t) { append(t, 1); }
    });
    measure("append 1 to a window", double{31} * heads, [&] {
        clear();
        for (std::uint32_t t = 0; t < 31; ++t) { append(t, 1); }
    });
}

} // namespace

int main(int count, char** words) {
    std::string backend, recipe = "mustafar-70", dtype = "f16";
    for (int i = 1; i + 1 < count; i += 2) {
        const std::string name = words[i];
        (name == "--backend" ? backend : name == "--recipe" ? recipe : dtype) = words[i + 1];
    }
    try {
        kernels_alone(choose_kernels(backend, "--backend", false));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pack_bench: %s\n", error.what());
        return 1;
    }
    whole_appends(backend, recipe,
                  dtype == "f32"    ? MUSTAFAR_F32
                  : dtype == "bf16" ? MUSTAFAR_BF16
                                    : MUSTAFAR_F16);
    return 0;
}
