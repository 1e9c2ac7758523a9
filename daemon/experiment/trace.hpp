// SPDX-License-Identifier: Apache-2.0
// A recorded trace: keys, values and queries of every layer of a real model (docs/experiments.md, section 2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "mustafar/types.h"

namespace mustafar::experiment {

struct TraceLayer {
    std::vector<std::uint16_t> k; // [kv_heads][tokens][head_dim], raw bits of `dtype`
    std::vector<std::uint16_t> v; // the same
    std::vector<std::uint16_t> q; // [q_heads][queries][head_dim]
    std::vector<float> out;       // [q_heads][queries][head_dim], empty where the file has none
    std::vector<float> lse;       // [q_heads][queries], empty where the file has none
};

struct Trace {
    std::string name; // file name without its ending
    std::string path;
    std::string model; // metadata, "" where there is none
    std::string kind;
    mustafar_dtype dtype = MUSTAFAR_F16;
    std::uint32_t tokens = 0;  // T
    std::uint32_t queries = 0; // Tq: query j stands at position tokens - queries + j
    std::uint32_t q_heads = 0;
    std::uint32_t kv_heads = 0;
    std::uint32_t head_dim = 0;
    double scale = 0.0;
    bool cut = false; // shortened: `out` and `lse` no longer fit
    std::vector<TraceLayer> layers;

    std::uint32_t group() const { return q_heads / kv_heads; }
    mustafar_geometry geometry() const;
    bool
    same_shape(const Trace& other) const; // geometry and scale: timings of one hold for the other
    // 0 where it is 1 / sqrt(head_dim), which the library then computes in double; else the number.
    float scale_option() const;
    std::size_t row(std::uint32_t kv_head,
                    std::uint32_t token) const { // index of K or V's first element
        return (std::size_t{kv_head} * tokens + token) * head_dim;
    }
    std::size_t query(std::uint32_t q_head, std::uint32_t index) const {
        return (std::size_t{q_head} * queries + index) * head_dim;
    }

    // Keeps the last `count` tokens (at least as many as queries) or queries; 0 keeps all. Keys were
    // rotated before they were recorded, so the rows that stay are what they were.
    void keep_last(std::uint32_t count_tokens, std::uint32_t count_queries);
};

// Throws Failure{exit_data} that names the file and what is missing, damaged or contradictory.
Trace load_trace(const std::filesystem::path& path);

// The same from bytes in memory; `name` is for messages.
Trace parse_trace(std::span<const std::byte> file, const std::string& name);

// Everything that load_trace refuses, a layer at a time: what comes back has no values.
Trace check_trace(std::span<const std::byte> file, const std::string& name);

// What the header of a file says, with the shapes of all tensors checked and nothing of their values.
Trace describe_trace(const std::filesystem::path& path);

} // namespace mustafar::experiment
