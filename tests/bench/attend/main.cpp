// SPDX-License-Identifier: Apache-2.0
// attend_bench: ns per token and kv head of a decode step, every recipe and kernel row next to dense f16
// and a plain stream read of the same rounds. Working sets are larger than the caches of the processor.
#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "caches.hpp"
#include "machine.hpp"
#include "patterns.hpp"

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
    double ragged = 0.0;
    double unequal = 1.0;
    bool by_layer = false;
    bool quick = false;
    bool no_error = false;
    std::string json;
};

// What is being done, on a terminal.
void note(const std::string& text) {
    if (isatty(STDERR_FILENO) != 0) { std::cerr << "\r\033[K" << text << std::flush; }
}

double quantile(std::vector<double> values, double q) {
    std::sort(values.begin(), values.end());
    const double at = q * static_cast<double>(values.size() - 1);
    const auto low = static_cast<std::size_t>(at);
    const std::size_t high = std::min(low + 1, values.size() - 1);
    return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

struct Variant {
    std::string recipe;
    std::shared_ptr<Caches> caches; // a recipe's with and without drop_mass share them
    double drop_mass = 0.0;
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

    void run(const Shape& shape, std::uint32_t threads, nlohmann::json& rows) {
        shape_ = shape;
        q_ = queries_of(trace_, shape_);
        const std::vector<Variant> variants = measure(threads);
        print(variants, threads, rows);
        note_gains(variants);
    }

    // What drop_mass wins, over all that was run: times with / without, medians of rounds.
    void print_gains() const {
        if (gains_.empty()) { return; }
        fmt::print("\ndrop_mass {}: time without / with it\n", settings_.drop_mass);
        for (const auto& [recipe, gains] : gains_) {
            double sum = 0.0;
            for (const double gain : gains) { sum += gain; }
            fmt::print("{:<17} mean {:.2f}, least {:.2f}, most {:.2f} of {} runs\n", recipe,
                       sum / static_cast<double>(gains.size()), quantile(gains, 0.0),
                       quantile(gains, 1.0), gains.size());
        }
    }

  private:
    double attend_all(const Caches& caches, double drop_mass, std::vector<float>& out) const {
        const std::int64_t d = trace_.head_dim;
        const mustafar_tensor q =
            f32_tensor(const_cast<float*>(q_.data()), {1, 1, shape_.q_heads, d});
        const mustafar_tensor view = f32_tensor(out.data(), {1, 1, shape_.q_heads, d});
        auto options = options_of(drop_mass);
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
        return spent / static_cast<double>(passes * caches.copies()) / caches.rows();
    }

    mustafar_attend_options options_of(double drop_mass) const {
        auto options = sized<mustafar_attend_options>();
        options.scale = trace_.scale_option();
        options.drop_mass = static_cast<float>(drop_mass);
        return options;
    }

    Variant variant_of(const std::string& name, const std::shared_ptr<Caches>& caches,
                       double drop_mass, std::vector<float>& out) const {
        Variant variant;
        variant.recipe = name;
        variant.caches = caches;
        variant.drop_mass = drop_mass;
        attend_all(*caches, drop_mass, out);
        if (!settings_.no_error) {
            const mustafar_tensor q =
                f32_tensor(const_cast<float*>(q_.data()), {1, 1, shape_.q_heads, trace_.head_dim});
            variant.error = relative_error(out, caches->reference(shape_, q, options_of(0.0)));
        }
        return variant;
    }

    std::shared_ptr<Caches> fill(const std::string& name, const std::string& recipe,
                                 const Shape& shape, const std::string& backend,
                                 std::uint32_t threads) const {
        note(fmt::format("filling {} of {} tokens", name, shape.tokens));
        return std::make_shared<Caches>(trace_, shape, recipe, backend, threads,
                                        std::size_t{settings_.working_set_mb} << 20);
    }

    std::vector<Variant> measure(std::uint32_t threads) {
        std::vector<Variant> variants;
        std::vector<float> out(std::size_t{shape_.q_heads} * trace_.head_dim);
        for (const std::string& backend : settings_.backends) {
            for (const std::string& recipe : settings_.recipes) {
                const auto caches = fill(recipe, recipe, shape_, backend, threads);
                variants.push_back(variant_of(recipe, caches, 0.0, out));
                if (settings_.drop_mass > 0.0) {
                    variants.push_back(variant_of(fmt::format("{}, drop", recipe), caches,
                                                  settings_.drop_mass, out));
                }
                if (settings_.unequal > 1.0) {
                    Shape unequal = shape_;
                    unequal.unequal = settings_.unequal;
                    const std::string name = fmt::format("{}, unequal", recipe);
                    variants.push_back(
                        variant_of(name, fill(name, recipe, unequal, backend, threads), 0.0, out));
                }
            }
            if (settings_.ragged > 0.0) {
                const std::string recipe = ragged_recipe(trace_, settings_.ragged);
                variants.push_back(variant_of(
                    "ragged", fill("ragged", recipe, shape_, backend, threads), 0.0, out));
            }
        }
        const Stream stream(std::size_t{512} << 20, threads);
        stream_.clear();
        clock_.clear();
        vectors_.clear();
        for (std::uint32_t round = 0; round < settings_.rounds; ++round) {
            note(fmt::format("round {} of {}", round + 1, settings_.rounds));
            stream_.push_back(stream.read());
            clock_.push_back(clock_ghz());
            vectors_.push_back(vector_rate());
            for (Variant& variant : variants) {
                variant.ns.push_back(attend_all(*variant.caches, variant.drop_mass, out));
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

    void note_gains(const std::vector<Variant>& variants) {
        for (std::size_t i = 1; i < variants.size(); ++i) {
            const Variant& with = variants[i];
            const Variant& without = variants[i - 1];
            if (with.drop_mass <= 0.0) { continue; }
            std::vector<double> ratios;
            for (std::size_t round = 0; round < with.ns.size(); ++round) {
                ratios.push_back(without.ns[round] / with.ns[round]);
            }
            gains_[without.recipe + " " + with.caches->kernel()].push_back(quantile(ratios, 0.5));
        }
    }

    void print(const std::vector<Variant>& variants, std::uint32_t threads,
               nlohmann::json& rows) const {
        const double stream = quantile(stream_, 0.5);
        fmt::print(
            "\n{} tokens, {} thread{}, {} q heads, {} kv heads, d = {}; stream read {:.1f} GB/s, "
            "clock {:.1f} GHz, vector fma {:.1f} per ns{}\n",
            shape_.tokens, threads, threads == 1 ? "" : "s", shape_.q_heads, shape_.kv_heads,
            trace_.head_dim, stream, quantile(clock_, 0.5), quantile(vectors_, 0.5),
            shape_.layer < 0 ? "" : fmt::format("; layer {}", shape_.layer));
        fmt::print("{:<17} {:<18} {:>9} {:>8} {:>14} {:>7} {:>8} {:>8} {:>9}\n", "recipe", "row",
                   "bytes", "ns", "p10..p90", "GB/s", "% stream", "x dense", "error");
        for (const Variant& v : variants) {
            const double ns = quantile(v.ns, 0.5);
            const double bytes = v.caches->bytes_per_token_head();
            const double ratio = v.ratio.empty() ? 0.0 : quantile(v.ratio, 0.5);
            fmt::print("{:<17} {:<18} {:>9.1f} {:>8.2f} {:>6.2f}..{:<6.2f} {:>7.1f} {:>8.0f} "
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
    std::vector<double> stream_;                       // GB/s, one per round
    std::vector<double> clock_;                        // GHz
    std::vector<double> vectors_;                      // fused multiply-adds per ns
    std::map<std::string, std::vector<double>> gains_; // of drop_mass, one per run
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
    app.add_flag("--by-layer", settings.by_layer,
                 "each layer of the trace on its own, with its own heads, its tokens in order");
    app.add_option("--drop-mass", settings.drop_mass,
                   "measure each recipe a second time, leaving out so much weight")
        ->check(CLI::Range(0.0, 1.0));
    app.add_option(
           "--ragged", settings.ragged,
           "measure rows of unequal counts, too: so much of the trace stays, by a threshold")
        ->check(CLI::Range(0.0, 1.0));
    app.add_option("--unequal", settings.unequal,
                   "measure each recipe a second time with heads of unequal lengths, as many "
                   "tokens in all: longest / mean, at most --kv-heads")
        ->check(CLI::Range(1.0, 64.0));
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
    Bench bench(settings, trace);
    for (const std::uint32_t threads : settings.threads) {
        for (const std::uint32_t tokens : settings.tokens) {
            if (!settings.by_layer) {
                bench.run({settings.q_heads, settings.kv_heads, tokens}, threads, rows);
                continue;
            }
            for (std::size_t layer = 0; layer < trace.layers.size(); ++layer) {
                const int index = static_cast<int>(layer);
                bench.run({trace.q_heads, trace.kv_heads, tokens, 1.0, index}, threads, rows);
            }
        }
    }
    bench.print_gains();
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
