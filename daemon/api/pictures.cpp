// SPDX-License-Identifier: Apache-2.0
// What a cache has kept, for pictures: shares by head, and the bitmap of one head.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "api/handlers.hpp"
#include "api/layers.hpp"
#include "api/parameters.hpp"
#include "api/shapes.hpp"
#include "routes.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::uint32_t chunk_rows = 512; // exported at once
constexpr std::uint32_t page_rows = 32;   // docs/format.md
constexpr std::uint32_t columns_wanted = 128;

struct Head {
    std::uint32_t layer = 0;
    std::uint32_t kv_head = 0;
    std::uint32_t side = MUSTAFAR_SIDE_K;
    std::uint32_t d = 0;
    std::uint32_t rows = 0;
    std::uint32_t body = 0;
};

Head head_of(const CacheEntry& entry, std::uint32_t layer, std::uint32_t kv_head,
             std::uint32_t side) {
    const mustafar_geometry& g = entry.shape.geometry;
    Head head{layer, kv_head, side, side == MUSTAFAR_SIDE_K ? g.head_dim_k : g.head_dim_v};
    call(mustafar_cache_rows, entry.cache(), layer, kv_head, &head.rows, &head.body);
    return head;
}

// Calls visit(first row, count, bitmaps) for the rows [from, to), some at a time.
template <class Visit>
void for_each_chunk(const CacheEntry& entry, const Head& head, std::uint32_t from, std::uint32_t to,
                    const Visit& visit) {
    const std::uint32_t most = std::min(chunk_rows, to - from);
    std::vector<float> values(std::size_t{most} * head.d);
    std::vector<std::uint8_t> bitmaps(std::size_t{most} * head.d / 8);
    for (std::uint32_t first = from; first < to; first += most) {
        const std::uint32_t count = std::min(most, to - first);
        const auto view = experiment::f32_tensor(values.data(), {count, head.d});
        call(mustafar_cache_export, entry.cache(), head.layer, head.kv_head, head.side, first,
             first + count, &view, bitmaps.data());
        visit(first, count, bitmaps.data());
    }
}

std::uint64_t count_bits(const std::uint8_t* bytes, std::size_t size) {
    std::uint64_t bits = 0;
    std::size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes + at, sizeof word);
        bits += static_cast<std::uint64_t>(std::popcount(word));
    }
    for (; at < size; ++at) { bits += static_cast<std::uint64_t>(std::popcount(bytes[at])); }
    return bits;
}

// Four digits are what a picture shows.
double share(std::uint64_t part, std::uint64_t whole) {
    return whole == 0
               ? 1.0
               : std::round(1e4 * static_cast<double>(part) / static_cast<double>(whole)) / 1e4;
}

double share_of(const CacheEntry& entry, const Head& head) {
    std::uint64_t kept = 0;
    if (head.rows > 0) {
        for_each_chunk(entry, head, 0, head.rows,
                       [&](std::uint32_t, std::uint32_t count, const std::uint8_t* bitmaps) {
                           kept += count_bits(bitmaps, std::size_t{count} * head.d / 8);
                       });
    }
    return share(kept, std::uint64_t{head.rows} * head.d);
}

Json density_of_heads(const CacheEntry& entry, std::uint32_t layer) {
    Json heads = Json::array();
    for (std::uint32_t h = 0; h < entry.shape.geometry.kv_heads; ++h) {
        const Head k = head_of(entry, layer, h, MUSTAFAR_SIDE_K);
        const Head v = head_of(entry, layer, h, MUSTAFAR_SIDE_V);
        heads.push_back({{"kv_head", h},
                         {"k", share_of(entry, k)},
                         {"v", share_of(entry, v)},
                         {"rows", k.rows}});
    }
    return heads;
}

Response density_response(std::string text, const std::string& etag) {
    Response response;
    response.type = "application/json";
    response.text = std::move(text);
    response.fields.push_back({"ETag", etag});
    return response;
}

} // namespace

// Layer by layer, so that whoever wants to change the cache waits for one layer at most. The text of a whole cache is
// kept for the next who asks.
Response get_density(Service& service, Request& request) {
    const CachePointer entry = service.caches.get(request.path[0]);
    const Layers page = read_layers(Parameters(request), entry->shape.geometry, true);
    const bool whole = page.from == 0 && !page.next;
    std::string etag;
    std::uint64_t revision = 0;
    bool changed = false;
    Json layers = Json::array();
    for (std::uint32_t layer = page.from; layer < page.to; ++layer) {
        const ReadLock lock(*entry, Clock::now() + lock_time(service));
        if (layer == page.from) {
            etag = entry->etag();
            revision = entry->revision();
            const auto text = whole ? entry->made_of(revision) : nullptr;
            if (text) { return density_response(*text, etag); }
        }
        changed = changed || entry->revision() != revision;
        layers.push_back({{"layer", layer}, {"heads", density_of_heads(*entry, layer)}});
    }
    std::string text = dump({{"cache", request.path[0]},
                             {"layers", std::move(layers)},
                             {"next", page.next ? Json(*page.next) : Json(nullptr)}}) +
                       "\n";
    if (whole && !changed) { entry->keep_made(revision, text); }
    return density_response(std::move(text), etag);
}

namespace {

struct Range {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
};

Range read_range(const Parameters& parameters, const Head& head) {
    Range range;
    range.to =
        static_cast<std::uint32_t>(parameters.integer("to", 0, head.rows).value_or(head.rows));
    range.from = static_cast<std::uint32_t>(parameters.integer("from", 0, range.to).value_or(0));
    return range;
}

struct Grid : Range {
    std::uint32_t bin_tokens = 1;
    std::uint32_t bin_channels = 1;
    std::uint32_t rows = 0;
    std::uint32_t columns = 0;
};

std::uint32_t pieces(std::uint64_t whole, std::uint64_t piece) {
    return static_cast<std::uint32_t>((whole + piece - 1) / piece);
}

// What is not given is chosen as fine as the limit of cells allows.
Grid read_grid(const Parameters& parameters, const Head& head) {
    Grid grid{read_range(parameters, head)};
    const std::uint32_t count = grid.to - grid.from;
    const auto tokens = parameters.integer("bin_tokens", 1, INT32_MAX);
    const auto channels = parameters.integer("bin_channels", 1, head.d);
    grid.bin_channels =
        static_cast<std::uint32_t>(channels.value_or(tokens ? 1 : pieces(head.d, columns_wanted)));
    if (tokens && !channels) {
        const std::uint64_t rows = pieces(count, *tokens);
        while (rows * pieces(head.d, grid.bin_channels) > cells_max && grid.bin_channels < head.d) {
            ++grid.bin_channels;
        }
    }
    grid.columns = pieces(head.d, grid.bin_channels);
    const std::uint64_t rows_max = cells_max / grid.columns;
    grid.bin_tokens = static_cast<std::uint32_t>(
        tokens.value_or(std::max<std::uint32_t>(1, pieces(count, rows_max))));
    grid.rows = pieces(count, grid.bin_tokens);
    if (std::uint64_t{grid.rows} * grid.columns > cells_max) {
        throw Problem(ProblemType::bad_parameter,
                      "bin_tokens: there would be more than " + std::to_string(cells_max) +
                          " cells; give larger bins, or none",
                      {{"parameter", "bin_tokens"},
                       {"limit_cells", cells_max},
                       {"actual_cells", std::uint64_t{grid.rows} * grid.columns}});
    }
    return grid;
}

Json cells_of(const CacheEntry& entry, const Head& head, const Grid& grid) {
    std::vector<std::uint64_t> kept(std::size_t{grid.rows} * grid.columns);
    const auto add = [&](std::uint32_t first, std::uint32_t count, const std::uint8_t* bitmaps) {
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::size_t row = (first + i - grid.from) / grid.bin_tokens;
            const std::uint8_t* bits = bitmaps + std::size_t{i} * head.d / 8;
            for (std::uint32_t c = 0; c < head.d; ++c) {
                kept[row * grid.columns + c / grid.bin_channels] += bits[c / 8] >> (c % 8) & 1u;
            }
        }
    };
    if (grid.to > grid.from) { for_each_chunk(entry, head, grid.from, grid.to, add); }
    Json cells = Json::array();
    for (std::uint32_t row = 0; row < grid.rows; ++row) {
        const std::uint32_t height =
            std::min(grid.bin_tokens, grid.to - grid.from - row * grid.bin_tokens);
        for (std::uint32_t column = 0; column < grid.columns; ++column) {
            const std::uint32_t width =
                std::min(grid.bin_channels, head.d - column * grid.bin_channels);
            cells.push_back(share(kept[std::size_t{row} * grid.columns + column],
                                  std::uint64_t{height} * width));
        }
    }
    return cells;
}

Json first_positions(const CacheEntry& entry, const Head& head, const Grid& grid) {
    std::vector<std::int32_t> positions(head.rows);
    call(mustafar_cache_positions, entry.cache(), head.layer, head.kv_head, positions.data(),
         positions.size());
    Json first = Json::array();
    for (std::uint32_t row = 0; row < grid.rows; ++row) {
        first.push_back(positions[grid.from + std::size_t{row} * grid.bin_tokens]);
    }
    return first;
}

bool wants_octets(const Request& request) {
    const std::string* accept = request.field("accept");
    return accept != nullptr && accept->starts_with(media_type(BodyKind::octets));
}

Response raw_bitmap(Service& service, const CacheEntry& entry, const Head& head,
                    const Parameters& parameters) {
    const auto [from, to] = read_range(parameters, head);
    const std::size_t row_bytes = head.d / 8;
    Response response;
    response.type = media_type(BodyKind::octets);
    response.data = reserve_reply(service, (to - from) * row_bytes);
    if (to > from) {
        for_each_chunk(entry, head, from, to,
                       [&, begin = from](std::uint32_t first, std::uint32_t count,
                                         const std::uint8_t* bitmaps) {
                           std::memcpy(response.data.data() + (first - begin) * row_bytes, bitmaps,
                                       count * row_bytes);
                       });
    }
    response.fields.push_back(
        {"Mustafar-Shape", std::to_string(to - from) + "," + std::to_string(row_bytes)});
    return response;
}

Head asked_head(const CacheEntry& entry, const Request& request, const Parameters& parameters) {
    const mustafar_geometry& g = entry.shape.geometry;
    const std::string side = parameters.text("side").value_or("");
    if (side != "k" && side != "v") {
        throw Problem(ProblemType::bad_parameter, "side: k or v is expected",
                      {{"parameter", "side"}});
    }
    const auto kv_head =
        static_cast<std::uint32_t>(parameters.integer("kv_head", 0, g.kv_heads - 1).value_or(0));
    return head_of(entry, path_index(request, 1, g.layers), kv_head,
                   side == "k" ? MUSTAFAR_SIDE_K : MUSTAFAR_SIDE_V);
}

} // namespace

// Rows as attend sees them: what was pruned reads as 0, or as the centre.
Response get_tensor(Service& service, Request& request) {
    const Parameters parameters(request);
    const CachePointer entry = service.caches.get(request.path[0]);
    const ReadLock lock(*entry, lock_deadline(service, request));
    entry->touch();
    const mustafar_dtype dtype = parameters.dtype("out_dtype", MUSTAFAR_F32);
    const Head head = asked_head(*entry, request, parameters);
    const Range range = read_range(parameters, head);
    const std::uint32_t count = range.to - range.from;
    Response response;
    response.type = media_type(BodyKind::octets);
    response.data = reserve_reply(service, std::uint64_t{count} * head.d * dtype_bytes(dtype));
    if (count > 0) {
        const std::int64_t d = head.d;
        const auto view = experiment::tensor(response.data.data(), dtype, {count, d}, {d, 1});
        std::uint8_t* no_bitmaps = nullptr;
        call(mustafar_cache_export, entry->cache(), head.layer, head.kv_head, head.side, range.from,
             range.to, &view, no_bitmaps);
    }
    response.fields.push_back({"Mustafar-Dtype", mustafar_dtype_name(dtype)});
    response.fields.push_back(
        {"Mustafar-Shape", std::to_string(count) + "," + std::to_string(head.d)});
    response.fields.push_back({"ETag", entry->etag()});
    return response;
}

Response get_bitmap(Service& service, Request& request) {
    const Parameters parameters(request);
    const CachePointer entry = service.caches.get(request.path[0]);
    const ReadLock lock(*entry, lock_deadline(service, request));
    const Head head = asked_head(*entry, request, parameters);
    Response response;
    if (wants_octets(request)) {
        response = raw_bitmap(service, *entry, head, parameters);
    } else {
        const Grid grid = read_grid(parameters, head);
        const std::uint32_t sink = std::min(entry->shape.sink, head.rows - head.body);
        response = json_response({{"cache", request.path[0]},
                                  {"layer", head.layer},
                                  {"side", head.side == MUSTAFAR_SIDE_K ? "k" : "v"},
                                  {"kv_head", head.kv_head},
                                  {"from", grid.from},
                                  {"to", grid.to},
                                  {"head_dim", head.d},
                                  {"bin_tokens", grid.bin_tokens},
                                  {"bin_channels", grid.bin_channels},
                                  {"rows", grid.rows},
                                  {"columns", grid.columns},
                                  {"density", cells_of(*entry, head, grid)},
                                  {"window_from", sink + head.body},
                                  {"sink", sink},
                                  {"page_rows", page_rows},
                                  {"positions", first_positions(*entry, head, grid)}});
    }
    response.fields.push_back({"ETag", entry->etag()});
    return response;
}

} // namespace mustafar::daemon
