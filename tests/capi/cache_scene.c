/* SPDX-License-Identifier: Apache-2.0 */
#include "cache_scene.h"

mustafar_context* context;
mustafar_cache* const untouched = (mustafar_cache*)(uintptr_t)0x5a5a5a50;

const char* const recipes[RECIPES] = {
    "dense",
    "mustafar-50",
    "k40i4/v64i2",
    "kdi4/vdi2/w8/s4",
    "kdi4c/vdi4",
    "kdi4g32/vdi2g32/w0",
    "k32i4m/vdi2/w16/s3",
    JSON "\"k\":{\"method\":\"threshold\",\"threshold\":0.3},\"v\":{\"method\":\"threshold\","
         "\"threshold\":0.2,\"bits\":8}}",
    JSON "\"k\":{\"method\":\"n_m\",\"n\":2,\"m\":4},\"v\":{\"method\":\"channels\",\"keep\":24}}",
    JSON
    "\"k\":{\"method\":\"channel_topk\",\"keep\":16},\"v\":{\"sparsity\":0.7,\"rule\":\"paper\"}}",
    JSON "\"window\":{\"recent\":20,\"sink\":2,\"step\":8},\"k\":{\"keep\":\"1/"
         "2\",\"bits\":8},\"v\":{\"keep\":\"1/4\"}}",
    JSON "\"k\":{\"bits\":4},\"v\":{\"bits\":4},\"layers\":[{\"at\":\"1\",\"k\":{\"bits\":16,"
         "\"keep\":20},"
         "\"heads\":[{\"at\":\"0\",\"v\":{\"bits\":2}}]}]}",
};

mustafar_geometry usual(void) { return make_geometry(2, 4, 2, 64, 64, MUSTAFAR_F16); }

mustafar_cache* usual_cache(const char* recipe) {
    return make_cache(context, usual(), recipe, 1000, MUSTAFAR_CACHE_AUTO);
}

void scene_begin(void) { context = make_context(1); }

int scene_end(const char* test) {
    CHECK(stats_of(context).caches == 0 && stats_of(context).pages == 0);
    mustafar_context_destroy(context);
    return check_summary(test);
}
