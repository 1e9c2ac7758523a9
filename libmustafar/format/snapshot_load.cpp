// SPDX-License-Identifier: Apache-2.0
// Loading: every count and value is checked before use; the cache is built aside and handed out
// whole.
#include <bit>
#include <cmath>

#include "core/half.hpp"
#include "format/head_flags.hpp"
#include "format/snapshot_bytes.hpp"
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
    void read_head(Cache& cache, HeadState& head, const LayerState& layer);
    void read_positions(Cache& cache, HeadState& head, std::uint32_t rows, const LayerState& layer);
    void read_pages(Cache& cache, HeadState& head, std::uint32_t count);
    void read_page_side(const HeadState& head, Side side, std::uint32_t rows,
                        std::vector<RowImage>& images, std::vector<std::byte>& block_meta);
    void read_dense(HeadState& head);
    void read_marks(Cache& cache, HeadState& head);
    void check_bitmap(const std::uint8_t* bitmap, const SideSpec& side);
    void check_row(const SideSpec& side, const RowImage& image);
    void check_affine(const std::byte* pairs, std::size_t count);
    std::uint64_t most_head_bytes(const HeadSpec& spec, std::uint64_t rows) const;
    float magnitude_limit(const SideSpec& side) const;

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
    in_.open(Section::layer, index, 8);
    LayerState layer;
    layer.committed = in_.get<std::uint32_t>("committed");
    layer.tentative = in_.get<std::uint32_t>("tentative");
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
        in_.open(Section::head, index * geometry_.kv_heads + h, most_head_bytes(head.spec, length));
        read_head(cache, head, layer);
        in_.close();
    }
}

std::uint64_t SnapshotReader::most_head_bytes(const HeadSpec& spec, std::uint64_t rows) const {
    // Per row: dense or packed, marks, position, and a page of its own with its valid word and
    // channel scales.
    const std::uint64_t row = 2ULL * (spec.k.d + spec.v.d) + (spec.k.d + spec.v.d) / 8U +
                              max_meta_bytes * 2 + 1 + 4 + 4 + row_strides(spec.k).block_meta;
    return 24 + spec.k.d * 4ULL + (spec.k.d + spec.v.d) / 8U + rows * row;
}

void SnapshotReader::read_head(Cache& cache, HeadState& head, const LayerState& layer) {
    const auto body = in_.get<std::uint32_t>("body_rows");
    const auto dense = in_.get<std::uint32_t>("dense_rows");
    const auto flags = in_.get<std::uint32_t>("flags");
    const auto pages = in_.get<std::uint32_t>("page_count");
    head.evicted = in_.get<std::uint64_t>("evicted");
    const std::uint64_t rows = std::uint64_t{body} + dense;
    const bool positions = (flags & head_has_positions) != 0;
    if (rows > layer.length() || (!positions && rows != layer.length()) ||
        dense < layer.tentative ||
        (body > 0 && dense - std::min(dense, cache.window_.sink) < layer.tentative)) {
        in_.corrupt("body_rows + dense_rows = " + std::to_string(rows) +
                    " does not fit a length of " + std::to_string(layer.length()));
    }
    if ((flags & ~head_all_flags) != 0) {
        in_.corrupt("flags = " + std::to_string(flags) + " are unknown");
    }
    if (body > 0 && dense < cache.window_.sink) {
        in_.corrupt("a body stands behind fewer than sink rows");
    }
    if (positions != (head.evicted != 0)) {
        in_.corrupt(positions ? "positions, but no row was evicted"
                              : "evicted rows without positions");
    }
    const bool given = head.spec.k.centre_at >= 0;
    const bool centre = (flags & head_has_centre) != 0;
    if (centre && !head.spec.k.centred) { in_.corrupt("a centre, but the recipe has none"); }
    if (head.spec.k.centred && !centre && (body > 0 || given)) {
        in_.corrupt("the centre is missing");
    }
    if (positions) { read_positions(cache, head, static_cast<std::uint32_t>(rows), layer); }
    if (centre) {
        const std::byte* bytes = in_.take(head.centre.bytes(), "centre");
        if (given && std::memcmp(bytes, head.centre.data(), head.centre.bytes()) != 0) {
            in_.corrupt("the centre is not the recipe's");
        }
        std::memcpy(head.centre.data(), bytes, head.centre.bytes());
        for (const float value : head.centre) {
            if (!(std::fabs(value) <= 32752.0F)) {
                in_.corrupt("a value of the centre is out of range");
            }
        }
        head.centre_frozen = true;
    }
    for (const Side side : {Side::k, Side::v}) {
        const auto which = static_cast<int>(side);
        if ((flags & (head_has_k_mask << which)) == 0) { continue; }
        if (head.channel_mask[which].empty()) {
            in_.corrupt("a channel mask, but the recipe prunes no channels");
        }
        std::memcpy(head.channel_mask[which].data(),
                    in_.take(head.channel_mask[which].bytes(), "channel mask"),
                    head.channel_mask[which].bytes());
        check_bitmap(head.channel_mask[which].data(), head.spec.side(side));
        head.mask_frozen[which] = true;
    }
    head.body_rows = 0; // grows with the pages
    read_pages(cache, head, pages);
    if (head.body_rows != body) {
        in_.corrupt("body_rows = " + std::to_string(body) + ", its pages hold " +
                    std::to_string(head.body_rows));
    }
    head.dense_rows = dense;
    const std::uint64_t dense_bytes = std::uint64_t{dense} * (head.spec.k.d + head.spec.v.d) * 2;
    if (dense_bytes > in_.left()) { // before memory is taken for them
        in_.corrupt("dense rows needs " + std::to_string(dense_bytes) + " bytes, " +
                    std::to_string(in_.left()) + " are left");
    }
    const std::uint32_t slots = window_slots(first_window_slots(cache.window_, options_), dense);
    if (slots != head.slots) {
        head.window = Buffer<std::uint16_t>(cache.memory(),
                                            std::size_t{slots} * (head.spec.k.d + head.spec.v.d));
        head.slots = slots;
    }
    read_dense(head);
    if ((flags & head_has_marks) != 0) { read_marks(cache, head); }
}

void SnapshotReader::read_positions(Cache& cache, HeadState& head, std::uint32_t rows,
                                    const LayerState& layer) {
    const std::byte* bytes = in_.take(std::uint64_t{rows} * 4, "positions");
    head.positions = Buffer<std::int32_t>(cache.memory(), position_slots(rows));
    std::memcpy(head.positions.data(), bytes, std::size_t{rows} * 4);
    std::int64_t last = -1;
    const std::uint32_t window_sink = cache.window_.sink;
    for (std::uint32_t r = 0; r < rows; ++r) {
        const std::int64_t position = head.positions[r];
        if (position <= last || position >= layer.length()) {
            in_.corrupt("positions[" + std::to_string(r) + "] = " + std::to_string(position) +
                        " does not ascend below the length");
        }
        if (r < window_sink && position != r) { in_.corrupt("a sink token is missing"); }
        if (rows - r <= layer.tentative && position != std::int64_t{layer.length()} - (rows - r)) {
            in_.corrupt("a tentative token is missing");
        }
        last = position;
    }
}

void SnapshotReader::read_pages(Cache& cache, HeadState& head, std::uint32_t count) {
    const bool holes = keeps_holes(head.spec);
    for (std::uint32_t p = 0; p < count; ++p) {
        const auto valid = in_.get<std::uint32_t>("valid");
        const auto rows = static_cast<std::uint32_t>(std::popcount(valid));
        if (rows == 0 ||
            (!holes && (valid != first_slots(rows) || (rows < page_rows && p + 1 < count)))) {
            in_.corrupt("page " + std::to_string(p) + ": valid = " + std::to_string(valid) +
                        " is not canonical");
        }
        if (p >= head.pages.size()) { // grows with what is really there
            Buffer<PageRef> table(cache.memory(), table_slots(p + 1));
            std::copy(head.pages.begin(), head.pages.begin() + head.page_count, table.begin());
            head.pages = std::move(table);
        }
        std::vector<RowImage> images[2];
        std::vector<std::byte> block_meta;
        read_page_side(head, Side::k, rows, images[0], block_meta);
        read_page_side(head, Side::v, rows, images[1], block_meta);
        std::vector<RowImage> slots[2]; // spread over the slots, holes empty
        for (int side = 0; side < 2; ++side) {
            if (!holes) {
                slots[side] = std::move(images[side]);
                continue;
            }
            slots[side].resize(page_rows);
            for (std::uint32_t slot = 0, i = 0; slot < page_rows; ++slot) {
                if (((valid >> slot) & 1U) != 0) { slots[side][slot] = images[side][i++]; }
            }
        }
        Page* page = is_ragged(head.spec)
                         ? build_ragged_page(cache.pool(), head.spec, slots[0], slots[1])
                         : create_page(cache.pool(), head.spec);
        head.pages[head.page_count++] = PageRef{page, valid, 0};
        head.body_rows += rows;
        for (const Side side : {Side::k, Side::v}) {
            PageSide arrays = page_side(head.spec, side, *page);
            for (std::uint32_t slot = 0; slot < page_rows && !is_ragged(head.spec); ++slot) {
                if (((valid >> slot) & 1U) != 0) {
                    store_row(head.spec.side(side), arrays, slot,
                              slots[static_cast<int>(side)][slot]);
                }
            }
            if (arrays.strides.block_meta != 0) {
                std::memcpy(arrays.meta, block_meta.data(), block_meta.size());
            }
        }
    }
    cache.order_keys(head, 0);
}

void SnapshotReader::read_page_side(const HeadState& head, Side side, std::uint32_t rows,
                                    std::vector<RowImage>& images,
                                    std::vector<std::byte>& block_meta) {
    const SideSpec& spec = head.spec.side(side);
    const RowStrides strides = row_strides(spec);
    images.assign(rows, RowImage{});
    for (RowImage& image : images) {
        std::memset(image.bitmap, 0xFF, spec.d / 8U);
        if (strides.bitmap != 0) {
            std::memcpy(image.bitmap, in_.take(strides.bitmap, "bitmap"), strides.bitmap);
        }
        for (std::size_t i = 0; i < spec.d / 8U; ++i) {
            image.count += static_cast<std::uint32_t>(std::popcount(image.bitmap[i]));
        }
        if (spec.encoding != Encoding::ragged && image.count != spec.keep) {
            in_.corrupt("a row keeps " + std::to_string(image.count) +
                        " elements, its encoding keeps " + std::to_string(spec.keep));
        }
    }
    for (RowImage& image : images) {
        const std::uint32_t bytes = code_bytes(image.count, spec.bits);
        std::memcpy(image.codes, in_.take(bytes, "codes"), bytes);
        check_row(spec, image);
    }
    if (strides.block_meta != 0) {
        const std::byte* pairs = in_.take(strides.block_meta, "channel scales");
        check_affine(pairs, spec.d);
        block_meta.assign(pairs, pairs + strides.block_meta);
    }
    if (strides.meta != 0) {
        for (RowImage& image : images) {
            const std::byte* pairs = in_.take(strides.meta, "scale and zero");
            check_affine(pairs, strides.meta / 4);
            std::memcpy(image.meta, pairs, strides.meta);
        }
    }
}

float SnapshotReader::magnitude_limit(const SideSpec& side) const {
    if (side.centred) { return 65504.0F; }
    return geometry_.store == Dtype::f16 || side.bits < 16 ? 65504.0F
                                                           : std::numeric_limits<float>::max();
}

void SnapshotReader::check_row(const SideSpec& side, const RowImage& image) {
    if (side.bits == 16) {
        for (std::uint32_t i = 0; i < image.count; ++i) {
            std::uint16_t half = 0;
            std::memcpy(&half, image.codes + std::size_t{i} * 2, 2);
            if (!(std::fabs(load_half(half, geometry_.store)) <= magnitude_limit(side))) {
                in_.corrupt("a packed value is out of range");
            }
        }
        return;
    }
    const std::uint32_t used = image.count * side.bits % 8;
    if (used != 0 && (image.codes[image.count * side.bits / 8] >> used) != 0) {
        in_.corrupt("bits behind the last code are set");
    }
}

void SnapshotReader::check_affine(const std::byte* pairs, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint16_t pair[2];
        std::memcpy(pair, pairs + i * 4, 4);
        const float scale = f16_to_f32(pair[0]);
        const bool negative_zero = pair[0] == 0x8000U || pair[1] == 0x8000U; // never written
        if (!std::isfinite(scale) || scale < 0.0F || negative_zero ||
            !std::isfinite(f16_to_f32(pair[1]))) {
            in_.corrupt("a scale or zero is out of range");
        }
    }
}

void SnapshotReader::check_bitmap(const std::uint8_t* bitmap, const SideSpec& side) {
    std::uint32_t count = 0;
    for (std::size_t i = 0; i < side.d / 8U; ++i) {
        count += static_cast<std::uint32_t>(std::popcount(bitmap[i]));
    }
    if (side.encoding != Encoding::ragged && count != side.keep) {
        in_.corrupt("a mask keeps " + std::to_string(count) + " elements, the recipe keeps " +
                    std::to_string(side.keep));
    }
}

void SnapshotReader::read_dense(HeadState& head) {
    for (const Side side : {Side::k, Side::v}) {
        const SideSpec& spec = head.spec.side(side);
        const std::size_t count = std::size_t{head.dense_rows} * spec.d;
        std::uint16_t* to =
            head.window.data() + (side == Side::k ? 0 : std::size_t{head.slots} * head.spec.k.d);
        if (count == 0) { continue; }
        std::memcpy(to, in_.take(count * 2, "dense rows"), count * 2);
        const float most = spec.centred ? 32752.0F : magnitude_limit(spec);
        for (std::size_t i = 0; i < count; ++i) {
            if (!(std::fabs(load_half(to[i], geometry_.store)) <= most)) {
                in_.corrupt("a dense value is out of range");
            }
        }
    }
}

void SnapshotReader::read_marks(Cache& cache, HeadState& head) {
    const std::size_t row_bytes[2] = {head.spec.k.d / 8U, head.spec.v.d / 8U};
    head.marks =
        Buffer<std::uint8_t>(cache.memory(), head.slots * (1 + row_bytes[0] + row_bytes[1]));
    if (head.dense_rows > 0) {
        std::memcpy(head.marks.data(), in_.take(head.dense_rows, "marks"), head.dense_rows);
    }
    std::uint8_t* bits[2] = {head.marks.data() + head.slots,
                             head.marks.data() + head.slots * (1 + row_bytes[0])};
    bool any = false;
    for (int side = 0; side < 2; ++side) {
        for (std::uint32_t slot = 0; slot < head.dense_rows; ++slot) {
            if (head.marks[slot] > 3) { in_.corrupt("a mark has unknown bits"); }
            if (((head.marks[slot] >> side) & 1U) == 0) { continue; }
            any = true;
            if (side == 0 && head.spec.k.centred && !head.centre_frozen) {
                in_.corrupt("a marked row, but its centre is missing");
            }
            std::memcpy(bits[side] + slot * row_bytes[side], in_.take(row_bytes[side], "mark"),
                        row_bytes[side]);
        }
    }
    if (!any) { in_.corrupt("marks without a marked row"); }
}

} // namespace mustafar
