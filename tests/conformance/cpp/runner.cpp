// SPDX-License-Identifier: Apache-2.0
#include "runner.hpp"

#include <cmath>
#include <cstring>

namespace conformance {
namespace {

const std::map<std::string, mustafar_dtype> dtypes = {
    {"f32", MUSTAFAR_F32}, {"f16", MUSTAFAR_F16}, {"bf16", MUSTAFAR_BF16}};

// The step was refused as it should have been: status, argument, numbers.
void check_answer(const Json& step, const Answer& answer) {
    const std::string wanted = "MUSTAFAR_" + get<std::string>(step, "status", "OK");
    const std::string got = mustafar_status_name(answer.status);
    if (got != wanted) {
        throw Failure("status " + got + ", expected " + wanted + ": " + answer.error.message);
    }
    const std::string names = get<std::string>(step, "names", "");
    if (!names.empty() && std::strstr(answer.error.message, names.c_str()) == nullptr) {
        throw Failure("the error does not name " + names + ": " + answer.error.message);
    }
    if (!step.contains("error_values")) { return; }
    const auto& values = step.at("error_values");
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (answer.error.values[i] != values[i].get<std::int64_t>()) {
            throw Failure("error values[" + std::to_string(i) +
                          "] = " + std::to_string(answer.error.values[i]) + ", expected " +
                          values[i].dump());
        }
    }
}

} // namespace

void Runner::run(const Json& test) {
    test_ = &test;
    std::size_t number = 0;
    for (const Json& step : test.at("steps")) {
        try {
            check_answer(step, call(step));
        } catch (const Failure& failure) {
            throw Failure("step " + std::to_string(number) + " " +
                          step.at("op").get<std::string>() + ": " + failure.what());
        }
        ++number;
    }
}

Answer Runner::call(const Json& step) {
    const auto op = step.at("op").get<std::string>();
    if (op == "create") { return create(step); }
    if (op == "append") { return append(step); }
    if (op == "prune") { return prune(step); }
    if (op == "evict") { return evict(step); }
    if (op == "evict_scores") { return evict_scores(step); }
    if (op == "fork") { return fork(step); }
    if (op == "save") { return save(step); }
    if (op == "load") { return load(step); }
    if (op == "attend") { return attend(step); }
    if (op == "merge") { return merge(step); }
    return call_question(op, step);
}

Answer Runner::call_question(const std::string& op, const Json& step) {
    if (op == "state") { return state(step); }
    if (op == "export") { return export_rows(step); }
    if (op == "bytes") { return bytes(step); }
    if (op == "plan") { return plan(step); }
    if (op == "stats") { return stats(step); }
    if (op == "recipe") { return recipe(step); }
    if (op == "side") { return side(step); }
    if (op == "window") { return window(step); }
    return call_change(op, step);
}

Answer Runner::call_change(const std::string& op, const Json& step) {
    Answer answer;
    if (op == "commit") {
        answer.status =
            mustafar_cache_commit(cache(step), index_or_all(step, "layer"), &answer.error);
    } else if (op == "compress") {
        answer.status =
            mustafar_cache_compress(cache(step), index_or_all(step, "layer"), &answer.error);
    } else if (op == "truncate") {
        const std::uint32_t flags =
            get(step, "keep_packed", false) ? MUSTAFAR_TRUNCATE_KEEP_PACKED : 0;
        answer.status =
            mustafar_cache_truncate(cache(step), step.at("length"), flags, &answer.error);
    } else if (op == "reset") {
        answer.status = mustafar_cache_reset(cache(step), &answer.error);
    } else {
        throw Failure("unknown op");
    }
    return answer;
}

mustafar_geometry Runner::geometry(const Json& step) const {
    const Json& g = step.contains("geometry") ? step.at("geometry") : test_->at("geometry");
    const auto dtype = dtypes.find(g.at("dtype").get<std::string>());
    mustafar_geometry out{};
    out.struct_size = sizeof(out);
    out.layers = g.at("layers");
    out.q_heads = g.at("q_heads");
    out.kv_heads = g.at("kv_heads");
    out.head_dim_k = g.at("head_dim_k");
    out.head_dim_v = g.at("head_dim_v");
    out.dtype = dtype == dtypes.end() ? 0 : dtype->second;
    return out;
}

RecipeHandle Runner::parse(const Json& step, Answer& answer) const {
    const Json& from = step.contains("recipe") ? step : *test_;
    const auto text = from.at("recipe").get<std::string>();
    mustafar_recipe* made = nullptr;
    answer.status = mustafar_recipe_parse(text.data(), text.size(), &made, &answer.error);
    return {made, mustafar_recipe_destroy};
}

mustafar_cache* Runner::find(int slot) const {
    const auto found = caches_.find(slot);
    if (found == caches_.end()) { throw Failure("no cache " + std::to_string(slot)); }
    return found->second.get();
}

std::uint32_t Runner::rows_of(const mustafar_cache* cache, std::uint32_t layer,
                              std::uint32_t head) const {
    std::uint32_t rows = 0;
    if (mustafar_cache_rows(cache, layer, head, &rows, nullptr, nullptr) != MUSTAFAR_OK) {
        throw Failure("mustafar_cache_rows failed");
    }
    return rows;
}

// ---- small things -----------------------------------------------------------------------------

std::uint32_t index_or_all(const Json& step, const char* key) {
    const int index = step.at(key);
    return index < 0 ? MUSTAFAR_ALL : static_cast<std::uint32_t>(index);
}

std::uint32_t side_of(const Json& step) {
    return step.at("side") == "k" ? MUSTAFAR_SIDE_K : MUSTAFAR_SIDE_V;
}

mustafar_tensor tensor(Array& array, std::vector<std::int64_t> shape) {
    mustafar_tensor view{};
    view.data = array.bytes.data();
    view.dtype = array.dtype;
    view.ndim = static_cast<std::uint32_t>(shape.size());
    std::int64_t stride = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
        view.shape[i] = shape[i];
        view.strides[i] = stride;
        stride *= shape[i];
    }
    return view;
}

// "<name>_shape", "<name>_strides" and "<name>_offset", where a step gives them.
void use_layout(mustafar_tensor& view, Array& array, const Json& step, const std::string& name) {
    if (step.contains(name + "_shape")) {
        const auto shape = step.at(name + "_shape").get<std::vector<std::int64_t>>();
        view = tensor(array, shape);
    }
    if (step.contains(name + "_strides")) {
        const auto strides = step.at(name + "_strides").get<std::vector<std::int64_t>>();
        std::copy(strides.begin(), strides.end(), view.strides);
    }
    const std::size_t width = array.bytes.size() / std::max<std::size_t>(1, array.count());
    const auto offset = get<std::size_t>(step, (name + "_offset").c_str(), 0);
    view.data = array.bytes.data() + offset * width;
}

void expect_number(const char* what, std::uint64_t got, const Json& step, const char* key) {
    if (!step.contains(key) || step.at(key) == got) { return; }
    throw Failure(std::string(what) + key + " = " + std::to_string(got) + ", expected " +
                  step.at(key).dump());
}

void expect_least(const char* what, std::uint64_t got, const Json& step, const char* key) {
    if (!step.contains(key) || step.at(key).get<std::uint64_t>() <= got) { return; }
    throw Failure(std::string(what) + key + ": " + std::to_string(got) + " is less than " +
                  step.at(key).dump());
}

void expect_bytes(const char* what, const std::vector<std::uint8_t>& got, const std::string& text) {
    const Array want = read_array(text, 0);
    const std::size_t both = std::min(got.size(), want.bytes.size());
    std::size_t at = 0;
    while (at < both && got[at] == want.bytes[at]) { ++at; }
    if (at == both && got.size() == want.bytes.size()) { return; }
    throw Failure(std::string(what) + ": " + std::to_string(got.size()) + " bytes, expected " +
                  std::to_string(want.bytes.size()) + "; they differ from byte " +
                  std::to_string(at));
}

void expect_close(const char* what, const Array& got, const Json& step, const std::string& key,
                  bool strict, Measure measure) {
    const Array want = read_array(step.at(key).get<std::string>(), 0);
    if (want.count() != got.count()) { throw Failure(std::string(what) + ": another count"); }
    const double most = step.at(key + "_tolerance").at(strict ? 0 : 1);
    double square = 0.0;
    double reference = 0.0;
    double largest = 0.0;
    for (std::size_t i = 0; i < got.count(); ++i) {
        const double a = got.value(i);
        const double b = want.value(i);
        if (a == b) {
            if (std::isfinite(b)) { reference += b * b; }
            continue;
        }
        square += (a - b) * (a - b);
        reference += b * b;
        largest = std::max(largest, std::isnan(a - b) ? INFINITY : std::fabs(a - b));
    }
    const double error = measure == Measure::largest_difference || reference == 0.0
                             ? largest
                             : std::sqrt(square / reference);
    if (error <= most) { return; }
    throw Failure(std::string(what) + ": error " + std::to_string(error) + " exceeds " +
                  step.at(key + "_tolerance").at(strict ? 0 : 1).dump());
}

} // namespace conformance
