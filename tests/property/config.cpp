// SPDX-License-Identifier: Apache-2.0
#include "config.hpp"

#include <cmath>
#include <cstdio>

namespace oracle {
namespace {

const char *method_name(uint32_t method) {
    constexpr const char *names[] = {"recipe",   "none",         "token_topk", "n_m",
                                     "channels", "channel_topk", "threshold",  "mask"};
    return names[method];
}

std::string number(double x) {
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", x);
    return text;
}

} // namespace

uint32_t SideRecipe::encoding() const {
    if (channel_axis) return MUSTAFAR_ENCODING_CHANNEL;
    if (group != 0) return MUSTAFAR_ENCODING_GROUPED;
    const bool ragged = rule.paper || rule.method == MUSTAFAR_PRUNE_CHANNEL_TOPK ||
                        rule.method == MUSTAFAR_PRUNE_THRESHOLD ||
                        rule.method == MUSTAFAR_PRUNE_MASK;
    return ragged ? MUSTAFAR_ENCODING_RAGGED : MUSTAFAR_ENCODING_EXACT;
}

uint32_t SideRecipe::count() const {
    if (encoding() == MUSTAFAR_ENCODING_RAGGED) return 0;
    switch (rule.method) {
    case MUSTAFAR_PRUNE_TOKEN_TOPK:
    case MUSTAFAR_PRUNE_CHANNELS:
        return rule.keep;
    case MUSTAFAR_PRUNE_N_M:
        return d / rule.of * rule.keep;
    default:
        return d;
    }
}

std::string SideRecipe::json() const {
    std::string text = std::string("{\"method\":\"") + method_name(written.method) + '"';
    if (written.method == MUSTAFAR_PRUNE_N_M)
        text += ",\"n\":" + std::to_string(written.keep) + ",\"m\":" + std::to_string(written.of);
    else if (written.method == MUSTAFAR_PRUNE_THRESHOLD)
        text += ",\"threshold\":" + number(double{written.threshold});
    else if (sparsity >= 0.0)
        text += ",\"sparsity\":" + number(sparsity);
    else if (written.method != MUSTAFAR_PRUNE_NONE && written.method != MUSTAFAR_PRUNE_MASK)
        text += ",\"keep\":" + std::to_string(written.keep);
    if (written.paper) text += ",\"rule\":\"paper\"";
    text += ",\"bits\":" + std::to_string(bits);
    if (channel_axis) text += ",\"axis\":\"channel\"";
    if (group != 0) text += ",\"group\":" + std::to_string(group);
    if (centred && centre.empty()) text += ",\"centre\":\"mean\"";
    for (std::size_t c = 0; c < centre.size(); ++c)
        text += (c == 0 ? ",\"centre\":[" : ",") + number(double{centre[c]});
    return text + (centre.empty() ? "}" : "]}");
}

std::string HeadRecipe::json() const {
    std::string text = "\"k\":" + side[0].json() + ",\"v\":" + side[1].json();
    if (budget != 0) text += ",\"budget\":" + std::to_string(budget);
    return text;
}

mustafar_cache_options Config::options() const {
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    options.max_tokens = max_tokens;
    options.reserve_tokens = reserve_tokens;
    options.flags = automatic ? MUSTAFAR_CACHE_AUTO : 0;
    return options;
}

// Layers whose heads agree are written once per layer, others head by head.
std::string Config::json() const {
    std::string text = R"({"schema":"mustafar.recipe","version":1,"window":{"recent":)" +
                       std::to_string(recent) + ",\"sink\":" + std::to_string(sink) +
                       ",\"step\":" + std::to_string(step) +
                       R"(},"k":{"bits":16},"v":{"bits":16},"layers":[)";
    for (uint32_t layer = 0; layer < geometry.layers; ++layer) {
        bool same = true;
        for (uint32_t h = 1; h < geometry.kv_heads; ++h)
            same = same && head(layer, h).json() == head(layer, 0).json();
        text += (layer == 0 ? "{\"at\":\"" : ",{\"at\":\"") + std::to_string(layer) + "\",";
        if (same) {
            text += head(layer, 0).json();
        } else {
            text += "\"heads\":[";
            for (uint32_t h = 0; h < geometry.kv_heads; ++h)
                text += (h == 0 ? "{\"at\":\"" : ",{\"at\":\"") + std::to_string(h) + "\"," +
                        head(layer, h).json() + "}";
            text += "]";
        }
        text += "}";
    }
    return text + "]}";
}

std::string Config::text() const {
    char line[200];
    std::snprintf(line, sizeof line,
                  "layers=%u q_heads=%u kv_heads=%u d_k=%u d_v=%u %s "
                  "max_tokens=%u reserve=%u %s "
                  "quota=%llu threads=%u\nrecipe ",
                  geometry.layers, geometry.q_heads, geometry.kv_heads, geometry.head_dim_k,
                  geometry.head_dim_v, mustafar_dtype_name(geometry.dtype), max_tokens,
                  reserve_tokens, automatic ? "auto" : "manual",
                  static_cast<unsigned long long>(quota), threads);
    return line + json();
}

std::vector<Config> simpler(const Config &config) {
    std::vector<Config> tries;
    const auto shape = config.geometry;
    if (shape.layers > 1) {
        Config c = config;
        c.geometry.layers = 1;
        c.heads.resize(shape.kv_heads);
        tries.push_back(c);
        c.heads.assign(config.heads.end() - shape.kv_heads, config.heads.end());
        tries.push_back(c);
    }
    for (uint32_t h = 0; shape.kv_heads > 1 && h < shape.kv_heads; ++h) {
        Config c = config;
        c.geometry.kv_heads = 1;
        c.geometry.q_heads = shape.q_heads / shape.kv_heads;
        c.heads.clear();
        for (uint32_t layer = 0; layer < shape.layers; ++layer)
            c.heads.push_back(config.head(layer, h));
        tries.push_back(c);
    }
    const auto change = [&](auto edit) {
        Config c = config;
        edit(c);
        if (c.text() != config.text()) tries.push_back(c);
    };
    change([](Config &c) { c.quota = 0; });
    change([](Config &c) { c.threads = 1; });
    change([](Config &c) { c.reserve_tokens = 0; });
    change([](Config &c) { c.sink = 0; });
    change([](Config &c) { c.recent = 0; });
    change([](Config &c) { c.geometry.q_heads = c.geometry.kv_heads; });
    for (uint32_t side = 0; side < 2; ++side)
        for (std::size_t h = 0; h < config.heads.size(); ++h)
            change([&](Config &c) {
                auto &s = c.heads[h].side[side];
                const uint32_t d = s.d;
                s = SideRecipe{};
                s.d = d;
            });
    return tries;
}

} // namespace oracle
