// SPDX-License-Identifier: Apache-2.0
// Steps that make or change caches.
#include <cstring>

#include "runner.hpp"

namespace conformance {
namespace {

const std::map<std::string, std::uint32_t> methods = {
    {"recipe", MUSTAFAR_PRUNE_RECIPE},         {"none", MUSTAFAR_PRUNE_NONE},
    {"token_topk", MUSTAFAR_PRUNE_TOKEN_TOPK}, {"n_m", MUSTAFAR_PRUNE_N_M},
    {"channels", MUSTAFAR_PRUNE_CHANNELS},     {"channel_topk", MUSTAFAR_PRUNE_CHANNEL_TOPK},
    {"threshold", MUSTAFAR_PRUNE_THRESHOLD},   {"mask", MUSTAFAR_PRUNE_MASK}};

struct Reader {
    const std::vector<std::uint8_t>* data;
    std::size_t at = 0;
};

std::int32_t read_some(void* user, void* out, std::size_t bytes, std::size_t* got) {
    auto* reader = static_cast<Reader*>(user);
    *got = std::min({bytes, reader->data->size() - reader->at, std::size_t{100}});
    std::memcpy(out, reader->data->data() + reader->at, *got);
    reader->at += *got;
    return 0;
}

std::int32_t write_all(void* user, const void* data, std::size_t bytes) {
    auto* out = static_cast<std::vector<std::uint8_t>*>(user);
    const auto* from = static_cast<const std::uint8_t*>(data);
    out->insert(out->end(), from, from + bytes);
    return 0;
}

mustafar_cache_options options_of(const Json& step) {
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    options.max_tokens = get(step, "max_tokens", 0U);
    options.reserve_tokens = get(step, "reserve_tokens", 0U);
    options.flags = get(step, "auto", true) ? MUSTAFAR_CACHE_AUTO : 0;
    return options;
}

} // namespace

Answer Runner::create(const Json& step) {
    Answer answer;
    const RecipeHandle recipe = parse(step, answer);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    const mustafar_geometry shape = geometry(step);
    const mustafar_cache_options options = options_of(step);
    mustafar_cache* made = nullptr;
    answer.status =
        mustafar_cache_create(context_, &shape, recipe.get(), &options, &made, &answer.error);
    if (made != nullptr) {
        caches_.insert_or_assign(step.at("cache").get<int>(),
                                 CacheHandle(made, mustafar_cache_destroy));
    }
    return answer;
}

Answer Runner::append(const Json& step) {
    mustafar_cache* target = cache(step);
    const mustafar_geometry shape = geometry(step);
    const std::int64_t tokens = step.at("tokens");
    const std::int64_t heads = shape.kv_heads;
    const auto count = static_cast<std::size_t>(tokens * heads);
    const auto size = [&](const char* key, std::size_t d) { return get(step, key, count * d); };
    Array k = read_array(step.at("k").get<std::string>(), size("k_count", shape.head_dim_k));
    Array v = read_array(step.at("v").get<std::string>(), size("v_count", shape.head_dim_v));
    mustafar_tensor view_k = tensor(k, {tokens, heads, shape.head_dim_k});
    mustafar_tensor view_v = tensor(v, {tokens, heads, shape.head_dim_v});
    use_layout(view_k, k, step, "k");
    use_layout(view_v, v, step, "v");
    Answer answer;
    const std::uint32_t flags = get(step, "tentative", false) ? MUSTAFAR_APPEND_TENTATIVE : 0;
    answer.status =
        mustafar_cache_append(target, step.at("layer"), &view_k, &view_v, flags, &answer.error);
    return answer;
}

Answer Runner::prune(const Json& step) {
    mustafar_cache* target = cache(step);
    const mustafar_geometry shape = geometry(step);
    const std::uint32_t side = side_of(step);
    const std::uint32_t head = index_or_all(step, "head");
    const std::int64_t heads = head == MUSTAFAR_ALL ? shape.kv_heads : 1;
    const std::int64_t d = side == MUSTAFAR_SIDE_K ? shape.head_dim_k : shape.head_dim_v;
    const std::uint32_t begin = step.at("begin");
    const std::uint32_t end = step.at("end");
    const std::int64_t range = end > begin ? end - begin : 0;
    mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
    options.method = methods.at(step.at("method").get<std::string>());
    options.keep = get(step, "keep", 0U);
    options.of = get(step, "of", 0U);
    options.threshold = get(step, "threshold", 0.0F);
    const std::vector<std::pair<const char*, std::vector<std::int64_t>>> names = {
        {"channel_weights", {heads, d}},
        {"token_weights", {heads, range}},
        {"mask", {heads, range, d / 8}}};
    Array arrays[3];
    mustafar_tensor views[3];
    const mustafar_tensor* given[3] = {nullptr, nullptr, nullptr};
    for (std::size_t i = 0; i < 3; ++i) {
        const auto& [key, dims] = names[i];
        if (!step.contains(key)) { continue; }
        std::size_t count = 1;
        for (const std::int64_t dim : dims) { count *= static_cast<std::size_t>(dim); }
        arrays[i] = read_array(step.at(key).get<std::string>(), count);
        views[i] = tensor(arrays[i], dims);
        given[i] = &views[i];
    }
    Answer answer;
    answer.status =
        mustafar_cache_prune(target, index_or_all(step, "layer"), head, side, begin, end, &options,
                             given[0], given[1], given[2], &answer.error);
    return answer;
}

Answer Runner::evict(const Json& step) {
    const auto positions = step.at("positions").get<std::vector<std::int32_t>>();
    Answer answer;
    const std::uint32_t flags = get(step, "keep", false) ? MUSTAFAR_EVICT_KEEP : 0;
    answer.status = mustafar_cache_evict(cache(step), step.at("layer"), step.at("head"),
                                         positions.data(), positions.size(), flags, &answer.error);
    return answer;
}

Answer Runner::evict_scores(const Json& step) {
    mustafar_cache* target = cache(step);
    const auto count =
        get<std::size_t>(step, "count", rows_of(target, step.at("layer"), step.at("head")));
    const Array scores = read_array(step.at("scores").get<std::string>(), count);
    std::vector<float> values(scores.count());
    std::memcpy(values.data(), scores.bytes.data(), scores.bytes.size());
    Answer answer;
    answer.status =
        mustafar_cache_evict_scores(target, step.at("layer"), step.at("head"), values.data(),
                                    values.size(), step.at("budget"), &answer.error);
    return answer;
}

Answer Runner::fork(const Json& step) {
    Answer answer;
    mustafar_cache* made = nullptr;
    answer.status = mustafar_cache_fork(cache(step), &made, &answer.error);
    if (made != nullptr) {
        caches_.insert_or_assign(step.at("to").get<int>(),
                                 CacheHandle(made, mustafar_cache_destroy));
    }
    return answer;
}

Answer Runner::save(const Json& step) {
    std::vector<std::uint8_t> data;
    const auto model = step.at("model_id").get<std::string>();
    Answer answer;
    answer.status =
        mustafar_cache_save(cache(step), model.c_str(), write_all, &data, &answer.error);
    if (answer.status == MUSTAFAR_OK) {
        if (step.contains("snapshot")) {
            expect_bytes("snapshot", data, step.at("snapshot").get<std::string>());
        }
        if (step.contains("same_as") && data != saved_.at(step.at("same_as").get<int>())) {
            throw Failure("not the bytes of the earlier save");
        }
        saved_[step.at("cache").get<int>()] = std::move(data);
    }
    return answer;
}

// Damage is applied to a copy: "patch" [offset, byte, ...], then "cut" to so many bytes.
Answer Runner::load(const Json& step) {
    std::vector<std::uint8_t> data = saved_.at(step.at("saved").get<int>());
    const auto patch = get<std::vector<std::size_t>>(step, "patch", {});
    for (std::size_t i = 0; i + 1 < patch.size(); i += 2) {
        data.at(patch[i]) = static_cast<std::uint8_t>(patch[i + 1]);
    }
    if (step.contains("cut")) { data.resize(step.at("cut")); }
    Answer answer;
    RecipeHandle recipe(nullptr, mustafar_recipe_destroy);
    if (step.contains("recipe")) { recipe = parse(step, answer); }
    const mustafar_geometry shape = geometry(step);
    const auto model = get<std::string>(step, "model_id", "");
    const mustafar_cache_options options = options_of(step);
    const bool with_options = step.contains("max_tokens") || step.contains("auto");
    Reader reader{&data};
    mustafar_cache* made = nullptr;
    answer.status = mustafar_cache_load(
        context_, step.contains("geometry") ? &shape : nullptr, recipe.get(),
        step.contains("model_id") ? model.c_str() : nullptr, with_options ? &options : nullptr,
        read_some, &reader, &made, &answer.error);
    if (made != nullptr) {
        caches_.insert_or_assign(step.at("to").get<int>(),
                                 CacheHandle(made, mustafar_cache_destroy));
    }
    return answer;
}

} // namespace conformance
