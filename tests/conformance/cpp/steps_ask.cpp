// SPDX-License-Identifier: Apache-2.0
// Steps that ask a cache or a recipe.
#include "runner.hpp"

namespace conformance {

Answer Runner::state(const Json& step) {
    const mustafar_cache* own = cache(step);
    const std::uint32_t layer = step.at("layer");
    const std::uint32_t head = step.at("head");
    Answer answer;
    std::uint32_t committed = 0;
    std::uint32_t tentative = 0;
    std::uint32_t rows = 0;
    std::uint32_t body = 0;
    answer.status = mustafar_cache_length(own, layer, &committed, &tentative, &answer.error);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    answer.status = mustafar_cache_rows(own, layer, head, &rows, &body, &answer.error);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    expect_number("", committed, step, "committed");
    expect_number("", tentative, step, "tentative");
    expect_number("", rows, step, "rows");
    expect_number("", body, step, "body");
    std::vector<std::int32_t> positions(rows);
    answer.status =
        mustafar_cache_positions(own, layer, head, positions.data(), rows, &answer.error);
    if (answer.status == MUSTAFAR_OK && step.at("positions") != positions) {
        throw Failure("other positions");
    }
    return answer;
}

Answer Runner::export_rows(const Json& step) {
    const mustafar_geometry shape = geometry(step);
    const std::uint32_t side = side_of(step);
    const std::uint32_t d = side == MUSTAFAR_SIDE_K ? shape.head_dim_k : shape.head_dim_v;
    const std::uint32_t begin = step.at("begin");
    const std::uint32_t end = step.at("end");
    const std::uint32_t rows = end > begin ? end - begin : 0;
    Array values;
    values.bytes.resize(std::size_t{rows} * d * 4);
    std::vector<std::uint8_t> bitmaps(std::size_t{rows} * d / 8);
    const mustafar_tensor view = tensor(values, {rows, d});
    Answer answer;
    answer.status = mustafar_cache_export(cache(step), step.at("layer"), step.at("head"), side,
                                          begin, end, &view, bitmaps.data(), &answer.error);
    if (answer.status == MUSTAFAR_OK) {
        expect_bytes("bitmaps", bitmaps, step.at("bitmaps").get<std::string>());
        if (!step.contains("values")) { return answer; }
        expect_close("values", values, step, "values", strict_, Measure::relative_l2);
    }
    return answer;
}

// Alignment is the backend's own business (docs/format.md, section 4): compared for ref alone.
Answer Runner::bytes(const Json& step) {
    mustafar_bytes got{};
    got.struct_size = sizeof(got);
    Answer answer;
    answer.status = mustafar_cache_bytes(cache(step), index_or_all(step, "layer"),
                                         index_or_all(step, "head"), &got, &answer.error);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    expect_number("", got.values, step, "values");
    expect_number("", got.bitmaps, step, "bitmaps");
    expect_number("", got.meta, step, "meta");
    if (strict_) { expect_number("", got.slack, step, "slack"); }
    expect_least("", got.window, step, "window_least");
    expect_least("", got.positions, step, "positions_least");
    if (step.contains("positions_least") && step.at("positions_least") == 0 && got.positions != 0) {
        throw Failure("positions before any eviction");
    }
    const std::uint64_t sum =
        got.values + got.bitmaps + got.meta + got.slack + got.window + got.positions + got.tables;
    if (sum != got.total) { throw Failure("total is not the sum of the parts"); }
    return answer;
}

// What plan foretells is what the cache occupies; of ragged rows, at least that.
Answer Runner::plan(const Json& step) {
    Answer answer;
    const RecipeHandle recipe = parse(step, answer);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    const mustafar_geometry shape = geometry(step);
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    mustafar_bytes got{};
    mustafar_bytes want{};
    got.struct_size = want.struct_size = sizeof(got);
    answer.status = mustafar_cache_describe(cache(step), nullptr, &options, nullptr, &answer.error);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    answer.status = mustafar_plan(recipe.get(), &shape, &options, step.at("tokens"), MUSTAFAR_ALL,
                                  &got, &answer.error);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    answer.status =
        mustafar_cache_bytes(cache(step), MUSTAFAR_ALL, MUSTAFAR_ALL, &want, &answer.error);
    const bool fits = got.exact != 0 ? got.total == want.total && got.values == want.values &&
                                           got.window == want.window && got.tables == want.tables
                                     : got.total >= want.total;
    if (!fits) {
        throw Failure("plan says " + std::to_string(got.total) + " bytes, the cache takes " +
                      std::to_string(want.total));
    }
    return answer;
}

Answer Runner::stats(const Json& step) {
    mustafar_cache_stats got{};
    got.struct_size = sizeof(got);
    Answer answer;
    answer.status = mustafar_cache_get_stats(cache(step), &got, &answer.error);
    expect_number("", got.longest, step, "longest");
    expect_number("", got.rows, step, "rows");
    expect_number("", got.body_rows, step, "body_rows");
    expect_number("", got.evicted_rows, step, "evicted_rows");
    expect_number("", got.pages, step, "pages");
    expect_number("", got.shared_pages, step, "shared_pages");
    expect_number("", got.dense_bytes, step, "dense_bytes");
    expect_number("", got.appended_tokens, step, "appended_tokens");
    expect_number("", got.packed_rows, step, "packed_rows");
    return answer;
}

Answer Runner::recipe(const Json& step) {
    Answer answer;
    const RecipeHandle made = parse(step, answer);
    if (answer.status != MUSTAFAR_OK || !step.contains("canonical")) { return answer; }
    const std::string got = mustafar_recipe_json(made.get());
    if (got != step.at("canonical")) { throw Failure("canonical text is " + got); }
    return answer;
}

Answer Runner::side(const Json& step) {
    Answer answer;
    const RecipeHandle recipe = parse(step, answer);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    const mustafar_geometry shape = geometry(step);
    mustafar_side_info got{};
    got.struct_size = sizeof(got);
    answer.status = mustafar_recipe_side(recipe.get(), &shape, step.at("layer"), step.at("head"),
                                         side_of(step), &got, &answer.error);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    expect_number("", got.keep, step, "keep");
    expect_number("", got.bits, step, "bits");
    expect_number("", got.encoding, step, "encoding");
    expect_number("", got.method, step, "method");
    expect_number("", got.group, step, "group");
    expect_number("", got.centred, step, "centred");
    expect_number("", got.row_bytes, step, "row_bytes");
    if (strict_) { expect_number("", got.page_bytes, step, "page_bytes"); }
    return answer;
}

Answer Runner::window(const Json& step) {
    Answer answer;
    const RecipeHandle recipe = parse(step, answer);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    const mustafar_geometry shape = geometry(step);
    std::uint32_t recent = 0;
    std::uint32_t sink = 0;
    std::uint32_t rows = 0;
    std::uint32_t budget = 0;
    answer.status = mustafar_recipe_window(recipe.get(), &shape, step.at("layer"), step.at("head"),
                                           &recent, &sink, &rows, &budget, &answer.error);
    if (answer.status != MUSTAFAR_OK) { return answer; }
    expect_number("", recent, step, "recent");
    expect_number("", sink, step, "sink");
    expect_number("", rows, step, "step");
    expect_number("", budget, step, "budget");
    return answer;
}

} // namespace conformance
