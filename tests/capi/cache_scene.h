/* SPDX-License-Identifier: Apache-2.0
 * What the tests of cache.h share: a context of their own, a usual geometry, recipes of every encoding. */
#ifndef MUSTAFAR_TEST_CACHE_SCENE_H
#define MUSTAFAR_TEST_CACHE_SCENE_H

#include "common.h"

#define JSON "{\"schema\":\"mustafar.recipe\",\"version\":1,"

extern mustafar_context* context;
extern mustafar_cache* const untouched; /* what no failing call may write over */

/* Recipes that together use every row encoding; windows small, so that short tests pack rows. */
enum { RECIPES = 12 };
extern const char* const recipes[RECIPES];

mustafar_geometry usual(void); /* 2 layers, 4 query heads, 2 kv heads of 64, f16 */
mustafar_cache* usual_cache(const char* recipe);

void scene_begin(void);
int scene_end(const char* test); /* nothing may be left; what main returns */

#endif
