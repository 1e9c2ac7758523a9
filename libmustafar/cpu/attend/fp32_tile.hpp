// SPDX-License-Identifier: Apache-2.0
// Attention on one tile in fp32, eight lanes at a time, over rows as they lie. Included by one file per
// instruction set, which brings the eight lanes (struct M: Avx2, Neon); everything has internal
// linkage, so that nothing compiled for these instructions is shared with the rest of the library.
#pragma once

#include "cpu/attend/fp32_rows.hpp"

namespace mustafar::cpu {
namespace {

// Fetches evenly over `steps` steps.
class Fetch {
  public:
    MUSTAFAR_INLINE Fetch(const Ahead& ahead, const void* here, U32 steps)
        : at_(ahead.at != nullptr ? reinterpret_cast<const char*>(ahead.at)
                                  : static_cast<const char*>(here)),
          stride_(steps == 0 ? 0 : (ahead.bytes + steps - 1) / steps) {}
    MUSTAFAR_INLINE void step() {
        __builtin_prefetch(at_);
        at_ += stride_;
    }

  private:
    const char* at_; // where nothing is to be fetched: something that is there already
    std::size_t stride_;
};

// Calls use(Constant<NQ>, first query) for blocks of 1, 2 or 4 query rows.
template <class Use>
MUSTAFAR_INLINE void for_blocks(U32 n, const Use& use) {
    if (n == 1) {
        use(Constant<1>{}, 0U);
    } else if (n == 2) {
        use(Constant<2>{}, 0U);
    } else {
        for (U32 q = 0; q < n; q += 4) { use(Constant<4>{}, q); }
    }
}

// ---- scores ------------------------------------------------------------------------------------

// Queries of a block of NQ: [d / 8][NQ][8].
template <class M>
void load_queries(const float* q, U32 n, U32 d, U32, std::byte* native, float* factor) {
    auto* out = reinterpret_cast<float*>(native);
    const U32 block = n < 4 ? n : 4;
    for (U32 i = 0; i < n; ++i) {
        factor[i] = 1.0F;
        float* to = out + std::size_t{i / block * block} * d + i % block * lanes;
        for (U32 c = 0; c < d; c += lanes) {
            M::store(to + std::size_t{c} * block, M::load(q + std::size_t{i} * d + c));
        }
    }
}

// Dot products with codes become those with zero + code * scale.
template <class M, int NQ>
MUSTAFAR_INLINE void scale_scores(const Visits& visits, U32 d, const float* queries,
                                  float* scores) {
    for (U32 q = 0; q < NQ; ++q) {
        auto sum = M::zero();
        for (U32 c = 0; c < d; c += lanes) {
            sum = M::add(sum, M::load(queries + std::size_t{c} * NQ + q * lanes));
        }
        const auto all = M::set(M::reduce_add(sum));
        for (U32 slot = 0; slot < tile_rows; slot += lanes) {
            float* at = scores + q * tile_rows + slot;
            M::store(at, M::fma(M::load(at), M::load(visits.scale + slot),
                                M::mul(all, M::load(visits.zero + slot))));
        }
    }
}

template <class M, int NQ, class Source>
inline void score_block(const Visits& visits, U32 d, const float* queries, float* scores,
                        const Ahead& ahead) {
    constexpr U32 step = NQ == 4 ? 3 : 4; // rows at a time: enough sums to hide the latency
    alignas(64) float sums[tile_rows][4]; // [slot][query] of 4 query rows
    if (NQ == 4 && visits.count < tile_rows) { std::memset(sums, 0, sizeof sums); }
    if (NQ < 4) { std::memset(scores, 0, sizeof(float) * NQ * tile_rows); }
    Fetch fetch(ahead, queries, (visits.count + step - 1) / step * (d / lanes));
    for (U32 i = 0; i < visits.count; i += step) {
        Source rows[step];
        typename M::Vec sum[step][NQ];
        for (U32 r = 0; r < step; ++r) {
            rows[r].enter(visits, i + r, 0);
            for (int q = 0; q < NQ; ++q) { sum[r][q] = M::zero(); }
        }
        const float* at = queries;
        for (U32 c = 0; c < d; c += lanes, at += NQ * lanes) {
            typename M::Vec v[step];
            for (U32 r = 0; r < step; ++r) { v[r] = rows[r].next(); }
            fetch.step();
            for (U32 q = 0; q < NQ; ++q) {
                const auto x = M::once(M::load(at + q * lanes));
                for (U32 r = 0; r < step; ++r) { sum[r][q] = M::fma(v[r], x, sum[r][q]); }
            }
        }
        if constexpr (NQ == 4) {
            for (U32 r = 0; r < step; ++r) {
                M::sum4(sum[r][0], sum[r][1], sum[r][2], sum[r][3], sums[visits.slot[i + r]]);
            }
        } else {
            for (U32 q = 0; q < NQ; ++q) {
                float four[4];
                M::sum4(sum[0][q], sum[1][q], sum[2][q], sum[3][q], four);
                for (U32 r = 0; r < 4; ++r) {
                    scores[q * tile_rows + visits.slot[i + r]] = four[r];
                }
            }
        }
    }
    if constexpr (NQ == 4) {
        for (U32 slot = 0; slot < tile_rows; slot += 4) { M::split4(sums[slot], scores + slot); }
    }
    if constexpr (Source::codes) { scale_scores<M, NQ>(visits, d, queries, scores); }
}

template <class M>
void score(const Rows& k, const std::byte* native, U32 n, float* scores, const Scratch& scratch,
           const Ahead& ahead) {
    Visits visits(k.slots);
    const auto* queries = reinterpret_cast<const float*>(native);
    with_source<M>(k, n, visits, scratch, [&](auto source) {
        for_blocks(n, [&](auto count, U32 q) {
            score_block<M, decltype(count)::value, decltype(source)>(
                visits, k.d, queries + std::size_t{q} * k.d, scores + q * tile_rows,
                q == 0 ? ahead : Ahead{});
        });
    });
}

// ---- softmax -----------------------------------------------------------------------------------

// Weights below e^-45 of the largest are 0: a million of them are 3e-14 of the sum. Without that their
// products would be subnormal, and each would cost an assist.
constexpr float least_exponent = -45.0F;

// e^x for x up to 80: 2^n e^r, |r| <= ln 2 / 2, Taylor to degree 6: below 2^-22 relative.
template <class M>
MUSTAFAR_INLINE typename M::Vec exponential(typename M::Vec x) {
    const auto counts = M::at_least(x, M::set(least_exponent));
    const auto n = M::round(M::mul(x, M::set(1.44269504F)));
    auto r = M::fma(n, M::set(-0.693359375F), x);
    r = M::fma(n, M::set(2.12194440e-4F), r);
    auto p = M::set(1.0F / 720.0F);
    for (const float term : {1.0F / 120.0F, 1.0F / 24.0F, 1.0F / 6.0F, 0.5F, 1.0F, 1.0F}) {
        p = M::fma(p, r, M::set(term));
    }
    return M::keep(counts, M::mul(p, M::power2(n)));
}

// softcap * tanh(s / softcap), tanh(y) = 1 - 2 / (e^2y + 1)
template <class M>
MUSTAFAR_INLINE typename M::Vec cap(typename M::Vec s, float softcap) {
    const auto y = M::min(M::mul(s, M::set(2.0F / softcap)), M::set(80.0F));
    const auto t = M::div(M::set(2.0F), M::add(exponential<M>(y), M::set(1.0F)));
    return M::mul(M::sub(M::set(1.0F), t), M::set(softcap));
}

// Scaled scores of one tile, and their largest; false where a visible one is not finite.
template <class M>
MUSTAFAR_INLINE bool scale_scores_of(float* scores, U32 visible, const Softmax& state,
                                     typename M::Vec& best) {
    U32 finite = 0;
    for (U32 i = 0; i < tile_rows / lanes; ++i) {
        const auto seen = M::mask((visible >> (i * lanes)) & 0xFFU);
        auto s = M::fma(M::load(scores + i * lanes), M::set(state.scale), M::set(state.offset));
        finite |= M::bits(M::equal(M::sub(s, s), M::zero())) << (i * lanes);
        if (state.softcap != 0.0F) { s = cap<M>(s, state.softcap); }
        M::store(scores + i * lanes, s);
        best = M::max(best, M::select(seen, s, M::set(-__builtin_inff())));
    }
    return (visible & ~finite) == 0;
}

template <class M>
void weigh(float* scores, float* weights, std::size_t stride, U32 tiles, const U32* visible,
           U32* needed, Softmax& state) {
    auto best = M::set(-__builtin_inff());
    for (U32 t = 0; t < tiles; ++t) {
        if (!scale_scores_of<M>(scores + t * stride, visible[t], state, best)) {
            state.max = __builtin_nanf("");
            return;
        }
    }
    const float largest = M::reduce_max(best); // -inf: nothing is visible
    const float max = largest > state.max ? largest : state.max;
    const auto maximum = M::set(max == -__builtin_inff() ? 0.0F : max);
    state.correction = max == state.max ? 1.0F : M::first(exponential<M>(M::set(state.max - max)));
    auto sum = M::zero();
    for (U32 t = 0; t < tiles; ++t) {
        for (U32 i = 0; i < tile_rows; i += lanes) {
            const auto s = M::load(scores + t * stride + i);
            const auto w =
                M::keep(M::mask((visible[t] >> i) & 0xFFU), exponential<M>(M::sub(s, maximum)));
            sum = M::add(sum, w);
            M::store(weights + t * stride + i, w);
        }
    }
    state.max = max;
    state.sum = state.sum * state.correction + M::reduce_add(sum);
    state.dropped *= state.correction;
    const auto least = M::set(state.drop * state.sum); // a weight of 0 needs no value either
    for (U32 t = 0; t < tiles; ++t) {
        for (U32 i = 0; i < tile_rows; i += lanes) {
            needed[t] |= M::bits(M::above(M::load(weights + t * stride + i), least)) << i;
        }
    }
}

// ---- values ------------------------------------------------------------------------------------

// One pass over the needed rows: S times eight channels from `first` on. `base` is in every channel.
template <class M, int NQ, int S, class Source>
inline void value_pass(Visits& visits, U32 first, const float* weights, const float* base,
                       const Softmax* states, float* out, U32 out_stride, Fetch& fetch) {
    typename M::Vec sums[NQ][S];
    for (int q = 0; q < NQ; ++q) {
        for (int s = 0; s < S; ++s) { sums[q][s] = M::broadcast(base + q); }
    }
    for (U32 i = 0; i < visits.count; ++i) {
        Source row;
        row.enter(visits, i, first);
        typename M::Vec v[S];
        for (int s = 0; s < S; ++s) { v[s] = row.next(); }
        row.leave(visits, i);
        const float* of_slot = weights + visits.slot[i];
        for (U32 q = 0; q < NQ; ++q) {
            const auto w = M::broadcast(of_slot + q * tile_rows);
            for (int s = 0; s < S; ++s) { sums[q][s] = M::fma(v[s], w, sums[q][s]); }
        }
        fetch.step();
    }
    for (U32 q = 0; q < NQ; ++q) {
        const auto correction = M::set(states[q].correction);
        for (U32 s = 0; s < S; ++s) {
            float* at = out + q * out_stride + first + s * lanes;
            M::store(at, M::fma(M::load(at), correction, sums[q][s]));
        }
    }
}

// sum w (zero + code * scale) = sum (w * scale) code + sum w * zero
template <class M, int NQ>
MUSTAFAR_INLINE void scale_weights(const Visits& visits, const float* weights, float* scaled,
                                   float* base) {
    for (U32 q = 0; q < NQ; ++q) {
        auto sum = M::zero();
        for (U32 slot = 0; slot < tile_rows; slot += lanes) {
            const auto needed = M::mask((visits.slots >> slot) & 0xFFU);
            const auto w = M::load(weights + q * tile_rows + slot);
            M::store(scaled + q * tile_rows + slot, M::mul(w, M::load(visits.scale + slot)));
            sum = M::add(sum, M::keep(needed, M::mul(w, M::load(visits.zero + slot))));
        }
        base[q] = M::reduce_add(sum);
    }
}

// Several blocks share the visits of rows that are in L1, which keep their starts.
template <class M, int NQ, class Source>
inline void value_block(Visits& visits, U32 d, const float* weights, const Softmax* states,
                        float* out, U32 out_stride, const Ahead& ahead) {
    constexpr U32 most = NQ == 4 ? 3 : 4; // sums in registers
    alignas(64) float scaled[NQ * tile_rows];
    float base[NQ] = {};
    if constexpr (Source::codes) {
        scale_weights<M, NQ>(visits, weights, scaled, base);
        weights = scaled;
    }
    Fetch fetch(ahead, weights, visits.count * ((d / lanes + most - 1) / most));
    for (U32 first = 0; first < d;) {
        const U32 left = (d - first) / lanes;
        const U32 step = left < most ? left : most;
        const auto pass = [&](auto count) {
            value_pass<M, NQ, decltype(count)::value, Source>(visits, first, weights, base, states,
                                                              out, out_stride, fetch);
        };
        if (step == 1) {
            pass(Constant<1>{});
        } else if (step == 2) {
            pass(Constant<2>{});
        } else if (step == 3) {
            pass(Constant<3>{});
        } else if constexpr (most > 3) {
            pass(Constant<4>{});
        }
        first += step * lanes;
    }
}

template <class M>
void add_values(const Rows& v, const float* weights, U32 n, U32 needed, const Softmax* states,
                float* out, U32 out_stride, const Scratch& scratch, const Ahead& ahead) {
    Visits visits(needed);
    with_source<M>(v, n, visits, scratch, [&](auto source) {
        for_blocks(n, [&](auto count, U32 q) {
            value_block<M, decltype(count)::value, decltype(source)>(
                visits, v.d, weights + q * tile_rows, states + q, out + std::size_t{q} * out_stride,
                out_stride, q == 0 ? ahead : Ahead{});
        });
    });
}

template <class M>
constexpr TileOps tile_ops = {load_queries<M>, score<M>, weigh<M>, add_values<M>};

} // namespace
} // namespace mustafar::cpu
