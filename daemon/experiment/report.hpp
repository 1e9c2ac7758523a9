// SPDX-License-Identifier: Apache-2.0
// What an experiment found. Filled while it runs: after an interruption the rows that are here are complete.
// NaN = not measured. Formulas: docs/experiments.md, section 3.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "experiment/settings.hpp"

namespace mustafar::experiment {

constexpr double not_measured = std::numeric_limits<double>::quiet_NaN();

// The three every recipe is timed against, in this order.
constexpr std::array<const char*, 3> baselines{"dense", "int8", "int4"};
constexpr std::array<const char*, 3> baseline_labels{"f16", "int8", "int4"};

struct LayerErrors {
    std::uint32_t layer = 0;
    double k = not_measured; // reconstruction, relative Frobenius; not measured without body rows
    double v = not_measured;
    double out = not_measured; // attention output, relative Frobenius
    double out_max = not_measured;
    double kl = not_measured; // nats, mean over queries and heads
};

// One recipe on one trace.
struct Row {
    std::string recipe;
    std::string digest;
    std::string trace;
    std::size_t shape = 0; // index into Report::shapes
    std::uint32_t tokens = 0;
    double bytes_per_token = not_measured; // of the body, all layers and kv heads
    double row_bytes_k = not_measured;     // mean over layers and kv heads
    double row_bytes_v = not_measured;
    double body_ratio = not_measured;  // bytes_per_token / f16
    double cache_ratio = not_measured; // whole cache / f16: "ratio_to_dense_f16"
    std::uint64_t cache_bytes = 0;
    std::uint64_t window_bytes = 0;
    std::uint64_t dense_bytes = 0;
    double body_tokens = 0.0; // per layer and kv head
    std::vector<LayerErrors> layers;
    LayerErrors overall;         // means over layers; out_max is the largest
    double worst = not_measured; // largest of layers[].out
    std::uint32_t worst_layer = 0;
    double pack_ns_per_token = not_measured;
};

struct TimedLength {
    std::uint32_t tokens = 0;
    std::uint64_t read_bytes = 0; // packed and dense rows that one step reads
    std::vector<double> samples;  // ns of one decode step: one query, all layers and heads
    double p10 = not_measured;
    double p50 = not_measured;
    double p90 = not_measured;
    double gigabytes_per_second() const { return static_cast<double>(read_bytes) / p50; }
};

struct Timing {
    std::string recipe;
    bool asked = true; // false: runs only because the others are compared with it
    std::vector<TimedLength> lengths;
    std::array<std::optional<std::uint64_t>, 3> break_even; // against `baselines`
};

// Traces of one shape share their timings: time does not depend on what the numbers are.
struct Shape {
    std::string trace; // whose rows were used
    std::uint32_t layers = 0;
    std::uint32_t q_heads = 0;
    std::uint32_t kv_heads = 0;
    std::uint32_t head_dim = 0;
    std::string dtype;
    std::vector<Timing> timings;

    const Timing* find(const std::string& recipe) const {
        for (const Timing& timing : timings) {
            if (timing.recipe == recipe && !timing.lengths.empty()) { return &timing; }
        }
        return nullptr;
    }
};

struct TraceInfo {
    std::string name;
    std::string model;
    std::string kind;
    std::uint32_t tokens = 0;
    std::uint32_t queries = 0;
    std::size_t shape = 0;
};

struct Kernel {
    std::string op;
    std::string name;
};

struct Machine {
    std::string cpu;
    std::string os;
    unsigned cores = 0;
    unsigned threads = 0; // of the context
};

struct Report {
    Settings settings;
    Machine machine;
    std::string library; // version
    std::uint32_t abi = 0;
    std::string build;
    std::string commit;
    std::vector<Kernel> kernels;
    std::vector<TraceInfo> traces;
    std::vector<Row> rows;
    std::vector<Shape> shapes;
    double seconds = 0.0;
    bool complete = false;

    const Timing* timing(const Row& row) const { return shapes.at(row.shape).find(row.recipe); }
};

} // namespace mustafar::experiment
