// SPDX-License-Identifier: Apache-2.0
// One case on the C ABI: its caches, and one function per kind of step.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "arrays.hpp"

namespace conformance {

using Json = nlohmann::json;

struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <typename T>
using Handle = std::unique_ptr<T, void (*)(T*)>;
using CacheHandle = Handle<mustafar_cache>;
using RecipeHandle = Handle<mustafar_recipe>;

// What a step's call said.
struct Answer {
    mustafar_status status = MUSTAFAR_OK;
    mustafar_error error = MUSTAFAR_ERROR_INIT;
};

class Runner {
  public:
    // `strict`: the reference rows run, so the first of each pair of tolerances holds.
    Runner(mustafar_context* context, bool strict) : context_(context), strict_(strict) {}
    void run(const Json& test); // throws Failure

  private:
    Answer call(const Json& step);
    Answer call_change(const std::string& op, const Json& step);
    Answer call_question(const std::string& op, const Json& step);
    // steps_change.cpp
    Answer create(const Json& step);
    Answer append(const Json& step);
    Answer prune(const Json& step);
    Answer evict(const Json& step);
    Answer evict_scores(const Json& step);
    Answer fork(const Json& step);
    Answer save(const Json& step);
    Answer load(const Json& step);
    // steps_ask.cpp
    Answer state(const Json& step);
    Answer export_rows(const Json& step);
    Answer bytes(const Json& step);
    Answer plan(const Json& step);
    Answer stats(const Json& step);
    Answer recipe(const Json& step);
    Answer side(const Json& step);
    Answer window(const Json& step);
    // steps_attend.cpp
    Answer attend(const Json& step);
    Answer merge(const Json& step);
    void check_certificate(const Json& step, const Array& out, const Array& dropped) const;

    mustafar_geometry geometry(const Json& step) const;
    RecipeHandle parse(const Json& step, Answer& answer) const;
    mustafar_cache* cache(const Json& step) const { return find(step.at("cache")); }
    mustafar_cache* find(int slot) const;
    std::uint32_t rows_of(const mustafar_cache* cache, std::uint32_t layer,
                          std::uint32_t head) const;

    mustafar_context* context_;
    bool strict_;
    const Json* test_ = nullptr;
    std::map<int, CacheHandle> caches_;
    std::map<int, std::vector<std::uint8_t>> saved_;
};

// ---- small things the steps share -----------------------------------------------------------

std::uint32_t index_or_all(const Json& step, const char* key); // -1 = MUSTAFAR_ALL
template <typename T>
T get(const Json& step, const char* key, T otherwise) {
    return step.contains(key) ? step.at(key).get<T>() : otherwise;
}
std::uint32_t side_of(const Json& step);
mustafar_tensor tensor(Array& array, std::vector<std::int64_t> shape);
void use_layout(mustafar_tensor& view, Array& array, const Json& step, const std::string& name);

void expect_number(const char* what, std::uint64_t got, const Json& step, const char* key);
void expect_least(const char* what, std::uint64_t got, const Json& step, const char* key);
void expect_bytes(const char* what, const std::vector<std::uint8_t>& got, const std::string& text);
enum class Measure { relative_l2, largest_difference };
void expect_close(const char* what, const Array& got, const Json& step, const std::string& key,
                  bool strict, Measure measure);

} // namespace conformance
