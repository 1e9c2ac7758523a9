/* SPDX-License-Identifier: Apache-2.0
 * cache.h: append: chunks, capacity, values that cannot be stored. */
#include "cache_scene.h"

static void chunks_of_any_size_give_the_bytes_of_single_appends(const char* recipe) {
    static const uint32_t chunks[] = {1, 2, 3, 7, 31, 32, 33, 64, 90, 200};
    mustafar_cache* one = usual_cache(recipe);
    blob reference;
    uint32_t t;
    size_t i;
    for (t = 0; t < 200; ++t) { must_append_all(one, 4, 1); }
    reference = snapshot_of(one);
    for (i = 0; i < sizeof chunks / sizeof chunks[0]; ++i) {
        mustafar_cache* many = usual_cache(recipe);
        uint32_t layer;
        for (layer = 0; layer < 2; ++layer) {
            for (t = 0; t < 200; t += chunks[i]) {
                must_append(many, layer, 4, t + chunks[i] > 200 ? 200 - t : chunks[i], 0);
            }
        }
        CHECK_CASE(unchanged(many, &reference), "%s in chunks of %u", recipe, (unsigned)chunks[i]);
        CHECK_CASE(bytes_of(many).total == bytes_of(one).total, "%s in chunks of %u", recipe,
                   (unsigned)chunks[i]);
        mustafar_cache_destroy(many);
    }
    blob_free(&reference);
    mustafar_cache_destroy(one);
}

static void append_capacity(void) {
    const mustafar_geometry geometry = usual();
    mustafar_cache* cache = make_cache(context, geometry, "lean", 50, MUSTAFAR_CACHE_AUTO);
    blob before;
    must_append(cache, 0, 1, 40, 0);
    before = snapshot_of(cache);
    EXPECT(MUSTAFAR_CAPACITY, append_rows(cache, 0, 1, 11, 0, ERR));
    CHECK(last.values[0] == 11 && last.values[1] == 40 &&
          last.values[2] == 50); /* asked, held, limit */
    EXPECT(MUSTAFAR_CAPACITY, append_rows(cache, 0, 1, 11, MUSTAFAR_APPEND_TENTATIVE, ERR));
    EXPECT(MUSTAFAR_CAPACITY, append_rows(cache, 0, 1, 11, 0, NULL));
    CHECK(unchanged(cache, &before));
    blob_free(&before);
    EXPECT(MUSTAFAR_OK, append_rows(cache, 0, 1, 10, 0, ERR));
    EXPECT(MUSTAFAR_CAPACITY, append_rows(cache, 0, 1, 1, 0, ERR));
    EXPECT(MUSTAFAR_OK, append_rows(cache, 1, 1, 50, 0, ERR)); /* per layer */
    mustafar_cache_destroy(cache);
}

static void non_finite_is_refused_and_named(void) {
    static const uint32_t bits[] = {0x7fc00000u, 0xffc00000u, 0x7f800000u, 0xff800000u,
                                    0x7f800001u};
    mustafar_cache* cache = usual_cache("mustafar-50");
    static float k[40 * 128], v[40 * 128];
    const mustafar_tensor k_view = view(k, MUSTAFAR_F32, 40, 2, 64, 0),
                          v_view = view(v, MUSTAFAR_F32, 40, 2, 64, 0);
    blob before;
    size_t i;
    must_append_all(cache, 1, 50);
    before = snapshot_of(cache);
    for (i = 0; i < 5; ++i) {
        int side;
        for (side = 0; side < 2; ++side) {
            fill_rows(k, 1, 0, 40, 2, 64);
            fill_rows(v, 2, 0, 40, 2, 64);
            (side == 0 ? k : v)[17 * 128 + 64 + 5] = float_from_bits(bits[i]);
            EXPECT(MUSTAFAR_NON_FINITE, mustafar_cache_append(cache, 1, &k_view, &v_view, 0, ERR));
            CHECK_CASE(last.values[0] == side && last.values[1] == 17 && last.values[2] == 1 &&
                           last.values[3] == 5,
                       "values %d %d %d %d", (int)last.values[0], (int)last.values[1],
                       (int)last.values[2], (int)last.values[3]);
            EXPECT(MUSTAFAR_NON_FINITE, mustafar_cache_append(cache, 1, &k_view, &v_view,
                                                              MUSTAFAR_APPEND_TENTATIVE, NULL));
        }
    }
    CHECK(unchanged(cache, &before));
    blob_free(&before);
    mustafar_cache_destroy(cache);
}

/* What the stored type cannot hold, and with bits < 16 what an f16 scale cannot. */
static void too_large_is_refused(void) {
    static const struct {
        const char* recipe;
        mustafar_dtype stored;
        float largest, beyond;
    } cases[] = {{"dense", MUSTAFAR_F16, 65504.0F, 65520.0F},
                 {"mustafar-50", MUSTAFAR_F16, 65519.0F, 65536.0F},
                 {"dense", MUSTAFAR_BF16, 3.38e38F, 3.4e38F},
                 {"int4", MUSTAFAR_BF16, 65280.0F, 65536.0F},
                 {"k64i4m/vdi4", MUSTAFAR_F16, 32752.0F, 32768.0F}};
    float rows[64] = {0};
    const mustafar_tensor tensor = view(rows, MUSTAFAR_F32, 1, 1, 64, 0);
    float zeros[64] = {0};
    const mustafar_tensor zero = view(zeros, MUSTAFAR_F32, 1, 1, 64, 0);
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        const mustafar_geometry geometry = make_geometry(1, 1, 1, 64, 64, cases[i].stored);
        mustafar_cache* cache =
            make_cache(context, geometry, cases[i].recipe, 100, MUSTAFAR_CACHE_AUTO);
        int sign;
        for (sign = -1; sign <= 1; sign += 2) {
            rows[9] = (float)sign * cases[i].beyond;
            EXPECT(MUSTAFAR_NON_FINITE, mustafar_cache_append(cache, 0, &tensor, &zero, 0, ERR));
            CHECK(last.values[0] == 0 && last.values[1] == 0 && last.values[2] == 0 &&
                  last.values[3] == 9);
            CHECK(length_of(cache, 0) == 0);
            rows[9] = (float)sign * cases[i].largest;
            EXPECT(MUSTAFAR_OK, mustafar_cache_append(cache, 0, &tensor, &zero, 0, ERR));
            MUST(mustafar_cache_reset(cache, ERR));
        }
        mustafar_cache_destroy(cache);
    }
}

int main(void) {
    size_t i;
    scene_begin();
    append_capacity();
    non_finite_is_refused_and_named();
    too_large_is_refused();
    for (i = 0; i < RECIPES; ++i) {
        chunks_of_any_size_give_the_bytes_of_single_appends(recipes[i]);
    }
    return scene_end("capi/append");
}
