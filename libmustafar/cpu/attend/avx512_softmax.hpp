// SPDX-License-Identifier: Apache-2.0
// Online softmax over the scores of one query row, a few tiles at a time.
#pragma once

#include "cpu/attend/avx512_vectors.hpp"

namespace mustafar::cpu {
namespace {

// Weights below e^-45 of the largest are 0: a million of them are 3e-14 of the sum. Without that their
// products would be subnormal, and each would cost an assist.
constexpr float least_exponent = -45.0F;

// e^x for x up to 80: 2^n e^r, |r| <= ln 2 / 2, Taylor to degree 6: below 2^-22 relative.
MUSTAFAR_INLINE __m512 exponential(__m512 x) {
    const __mmask16 counts = _mm512_cmp_ps_mask(x, _mm512_set1_ps(least_exponent), _CMP_GE_OQ);
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
    __m512 p = _mm512_set1_ps(1.0F / 720.0F);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 120.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 24.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 6.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    return _mm512_maskz_scalef_ps(counts, p, n);
}

// softcap * tanh(s / softcap), tanh(y) = 1 - 2 / (e^2y + 1)
MUSTAFAR_INLINE __m512 cap(__m512 s, float softcap) {
    const __m512 one = _mm512_set1_ps(1.0F);
    const __m512 y = _mm512_mul_ps(s, _mm512_set1_ps(2.0F / softcap));
    const __m512 e = exponential(_mm512_min_ps(y, _mm512_set1_ps(80.0F)));
    const __m512 t = _mm512_sub_ps(one, _mm512_div_ps(_mm512_set1_ps(2.0F), _mm512_add_ps(e, one)));
    return _mm512_mul_ps(t, _mm512_set1_ps(softcap));
}

// Scaled scores of T tiles; false where a visible one is not finite.
template <U32 T>
MUSTAFAR_INLINE bool scale_scores(float* scores, std::size_t stride, const U32* visible,
                                  const Softmax& state, Pair (&s)[T]) {
    const __m512 scale = _mm512_set1_ps(state.scale);
    const __m512 offset = _mm512_set1_ps(state.offset);
    constexpr int not_finite = 0x99; // NaN, +inf, -inf
    U32 wrong = 0;
    for (U32 t = 0; t < T; ++t) {
        const float* at = scores + t * stride;
        s[t] = {_mm512_fmadd_ps(_mm512_loadu_ps(at), scale, offset),
                _mm512_fmadd_ps(_mm512_loadu_ps(at + 16), scale, offset)};
        wrong |=
            _mm512_mask_fpclass_ps_mask(static_cast<__mmask16>(visible[t]), s[t].lo, not_finite);
        wrong |= _mm512_mask_fpclass_ps_mask(static_cast<__mmask16>(visible[t] >> 16), s[t].hi,
                                             not_finite);
    }
    if (wrong != 0) { return false; }
    for (U32 t = 0; t < T; ++t) {
        if (state.softcap != 0.0F) {
            s[t] = {cap(s[t].lo, state.softcap), cap(s[t].hi, state.softcap)};
        }
        _mm512_storeu_ps(scores + t * stride, s[t].lo);
        _mm512_storeu_ps(scores + t * stride + 16, s[t].hi);
    }
    return true;
}

template <U32 T>
MUSTAFAR_INLINE float largest_score(const Pair (&s)[T], const U32* visible) {
    __m512 best = _mm512_set1_ps(-__builtin_inff());
    for (U32 t = 0; t < T; ++t) {
        best = _mm512_mask_max_ps(best, static_cast<__mmask16>(visible[t]), best, s[t].lo);
        best = _mm512_mask_max_ps(best, static_cast<__mmask16>(visible[t] >> 16), best, s[t].hi);
    }
    return _mm512_reduce_max_ps(best);
}

template <U32 T>
inline void weigh_tiles(float* scores, float* weights, std::size_t stride, const U32* visible,
                        U32* needed, Softmax& state) {
    Pair s[T];
    if (!scale_scores<T>(scores, stride, visible, state, s)) {
        state.max = __builtin_nanf("");
        return;
    }
    const float best = largest_score<T>(s, visible); // -inf: nothing is visible
    const float max = best > state.max ? best : state.max;
    const __m512 maximum = _mm512_set1_ps(max == -__builtin_inff() ? 0.0F : max);
    __m512 sum = _mm512_setzero_ps();
    for (U32 t = 0; t < T; ++t) {
        s[t].lo = _mm512_maskz_mov_ps(static_cast<__mmask16>(visible[t]),
                                      exponential(_mm512_sub_ps(s[t].lo, maximum)));
        s[t].hi = _mm512_maskz_mov_ps(static_cast<__mmask16>(visible[t] >> 16),
                                      exponential(_mm512_sub_ps(s[t].hi, maximum)));
        sum = _mm512_add_ps(sum, _mm512_add_ps(s[t].lo, s[t].hi));
        _mm512_storeu_ps(weights + t * stride, s[t].lo);
        _mm512_storeu_ps(weights + t * stride + 16, s[t].hi);
    }
    state.correction =
        max == state.max ? 1.0F : _mm512_cvtss_f32(exponential(_mm512_set1_ps(state.max - max)));
    state.max = max;
    state.sum = state.sum * state.correction + _mm512_reduce_add_ps(sum);
    state.dropped *= state.correction;
    const __m512 least =
        _mm512_set1_ps(state.drop * state.sum); // a weight of 0 needs no value either
    for (U32 t = 0; t < T; ++t) {
        const U32 low = _mm512_cmp_ps_mask(s[t].lo, least, _CMP_GT_OQ);
        const U32 high = _mm512_cmp_ps_mask(s[t].hi, least, _CMP_GT_OQ);
        needed[t] |= low | high << 16;
    }
}

void weigh(float* scores, float* weights, std::size_t stride, U32 tiles, const U32* visible,
           U32* needed, Softmax& state) {
    if (tiles == 4) {
        weigh_tiles<4>(scores, weights, stride, visible, needed, state);
    } else if (tiles == 3) {
        weigh_tiles<3>(scores, weights, stride, visible, needed, state);
    } else if (tiles == 2) {
        weigh_tiles<2>(scores, weights, stride, visible, needed, state);
    } else {
        weigh_tiles<1>(scores, weights, stride, visible, needed, state);
    }
}
static_assert(max_step == 4);

} // namespace
} // namespace mustafar::cpu
