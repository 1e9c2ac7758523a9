// SPDX-License-Identifier: Apache-2.0
// What the opaque handles point to.
#pragma once

#include <memory>

#include "core/cache.hpp"

struct mustafar_context {
    std::shared_ptr<mustafar::Context> context;
};
struct mustafar_recipe {
    std::shared_ptr<const mustafar::Recipe> recipe;
};
struct mustafar_cache {
    mustafar::Cache::Handle cache;
};
