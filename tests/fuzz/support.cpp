// SPDX-License-Identifier: Apache-2.0
#include "support.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sections.hpp"

namespace mustafar::fuzz {

using namespace mustafar::golden;

void fail(const std::string& text) {
    std::fprintf(stderr, "FAILED  %s\n", text.c_str());
    std::abort();
}

// ---- Gate --------------------------------------------------------------------------------------

Gate::Gate() {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    options.threads = 1;
    options.quota_bytes = quota_bytes;
    const mustafar_allocator allocator = {sizeof(mustafar_allocator), 0, &counts_, allocate,
                                          release};
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_context* context = nullptr;
    must(mustafar_context_create(&options, &allocator, nullptr, &context, &error), error);
    context_.reset(context);
}

Gate::~Gate() {
    context_.reset();
    if (counts_.live != 0 || counts_.live_bytes != 0) {
        fail("leak: " + std::to_string(counts_.live) + " blocks, " +
             std::to_string(counts_.live_bytes) + " B were not given back");
    }
}

void* Gate::allocate(void* user, std::size_t bytes, std::size_t alignment) {
    Counts& counts = *static_cast<Counts*>(user);
    void* data = nullptr;
    if (posix_memalign(&data, alignment < sizeof(void*) ? sizeof(void*) : alignment, bytes) != 0) {
        return nullptr;
    }
    std::memset(data, 0xA5, bytes); // nobody may count on zeros
    counts.live += 1;
    counts.live_bytes += static_cast<std::int64_t>(bytes);
    counts.largest = std::max<std::uint64_t>(counts.largest, bytes);
    return data;
}

void Gate::release(void* user, void* data, std::size_t bytes, std::size_t /*alignment*/) {
    Counts& counts = *static_cast<Counts*>(user);
    counts.live -= 1;
    counts.live_bytes -= static_cast<std::int64_t>(bytes);
    std::free(data);
}

std::uint64_t Gate::cache_bytes() const {
    mustafar_context_stats stats{};
    stats.struct_size = sizeof(stats);
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    must(mustafar_context_get_stats(context_.get(), &stats, &error), error);
    return stats.live_bytes - stats.work_bytes;
}

// ---- checks of a cache -------------------------------------------------------------------------

namespace {

struct Checker {
    Gate& gate;
    const mustafar_cache* cache;
    mustafar_geometry geometry{};
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    std::string problem = {};

    bool says(mustafar_status status, const char* what) {
        if (status == MUSTAFAR_OK) { return true; }
        problem = std::string(what) + ": " + mustafar_status_name(status) + " " + error.message;
        return false;
    }

    bool rows(std::uint32_t layer, std::uint32_t head, std::uint32_t side) {
        const std::uint32_t d = side == MUSTAFAR_SIDE_K ? geometry.head_dim_k : geometry.head_dim_v;
        std::uint32_t count = 0;
        std::uint32_t body = 0;
        if (!says(mustafar_cache_rows(cache, layer, head, &count, &body, &error), "rows")) {
            return false;
        }
        if (body > count) { return says(MUSTAFAR_INTERNAL, "more body rows than rows"); }
        std::vector<std::int32_t> positions(count);
        if (!says(mustafar_cache_positions(cache, layer, head, positions.data(), count, &error),
                  "positions")) {
            return false;
        }
        if (count == 0) { return true; }
        std::vector<float> values(std::size_t{count} * d, NAN);
        std::vector<std::uint8_t> bits(std::size_t{count} * d / 8);
        const mustafar_tensor out = tensor(values.data(), MUSTAFAR_F32, {count, d});
        if (!says(mustafar_cache_export(cache, layer, head, side, 0, count, &out, bits.data(),
                                        &error),
                  "export")) {
            return false;
        }
        for (const float value : values) {
            if (!std::isfinite(value)) { return says(MUSTAFAR_NON_FINITE, "an exported value"); }
        }
        return true;
    }

    bool attend(std::uint32_t layer) {
        const std::uint32_t heads = geometry.q_heads;
        const std::vector<float> q(std::size_t{heads} * geometry.head_dim_k, 0.01F);
        std::vector<float> out(std::size_t{heads} * geometry.head_dim_v, NAN);
        std::vector<float> lse(heads, NAN);
        const mustafar_tensor query =
            tensor(q.data(), MUSTAFAR_F32, {1, 1, heads, geometry.head_dim_k});
        const mustafar_tensor result =
            tensor(out.data(), MUSTAFAR_F32, {1, 1, heads, geometry.head_dim_v});
        const mustafar_tensor sums = tensor(lse.data(), MUSTAFAR_F32, {1, 1, heads});
        mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
        options.flags = MUSTAFAR_ATTEND_AT;
        options.q_position = INT32_MAX;
        if (!says(mustafar_attend(&cache, 1, layer, &query, nullptr, &options, &result, &sums,
                                  nullptr, nullptr, &error),
                  "attend")) {
            return false;
        }
        for (const float value : out) {
            if (!std::isfinite(value)) { return says(MUSTAFAR_NON_FINITE, "an attention output"); }
        }
        for (const float value : lse) {
            if (std::isnan(value) || value == INFINITY) {
                return says(MUSTAFAR_NON_FINITE, "an lse");
            }
        }
        return true;
    }

    bool all_rows() {
        geometry.struct_size = sizeof(geometry);
        if (!says(mustafar_cache_describe(cache, &geometry, nullptr, nullptr, &error),
                  "describe")) {
            return false;
        }
        for (std::uint32_t l = 0; l < geometry.layers; ++l) {
            for (std::uint32_t h = 0; h < geometry.kv_heads; ++h) {
                if (!rows(l, h, MUSTAFAR_SIDE_K) || !rows(l, h, MUSTAFAR_SIDE_V)) { return false; }
            }
            if (!attend(l)) { return false; }
        }
        return true;
    }

    bool bytes() {
        mustafar_bytes total{};
        total.struct_size = sizeof(total);
        if (!says(mustafar_cache_bytes(cache, MUSTAFAR_ALL, MUSTAFAR_ALL, &total, &error),
                  "bytes")) {
            return false;
        }
        return total.total == gate.cache_bytes() || says(MUSTAFAR_INTERNAL, "bytes do not add up");
    }

    bool saves(const Bytes& file) {
        if (file.empty()) { return true; }
        Bytes model = split(file).find("MODL").payload;
        const std::string model_id(model.begin(), model.end());
        const Bytes first = save(cache, model_id);
        if (first != Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(
                                                            std::min(first.size(), file.size())))) {
            return says(MUSTAFAR_INTERNAL, "saving does not give the file that was loaded");
        }
        return true;
    }
};

} // namespace

std::string problem_of(Gate& gate, const mustafar_cache* cache, const Bytes& file) {
    Checker checker{gate, cache};
    if (checker.bytes() && checker.all_rows() && checker.saves(file)) { return ""; }
    return checker.problem;
}

std::string problem_of_use(Gate& gate, mustafar_cache* cache) {
    Checker checker{gate, cache};
    mustafar_geometry& g = checker.geometry;
    mustafar_error& error = checker.error;
    const auto refused = [&](mustafar_status status, const char* what) {
        return status != MUSTAFAR_INTERNAL || checker.says(status, what);
    };
    if (!checker.all_rows()) { return checker.problem; }
    constexpr std::uint32_t tokens = 5;
    const std::vector<float> zeros(
        std::size_t{tokens} * g.kv_heads * std::max(g.head_dim_k, g.head_dim_v), 0.25F);
    const mustafar_tensor k =
        tensor(zeros.data(), MUSTAFAR_F32, {tokens, g.kv_heads, g.head_dim_k});
    const mustafar_tensor v =
        tensor(zeros.data(), MUSTAFAR_F32, {tokens, g.kv_heads, g.head_dim_v});
    mustafar_cache* made = nullptr;
    if (!checker.says(mustafar_cache_fork(cache, &made, &error), "fork") &&
        error.code != MUSTAFAR_OUT_OF_MEMORY) {
        return checker.problem;
    }
    const CachePtr child(made); // so that pages are shared below
    bool fine = refused(mustafar_cache_append(cache, 0, &k, &v, MUSTAFAR_APPEND_TENTATIVE, &error),
                        "append") &&
                refused(mustafar_cache_commit(cache, MUSTAFAR_ALL, &error), "commit") &&
                refused(mustafar_cache_append(cache, 0, &k, &v, 0, &error), "append") &&
                refused(mustafar_cache_compress(cache, MUSTAFAR_ALL, &error), "compress");
    for (std::uint32_t h = 0; fine && h < g.kv_heads; ++h) {
        std::uint32_t rows = 0;
        std::uint32_t recent = 0;
        std::uint32_t sink = 0;
        fine = refused(mustafar_cache_rows(cache, 0, h, &rows, nullptr, &error), "rows");
        const char* json = nullptr;
        fine = fine && checker.says(mustafar_cache_describe(cache, nullptr, nullptr, &json, &error),
                                    "describe");
        if (!fine) { break; }
        const RecipePtr recipe = make_recipe(json);
        fine = refused(mustafar_recipe_window(recipe.get(), &g, 0, h, &recent, &sink, nullptr,
                                              nullptr, &error),
                       "window");
        const std::vector<float> scores(rows, 1.0F);
        const std::uint32_t least = std::max(1U, recent + sink);
        fine = fine && refused(mustafar_cache_evict_scores(cache, 0, h, scores.data(), rows,
                                                           std::max(least, rows / 2), &error),
                               "evict");
    }
    fine = fine && checker.all_rows() &&
           refused(mustafar_cache_truncate(cache, 3, MUSTAFAR_TRUNCATE_KEEP_PACKED, &error),
                   "truncate") &&
           checker.all_rows();
    if (!fine) { return checker.problem; }
    if (child) {
        Checker other{gate, child.get()};
        if (!other.all_rows()) { return "fork: " + other.problem; }
    }
    return "";
}

mustafar_status try_snapshot(Gate& gate, const Bytes& file) {
    Outcome outcome;
    {
        std::size_t taken = 0;
        const CachePtr cache = load(gate.context(), file, outcome, &taken);
        if ((outcome.status == MUSTAFAR_OK) != (cache != nullptr)) {
            fail("status and handle disagree");
        }
        if (outcome.status == MUSTAFAR_INTERNAL) {
            fail(std::string("load: ") + outcome.error.message);
        }
        if (cache) {
            const Bytes read(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(taken));
            std::string problem = problem_of(gate, cache.get(), read);
            if (problem.empty()) { problem = problem_of_use(gate, cache.get()); }
            if (!problem.empty()) { fail("a snapshot was accepted, but " + problem); }
        }
    }
    if (gate.cache_bytes() != 0) {
        fail("a load left " + std::to_string(gate.cache_bytes()) + " B behind");
    }
    return outcome.status;
}

// ---- recipes -----------------------------------------------------------------------------------

mustafar_status try_recipe(std::string_view text) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_recipe* made = nullptr;
    const mustafar_status status = mustafar_recipe_parse(text.data(), text.size(), &made, &error);
    const RecipePtr recipe(made);
    if (status != MUSTAFAR_OK) {
        if (status != MUSTAFAR_INVALID_ARGUMENT && status != MUSTAFAR_OUT_OF_MEMORY) {
            fail(std::string("recipe: ") + mustafar_status_name(status) + " " + error.message);
        }
        return status;
    }
    const std::string json = mustafar_recipe_json(recipe.get());
    mustafar_recipe* second = nullptr;
    if (mustafar_recipe_parse(json.data(), json.size(), &second, &error) != MUSTAFAR_OK) {
        fail("the canonical text " + json + " is refused: " + error.message);
    }
    const RecipePtr again(second);
    if (json != mustafar_recipe_json(again.get())) {
        fail("canonical text is not stable: " + json);
    }
    if (std::strcmp(mustafar_recipe_digest(recipe.get()), mustafar_recipe_digest(again.get())) !=
        0) {
        fail("digest is not stable: " + json);
    }
    for (const std::uint32_t d : {32U, 64U, 200U}) {
        mustafar_geometry geometry{};
        geometry.struct_size = sizeof(geometry);
        geometry.layers = d / 16;
        geometry.q_heads = geometry.kv_heads = 3;
        geometry.head_dim_k = d;
        geometry.head_dim_v = 32;
        geometry.dtype = MUSTAFAR_F16;
        mustafar_side_info side{};
        side.struct_size = sizeof(side);
        const mustafar_status resolved =
            mustafar_recipe_side(recipe.get(), &geometry, 1, 2, MUSTAFAR_SIDE_K, &side, &error);
        if (resolved != MUSTAFAR_OK && resolved != MUSTAFAR_UNSUPPORTED) {
            fail(std::string("resolve: ") + mustafar_status_name(resolved) + " " + error.message);
        }
        if (resolved == MUSTAFAR_OK &&
            (side.keep > d || (side.keep == 0) != (side.encoding == MUSTAFAR_ENCODING_RAGGED))) {
            fail("keep = " + std::to_string(side.keep) + " of " + std::to_string(d) + ": " + json);
        }
        mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
        options.max_tokens = 1000;
        mustafar_bytes bytes{};
        bytes.struct_size = sizeof(bytes);
        const mustafar_status planned =
            mustafar_plan(recipe.get(), &geometry, &options, 500, MUSTAFAR_ALL, &bytes, &error);
        if (planned == MUSTAFAR_INTERNAL) { fail(std::string("plan: ") + error.message); }
    }
    return status;
}

} // namespace mustafar::fuzz
