// SPDX-License-Identifier: Apache-2.0
// Caches to disk and back.
#include "api/handlers.hpp"
#include "api/parameters.hpp"
#include "api/shapes.hpp"
#include "routes.hpp"

namespace mustafar::daemon {

namespace {

Snapshots& snapshots_of(Service& service) {
    if (!service.snapshots) {
        throw Problem(ProblemType::not_found, "snapshots need --data-dir, which was not given");
    }
    return *service.snapshots;
}

Json write_snapshot(const Snapshot& snapshot) {
    constexpr const char* states[] = {"unchecked", "good", "corrupt"};
    return {{"name", snapshot.file.name},
            {"bytes", snapshot.file.bytes},
            {"modified", snapshot.file.modified},
            {"state", states[static_cast<std::size_t>(snapshot.state)]}};
}

Problem no_snapshot(const std::string& name) {
    return Problem(ProblemType::not_found, "there is no snapshot " + name, {{"snapshot", name}});
}

Problem name_taken(const std::string& name, const char* way_out) {
    return Problem(ProblemType::exists,
                   "there is a snapshot " + name + "; " + way_out + " replaces it",
                   {{"snapshot", name}});
}

Response written(const Snapshots& snapshots, const std::string& name, bool replaced) {
    const auto snapshot = snapshots.find(name);
    if (!snapshot) { throw no_snapshot(name); } // deleted meanwhile
    Response response = json_response(write_snapshot(*snapshot), replaced ? 200 : 201);
    if (!replaced) { response.fields.push_back({"Location", "/v1/snapshots/" + name}); }
    return response;
}

// What a loaded cache was made with.
CacheShape shape_of(const mustafar_cache* cache) {
    CacheShape shape;
    const char* recipe = nullptr;
    call(mustafar_cache_describe, cache, &shape.geometry, &shape.options, &recipe);
    const Recipe parsed = parse_recipe(recipe);
    describe_recipe(shape, parsed.get());
    return shape;
}

} // namespace

Response list_snapshots(Service& service, Request&) {
    Json list = Json::array();
    for (const Snapshot& snapshot : snapshots_of(service).list()) {
        list.push_back(write_snapshot(snapshot));
    }
    return json_response({{"snapshots", std::move(list)}});
}

// A fork is written, so that the cache is free again before the first byte is.
Response put_snapshot(Service& service, Request& request) {
    const std::string& name = request.path[0];
    Snapshots& snapshots = snapshots_of(service);
    const Json body = parse_body(request);
    JsonFields fields(body);
    const std::string id = fields.id("cache");
    const std::string model_id = fields.text("model_id", MUSTAFAR_MODEL_ID_MAX, "");
    const bool overwrite = fields.boolean("overwrite", false);
    fields.finish();
    const CachePointer entry = service.caches.get(id);
    Cache frozen;
    {
        const ReadLock lock(*entry, lock_deadline(service, request));
        entry->touch();
        frozen = make<mustafar_cache>(mustafar_cache_fork, std::as_const(*entry).cache());
    }
    const bool replaced = overwrite && snapshots.find(name).has_value();
    const auto start = Clock::now();
    if (!snapshots.save(name, frozen.get(), model_id, overwrite)) {
        throw name_taken(name, "\"overwrite\": true");
    }
    const auto file = snapshots.find(name);
    service.metrics.op(Op::save, Clock::now() - start, file ? file->file.bytes : 0);
    return written(snapshots, name, replaced);
}

Response get_snapshot(Service& service, Request& request) {
    const std::string& name = request.path[0];
    Snapshots& snapshots = snapshots_of(service);
    if (Parameters(request).boolean("verify")) {
        try {
            const Cache aside = snapshots.load(name, service.context.get(), std::nullopt);
        } catch (const Problem& problem) {
            if (problem.type() != ProblemType::corrupt) { throw; } // it is told as a state
        }
    }
    const auto snapshot = snapshots.find(name);
    if (!snapshot) { throw no_snapshot(name); }
    return json_response(write_snapshot(*snapshot));
}

// The file as it lies there, good or not.
Response get_snapshot_content(Service& service, Request& request) {
    const std::string& name = request.path[0];
    const std::optional<File> file = snapshots_of(service).open(name);
    if (!file) { throw no_snapshot(name); }
    const std::uint64_t bytes = file->size();
    Response response;
    response.type = media_type(BodyKind::octets);
    response.data = reserve_reply(service, bytes);
    for (std::uint64_t at = 0; at < bytes;) {
        const std::size_t got = file->read(response.data.data() + at, bytes - at);
        if (got == 0) {
            throw Problem(ProblemType::storage, "the file became shorter while it was read");
        }
        at += got;
    }
    response.fields.push_back({"Content-Digest", digest_of(response.body())});
    return response;
}

// Loaded once, then forgotten: only what restores is kept.
Response put_snapshot_content(Service& service, Request& request) {
    const std::string& name = request.path[0];
    Snapshots& snapshots = snapshots_of(service);
    const bool overwrite = Parameters(request).boolean("overwrite");
    const bool there = snapshots.find(name).has_value();
    if (there && !overwrite) { throw name_taken(name, "overwrite=true"); } // before the work
    const auto start = Clock::now();
    const bool kept = snapshots.put(name, request.body.view(), service.context.get(), overwrite);
    if (!kept) { throw name_taken(name, "overwrite=true"); }
    service.metrics.op(Op::save, Clock::now() - start, request.body.size());
    return written(snapshots, name, there);
}

Response delete_snapshot(Service& service, Request& request) {
    if (!snapshots_of(service).remove(request.path[0])) { throw no_snapshot(request.path[0]); }
    Response response;
    response.status = 204;
    return response;
}

Response restore_snapshot(Service& service, Request& request) {
    Snapshots& snapshots = snapshots_of(service);
    const Json body = parse_body(request);
    JsonFields fields(body);
    const std::string to = fields.id("to");
    std::optional<std::string> model_id;
    if (fields.has("model_id")) { model_id = fields.text("model_id", MUSTAFAR_MODEL_ID_MAX); }
    fields.finish();
    if (service.caches.find(to)) { // before the work; publish_cache() decides
        throw Problem(ProblemType::exists, "there is a cache " + to, {{"cache", to}});
    }
    const auto start = Clock::now();
    Cache cache = snapshots.load(request.path[0], service.context.get(), model_id);
    const auto file = snapshots.find(request.path[0]);
    service.metrics.op(Op::load, Clock::now() - start, file ? file->file.bytes : 0);
    CacheShape shape = shape_of(cache.get());
    return publish_cache(service, to,
                         std::make_shared<CacheEntry>(std::move(cache), std::move(shape)));
}

} // namespace mustafar::daemon
