// SPDX-License-Identifier: Apache-2.0
// The report as JSON and as CSV, from one list of columns.
#include "experiment/json.hpp"

#include <cmath>

namespace mustafar::experiment {

namespace {

// Whole numbers without a fraction, NaN and infinity as null.
Json number(double value) {
    if (!std::isfinite(value)) { return nullptr; }
    if (value == std::floor(value) && std::abs(value) < 1e15) {
        return static_cast<std::int64_t>(value);
    }
    return value;
}

Json nanoseconds(double value) { return number(std::round(value)); }

Json layers_json(const Row& row) {
    Json out = Json::array();
    for (const LayerErrors& layer : row.layers) {
        out.push_back({{"layer", layer.layer},
                       {"k_error", number(layer.k)},
                       {"v_error", number(layer.v)},
                       {"out_error", number(layer.out)},
                       {"out_error_max", number(layer.out_max)},
                       {"kl", number(layer.kl)}});
    }
    return out;
}

Json samples_json(const Timing* timing) {
    Json out = Json::array();
    for (const TimedLength& length :
         timing == nullptr ? std::vector<TimedLength>() : timing->lengths) {
        Json ns = Json::array();
        for (const double sample : length.samples) { ns.push_back(nanoseconds(sample)); }
        out.push_back({{"tokens", length.tokens},
                       {"read_bytes", length.read_bytes},
                       {"p10", nanoseconds(length.p10)},
                       {"p50", nanoseconds(length.p50)},
                       {"p90", nanoseconds(length.p90)},
                       {"ns", std::move(ns)}});
    }
    return out;
}

Json settings_json(const Settings& settings) {
    Json layers = settings.layers.empty() ? Json() : Json(settings.layers);
    return {{"measure", text_of(settings.measure)},
            {"sides", text_of(settings.sides)},
            {"lengths", settings.lengths},
            {"layers", std::move(layers)},
            {"threads", settings.threads},
            {"repeats", settings.repeats},
            {"budget_seconds", settings.budget_seconds},
            {"drop_mass", settings.drop_mass},
            {"timing", settings.timing}};
}

Json traces_json(const Report& report) {
    Json out = Json::array();
    for (const TraceInfo& trace : report.traces) {
        const Shape& shape = report.shapes[trace.shape];
        out.push_back({{"name", trace.name},
                       {"model", trace.model},
                       {"kind", trace.kind},
                       {"tokens", trace.tokens},
                       {"queries", trace.queries},
                       {"layers", shape.layers},
                       {"q_heads", shape.q_heads},
                       {"kv_heads", shape.kv_heads},
                       {"head_dim", shape.head_dim},
                       {"dtype", shape.dtype},
                       {"timed_on", shape.trace}});
    }
    return out;
}

std::string csv_field(const Json& value) {
    if (value.is_null()) { return ""; }
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (text.find_first_of("\",\r\n") == std::string::npos) { return text; }
    std::string out = "\"";
    for (const char c : text) { out += c == '"' ? "\"\"" : std::string(1, c); }
    return out + "\"";
}

} // namespace

Json flat_row(const Report& report, const Row& row) {
    const Timing* timing = report.timing(row);
    const TimedLength* last = timing == nullptr ? nullptr : &timing->lengths.back();
    Json out = {{"recipe", row.recipe},
                {"trace", row.trace},
                {"tokens", row.tokens},
                {"bytes_per_token", number(row.bytes_per_token)},
                {"row_bytes_k", number(row.row_bytes_k)},
                {"row_bytes_v", number(row.row_bytes_v)},
                {"ratio_to_dense_f16", number(row.cache_ratio)},
                {"body_ratio_to_dense_f16", number(row.body_ratio)},
                {"k_error", number(row.overall.k)},
                {"v_error", number(row.overall.v)},
                {"out_error", number(row.overall.out)},
                {"out_error_max", number(row.overall.out_max)},
                {"out_error_worst_layer", number(row.worst)},
                {"worst_layer", row.worst_layer},
                {"kl", number(row.overall.kl)},
                {"pack_ns_per_token", nanoseconds(row.pack_ns_per_token)}};
    out["attend_ns_per_token"] = nanoseconds(last == nullptr ? not_measured : last->p50);
    out["p10"] = nanoseconds(last == nullptr ? not_measured : last->p10);
    out["p90"] = nanoseconds(last == nullptr ? not_measured : last->p90);
    out["attend_tokens"] = last == nullptr ? Json() : Json(last->tokens);
    out["gigabytes_per_second"] = last == nullptr ? Json() : number(last->gigabytes_per_second());
    for (std::size_t i = 0; i < baselines.size(); ++i) {
        const bool known = timing != nullptr && timing->break_even[i].has_value();
        out[std::string("break_even_") + baseline_labels[i]] =
            known ? Json(*timing->break_even[i]) : Json();
    }
    out["body_tokens"] = number(row.body_tokens);
    out["cache_bytes"] = row.cache_bytes;
    out["window_bytes"] = row.window_bytes;
    out["dense_bytes"] = row.dense_bytes;
    out["digest"] = row.digest;
    return out;
}

Json full_row(const Report& report, const Row& row) {
    Json out = flat_row(report, row);
    out["layers"] = layers_json(row);
    out["samples"] = samples_json(report.timing(row));
    return out;
}

Json head_json(const Report& report) {
    Json kernels = Json::object();
    for (const Kernel& kernel : report.kernels) { kernels[kernel.op] = kernel.name; }
    return {
        {"schema", "mustafar.experiment"},
        {"version", 1},
        {"command", report.settings.command},
        {"complete", report.complete},
        {"seconds", std::round(report.seconds * 10) / 10},
        {"seed", report.settings.seed},
        {"machine",
         {{"cpu", report.machine.cpu},
          {"cores", report.machine.cores},
          {"threads", report.machine.threads},
          {"os", report.machine.os}}},
        {"library", {{"version", report.library}, {"abi", report.abi}, {"build", report.build}}},
        {"commit", report.commit},
        {"kernels", std::move(kernels)},
        {"settings", settings_json(report.settings)},
        {"traces", traces_json(report)}};
}

std::string csv_of(const std::vector<Json>& rows) {
    std::string text;
    for (const Json& row : rows) {
        std::string names;
        std::string values;
        for (const auto& [name, value] : row.items()) {
            if (value.is_structured()) { continue; } // layers, samples
            names += (names.empty() ? "" : ",") + name;
            values += (values.empty() ? "" : ",") + csv_field(value);
        }
        text += (text.empty() ? names + "\r\n" : "") + values + "\r\n";
    }
    return text;
}

std::string json_text(const Report& report) {
    Json out = head_json(report);
    Json rows = Json::array();
    for (const Row& row : report.rows) { rows.push_back(full_row(report, row)); }
    out["rows"] = std::move(rows);
    return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string csv_text(const Report& report) {
    std::vector<Json> rows;
    for (const Row& row : report.rows) { rows.push_back(flat_row(report, row)); }
    return csv_of(rows);
}

} // namespace mustafar::experiment
