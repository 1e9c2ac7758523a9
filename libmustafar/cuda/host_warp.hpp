// SPDX-License-Identifier: Apache-2.0
// A warp as the host runs it: 32 lanes, one after the other. Collective operations do what the PTX
// manual says of their lanes (9.7.14 for mma and ldmatrix), so a wrong fragment is a wrong number
// here.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/half.hpp"
#include "cuda/lanes.hpp"

namespace mustafar::cuda {

struct HostWarp {
    static constexpr unsigned lanes = warp_lanes;
    template <class T>
    using Each = Lanes<HostWarp, T>;

    template <class F>
    static void each(const F& f) {
        for (unsigned i = 0; i < lanes; ++i) { f(i); }
    }
    static unsigned lane(unsigned i) { return i; }
    static void sync() {}

    // ---- together ------------------------------------------------------------------------------
    static std::uint32_t ballot(const Each<bool>& x) {
        std::uint32_t word = 0;
        each([&](unsigned i) { word |= std::uint32_t{x[i]} << i; });
        return word;
    }
    template <class T>
    static Each<T> shuffle_xor(const Each<T>& x, unsigned mask) {
        Each<T> out;
        each([&](unsigned i) { out[i] = x[i ^ mask]; });
        return out;
    }
    template <class T>
    static T broadcast(const Each<T>& x, unsigned from) {
        return x[from];
    }

    // ---- copies that go on while the warp works; here they are done at once --------------------
    static void copy_async16(std::byte* to, const std::byte* from) { std::memcpy(to, from, 16); }
    static void commit_copies() {}
    template <unsigned pending>
    static void wait_copies() {}

    // ---- arithmetic of one lane ----------------------------------------------------------------
    static unsigned popcount(std::uint32_t x) { return static_cast<unsigned>(std::popcount(x)); }
    static float f16_to_f32(std::uint16_t x) { return mustafar::f16_to_f32(x); }
    static float bf16_to_f32(std::uint16_t x) { return mustafar::bf16_to_f32(x); }
    static std::uint16_t f32_to_f16(float x) { return mustafar::f32_to_f16(x); }
    static std::uint16_t f32_to_bf16(float x) { return mustafar::f32_to_bf16(x); }
    static std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
    static float divide(float a, float b) { return a / b; }
    static float subtract(float a, float b) { return a - b; }
    static float multiply(float a, float b) { return a * b; }
    static float round(float x) { return std::nearbyint(x); }
    static float exp2(float x) { return std::exp2(x); }
    static float log2(float x) { return std::log2(x); }
    static float tanh(float x) { return std::tanh(x); }
    static float scale_by_power(float x, int power) { return std::ldexp(x, power); }
    static int exponent(float x) { // of 0.5 <= |x| / 2^e < 1; 0 for 0
        int e = 0;
        std::frexp(x, &e);
        return e;
    }
    static void flag(std::uint32_t* word) { *word = 1; }

    // ---- matrices ------------------------------------------------------------------------------
    // ldmatrix.x4 [.trans]: four 8 x 8 matrices of halves; lane i gives the address of row i % 8 of
    // matrix i / 8.
    template <bool transposed>
    static void load_matrices(const Each<const std::byte*>& rows, Each<std::uint32_t> (&out)[4]) {
        const auto half = [&](unsigned matrix, unsigned row, unsigned column) {
            std::uint16_t x = 0;
            std::memcpy(&x, rows[matrix * 8 + row] + column * 2, 2);
            return std::uint32_t{x};
        };
        for (unsigned m = 0; m < 4; ++m) {
            each([&](unsigned i) {
                const unsigned a = i / 4, b = i % 4 * 2;
                out[m][i] = transposed ? half(m, b, a) | half(m, b + 1, a) << 16
                                       : half(m, a, b) | half(m, a, b + 1) << 16;
            });
        }
    }
    // mma.m16n8k16, f16 or bf16 times the same, sums in f32:  c += a b.
    template <bool bf16>
    static void multiply_add(Each<float> (&c)[4], const Each<std::uint32_t> (&a)[4],
                             const Each<std::uint32_t>& b0, const Each<std::uint32_t>& b1) {
        float left[16][16], right[16][8];
        const auto value = [](std::uint32_t pair, unsigned which) {
            const auto half = static_cast<std::uint16_t>(pair >> (16 * which));
            return bf16 ? bf16_to_f32(half) : f16_to_f32(half);
        };
        each([&](unsigned i) {
            const unsigned g = i / 4, t = i % 4 * 2;
            for (unsigned w = 0; w < 2; ++w) {
                for (unsigned r = 0; r < 4; ++r) {
                    left[g + r % 2 * 8][t + w + r / 2 * 8] = value(a[r][i], w);
                }
                right[t + w][g] = value(b0[i], w);
                right[t + w + 8][g] = value(b1[i], w);
            }
        });
        each([&](unsigned i) {
            for (unsigned r = 0; r < 4; ++r) {
                const unsigned row = i / 4 + r / 2 * 8, column = i % 4 * 2 + r % 2;
                float sum = c[r][i];
                for (unsigned k = 0; k < 16; ++k) { sum += left[row][k] * right[k][column]; }
                c[r][i] = sum;
            }
        });
    }
};

} // namespace mustafar::cuda
