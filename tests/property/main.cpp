// SPDX-License-Identifier: Apache-2.0
// property_cache: random programs of all operations against a dense float64
// model of the cache.
//   property_cache [--seed S] [--long N]     N operations at least (default
//   20000)
// MUSTAFAR_SEED and MUSTAFAR_LONG (or MUSTAFAR_TEST_...) do the same, for
// `./dev test --seed --long`. Under the address sanitizer, which is several
// times slower, N is a quarter unless it is given.
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <unistd.h>

#include "program.hpp"

extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*)());

namespace {

constexpr uint64_t default_seed = 0x6d757374'00000100U; // "must", 0.1.0: fixed per release
constexpr uint64_t default_operations = 20000;
constexpr std::size_t shrink_attempts = 4000;

// The line that repeats the program at work, for every way to die.
char rerun[200];

void say_rerun() {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, rerun, std::strlen(rerun));
}

void on_signal(int number) {
    say_rerun();
    std::signal(number, SIG_DFL);
    std::raise(number);
}

// Program `index` of a run; the first one of a run with its own seed is the
// same program.
uint64_t program_seed(uint64_t seed, uint64_t index) { return seed + index * 0x9E3779B97F4A7C15U; }

void report(const oracle::Program &program, const oracle::Outcome &first) {
    std::printf("FAILED  %s\n        at operation %zu of %zu; shrinking...\n", first.what.c_str(),
                first.at + 1, program.ops.size());
    std::fflush(stdout);
    const oracle::Program small = oracle::shrink(program, first.what, shrink_attempts);
    oracle::Coverage nobody;
    const auto outcome = oracle::run(small, nobody);
    std::printf("shrunk: %zu of %zu operations left\n  %s\n", small.ops.size(), program.ops.size(),
                small.config.text().c_str());
    if (outcome) {
        for (const auto &line : outcome->log) std::printf("  %s\n", line.c_str());
        std::printf("  %s\n", outcome->what.c_str());
    }
    std::printf("%s", rerun);
}

// What a run of full length must have met.
bool complete(const oracle::Coverage &coverage) {
    const char *const must[] = {
        "prune method 0",
        "prune method 1",
        "prune method 2",
        "prune method 3",
        "prune method 4",
        "prune method 5",
        "prune method 6",
        "prune method 7",
        "prune weights",
        "marks packed",
        "pages shared",
        "plan exact",
        "no memory: allocator",
        "no memory: quota",
        "attend at a position",
        "attend with softcap",
        "attend with sinks",
        "attend with drop_mass",
        "attend with sliding window",
        "attend several caches",
        "truncate exact",
        "truncate with packed rows kept",
        "rows evicted by score",
        "damaged snapshots refused",
    };
    bool all = true;
    const auto need = [&](const std::string &what) {
        if (coverage.seen.count(what) != 0) return;
        std::printf("NEVER MET  %s\n", what.c_str());
        all = false;
    };
    for (const char *what : must) need(what);
    // Encoding and method pairs that exist, at every width of codes, packed and then read back.
    constexpr struct {
        int encoding, method;
    } pairs[] = {{1, 1}, {1, 2}, {1, 3}, {1, 4}, {2, 2}, {2, 5}, {2, 6}, {2, 7}, {3, 1}, {4, 1}};
    for (const auto &[encoding, method] : pairs)
        for (const int bits : {16, 8, 4, 2})
            if (bits != 16 || encoding < 3)
                need("packed encoding " + std::to_string(encoding) + " method " +
                     std::to_string(method) + " bits " + std::to_string(bits));
    for (uint32_t kind = 0; kind < oracle::kind_count; ++kind)
        need(std::string("op ") + oracle::kind_name(static_cast<oracle::Kind>(kind)));
    return all;
}

uint64_t number(const char *text) { return std::strtoull(text, nullptr, 0); }

struct Arguments {
    uint64_t seed = default_seed, operations = default_operations;
    static void set(uint64_t &value, const char *variable) {
        const char *const text = std::getenv(variable);
        if (text != nullptr && *text != 0) value = number(text);
    }
    Arguments(int argc, char **argv) {
        if (&__sanitizer_set_death_callback != nullptr) operations = default_operations / 4;
        for (const char *name : {"MUSTAFAR_TEST_SEED", "MUSTAFAR_SEED"}) set(seed, name);
        for (const char *name : {"MUSTAFAR_TEST_LONG", "MUSTAFAR_LONG"}) set(operations, name);
        for (int i = 1; i + 1 < argc; i += 2) {
            const std::string_view name = argv[i];
            if (name == "--seed") seed = number(argv[i + 1]);
            if (name == "--long") operations = number(argv[i + 1]);
        }
    }
};

} // namespace

int main(int argc, char **argv) {
    const Arguments arguments(argc, argv);
    if (&__sanitizer_set_death_callback != nullptr)
        __sanitizer_set_death_callback(say_rerun);
    else
        for (const int number : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL})
            std::signal(number, on_signal);
    const char *const forced = std::getenv("MUSTAFAR_FORCE_BACKEND");
    const std::string backend = forced == nullptr ? "" : forced;
    std::printf("property_cache: seed 0x%" PRIx64 ", at least %" PRIu64 " operations%s\n",
                arguments.seed, arguments.operations,
                backend.empty() ? "" : (", backend " + backend).c_str());
    const auto start = std::chrono::steady_clock::now();
    oracle::Coverage coverage;
    uint64_t done = 0, programs = 0;
    for (; done < arguments.operations; ++programs) {
        const uint64_t seed = program_seed(arguments.seed, programs);
        const bool fast = !backend.empty() && backend != "ref";
        std::snprintf(rerun, sizeof rerun,
                      "rerun: ./dev test property/cache%s --seed 0x%" PRIx64 "\n",
                      fast ? ("@" + backend).c_str() : "$", seed);
        const oracle::Program program = oracle::random_program(seed);
        if (const auto outcome = oracle::run(program, coverage)) {
            report(program, *outcome);
            return 1;
        }
        done += program.ops.size();
    }
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    for (const auto &[what, times] : coverage.seen)
        std::printf("  %-34s %" PRIu64 "\n", what.c_str(), times);
    std::printf("%" PRIu64 " operations in %" PRIu64 " programs, %.1f s, 0 failed\n", done,
                programs, time.count());
    return done >= default_operations && !complete(coverage) ? 1 : 0;
}
