// SPDX-License-Identifier: Apache-2.0
// Online softmax over one tile's scores of one query row.
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

U32 weigh(float* scores, float* weights, U32 visible, Softmax& state) {
    const auto low = static_cast<__mmask16>(visible);
    const auto high = static_cast<__mmask16>(visible >> 16);
    const __m512 scale = _mm512_set1_ps(state.scale);
    const __m512 offset = _mm512_set1_ps(state.offset);
    Pair s{_mm512_fmadd_ps(_mm512_loadu_ps(scores), scale, offset),
           _mm512_fmadd_ps(_mm512_loadu_ps(scores + 16), scale, offset)};
    constexpr int not_finite = 0x99; // NaN, +inf, -inf
    if ((_mm512_mask_fpclass_ps_mask(low, s.lo, not_finite) |
         _mm512_mask_fpclass_ps_mask(high, s.hi, not_finite)) != 0) {
        state.max = __builtin_nanf("");
        return 0;
    }
    if (state.softcap != 0.0F) { s = {cap(s.lo, state.softcap), cap(s.hi, state.softcap)}; }
    _mm512_storeu_ps(scores, s.lo);
    _mm512_storeu_ps(scores + 16, s.hi);
    if (visible == 0) {
        _mm512_storeu_ps(weights, _mm512_setzero_ps());
        _mm512_storeu_ps(weights + 16, _mm512_setzero_ps());
        state.correction = 1.0F;
        return 0;
    }
    const __m512 least = _mm512_set1_ps(-__builtin_inff());
    const float tile = _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_mask_mov_ps(least, low, s.lo), _mm512_mask_mov_ps(least, high, s.hi)));
    const float max = tile > state.max ? tile : state.max;
    const __m512 maximum = _mm512_set1_ps(max);
    const Pair w{_mm512_maskz_mov_ps(low, exponential(_mm512_sub_ps(s.lo, maximum))),
                 _mm512_maskz_mov_ps(high, exponential(_mm512_sub_ps(s.hi, maximum)))};
    state.correction =
        max == state.max ? 1.0F : _mm512_cvtss_f32(exponential(_mm512_set1_ps(state.max - max)));
    state.max = max;
    state.sum = state.sum * state.correction + _mm512_reduce_add_ps(_mm512_add_ps(w.lo, w.hi));
    state.dropped *= state.correction;
    _mm512_storeu_ps(weights, w.lo);
    _mm512_storeu_ps(weights + 16, w.hi);
    const __m512 least_needed = _mm512_set1_ps(state.drop * state.sum);
    constexpr int compare = _CMP_GT_OQ; // a weight of 0 needs no value either
    return _mm512_mask_cmp_ps_mask(low, w.lo, least_needed, compare) |
           static_cast<U32>(_mm512_mask_cmp_ps_mask(high, w.hi, least_needed, compare)) << 16;
}

} // namespace
} // namespace mustafar::cpu
