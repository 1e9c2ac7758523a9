// SPDX-License-Identifier: Apache-2.0
// What the merged keys of one side mean for one head_dim. Private to this folder.
#pragma once

#include <map>

#include "recipe/document.hpp"
#include "recipe/recipe.hpp"

namespace mustafar::recipes {

// Elements kept of d. `count` is the rule "exact", `paper_count` the reference implementation's.
std::uint32_t count_of_sparsity(double sparsity, std::uint32_t d);
std::uint32_t paper_count_of_sparsity(double sparsity, std::uint32_t d);

// The floats of ResolvedRecipe::centres; each given array goes in once.
class CentreTable {
  public:
    explicit CentreTable(std::vector<float>& floats) : floats_(floats) {}
    std::int64_t offset_of(const std::vector<float>& centre);

  private:
    std::vector<float>& floats_;
    std::map<const std::vector<float>*, std::int64_t> offsets_;
};

// Throws Error{UNSUPPORTED} naming the key at fault.
SideSpec resolve_side(SidePatch side, Side which, std::uint32_t d,
                      const std::vector<std::string>& paths, CentreTable& centres);

ResolvedRecipe resolve_document(const Document& document, const Geometry& geometry);

} // namespace mustafar::recipes
