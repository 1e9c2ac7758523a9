// SPDX-License-Identifier: Apache-2.0
// Recipes by name.
#include "api/handlers.hpp"
#include "api/shapes.hpp"

namespace mustafar::daemon {

namespace {

Json write_recipe(const std::string& name, const RecipeText& recipe, bool builtin) {
    return {{"name", name},
            {"builtin", builtin},
            {"digest", recipe.digest},
            {"recipe", Json::parse(recipe.json)}};
}

Problem no_recipe(const std::string& name) {
    return Problem(ProblemType::not_found, "there is no recipe " + name, {{"recipe", name}});
}

Json explain_side(const mustafar_recipe* recipe, const mustafar_geometry& geometry,
                  std::uint32_t layer, std::uint32_t head, std::uint32_t side) {
    // In the order of MUSTAFAR_ENCODING_... (from 1) and MUSTAFAR_PRUNE_... (from 1).
    constexpr const char* encodings[] = {"exact", "ragged", "grouped", "channel"};
    constexpr const char* methods[] = {"none",         "token_topk", "n_m", "channels",
                                       "channel_topk", "threshold",  "mask"};
    auto info = sized<mustafar_side_info>();
    call(mustafar_recipe_side, recipe, &geometry, layer, head, side, &info);
    return {{"head_dim", info.head_dim},
            {"keep", info.keep},
            {"bits", info.bits},
            {"encoding", encodings[info.encoding - 1]},
            {"method", methods[info.method - 1]},
            {"group", info.group},
            {"centred", info.centred != 0},
            {"row_bytes", info.row_bytes},
            {"page_bytes", info.page_bytes}};
}

Json explain_head(const mustafar_recipe* recipe, const mustafar_geometry& geometry,
                  std::uint32_t layer, std::uint32_t head) {
    std::uint32_t recent = 0;
    std::uint32_t sink = 0;
    std::uint32_t step = 0;
    std::uint32_t budget = 0;
    call(mustafar_recipe_window, recipe, &geometry, layer, head, &recent, &sink, &step, &budget);
    const auto side = [&](std::uint32_t which) {
        return explain_side(recipe, geometry, layer, head, which);
    };
    return {{"layer", layer},
            {"kv_head", head},
            {"window", {{"recent", recent}, {"sink", sink}, {"step", step}, {"budget", budget}}},
            {"k", side(MUSTAFAR_SIDE_K)},
            {"v", side(MUSTAFAR_SIDE_V)}};
}

} // namespace

Response list_recipes(Service& service, Request&) {
    Json list = Json::array();
    for (std::size_t i = 0; i < mustafar_recipe_count(); ++i) {
        const std::string name = mustafar_recipe_name(i);
        const Recipe recipe = parse_recipe(name);
        list.push_back({{"name", name},
                        {"builtin", true},
                        {"digest", mustafar_recipe_digest(recipe.get())},
                        {"sentence", mustafar_recipe_sentence(i)}});
    }
    for (const auto& [name, recipe] : service.recipes.list()) {
        list.push_back({{"name", name}, {"builtin", false}, {"digest", recipe.digest}});
    }
    return json_response({{"recipes", std::move(list)}});
}

Response explain_recipe(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields fields(body);
    const Recipe recipe = read_recipe(service, fields.any("recipe"), fields.pointer("recipe"));
    Json document = {{"name", recipe_name(recipe.get())},
                     {"digest", mustafar_recipe_digest(recipe.get())},
                     {"canonical", mustafar_recipe_json(recipe.get())}};
    if (fields.has("geometry")) {
        const mustafar_geometry geometry = read_geometry(fields.object("geometry"));
        const auto layer = static_cast<std::uint32_t>(fields.integer("layer", 0, INT32_MAX, 0));
        const auto head = static_cast<std::uint32_t>(fields.integer("kv_head", 0, INT32_MAX, 0));
        document["head"] = explain_head(recipe.get(), geometry, layer, head);
    }
    fields.finish();
    return json_response(document);
}

Response get_recipe(Service& service, Request& request) {
    const std::string& name = request.path[0];
    if (const auto own = service.recipes.find(name)) {
        return json_response(write_recipe(name, *own, false));
    }
    if (!is_builtin_recipe(name)) { throw no_recipe(name); }
    return json_response(write_recipe(name, text_of(parse_recipe(name).get()), true));
}

Response put_recipe(Service& service, Request& request) {
    const std::string& name = request.path[0];
    const Json body = parse_body(request);
    if (!body.is_object()) { throw bad_body("", "type", "a recipe is an object"); }
    const RecipeText text = text_of(parse_recipe(dump(body)).get());
    const bool is_new = service.recipes.put(name, text);
    Response response = json_response(write_recipe(name, text, false), is_new ? 201 : 200);
    if (is_new) { response.fields.push_back({"Location", "/v1/recipes/" + name}); }
    return response;
}

Response delete_recipe(Service& service, Request& request) {
    const std::string& name = request.path[0];
    if (is_builtin_recipe(name)) {
        throw Problem(ProblemType::forbidden, "recipes of the library stay", {{"recipe", name}});
    }
    if (!service.recipes.remove(name)) { throw no_recipe(name); }
    Response response;
    response.status = 204;
    return response;
}

} // namespace mustafar::daemon
