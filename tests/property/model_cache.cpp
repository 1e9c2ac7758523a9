// SPDX-License-Identifier: Apache-2.0
// The operations of the oracle on whole heads and layers.
#include <algorithm>
#include <numeric>

#include "model.hpp"

namespace oracle {
namespace {

// The rule as it applies here, and whether it is the recipe's own.
const Rule &rule_of(const SideRecipe &recipe, const Rule &asked) {
    return asked.method == MUSTAFAR_PRUNE_RECIPE ? recipe.rule : asked;
}

void see_dense(SideRow &row) {
    row.marked = false;
    row.survivors.assign(row.stored.size(), 1);
    row.value.assign(row.stored.begin(), row.stored.end());
}

// A mark: survivors read as they are stored, the others as the centre.
void see_marked(SideRow &row, const Mask &mask, const std::optional<std::vector<float>> &mu) {
    see_dense(row);
    row.marked = true;
    row.survivors = mask;
    for (std::size_t c = 0; c < mask.size(); ++c)
        if (mask[c] == 0) row.value[c] = mu ? double{(*mu)[c]} : 0.0;
}

const std::optional<std::vector<float>> &centre_of(const Head &head, uint32_t side) {
    static const std::optional<std::vector<float>> none;
    return side == MUSTAFAR_SIDE_K ? head.centre : none;
}

void freeze_centre(Head &head, uint32_t side, const std::vector<SideRow *> &rows) {
    if (!head.recipe->side[side].centred || head.centre) return;
    head.centre = mean({rows.begin(), rows.end()});
}

// Survivors of `x` as the recipe says; whole channels are chosen once and for all.
std::vector<Mask> recipe_masks(Head &head, uint32_t side, const std::vector<std::vector<float>> &x,
                               const Weights &weights) {
    const Rule &rule = head.recipe->side[side].rule;
    if (rule.method == MUSTAFAR_PRUNE_NONE)
        return std::vector<Mask>(x.size(), Mask(head.recipe->side[side].d, 1));
    if (rule.method != MUSTAFAR_PRUNE_CHANNELS || x.empty()) return choose(rule, x, weights);
    if (!head.channels[side]) head.channels[side] = choose(rule, x, weights)[0];
    return std::vector<Mask>(x.size(), *head.channels[side]);
}

void forget(Head &head) {
    head.centre.reset();
    const auto &given = head.recipe->side[MUSTAFAR_SIDE_K].centre;
    if (!given.empty()) head.centre = given;
    for (auto &mask : head.channels) mask.reset();
    head.rows.clear();
    head.pages.clear();
    head.body = 0;
    head.evicted = false;
    head.evicted_rows = 0;
}

void own(PageOf &page) {
    if (page.identity.use_count() > 1) page.identity = std::make_shared<int>(0);
}

} // namespace

Model::Model(const Config &config) : config_(&config), layers_(config.geometry.layers) {
    const uint32_t heads = config.geometry.kv_heads;
    for (uint32_t layer = 0; layer < config.geometry.layers; ++layer) {
        layers_[layer].heads.resize(heads);
        for (uint32_t h = 0; h < heads; ++h) {
            layers_[layer].heads[h].recipe = &config.head(layer, h);
            forget(layers_[layer].heads[h]);
        }
    }
}

Model Model::with_own_pages() const {
    Model copy = *this;
    for (Layer &layer : copy.layers_)
        for (Head &head : layer.heads)
            for (PageOf &page : head.pages) page.identity = std::make_shared<int>(0);
    return copy;
}

uint32_t Model::sink_rows(const Head &head) const {
    return std::min<uint32_t>(config_->sink, static_cast<uint32_t>(head.rows.size()));
}

uint32_t Model::committed_rows(uint32_t layer, const Head &head) const {
    return static_cast<uint32_t>(head.rows.size()) - layers_[layer].tentative;
}

uint32_t Model::first_kept(uint32_t layer, const Head &head) const {
    const uint32_t rows = committed_rows(layer, head);
    const uint32_t first = rows - std::min(rows, config_->recent);
    return std::max(first, std::min(sink_rows(head), rows));
}

void Model::append(uint32_t layer, uint32_t tokens, const std::vector<float> &k,
                   const std::vector<float> &v, bool tentative) {
    Layer &target = layers_[layer];
    const std::size_t heads = target.heads.size();
    const auto first = static_cast<int32_t>(length(layer));
    for (uint32_t t = 0; t < tokens; ++t)
        for (std::size_t h = 0; h < heads; ++h) {
            Row row;
            row.position = first + static_cast<int32_t>(t);
            for (uint32_t side = 0; side < 2; ++side) {
                const auto &from = side == MUSTAFAR_SIDE_K ? k : v;
                const auto at =
                    from.begin() + static_cast<std::ptrdiff_t>((t * heads + h) * config_->d(side));
                row.side[side].stored.assign(at, at + config_->d(side));
                see_dense(row.side[side]);
            }
            target.heads[h].rows.push_back(std::move(row));
        }
    (tentative ? target.tentative : target.committed) += tokens;
    appended_tokens += tokens;
    if (!tentative) pack_window(layer);
}

void Model::commit(uint32_t layer) {
    Layer &target = layers_[layer];
    target.committed += target.tentative;
    target.tentative = 0;
    pack_window(layer);
}

void Model::pack_window(uint32_t layer) {
    if (!config_->automatic) return;
    for (Head &head : layers_[layer].heads)
        while (committed_rows(layer, head) >= first_dense(head) + config_->recent + config_->step)
            pack(head, first_dense(head), config_->step);
}

void Model::prune(uint32_t layer, uint32_t h, const Prune &prune) {
    Head &head = layers_[layer].heads[h];
    const SideRecipe &recipe = head.recipe->side[prune.side];
    const Rule &rule = rule_of(recipe, prune.rule);
    std::vector<SideRow *> rows;
    std::vector<std::size_t> offsets;
    for (Row &row : head.rows)
        if (row.position >= prune.begin && row.position < prune.end) {
            rows.push_back(&row.side[prune.side]);
            offsets.push_back(static_cast<std::size_t>(row.position - prune.begin));
        }
    if (rows.empty()) return;
    if (rule.method == MUSTAFAR_PRUNE_NONE) {
        for (SideRow *row : rows) see_dense(*row);
        return;
    }
    freeze_centre(head, prune.side, rows);
    const auto &mu = centre_of(head, prune.side);
    Weights weights;
    weights.channel = prune.channel_weights;
    std::vector<std::vector<float>> x;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        x.push_back(centred(rows[i]->stored, mu));
        if (prune.token_weights != nullptr)
            weights.token.push_back(prune.token_weights[offsets[i]]);
    }
    std::vector<Mask> masks;
    if (rule.method == MUSTAFAR_PRUNE_MASK) {
        for (const std::size_t offset : offsets) masks.push_back(prune.mask[offset]);
    } else if (prune.rule.method == MUSTAFAR_PRUNE_RECIPE) {
        masks = recipe_masks(head, prune.side, x, weights);
    } else {
        masks = choose(rule, x, weights);
    }
    for (std::size_t i = 0; i < rows.size(); ++i) see_marked(*rows[i], masks[i], mu);
}

bool Model::mark_fits(const Head &head, uint32_t side, const Row &row) const {
    const SideRecipe &recipe = head.recipe->side[side];
    const SideRow &from = row.side[side];
    if (!from.marked) return recipe.rule.method != MUSTAFAR_PRUNE_MASK;
    if (recipe.encoding() == MUSTAFAR_ENCODING_RAGGED) return true;
    return std::accumulate(from.survivors.begin(), from.survivors.end(), 0U) == recipe.count();
}

namespace {
uint32_t outside_window(const Head &head, uint32_t from, uint32_t to) {
    const uint32_t rows = to > from ? to - from : 0;
    return head.recipe->side[MUSTAFAR_SIDE_K].channel_axis ? rows / 32 * 32 : rows;
}
} // namespace

bool Model::compressible(uint32_t layer) const {
    for (const Head &head : layers_[layer].heads) {
        const uint32_t from = first_dense(head);
        const uint32_t rows = outside_window(head, from, first_kept(layer, head));
        for (uint32_t i = from; i < from + rows; ++i)
            for (uint32_t side = 0; side < 2; ++side)
                if (!mark_fits(head, side, head.rows[i])) return false;
    }
    return true;
}

void Model::compress(uint32_t layer) {
    for (Head &head : layers_[layer].heads) {
        uint32_t rows = outside_window(head, first_dense(head), first_kept(layer, head));
        while (rows != 0) {
            const uint32_t chunk = std::min(rows, config_->step);
            pack(head, first_dense(head), chunk);
            rows -= chunk;
        }
    }
}

void Model::pack(Head &head, uint32_t first, uint32_t count) {
    for (uint32_t side = 0; side < 2; ++side) {
        const SideRecipe &recipe = head.recipe->side[side];
        std::vector<SideRow *> rows, unmarked;
        for (uint32_t i = first; i < first + count; ++i) rows.push_back(&head.rows[i].side[side]);
        freeze_centre(head, side, rows);
        const auto &mu = centre_of(head, side);
        std::vector<std::vector<float>> x;
        for (SideRow *row : rows)
            if (!row->marked) {
                unmarked.push_back(row);
                x.push_back(centred(row->stored, mu));
            }
        std::vector<Mask> masks = recipe_masks(head, side, x, {}); // marked rows have their choice
        for (std::size_t i = 0; i < unmarked.size(); ++i) unmarked[i]->survivors = masks[i];
        masks.clear();
        x.clear();
        for (SideRow *row : rows) {
            masks.push_back(row->survivors);
            x.push_back(centred(row->stored, mu));
        }
        auto values = decode(recipe, config_->geometry.dtype, x, masks, mu);
        for (uint32_t i = 0; i < count; ++i) {
            rows[i]->value = std::move(values[i]);
            packed_marks += rows[i]->marked ? 1 : 0;
            rows[i]->marked = false;
        }
    }
    pack_pages(head, count);
    head.body += count;
    packed_rows += count;
}

// Rows fill the last page, unless their group of 32 is a page of its own. A
// shared page is copied.
void Model::pack_pages(Head &head, uint32_t count) {
    const bool groups = head.recipe->side[MUSTAFAR_SIDE_K].channel_axis;
    while (count != 0) {
        if (groups || head.pages.empty() || head.pages.back().rows == 32)
            head.pages.push_back({std::make_shared<int>(0), 0});
        PageOf &page = head.pages.back();
        own(page);
        const uint32_t taken = std::min(count, 32 - page.rows);
        page.rows += taken;
        count -= taken;
    }
}

void Model::evict(uint32_t layer, uint32_t h, const std::vector<int32_t> &positions) {
    if (positions.empty()) return;
    Head &head = layers_[layer].heads[h];
    const uint32_t body_from = sink_rows(head), body_to = first_dense(head);
    const auto gone = [&](int32_t position) {
        return std::binary_search(positions.begin(), positions.end(), position);
    };
    std::vector<uint32_t> removed; // body indices
    for (uint32_t i = body_from; i < body_to; ++i)
        if (gone(head.rows[i].position)) removed.push_back(i - body_from);
    if (head.recipe->side[MUSTAFAR_SIDE_K].channel_axis) {
        uint32_t at = 0, next = 0; // codes stay: pages only lose rows
        for (PageOf &page : head.pages) {
            const uint32_t end = at + page.rows;
            for (; next < removed.size() && removed[next] < end; ++next) --page.rows;
            at = end;
        }
        std::erase_if(head.pages, [](const PageOf &page) { return page.rows == 0; });
    } else if (!removed.empty()) { // rows behind the first move up
        uint32_t left = head.body - static_cast<uint32_t>(removed.size());
        head.pages.resize((left + 31) / 32);
        for (std::size_t i = 0; i < head.pages.size(); ++i) {
            head.pages[i].rows = std::min(left, 32U);
            left -= head.pages[i].rows;
            if (i >= removed[0] / 32) own(head.pages[i]);
        }
    }
    head.body -= static_cast<uint32_t>(removed.size());
    std::erase_if(head.rows, [&](const Row &row) { return gone(row.position); });
    head.evicted = true;
    head.evicted_rows += positions.size();
    evicted_rows += positions.size();
}

std::vector<int32_t> Model::lowest(uint32_t layer, uint32_t h, const std::vector<float> &scores,
                                   uint32_t budget) const {
    const Head &head = layers_[layer].heads[h];
    if (budget == 0) budget = head.recipe->budget;
    if (budget == 0 || head.rows.size() <= budget) return {};
    std::vector<uint32_t> order;
    for (uint32_t i = first_kept(layer, head); i-- > sink_rows(head);)
        order.push_back(i); // newest first
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return scores[a] < scores[b]; });
    order.resize(std::min<std::size_t>(order.size(), head.rows.size() - budget));
    std::vector<int32_t> positions;
    for (const uint32_t i : order) positions.push_back(head.rows[i].position);
    std::sort(positions.begin(), positions.end());
    return positions;
}

uint32_t Model::smallest_exact(uint32_t layer) const {
    uint32_t smallest = 0;
    for (const Head &head : layers_[layer].heads) {
        if (head.body == 0) continue;
        const uint32_t dense = committed_rows(layer, head) - first_dense(head);
        uint32_t length = layers_[layer].committed;
        if (dense >= config_->recent)
            length =
                static_cast<uint32_t>(head.rows[first_dense(head) + config_->recent - 1].position) +
                1;
        smallest = std::max(smallest, length);
    }
    return smallest;
}

void Model::truncate_head(Head &head, uint32_t length) {
    const uint32_t sinks = sink_rows(head);
    while (!head.rows.empty() && head.rows.back().position >= static_cast<int32_t>(length))
        head.rows.pop_back();
    const auto left = static_cast<uint32_t>(head.rows.size());
    uint32_t cut = head.body - std::min(head.body, left - std::min(left, sinks));
    head.body -= cut;
    while (cut != 0) {
        PageOf &page = head.pages.back();
        const uint32_t taken = std::min(cut, page.rows);
        page.rows -= taken;
        cut -= taken;
        if (page.rows == 0) head.pages.pop_back();
    }
}

void Model::truncate(uint32_t length) {
    for (Layer &layer : layers_) {
        if (length >= layer.committed + layer.tentative) continue;
        for (Head &head : layer.heads) {
            truncate_head(head, length);
            if (length > config_->sink) continue;
            std::vector<Row> left =
                std::move(head.rows); // sinks: nothing packed or evicted is left
            evicted_rows -= head.evicted_rows;
            forget(head);
            head.rows = std::move(left);
        }
        layer.tentative = length > layer.committed ? length - layer.committed : 0;
        layer.committed = std::min(layer.committed, length);
        for (Head &head : layer.heads) { // the window is exact: what comes back loses its marks
            const std::size_t committed = head.rows.size() - layer.tentative;
            for (std::size_t i = committed - std::min<std::size_t>(committed, config_->recent);
                 i < head.rows.size(); ++i)
                for (SideRow &row : head.rows[i].side)
                    if (row.marked) see_dense(row);
        }
    }
}

void Model::reset() {
    for (Layer &layer : layers_) {
        layer.committed = layer.tentative = 0;
        for (Head &head : layer.heads) forget(head);
    }
    evicted_rows = 0;
}

} // namespace oracle
