// SPDX-License-Identifier: Apache-2.0
// attend_bench: ns per token and kv head of a decode step, every recipe and kernel row next to dense f16
// and a plain stream read of the same rounds. Working sets are larger than the caches of the processor.
#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "caches.hpp"

namespace mustafar::bench {
namespace {

struct Settings {
    std::string trace =
        std::string(MUSTAFAR_TEST_DATA) + "/traces/tiny-llama-d128-text-2048.safetensors";
    std::vector<std::string> recipes = {"dense",       "int8",        "int4", "k64/v64", "k40/v40",
                                        "k40i8/v40i8", "k40i4/v40i4", "lean", "leaner"};
    std::vector<std::string> backends = {""};
    std::vector<std::uint32_t> tokens = {16384, 65536};
    std::vector<std::uint32_t> threads = {1, 2};
    std::uint32_t q_heads = 32, kv_heads = 8;
    std::uint32_t rounds = 9;
    std::uint32_t working_set_mb = 288;
    double drop_mass = 0.0;
    bool quick = false;
    bool no_error = false;
    std::string json;
};

double now_ns() {
    return std::chrono::duration<double, std::nano>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// What is being done, on a terminal.
void note(const std::string& text) {
    if (isatty(STDERR_FILENO) != 0) { std::cerr << "\r\033[K" << text << std::flush; }
}

// Cycles per ns of this moment, from a chain of dependent additions (one cycle each).
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

double quantile(std::vector<double> values, double q) {
    std::sort(values.begin(), values.end());
    const double at = q * static_cast<double>(values.size() - 1);
    const auto low = static_cast<std::size_t>(at);
    const std::size_t high = std::min(low + 1, values.size() - 1);
    return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

// Reads memory as fast as a plain loop can: GB/s.
class Stream {
  public:
    Stream(std::size_t bytes, std::uint32_t threads)
        : allocator_(arena_.allocator()), lines_(bytes / sizeof(Line)), threads_(threads) {
        data_ = static_cast<Line*>(allocator_.allocate(allocator_.user, bytes, sizeof(Line)));
        if (data_ == nullptr) { throw std::bad_alloc(); }
        std::memset(static_cast<void*>(data_), 1, bytes);
    }

    double read() const {
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

  private:
    using Line = std::uint64_t __attribute__((vector_size(64)));

    void sum(std::uint32_t part, std::uint64_t& result) const {
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

    Arena arena_;
    mustafar_allocator allocator_;
    std::size_t lines_;
    std::uint32_t threads_;
    Line* data_ = nullptr;
    mutable volatile std::uint64_t sink_ = 0;
};

struct Variant {
    std::string recipe;
    std::unique_ptr<Caches> caches;
    std::vector<double> ns; // per token and kv head, one per round
    std::vector<double> ratio;
    double error = 0.0;
};

double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
    double square = 0.0;
    double size = 0.0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        square += std::pow(double{got[i]} - double{want[i]}, 2);
        size += double{want[i]} * double{want[i]};
    }
    return std::sqrt(square / size);
}

class Bench {
  public:
    Bench(const Settings& settings, const Trace& trace) : settings_(settings), trace_(trace) {}

    void run(std::uint32_t tokens, std::uint32_t threads, nlohmann::json& rows) {
        shape_ = {settings_.q_heads, settings_.kv_heads, tokens};
        q_ = queries_of(trace_, shape_);
        const std::vector<Variant> variants = measure(threads);
        print(variants, threads, rows);
    }

  private:
    double attend_all(const Caches& caches, std::vector<float>& out) const {
        const std::int64_t d = trace_.head_dim;
        const mustafar_tensor q =
            f32_tensor(const_cast<float*>(q_.data()), {1, 1, shape_.q_heads, d});
        const mustafar_tensor view = f32_tensor(out.data(), {1, 1, shape_.q_heads, d});
        auto options = options_of();
        double spent = 0.0; // of the passes from the second on, where the working set fits a cache
        std::size_t passes = 0;
        const bool resident = settings_.working_set_mb == 0;
        for (std::size_t pass = 0; pass == 0 || (resident && spent < 5e7); ++pass) {
            const double start = now_ns();
            for (std::size_t i = 0; i < caches.copies(); ++i) {
                const mustafar_cache* list[] = {caches.at(i)};
                call("attend", mustafar_attend, list, std::size_t{1}, 0U, &q, nullptr, &options,
                     &view, nullptr, nullptr, nullptr);
            }
            if (pass == 0 && resident) { continue; }
            spent += now_ns() - start;
            ++passes;
        }
        return spent / static_cast<double>(passes * caches.copies()) / shape_.tokens /
               shape_.kv_heads;
    }

    mustafar_attend_options options_of() const {
        auto options = sized<mustafar_attend_options>();
        options.scale = trace_.scale_option();
        options.drop_mass = static_cast<float>(settings_.drop_mass);
        return options;
    }

    std::vector<Variant> measure(std::uint32_t threads) {
        std::vector<Variant> variants;
        std::vector<float> out(std::size_t{shape_.q_heads} * trace_.head_dim);
        for (const std::string& backend : settings_.backends) {
            for (const std::string& recipe : settings_.recipes) {
                if (isatty(2) != 0)
                    std::cerr << fmt::format("\r\033[Kfilling {} of {} tokens", recipe,
                                             shape_.tokens);
                Variant variant;
                variant.recipe = recipe;
                variant.caches =
                    std::make_unique<Caches>(trace_, shape_, recipe, backend, threads,
                                             std::size_t{settings_.working_set_mb} << 20);
                attend_all(*variant.caches, out);
                if (!settings_.no_error) {
                    const mustafar_tensor q =
                        f32_tensor(q_.data(), {1, 1, shape_.q_heads, trace_.head_dim});
                    auto exact = options_of();
                    exact.drop_mass = 0.0F;
                    variant.error =
                        relative_error(out, variant.caches->reference(shape_, q, exact));
                }
                variants.push_back(std::move(variant));
            }
        }
        const Stream stream(std::size_t{512} << 20, threads);
        stream_.clear();
        clock_.clear();
        for (std::uint32_t round = 0; round < settings_.rounds; ++round) {
            if (isatty(2) != 0)
                std::cerr << fmt::format("\r\033[Kround {} of {}", round + 1, settings_.rounds);
            stream_.push_back(stream.read());
            clock_.push_back(clock_ghz());
            for (Variant& variant : variants) {
                variant.ns.push_back(attend_all(*variant.caches, out));
            }
            for (Variant& variant : variants) {
                for (const Variant& dense : variants) { // of the same backend: the first is dense
                    if (dense.recipe == "dense" &&
                        dense.caches->kernel() == variant.caches->kernel()) {
                        variant.ratio.push_back(dense.ns.back() / variant.ns.back());
                    }
                }
            }
        }
        note("");
        return variants;
    }

    void print(const std::vector<Variant>& variants, std::uint32_t threads,
               nlohmann::json& rows) const {
        const double stream = quantile(stream_, 0.5);
        fmt::print(
            "\n{} tokens, {} thread{}, {} q heads, {} kv heads, d = {}; stream read {:.1f} GB/s\n",
            shape_.tokens, threads, threads == 1 ? "" : "s", shape_.q_heads, shape_.kv_heads,
            trace_.head_dim, stream);
        fmt::print("{:<14} {:<18} {:>9} {:>8} {:>14} {:>7} {:>8} {:>8} {:>9}\n", "recipe", "row",
                   "bytes", "ns", "p10..p90", "GB/s", "% stream", "x dense", "error");
        for (const Variant& v : variants) {
            const double ns = quantile(v.ns, 0.5);
            const double bytes = v.caches->bytes_per_token_head();
            const double ratio = v.ratio.empty() ? 0.0 : quantile(v.ratio, 0.5);
            fmt::print("{:<14} {:<18} {:>9.1f} {:>8.2f} {:>6.2f}..{:<6.2f} {:>7.1f} {:>8.0f} "
                       "{:>8.2f} {:>9.1e}\n",
                       v.recipe, v.caches->kernel(), bytes, ns, quantile(v.ns, 0.1),
                       quantile(v.ns, 0.9), bytes / ns, 100.0 * bytes / ns / stream, ratio,
                       v.error);
            rows.push_back({{"op", "attend"},
                            {"recipe", v.recipe},
                            {"row", v.caches->kernel()},
                            {"head_dim", trace_.head_dim},
                            {"q_heads", shape_.q_heads},
                            {"kv_heads", shape_.kv_heads},
                            {"tokens", shape_.tokens},
                            {"threads", threads},
                            {"ns_per_token_head", ns},
                            {"bytes_per_token_head", bytes},
                            {"gbps", bytes / ns},
                            {"stream_gbps", stream},
                            {"ratio_to_dense_f16", ratio},
                            {"rel_error", v.error},
                            {"p10", quantile(v.ns, 0.1)},
                            {"p90", quantile(v.ns, 0.9)}});
        }
    }

    const Settings& settings_;
    const Trace& trace_;
    Shape shape_;
    std::vector<float> q_;
    std::vector<double> stream_; // GB/s, one per round
    std::vector<double> clock_;  // GHz
};

int run(int argc, char** argv) {
    Settings settings;
    CLI::App app(
        "Times attention on compressed caches: one decode step over one layer, rotating over as "
        "many layers as fill the working set. Every round times every variant once; medians and "
        "p10..p90 of the rounds, ratios per round.");
    app.add_option("--trace", settings.trace, "recorded K, V and Q to fill the caches with")
        ->check(CLI::ExistingFile);
    app.add_option("--recipes", settings.recipes, "names or shorthands; dense first")
        ->delimiter(',');
    app.add_option("--backends", settings.backends, "rows to compare (default: the best here)")
        ->delimiter(',');
    app.add_option("--tokens", settings.tokens, "context lengths")->delimiter(',');
    app.add_option("--threads", settings.threads, "threads of the library")->delimiter(',');
    app.add_option("--q-heads", settings.q_heads);
    app.add_option("--kv-heads", settings.kv_heads);
    app.add_option("--rounds", settings.rounds)->check(CLI::Range(1, 1000));
    app.add_option("--working-set", settings.working_set_mb, "MB per recipe")
        ->check(CLI::Range(0, 16384));
    app.add_option("--drop-mass", settings.drop_mass, "let attend leave out so much weight")
        ->check(CLI::Range(0.0, 1.0));
    app.add_flag("--quick", settings.quick, "two minutes: 16384 tokens, one thread, 7 rounds");
    app.add_flag("--no-error", settings.no_error, "do not compare with the reference rows");
    app.add_option("--json", settings.json, "write the rows there");
    CLI11_PARSE(app, argc, argv);
    if (settings.quick) {
        settings.tokens = {16384};
        settings.threads = {1};
        settings.rounds = 7;
    }
    const Trace trace = load_trace(settings.trace);
    nlohmann::json rows = nlohmann::json::array();
    for (const std::uint32_t threads : settings.threads) {
        for (const std::uint32_t tokens : settings.tokens) {
            Bench(settings, trace).run(tokens, threads, rows);
        }
    }
    if (!settings.json.empty()) {
        std::ofstream file(settings.json);
        file << rows.dump(1) << '\n';
        if (!file.flush()) {
            std::cerr << "attend_bench: cannot write " << settings.json << '\n';
            return 1;
        }
    }
    return 0;
}

} // namespace
} // namespace mustafar::bench

int main(int argc, char** argv) {
    try {
        return mustafar::bench::run(argc, argv);
    } catch (const std::exception& error) {
        std::cerr << "attend_bench: " << error.what() << '\n';
        return 1;
    }
}
