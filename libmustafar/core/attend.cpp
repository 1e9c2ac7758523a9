// SPDX-License-Identifier: Apache-2.0
// Attention over a list of caches: one work item per (cache, kv head).
#include "core/cache.hpp"

namespace mustafar {

void attend(const AttendRequest& request) {
    if (request.caches.empty()) { return; }
    Context& context = *request.caches[0]->context();
    const Geometry& geometry = request.caches[0]->geometry();
    const std::size_t heads = geometry.kv_heads;
    std::atomic<std::uint64_t> spent{0};
    {
        const Stopwatch watch(spent);
        const std::size_t items = request.caches.size() * heads;
        Context::Leases leases(context, items);
        context.parallel_for(items, [&](std::size_t item) {
            const Cache& cache = *request.caches[item / heads];
            const Context::Leases::Loan lease(leases);
            AttendArgs args = request.args;
            args.cache = static_cast<std::int64_t>(item / heads);
            args.kv_head = static_cast<std::uint32_t>(item % heads);
            args.group = geometry.group();
            args.head = cache.view(request.layer, args.kv_head);
            args.q_position =
                request.at
                    ? request.q_position
                    : static_cast<std::int64_t>(cache.layer(request.layer).length()) - args.q_len;
            args.work = lease.data();
            context.kernels().attend(args);
        });
    }
    for (const Cache* cache : request.caches) {
        cache->counters().attend_calls.fetch_add(1, std::memory_order_relaxed);
        cache->counters().attend_ns.fetch_add(spent / request.caches.size(),
                                              std::memory_order_relaxed);
    }
}

} // namespace mustafar
