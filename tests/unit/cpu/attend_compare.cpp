// SPDX-License-Identifier: Apache-2.0
#include "cpu/attend_compare.hpp"

namespace mustafar::test {

Tensor queries(const AttendCase& one, const std::vector<Cache::Handle>& caches) {
    const Geometry& g = one.geometry;
    Tensor q(one.q_input,
             {static_cast<std::int64_t>(caches.size()), one.q_len, g.q_heads, g.head_dim_k},
             one.seed | 1U);
    std::vector<float> values = Random(one.seed + 1).values(q.count(), -1.5F, 1.5F);
    if (one.values == Values::peaked || one.values == Values::huge) {
        const double wanted = one.values == Values::huge ? 3.0 : 80.0;
        std::size_t row = 0;
        for (const auto& cache : caches) {
            std::vector<HeadRows> heads;
            for (std::uint32_t h = 0; h < g.kv_heads; ++h) { heads.emplace_back(*cache, h); }
            for (std::uint32_t i = 0; i < one.q_len * g.q_heads; ++i, ++row) {
                float* at = &values[row * g.head_dim_k];
                const double dot = heads[i % g.q_heads / one.group()].largest_dot(at);
                const double factor = dot > 0.0 ? wanted / (dot * scale_of(one)) : 1.0;
                for (std::uint32_t c = 0; c < g.head_dim_k; ++c) {
                    at[c] = static_cast<float>(at[c] * factor);
                }
            }
        }
    }
    if (one.values == Values::flat) { std::fill(values.begin(), values.end(), 0.0F); }
    q.fill(values);
    return q;
}

} // namespace mustafar::test
