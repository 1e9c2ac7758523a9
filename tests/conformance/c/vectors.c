/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "vectors.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char why[700];

bool fail(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    return false;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* %25, %20, %0a: what a value may not contain. */
static void decode(char* text) {
    char* out = text;
    for (; *text != 0; ++text) {
        if (text[0] == '%' && text[1] != 0 && text[2] != 0) {
            const char digits[3] = {text[1], text[2], 0};
            *out++ = (char)strtoul(digits, NULL, 16);
            text += 2;
        } else {
            *out++ = *text;
        }
    }
    *out = 0;
}

bool read_step(char* line, struct step* out) {
    char* rest = NULL;
    memset(out, 0, sizeof(*out));
    line[strcspn(line, "\n")] = 0;
    out->op = strtok_r(line, " ", &rest);
    if (out->op == NULL) { return false; }
    for (char* word = strtok_r(NULL, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        char* equals = strchr(word, '=');
        if (out->count == MOST_WORDS) { return false; }
        if (equals != NULL) {
            *equals = 0;
            decode(equals + 1);
        }
        out->keys[out->count] = word;
        out->values[out->count++] = equals != NULL ? equals + 1 : "";
    }
    return true;
}

const char* text_of(const struct step* step, const char* key) {
    for (int i = 0; i < step->count; ++i) {
        if (strcmp(step->keys[i], key) == 0) { return step->values[i]; }
    }
    return NULL;
}

int64_t number_of(const struct step* step, const char* key, int64_t otherwise) {
    const char* text = text_of(step, key);
    return text != NULL ? strtoll(text, NULL, 10) : otherwise;
}

float real_of(const struct step* step, const char* key, float otherwise) {
    const char* text = text_of(step, key);
    return text != NULL ? strtof(text, NULL) : otherwise;
}

uint32_t index_of(const struct step* step, const char* key) {
    const int64_t index = number_of(step, key, 0);
    return index < 0 ? MUSTAFAR_ALL : (uint32_t)index;
}

size_t list_of(const struct step* step, const char* key, int64_t out[MOST_LIST]) {
    const char* text = text_of(step, key);
    size_t count = 0;
    while (text != NULL && *text != 0 && count < MOST_LIST) {
        char* end = NULL;
        out[count++] = strtoll(text, &end, 10);
        text = *end == ',' ? end + 1 : NULL;
    }
    return count;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* Steele, Lea and Flood, OOPSLA 2014, as a counter. */
static uint64_t splitmix64(uint64_t seed, uint64_t index) {
    uint64_t z = ((seed << 32) + index + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint32_t random_bits(mustafar_dtype dtype, uint64_t seed, uint64_t index) {
    const uint64_t z = splitmix64(seed, index);
    const uint32_t exponent = (uint32_t)(z >> 32) & 7U;
    const uint32_t low = (uint32_t)z;
    switch (dtype) {
    case MUSTAFAR_F16:
        return (low & 0x83FFU) | ((8U + exponent) << 10);
    case MUSTAFAR_BF16:
        return (low & 0x807FU) | ((120U + exponent) << 7);
    case MUSTAFAR_F32:
        return (low & 0x807FFFFFU) | ((120U + exponent) << 23);
    default:
        return low & 0xFFU;
    }
}

mustafar_dtype dtype_named(const char* name, size_t bytes) {
    if (bytes == 3 && strncmp(name, "f32", 3) == 0) { return MUSTAFAR_F32; }
    if (bytes == 3 && strncmp(name, "f16", 3) == 0) { return MUSTAFAR_F16; }
    if (bytes == 4 && strncmp(name, "bf16", 4) == 0) { return MUSTAFAR_BF16; }
    if (bytes == 2 && strncmp(name, "u8", 2) == 0) { return MUSTAFAR_U8; }
    return 0;
}

bool make_array(struct array* out, mustafar_dtype dtype, size_t count) {
    out->dtype = dtype;
    out->width = dtype == MUSTAFAR_F32 ? 4 : dtype == MUSTAFAR_U8 ? 1 : 2;
    out->count = count;
    out->bytes = malloc(count * out->width + 1);
    if (out->bytes == NULL) { return fail("no memory"); }
    memset(out->bytes, 0x55, count * out->width + 1);
    return true;
}

void free_array(struct array* array) {
    free(array->bytes);
    array->bytes = NULL;
}

static void put(struct array* array, size_t index, uint32_t bits) {
    for (size_t i = 0; i < array->width; ++i) {
        array->bytes[index * array->width + i] = (uint8_t)(bits >> (8 * i));
    }
}

static uint32_t bits_at(const struct array* array, size_t index) {
    uint32_t bits = 0;
    for (size_t i = 0; i < array->width; ++i) {
        bits |= (uint32_t)array->bytes[index * array->width + i] << (8 * i);
    }
    return bits;
}

/* The hex digits behind "f16:" and the like. */
static bool read_given(struct array* out, const char* text) {
    const size_t name = strcspn(text, ":");
    const char* digits = text + name + 1;
    const mustafar_dtype dtype = dtype_named(text, name);
    const size_t width = dtype == MUSTAFAR_F32 ? 8 : dtype == MUSTAFAR_U8 ? 2 : 4;
    if (dtype == 0) { return fail("no array: %.40s", text); }
    if (!make_array(out, dtype, strcspn(digits, ";") / width)) { return false; }
    for (size_t i = 0; i < out->count; ++i) {
        char one[9] = {0};
        memcpy(one, digits + i * width, width);
        put(out, i, (uint32_t)strtoul(one, NULL, 16));
    }
    return true;
}

/* "gen:DTYPE:SEED[:MASK[:FIRST]]" and "all:DTYPE:BITS". */
static bool read_made(struct array* out, const char* text, size_t count) {
    const bool all = text[0] == 'a';
    const char* name = text + 4;
    const size_t bytes = strcspn(name, ":");
    char* rest = NULL;
    if (!make_array(out, dtype_named(name, bytes), count)) { return false; }
    const uint64_t seed = strtoull(name + bytes + 1, &rest, all ? 16 : 10);
    uint32_t mask = UINT32_MAX;
    uint64_t first = 0;
    if (!all && *rest == ':') { mask = (uint32_t)strtoul(rest + 1, &rest, 16); }
    if (!all && *rest == ':') { first = strtoull(rest + 1, &rest, 10); }
    for (size_t i = 0; i < count; ++i) {
        put(out, i, all ? (uint32_t)seed : random_bits(out->dtype, seed, first + i) & mask);
    }
    return true;
}

bool read_array(struct array* out, const char* text, size_t count) {
    const bool made = strncmp(text, "gen:", 4) == 0 || strncmp(text, "all:", 4) == 0;
    if (!(made ? read_made(out, text, count) : read_given(out, text))) { return false; }
    for (const char* patch = strchr(text, ';'); patch != NULL; patch = strchr(patch + 1, ';')) {
        char* equals = NULL;
        const size_t index = (size_t)strtoull(patch + 1, &equals, 10);
        if (*equals != '=' || index >= out->count) { return fail("no patch: %.40s", patch); }
        put(out, index, (uint32_t)strtoul(equals + 1, NULL, 16));
    }
    return true;
}

static float float_of_bits(uint32_t bits) {
    float value = 0.0F;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

float value_of(const struct array* array, size_t index) {
    const uint32_t bits = bits_at(array, index);
    const uint32_t sign = (bits & 0x8000U) << 16;
    const uint32_t exponent = (bits >> 10) & 31U;
    if (array->dtype == MUSTAFAR_F32) { return float_of_bits(bits); }
    if (array->dtype == MUSTAFAR_BF16) { return float_of_bits(bits << 16); }
    if (exponent == 31) { return float_of_bits(sign | 0x7F800000U | ((bits & 0x3FFU) << 13)); }
    if (exponent == 0) {
        const float magnitude = ldexpf((float)(bits & 0x3FFU), -24);
        return sign != 0 ? -magnitude : magnitude;
    }
    return float_of_bits(sign | ((exponent + 112U) << 23) | ((bits & 0x3FFU) << 13));
}
