// SPDX-License-Identifier: Apache-2.0
#include "world.hpp"

#include <cstdarg>
#include <cstdio>

namespace oracle {

const char *kind_name(Kind kind) {
    constexpr const char *names[] = {
#define X(name, weight) #name,
        ORACLE_KINDS(X)
#undef X
    };
    return names[static_cast<uint8_t>(kind)];
}

Slot::Slot(mustafar_cache *cache, Model state) : library(cache), model(std::move(state)) {
    bytes.struct_size = sizeof bytes;
    base.struct_size = sizeof base;
    rebase();
}

void Slot::rebase() {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    REQUIRE(mustafar_cache_get_stats(library, &base, &error) == MUSTAFAR_OK, "%s", error.message);
    base_packed = model.packed_rows;
    base_evicted = model.evicted_rows;
    base_appended = model.appended_tokens;
}

World::World(const Config &chosen, Coverage &seen) : config(chosen), coverage(seen) {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    options.threads = config.threads;
    options.quota_bytes = config.quota;
    const mustafar_allocator allocator = heap.hook();
    mustafar_status status =
        mustafar_context_create(&options, &allocator, nullptr, &context, &error);
    REQUIRE(status == MUSTAFAR_OK, "context: %s", error.message);
    mustafar_kernel_info kernel{};
    kernel.struct_size = sizeof kernel;
    status = mustafar_context_kernel(context, "attend", &kernel, &error);
    REQUIRE(status == MUSTAFAR_OK, "kernel: %s", error.message);
    backend = kernel.backend;
    const std::string text = config.json();
    status = mustafar_recipe_parse(text.data(), text.size(), &recipe, &error);
    REQUIRE(status == MUSTAFAR_OK, "recipe: %s\n%s", error.message, text.c_str());
    check_recipe();
}

World::~World() {
    slots.clear();
    mustafar_recipe_destroy(recipe);
    mustafar_context_destroy(context);
}

void World::say(const char *format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    log_ += text;
}

bool World::done(mustafar_status status, const char *call) {
    if (status == MUSTAFAR_OK) return true;
    const bool arranged = heap.refused() || config.quota != 0;
    REQUIRE(status == MUSTAFAR_OUT_OF_MEMORY && arranged, "%s: %s: %s", call,
            mustafar_status_name(status), error.message);
    REQUIRE(error.code == status, "%s: error.code = %d, status %d", call, error.code, status);
    if (!heap.refused())
        REQUIRE(error.values[2] == static_cast<int64_t>(config.quota) &&
                    error.values[0] + error.values[1] > error.values[2],
                "%s: quota refused with asked=%lld used=%lld limit=%lld", call,
                static_cast<long long>(error.values[0]), static_cast<long long>(error.values[1]),
                static_cast<long long>(error.values[2]));
    coverage.count(heap.refused() ? "no memory: allocator" : "no memory: quota");
    say(" -> out of memory");
    heap.calm();
    return false;
}

void World::refused(mustafar_status status, mustafar_status wanted, const char *what) {
    REQUIRE(status == wanted, "%s: expected %s, got %s (%s)", what, mustafar_status_name(wanted),
            mustafar_status_name(status), status == MUSTAFAR_OK ? "" : error.message);
    REQUIRE(error.code == wanted && error.message[0] != 0, "%s: the error was not filled in", what);
    coverage.count(std::string("refused ") + mustafar_status_name(wanted));
    say(" -> %s", mustafar_status_name(wanted));
}

mustafar_dtype World::any_dtype() {
    constexpr mustafar_dtype dtypes[] = {MUSTAFAR_F16, MUSTAFAR_BF16, MUSTAFAR_F32};
    return random.pick(dtypes);
}

mustafar_cache *World::create() {
    mustafar_cache *cache = nullptr;
    const mustafar_cache_options options = config.options();
    const mustafar_status status =
        mustafar_cache_create(context, &config.geometry, recipe, &options, &cache, &error);
    return done(status, "create") ? cache : nullptr;
}

// The library must read the recipe as we meant it.
void World::check_recipe() {
    for (uint32_t layer = 0; layer < config.geometry.layers; ++layer)
        for (uint32_t h = 0; h < config.geometry.kv_heads; ++h)
            for (uint32_t side = 0; side < 2; ++side) {
                mustafar_side_info info{};
                info.struct_size = sizeof info;
                const mustafar_status status =
                    mustafar_recipe_side(recipe, &config.geometry, layer, h, side, &info, &error);
                REQUIRE(status == MUSTAFAR_OK, "recipe_side: %s", error.message);
                const SideRecipe &want = config.head(layer, h).side[side];
                const bool same = info.head_dim == want.d && info.keep == want.count() &&
                                  info.bits == want.bits && info.encoding == want.encoding() &&
                                  info.group == want.group && (info.centred != 0) == want.centred &&
                                  info.method == want.rule.method;
                REQUIRE(same, "recipe_side %u/%u/%u: d=%u keep=%u bits=%u encoding=%u for %s",
                        layer, h, side, info.head_dim, info.keep, info.bits, info.encoding,
                        want.json().c_str());
                if (want.encoding() != MUSTAFAR_ENCODING_EXACT) continue;
                const uint32_t k = want.count();
                const uint32_t row = (k < want.d ? want.d / 8 : 0) + (k * want.bits + 7) / 8 +
                                     (want.bits < 16 ? 4 : 0);
                REQUIRE(info.row_bytes == row, "row_bytes = %llu, expected %u",
                        static_cast<unsigned long long>(info.row_bytes), row);
            }
}

attend_budget World::budget(const HeadRecipe *head) const {
    const auto codes = [&](uint32_t side) {
        if (head == nullptr) return false;
        const SideRecipe &of = head->side[side];
        return of.encoding() == MUSTAFAR_ENCODING_EXACT && of.count() == of.d && of.bits < 8;
    };
    return attend_budget_of(backend.c_str(), {config.geometry.dtype == MUSTAFAR_F16,
                                              codes(MUSTAFAR_SIDE_K), codes(MUSTAFAR_SIDE_V)});
}

void World::run(const Op &op) {
    constexpr void (*functions[])(World &, const Op &) = {
#define X(name, weight) do_##name,
        ORACLE_KINDS(X)
#undef X
    };
    log_.clear();
    random = Random(op.seed);
    heap.calm();
    if (slots.empty()) { // the first cache, or all of them were dropped
        mustafar_cache *cache = create();
        REQUIRE(cache != nullptr || config.quota != 0, "create refused without a reason");
        if (cache == nullptr) return;
        slots.push_back(std::make_unique<Slot>(cache, Model(config)));
        slots.back()->plain = true;
        check_slot(*this, *slots.back());
    }
    say("%s(cache %zu", kind_name(op.kind), op.cache % slots.size());
    if (op.refuse >= 0) {
        say(", allocation %d refused", op.refuse);
        heap.refuse_after(op.refuse);
    }
    const uint64_t marks = slot(op).model.packed_marks;
    functions[static_cast<uint8_t>(op.kind)](*this, op);
    heap.calm();
    if (!slots.empty() && slot(op).model.packed_marks > marks) coverage.count("marks packed");
    say(")");
    coverage.count(std::string("op ") + kind_name(op.kind));
    ++steps_;
    check_context(*this);
    for (std::size_t i = 0; i < slots.size(); ++i)
        if (i == op.cache % slots.size() || i + 1 == slots.size() || steps_ % 4 == i)
            check_slot(*this, *slots[i]);
}

void World::finish() {
    slots.clear();
    mustafar_context_stats stats{};
    stats.struct_size = sizeof stats;
    REQUIRE(mustafar_context_get_stats(context, &stats, &error) == MUSTAFAR_OK, "%s",
            error.message);
    REQUIRE(
        stats.caches == 0 && stats.pages == 0 && stats.cache_bytes == 0 && stats.page_bytes == 0,
        "after the last cache: caches=%llu pages=%llu cache_bytes=%llu "
        "page_bytes=%llu",
        static_cast<unsigned long long>(stats.caches), static_cast<unsigned long long>(stats.pages),
        static_cast<unsigned long long>(stats.cache_bytes),
        static_cast<unsigned long long>(stats.page_bytes));
    mustafar_context_destroy(context);
    context = nullptr;
    REQUIRE(heap.live() == 0, "%llu bytes leaked", static_cast<unsigned long long>(heap.live()));
    REQUIRE(heap.complaint().empty(), "%s", heap.complaint().c_str());
}

} // namespace oracle
