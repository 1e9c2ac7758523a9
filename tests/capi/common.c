/* SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* mmap with MAP_ANONYMOUS, posix_memalign */
#include "common.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- check.h ---------------------------------------------------------------------------------- */

static long passed, failed;
mustafar_error last;
static bool error_given;

enum { PRINTED = 40 };

bool check_that(bool condition, const char* text, const char* file, int line, const char* format,
                ...) {
    if (condition) {
        ++passed;
        return true;
    }
    if (++failed <= PRINTED) {
        va_list arguments;
        printf("FAILED  %s:%d  %s  ", file, line, text);
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        printf("\n");
    } else if (failed == PRINTED + 1) {
        printf("... more failures are counted, not printed\n");
    }
    return false;
}

mustafar_error* fresh_error(void) {
    memset(&last, 0, sizeof last);
    last.struct_size = (uint32_t)sizeof last;
    error_given = true;
    return &last;
}

bool check_status(mustafar_status expected, mustafar_status seen, const char* text,
                  const char* file, int line) {
    const bool given = error_given;
    error_given = false;
    if (!check_that(expected == seen, text, file, line, "\n        expected %s, seen %s: %s",
                    mustafar_status_name(expected), mustafar_status_name(seen),
                    given ? last.message : "")) {
        return false;
    }
    if (!given) { return true; }
    if (seen == MUSTAFAR_OK) {
        return check_that(last.code == 0 && last.message[0] == '\0', text, file, line,
                          "the error was written on success");
    }
    return check_that(last.code == seen && strncmp(last.message, "mustafar_", 9) == 0 &&
                          strlen(last.message) > 20 &&
                          memchr(last.message, '\0', sizeof last.message) != NULL,
                      text, file, line, "error code %d, text \"%s\"", (int)last.code, last.message);
}

void must_succeed(mustafar_status status, const char* text, const char* file, int line) {
    error_given = false;
    if (status != MUSTAFAR_OK) {
        printf("FAILED  %s:%d  set-up: %s: %s: %s\n", file, line, text,
               mustafar_status_name(status), last.message);
        printf("set-up: %ld passed, %ld failed\n", passed, failed + 1);
        exit(1);
    }
}

int check_summary(const char* program) {
    printf("%s: %ld passed, %ld failed\n", program, passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}

static void* need(void* data) {
    if (data == NULL) {
        printf("FAILED  the test itself ran out of memory\n");
        exit(1);
    }
    return data;
}

/* ---- numbers ---------------------------------------------------------------------------------- */

uint64_t random_next(uint64_t* state) {
    uint64_t x = *state != 0 ? *state : UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

float random_unit(uint64_t* state) {
    double sum = 0;
    int i;
    for (i = 0; i < 4; ++i) { sum += (double)(random_next(state) >> 40) / 16777216.0 - 0.5; }
    return (float)(sum / 2);
}

float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float f16_to_float(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
    if (exponent == 31) { return fraction != 0 ? NAN : sign * INFINITY; }
    return exponent == 0 ? sign * ldexpf((float)fraction, -24)
                         : sign * ldexpf((float)(fraction + 1024), exponent - 25);
}

uint16_t f16_from_float(float value) {
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs((double)value), scaled;
    int exponent;
    if (isnan(value)) { return (uint16_t)(sign | 0x7e00); }
    if (magnitude >= 65520.0) { return (uint16_t)(sign | 0x7c00); }
    if (magnitude < ldexp(1, -14)) { /* nearbyint rounds ties to even in the default mode */
        return (uint16_t)(sign + (uint16_t)nearbyint(ldexp(magnitude, 24)));
    }
    scaled = frexp(magnitude, &exponent); /* 0.5 .. 1 */
    return (uint16_t)(sign + ((unsigned)(exponent + 14 - 1) << 10) +
                      (unsigned)nearbyint(ldexp(scaled, 11)));
}

float bf16_to_float(uint16_t bits) { return float_from_bits((uint32_t)bits << 16); }

uint16_t bf16_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) { return (uint16_t)(bits >> 16 | 0x40); }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- makers ----------------------------------------------------------------------------------- */

mustafar_geometry make_geometry(uint32_t layers, uint32_t q_heads, uint32_t kv_heads,
                                uint32_t head_dim_k, uint32_t head_dim_v, mustafar_dtype dtype) {
    mustafar_geometry geometry = {0};
    geometry.struct_size = (uint32_t)sizeof geometry;
    geometry.layers = layers;
    geometry.q_heads = q_heads;
    geometry.kv_heads = kv_heads;
    geometry.head_dim_k = head_dim_k;
    geometry.head_dim_v = head_dim_v;
    geometry.dtype = dtype;
    return geometry;
}

mustafar_context* make_context(uint32_t threads) {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_context* context = NULL;
    options.threads = threads;
    MUST(mustafar_context_create(&options, NULL, NULL, &context, ERR));
    return context;
}

mustafar_recipe* make_recipe(const char* text) {
    mustafar_recipe* recipe = NULL;
    MUST(mustafar_recipe_parse(text, strlen(text), &recipe, ERR));
    return recipe;
}

mustafar_cache* make_cache(mustafar_context* context, mustafar_geometry geometry,
                           const char* recipe_text, uint32_t max_tokens, uint32_t flags) {
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    mustafar_recipe* recipe = make_recipe(recipe_text);
    mustafar_cache* cache = NULL;
    options.max_tokens = max_tokens;
    options.flags = flags;
    MUST(mustafar_cache_create(context, &geometry, recipe, &options, &cache, ERR));
    mustafar_recipe_destroy(recipe);
    return cache;
}

mustafar_tensor view(const void* data, mustafar_dtype dtype, int64_t a, int64_t b, int64_t c,
                     int64_t d) {
    const int64_t shape[MUSTAFAR_MAX_DIMS] = {a, b, c, d};
    mustafar_tensor tensor;
    int64_t stride = 1;
    int i;
    memset(&tensor, 0, sizeof tensor);
    memcpy(&tensor.data, &data, sizeof data); /* the ABI has one view for inputs and outputs */
    tensor.dtype = dtype;
    while (tensor.ndim < MUSTAFAR_MAX_DIMS && shape[tensor.ndim] != 0) {
        tensor.shape[tensor.ndim] = shape[tensor.ndim];
        ++tensor.ndim;
    }
    for (i = (int)tensor.ndim - 1; i >= 0; --i) {
        tensor.strides[i] = stride;
        stride *= tensor.shape[i];
    }
    return tensor;
}

void fill_rows(float* rows, uint64_t seed, uint32_t position, uint32_t tokens, uint32_t heads,
               uint32_t head_dim) {
    const size_t row = (size_t)heads * head_dim;
    uint32_t t;
    for (t = 0; t < tokens; ++t) {
        uint64_t state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)(position + t + 1)
                                                                         << 20;
        size_t i;
        random_next(&state);
        for (i = 0; i < row; ++i) { rows[t * row + i] = random_unit(&state); }
    }
}

mustafar_status append_rows(mustafar_cache* cache, uint32_t layer, uint64_t seed, uint32_t tokens,
                            uint32_t flags, mustafar_error* error) {
    const mustafar_geometry g = geometry_of(cache);
    const uint32_t position = length_of(cache, layer);
    float* k = need(malloc(sizeof(float) * tokens * g.kv_heads * g.head_dim_k));
    float* v = need(malloc(sizeof(float) * tokens * g.kv_heads * g.head_dim_v));
    mustafar_tensor k_view, v_view;
    mustafar_status status;
    fill_rows(k, seed * 1000 + layer * 2, position, tokens, g.kv_heads, g.head_dim_k);
    fill_rows(v, seed * 1000 + layer * 2 + 1, position, tokens, g.kv_heads, g.head_dim_v);
    k_view = view(k, MUSTAFAR_F32, tokens, g.kv_heads, g.head_dim_k, 0);
    v_view = view(v, MUSTAFAR_F32, tokens, g.kv_heads, g.head_dim_v, 0);
    status = mustafar_cache_append(cache, layer, &k_view, &v_view, flags, error);
    free(k);
    free(v);
    return status;
}

void must_append(mustafar_cache* cache, uint32_t layer, uint64_t seed, uint32_t tokens,
                 uint32_t flags) {
    MUST(append_rows(cache, layer, seed, tokens, flags, ERR));
}

void must_append_all(mustafar_cache* cache, uint64_t seed, uint32_t tokens) {
    const uint32_t layers = geometry_of(cache).layers;
    uint32_t layer;
    for (layer = 0; layer < layers; ++layer) { must_append(cache, layer, seed, tokens, 0); }
}

/* ---- asking ----------------------------------------------------------------------------------- */

/* These are used between the parts of an EXPECT, so they leave `last` alone. */
static void sure(mustafar_status status, const char* what) {
    if (status != MUSTAFAR_OK) {
        printf("FAILED  %s: %s\n", what, mustafar_status_name(status));
        exit(1);
    }
}

mustafar_geometry geometry_of(const mustafar_cache* cache) {
    mustafar_geometry geometry = {0};
    geometry.struct_size = (uint32_t)sizeof geometry;
    sure(mustafar_cache_describe(cache, &geometry, NULL, NULL, NULL), "mustafar_cache_describe");
    return geometry;
}

uint32_t length_of(const mustafar_cache* cache, uint32_t layer) {
    uint32_t committed = 0, tentative = 0;
    sure(mustafar_cache_length(cache, layer, &committed, &tentative, NULL),
         "mustafar_cache_length");
    return committed + tentative;
}

uint32_t rows_of(const mustafar_cache* cache, uint32_t layer, uint32_t kv_head) {
    uint32_t rows = 0;
    sure(mustafar_cache_rows(cache, layer, kv_head, &rows, NULL, NULL), "mustafar_cache_rows");
    return rows;
}

uint32_t body_of(const mustafar_cache* cache, uint32_t layer, uint32_t kv_head) {
    uint32_t body = 0;
    sure(mustafar_cache_rows(cache, layer, kv_head, NULL, &body, NULL), "mustafar_cache_rows");
    return body;
}

mustafar_bytes bytes_of(const mustafar_cache* cache) {
    mustafar_bytes bytes = {0};
    bytes.struct_size = (uint32_t)sizeof bytes;
    sure(mustafar_cache_bytes(cache, MUSTAFAR_ALL, MUSTAFAR_ALL, &bytes, NULL),
         "mustafar_cache_bytes");
    return bytes;
}

mustafar_context_stats stats_of(const mustafar_context* context) {
    mustafar_context_stats stats = {0};
    stats.struct_size = (uint32_t)sizeof stats;
    sure(mustafar_context_get_stats(context, &stats, NULL), "mustafar_context_get_stats");
    return stats;
}

/* Whether all rows of some head are dense codes of few bits with one scale and zero. */
static bool has_code_rows(const mustafar_recipe* recipe, const mustafar_geometry* geometry,
                          uint32_t side) {
    uint32_t layer, head;
    for (layer = 0; layer < geometry->layers; ++layer) {
        for (head = 0; head < geometry->kv_heads; ++head) {
            mustafar_side_info info = {0};
            info.struct_size = (uint32_t)sizeof info;
            sure(mustafar_recipe_side(recipe, geometry, layer, head, side, &info, NULL),
                 "mustafar_recipe_side");
            if (info.encoding == MUSTAFAR_ENCODING_EXACT && info.keep == info.head_dim &&
                info.bits < 8) {
                return true;
            }
        }
    }
    return false;
}

attend_budget budget_of(const mustafar_context* context, const mustafar_cache* cache) {
    const mustafar_geometry geometry = geometry_of(cache);
    attend_freedom freedom = {false, false, false};
    mustafar_kernel_info row = {0};
    const char* json = NULL;
    row.struct_size = (uint32_t)sizeof row;
    sure(mustafar_context_kernel(context, "attend", &row, NULL), "mustafar_context_kernel");
    sure(mustafar_cache_describe(cache, NULL, NULL, &json, NULL), "mustafar_cache_describe");
    if (strstr(json, "\"precise\":true") == NULL) {
        mustafar_recipe* recipe = make_recipe(json);
        freedom.half = geometry.dtype == MUSTAFAR_F16;
        freedom.key_codes = has_code_rows(recipe, &geometry, MUSTAFAR_SIDE_K);
        freedom.value_codes = has_code_rows(recipe, &geometry, MUSTAFAR_SIDE_V);
        mustafar_recipe_destroy(recipe);
    }
    return attend_budget_of(row.backend, freedom);
}

/* ---- bytes in memory -------------------------------------------------------------------------- */

int32_t blob_write(void* user, const void* data, size_t bytes) {
    blob* to = user;
    if (to->size + bytes > to->room) {
        to->room = (to->size + bytes) * 2;
        to->data = need(realloc(to->data, to->room));
    }
    if (bytes != 0) { memcpy(to->data + to->size, data, bytes); }
    to->size += bytes;
    return 0;
}

int32_t blob_read(void* user, void* data, size_t bytes, size_t* got) {
    blob* from = user;
    const size_t rest = from->size - from->at;
    *got = bytes < rest ? bytes : rest;
    if (*got != 0) { memcpy(data, from->data + from->at, *got); }
    from->at += *got;
    return 0;
}

void blob_free(blob* bytes) {
    free(bytes->data);
    memset(bytes, 0, sizeof *bytes);
}

bool blob_equal(const blob* a, const blob* b) {
    return a->size == b->size && a->size != 0 && memcmp(a->data, b->data, a->size) == 0;
}

blob snapshot_of(const mustafar_cache* cache) {
    blob bytes = {0};
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    const mustafar_status status =
        mustafar_cache_save(cache, "tests/capi", blob_write, &bytes, &error);
    if (status != MUSTAFAR_OK) {
        printf("FAILED  snapshot_of: %s\n", error.message);
        exit(1);
    }
    return bytes;
}

bool unchanged(const mustafar_cache* cache, const blob* before) {
    blob now = snapshot_of(cache);
    const bool same = blob_equal(&now, before);
    blob_free(&now);
    return same;
}

/* ---- an allocator that counts ----------------------------------------------------------------- */

/* A header of 64 bytes in front of each block remembers what was asked. */
typedef struct block {
    size_t bytes;
    size_t alignment;
} block;

static void* count_allocate(void* user, size_t bytes, size_t alignment) {
    counter* counts = user;
    const int64_t call = __sync_add_and_fetch(&counts->calls, 1);
    void* memory = NULL;
    block head;
    if (counts->fail_at > 0 ? call == counts->fail_at
                            : counts->fail_at < 0 && call >= -counts->fail_at) {
        return NULL;
    }
    if (alignment == 0 || alignment > 64 || (alignment & (alignment - 1)) != 0 || bytes == 0) {
        __sync_add_and_fetch(&counts->misuse, 1);
    }
    if (posix_memalign(&memory, 64, bytes + 64) != 0) { return NULL; }
    head.bytes = bytes;
    head.alignment = alignment;
    memcpy(memory, &head, sizeof head);
    memset((char*)memory + 64, 0xa5, bytes); /* nobody may count on zeros */
    __sync_add_and_fetch(&counts->live, 1);
    __sync_add_and_fetch(&counts->live_bytes, (int64_t)bytes);
    return (char*)memory + 64;
}

static void count_release(void* user, void* data, size_t bytes, size_t alignment) {
    counter* counts = user;
    block head;
    if (data == NULL) {
        __sync_add_and_fetch(&counts->misuse, 1);
        return;
    }
    memcpy(&head, (char*)data - 64, sizeof head);
    if (head.bytes != bytes || head.alignment != alignment) {
        __sync_add_and_fetch(&counts->misuse, 1);
    }
    __sync_sub_and_fetch(&counts->live, 1);
    __sync_sub_and_fetch(&counts->live_bytes, (int64_t)head.bytes);
    free((char*)data - 64);
}

mustafar_allocator counting_allocator(counter* counts) {
    mustafar_allocator allocator;
    memset(&allocator, 0, sizeof allocator);
    allocator.struct_size = (uint32_t)sizeof allocator;
    allocator.user = counts;
    allocator.allocate = count_allocate;
    allocator.release = count_release;
    return allocator;
}

/* ---- structs of other sizes ------------------------------------------------------------------- */

fence fence_make(size_t size) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t room = (size + page - 1) / page * page;
    fence memory;
    memory.map_bytes = room + page;
    memory.map =
        mmap(NULL, memory.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory.map == MAP_FAILED || mprotect((char*)memory.map + room, page, PROT_NONE) != 0) {
        printf("FAILED  fence_make: mmap\n");
        exit(1);
    }
    memory.data = (unsigned char*)memory.map + room - size;
    return memory;
}

void fence_free(fence* memory) { munmap(memory->map, memory->map_bytes); }

/* ---- the oracle of attend --------------------------------------------------------------------- */

double plain_attention(const float* q, const float* k, const float* v, uint32_t rows,
                       const unsigned char* seen, uint32_t head_dim_k, uint32_t head_dim_v,
                       double scale, double softcap, const float* sink, double* out,
                       double* weights) {
    double* scores = need(calloc(rows + 1, sizeof *scores));
    double largest = sink != NULL ? *sink : -INFINITY, sum = 0, lse;
    uint32_t r, c;
    for (r = 0; r < rows; ++r) {
        double dot = 0;
        for (c = 0; c < head_dim_k; ++c) { dot += (double)q[c] * k[(size_t)r * head_dim_k + c]; }
        dot *= scale;
        scores[r] = softcap > 0 ? softcap * tanh(dot / softcap) : dot;
        if (seen[r] && scores[r] > largest) { largest = scores[r]; }
    }
    for (r = 0; r < rows; ++r) { sum += seen[r] ? exp(scores[r] - largest) : 0; }
    if (sink != NULL) { sum += exp(*sink - largest); }
    lse = sum > 0 ? largest + log(sum) : -INFINITY;
    for (c = 0; c < head_dim_v; ++c) { out[c] = 0; }
    for (r = 0; r < rows; ++r) {
        const double weight = seen[r] && sum > 0 ? exp(scores[r] - lse) : 0;
        if (weights != NULL) { weights[r] = weight; }
        for (c = 0; c < head_dim_v; ++c) { out[c] += weight * v[(size_t)r * head_dim_v + c]; }
    }
    free(scores);
    return lse;
}
