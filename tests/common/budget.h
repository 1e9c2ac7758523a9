/* SPDX-License-Identifier: Apache-2.0
 *
 * How far attention of one backend may lie from the same attention in exact arithmetic. The only place
 * that says so: unit, C, property and experiment tests ask here. C99, nothing but the standard library.
 *
 * Rounding moves a scaled score s by a share of its size, and its weight e^(s - lse) by as much: what
 * holds for flat scores grows in proportion once the largest size, score_size(), is beyond `flat`. */
#ifndef TESTS_COMMON_BUDGET_H
#define TESTS_COMMON_BUDGET_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* What a recipe and a geometry let a fast row do; all false where the recipe asks for precise. */
typedef struct attend_freedom {
    bool half;        /* rows are stored in f16 */
    bool key_codes;   /* K of dense rows of 4 or 2 bits with one scale and zero each */
    bool value_codes; /* V of such rows */
} attend_freedom;

typedef struct attend_budget {
    const char* backend; /* NULL: every other one */
    bool half;           /* only with that freedom */
    double out;          /* relative to the size of an output: output_size() */
    double lse;          /* absolute */
    double weight;       /* relative, of each weight */
    double flat;         /* size of scores up to which the three hold as they stand */
    double one_sign; /* `out` times this where all terms of a sum are alike: they round one way */
    double tail;     /* of the largest |v|: what small weights may lose */
    double unit;     /* absolute, of outputs: values too small for the arithmetic */
} attend_budget;

static const attend_budget attend_budgets[] = {
    /* Everything in double; the outputs are rounded to float, 2^-24. */
    {"ref", false, 1e-6, 1e-6, 1e-6, HUGE_VAL, 1, 0, 1e-30},
    /* fp16 FMA: a score is chains of 16 products, at worst 16 steps of 2^-12 that round one way: 4e-3 of
     * its size, hence 8e-3 at size 2; an output is chains of 32 products. Weights of a tile are halves of
     * its sum: 2^-24 of it is the smallest step, and so it is of values below 2^-14. These bounds are of
     * the worst element of the worst program; relative L2 errors of whole outputs stay below 2e-3. */
    {"avx512fp16", true, 8e-3, 8e-3, 2e-2, 2, 2, 1e-6, 4e-6},
    /* Queries, weights and decoded values are halves, sums are fp32. A score is off by at most twice
     * 2^-11 of its terms: 2e-3 of its size, hence 4e-3 at size 2; in bf16 it is 2^-9, four times that.
     * Weights count down to 2^-40 of the largest of a split. */
    {"cuda", true, 2e-3, 4e-3, 8e-3, 2, 2, 1e-9, 1e-7},
    {"cuda", false, 8e-3, 1.6e-2, 3.2e-2, 2, 2, 1e-16, 1e-7},
    /* Each operand is two halves: 2^-22 in f16, 2^-17 in bf16. */
    {"cuda precise", false, 1e-4, 1e-4, 2e-4, 2, 2, 1e-9, 1e-7},
    /* The same in 8 lanes, sums in fewer chains. */
    {"avx2", false, 6e-5, 6e-5, 6e-5, 16, 1, 1e-6, 1e-30},
    /* fp32 FMA, some hundred steps of 2^-24; e^x by a polynomial, 2^-22. Weights below e^-45 are 0.
     * A quantized value is zero + code * scale; the sums of both parts may cancel, hence the tail. */
    {NULL, false, 2e-5, 2e-5, 2e-5, 16, 1, 1e-6, 1e-30},
};

static inline double budget_more(double a, double b) { return a > b ? a : b; }

static inline attend_budget attend_budget_of(const char* backend, attend_freedom freedom) {
    size_t i = 0;
    attend_budget budget;
    while (attend_budgets[i].backend != NULL && (strcmp(attend_budgets[i].backend, backend) != 0 ||
                                                 (attend_budgets[i].half && !freedom.half))) {
        ++i;
    }
    budget = attend_budgets[i];
    if (strncmp(backend, "avx512", 6) != 0) { return budget; }
    if (freedom
            .key_codes) { /* queries in 16 bits of their largest element, codes from the lowest value */
        budget.out = budget_more(budget.out, 4e-3);
        budget.lse = budget_more(budget.lse, 4e-3);
        budget.weight = budget_more(budget.weight, 8e-3);
        budget.flat = budget.flat < 2 ? budget.flat : 2;
    }
    if (freedom.value_codes) { /* weights times scale in 8 bits of the largest of a tile */
        budget.out = budget_more(budget.out, 2.5e-2);
        /* Codes count from the lowest value of a row: 32 weights, each off by up to half a step of 1/255 of
         * the largest, times codes of half the range on average: 0.6 % (one sigma) of the largest value. */
        budget.tail = budget_more(budget.tail, 2e-2);
    }
    return budget;
}

/* `score`: of one row, scaled; `terms`: the same of the magnitudes of its products, which may cancel. */
static inline double score_size(double score, double terms) {
    return fabs(score) > terms / 2 ? fabs(score) : terms / 2;
}

/* What the three relative bounds are multiplied by; `score`: the largest score_size(). */
static inline double budget_factor(const attend_budget* budget, double score) {
    return score > budget->flat ? score / budget->flat : 1.0;
}

/* The size that errors of an output are relative to: itself, or what is left of its terms where they
 * cancel. `squares`: the sum of the squares of (weight * value). */
static inline double output_size(double out, double squares) { return sqrt(out * out + squares); }

/* A weight is e^(score - lse): what moves a score by x multiplies it by e^x, not by 1 + x, and with it
 * what it adds to an output. */
static inline double moved_weights(double share) { return expm1(share < 700.0 ? share : 700.0); }

static inline double weight_room(const attend_budget* budget, double factor, double weight) {
    return weight * moved_weights(budget->weight * factor);
}

/* The share of the size of an output that its error may have. */
static inline double out_share(const attend_budget* budget, double factor) {
    return moved_weights(budget->out * factor);
}

static inline double lse_room(const attend_budget* budget, double score, double lse) {
    return budget->lse * budget_factor(budget, score) + 1.2e-7 * fabs(lse); /* it is a float */
}

#endif
