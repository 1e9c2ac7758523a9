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
