// SPDX-License-Identifier: Apache-2.0
// Raw scores of a tile: K by columns, 32 tokens in 32 lanes, up to 4 query rows from registers.
#pragma once

#include "cpu/attend/avx512_codes.hpp"
#include "cpu/attend/avx512_rows.hpp"

namespace mustafar::cpu {
namespace {

// A source yields the 32 tokens' values of channel 0, 1, 2, ...

template <class M>
struct NativeColumns {
    const typename M::Native* at;
    MUSTAFAR_INLINE typename M::Vec next(U32) {
        const auto v = M::load(at);
        at += 32;
        return v;
    }
};

template <class M>
struct DenseWords { // 16 bits, nothing pruned
    const std::byte* at;
    bool bf16;
    MUSTAFAR_INLINE typename M::Vec next(U32) {
        const auto v = M::from_words(load_words(at), bf16);
        at += 64;
        return v;
    }
};

template <class M>
struct SparseWords { // 16 bits
    const std::byte* masks;
    const std::byte* at;
    bool bf16;
    MUSTAFAR_INLINE typename M::Vec next(U32 channel) {
        const Mask mask = bits_at(masks + channel * 4);
        const auto v = M::from_words(_mm512_maskz_expand_epi16(mask, load_words(at)), bf16);
        at += std::size_t{count_bits(mask)} * 2;
        return v;
    }
};

template <class M>
struct SparseCodes { // codes that keep_codes made, one after the other
    const std::byte* masks;
    const std::byte* at;
    Affine<M> affine; // of the 32 tokens
    MUSTAFAR_INLINE typename M::Vec next(U32 channel) {
        const Mask mask = bits_at(masks + channel * 4);
        const auto x = M::kept_codes(_mm512_maskz_expand_epi16(mask, load_words(at)));
        at += std::size_t{count_bits(mask)} * 2;
        return M::fma_where(mask, x, affine.scale, affine.zero);
    }
};

template <class M, int Bits>
struct DenseCodes {
    const std::byte* codes;
    Affine<M> affine;
    MUSTAFAR_INLINE typename M::Vec next(U32 channel) {
        return M::fma(M::from_codes(codes_at<Bits>(codes, channel)), affine.scale, affine.zero);
    }
};

// scores[q][32] = sum over channels; queries are [d][NQ]. Two sets of sums hide the latency; they are
// added to fp32 sums every 32 channels.
template <class M, int NQ, class Source>
inline void score_columns(Source source, U32 d, const typename M::Native* queries, float* scores,
                          const Ahead& ahead) {
    Fetch fetch(ahead, d / 2);
    Pair total[NQ];
    for (int q = 0; q < NQ; ++q) { total[q] = {_mm512_setzero_ps(), _mm512_setzero_ps()}; }
    for (U32 first = 0; first < d; first += 32) {
        const U32 end = first + 32 < d ? first + 32 : d;
        typename M::Vec even[NQ];
        typename M::Vec odd[NQ];
        for (int q = 0; q < NQ; ++q) { even[q] = odd[q] = M::zero(); }
        for (U32 c = first; c < end; c += 2) { // d is a multiple of 8
            const auto a = source.next(c);
            for (int q = 0; q < NQ; ++q) {
                even[q] = M::fma(a, M::broadcast(queries + c * NQ + q), even[q]);
            }
            const auto b = source.next(c + 1);
            for (int q = 0; q < NQ; ++q) {
                odd[q] = M::fma(b, M::broadcast(queries + (c + 1) * NQ + q), odd[q]);
            }
            fetch.step();
        }
        for (int q = 0; q < NQ; ++q) {
            const Pair x =
                M::to_f32(even[q]); // added in fp16 they would cost a third of the accuracy
            const Pair y = M::to_f32(odd[q]);
            total[q].lo = _mm512_add_ps(total[q].lo, _mm512_add_ps(x.lo, y.lo));
            total[q].hi = _mm512_add_ps(total[q].hi, _mm512_add_ps(x.hi, y.hi));
        }
    }
    for (int q = 0; q < NQ; ++q) {
        _mm512_storeu_ps(scores + q * 32, total[q].lo);
        _mm512_storeu_ps(scores + q * 32 + 16, total[q].hi);
    }
}

template <class M, class Source>
inline void score_queries(Source source, U32 d, const std::byte* native, U32 n, float* scores,
                          const Scratch& scratch, const Ahead& ahead) {
    const auto* queries = reinterpret_cast<const typename M::Native*>(native);
    if (n == 1) {
        score_columns<M, 1>(source, d, queries, scores, ahead);
    } else if (n == 2) {
        score_columns<M, 2>(source, d, queries, scores, ahead);
    } else if (n == 4) {
        score_columns<M, 4>(source, d, queries, scores, ahead);
    } else {
        auto* columns = reinterpret_cast<typename M::Native*>(scratch.columns);
        Fetch fetch(ahead, d);
        for (U32 c = 0; c < d; ++c) {
            M::store(columns + c * 32, source.next(c));
            fetch.step();
        }
        for (U32 q = 0; q < n; q += 4) {
            score_columns<M, 4>(NativeColumns<M>{columns}, d, queries + std::size_t{q} * d,
                                scores + q * 32, Ahead{});
        }
    }
}

template <class M>
inline void score_codes(const Rows& k, const std::byte* native, U32 n, float* scores,
                        const Scratch& scratch, const Ahead& ahead) {
    const PairWords words = split_pairs(k.meta);
    const Affine<M> affine{M::from_f16(words.scale), M::from_f16(words.zero)};
    with_bits(k.bits, [&](auto bits) {
        constexpr int Bits = decltype(bits)::value;
        if (k.bitmaps == nullptr) {
            score_queries<M>(DenseCodes<M, Bits>{k.codes, affine}, k.d, native, n, scores, scratch,
                             ahead);
            return;
        }
        for (U32 i = 0; i < k.keep; ++i) { // 32 rows of `keep` codes
            _mm512_storeu_si512(scratch.codes + i * 64, M::keep_codes(codes_at<Bits>(k.codes, i)));
        }
        score_queries<M>(SparseCodes<M>{k.bitmaps, scratch.codes, affine}, k.d, native, n, scores,
                         scratch, ahead);
    });
}

template <class M>
void score(const Rows& k, const std::byte* native, U32 n, float* scores, const Scratch& scratch,
           const Ahead& ahead) {
    if (M::codes && has_code_rows(k)) {
        auto* queries = const_cast<std::byte*>(native);
        if (k.bits == 4) {
            score_codes_of<4>(k, queries, n, scores, ahead);
        } else {
            score_codes_of<2>(k, queries, n, scores, ahead);
        }
        return;
    }
    if (k.form == Rows::Form::columns && k.bits != 16) {
        score_codes<M>(k, native, n, scores, scratch, ahead);
    } else if (k.form == Rows::Form::columns && k.bitmaps != nullptr) {
        score_queries<M>(SparseWords<M>{k.bitmaps, k.codes, k.bf16}, k.d, native, n, scores,
                         scratch, ahead);
    } else if (k.form == Rows::Form::columns) {
        score_queries<M>(DenseWords<M>{k.codes, k.bf16}, k.d, native, n, scores, scratch, ahead);
    } else {
        const U32 stride = expand_tile<M>(k, k.slots, true, scratch);
        auto* columns = reinterpret_cast<typename M::Native*>(scratch.columns);
        M::to_columns(reinterpret_cast<const typename M::Native*>(scratch.rows), stride, k.d,
                      columns);
        const auto* queries = reinterpret_cast<const typename M::Native*>(native);
        if (n < 4) {
            score_queries<M>(NativeColumns<M>{columns}, k.d, native, n, scores, scratch, ahead);
            return;
        }
        for (U32 q = 0; q < n; q += 4) {
            score_columns<M, 4>(NativeColumns<M>{columns}, k.d, queries + std::size_t{q} * k.d,
                                scores + q * 32, q == 0 ? ahead : Ahead{});
        }
    }
}

} // namespace
} // namespace mustafar::cpu
