// SPDX-License-Identifier: Apache-2.0
#include "mustafar/recipe.h"

#include "convert.hpp"
#include "guard.hpp"
#include "handles.hpp"

using namespace mustafar;
using namespace mustafar::capi;

extern "C" {

mustafar_status mustafar_recipe_parse(const char* text, size_t bytes, mustafar_recipe** out,
                                      mustafar_error* error) {
    return guard("mustafar_recipe_parse", error, [&] {
        require(text, "text");
        require(out, "out");
        auto recipe = Recipe::parse({text, bytes});
        *out = new mustafar_recipe{std::move(recipe)};
    });
}

void mustafar_recipe_destroy(mustafar_recipe* recipe) { delete recipe; }

const char* mustafar_recipe_json(const mustafar_recipe* recipe) {
    return recipe != nullptr ? recipe->recipe->json().c_str() : nullptr;
}
const char* mustafar_recipe_digest(const mustafar_recipe* recipe) {
    return recipe != nullptr ? recipe->recipe->digest().c_str() : nullptr;
}

size_t mustafar_recipe_count(void) { return named_recipes().size(); }
const char* mustafar_recipe_name(size_t index) {
    return index < named_recipes().size() ? named_recipes()[index].name : nullptr;
}
const char* mustafar_recipe_sentence(size_t index) {
    return index < named_recipes().size() ? named_recipes()[index].sentence : nullptr;
}

mustafar_status mustafar_recipe_side(const mustafar_recipe* recipe,
                                     const mustafar_geometry* geometry, uint32_t layer,
                                     uint32_t kv_head, uint32_t side, mustafar_side_info* out,
                                     mustafar_error* error) {
    return guard("mustafar_recipe_side", error, [&] {
        require(recipe, "recipe");
        check_output(out, "out");
        const Geometry shape = read_geometry(geometry);
        check_layer(shape, layer, false);
        check_kv_head(shape, kv_head, false);
        const Side which = read_side(side);
        const ResolvedRecipe resolved = recipe->recipe->resolve(shape);
        const SideSpec& spec = resolved.head(layer, kv_head, shape.kv_heads).side(which);
        const RowStrides strides = row_strides(spec);
        const bool ragged = spec.encoding == Encoding::ragged;
        mustafar_side_info info{};
        info.head_dim = spec.d;
        info.keep = spec.keep;
        info.bits = spec.bits;
        info.encoding = static_cast<std::uint32_t>(spec.encoding);
        info.method = static_cast<std::uint32_t>(spec.prune.method);
        info.group = spec.group;
        info.centred = spec.centred ? 1 : 0;
        info.row_bytes =
            ragged ? 0
                   : strides.bitmap + strides.codes + strides.meta + strides.block_meta / page_rows;
        info.page_bytes = ragged ? 0 : side_bytes(spec, 0);
        write_struct(out, info);
    });
}

mustafar_status mustafar_recipe_window(const mustafar_recipe* recipe,
                                       const mustafar_geometry* geometry, uint32_t layer,
                                       uint32_t kv_head, uint32_t* out_recent, uint32_t* out_sink,
                                       uint32_t* out_step, uint32_t* out_budget,
                                       mustafar_error* error) {
    return guard("mustafar_recipe_window", error, [&] {
        require(recipe, "recipe");
        const Geometry shape = read_geometry(geometry);
        check_layer(shape, layer, false);
        check_kv_head(shape, kv_head, false);
        const ResolvedRecipe resolved = recipe->recipe->resolve(shape);
        if (out_recent != nullptr) { *out_recent = resolved.window.recent; }
        if (out_sink != nullptr) { *out_sink = resolved.window.sink; }
        if (out_step != nullptr) { *out_step = resolved.window.step; }
        if (out_budget != nullptr) {
            *out_budget = resolved.head(layer, kv_head, shape.kv_heads).budget;
        }
    });
}

} // extern "C"
