// SPDX-License-Identifier: Apache-2.0
// Rows for all layers of a cache, or of several caches, in one request: all of them or none.
//
// The library appends one layer at a time, and each of those calls changes all or nothing. What makes a request of
// many calls whole: where no row would be packed and no buffer grow, the calls go to the cache itself, and
// mustafar_cache_truncate takes them back exactly. Everywhere else they go to a fork, which shares all pages and
// takes the place of the cache once every call has been done.
#include <algorithm>
#include <charconv>
#include <deque>
#include <map>

#include "api/append_all.hpp"
#include "api/handlers.hpp"
#include "api/parameters.hpp"
#include "api/shapes.hpp"

namespace mustafar::daemon {

namespace {

[[noreturn]] void wrong_length(const std::string& id, std::uint32_t layer, std::uint64_t expected,
                               std::uint32_t actual) {
    throw Problem(ProblemType::length_mismatch,
                  "cache " + id + ", layer " + std::to_string(layer) + " holds " +
                      std::to_string(actual) + " tokens, expect was " + std::to_string(expected),
                  {{"cache", id}, {"layer", layer}, {"expected", expected}, {"actual", actual}});
}

} // namespace

WholeAppend::WholeAppend(std::string id, CachePointer entry, std::vector<LayerRows> layers,
                         const AppendTerms& terms)
    : id_(std::move(id)), entry_(std::move(entry)), layers_(std::move(layers)), terms_(terms) {
    const mustafar_geometry& g = entry_->shape.geometry;
    layers_.resize(g.layers); // where there is no tensor at all
    for (std::uint32_t layer = 0; layer < g.layers; ++layer) {
        const LayerRows& rows = layers_[layer];
        if (rows.k == nullptr || rows.v == nullptr) {
            const std::string name =
                "layers." + std::to_string(layer) + (rows.k == nullptr ? ".k" : ".v");
            throw bad_tensor(terms_.batch ? id_ + "." + name : name, "required", "is missing");
        }
        if (layer == 0 && !rows.k->shape.empty()) { tokens_ = rows.k->shape[0]; }
        rows.k->expect_shape({tokens_, g.kv_heads, g.head_dim_k});
        rows.v->expect_shape({tokens_, g.kv_heads, g.head_dim_v});
    }
    if (tokens_ < 1 || tokens_ > INT32_MAX) {
        throw bad_tensor(layers_[0].k->name, "shape", "1 to 2147483647 tokens are expected");
    }
}

// True where the same request has been done before.
bool WholeAppend::check() {
    before_ = entry_->length(0);
    const std::uint64_t offset = terms_.expect.value_or(before_);
    const LastAppend mine{static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(tokens_),
                          layers_[0].k->dtype, terms_.tentative, terms_.digest};
    bool done = true;
    for (std::uint32_t layer = 0; layer < layers_.size() && done; ++layer) {
        done = entry_->length(layer) == offset + tokens_ && entry_->last[layer] == mine;
    }
    if (done) { return true; }
    for (std::uint32_t layer = 0; layer < layers_.size(); ++layer) {
        const std::uint32_t length = entry_->length(layer);
        if (length != offset) { wrong_length(id_, layer, offset, length); }
    }
    mine_ = mine;
    return false;
}

void WholeAppend::refuse_repetition() const {
    wrong_length(id_, 0, terms_.expect.value_or(before_), entry_->length(0));
}

// Whether nothing would be packed and no buffer grow, and the present length is one that truncate gives back exactly.
bool WholeAppend::can_be_taken_back() const {
    const CacheShape& shape = entry_->shape;
    const std::uint64_t room = std::uint64_t{shape.sink} + shape.recent + shape.step;
    for (std::uint32_t layer = 0; layer < layers_.size(); ++layer) {
        for (std::uint32_t h = 0; h < shape.geometry.kv_heads; ++h) {
            std::uint32_t rows = 0;
            std::uint32_t body = 0;
            call(mustafar_cache_rows, std::as_const(*entry_).cache(), layer, h, &rows, &body);
            const std::uint64_t dense = rows - body;
            const bool evicted = rows != before_;
            const bool eaten = body > 0 && dense < std::uint64_t{shape.sink} + shape.recent;
            if (evicted || eaten || dense + tokens_ >= room) { return false; }
        }
    }
    return true;
}

void WholeAppend::apply() {
    if (!can_be_taken_back()) {
        child_ = make<mustafar_cache>(mustafar_cache_fork, std::as_const(*entry_).cache());
    }
    mustafar_cache* target = child_ ? child_.get() : entry_->cache();
    applied_ = !child_;
    for (std::uint32_t layer = 0; layer < layers_.size(); ++layer) {
        const mustafar_tensor k = layers_[layer].k->view();
        const mustafar_tensor v = layers_[layer].v->view();
        try {
            call(mustafar_cache_append, target, layer, &k, &v,
                 terms_.tentative ? MUSTAFAR_APPEND_TENTATIVE : 0u);
        } catch (const Problem& problem) {
            Json members = problem.members();
            members.update({{"cache", id_}, {"layer", layer}});
            throw Problem(problem.type(),
                          "cache " + id_ + ", layer " + std::to_string(layer) + ": " +
                              problem.what(),
                          std::move(members));
        }
    }
}

void WholeAppend::undo() {
    if (applied_) { call(mustafar_cache_truncate, entry_->cache(), before_, 0u); }
    applied_ = false;
    child_.reset();
}

void WholeAppend::publish() {
    if (child_) { entry_->replace(std::move(child_)); }
    applied_ = false;
    for (LastAppend& last : entry_->last) { last = mine_; }
    entry_->changed();
}

Json WholeAppend::told(bool replayed) const {
    Json lengths = Json::array();
    for (std::uint32_t layer = 0; layer < layers_.size(); ++layer) {
        lengths.push_back(entry_->length(layer));
    }
    return {{"cache", id_},
            {"revision", entry_->revision()},
            {"lengths", std::move(lengths)},
            {"replayed", replayed}};
}

void apply_all(std::vector<WholeAppend>& appends) {
    try {
        for (WholeAppend& one : appends) { one.apply(); }
    } catch (...) {
        for (WholeAppend& one : appends) { one.undo(); }
        throw;
    }
    for (WholeAppend& one : appends) { one.publish(); }
}

namespace {

constexpr std::string_view expect_prefix = "expect.";
constexpr std::string_view layer_prefix = "layers.";

std::uint64_t read_expect(const std::string& name, const std::string& text) {
    std::uint64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end || number > INT32_MAX) {
        throw bad_tensor("__metadata__/" + name, "type", "a length in decimal is expected");
    }
    return number;
}

// The number of "layers.12.v"; nullopt where that is none, or does not stand there as one writes it.
std::optional<std::uint32_t> layer_of(std::string_view name, std::size_t dot) {
    constexpr std::uint32_t layers_max = 1u << 16;
    if (!name.starts_with(layer_prefix) || dot == name.npos) { return std::nullopt; }
    const std::string_view digits = name.substr(layer_prefix.size(), dot - layer_prefix.size());
    std::uint32_t layer = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), layer);
    const bool plain = error == std::errc() && end == digits.data() + digits.size() &&
                       (digits.front() != '0' || digits.size() == 1);
    return plain && layer < layers_max ? std::optional(layer) : std::nullopt;
}

// What "layers.12.v" says. Throws bad_tensor.
struct Place {
    std::uint32_t layer;
    bool is_k;
};

Place place_of(const BodyTensor& tensor, std::string_view name) {
    const std::size_t dot = name.find('.', std::min(layer_prefix.size(), name.size()));
    const auto layer = layer_of(name, dot);
    const std::string_view side = layer ? name.substr(dot + 1) : std::string_view();
    if (side != "k" && side != "v") {
        throw bad_tensor(tensor.name, "name", "layers.<n>.k and layers.<n>.v are expected");
    }
    return {*layer, side == "k"};
}

// Puts it among `layers`, which hold no more than the cache has. Throws bad_tensor.
void sort_in(std::vector<LayerRows>& layers, const CacheEntry& entry, const BodyTensor& tensor,
             Place place) {
    const std::uint32_t all = entry.shape.geometry.layers;
    if (place.layer >= all) {
        throw bad_tensor(tensor.name, "name", "the cache has " + std::to_string(all) + " layers");
    }
    layers.resize(all);
    (place.is_k ? layers[place.layer].k : layers[place.layer].v) = &tensor;
}

void need_expect(const Service& service, const std::optional<std::uint64_t>& expect) {
    if (!expect && !service.config.allow_blind_append) {
        throw Problem(
            ProblemType::precondition_required,
            "the length before makes an append safe to repeat: expect=LENGTH, or in a "
            "batch \"expect.<cache>\" of __metadata__; --allow-blind-append permits others");
    }
}

// The locks of several caches, taken in the order of their ids, so that no two requests wait for each other.
std::deque<WriteLock> lock_all(const Service& service, const Request& request,
                               std::map<std::string, CachePointer>& entries) {
    std::deque<WriteLock> locks;
    for (auto& [id, entry] : entries) {
        locks.emplace_back(*entry, lock_deadline(service, request));
    }
    return locks;
}

AppendTerms terms_of(const Request& request, bool batch) {
    AppendTerms terms;
    terms.batch = batch;
    terms.tentative = Parameters(request).boolean("tentative");
    terms.digest = request.digest();
    return terms;
}

void count(Service& service, const Request& request, Clock::time_point start,
           std::uint64_t tokens) {
    service.metrics.op(Op::append, Clock::now() - start, request.body.size());
    service.metrics.tokens_appended.fetch_add(tokens, std::memory_order_relaxed);
}

} // namespace

Response append_layers(Service& service, Request& request) {
    const std::string& id = request.path[0];
    AppendTerms terms = terms_of(request, false);
    terms.expect = Parameters(request).integer("expect", 0, INT32_MAX);
    need_expect(service, terms.expect);
    const BodyTensors tensors(service, request);
    const CachePointer entry = service.caches.get(id);
    std::vector<LayerRows> layers;
    for (const BodyTensor& tensor : tensors.list()) {
        sort_in(layers, *entry, tensor, place_of(tensor, tensor.name));
    }
    std::vector<WholeAppend> appends;
    appends.emplace_back(id, entry, std::move(layers), terms);

    const WriteLock lock(*entry, lock_deadline(service, request));
    check_if_match(request, entry->etag());
    const bool replayed = appends[0].check();
    if (!replayed) {
        const auto start = Clock::now();
        apply_all(appends);
        count(service, request, start, appends[0].rows());
    }
    Response response = json_response(appends[0].told(replayed));
    response.fields.push_back({"ETag", entry->etag()});
    return response;
}

Response append_caches(Service& service, Request& request) {
    const AppendTerms terms = terms_of(request, true);
    if (request.field("if-match") != nullptr) {
        throw Problem(ProblemType::precondition_failed,
                      "If-Match is about one cache; a batch says what it expects in __metadata__");
    }
    const BodyTensors tensors(service, request, expect_prefix);
    std::map<std::string, CachePointer> entries;
    std::map<std::string, std::vector<LayerRows>> rows;
    for (const BodyTensor& tensor : tensors.list()) {
        const std::string id = tensor.name.substr(0, tensor.name.find('.'));
        const std::size_t rest = std::min(id.size() + 1, tensor.name.size());
        const Place place = place_of(tensor, std::string_view(tensor.name).substr(rest));
        CachePointer& entry = entries[id];
        if (entry == nullptr) { entry = service.caches.get(id); }
        sort_in(rows[id], *entry, tensor, place);
    }
    if (rows.empty()) { throw bad_body("", "required", "there is no tensor"); }
    for (const auto& [name, value] : tensors.metadata()) {
        if (name.starts_with(expect_prefix) && !rows.contains(name.substr(expect_prefix.size()))) {
            throw bad_tensor("__metadata__/" + name, "unknown", "there are no rows for this cache");
        }
    }
    std::vector<WholeAppend> appends;
    for (auto& [id, layers] : rows) {
        AppendTerms own = terms;
        const auto expect = tensors.metadata().find(std::string(expect_prefix) + id);
        if (expect != tensors.metadata().end()) {
            own.expect = read_expect(expect->first, expect->second);
        }
        need_expect(service, own.expect);
        appends.emplace_back(id, entries.at(id), std::move(layers), own);
    }

    const std::deque<WriteLock> locks = lock_all(service, request, entries);
    std::size_t replayed = 0;
    const WholeAppend* repeated = nullptr;
    for (WholeAppend& one : appends) {
        if (!one.check()) { continue; }
        ++replayed;
        repeated = &one;
    }
    // Batches are whole, so this is no repetition: some of the caches have changed since.
    if (replayed > 0 && replayed < appends.size()) { repeated->refuse_repetition(); }
    if (replayed == 0) {
        const auto start = Clock::now();
        apply_all(appends);
        std::uint64_t total = 0;
        for (const WholeAppend& one : appends) { total += one.rows(); }
        count(service, request, start, total);
    }
    Json list = Json::array();
    for (const WholeAppend& one : appends) { list.push_back(one.told(replayed > 0)); }
    return json_response({{"caches", std::move(list)}});
}

} // namespace mustafar::daemon
