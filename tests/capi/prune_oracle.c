/* SPDX-License-Identifier: Apache-2.0
 * token_topk against a stable sort of its own: largest magnitudes first, ties to the lower channel, -0 equal
 * to +0. Masks must be identical to the bit: random, tied, zero, denormal and signed-zero rows, every
 * head_dim, and the rows of the recorded traces in tests/data/traces. Both ways to a mask are tried:
 * mustafar_cache_prune on dense rows, and packing by a recipe. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "effort.h"

enum { ROWS = 64, LARGEST = 256 };

static mustafar_context* context;

static int by_magnitude(const void* a, const void* b) {
    /* an element is {magnitude bits of the f16, channel}; f16 magnitudes order as their bits do */
    const uint32_t *x = a, *y = b;
    return x[0] != y[0] ? (x[0] < y[0] ? 1 : -1) : (x[1] > y[1] ? 1 : -1);
}

static void oracle(const uint16_t* row, uint32_t d, uint32_t keep, uint8_t* bitmap) {
    uint32_t elements[LARGEST][2], c;
    for (c = 0; c < d; ++c) {
        elements[c][0] = row[c] & 0x7fffu;
        elements[c][1] = c;
    }
    qsort(elements, d, sizeof elements[0], by_magnitude);
    memset(bitmap, 0, d / 8);
    for (c = 0; c < keep; ++c) {
        bitmap[elements[c][1] / 8] =
            (uint8_t)(bitmap[elements[c][1] / 8] | 1u << (elements[c][1] % 8));
    }
}

/* Rows [count, d] of one kv head, f16. Gives the number of rows whose mask differs. */
static uint32_t differences(const uint16_t* rows, uint32_t count, uint32_t d, uint32_t keep,
                            bool packed) {
    const mustafar_geometry geometry = make_geometry(1, 1, 1, d, d, MUSTAFAR_F16);
    const mustafar_tensor tensor = view(rows, MUSTAFAR_F16, count, 1, d, 0);
    char recipe[64];
    mustafar_cache* cache;
    float* values = malloc(sizeof(float) * count * d);
    uint8_t *bitmaps = malloc((size_t)count * d / 8), expected[LARGEST / 8];
    const mustafar_tensor out = view(values, MUSTAFAR_F32, count, d, 0, 0);
    uint32_t r, side, wrong = 0;
    snprintf(recipe, sizeof recipe, packed ? "k%u/v%u/w0" : "kd/vd/w0", (unsigned)keep,
             (unsigned)keep);
    cache = make_cache(context, geometry, recipe, count, packed ? MUSTAFAR_CACHE_AUTO : 0);
    MUST(mustafar_cache_append(cache, 0, &tensor, &tensor, 0, ERR));
    for (side = 0; side < 2; ++side) {
        if (packed) {
            CHECK(body_of(cache, 0, 0) == count / 32 * 32);
        } else {
            mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
            options.method = MUSTAFAR_PRUNE_TOKEN_TOPK;
            options.keep = keep;
            EXPECT(MUSTAFAR_OK, mustafar_cache_prune(cache, 0, 0, side, 0, count, &options, NULL,
                                                     NULL, NULL, ERR));
        }
        EXPECT(MUSTAFAR_OK, mustafar_cache_export(cache, 0, 0, side, 0, count, &out, bitmaps, ERR));
        for (r = 0; r < (packed ? count / 32 * 32 : count); ++r) {
            oracle(rows + (size_t)r * d, d, keep, expected);
            wrong += memcmp(expected, bitmaps + (size_t)r * d / 8, d / 8) != 0;
        }
    }
    mustafar_cache_destroy(cache);
    free(values);
    free(bitmaps);
    return wrong;
}

static void fill(uint16_t* rows, uint32_t d, int kind, uint64_t* state) {
    uint32_t i;
    for (i = 0; i < ROWS * d; ++i) {
        const uint64_t r = random_next(state) >> 16;
        switch (kind) {
        case 0:
            rows[i] = f16_from_float(random_unit(state));
            break;
        case 1:
            rows[i] = (uint16_t)(0x3c00u | (r & 3) << 10 | (r & 0x100) << 7);
            break; /* 4 magnitudes */
        case 2:
            rows[i] = (uint16_t)(r & 0x8000);
            break; /* -0 and +0 */
        case 3:
            rows[i] = (uint16_t)(r & 0x83ff);
            break; /* denormal */
        case 4:
            rows[i] = r % 8 == 0 ? (uint16_t)(r >> 8 & 0x83ffu) : (uint16_t)(r & 0x8000);
            break; /* few of them */
        case 5:
            rows[i] = 0x3c00;
            break; /* all alike */
        case 6:
            rows[i] = (uint16_t)((i % d) * 3 | (i & 1) << 15);
            break; /* ascending */
        case 7:
            rows[i] = (uint16_t)(0x7bff - (i % d) / 2);
            break; /* descending pairs */
        default:
            rows[i] = (uint16_t)((r & 0xffff) % 0x7c00u | (r >> 20 & 0x8000));
            break; /* any bits */
        }
    }
}

static void made_rows(void) {
    static uint16_t rows[ROWS * LARGEST];
    uint64_t state = 20260101;
    uint32_t d;
    int kind;
    size_t k;
    for (d = 32; d <= 256; d += 8 * every_nth(7)) {
        const uint32_t keeps[] = {1, 7, d / 4, 5 * d / 16, d / 2, d - 9, d - 1, d};
        for (kind = 0; kind < 9; ++kind) {
            fill(rows, d, kind, &state);
            for (k = 0; k < sizeof keeps / sizeof keeps[0]; ++k) {
                uint32_t wrong = differences(rows, ROWS, d, keeps[k], false);
                CHECK_CASE(wrong == 0, "d %u kind %d keep %u: %u of %d rows", (unsigned)d, kind,
                           (unsigned)keeps[k], (unsigned)wrong, 2 * ROWS);
                wrong = differences(rows, ROWS, d, keeps[k], true);
                CHECK_CASE(wrong == 0, "packed, d %u kind %d keep %u: %u of %d rows", (unsigned)d,
                           kind, (unsigned)keeps[k], (unsigned)wrong, 2 * ROWS);
            }
        }
    }
}

/* The oracle itself, on a row whose answer is written down: channels 1 and 3 tie for the last place. */
static void oracle_by_hand(void) {
    uint16_t row[32] = {0};
    uint8_t bitmap[4];
    row[9] = 0xc000; /* -2 */
    row[3] = 0x3c00; /* 1 */
    row[1] = 0xbc00; /* -1 */
    row[30] = 0x0001;
    oracle(row, 32, 2, bitmap);
    CHECK(bitmap[0] == 0x02 && bitmap[1] == 0x02 && bitmap[2] == 0 && bitmap[3] == 0);
    CHECK(differences(row, 1, 32, 2, false) == 0);
    oracle(row, 32, 6, bitmap); /* zeros fill up from the lowest channel */
    CHECK(bitmap[0] == 0x0f && bitmap[1] == 0x02 && bitmap[2] == 0 && bitmap[3] == 0x40);
    CHECK(differences(row, 1, 32, 6, false) == 0);
}

/* ---- recorded rows: just enough safetensors for layers.N.k and .v, f16 [heads, tokens, d] ------------ */

static void traced_tensor(FILE* file, const char* header, uint64_t data_at, const char* name,
                          uint32_t* rows_seen) {
    char key[64];
    const char *at, *field;
    unsigned long heads, tokens, d, begin;
    uint16_t* rows;
    snprintf(key, sizeof key, "\"%s\":{", name);
    at = strstr(header, key);
    if (at == NULL || (field = strstr(at, "\"shape\":[")) == NULL ||
        sscanf(field, "\"shape\":[%lu,%lu,%lu]", &heads, &tokens, &d) != 3 ||
        (field = strstr(at, "\"data_offsets\":[")) == NULL ||
        sscanf(field, "\"data_offsets\":[%lu,", &begin) != 1) {
        return;
    }
    rows = malloc(heads * tokens * d * 2);
    if (CHECK(rows != NULL && d <= LARGEST) &&
        CHECK(fseek(file, (long)(data_at + begin), SEEK_SET) == 0) &&
        CHECK(fread(rows, d * 2, heads * tokens, file) == heads * tokens)) {
        const uint32_t keeps[] = {(uint32_t)(d / 2), (uint32_t)(5 * d / 16), 3};
        size_t k;
        for (k = 0; k < 3; k += every_nth(3)) {
            const uint32_t wrong =
                differences(rows, (uint32_t)(heads * tokens), (uint32_t)d, keeps[k], k == 0);
            CHECK_CASE(wrong == 0, "%s keep %u: %u rows", name, (unsigned)keeps[k],
                       (unsigned)wrong);
        }
        *rows_seen += (uint32_t)(heads * tokens);
    }
    free(rows);
}

static void traced_file(const char* path) {
    FILE* file = fopen(path, "rb");
    uint64_t length = 0;
    uint32_t rows = 0, layer;
    char *header, name[32];
    if (!CHECK(file != NULL) || !CHECK(fread(&length, 8, 1, file) == 1) ||
        !CHECK(length < 1 << 20)) {
        return;
    }
    header = calloc(length + 1, 1);
    if (CHECK(header != NULL && fread(header, 1, length, file) == length)) {
        for (layer = 0; layer < 100; ++layer) {
            snprintf(name, sizeof name, "layers.%u.k", (unsigned)layer);
            traced_tensor(file, header, 8 + length, name, &rows);
            snprintf(name, sizeof name, "layers.%u.v", (unsigned)layer);
            traced_tensor(file, header, 8 + length, name, &rows);
        }
    }
    CHECK_CASE(rows > 0, "%s", path);
    printf("%s: %u recorded rows\n", strrchr(path, '/') + 1, (unsigned)rows);
    free(header);
    fclose(file);
}

int main(int argc, char** argv) {
    const char* folder = argc > 1 ? argv[1] : MUSTAFAR_TEST_DATA "/traces";
    DIR* directory = opendir(folder);
    struct dirent* entry;
    int files = 0;
    context = make_context(1);
    oracle_by_hand();
    made_rows();
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        const size_t length = strlen(entry->d_name);
        if (length > 12 && strcmp(entry->d_name + length - 12, ".safetensors") == 0) {
            char path[1024];
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            traced_file(path);
            ++files;
        }
    }
    if (directory != NULL) { closedir(directory); }
    if (files == 0) { printf("no traces in %s: recorded rows not tried\n", folder); }
    mustafar_context_destroy(context);
    return check_summary("capi/prune_oracle");
}
