// SPDX-License-Identifier: Apache-2.0
// attend and merge.
#include <cmath>

#include "runner.hpp"

namespace conformance {
namespace {

Array zeros(mustafar_dtype dtype, std::size_t count) {
    Array array;
    array.dtype = dtype;
    array.bytes.resize(count * (dtype == MUSTAFAR_F32 ? 4 : 2), 0x55);
    return array;
}

mustafar_attend_options options_of(const Json& step) {
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    options.scale = get(step, "scale", 0.0F);
    options.softcap = get(step, "softcap", 0.0F);
    options.sliding_window = get(step, "sliding_window", 0U);
    options.drop_mass = get(step, "drop_mass", 0.0F);
    if (step.contains("q_position")) {
        options.flags = MUSTAFAR_ATTEND_AT;
        options.q_position = step.at("q_position");
    }
    return options;
}

mustafar_dtype dtype_named(const std::string& name) {
    return name == "f16" ? MUSTAFAR_F16 : name == "bf16" ? MUSTAFAR_BF16 : MUSTAFAR_F32;
}

} // namespace

Answer Runner::attend(const Json& step) {
    std::vector<const mustafar_cache*> own;
    for (const int slot : step.at("caches").get<std::vector<int>>()) { own.push_back(find(slot)); }
    const mustafar_geometry shape = geometry(step);
    const auto count = static_cast<std::int64_t>(own.size());
    const std::int64_t q_len = step.at("q_len");
    const std::int64_t heads = shape.q_heads;
    const auto queries = static_cast<std::size_t>(count * q_len * heads);
    Array q = read_array(step.at("q").get<std::string>(), queries * shape.head_dim_k);
    Array out =
        zeros(dtype_named(get<std::string>(step, "out_dtype", "f32")), queries * shape.head_dim_v);
    Array lse = zeros(MUSTAFAR_F32, queries);
    Array dropped = zeros(MUSTAFAR_F32, queries);
    const std::int64_t width = get<std::int64_t>(step, "weights_width", 0);
    Array weights = zeros(MUSTAFAR_F32, queries * static_cast<std::size_t>(width));
    Array sinks;
    if (step.contains("sinks")) {
        sinks = read_array(step.at("sinks").get<std::string>(), shape.q_heads);
    }
    mustafar_tensor view_q = tensor(q, {count, q_len, heads, shape.head_dim_k});
    use_layout(view_q, q, step, "q");
    const mustafar_tensor view_out = tensor(out, {count, q_len, heads, shape.head_dim_v});
    const mustafar_tensor view_lse = tensor(lse, {count, q_len, heads});
    const mustafar_tensor view_weights = tensor(weights, {count, q_len, heads, width});
    const mustafar_tensor view_dropped = tensor(dropped, {count, q_len, heads});
    const mustafar_tensor view_sinks = tensor(sinks, {heads});
    const mustafar_attend_options options = options_of(step);
    const bool drops = options.drop_mass > 0.0F;
    Answer answer;
    answer.status = mustafar_attend(own.data(), own.size(), step.at("layer"), &view_q,
                                    step.contains("sinks") ? &view_sinks : nullptr, &options,
                                    &view_out, &view_lse, width > 0 ? &view_weights : nullptr,
                                    drops ? &view_dropped : nullptr, &answer.error);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    expect_close("lse", lse, step, "lse", strict_, Measure::largest_difference);
    if (width > 0) {
        expect_close("weights", weights, step, "weights", strict_, Measure::largest_difference);
    }
    if (drops) {
        check_certificate(step, out, dropped);
    } else {
        expect_close("out", out, step, "out", strict_, Measure::relative_l2);
    }
    return answer;
}

// `out` of the step is exact. What was left out is a sum of V rows of at most `value_most`, with
// weights of at most `dropped`, which is at most drop_mass.
void Runner::check_certificate(const Json& step, const Array& out, const Array& dropped) const {
    const Array exact = read_array(step.at("out").get<std::string>(), 0);
    const std::size_t d = out.count() / dropped.count();
    const double most = step.at("value_most");
    const double tolerance = step.at("out_tolerance").at(strict_ ? 0 : 1).get<double>() * most;
    for (std::size_t i = 0; i < dropped.count(); ++i) {
        const double bound = dropped.value(i);
        if (!(bound >= 0.0 && bound <= step.at("drop_mass").get<double>() * (1.0 + 1e-6))) {
            throw Failure("dropped = " + std::to_string(bound) + " is no bound below drop_mass");
        }
        for (std::size_t c = i * d; c < (i + 1) * d; ++c) {
            if (std::fabs(static_cast<double>(out.value(c)) - exact.value(c)) <=
                bound * most + tolerance) {
                continue;
            }
            throw Failure("out is farther from the exact one than `dropped` allows");
        }
    }
}

Answer Runner::merge(const Json& step) {
    const std::int64_t rows = step.at("rows");
    const std::int64_t d = step.at("dim");
    const auto count = static_cast<std::size_t>(rows);
    const auto text = [&](const char* key) { return step.at(key).get<std::string>(); };
    Array out_a = read_array(text("out_a"), count * static_cast<std::size_t>(d));
    Array out_b = read_array(text("out_b"), count * static_cast<std::size_t>(d));
    Array lse_a = read_array(text("lse_a"), count);
    Array lse_b = read_array(text("lse_b"), count);
    Array out = zeros(out_a.dtype, out_a.count());
    Array lse = zeros(MUSTAFAR_F32, count);
    const mustafar_tensor a = tensor(out_a, {rows, d});
    const mustafar_tensor b = tensor(out_b, {rows, d});
    const mustafar_tensor sums_a = tensor(lse_a, {rows});
    const mustafar_tensor sums_b = tensor(lse_b, {rows});
    const mustafar_tensor view_out = tensor(out, {rows, d});
    const mustafar_tensor view_lse = tensor(lse, {rows});
    Answer answer;
    answer.status =
        mustafar_merge(context_, &a, &sums_a, &b, &sums_b, &view_out, &view_lse, &answer.error);
    if (answer.status == MUSTAFAR_OK) {
        expect_close("out", out, step, "out", strict_, Measure::relative_l2);
        expect_close("lse", lse, step, "lse", strict_, Measure::largest_difference);
    }
    return answer;
}

} // namespace conformance
