// SPDX-License-Identifier: Apache-2.0
// Loading: sections in order, each checked before use; the cache is built aside and handed out
// whole.
#include "format/snapshot_bytes.hpp"
#include "format/snapshot_head.hpp"
#include "mustafar/snapshot.h"

namespace mustafar {

// Friend of Cache: fills an empty cache of the right shape.
class SnapshotReader {
  public:
    SnapshotReader(SectionReader& reader, const LoadRequest& request)
        : in_(reader), request_(request) {}
    Cache::Handle read();

  private:
    void check_claim() const;
    void read_geometry();
    void read_recipe();
    void read_model();
    void read_layer(Cache& cache, std::uint32_t layer);
    void check_type(std::uint32_t layer, std::uint32_t head, Side side, const SideSpec& spec);

    SectionReader& in_;
    const LoadRequest& request_;
    Geometry geometry_;
    CacheOptions options_;
    std::shared_ptr<const Recipe> recipe_;
};

Cache::Handle load_snapshot(const LoadRequest& request, const ReadFn& read) {
    SectionReader sections(read);
    return SnapshotReader(sections, request).read();
}

Cache::Handle SnapshotReader::read() {
    in_.read_magic();
    read_geometry();
    read_recipe();
    read_model();
    Cache::Handle cache(nullptr, [](Cache*) {});
    try {
        check_claim();
        cache = Cache::allocate(request_.context, geometry_, recipe_, options_);
    } catch (const Error& error) {
        if (error.code != MUSTAFAR_UNSUPPORTED && error.code != MUSTAFAR_INVALID_ARGUMENT) {
            throw;
        }
        in_.corrupt("geometry and recipe do not fit together: " + error.text);
    }
    for (std::uint32_t l = 0; l < geometry_.layers; ++l) { read_layer(*cache, l); }
    in_.open(Section::end, 0, 8);
    const auto sections = in_.get<std::uint64_t>("section count");
    if (sections != std::uint64_t{4} + geometry_.layers +
                        std::uint64_t{geometry_.layers} * geometry_.kv_heads) {
        in_.corrupt("section count = " + std::to_string(sections) + " is wrong");
    }
    in_.close();
    for (HeadState& head : cache->heads_) { cache->fill_reserve(head); }
    return cache;
}

// A few bytes can name a shape whose empty cache takes gigabytes: large ones want the caller's
// word.
void SnapshotReader::check_claim() const {
    if (request_.geometry && request_.recipe != nullptr) { return; }
    constexpr std::uint64_t most_heads = std::uint64_t{1} << 16;
    constexpr std::uint64_t most_bytes = std::uint64_t{1} << 28;
    const std::uint64_t heads = std::uint64_t{geometry_.layers} * geometry_.kv_heads;
    const std::uint64_t bytes =
        heads > most_heads ? 0 : plan(*recipe_, geometry_, options_, 0, MUSTAFAR_ALL).total;
    if (heads <= most_heads && bytes <= most_bytes) { return; }
    throw Error(MUSTAFAR_MISMATCH,
                "the snapshot names " + std::to_string(heads) + " kv heads" +
                    (bytes > 0 ? " that take " + std::to_string(bytes) + " B while empty" : "") +
                    "; pass its geometry and recipe to load a cache of that size");
}

void SnapshotReader::read_geometry() {
    in_.open(Section::geometry, 0, 32);
    std::uint32_t field[8];
    for (std::uint32_t& value : field) { value = in_.get<std::uint32_t>("geometry"); }
    in_.close();
    geometry_ = {field[0], field[1], field[2], field[3], field[4], static_cast<Dtype>(field[5])};
    try {
        check_geometry(geometry_);
    } catch (const Error& error) { in_.corrupt(error.text); }
    if (field[7] > 1) { in_.corrupt("flags = " + std::to_string(field[7]) + " are unknown"); }
    if (field[6] == 0 || field[6] > 0x7FFFFFFFU) {
        in_.corrupt("max_tokens = " + std::to_string(field[6]) + " is out of range");
    }
    options_ = {field[6], 0, field[7] == 1};
    if (request_.geometry && !(*request_.geometry == geometry_)) {
        throw Error(MUSTAFAR_MISMATCH, "geometry: the snapshot has layers, q_heads, kv_heads, "
                                       "head_dim_k, head_dim_v, dtype = " +
                                           std::to_string(geometry_.layers) + ", " +
                                           std::to_string(geometry_.q_heads) + ", " +
                                           std::to_string(geometry_.kv_heads) + ", " +
                                           std::to_string(geometry_.head_dim_k) + ", " +
                                           std::to_string(geometry_.head_dim_v) + ", " +
                                           std::to_string(field[5]) + "; another was given");
    }
    if (!request_.options) { return; }
    if (request_.options->automatic != options_.automatic) {
        throw Error(MUSTAFAR_MISMATCH, std::string("options.flags: the snapshot was saved ") +
                                           (options_.automatic ? "with" : "without") + " AUTO");
    }
    if (request_.options->max_tokens != 0) { options_.max_tokens = request_.options->max_tokens; }
    options_.reserve_tokens = request_.options->reserve_tokens;
    if (options_.reserve_tokens > options_.max_tokens) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT,
                    "options.reserve_tokens = " + std::to_string(options_.reserve_tokens) +
                        " exceeds max_tokens = " + std::to_string(options_.max_tokens));
    }
}

void SnapshotReader::read_recipe() {
    in_.open(Section::recipe, 0, std::uint64_t{1} << 20);
    const std::string text = in_.text();
    if (text.empty() || text[0] != '{') { in_.corrupt("the recipe is not JSON"); }
    try {
        recipe_ = Recipe::parse(text);
    } catch (const Error& error) { in_.corrupt("the recipe is not valid: " + error.text); }
    if (recipe_->json() != text) { in_.corrupt("the recipe is not in canonical form"); }
    if (request_.recipe != nullptr && request_.recipe->digest() != recipe_->digest()) {
        throw Error(MUSTAFAR_MISMATCH, "recipe: the snapshot has digest " + recipe_->digest() +
                                           ", given was " + request_.recipe->digest());
    }
}

void SnapshotReader::read_model() {
    in_.open(Section::model, 0, MUSTAFAR_MODEL_ID_MAX);
    const std::string text = in_.text();
    if (text.find('\0') != std::string::npos) { in_.corrupt("model_id holds a NUL"); }
    if (request_.model_id && *request_.model_id != text) {
        throw Error(MUSTAFAR_MISMATCH, "model_id: the snapshot has \"" + text + "\", given was \"" +
                                           *request_.model_id + "\"");
    }
}

void SnapshotReader::read_layer(Cache& cache, std::uint32_t index) {
    in_.open(Section::layer, index, 8 + std::uint64_t{geometry_.kv_heads} * 2 * sizeof(SideType));
    LayerState layer;
    layer.committed = in_.get<std::uint32_t>("committed");
    layer.tentative = in_.get<std::uint32_t>("tentative");
    for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
        const HeadSpec& spec = cache.head(index, h).spec;
        check_type(index, h, Side::k, spec.k);
        check_type(index, h, Side::v, spec.v);
    }
    in_.close();
    const std::uint64_t length = std::uint64_t{layer.committed} + layer.tentative;
    if (length > 0x7FFFFFFFU) {
        in_.corrupt("length = " + std::to_string(length) + " is out of range");
    }
    if (length > options_.max_tokens) {
        throw Error(
            MUSTAFAR_CAPACITY,
            "layer " + std::to_string(index) + " of the snapshot holds " + std::to_string(length) +
                " tokens, max_tokens = " + std::to_string(options_.max_tokens) + "; raise it",
            {static_cast<std::int64_t>(length), 0, options_.max_tokens});
    }
    cache.layers_[index] = layer;
    for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
        HeadState& head = cache.mutable_head(index, h);
        in_.open(Section::head, index * geometry_.kv_heads + h,
                 HeadReader::most_bytes(head.spec, length));
        HeadReader(in_, cache, cache.layers_[index], head).read();
        cache.order_keys(head, 0);
        in_.close();
    }
}

// What the rows of one side are must be what this library makes of the recipe.
void SnapshotReader::check_type(std::uint32_t layer, std::uint32_t head, Side side,
                                const SideSpec& spec) {
    const auto found = in_.get<SideType>("types");
    const SideType due = side_type(spec);
    if (found == due) { return; }
    const std::string where = "layer " + std::to_string(layer) + ", kv head " +
                              std::to_string(head) + ", side " + (side == Side::k ? "k" : "v") +
                              ": ";
    if (!is_known_tag(found.tag)) {
        throw Error(MUSTAFAR_MISMATCH, where + "encoding tag " + std::to_string(found.tag) +
                                           " of the snapshot is unknown to this library, which "
                                           "reads tags 1..4; use a newer one");
    }
    const auto words = [](const SideType& type) {
        return "tag " + std::to_string(type.tag) + ", " + std::to_string(type.bits) +
               " bits, keep " + std::to_string(type.keep);
    };
    in_.corrupt(where + words(found) + ", but the recipe gives " + words(due));
}

} // namespace mustafar
