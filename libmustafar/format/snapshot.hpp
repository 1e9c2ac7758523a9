// SPDX-License-Identifier: Apache-2.0
// Snapshots, version 1. docs/format.md, section 5, is the specification.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/cache.hpp"

namespace mustafar {

constexpr std::uint32_t snapshot_version = 1;

// Takes or gives bytes; throws Error{IO}.
using WriteFn = std::function<void(const void* data, std::size_t bytes)>;
using ReadFn = std::function<std::size_t(void* data, std::size_t bytes)>; // 0 = end

void save_snapshot(const Cache& cache, const std::string& model_id, const WriteFn& write);

struct LoadRequest {
    std::shared_ptr<Context> context;
    std::optional<Geometry> geometry; // what is given must match
    std::shared_ptr<const Recipe> recipe;
    std::optional<std::string> model_id;
    std::optional<CacheOptions> options; // max_tokens 0 = as saved
};
Cache::Handle load_snapshot(const LoadRequest& request, const ReadFn& read);

} // namespace mustafar
