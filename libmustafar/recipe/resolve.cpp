// SPDX-License-Identifier: Apache-2.0
// Document and geometry to one HeadSpec per kv head: defaults, then the layers entries in order,
// then the heads entries in order; protect wins over all.
#include "recipe/resolve.hpp"

#include "recipe/text.hpp"

namespace mustafar::recipes {

namespace {

template <class... Pieces>
[[noreturn]] void unsupported(const Pieces&... pieces) {
    throw Error(MUSTAFAR_UNSUPPORTED, cat(pieces...));
}

// An entry and the places it is for, in this geometry.
struct PlacedHeads {
    const HeadEntry* entry;
    std::vector<bool> heads;
};
struct PlacedLayers {
    const LayerEntry* entry;
    std::vector<bool> layers;
    std::vector<PlacedHeads> heads;
};

class Resolver {
  public:
    Resolver(const Document& document, const Geometry& geometry)
        : document_(document), geometry_(geometry), centres_(out_.centres) {}

    ResolvedRecipe resolve() {
        out_.window = document_.window;
        out_.precise = document_.precise;
        check_budget(document_.budget, "budget");
        place_entries();
        const std::vector<bool> dense = protected_layers();
        out_.heads.reserve(std::size_t{geometry_.layers} * geometry_.kv_heads);
        std::vector<const PlacedLayers*> previous;
        std::size_t previous_at = 0;
        bool have_previous = false;
        for (std::uint32_t layer = 0; layer < geometry_.layers; ++layer) {
            if (dense[layer]) {
                out_.heads.resize(out_.heads.size() + geometry_.kv_heads, dense_head());
                continue;
            }
            std::vector<const PlacedLayers*> entries = entries_for(layer);
            const std::size_t start = out_.heads.size();
            if (have_previous && entries == previous) { // most models repeat their layers
                for (std::uint32_t head = 0; head < geometry_.kv_heads; ++head) {
                    out_.heads.push_back(out_.heads[previous_at + head]);
                }
            } else {
                add_layer(entries);
            }
            previous = std::move(entries);
            previous_at = start;
            have_previous = true;
        }
        return std::move(out_);
    }

  private:
    void place_entries() {
        for (const LayerEntry& layer : document_.layers) {
            PlacedLayers placed{
                &layer, at_flags(layer.at, layer.path, geometry_.layers, "layers"), {}};
            check_budgets(layer);
            for (const HeadEntry& head : layer.heads) {
                placed.heads.push_back(
                    {&head, at_flags(head.at, head.path, geometry_.kv_heads, "kv heads")});
                check_budgets(head);
            }
            placed_.push_back(std::move(placed));
        }
    }

    void check_budgets(const HeadEntry& entry) const {
        if (!entry.budget) { return; }
        const std::string path = entry.path + ".budget";
        const std::vector<std::uint32_t>& tokens = entry.budget->tokens;
        if (entry.budget->per_head && tokens.size() != geometry_.kv_heads) {
            unsupported(path, " has ", tokens.size(), " numbers, but the geometry has ",
                        geometry_.kv_heads, " kv heads; give one number, or one per kv head");
        }
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            check_budget(tokens[i], entry.budget->per_head ? cat(path, "[", i, "]") : path);
        }
    }

    void check_budget(std::uint32_t budget, const std::string& path) const {
        const std::uint32_t window = document_.window.recent + document_.window.sink;
        if (budget != 0 && budget < window) {
            unsupported(path, " = ", budget, " is below window.recent + window.sink = ", window,
                        "; give 0 (no limit) or at least ", window);
        }
    }

    std::vector<bool> protected_layers() const {
        std::vector<bool> flags(geometry_.layers, false);
        const auto layers = static_cast<std::int64_t>(geometry_.layers);
        for (const std::int64_t layer : document_.protect) {
            if (layer < -layers || layer >= layers) {
                unsupported("protect: layer ", layer, " is beyond the ", layers,
                            " layers of the geometry; give ", -layers, "..", layers - 1);
            }
            flags[static_cast<std::size_t>(layer < 0 ? layer + layers : layer)] = true;
        }
        return flags;
    }

    HeadSpec dense_head() const {
        HeadSpec head;
        head.k.d = head.k.keep = static_cast<std::uint16_t>(geometry_.head_dim_k);
        head.v.d = head.v.keep = static_cast<std::uint16_t>(geometry_.head_dim_v);
        return head;
    }

    std::vector<const PlacedLayers*> entries_for(std::uint32_t layer) const {
        std::vector<const PlacedLayers*> entries;
        for (const PlacedLayers& placed : placed_) {
            if (placed.layers[layer]) { entries.push_back(&placed); }
        }
        return entries;
    }

    void add_layer(const std::vector<const PlacedLayers*>& entries) {
        SidePatch k = document_.k;
        SidePatch v = document_.v;
        const Budget* budget = nullptr;
        for (const PlacedLayers* placed : entries) {
            overlay(k, placed->entry->k);
            overlay(v, placed->entry->v);
            budget = placed->entry->budget ? &*placed->entry->budget : budget;
        }
        for (std::uint32_t head = 0; head < geometry_.kv_heads; ++head) {
            out_.heads.push_back(resolve_head(entries, head, k, v, budget));
        }
    }

    HeadSpec resolve_head(const std::vector<const PlacedLayers*>& entries, std::uint32_t head,
                          SidePatch k, SidePatch v, const Budget* budget) {
        for (const PlacedLayers* placed : entries) {
            for (const PlacedHeads& heads : placed->heads) {
                if (heads.heads[head]) {
                    overlay(k, heads.entry->k);
                    overlay(v, heads.entry->v);
                    budget = heads.entry->budget ? &*heads.entry->budget : budget;
                }
            }
        }
        HeadSpec spec;
        spec.k =
            resolve_side(std::move(k), Side::k, geometry_.head_dim_k, document_.paths, centres_);
        spec.v =
            resolve_side(std::move(v), Side::v, geometry_.head_dim_v, document_.paths, centres_);
        spec.budget = document_.budget;
        if (budget != nullptr) { spec.budget = budget->tokens[budget->per_head ? head : 0]; }
        return spec;
    }

    const Document& document_;
    const Geometry& geometry_;
    ResolvedRecipe out_;
    CentreTable centres_;
    std::vector<PlacedLayers> placed_;
};

} // namespace

ResolvedRecipe resolve_document(const Document& document, const Geometry& geometry) {
    return Resolver(document, geometry).resolve();
}

} // namespace mustafar::recipes
