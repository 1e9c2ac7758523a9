// SPDX-License-Identifier: Apache-2.0
// The C ABI with owners around its handles, snapshots in memory, and the text form of a cache that golden
// files are compared in. Shared by the generator, the golden tests and tests/fuzz.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mustafar/mustafar.h"

namespace mustafar::golden {

template <auto destroy>
struct Destroy {
    void operator()(auto* handle) const { destroy(handle); }
};
using ContextPtr = std::unique_ptr<mustafar_context, Destroy<mustafar_context_destroy>>;
using RecipePtr = std::unique_ptr<mustafar_recipe, Destroy<mustafar_recipe_destroy>>;
using CachePtr = std::unique_ptr<mustafar_cache, Destroy<mustafar_cache_destroy>>;
using Bytes = std::vector<unsigned char>;

// What a call said, where more than its status matters.
struct Outcome {
    mustafar_status status = MUSTAFAR_OK;
    mustafar_error error = MUSTAFAR_ERROR_INIT;
};

// Ends the program with the error's text where a step fails that nothing can go on without.
void must(mustafar_status status, const mustafar_error& error);

ContextPtr make_context();
RecipePtr make_recipe(std::string_view text);
mustafar_tensor tensor(const void* data, mustafar_dtype dtype, std::vector<std::int64_t> shape);

Bytes save(const mustafar_cache* cache, const std::string& model_id);
// The cache, or null and what was said. `*taken` gets the number of bytes that were read.
CachePtr load(mustafar_context* context, const Bytes& bytes, Outcome& outcome,
              std::size_t* taken = nullptr);

// Lengths, positions, survivors and values (f32 bits) of every row, a line each. read_snapshot.py
// writes the same text from the file alone.
std::string describe(const mustafar_cache* cache, const std::string& model_id);

Bytes read_file(const std::string& path);
// Fails where the file exists: golden files are made once.
void write_new_file(const std::string& path, const void* data, std::size_t bytes);

} // namespace mustafar::golden
