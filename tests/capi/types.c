/* SPDX-License-Identifier: Apache-2.0
 * types.h: what is asked of tensor views, tried on append, attend, export and merge; strides of every
 * kind; the three input types. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum { TOKENS = 3, HEADS = 2, DIM = 32, ROW = HEADS * DIM };

typedef struct bad_view {
    const char* what;
    mustafar_tensor tensor;
    mustafar_status status;
    mustafar_status also; /* a second status that fits the header as well */
} bad_view;

static bad_view* bad(bad_view** at, const char* what, const mustafar_tensor* good) {
    bad_view* made = (*at)++;
    made->what = what;
    made->tensor = *good;
    made->status = made->also = MUSTAFAR_INVALID_ARGUMENT;
    return made;
}

/* Views that no call may accept where `good` would do. */
static int make_bad(bad_view* list, const mustafar_tensor* good, bool output) {
    bad_view *at = list, *made;
    int i;
    bad(&at, "data NULL", good)->tensor.data = NULL;
    if (good->dtype != MUSTAFAR_U8) {
        bad(&at, "data not aligned", good)->tensor.data = (char*)good->data + 1;
    }
    bad(&at, "dtype 0", good)->tensor.dtype = 0;
    bad(&at, "dtype unknown", good)->tensor.dtype = 99;
    bad(&at, "dtype negative", good)->tensor.dtype = -1;
    bad(&at, "dtype u8", good)->tensor.dtype = MUSTAFAR_U8;
    bad(&at, "dtype i32", good)->tensor.dtype = MUSTAFAR_I32;
    made = bad(&at, "device 1", good);
    made->tensor.device = 1;
    made->status = made->also = MUSTAFAR_UNSUPPORTED;
    made = bad(&at, "device -1", good);
    made->tensor.device = -1;
    made->status = made->also = MUSTAFAR_UNSUPPORTED;
    bad(&at, "ndim 0", good)->tensor.ndim = 0;
    bad(&at, "ndim one less", good)->tensor.ndim = good->ndim - 1;
    bad(&at, "ndim 5", good)->tensor.ndim = 5;
    bad(&at, "ndim huge", good)->tensor.ndim = UINT32_MAX;
    bad(&at, "reserved", good)->tensor.reserved = 1;
    for (i = 0; i < (int)good->ndim; ++i) {
        bad(&at, "shape 0", good)->tensor.shape[i] = 0;
        bad(&at, "shape negative", good)->tensor.shape[i] = -1;
        bad(&at, "shape least", good)->tensor.shape[i] = INT64_MIN;
        made = bad(&at, "huge shape 2^62", good);
        made->tensor.shape[i] = INT64_C(1) << 62;
        made->also = MUSTAFAR_CAPACITY;
        made = bad(&at, "huge shape 2^63 - 1", good);
        made->tensor.shape[i] = INT64_MAX;
        made->also = MUSTAFAR_CAPACITY;
        if (good->shape[i] > 1) {
            bad(&at, "stride 2^62", good)->tensor.strides[i] = INT64_C(1) << 62;
            bad(&at, "stride least", good)->tensor.strides[i] = INT64_MIN;
            bad(&at, "stride most negative", good)->tensor.strides[i] = -(INT64_MAX / 2);
            if (output) { bad(&at, "output stride 0", good)->tensor.strides[i] = 0; }
        }
    }
    made = bad(&at, "shape product beyond 2^63", good);
    made->also = MUSTAFAR_CAPACITY;
    for (i = 0; i < (int)good->ndim; ++i) { made->tensor.shape[i] = INT64_C(1) << 32; }
    return (int)(at - list);
}

static bool is_about_outputs(const bad_view* view) {
    return strcmp(view->what, "output stride 0") == 0;
}

static void refused(const bad_view* view, mustafar_status seen, const char* where) {
    CHECK_CASE(seen == view->status || seen == view->also, "%s with %s: %s: %s", where, view->what,
               mustafar_status_name(seen), last.message);
    CHECK_CASE(last.code == seen && strncmp(last.message, "mustafar_", 9) == 0,
               "%s with %s: \"%s\"", where, view->what, last.message);
}

static mustafar_context* context;

static mustafar_cache* small_cache(const char* recipe) {
    return make_cache(context, make_geometry(1, 4, HEADS, DIM, DIM, MUSTAFAR_F16), recipe, 100,
                      MUSTAFAR_CACHE_AUTO);
}

static void append_refuses(void) {
    float rows[TOKENS * ROW + 8] = {0};
    const mustafar_tensor good = view(rows, MUSTAFAR_F32, TOKENS, HEADS, DIM, 0);
    mustafar_cache* cache = small_cache("mustafar-50");
    mustafar_tensor shorter = good;
    bad_view list[80];
    blob before;
    int i, count;
    fill_rows(rows, 1, 0, TOKENS, HEADS, DIM);
    must_append(cache, 0, 1, 5, 0);
    before = snapshot_of(cache);
    count = make_bad(list, &good, false);
    for (i = 0; i < count; ++i) {
        refused(&list[i], mustafar_cache_append(cache, 0, &list[i].tensor, &good, 0, ERR),
                "append k");
        refused(&list[i], mustafar_cache_append(cache, 0, &good, &list[i].tensor, 0, ERR),
                "append v");
        refused(&list[i], mustafar_cache_append(cache, 0, &list[i].tensor, &list[i].tensor, 0, ERR),
                "append both");
    }
    shorter.shape[0] = TOKENS - 1; /* K and V of different lengths */
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_append(cache, 0, &good, &shorter, 0, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_append(cache, 0, &shorter, &good, 0, ERR));
    CHECK(unchanged(cache, &before));
    CHECK(length_of(cache, 0) == 5);
    blob_free(&before);
    mustafar_cache_destroy(cache);
}

typedef struct attend_views {
    mustafar_tensor q, sinks, out, lse, weights, dropped;
} attend_views;

static void attend_refuses(void) {
    float q[4 * DIM + 8], out[4 * DIM + 8], lse[4 + 8], weights[4 * 8 + 8], dropped[4 + 8],
        sinks[4 + 8] = {0};
    unsigned char pattern[sizeof out];
    mustafar_cache* cache = small_cache("mustafar-50");
    const mustafar_cache* caches[1];
    const attend_views good = {
        view(q, MUSTAFAR_F32, 1, 1, 4, DIM),     view(sinks, MUSTAFAR_F32, 4, 0, 0, 0),
        view(out, MUSTAFAR_F32, 1, 1, 4, DIM),   view(lse, MUSTAFAR_F32, 1, 1, 4, 0),
        view(weights, MUSTAFAR_F32, 1, 1, 4, 5), view(dropped, MUSTAFAR_F32, 1, 1, 4, 0)};
    static const char* const names[] = {"attend q",   "attend sinks",   "attend out",
                                        "attend lse", "attend weights", "attend dropped"};
    bad_view list[80];
    int which, i;
    caches[0] = cache;
    must_append(cache, 0, 1, 5, 0);
    fill_rows(q, 7, 0, 1, 4, DIM);
    memset(pattern, 0x77, sizeof pattern);
    memset(out, 0x77, sizeof out);
    memset(lse, 0x77, sizeof lse);
    memset(weights, 0x77, sizeof weights);
    memset(dropped, 0x77, sizeof dropped);
    for (which = 0; which < 6; ++which) {
        attend_views views = good;
        mustafar_tensor* const one = &views.q + which;
        const int count = make_bad(list, one, which >= 2);
        for (i = 0; i < count; ++i) {
            if (which == 4 && list[i].tensor.shape[3] > 5 && list[i].tensor.shape[0] == 1) {
                continue; /* w may be larger than the rows; that memory is there is the caller's word */
            }
            *one = list[i].tensor;
            refused(&list[i],
                    mustafar_attend(caches, 1, 0, &views.q, &views.sinks, NULL, &views.out,
                                    &views.lse, &views.weights, &views.dropped, ERR),
                    names[which]);
        }
    }
    {
        mustafar_tensor narrow = good.weights, half = good.lse;
        narrow.shape[3] = 4; /* less than the rows of a head */
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_attend(caches, 1, 0, &good.q, NULL, NULL,
                                                          &good.out, NULL, &narrow, NULL, ERR));
        half.dtype = MUSTAFAR_F16; /* a type of out, not of lse */
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_attend(caches, 1, 0, &good.q, NULL, NULL,
                                                          &good.out, &half, NULL, NULL, ERR));
    }
    CHECK(memcmp(out, pattern, sizeof out) == 0 && memcmp(lse, pattern, sizeof lse) == 0);
    CHECK(memcmp(weights, pattern, sizeof weights) == 0 &&
          memcmp(dropped, pattern, sizeof dropped) == 0);
    mustafar_cache_destroy(cache);
}

static void export_and_merge_refuse(void) {
    float values[5 * DIM + 8], a[4 * DIM + 8], lse[4 + 8] = {0};
    unsigned char pattern[sizeof values];
    mustafar_cache* cache = small_cache("mustafar-50");
    const mustafar_tensor values_view = view(values, MUSTAFAR_F32, 5, DIM, 0, 0);
    const mustafar_tensor a_view = view(a, MUSTAFAR_F32, 4, DIM, 0, 0);
    const mustafar_tensor lse_view = view(lse, MUSTAFAR_F32, 4, 0, 0, 0);
    uint8_t bitmaps[5 * DIM / 8];
    bad_view list[80];
    int i, count;
    must_append(cache, 0, 1, 5, 0);
    memset(pattern, 0x77, sizeof pattern);
    memset(values, 0x77, sizeof values);
    memset(bitmaps, 0x77, sizeof bitmaps);
    count = make_bad(list, &values_view, true);
    for (i = 0; i < count; ++i) {
        refused(&list[i],
                mustafar_cache_export(cache, 0, 0, 0, 0, 5, &list[i].tensor, bitmaps, ERR),
                "export");
    }
    CHECK(memcmp(values, pattern, sizeof values) == 0 &&
          memcmp(bitmaps, pattern, sizeof bitmaps) == 0);
    memset(a, 0, sizeof a);
#define MERGE(out_a, lse_a, out_b, lse_b, out, lse_out)                                            \
    mustafar_merge(context, out_a, lse_a, out_b, lse_b, out, lse_out, ERR)
    count = make_bad(list, &a_view, true);
    for (i = 0; i < count; ++i) {
        const mustafar_tensor* const t = &list[i].tensor;
        if (!is_about_outputs(&list[i])) {
            refused(&list[i], MERGE(t, &lse_view, &a_view, &lse_view, &a_view, &lse_view),
                    "merge out_a");
            refused(&list[i], MERGE(&a_view, &lse_view, t, &lse_view, &a_view, &lse_view),
                    "merge out_b");
        }
        refused(&list[i], MERGE(&a_view, &lse_view, &a_view, &lse_view, t, &lse_view), "merge out");
    }
    count = make_bad(list, &lse_view, true);
    for (i = 0; i < count; ++i) {
        const mustafar_tensor* const t = &list[i].tensor;
        if (!is_about_outputs(&list[i])) {
            refused(&list[i], MERGE(&a_view, t, &a_view, &lse_view, &a_view, &lse_view),
                    "merge lse_a");
            refused(&list[i], MERGE(&a_view, &lse_view, &a_view, t, &a_view, &lse_view),
                    "merge lse_b");
        }
        refused(&list[i], MERGE(&a_view, &lse_view, &a_view, &lse_view, &a_view, t), "merge lse");
    }
#undef MERGE
    mustafar_cache_destroy(cache);
}

/* ---- strides ------------------------------------------------------------------------------------ */

enum { N = 70 };
static float rows_of_test[N * ROW], changed[N * 4 * ROW];

/* The same logical rows through views of every kind give the same cache. */
static void strides_of_every_kind(mustafar_cache* cache) {
    const mustafar_tensor plain = view(rows_of_test, MUSTAFAR_F32, N, HEADS, DIM, 0);
    mustafar_tensor other = plain;
    blob reference;
    int kind;
    MUST(mustafar_cache_reset(cache, ERR));
    MUST(mustafar_cache_append(cache, 0, &plain, &plain, 0, ERR));
    reference = snapshot_of(cache);
    for (kind = 0; kind < 5; ++kind) {
        static const int64_t strides[5][4] = {
            {3 * ROW + 5, DIM + 2, 1, 0},                      /* gaps */
            {1, N, HEADS * N, 0},                              /* transposed */
            {2 * ROW, 2 * DIM, 2, 0},                          /* every second element */
            {-ROW, DIM, 1, (N - 1) * ROW},                     /* tokens backwards */
            {-2 * ROW, -DIM, -1, (N - 1) * 2 * ROW + ROW - 1}, /* everything backwards */
        };
        const int64_t* const s = strides[kind];
        int t, h, c;
        memset(changed, 0x7f, sizeof changed); /* what lies between is not to be read */
        for (t = 0; t < N; ++t) {
            for (h = 0; h < HEADS; ++h) {
                for (c = 0; c < DIM; ++c) {
                    changed[s[3] + t * s[0] + h * s[1] + c * s[2]] =
                        rows_of_test[t * ROW + h * DIM + c];
                }
            }
        }
        other.data = changed + s[3];
        memcpy(other.strides, s, 3 * sizeof *s);
        MUST(mustafar_cache_reset(cache, ERR));
        EXPECT(MUSTAFAR_OK, mustafar_cache_append(cache, 0, &other, &other, 0, ERR));
        CHECK_CASE(unchanged(cache, &reference), "kind %d", kind);
    }
    blob_free(&reference);
}

/* Stride 0: one token, one head, one element repeated. */
static void strides_of_zero(mustafar_cache* cache) {
    mustafar_tensor plain = view(changed, MUSTAFAR_F32, N, HEADS, DIM, 0), other;
    blob reference;
    int kind, t, h, c;
    for (kind = 0; kind < 3; ++kind) {
        for (t = 0; t < N; ++t) {
            for (h = 0; h < HEADS; ++h) {
                for (c = 0; c < DIM; ++c) {
                    changed[t * ROW + h * DIM + c] =
                        rows_of_test[(kind == 0 ? 0 : t) * ROW + (kind == 1 ? 0 : h) * DIM +
                                     (kind == 2 ? 0 : c)];
                }
            }
        }
        MUST(mustafar_cache_reset(cache, ERR));
        MUST(mustafar_cache_append(cache, 0, &plain, &plain, 0, ERR));
        reference = snapshot_of(cache);
        other = view(rows_of_test, MUSTAFAR_F32, N, HEADS, DIM, 0);
        other.strides[kind] = 0;
        MUST(mustafar_cache_reset(cache, ERR));
        EXPECT(MUSTAFAR_OK, mustafar_cache_append(cache, 0, &other, &other, 0, ERR));
        CHECK_CASE(unchanged(cache, &reference), "stride 0 in dimension %d", kind);
        blob_free(&reference);
    }
    /* the stride of a dimension of one element does not matter */
    MUST(mustafar_cache_reset(cache, ERR));
    other = view(rows_of_test, MUSTAFAR_F32, 1, HEADS, DIM, 0);
    other.strides[0] = INT64_MAX;
    EXPECT(MUSTAFAR_OK, mustafar_cache_append(cache, 0, &other, &other, 0, ERR));
}

/* ---- input types -------------------------------------------------------------------------------- */

/* The same numbers as f16, bf16 and f32 give the same bytes. */
static void types_of_input(mustafar_cache* cache) {
    static uint16_t f16[N * ROW], bf16[N * ROW];
    mustafar_tensor tensor = view(changed, MUSTAFAR_F32, N, HEADS, DIM, 0);
    blob reference;
    uint64_t state = 99;
    int i;
    for (i = 0; i < N * ROW; ++i) { /* few bits, so that all three types hold them */
        changed[i] = (float)((int)(random_next(&state) >> 60) - 8) / 4.0F;
        f16[i] = f16_from_float(changed[i]);
        bf16[i] = bf16_from_float(changed[i]);
    }
    MUST(mustafar_cache_reset(cache, ERR));
    MUST(mustafar_cache_append(cache, 0, &tensor, &tensor, 0, ERR));
    reference = snapshot_of(cache);
    MUST(mustafar_cache_reset(cache, ERR));
    tensor = view(f16, MUSTAFAR_F16, N, HEADS, DIM, 0);
    EXPECT(MUSTAFAR_OK, mustafar_cache_append(cache, 0, &tensor, &tensor, 0, ERR));
    CHECK(unchanged(cache, &reference));
    MUST(mustafar_cache_reset(cache, ERR));
    tensor = view(bf16, MUSTAFAR_BF16, N, HEADS, DIM, 0);
    EXPECT(MUSTAFAR_OK, mustafar_cache_append(cache, 0, &tensor, &tensor, 0, ERR));
    CHECK(unchanged(cache, &reference));
    blob_free(&reference);
}

/* f32 is rounded to what is stored, to nearest, ties to even; against a conversion of the test's own. */
static void rounding(mustafar_cache* cache, mustafar_dtype stored) {
    static float exported[N * DIM];
    const mustafar_tensor tensor = view(changed, MUSTAFAR_F32, N, HEADS, DIM, 0);
    const mustafar_tensor values = view(exported, MUSTAFAR_F32, N, DIM, 0, 0);
    uint64_t state = 7;
    uint32_t head;
    int i, wrong = 0;
    for (i = 0; i < N * ROW; ++i) {
        uint32_t bits = (uint32_t)(random_next(&state) >> 32);
        const uint32_t kind = (uint32_t)(random_next(&state) >> 62);
        changed[i] = ldexpf(random_unit(&state), (int)(bits >> 28) - 8);
        if (kind == 0) { /* exactly between two stored values */
            memcpy(&bits, &changed[i], 4);
            bits =
                stored == MUSTAFAR_F16 ? (bits & ~0x1fffu) | 0x1000u : (bits & ~0xffffu) | 0x8000u;
            changed[i] = float_from_bits(bits);
        } else if (kind == 1) { /* denormal in f16, and below */
            changed[i] = ldexpf(random_unit(&state), -14 - (int)(bits >> 28));
        }
    }
    MUST(mustafar_cache_reset(cache, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_append(cache, 0, &tensor, &tensor, 0, ERR));
    for (head = 0; head < HEADS; ++head) {
        EXPECT(MUSTAFAR_OK, mustafar_cache_export(cache, 0, head, 0, 0, N, &values, NULL, ERR));
        for (i = 0; i < N * DIM; ++i) {
            const float in = changed[i / DIM * ROW + (int)head * DIM + i % DIM];
            const float want = stored == MUSTAFAR_F16 ? f16_to_float(f16_from_float(in))
                                                      : bf16_to_float(bf16_from_float(in));
            wrong += want != exported[i]; /* the sign of a zero is not promised */
        }
    }
    CHECK_CASE(wrong == 0, "%d values rounded otherwise, stored as %s", wrong,
               mustafar_dtype_name(stored));
}

int main(void) {
    static const mustafar_dtype stored[] = {MUSTAFAR_F16, MUSTAFAR_BF16};
    mustafar_cache* cache;
    int i;
    context = make_context(1);
    append_refuses();
    attend_refuses();
    export_and_merge_refuse();
    fill_rows(rows_of_test, 5, 0, N, HEADS, DIM);
    cache = small_cache("mustafar-50-int4");
    strides_of_every_kind(cache);
    strides_of_zero(cache);
    mustafar_cache_destroy(cache);
    for (i = 0; i < 2; ++i) {
        cache = make_cache(context, make_geometry(1, HEADS, HEADS, DIM, DIM, stored[i]), "dense",
                           100, MUSTAFAR_CACHE_AUTO);
        types_of_input(cache);
        rounding(cache, stored[i]);
        mustafar_cache_destroy(cache);
    }
    CHECK(stats_of(context).caches == 0);
    mustafar_context_destroy(context);
    return check_summary("capi/types");
}
