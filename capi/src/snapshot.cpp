// SPDX-License-Identifier: Apache-2.0
#include "mustafar/snapshot.h"

#include "call_log.hpp"
#include "convert.hpp"
#include "format/snapshot.hpp"
#include "guard.hpp"
#include "handles.hpp"
#include "snapshot_file.hpp"

using namespace mustafar;
using namespace mustafar::capi;

namespace {

std::string read_model_id(const char* model_id) {
    const std::string text = model_id != nullptr ? model_id : "";
    if (text.size() > MUSTAFAR_MODEL_ID_MAX) {
        refuse("model_id has " + std::to_string(text.size()) + " bytes; give at most " +
               std::to_string(MUSTAFAR_MODEL_ID_MAX));
    }
    return text;
}

LoadRequest read_request(mustafar_context* context, const mustafar_geometry* geometry,
                         const mustafar_recipe* recipe, const char* model_id,
                         const mustafar_cache_options* options) {
    require(context, "context");
    LoadRequest request;
    request.context = context->context;
    if (geometry != nullptr) { request.geometry = read_geometry(geometry); }
    if (recipe != nullptr) { request.recipe = recipe->recipe; }
    if (model_id != nullptr) { request.model_id = read_model_id(model_id); }
    if (options != nullptr) {
        request.options = read_cache_options(options);
        if (request.options->max_tokens > 0x7FFFFFFFU) {
            refuse("options.max_tokens = " + std::to_string(request.options->max_tokens) +
                   " is out of range; give 0 (as saved) .. 2147483647");
        }
    }
    return request;
}

} // namespace

extern "C" {

mustafar_status mustafar_cache_save(const mustafar_cache* cache, const char* model_id,
                                    mustafar_write_fn write, void* user, mustafar_error* error) {
    return guard("mustafar_cache_save", error, [&] {
        require(cache, "cache");
        if (write == nullptr) { refuse("write = NULL"); }
        const CallLog log(*cache->cache, "save", MUSTAFAR_ALL);
        save_snapshot(*cache->cache, read_model_id(model_id),
                      [&](const void* data, std::size_t bytes) {
                          const std::int32_t result = write(user, data, bytes);
                          if (result == 0) { return; }
                          throw Error(MUSTAFAR_IO,
                                      "write returned " + std::to_string(result) +
                                          "; the snapshot is not complete",
                                      {result, 0, 0, 0});
                      });
    });
}

mustafar_status mustafar_cache_save_file(const mustafar_cache* cache, const char* model_id,
                                         const char* path, mustafar_error* error) {
    return guard("mustafar_cache_save_file", error, [&] {
        require(cache, "cache");
        require(path, "path");
        const CallLog log(*cache->cache, "save_file", MUSTAFAR_ALL);
        NewFile file(path);
        save_snapshot(*cache->cache, read_model_id(model_id),
                      [&](const void* data, std::size_t bytes) { file.write(data, bytes); });
        file.publish();
    });
}

mustafar_status mustafar_cache_load(mustafar_context* context, const mustafar_geometry* geometry,
                                    const mustafar_recipe* recipe, const char* model_id,
                                    const mustafar_cache_options* options, mustafar_read_fn read,
                                    void* user, mustafar_cache** out, mustafar_error* error) {
    return guard("mustafar_cache_load", error, [&] {
        require(out, "out");
        if (read == nullptr) { refuse("read = NULL"); }
        auto cache = load_snapshot(
            read_request(context, geometry, recipe, model_id, options),
            [&](void* data, std::size_t bytes) {
                std::size_t got = 0;
                const std::int32_t result = read(user, data, bytes, &got);
                if (result != 0) {
                    throw Error(MUSTAFAR_IO, "read returned " + std::to_string(result),
                                {result, 0, 0, 0});
                }
                if (got > bytes) {
                    refuse("read gave " + std::to_string(got) + " bytes where " +
                           std::to_string(bytes) + " were asked");
                }
                return got;
            });
        *out = new mustafar_cache{std::move(cache)};
    });
}

mustafar_status mustafar_cache_load_file(mustafar_context* context,
                                         const mustafar_geometry* geometry,
                                         const mustafar_recipe* recipe, const char* model_id,
                                         const mustafar_cache_options* options, const char* path,
                                         mustafar_cache** out, mustafar_error* error) {
    return guard("mustafar_cache_load_file", error, [&] {
        require(out, "out");
        require(path, "path");
        const LoadRequest request = read_request(context, geometry, recipe, model_id, options);
        ExistingFile file(path);
        auto cache = load_snapshot(
            request, [&](void* data, std::size_t bytes) { return file.read(data, bytes); });
        file.expect_end();
        *out = new mustafar_cache{std::move(cache)};
    });
}

} // extern "C"
