/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "steps.h"

/* "geometry=layers,q_heads,kv_heads,head_dim_k,head_dim_v,dtype" of the step, or of the case. */
mustafar_geometry geometry_of(const struct runner* runner, const struct step* step) {
    const char* text = text_of(step, "geometry");
    if (text == NULL) { text = text_of(runner->test, "geometry"); }
    mustafar_geometry out;
    memset(&out, 0, sizeof(out));
    out.struct_size = sizeof(out);
    uint32_t* const fields[] = {&out.layers, &out.q_heads, &out.kv_heads, &out.head_dim_k,
                                &out.head_dim_v};
    for (size_t i = 0; i < 5; ++i) {
        char* end = NULL;
        *fields[i] = (uint32_t)strtoul(text, &end, 10);
        text = end + 1;
    }
    out.dtype = dtype_named(text, strlen(text));
    return out;
}

mustafar_recipe* recipe_of(struct runner* runner, const struct step* step) {
    const char* text = text_of(step, "recipe");
    if (text == NULL) { text = text_of(runner->test, "recipe"); }
    mustafar_recipe* made = NULL;
    runner->status = mustafar_recipe_parse(text, strlen(text), &made, &runner->error);
    return made;
}

mustafar_cache* cache_of(const struct runner* runner, const struct step* step) {
    const int64_t slot = number_of(step, "cache", 0);
    return slot >= 0 && slot < MOST_CACHES ? runner->caches[slot] : NULL;
}

uint32_t side_of(const struct step* step) {
    return strcmp(text_of(step, "side"), "k") == 0 ? MUSTAFAR_SIDE_K : MUSTAFAR_SIDE_V;
}

mustafar_tensor view(const struct array* array, uint32_t dims, int64_t a, int64_t b, int64_t c,
                     int64_t d) {
    const int64_t shape[MUSTAFAR_MAX_DIMS] = {a, b, c, d};
    mustafar_tensor out;
    memset(&out, 0, sizeof(out));
    out.data = array->bytes;
    out.dtype = array->dtype;
    out.ndim = dims;
    int64_t stride = 1;
    for (uint32_t i = dims; i-- > 0;) {
        out.shape[i] = shape[i];
        out.strides[i] = stride;
        stride *= shape[i];
    }
    return out;
}

/* NAME_shape, NAME_strides and NAME_offset, where a step gives them. */
void use_layout(mustafar_tensor* tensor, const struct array* array, const struct step* step,
                const char* name) {
    char key[40];
    int64_t list[MOST_LIST] = {0};
    snprintf(key, sizeof(key), "%s_shape", name);
    size_t count = list_of(step, key, list);
    if (count > 0) { *tensor = view(array, (uint32_t)count, list[0], list[1], list[2], list[3]); }
    snprintf(key, sizeof(key), "%s_strides", name);
    count = list_of(step, key, list);
    for (size_t i = 0; i < count; ++i) { tensor->strides[i] = list[i]; }
    snprintf(key, sizeof(key), "%s_offset", name);
    tensor->data = array->bytes + (size_t)number_of(step, key, 0) * array->width;
}

bool expect_number(const struct step* step, const char* key, uint64_t got) {
    const char* text = text_of(step, key);
    if (text == NULL || strtoull(text, NULL, 10) == got) { return true; }
    return fail("%s = %" PRIu64 ", expected %s", key, got, text);
}

bool expect_least(const struct step* step, const char* key, uint64_t got) {
    const char* text = text_of(step, key);
    if (text == NULL || strtoull(text, NULL, 10) <= got) { return true; }
    return fail("%s: %" PRIu64 " is less than %s", key, got, text);
}

bool expect_bytes(const struct step* step, const char* key, const uint8_t* got, size_t bytes) {
    const char* text = text_of(step, key);
    if (text == NULL) { return true; }
    struct array want;
    if (!read_array(&want, text, 0)) { return false; }
    size_t at = 0;
    while (at < bytes && at < want.count && got[at] == want.bytes[at]) { ++at; }
    const size_t count = want.count;
    free_array(&want);
    if (at == bytes && at == count) { return true; }
    return fail("%s: %zu bytes, expected %zu; they differ from byte %zu", key, bytes, count, at);
}

double tolerance_of(const struct runner* runner, const struct step* step, const char* key) {
    char name[40];
    snprintf(name, sizeof(name), "%s_tolerance", key);
    const char* text = text_of(step, name);
    const char* comma = text != NULL ? strchr(text, ',') : NULL;
    if (comma == NULL) { return 0.0; }
    return strtod(runner->strict ? text : comma + 1, NULL);
}

/* Relative L2 over the whole array, or the largest difference. Equal infinities differ by 0. */
bool expect_close(const struct runner* runner, const struct step* step, const char* key,
                  const struct array* got, bool relative) {
    const char* text = text_of(step, key);
    struct array want;
    if (text == NULL) { return true; }
    if (!read_array(&want, text, 0)) { return false; }
    double square = 0.0;
    double reference = 0.0;
    double largest = 0.0;
    for (size_t i = 0; i < want.count && i < got->count; ++i) {
        const double a = value_of(got, i);
        const double b = value_of(&want, i);
        if (isfinite(b)) { reference += b * b; }
        if (a == b) { continue; }
        square += (a - b) * (a - b);
        largest = fmax(largest, isnan(a - b) ? INFINITY : fabs(a - b));
    }
    const size_t count = want.count;
    free_array(&want);
    if (count != got->count) { return fail("%s: %zu numbers, not %zu", key, got->count, count); }
    const double error = relative && reference > 0.0 ? sqrt(square / reference) : largest;
    const double most = tolerance_of(runner, step, key);
    return error <= most || fail("%s: error %g exceeds %g", key, error, most);
}
