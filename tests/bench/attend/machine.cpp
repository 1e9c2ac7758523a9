// SPDX-License-Identifier: Apache-2.0
#include "machine.hpp"

#include <chrono>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

namespace mustafar::bench {
namespace {

// Eight chains hide the latency of four cycles on two ports. A macro: what is inlined into a function of a
// wider target must be of that target itself.
#define MUSTAFAR_FMA_RATE(name, bytes, reg)                                                        \
    double name() {                                                                                \
        using Vector = float __attribute__((vector_size(bytes)));                                  \
        constexpr std::uint64_t steps = 2'000'000;                                                 \
        const Vector f = Vector{} + 0.999F;                                                        \
        Vector a = f, b = f, c = f, d = f, e = f, g = f, h = f, i = f;                             \
        const double start = now_ns();                                                             \
        for (std::uint64_t step = 0; step < steps; ++step) {                                       \
            a = a * f + f, b = b * f + f, c = c * f + f, d = d * f + f;                            \
            e = e * f + f, g = g * f + f, h = h * f + f, i = i * f + f;                            \
            __asm__ volatile("" : reg(a), reg(b), reg(c), reg(d), reg(e), reg(g), reg(h), reg(i)); \
        }                                                                                          \
        return 8 * static_cast<double>(steps) / (now_ns() - start);                                \
    }

#if defined(__x86_64__)
__attribute__((target("avx512f"))) MUSTAFAR_FMA_RATE(fma_rate_512, 64, "+v")
    __attribute__((target("avx2,fma"))) MUSTAFAR_FMA_RATE(fma_rate_256, 32, "+x")
#else
MUSTAFAR_FMA_RATE(fma_rate_128, 16, "+w")
#endif

} // namespace

double now_ns() {
    return std::chrono::duration<double, std::nano>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

double clock_ghz() {
    constexpr std::uint64_t steps = 20'000'000;
    std::uint64_t x = 1;
    const double start = now_ns();
    for (std::uint64_t i = 0; i < steps; ++i) {
        x += 3;
        __asm__ volatile("" : "+r"(x));
    }
    return static_cast<double>(steps) / (now_ns() - start);
}

double vector_rate() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) { return fma_rate_512(); }
    return __builtin_cpu_supports("avx2") ? fma_rate_256() : 0.0;
#else
    return fma_rate_128();
#endif
}

Stream::Stream(std::size_t bytes, std::uint32_t threads)
    : allocator_(arena_.allocator()), lines_(bytes / sizeof(Line)), threads_(threads) {
    data_ = static_cast<Line*>(allocator_.allocate(allocator_.user, bytes, sizeof(Line)));
    if (data_ == nullptr) { throw std::bad_alloc(); }
    std::memset(static_cast<void*>(data_), 1, bytes);
}

double Stream::read() const {
    std::vector<std::uint64_t> sums(threads_);
    const double start = now_ns();
    std::vector<std::thread> workers;
    for (std::uint32_t t = 1; t < threads_; ++t) {
        workers.emplace_back([this, t, &sums] { sum(t, sums[t]); });
    }
    sum(0, sums[0]);
    for (std::thread& worker : workers) { worker.join(); }
    const double spent = now_ns() - start;
    for (const std::uint64_t part : sums) { sink_ = sink_ + part; }
    return static_cast<double>(lines_ * sizeof(Line)) / spent;
}

void Stream::sum(std::uint32_t part, std::uint64_t& result) const {
    const std::size_t each = lines_ / threads_ / 4 * 4;
    const Line* from = data_ + part * each;
    Line total[4] = {};
    for (std::size_t i = 0; i < each; i += 4) {
        for (std::size_t j = 0; j < 4; ++j) {
            __builtin_prefetch(from + i + j + 24); // 1.5 KB ahead
            total[j] += from[i + j];
        }
    }
    const Line all = total[0] + total[1] + total[2] + total[3];
    result = all[0] + all[7];
}

} // namespace mustafar::bench
