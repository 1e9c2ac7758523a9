// SPDX-License-Identifier: Apache-2.0
// reload: save, load, save again, and go on with the loaded cache. Damaged
// snapshots are refused.
#include <cstdio>
#include <cstring>
#include <string>
#include <unistd.h>

#include "world.hpp"

namespace oracle {
namespace {

const char *const model_id = "oracle/1";

bool save(World &world, const mustafar_cache *cache, Bytes &to) {
    return world.done(mustafar_cache_save(cache, model_id, write_bytes, &to, &world.error), "save");
}

// What may be given to load is given or left out at random.
mustafar_status load(World &world, Bytes &from, mustafar_cache **out) {
    const mustafar_cache_options options = world.config.options();
    const uint32_t given = world.random.below(16);
    return mustafar_cache_load(world.context, given & 1 ? &world.config.geometry : nullptr,
                               given & 2 ? world.recipe : nullptr, model_id,
                               given & 8 ? &options : nullptr, read_bytes, &from, out,
                               &world.error);
}

mustafar_status through_file(World &world, const mustafar_cache *cache, mustafar_cache **out) {
    const std::string path = "/tmp/mustafar_property_" + std::to_string(getpid()) + ".mst";
    mustafar_status status = mustafar_cache_save_file(cache, model_id, path.c_str(), &world.error);
    if (status == MUSTAFAR_OK)
        status = mustafar_cache_load_file(world.context, &world.config.geometry, world.recipe,
                                          model_id, nullptr, path.c_str(), out, &world.error);
    std::remove(path.c_str());
    return status;
}

void equal_bytes(const Bytes &a, const Bytes &b, const char *what) {
    std::size_t at = 0;
    while (at < a.data.size() && at < b.data.size() && a.data[at] == b.data[at]) ++at;
    REQUIRE(a.data == b.data, "%s: %zu bytes, then %zu; the first difference is at %zu", what,
            a.data.size(), b.data.size(), at);
}

// One flipped bit, or the end missing.
void damage(World &world, Bytes bytes) {
    const std::size_t size = bytes.data.size(), at = world.random.below(size);
    if (world.random.chance(30))
        bytes.data.resize(at);
    else
        bytes.data[at] ^= std::byte{1} << world.random.below(8);
    bytes.at = 0;
    mustafar_cache *cache = nullptr;
    const mustafar_status status =
        mustafar_cache_load(world.context, nullptr, nullptr, model_id, nullptr, read_bytes, &bytes,
                            &cache, &world.error);
    if (status == MUSTAFAR_OK) mustafar_cache_destroy(cache);
    REQUIRE(
        status == MUSTAFAR_CORRUPT || status == MUSTAFAR_MISMATCH ||
            status == MUSTAFAR_UNSUPPORTED ||
            (status == MUSTAFAR_OUT_OF_MEMORY && (world.config.quota != 0 || world.heap.refused())),
        "a snapshot damaged at byte %zu of %zu (now %zu): load says %s: %s", at, size,
        bytes.data.size(), mustafar_status_name(status),
        status == MUSTAFAR_OK ? "" : world.error.message);
    REQUIRE(cache == nullptr, "a failed load wrote its output");
    world.coverage.count("damaged snapshots refused");
}

// A fork is an equal cache: equal bytes.
bool check_fork(World &world, const Slot &slot, const Bytes &want) {
    mustafar_cache *fork = nullptr;
    if (!world.done(mustafar_cache_fork(slot.library, &fork, &world.error), "fork")) return false;
    Bytes bytes;
    const mustafar_status status =
        mustafar_cache_save(fork, model_id, write_bytes, &bytes, &world.error);
    mustafar_cache_destroy(fork);
    if (!world.done(status, "save of a fork")) return false;
    equal_bytes(want, bytes, "saved cache and its fork");
    return true;
}

} // namespace

void do_reload(World &world, const Op &op) {
    Slot &slot = world.slot(op);
    Bytes first, second;
    if (!save(world, slot.library, first)) return;
    world.say(", %zu bytes", first.data.size());
    if (world.random.chance(20) && !check_fork(world, slot, first)) return;
    if (world.random.chance(50)) damage(world, first);
    if (world.random.chance(50)) first.most = world.random.between(1, 4000);
    mustafar_cache *loaded = nullptr;
    const bool file = world.random.chance(5);
    const mustafar_status status =
        file ? through_file(world, slot.library, &loaded) : load(world, first, &loaded);
    if (!world.done(status, "load")) {
        REQUIRE(loaded == nullptr, "a failed load wrote its output");
        check_unchanged(world, slot, slot.bytes);
        return;
    }
    auto fresh = std::make_unique<Slot>(loaded, slot.model.with_own_pages());
    REQUIRE(file || first.at == first.data.size(), "load read %zu of %zu bytes", first.at,
            first.data.size());
    if (!save(world, loaded, second)) return;
    equal_bytes(first, second, "saved, loaded and saved again");
    world.slots[op.cache % world.slots.size()] = std::move(fresh);
}

} // namespace oracle
