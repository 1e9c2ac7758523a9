/* SPDX-License-Identifier: Apache-2.0
 * Structs that grow, both ways, for every struct with a struct_size: the size of an older caller than the
 * first release is refused; a newer caller's longer struct is accepted while the tail is zero; outputs are
 * filled to the caller's size and no further. Fences behind the structs catch what reads or writes beyond. */
#define _POSIX_C_SOURCE 200809L
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

static mustafar_context* context;
static mustafar_cache* cache;
static mustafar_recipe* recipe;
static counter counts;
static blob saved;

static void no_line(void* user, int32_t level, const char* text) {
    (void)user;
    (void)level;
    (void)text;
}

/* ---- inputs: fill a good one, and use it ---------------------------------------------------------- */

static void fill_context_options(void* at) {
    const mustafar_context_options value = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    memcpy(at, &value, sizeof value);
}
static void fill_allocator(void* at) {
    const mustafar_allocator value = counting_allocator(&counts);
    memcpy(at, &value, sizeof value);
}
static void fill_log_hook(void* at) {
    mustafar_log_hook value;
    memset(&value, 0, sizeof value);
    value.struct_size = (uint32_t)sizeof value;
    value.level = MUSTAFAR_LOG_ERROR;
    value.write = no_line;
    memcpy(at, &value, sizeof value);
}
static void fill_geometry(void* at) {
    const mustafar_geometry value = make_geometry(1, 2, 1, 32, 32, MUSTAFAR_F16);
    memcpy(at, &value, sizeof value);
}
static void fill_cache_options(void* at) {
    mustafar_cache_options value = MUSTAFAR_CACHE_OPTIONS_INIT;
    value.max_tokens = 100;
    memcpy(at, &value, sizeof value);
}
static void fill_prune_options(void* at) {
    const mustafar_prune_options value = MUSTAFAR_PRUNE_OPTIONS_INIT;
    memcpy(at, &value, sizeof value);
}
static void fill_attend_options(void* at) {
    const mustafar_attend_options value = MUSTAFAR_ATTEND_OPTIONS_INIT;
    memcpy(at, &value, sizeof value);
}

static mustafar_status use_context(const void* options, const void* allocator, const void* hook) {
    mustafar_context* made = NULL;
    const mustafar_status status = mustafar_context_create(options, allocator, hook, &made, ERR);
    CHECK((status == MUSTAFAR_OK) == (made != NULL));
    mustafar_context_destroy(made);
    return status;
}
static mustafar_status use_context_options(void* at) { return use_context(at, NULL, NULL); }
static mustafar_status use_allocator(void* at) { return use_context(NULL, at, NULL); }
static mustafar_status use_log_hook(void* at) { return use_context(NULL, NULL, at); }

static mustafar_status create(const void* geometry, const void* options) {
    mustafar_cache* made = NULL;
    const mustafar_status status =
        mustafar_cache_create(context, geometry, recipe, options, &made, ERR);
    CHECK((status == MUSTAFAR_OK) == (made != NULL));
    mustafar_cache_destroy(made);
    return status;
}
static mustafar_status create_geometry(void* at) {
    mustafar_cache_options options;
    fill_cache_options(&options);
    return create(at, &options);
}
static mustafar_status create_options(void* at) {
    mustafar_geometry geometry;
    fill_geometry(&geometry);
    return create(&geometry, at);
}
static mustafar_status plan(const void* geometry, const void* options, void* out) {
    mustafar_geometry own_geometry;
    mustafar_cache_options own_options;
    mustafar_bytes own_out = {0};
    fill_geometry(&own_geometry);
    fill_cache_options(&own_options);
    own_out.struct_size = (uint32_t)sizeof own_out;
    return mustafar_plan(recipe, geometry != NULL ? geometry : &own_geometry,
                         options != NULL ? options : &own_options, 50, MUSTAFAR_ALL,
                         out != NULL ? out : &own_out, ERR);
}
static mustafar_status plan_geometry(void* at) { return plan(at, NULL, NULL); }
static mustafar_status plan_options(void* at) { return plan(NULL, at, NULL); }
static mustafar_status side_geometry(void* at) {
    mustafar_side_info info = {0};
    info.struct_size = (uint32_t)sizeof info;
    return mustafar_recipe_side(recipe, at, 0, 0, 0, &info, ERR);
}
static mustafar_status window_geometry(void* at) {
    return mustafar_recipe_window(recipe, at, 0, 0, NULL, NULL, NULL, NULL, ERR);
}
static mustafar_status load(const void* geometry, const void* options) {
    mustafar_cache* made = NULL;
    mustafar_status status;
    saved.at = 0;
    status =
        mustafar_cache_load(context, geometry, NULL, NULL, options, blob_read, &saved, &made, ERR);
    CHECK((status == MUSTAFAR_OK) == (made != NULL));
    mustafar_cache_destroy(made);
    return status;
}
static mustafar_status load_geometry(void* at) { return load(at, NULL); }
static mustafar_status load_options(void* at) { return load(NULL, at); }
static mustafar_status use_prune_options(void* at) {
    return mustafar_cache_prune(cache, 0, 0, 0, 0, 4, at, NULL, NULL, NULL, ERR);
}
static mustafar_status use_attend_options(void* at) {
    float q[64] = {0}, out[64];
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, 1, 2, 32),
                          out_view = view(out, MUSTAFAR_F32, 1, 1, 2, 32);
    const mustafar_cache* list[1];
    list[0] = cache;
    return mustafar_attend(list, 1, 0, &q_view, NULL, at, &out_view, NULL, NULL, NULL, ERR);
}

static const struct {
    const char* name;
    size_t size;
    void (*fill)(void* at);
    mustafar_status (*use)(void* at);
} inputs[] = {
    {"context_options", sizeof(mustafar_context_options), fill_context_options,
     use_context_options},
    {"allocator", sizeof(mustafar_allocator), fill_allocator, use_allocator},
    {"log_hook", sizeof(mustafar_log_hook), fill_log_hook, use_log_hook},
    {"geometry of create", sizeof(mustafar_geometry), fill_geometry, create_geometry},
    {"cache_options of create", sizeof(mustafar_cache_options), fill_cache_options, create_options},
    {"geometry of plan", sizeof(mustafar_geometry), fill_geometry, plan_geometry},
    {"cache_options of plan", sizeof(mustafar_cache_options), fill_cache_options, plan_options},
    {"geometry of recipe_side", sizeof(mustafar_geometry), fill_geometry, side_geometry},
    {"geometry of recipe_window", sizeof(mustafar_geometry), fill_geometry, window_geometry},
    {"geometry of load", sizeof(mustafar_geometry), fill_geometry, load_geometry},
    {"cache_options of load", sizeof(mustafar_cache_options), fill_cache_options, load_options},
    {"prune_options", sizeof(mustafar_prune_options), fill_prune_options, use_prune_options},
    {"attend_options", sizeof(mustafar_attend_options), fill_attend_options, use_attend_options}};

static void input_sizes(void) {
    size_t i, size;
    for (i = 0; i < sizeof inputs / sizeof inputs[0]; ++i) {
        const size_t full = inputs[i].size;
        unsigned char good[256] = {0};
        inputs[i].fill(good);
        for (size = 0; size <= full + 4096; size += size < full + 64 ? 1 : 500) {
            /* the struct of this caller ends where the fence begins (rounded up to keep it aligned) */
            const size_t room = size < 8 ? 8 : (size + 7) / 8 * 8;
            fence memory = fence_make(room);
            const uint32_t stated = (uint32_t)size;
            size_t tail;
            memcpy(memory.data, good, room < full ? room : full);
            memcpy(memory.data, &stated, 4);
            CHECK_CASE(inputs[i].use(memory.data) ==
                           (size < full ? MUSTAFAR_INVALID_ARGUMENT : MUSTAFAR_OK),
                       "%s of %u bytes (%u in release 0): %s", inputs[i].name, (unsigned)size,
                       (unsigned)full, last.message);
            for (tail = full; tail < size;
                 tail += tail + 1 < size && size > full + 16 ? size - full - 1 : 1) {
                memory.data[tail] = 1; /* a field of a newer release, in use */
                CHECK_CASE(inputs[i].use(memory.data) == MUSTAFAR_UNSUPPORTED,
                           "%s of %u bytes, byte %u set: %s", inputs[i].name, (unsigned)size,
                           (unsigned)tail, last.message);
                memory.data[tail] = 0;
            }
            if (size >= full) {
                uint32_t after;
                memcpy(&after, memory.data, 4);
                CHECK(after == stated && memcmp(memory.data + 4, good + 4, full - 4) == 0);
            }
            fence_free(&memory);
        }
        { /* a size that was never set */
            fence memory = fence_make((full + 7) / 8 * 8);
            const uint32_t stated = UINT32_MAX;
            memcpy(memory.data, good, full);
            memcpy(memory.data, &stated, 4);
            CHECK_CASE(inputs[i].use(memory.data) == MUSTAFAR_INVALID_ARGUMENT,
                       "%s of 2^32 - 1 bytes", inputs[i].name);
            fence_free(&memory);
        }
    }
}

/* ---- outputs ------------------------------------------------------------------------------------- */

static mustafar_status get_kernel_at(void* at) { return mustafar_kernel_at(0, at, ERR); }
static mustafar_status get_kernel(void* at) {
    return mustafar_context_kernel(context, "pack", at, ERR);
}
static mustafar_status get_context_stats(void* at) {
    return mustafar_context_get_stats(context, at, ERR);
}
static mustafar_status get_side(void* at) {
    mustafar_geometry geometry;
    fill_geometry(&geometry);
    return mustafar_recipe_side(recipe, &geometry, 0, 0, 0, at, ERR);
}
static mustafar_status get_bytes(void* at) { return mustafar_cache_bytes(cache, 0, 0, at, ERR); }
static mustafar_status get_plan(void* at) { return plan(NULL, NULL, at); }
static mustafar_status get_cache_stats(void* at) {
    return mustafar_cache_get_stats(cache, at, ERR);
}
static mustafar_status get_geometry(void* at) {
    return mustafar_cache_describe(cache, at, NULL, NULL, ERR);
}
static mustafar_status get_options(void* at) {
    return mustafar_cache_describe(cache, NULL, at, NULL, ERR);
}

static const struct {
    const char* name;
    size_t size;
    mustafar_status (*get)(void* at);
} outputs[] = {{"kernel_info of kernel_at", sizeof(mustafar_kernel_info), get_kernel_at},
               {"kernel_info of context_kernel", sizeof(mustafar_kernel_info), get_kernel},
               {"context_stats", sizeof(mustafar_context_stats), get_context_stats},
               {"side_info", sizeof(mustafar_side_info), get_side},
               {"bytes of cache_bytes", sizeof(mustafar_bytes), get_bytes},
               {"bytes of plan", sizeof(mustafar_bytes), get_plan},
               {"cache_stats", sizeof(mustafar_cache_stats), get_cache_stats},
               {"geometry of describe", sizeof(mustafar_geometry), get_geometry},
               {"cache_options of describe", sizeof(mustafar_cache_options), get_options}};

static bool all(const unsigned char* bytes, size_t count, unsigned char value) {
    size_t i;
    for (i = 0; i < count && bytes[i] == value; ++i) {}
    return i == count;
}

static void output_sizes(void) {
    size_t i, size;
    for (i = 0; i < sizeof outputs / sizeof outputs[0]; ++i) {
        const size_t full = outputs[i].size;
        uint64_t aligned[64];
        unsigned char* const reference = (unsigned char*)aligned;
        uint32_t stated = (uint32_t)full;
        memset(reference, 0x5a, sizeof aligned);
        memcpy(reference, &stated, 4);
        EXPECT(MUSTAFAR_OK, outputs[i].get(reference));
        CHECK(all(reference + full, sizeof aligned - full, 0x5a));
        for (size = 0; size <= full + 600; size += size < full + 24 ? 1 : 96) {
            const size_t room = size < 8 ? 8 : (size + 7) / 8 * 8;
            fence memory = fence_make(room);
            mustafar_status status;
            memset(memory.data, 0x77, room);
            stated = (uint32_t)size;
            memcpy(memory.data, &stated, 4);
            status = outputs[i].get(memory.data);
            CHECK_CASE(memcmp(memory.data, &stated, 4) == 0, "%s: struct_size changed",
                       outputs[i].name);
            if (size < full) {
                CHECK_CASE(status == MUSTAFAR_INVALID_ARGUMENT &&
                               all(memory.data + 4, room - 4, 0x77),
                           "%s of %u bytes (%u in release 0): %s", outputs[i].name, (unsigned)size,
                           (unsigned)full, last.message);
            } else {
                CHECK_CASE(status == MUSTAFAR_OK &&
                               memcmp(memory.data + 4, reference + 4, full - 4) == 0,
                           "%s of %u bytes", outputs[i].name, (unsigned)size);
                /* fields we do not know read as zero; behind the stated size nothing is written */
                CHECK_CASE(all(memory.data + full, size - full, 0) &&
                               all(memory.data + size, room - size, 0x77),
                           "%s of %u bytes", outputs[i].name, (unsigned)size);
            }
            fence_free(&memory);
        }
        stated = UINT32_MAX;
        memset(reference, 0x5a, sizeof aligned);
        memcpy(reference, &stated, 4);
        CHECK_CASE(outputs[i].get(reference) == MUSTAFAR_INVALID_ARGUMENT &&
                       all(reference + 4, sizeof aligned - 4, 0x5a),
                   "%s of 2^32 - 1 bytes", outputs[i].name);
    }
}

/* ---- the error ------------------------------------------------------------------------------------ */

static void error_sizes(void) {
    mustafar_kernel_info row = {0};
    mustafar_error whole = MUSTAFAR_ERROR_INIT;
    const size_t head = offsetof(mustafar_error, message);
    size_t size;
    row.struct_size = (uint32_t)sizeof row;
    CHECK(mustafar_kernel_at(SIZE_MAX, &row, &whole) == MUSTAFAR_INVALID_ARGUMENT);
    CHECK(whole.struct_size == sizeof whole && whole.code == MUSTAFAR_INVALID_ARGUMENT &&
          strlen(whole.message) > 20);
    for (size = 0; size <= sizeof whole + 64; ++size) {
        const size_t room = size < 8 ? 8 : (size + 7) / 8 * 8;
        fence memory = fence_make(room);
        const uint32_t stated = (uint32_t)size;
        memset(memory.data, 0x77, room);
        memcpy(memory.data, &stated, 4);
        CHECK_CASE(mustafar_kernel_at(SIZE_MAX, &row, (mustafar_error*)(void*)memory.data) ==
                       MUSTAFAR_INVALID_ARGUMENT,
                   "size %u", (unsigned)size);
        CHECK_CASE(memcmp(memory.data, &stated, 4) == 0, "size %u", (unsigned)size);
        CHECK_CASE(all(memory.data + size, room - size, 0x77) || size < 4, "size %u",
                   (unsigned)size);
        if (size > head) {
            const size_t text = size < sizeof whole ? size - head : sizeof whole.message;
            const unsigned char* end = memchr(memory.data + head, 0, text);
            if (CHECK_CASE(end != NULL, "size %u: no NUL", (unsigned)size)) {
                const size_t length = (size_t)(end - (memory.data + head));
                CHECK_CASE(memcmp(memory.data + head, whole.message, length) == 0, "size %u",
                           (unsigned)size);
                CHECK_CASE(
                    length == (text - 1 < strlen(whole.message) ? text - 1 : strlen(whole.message)),
                    "size %u", (unsigned)size);
            }
            CHECK_CASE(memcmp(memory.data + 4, (char*)&whole + 4, head - 4) == 0, "size %u",
                       (unsigned)size);
        }
        fence_free(&memory);
    }
    whole.struct_size = UINT32_MAX; /* never set: nothing but our own struct may be written */
    {
        fence memory = fence_make(sizeof whole);
        memcpy(memory.data, &whole, sizeof whole);
        CHECK(mustafar_kernel_at(SIZE_MAX, &row, (mustafar_error*)(void*)memory.data) ==
              MUSTAFAR_INVALID_ARGUMENT);
        fence_free(&memory);
    }
}

int main(void) {
    mustafar_geometry geometry;
    unsetenv("MUSTAFAR_FORCE_BACKEND");
    fill_geometry(&geometry);
    context = make_context(1);
    recipe = make_recipe("mustafar-50");
    cache = make_cache(context, geometry, "mustafar-50", 100, 0);
    must_append(cache, 0, 1, 50, 0);
    {
        mustafar_cache* other =
            make_cache(context, geometry, "mustafar-50", 100, MUSTAFAR_CACHE_AUTO);
        must_append(other, 0, 1, 50, 0);
        saved = snapshot_of(other);
        mustafar_cache_destroy(other);
    }
    input_sizes();
    output_sizes();
    error_sizes();
    blob_free(&saved);
    mustafar_cache_destroy(cache);
    mustafar_recipe_destroy(recipe);
    mustafar_context_destroy(context);
    CHECK(counts.live == 0 && counts.misuse == 0);
    return check_summary("capi/growth");
}
