// SPDX-License-Identifier: Apache-2.0
// mustafar-experiment: `--help` says what it does.
#include <algorithm>
#include <cstdio>
#include <new>

#include <fmt/format.h>

#include "experiment/capi.hpp"
#include "experiment/experiment.hpp"
#include "experiment/options.hpp"
#include "experiment/output.hpp"
#include "experiment/progress.hpp"

namespace {

using namespace mustafar::experiment;

std::string recipes_text() {
    std::string text;
    for (std::size_t i = 0; i < mustafar_recipe_count(); ++i) {
        text += fmt::format("{:<18} {}\n", mustafar_recipe_name(i), mustafar_recipe_sentence(i));
    }
    return text;
}

std::string backends_text() {
    std::string text = fmt::format("libmustafar {}, ABI {}: {}\n{:<8} {:<12} {:<26} {}\n",
                                   mustafar_version(), mustafar_abi_version(),
                                   mustafar_build_text(), "op", "backend", "kernel", "here");
    for (std::size_t i = 0; i < mustafar_kernel_count(); ++i) {
        auto row = sized<mustafar_kernel_info>();
        call("kernels", mustafar_kernel_at, i, &row);
        text += fmt::format("{:<8} {:<12} {:<26} {}\n", row.op, row.backend, row.name,
                            row.available != 0 ? "yes" : std::string("no: ") + row.reason);
    }
    return text;
}

int verify(const Settings& settings) {
    TerminalWatcher watcher;
    const std::vector<Verified> verified = verify_traces(settings, watcher);
    watcher.clear();
    write_output("-", verified_text(verified));
    if (!std::ranges::all_of(verified, &Verified::ok)) {
        throw Failure(exit_refused,
                      "--verify: dense attention differs from what the traces recorded");
    }
    return exit_ok;
}

// The tables go to standard error where standard output is taken by --json - or --csv -.
void print_tables(const Options& options, const Report& report) {
    if (options.json == "-" || options.csv == "-") {
        std::fputs(table_text(report).c_str(), stderr);
    } else {
        write_output("-", table_text(report));
    }
}

void write_outputs(const Options& options, const Report& report) {
    if (!options.json.empty()) { write_output(options.json, json_text(report)); }
    if (!options.csv.empty()) { write_output(options.csv, csv_text(report)); }
    if (!options.html.empty()) {
        write_output(options.html, html_text(report));
        std::fprintf(stderr, "report   %s\n", options.html.c_str());
    }
}

int experiment(const Options& options) {
    for (const std::string& path : {options.json, options.csv, options.html}) {
        if (!path.empty()) { check_output(path); }
    }
    Report report;
    TerminalWatcher watcher;
    try {
        run_experiment(options.settings, watcher, report);
    } catch (const Interrupted&) {
        watcher.clear();
        if (!report.rows.empty()) { print_tables(options, report); }
        throw Failure(exit_interrupted,
                      fmt::format("interrupted; {} rows were complete, no file was written",
                                  report.rows.size()));
    }
    watcher.clear();
    print_tables(options, report);
    write_outputs(options, report);
    return exit_ok;
}

int run(int argc, char** argv) {
    const auto options = parse_options(argc, argv);
    if (!options) { return std::fflush(stdout) == 0 ? exit_ok : exit_output; }
    if (options->list_recipes || options->backends) {
        write_output("-", options->list_recipes ? recipes_text() : backends_text());
        return exit_ok;
    }
    return options->verify ? verify(options->settings) : experiment(*options);
}

int report(int status, const char* text) {
    std::fprintf(stderr, "mustafar-experiment: %s\n", text);
    return status;
}

} // namespace

int main(int argc, char** argv) {
    catch_interrupts();
    try {
        return run(argc, argv);
    } catch (const Failure& failure) {
        return report(failure.status(), failure.what());
    } catch (const std::bad_alloc&) {
        return report(exit_refused, "not enough memory");
    } catch (const std::exception& error) { return report(exit_refused, error.what()); }
}
