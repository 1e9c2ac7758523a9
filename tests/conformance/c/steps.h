/* SPDX-License-Identifier: Apache-2.0
 *
 * One case on the C ABI. A step function makes its call, leaves the status in `answer`, and gives
 * false (with `why`) where the call succeeded and its results are not the expected ones. */
#ifndef CONFORMANCE_C_STEPS_H
#define CONFORMANCE_C_STEPS_H

#include "vectors.h"

#define MOST_CACHES 8

struct runner {
    mustafar_context* context;
    bool strict; /* the reference rows run: the first of each pair of tolerances holds */
    const struct step* test; /* the line of the case: geometry and recipe */
    mustafar_cache* caches[MOST_CACHES];
    struct array saved[MOST_CACHES];
    mustafar_status status; /* of the last call */
    mustafar_error error;
};

bool run_change(struct runner* runner, const struct step* step, bool* known);
bool run_question(struct runner* runner, const struct step* step, bool* known);
bool run_attend(struct runner* runner, const struct step* step);
bool run_merge(struct runner* runner, const struct step* step);

/* shared by the steps */
mustafar_geometry geometry_of(const struct runner* runner, const struct step* step);
mustafar_recipe* recipe_of(struct runner* runner, const struct step* step); /* NULL: refused */
mustafar_cache* cache_of(const struct runner* runner, const struct step* step);
uint32_t side_of(const struct step* step);
mustafar_tensor view(const struct array* array, uint32_t dims, int64_t a, int64_t b, int64_t c,
                     int64_t d);
void use_layout(mustafar_tensor* tensor, const struct array* array, const struct step* step,
                const char* name);
bool expect_number(const struct step* step, const char* key, uint64_t got);
bool expect_least(const struct step* step, const char* key, uint64_t got);
bool expect_bytes(const struct step* step, const char* key, const uint8_t* got, size_t bytes);
bool expect_close(const struct runner* runner, const struct step* step, const char* key,
                  const struct array* got, bool relative);
double tolerance_of(const struct runner* runner, const struct step* step, const char* key);

#endif
