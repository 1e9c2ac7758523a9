// SPDX-License-Identifier: Apache-2.0
// CPUID leaves 1 and 7, and XCR0 (Intel SDM volume 2A, CPUID; volume 1, 13.3): the processor has an
// instruction and the operating system saves its registers.
#include "cpu/features.hpp"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mustafar::cpu {
namespace {

#if defined(__x86_64__)
struct Features {
    bool avx2 = false;   // with FMA, F16C, BMI1/2, POPCNT, LZCNT
    bool avx512 = false; // F, BW, DQ, VL, VBMI, VBMI2, VNNI
    bool avx512fp16 = false;
};

std::uint64_t enabled_state() {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (std::uint64_t{high} << 32) | low;
}

Features detect() {
    Features found;
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0) { return found; }
    const auto has = [](std::uint32_t word, int bit) { return ((word >> bit) & 1U) != 0; };
    if (!has(c, 27)) { return found; } // OSXSAVE: xgetbv may be used
    const bool fma = has(c, 12), popcnt = has(c, 23), avx = has(c, 28), f16c = has(c, 29);
    const std::uint64_t state = enabled_state();
    const bool ymm = (state & 0x06U) == 0x06U;
    const bool zmm = (state & 0xE6U) == 0xE6U;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) { return found; }
    std::uint32_t extended[4] = {};
    const bool lzcnt =
        __get_cpuid(0x80000001U, &extended[0], &extended[1], &extended[2], &extended[3]) != 0 &&
        has(extended[2], 5);
    const bool bmi1 = has(b, 3), avx2 = has(b, 5), bmi2 = has(b, 8);
    found.avx2 = ymm && avx && avx2 && fma && f16c && bmi1 && bmi2 && popcnt && lzcnt;
    const bool f = has(b, 16), dq = has(b, 17), bw = has(b, 30), vl = has(b, 31);
    const bool vbmi = has(c, 1), vbmi2 = has(c, 6), vnni = has(c, 11);
    found.avx512 = found.avx2 && zmm && f && dq && bw && vl && vbmi && vbmi2 && vnni;
    found.avx512fp16 = found.avx512 && has(d, 23);
    return found;
}

const Features& features() {
    static const Features found = detect();
    return found;
}
#endif

} // namespace

#if defined(__x86_64__)
const char* missing_avx512fp16() {
    return features().avx512fp16 ? nullptr : "needs AVX512-FP16 and AVX512-VBMI2";
}
const char* missing_avx512() {
    return features().avx512 ? nullptr : "needs AVX512 F, BW, DQ, VL, VBMI, VBMI2 and VNNI";
}
const char* missing_avx2() {
    return features().avx2 ? nullptr : "needs AVX2, FMA, F16C, BMI2 and POPCNT";
}
const char* missing_neon() { return "needs an aarch64 processor"; }
#else
const char* missing_avx512fp16() { return "needs an x86-64 processor"; }
const char* missing_avx512() { return "needs an x86-64 processor"; }
const char* missing_avx2() { return "needs an x86-64 processor"; }
#if defined(__aarch64__)
const char* missing_neon() { return nullptr; } // part of armv8-a
#else
const char* missing_neon() { return "needs an aarch64 processor"; }
#endif
#endif

} // namespace mustafar::cpu
