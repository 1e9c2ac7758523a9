// SPDX-License-Identifier: Apache-2.0
// One line per call on a cache, for contexts whose log hook asks for MUSTAFAR_LOG_TRACE.
#pragma once

#include <cstdio>
#include <exception>

#include "core/cache.hpp"

namespace mustafar::capi {

class CallLog {
  public:
    CallLog(const Cache& cache, const char* call, std::uint32_t layer, std::int64_t count = -1)
        : cache_(cache), call_(call), layer_(layer), count_(count),
          thrown_(std::uncaught_exceptions()) {}
    ~CallLog() {
        const Context& context = *cache_.context();
        if (!context.logs(MUSTAFAR_LOG_TRACE)) { return; }
        char text[160];
        char layer[16] = "all";
        if (layer_ != MUSTAFAR_ALL) { std::snprintf(layer, sizeof(layer), "%u", layer_); }
        std::snprintf(text, sizeof(text), "cache %p  %s  layer %s  count %lld  %s",
                      static_cast<const void*>(&cache_), call_, layer,
                      static_cast<long long>(count_),
                      std::uncaught_exceptions() > thrown_ ? "failed" : "ok");
        context.log(MUSTAFAR_LOG_TRACE, text);
    }
    CallLog(const CallLog&) = delete;
    CallLog& operator=(const CallLog&) = delete;

  private:
    const Cache& cache_;
    const char* call_;
    std::uint32_t layer_;
    std::int64_t count_;
    int thrown_;
};

} // namespace mustafar::capi
