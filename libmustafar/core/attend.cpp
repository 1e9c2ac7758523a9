// SPDX-License-Identifier: Apache-2.0
// Attention over a list of caches: a flat list of (cache, kv head, queries, token range), so that a few
// long heads keep all threads busy; then the parts of each head are merged.
#include <atomic>
#include <cmath>
#include <optional>

#include "core/attend_parts.hpp"
#include "core/attend_stage.hpp"
#include "core/cache.hpp"

namespace mustafar {
namespace {

AttendArgs head_args(const AttendRequest& request, std::size_t item) {
    const Geometry& geometry = request.caches[0]->geometry();
    const Cache& cache = *request.caches[item / geometry.kv_heads];
    AttendArgs args = request.args;
    args.cache = static_cast<std::int64_t>(item / geometry.kv_heads);
    args.kv_head = static_cast<std::uint32_t>(item % geometry.kv_heads);
    args.group = geometry.group();
    args.head = cache.view(request.layer, args.kv_head);
    args.q_position =
        request.at ? request.q_position
                   : static_cast<std::int64_t>(cache.layer(request.layer).length()) - args.q_len;
    return args;
}

void attend_whole_heads(Context& context, const AttendRequest& request, std::size_t heads,
                        AttendFn row, Context::Leases& leases) {
    context.parallel_for(heads, [&](std::size_t item) {
        const Context::Leases::Loan lease(leases);
        AttendArgs args = head_args(request, item);
        args.work = lease.data();
        row(args);
    });
}

// Scores or outputs left the range of float. Only `ref`, in double, can say more.
bool left_range(const AttendArgs& args) { return std::isnan(args.part.partial[0]); }

// Heads whose tokens may be split have room for max_splits ranges of their queries, whatever their
// length, so that the room does not grow from step to step. Other parts are finished at once, in the
// workspace they were made in.
void attend_parts(Context& context, const AttendRequest& request, std::size_t heads) {
    const Geometry& geometry = request.caches[0]->geometry();
    const std::uint32_t group = geometry.group();
    const bool whole = request.args.drop_mass != 0.0;
    const auto split_of = [&](const HeadView& head) {
        return AttendSplit(HeadTiles(head).count(), group, request.args.q_len, whole);
    };
    const AttendSplit queries(0, group, request.args.q_len, whole); // the same for every head
    const std::uint32_t block = queries.block;
    const std::uint32_t blocks = queries.blocks;
    const std::uint32_t rooms = queries.splittable ? max_splits : 1;
    const std::size_t stride = block * part_floats(geometry.head_dim_v);
    const std::size_t slots = heads * blocks * rooms;
    // Everything is taken before the work starts: nothing can run out once outputs are written.
    Context::Leases leases(context, slots);
    const Context::Room room(context, queries.splittable ? slots * stride * sizeof(float) : 0);
    std::atomic<bool> beyond_float{false};
    const auto part_args = [&](std::size_t slot) {
        AttendArgs args = head_args(request, slot / rooms / blocks);
        const auto first = static_cast<std::uint32_t>(slot / rooms % blocks) * block;
        args.part.first_query = first;
        args.part.queries = std::min(block, group * args.q_len - first);
        if (queries.splittable) {
            args.part.partial = static_cast<float*>(room.data()) + slot * stride;
        }
        return args;
    };
    context.parallel_for(slots, [&](std::size_t slot) {
        AttendArgs args = part_args(slot);
        const AttendSplit split = split_of(args.head);
        const auto range = static_cast<std::uint32_t>(slot % rooms);
        if (range >= split.ranges) { return; }
        const std::uint32_t tiles = HeadTiles(args.head).count();
        args.part.first_tile = std::min(tiles, range * split.tiles);
        args.part.tiles = std::min(split.tiles, tiles - args.part.first_tile);
        const Context::Leases::Loan lease(leases);
        args.work = lease.data();
        if (!queries.splittable) {
            args.part.partial = reinterpret_cast<float*>(args.work + part_at);
        }
        context.kernels().attend(args);
        if (left_range(args)) { beyond_float = true; }
        if (split.ranges == 1) { finish_attend(args, args.part.partial, 1, stride); }
    });
    context.parallel_for(queries.splittable ? heads : 0, [&](std::size_t head) {
        const AttendArgs args = part_args(head * rooms);
        const AttendSplit split = split_of(args.head);
        if (split.ranges > 1) { finish_attend(args, args.part.partial, split.ranges, stride); }
    });
    if (beyond_float) { attend_whole_heads(context, request, heads, attend_ref, leases); }
}

} // namespace

void attend(const AttendRequest& wanted) {
    if (wanted.caches.empty()) { return; }
    Context& context = *wanted.caches[0]->context();
    AttendRequest request = wanted;
    std::optional<AttendStage> stage;
    if (context.kernels().attend_may_fail) { stage.emplace(context, request.args); }
    const std::size_t heads = request.caches.size() * request.caches[0]->geometry().kv_heads;
    std::atomic<std::uint64_t> spent{0};
    {
        const Stopwatch watch(spent);
        if (context.kernels().attend_in_parts) {
            attend_parts(context, request, heads);
        } else {
            Context::Leases leases(context, heads);
            attend_whole_heads(context, request, heads, context.kernels().attend, leases);
        }
        if (stage) { stage->publish(); }
    }
    for (const Cache* cache : request.caches) {
        cache->counters().attend_calls.fetch_add(1, std::memory_order_relaxed);
        cache->counters().attend_ns.fetch_add(spent / request.caches.size(),
                                              std::memory_order_relaxed);
    }
}

} // namespace mustafar
