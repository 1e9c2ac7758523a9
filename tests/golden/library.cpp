// SPDX-License-Identifier: Apache-2.0
#include "library.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

namespace mustafar::golden {

void must(mustafar_status status, const mustafar_error& error) {
    if (status == MUSTAFAR_OK) { return; }
    std::fprintf(stderr, "FAILED  %s: %s\n", mustafar_status_name(status), error.message);
    std::exit(1);
}

ContextPtr make_context() {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    options.threads = 1;
    mustafar_context* context = nullptr;
    must(mustafar_context_create(&options, nullptr, nullptr, &context, &error), error);
    return ContextPtr(context);
}

RecipePtr make_recipe(std::string_view text) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_recipe* recipe = nullptr;
    must(mustafar_recipe_parse(text.data(), text.size(), &recipe, &error), error);
    return RecipePtr(recipe);
}

mustafar_tensor tensor(const void* data, mustafar_dtype dtype, std::vector<std::int64_t> shape) {
    mustafar_tensor view{};
    view.data = const_cast<void*>(data);
    view.dtype = dtype;
    view.ndim = static_cast<std::uint32_t>(shape.size());
    std::int64_t stride = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
        view.shape[i] = shape[i];
        view.strides[i] = stride;
        stride *= shape[i];
    }
    return view;
}

Bytes save(const mustafar_cache* cache, const std::string& model_id) {
    Bytes bytes;
    const auto write = [](void* user, const void* data, std::size_t count) -> std::int32_t {
        const auto* at = static_cast<const unsigned char*>(data);
        static_cast<Bytes*>(user)->insert(static_cast<Bytes*>(user)->end(), at, at + count);
        return 0;
    };
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    must(mustafar_cache_save(cache, model_id.c_str(), write, &bytes, &error), error);
    return bytes;
}

CachePtr load(mustafar_context* context, const Bytes& bytes, Outcome& outcome, std::size_t* taken) {
    struct Source {
        const Bytes* bytes;
        std::size_t at;
    } source{&bytes, 0};
    const auto read = [](void* user, void* data, std::size_t count,
                         std::size_t* got) -> std::int32_t {
        Source& from = *static_cast<Source*>(user);
        *got = std::min(count, from.bytes->size() - from.at);
        if (*got != 0) { std::memcpy(data, from.bytes->data() + from.at, *got); }
        from.at += *got;
        return 0;
    };
    mustafar_cache* cache = nullptr;
    outcome = {};
    outcome.status = mustafar_cache_load(context, nullptr, nullptr, nullptr, nullptr, read, &source,
                                         &cache, &outcome.error);
    if (taken != nullptr) { *taken = source.at; }
    return CachePtr(cache);
}

namespace {

void append_hex(std::string& text, const std::uint8_t* bytes, std::size_t count) {
    char digits[3];
    for (std::size_t i = 0; i < count; ++i) {
        std::snprintf(digits, sizeof(digits), "%02x", bytes[i]);
        text += digits;
    }
}

void describe_side(std::string& text, const mustafar_cache* cache, std::uint32_t layer,
                   std::uint32_t head, std::uint32_t side, std::uint32_t rows, std::uint32_t d) {
    if (rows == 0) { return; }
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    std::vector<float> values(std::size_t{rows} * d);
    std::vector<std::uint8_t> bitmaps(std::size_t{rows} * d / 8);
    const mustafar_tensor out = tensor(values.data(), MUSTAFAR_F32, {rows, d});
    must(mustafar_cache_export(cache, layer, head, side, 0, rows, &out, bitmaps.data(), &error),
         error);
    for (std::size_t row = 0; row < rows; ++row) {
        text += side == MUSTAFAR_SIDE_K ? "k " : "v ";
        append_hex(text, bitmaps.data() + row * d / 8, d / 8);
        text += ' ';
        for (std::size_t c = 0; c < d; ++c) {
            std::uint32_t bits = 0;
            std::memcpy(&bits, &values[row * d + c], 4);
            char digits[9];
            std::snprintf(digits, sizeof(digits), "%08" PRIx32, bits);
            text += digits;
        }
        text += '\n';
    }
}

} // namespace

std::string describe(const mustafar_cache* cache, const std::string& model_id) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_geometry g{};
    g.struct_size = sizeof(g);
    mustafar_cache_options options{};
    options.struct_size = sizeof(options);
    const char* recipe = nullptr;
    must(mustafar_cache_describe(cache, &g, &options, &recipe, &error), error);
    mustafar_cache_stats stats{};
    stats.struct_size = sizeof(stats);
    must(mustafar_cache_get_stats(cache, &stats, &error), error);
    const auto number = [](std::uint64_t value) { return std::to_string(value); };
    std::string text = "geometry " + number(g.layers) + " " + number(g.q_heads) + " " +
                       number(g.kv_heads) + " " + number(g.head_dim_k) + " " +
                       number(g.head_dim_v) + " " + number(static_cast<std::uint64_t>(g.dtype)) +
                       "\noptions " + number(options.max_tokens) + " " + number(options.flags) +
                       "\nrecipe " + recipe + "\nmodel " + model_id + "\nevicted " +
                       number(stats.evicted_rows) + "\n";
    for (std::uint32_t l = 0; l < g.layers; ++l) {
        std::uint32_t committed = 0;
        std::uint32_t tentative = 0;
        must(mustafar_cache_length(cache, l, &committed, &tentative, &error), error);
        text += "layer " + number(l) + " committed " + number(committed) + " tentative " +
                number(tentative) + "\n";
        for (std::uint32_t h = 0; h < g.kv_heads; ++h) {
            std::uint32_t rows = 0;
            std::uint32_t body = 0;
            must(mustafar_cache_rows(cache, l, h, &rows, &body, &error), error);
            std::vector<std::int32_t> positions(rows);
            must(mustafar_cache_positions(cache, l, h, positions.data(), rows, &error), error);
            text += "head " + number(h) + " rows " + number(rows) + " body " + number(body) + " at";
            for (const std::int32_t position : positions) {
                text += " " + std::to_string(position);
            }
            text += "\n";
            describe_side(text, cache, l, h, MUSTAFAR_SIDE_K, rows, g.head_dim_k);
            describe_side(text, cache, l, h, MUSTAFAR_SIDE_V, rows, g.head_dim_v);
        }
    }
    return text;
}

Bytes read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        std::fprintf(stderr, "FAILED  cannot open %s\n", path.c_str());
        std::exit(1);
    }
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write_new_file(const std::string& path, const void* data, std::size_t bytes) {
    std::FILE* file = std::fopen(path.c_str(), "wbx");
    if (file == nullptr || std::fwrite(data, 1, bytes, file) != bytes || std::fclose(file) != 0) {
        std::fprintf(stderr, "FAILED  cannot create %s\n", path.c_str());
        std::exit(1);
    }
}

} // namespace mustafar::golden
