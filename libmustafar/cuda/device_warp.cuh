// SPDX-License-Identifier: Apache-2.0
// A warp as the device runs it: each thread is a lane, and the operations are instructions.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/lanes.hpp"

namespace mustafar::cuda {

struct DeviceWarp {
    static constexpr unsigned lanes = 1;
    static constexpr unsigned all = 0xFFFFFFFFU;
    template <class T>
    using Each = Lanes<DeviceWarp, T>;

    template <class F>
    static MUSTAFAR_WARP void each(const F& f) {
        f(0U);
    }
    static MUSTAFAR_WARP unsigned lane(unsigned) { return threadIdx.x % warp_lanes; }
    static MUSTAFAR_WARP void sync() { __syncwarp(); }

    static MUSTAFAR_WARP std::uint32_t ballot(const Each<bool>& x) {
        return __ballot_sync(all, x[0]);
    }
    template <class T>
    static MUSTAFAR_WARP Each<T> shuffle_xor(const Each<T>& x, unsigned mask) {
        return {__shfl_xor_sync(all, x[0], static_cast<int>(mask))};
    }
    template <class T>
    static MUSTAFAR_WARP T broadcast(const Each<T>& x, unsigned from) {
        return __shfl_sync(all, x[0], static_cast<int>(from));
    }

    // Into shared memory, past the registers and L1.
    static MUSTAFAR_WARP void copy_async16(std::byte* to, const std::byte* from) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)),
                     "l"(from)
                     : "memory");
    }
    static MUSTAFAR_WARP void commit_copies() {
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    template <unsigned pending>
    static MUSTAFAR_WARP void wait_copies() {
        asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
        __syncwarp(); // what the other lanes copied is there as well
    }

    static MUSTAFAR_WARP unsigned popcount(std::uint32_t x) {
        return static_cast<unsigned>(__popc(x));
    }
    static MUSTAFAR_WARP float f16_to_f32(std::uint16_t x) {
        return __half2float(__ushort_as_half(x));
    }
    static MUSTAFAR_WARP float bf16_to_f32(std::uint16_t x) {
        return __uint_as_float(static_cast<std::uint32_t>(x) << 16);
    }
    static MUSTAFAR_WARP std::uint16_t f32_to_f16(float x) {
        return __half_as_ushort(__float2half_rn(x));
    }
    static MUSTAFAR_WARP std::uint16_t f32_to_bf16(float x) {
        return __bfloat16_as_ushort(__float2bfloat16_rn(x));
    }
    static MUSTAFAR_WARP std::uint32_t bits_of(float x) { return __float_as_uint(x); }
    // One rounding each, never contracted: bytes are the same on every backend.
    static MUSTAFAR_WARP float divide(float a, float b) { return __fdiv_rn(a, b); }
    static MUSTAFAR_WARP float subtract(float a, float b) { return __fsub_rn(a, b); }
    static MUSTAFAR_WARP float multiply(float a, float b) { return __fmul_rn(a, b); }
    static MUSTAFAR_WARP float round(float x) { return rintf(x); }
    static MUSTAFAR_WARP float exp2(float x) { return exp2f(x); }
    static MUSTAFAR_WARP float log2(float x) { return log2f(x); }
    static MUSTAFAR_WARP float tanh(float x) { return tanhf(x); }
    static MUSTAFAR_WARP float scale_by_power(float x, int power) { return ldexpf(x, power); }
    static MUSTAFAR_WARP int exponent(float x) {
        int e = 0;
        frexpf(x, &e);
        return e;
    }
    static MUSTAFAR_WARP void flag(std::uint32_t* word) { atomicOr(word, 1U); }

    template <bool transposed>
    static MUSTAFAR_WARP void load_matrices(const Each<const std::byte*>& rows,
                                            Each<std::uint32_t> (&out)[4]) {
        const unsigned at = shared_address(rows[0]);
        if constexpr (transposed) {
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                         : "=r"(out[0][0]), "=r"(out[1][0]), "=r"(out[2][0]), "=r"(out[3][0])
                         : "r"(at)
                         : "memory");
        } else {
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                         : "=r"(out[0][0]), "=r"(out[1][0]), "=r"(out[2][0]), "=r"(out[3][0])
                         : "r"(at)
                         : "memory");
        }
    }
    template <bool bf16>
    static MUSTAFAR_WARP void multiply_add(Each<float> (&c)[4], const Each<std::uint32_t> (&a)[4],
                                           const Each<std::uint32_t>& b0,
                                           const Each<std::uint32_t>& b1) {
        if constexpr (bf16) {
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                         "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                         : "+f"(c[0][0]), "+f"(c[1][0]), "+f"(c[2][0]), "+f"(c[3][0])
                         : "r"(a[0][0]), "r"(a[1][0]), "r"(a[2][0]), "r"(a[3][0]), "r"(b0[0]),
                           "r"(b1[0]));
        } else {
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                         "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                         : "+f"(c[0][0]), "+f"(c[1][0]), "+f"(c[2][0]), "+f"(c[3][0])
                         : "r"(a[0][0]), "r"(a[1][0]), "r"(a[2][0]), "r"(a[3][0]), "r"(b0[0]),
                           "r"(b1[0]));
        }
    }

  private:
    static MUSTAFAR_WARP unsigned shared_address(const void* at) {
        return static_cast<unsigned>(__cvta_generic_to_shared(at));
    }
};

} // namespace mustafar::cuda
