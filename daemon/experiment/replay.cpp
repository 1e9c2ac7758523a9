// SPDX-License-Identifier: Apache-2.0
#include "experiment/replay.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "experiment/half.hpp"
#include "experiment/metrics.hpp"

namespace mustafar::experiment {

namespace {

// One (trace, recipe): the cache, buffers for what comes out of it, and the sums.
class Replay {
  public:
    Replay(const ReplayInput& input, const LoadedRecipe& recipe)
        : in_(input), trace_(input.trace), recipe_(recipe),
          subject_(fmt::format("recipe {} on {}", recipe.name, input.trace.name)),
          cache_(create_cache(input.context, input.trace, recipe, input.trace.tokens,
                              input.settings.measure == Measure::decode)) {}

    mustafar_cache* cache() { return cache_.get(); }
    const std::string& subject() const { return subject_; }

    LayerErrors run(std::uint32_t layer, const std::function<void(double)>& progress) {
        out_ = ErrorSum();
        kl_ = 0.0;
        if (in_.settings.measure == Measure::none) {
            append_rows(cache(), trace_, layer, 0, trace_.tokens);
            call(subject_, mustafar_cache_compress, cache(), layer);
            in_.watcher.check();
            attend(layer, 0, trace_.queries);
        } else {
            decode(layer, progress);
        }
        LayerErrors errors;
        errors.layer = layer;
        errors.out = out_.relative();
        errors.out_max = out_.relative_max();
        errors.kl = kl_ / (static_cast<double>(trace_.queries) * trace_.q_heads);
        errors.k = reconstruction(layer, MUSTAFAR_SIDE_K);
        errors.v = reconstruction(layer, MUSTAFAR_SIDE_V);
        return errors;
    }

  private:
    // As a decoder does: the prompt at once, then a token and its query at a time.
    void decode(std::uint32_t layer, const std::function<void(double)>& progress) {
        const std::uint32_t prompt = trace_.tokens - trace_.queries;
        if (prompt > 0) { append_rows(cache(), trace_, layer, 0, prompt); }
        for (std::uint32_t j = 0; j < trace_.queries; ++j) {
            in_.watcher.check();
            append_rows(cache(), trace_, layer, prompt + j, prompt + j + 1);
            if (in_.settings.measure == Measure::window) {
                call(subject_, mustafar_cache_compress, cache(), layer);
            }
            attend(layer, j, 1);
            progress(static_cast<double>(j + 1) / trace_.queries);
        }
    }

    // Attends queries [first, first + count), the last of which stands at the cache's end.
    void attend(std::uint32_t layer, std::uint32_t first, std::uint32_t count) {
        const std::int64_t heads = trace_.q_heads;
        const std::int64_t d = trace_.head_dim;
        const std::int64_t rows = trace_.tokens - trace_.queries + first + count;
        values_.resize(static_cast<std::size_t>(count * heads * d));
        weights_.resize(static_cast<std::size_t>(count * heads * rows));
        const mustafar_tensor q = query_view(trace_, layer, first, count);
        const mustafar_tensor out = f32_tensor(values_.data(), {1, count, heads, d});
        const mustafar_tensor weights = f32_tensor(weights_.data(), {1, count, heads, rows});
        const mustafar_attend_options options = attend_options(trace_, in_.settings);
        const mustafar_cache* caches[] = {cache()};
        const mustafar_tensor* none = nullptr;
        call(subject_, mustafar_attend, caches, std::size_t{1}, layer, &q, none, &options, &out,
             none, &weights, none);
        for (std::uint32_t i = 0; i < count; ++i) {
            compare(layer, first + i, i, static_cast<std::size_t>(rows));
        }
    }

    void compare(std::uint32_t layer, std::uint32_t query, std::uint32_t at, std::size_t rows) {
        const OracleLayer& oracle = in_.oracle[layer];
        const std::size_t d = trace_.head_dim;
        for (std::uint32_t head = 0; head < trace_.q_heads; ++head) {
            const double* should = &oracle.out[trace_.query(head, query)];
            const float* is = &values_[(std::size_t{at} * trace_.q_heads + head) * d];
            for (std::size_t c = 0; c < d; ++c) { out_.add(is[c], should[c]); }
            const std::size_t place = std::size_t{head} * trace_.queries + query;
            kl_ +=
                kl_divergence({&oracle.weights[place * trace_.tokens], rows},
                              {&weights_[(std::size_t{at} * trace_.q_heads + head) * rows], rows});
        }
    }

    // Body rows as attend sees them against the recorded ones, all kv heads of a layer.
    double reconstruction(std::uint32_t layer, std::uint32_t side) {
        ErrorSum sum;
        const auto& recorded =
            side == MUSTAFAR_SIDE_K ? trace_.layers[layer].k : trace_.layers[layer].v;
        const std::int64_t d = trace_.head_dim;
        bool any = false;
        for (std::uint32_t head = 0; head < trace_.kv_heads; ++head) {
            std::uint32_t rows = 0;
            std::uint32_t body = 0;
            call(subject_, mustafar_cache_rows, cache(), layer, head, &rows, &body);
            if (body == 0) { continue; }
            any = true;
            const std::uint32_t sink = sink_of(layer, head);
            exported_.resize(static_cast<std::size_t>(body) * trace_.head_dim);
            const mustafar_tensor view = f32_tensor(exported_.data(), {body, d});
            std::uint8_t* no_bitmaps = nullptr;
            call(subject_, mustafar_cache_export, cache(), layer, head, side, sink, sink + body,
                 &view, no_bitmaps);
            const std::uint16_t* original = &recorded[trace_.row(head, sink)];
            for (std::size_t i = 0; i < exported_.size(); ++i) {
                sum.add(exported_[i], half_to_float(original[i], trace_.dtype));
            }
        }
        return any ? sum.relative() : not_measured;
    }

    std::uint32_t sink_of(std::uint32_t layer, std::uint32_t head) {
        const mustafar_geometry geometry = trace_.geometry();
        std::uint32_t sink = 0;
        std::uint32_t* skip = nullptr;
        call(subject_, mustafar_recipe_window, recipe_.recipe.get(), &geometry, layer, head, skip,
             &sink, skip, skip);
        return sink;
    }

    const ReplayInput& in_;
    const Trace& trace_;
    const LoadedRecipe& recipe_;
    std::string subject_;
    Cache cache_;
    ErrorSum out_;
    double kl_ = 0.0;
    std::vector<float> values_;
    std::vector<float> weights_;
    std::vector<float> exported_;
};

// Bytes of the whole cache, or of the layers that were replayed when not all were.
mustafar_bytes bytes_of(const ReplayInput& input, mustafar_cache* cache,
                        const std::string& subject) {
    auto sum = sized<mustafar_bytes>();
    if (input.layers.size() == input.trace.layers.size()) {
        call(subject, mustafar_cache_bytes, cache, MUSTAFAR_ALL, MUSTAFAR_ALL, &sum);
        return sum;
    }
    for (const std::uint32_t layer : input.layers) {
        auto bytes = sized<mustafar_bytes>();
        call(subject, mustafar_cache_bytes, cache, layer, MUSTAFAR_ALL, &bytes);
        sum.total += bytes.total;
        sum.values += bytes.values;
        sum.bitmaps += bytes.bitmaps;
        sum.meta += bytes.meta;
        sum.window += bytes.window;
    }
    return sum;
}

// Row bytes as the recipe promises them; 0 where the data decide (ragged rows).
double row_bytes(const ReplayInput& input, const LoadedRecipe& recipe, std::uint32_t side,
                 const std::string& subject) {
    const mustafar_geometry geometry = input.trace.geometry();
    double sum = 0.0;
    for (const std::uint32_t layer : input.layers) {
        for (std::uint32_t head = 0; head < input.trace.kv_heads; ++head) {
            auto info = sized<mustafar_side_info>();
            call(subject, mustafar_recipe_side, recipe.recipe.get(), &geometry, layer, head, side,
                 &info);
            if (info.row_bytes == 0) { return 0.0; }
            sum += static_cast<double>(info.row_bytes);
        }
    }
    return sum / (static_cast<double>(input.layers.size()) * input.trace.kv_heads);
}

void fill_bytes(Row& row, const ReplayInput& input, const LoadedRecipe& recipe,
                mustafar_cache* cache, const std::string& subject) {
    auto stats = sized<mustafar_cache_stats>();
    call(subject, mustafar_cache_get_stats, cache, &stats);
    const mustafar_bytes bytes = bytes_of(input, cache, subject);
    const double heads = static_cast<double>(input.layers.size()) * input.trace.kv_heads;
    row.body_tokens = static_cast<double>(stats.body_rows) / heads;
    row.cache_bytes = bytes.total;
    row.window_bytes = bytes.window;
    row.dense_bytes = stats.dense_bytes;
    row.cache_ratio = static_cast<double>(bytes.total) / static_cast<double>(stats.dense_bytes);
    const double k = row_bytes(input, recipe, MUSTAFAR_SIDE_K, subject);
    const double v = row_bytes(input, recipe, MUSTAFAR_SIDE_V, subject);
    row.row_bytes_k = k > 0.0 ? k : not_measured;
    row.row_bytes_v = v > 0.0 ? v : not_measured;
    row.bytes_per_token = (k + v) * heads;
    if (k == 0.0 || v == 0.0) {
        row.bytes_per_token =
            stats.body_rows == 0
                ? not_measured
                : static_cast<double>(bytes.values + bytes.bitmaps + bytes.meta) / row.body_tokens;
    }
    row.body_ratio =
        row.bytes_per_token / (heads * 4.0 * input.trace.head_dim); // K and V of 16 bits
    if (input.settings.timing && stats.packed_rows > 0) {
        row.pack_ns_per_token =
            static_cast<double>(stats.pack_ns) / (static_cast<double>(stats.packed_rows) / heads);
    }
}

void fill_overall(Row& row) {
    const auto average = [&](double LayerErrors::*part) {
        std::vector<double> values;
        for (const LayerErrors& layer : row.layers) {
            if (!std::isnan(layer.*part)) { values.push_back(layer.*part); }
        }
        return mean(values);
    };
    row.overall.k = average(&LayerErrors::k);
    row.overall.v = average(&LayerErrors::v);
    row.overall.out = average(&LayerErrors::out);
    row.overall.kl = average(&LayerErrors::kl);
    const auto larger = [](double LayerErrors::*part) {
        return [part](const LayerErrors& a, const LayerErrors& b) { return a.*part < b.*part; };
    };
    const auto worst = std::ranges::max_element(row.layers, larger(&LayerErrors::out));
    row.worst = worst->out;
    row.worst_layer = worst->layer;
    row.overall.out_max =
        std::ranges::max_element(row.layers, larger(&LayerErrors::out_max))->out_max;
}

} // namespace

Cache create_cache(mustafar_context* context, const Trace& trace, const LoadedRecipe& recipe,
                   std::uint32_t tokens, bool pack_by_itself) {
    const mustafar_geometry geometry = trace.geometry();
    auto options = sized<mustafar_cache_options>();
    options.max_tokens = tokens;
    options.flags = pack_by_itself ? MUSTAFAR_CACHE_AUTO : 0u;
    return make<mustafar_cache>(fmt::format("recipe {} on {}", recipe.name, trace.name),
                                mustafar_cache_create, context, &geometry, recipe.recipe.get(),
                                &options);
}

void append_rows(mustafar_cache* cache, const Trace& trace, std::uint32_t layer,
                 std::uint32_t begin, std::uint32_t end) {
    const std::int64_t d = trace.head_dim;
    const auto view = [&](const std::vector<std::uint16_t>& side) {
        return tensor(&side[trace.row(0, begin)], trace.dtype, {end - begin, trace.kv_heads, d},
                      {d, d * trace.tokens, 1});
    };
    const mustafar_tensor k = view(trace.layers[layer].k);
    const mustafar_tensor v = view(trace.layers[layer].v);
    call(trace.name, mustafar_cache_append, cache, layer, &k, &v, 0u);
}

mustafar_tensor query_view(const Trace& trace, std::uint32_t layer, std::uint32_t first,
                           std::uint32_t count) {
    const std::int64_t d = trace.head_dim;
    const std::int64_t all = d * trace.queries;
    return tensor(&trace.layers[layer].q[trace.query(0, first)], trace.dtype,
                  {1, count, trace.q_heads, d}, {all * trace.q_heads, d, all, 1});
}

mustafar_attend_options attend_options(const Trace& trace, const Settings& settings) {
    auto options = sized<mustafar_attend_options>();
    options.scale = trace.scale_option();
    options.drop_mass = settings.drop_mass;
    return options;
}

Row replay(const ReplayInput& input, const LoadedRecipe& recipe,
           const std::function<void(double)>& progress) {
    Replay run(input, recipe);
    Row row;
    row.recipe = recipe.name;
    row.digest = recipe.digest;
    row.trace = input.trace.name;
    row.tokens = input.trace.tokens;
    const auto count = static_cast<double>(input.layers.size());
    for (const std::uint32_t layer : input.layers) {
        const auto done = static_cast<double>(row.layers.size());
        row.layers.push_back(run.run(layer, [&](double part) { progress((done + part) / count); }));
    }
    fill_bytes(row, input, recipe, run.cache(), run.subject());
    fill_overall(row);
    return row;
}

} // namespace mustafar::experiment
