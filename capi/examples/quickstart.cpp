// SPDX-License-Identifier: Apache-2.0
// The smallest use from C++20: a cache, 1000 tokens of keys and values, one query.
#include <cstdio>
#include <random>
#include <vector>

#include <mustafar/mustafar.hpp>

int main() try {
    constexpr int tokens = 1000, q_heads = 8, kv_heads = 2, d = 128;
    std::vector<float> k(tokens * kv_heads * d), v(k.size()), out(q_heads * d);
    std::mt19937 random;
    std::uniform_real_distribution<float> uniform(-0.5F, 0.5F);
    for (float& x : k) { x = uniform(random); }
    for (float& x : v) { x = uniform(random) + 0.5F; }

    const mustafar::Context context;
    const mustafar::Geometry geometry = {
        .layers = 1, .q_heads = q_heads, .kv_heads = kv_heads, .head_dim_k = d};
    // lean: half of every key at 4 bits, all of every value at 2
    mustafar::Cache cache(context, geometry, mustafar::Recipe("lean"), {.max_tokens = 4096});
    cache.append(0, mustafar::f32(k, {tokens, kv_heads, d}),
                 mustafar::f32(v, {tokens, kv_heads, d}));
    mustafar::attend({&cache}, 0, mustafar::f32(k, {1, 1, q_heads, d}),
                     mustafar::f32(out, {1, 1, q_heads, d}));
    std::printf("out[0] = %.4f; %llu bytes, dense f16 takes %llu; %s\n",
                static_cast<double>(out[0]), static_cast<unsigned long long>(cache.bytes().total),
                static_cast<unsigned long long>(cache.stats().dense_bytes),
                cache.stats().attend_kernel);
    return 0;
} catch (const mustafar::Error& error) {
    std::fprintf(stderr, "%s: %s\n", error.name(), error.what());
    return 1;
}
