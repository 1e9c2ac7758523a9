// SPDX-License-Identifier: Apache-2.0
#include "mustafar/context.h"

#include "guard.hpp"
#include "handles.hpp"
#include "kernel_info.hpp"

using namespace mustafar;
using namespace mustafar::capi;

namespace {

ContextSettings read_settings(const mustafar_context_options* options,
                              const mustafar_allocator* allocator, const mustafar_log_hook* log) {
    ContextSettings settings;
    if (options != nullptr) {
        const auto given = read_struct(options, "options");
        check_flags(given.flags, MUSTAFAR_CONTEXT_REFUSE_REF, "options.flags");
        require_zero(given.reserved, "options.reserved");
        if (given.threads > 1024) {
            refuse("options.threads = " + std::to_string(given.threads) +
                   " is out of range; give 0..1024");
        }
        if (std::memchr(given.backend, 0, sizeof(given.backend)) == nullptr) {
            refuse("options.backend has no NUL in its 32 bytes");
        }
        settings.threads = given.threads;
        settings.quota_bytes = given.quota_bytes;
        settings.refuse_ref = (given.flags & MUSTAFAR_CONTEXT_REFUSE_REF) != 0;
        settings.backend = given.backend;
    }
    if (allocator != nullptr) {
        settings.allocator = read_struct(allocator, "allocator");
        require_zero(settings.allocator.reserved, "allocator.reserved");
        if (settings.allocator.allocate == nullptr || settings.allocator.release == nullptr) {
            refuse("allocator.allocate and allocator.release must both be given");
        }
    }
    if (log != nullptr) {
        settings.log = read_struct(log, "log");
        if (settings.log.write == nullptr) {
            refuse("log.write = NULL; give a function, or no log at all");
        }
    }
    return settings;
}

} // namespace

extern "C" {

mustafar_status mustafar_context_create(const mustafar_context_options* options,
                                        const mustafar_allocator* allocator,
                                        const mustafar_log_hook* log, mustafar_context** out,
                                        mustafar_error* error) {
    return guard("mustafar_context_create", error, [&] {
        require(out, "out");
        auto context = std::make_shared<Context>(read_settings(options, allocator, log));
        *out = new mustafar_context{std::move(context)};
    });
}

void mustafar_context_destroy(mustafar_context* context) { delete context; }

mustafar_status mustafar_context_kernel(const mustafar_context* context, const char* op,
                                        mustafar_kernel_info* out, mustafar_error* error) {
    return guard("mustafar_context_kernel", error, [&] {
        require(context, "context");
        require(op, "op");
        check_output(out, "out");
        std::string known;
        for (const KernelRow& row : context->context->kernels().rows) {
            if (std::string(op) == row.op) { return write_struct(out, kernel_info(row)); }
            known += (known.empty() ? "" : ", ") + std::string(row.op);
        }
        refuse("op = \"" + std::string(op) + "\" does not exist; give one of: " + known);
    });
}

mustafar_status mustafar_context_get_stats(const mustafar_context* context,
                                           mustafar_context_stats* out, mustafar_error* error) {
    return guard("mustafar_context_get_stats", error, [&] {
        require(context, "context");
        check_output(out, "out");
        const Context& c = *context->context;
        mustafar_context_stats stats{};
        stats.threads = c.threads();
        stats.live_bytes = c.memory().live();
        stats.peak_bytes = c.memory().peak();
        stats.quota_bytes = c.memory().quota();
        stats.allocations = c.memory().allocations();
        stats.page_bytes = c.memory().live(Part::page);
        stats.cache_bytes = c.memory().live(Part::cache);
        stats.work_bytes = c.memory().live(Part::work);
        stats.pages = c.pool().pages();
        stats.shared_pages = c.pool().shared_pages();
        stats.caches = c.caches.load();
        write_struct(out, stats);
    });
}

} // extern "C"
