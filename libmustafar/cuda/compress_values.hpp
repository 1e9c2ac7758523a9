// SPDX-License-Identifier: Apache-2.0
// What compress computes of one element or one group of them, alike for rows and columns: the value that
// is packed, the key that ranks it, scale and zero, and codes. docs/format.md, section 2.
#pragma once

#include "cuda/compress_job.hpp"

namespace mustafar::cuda {

struct AffineHalves { // scale and zero as they are stored, f16
    std::uint16_t scale = 0, zero = 0;
};

template <class W>
class CompressValues {
  public:
    MUSTAFAR_WARP explicit CompressValues(const CompressJob& job) : job_(job) {}

    MUSTAFAR_WARP std::uint16_t half(std::uint32_t row, unsigned c) const {
        return job_.first[static_cast<std::int64_t>(row) * job_.stride + c];
    }
    MUSTAFAR_WARP bool finite(std::uint16_t half) const {
        return (half & 0x7FFFU) < (job_.bf16 != 0 ? 0x7F80U : 0x7C00U);
    }
    MUSTAFAR_WARP float value(std::uint16_t half, unsigned c) const {
        const float x = job_.bf16 != 0 ? W::bf16_to_f32(half) : W::f16_to_f32(half);
        return job_.centre != nullptr ? W::subtract(x, job_.centre[c]) : x;
    }

    // Keys order magnitudes: bits of halves where nothing is done to them, else of floats. At least 0.
    MUSTAFAR_WARP bool halves_rank() const {
        return job_.centre == nullptr && job_.channel_weights == nullptr &&
               job_.token_weights == nullptr && job_.rule != Survivors::threshold;
    }
    MUSTAFAR_WARP int highest_bit() const { return halves_rank() ? 14 : 30; }
    MUSTAFAR_WARP std::int32_t key(std::uint16_t half, float x, std::uint32_t row,
                                   unsigned c) const {
        if (halves_rank()) { return static_cast<std::int32_t>(half & 0x7FFFU); }
        x = x < 0.0F ? -x : x;
        if (job_.channel_weights != nullptr) { x = W::multiply(x, job_.channel_weights[c]); }
        if (job_.token_weights != nullptr) { x = W::multiply(x, job_.token_weights[row]); }
        return static_cast<std::int32_t>(W::bits_of(x) & 0x7FFFFFFFU);
    }

    // Of values from `least` to `most`. Zeros of either sign are one.
    MUSTAFAR_WARP AffineHalves fit(float least, float most) const {
        const float range = W::subtract(most, least);
        const auto levels = static_cast<float>((1U << job_.bits) - 1U);
        const std::uint16_t zero = W::f32_to_f16(least);
        return {static_cast<std::uint16_t>(W::f32_to_f16(W::divide(range, levels)) & 0x7FFFU),
                zero == 0x8000U ? std::uint16_t{0} : zero};
    }
    MUSTAFAR_WARP std::uint8_t encode(float x, const AffineHalves& affine) const {
        const float scale = W::f16_to_f32(affine.scale);
        if (scale == 0.0F) { return 0; }
        const float most = static_cast<float>((1U << job_.bits) - 1U);
        const float level = W::round(W::divide(W::subtract(x, W::f16_to_f32(affine.zero)), scale));
        return static_cast<std::uint8_t>(level < 0.0F ? 0.0F : level > most ? most : level);
    }

    MUSTAFAR_WARP void report(const Lanes<W, bool>& wrong) const {
        if (W::ballot(wrong) == 0 || job_.non_finite == nullptr) { return; }
        W::each([&](unsigned i) {
            if (W::lane(i) == 0) { W::flag(job_.non_finite); }
        });
    }

  private:
    const CompressJob& job_;
};

} // namespace mustafar::cuda
