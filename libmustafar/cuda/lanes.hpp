// SPDX-License-Identifier: Apache-2.0
// How a kernel is written once and runs twice: on the device, where each thread is a lane of its
// warp, and on the host, where a warp is a loop over 32 lanes, so that the same source is tested
// without a device.
//
// A warp type W says which. Values that differ from lane to lane are Lanes<W, T>: one element on
// the device, 32 on the host. What each lane does by itself is a lambda in W::each(); there lane i
// is index i, which is the constant 0 on the device. What lanes do together (ballot, shuffle, mma,
// sync) is called outside of it, by the whole warp.
//
//   Lanes<W, bool> kept;
//   W::each([&](unsigned i) { kept[i] = magnitude[i] >= threshold; });
//   const std::uint32_t word = W::ballot(kept);
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#define MUSTAFAR_WARP __device__ __forceinline__
#define MUSTAFAR_SIZE __host__ __device__ constexpr
#define MUSTAFAR_UNROLL _Pragma("unroll")
#define MUSTAFAR_PRAGMA(text) _Pragma(#text)
#define MUSTAFAR_UNROLL_BY(n) MUSTAFAR_PRAGMA(unroll n)
#else
#define MUSTAFAR_WARP inline
#define MUSTAFAR_SIZE constexpr
#define MUSTAFAR_UNROLL
#define MUSTAFAR_UNROLL_BY(n)
#endif

namespace mustafar::cuda {

constexpr unsigned warp_lanes = 32;

template <class W, class T>
struct Lanes {
    T of[W::lanes];
    MUSTAFAR_WARP T& operator[](unsigned i) { return of[i]; }
    MUSTAFAR_WARP const T& operator[](unsigned i) const { return of[i]; }
};

// Bits of a word below bit `count`, which is at most 31.
MUSTAFAR_WARP std::uint32_t bits_below(std::uint32_t count) { return (1U << count) - 1U; }

// Values of one type at an address that is aligned for it, read and written as such.
template <class T>
MUSTAFAR_WARP T load_as(const std::byte* from) {
    return *reinterpret_cast<const T*>(from);
}
template <class T>
MUSTAFAR_WARP void store_as(std::byte* to, T value) {
    *reinterpret_cast<T*>(to) = value;
}

} // namespace mustafar::cuda
