// SPDX-License-Identifier: Apache-2.0
#include "experiment/options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "experiment/failure.hpp"
#include "experiment/output.hpp"
#include "experiment/recipes.hpp"
#include "mustafar/info.h"

namespace mustafar::experiment {

namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t tokens_max = 1u << 24;

constexpr const char* description =
    R"(Replays recorded keys, values and queries of a real model into compressed caches and says, per recipe:
bytes per token, error, time, and the context length from which attention on it is faster than on a dense
f16, int8 or int4 cache. Prints tables and writes a report to look at; --json and --csv for programs.)";

constexpr const char* footer = R"(What a recipe is
  It says what a cache keeps: per side (K, V) how many elements of each row survive, in how many bits, and
  how many of the newest tokens stay dense (32 unless it says otherwise). It is one of
    a name       dense, int8, mustafar-50, lean, ...      --list-recipes explains each
    a shorthand  k64i4/v128i2: keep 64 of K at 4 bits, 128 of V at 2 bits. "d" keeps all, i8|i4|i2 are the
                 bits (none: 16), c scales K per channel, m centres K, g32|g64 are channel groups; then
                 /w64 for another window, /s4 for dense first tokens: kdi4c/vdi4/w64
    a file       recipe.json with {"schema":"mustafar.recipe","version":1,"k":{"keep":"1/2"},"v":{...}}

Examples
  mustafar-experiment
      a dozen recipes on all traces in tests/data/traces; tables, and build/report.html
  mustafar-experiment --recipes dense,int4,lean,k64i4/v128i2 --trace my.safetensors --json out.json
      four recipes on a trace of yours
  mustafar-experiment --measure window --sides k --no-timing --recipes int4,kdi4c/vdi4
      what quantizing K alone does to attention when all but the newest 32 tokens are packed

Status: 0 done; 2 wrong command line; 3 a trace or recipe file is missing or wrong; 4 the library refused, or
--verify found a difference; 5 a result could not be written; 130 stopped by Ctrl-C.)";

[[noreturn]] void wrong(const std::string& text) { throw Failure(exit_usage, text); }

std::uint32_t read_number(const std::string& option, std::string_view text, std::uint32_t low,
                          std::uint32_t high) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < low || number > high) {
        wrong(
            fmt::format("{} \"{}\": a number from {} to {} is expected", option, text, low, high));
    }
    return number;
}

// "256,1024", and "0-3" where ranges are allowed; sorted, each once.
std::vector<std::uint32_t> read_list(const std::string& option, const std::string& text,
                                     std::uint32_t low, std::uint32_t high, bool ranges) {
    std::vector<std::uint32_t> numbers;
    std::size_t begin = 0;
    while (begin <= text.size()) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        const std::string part = text.substr(begin, end - begin);
        const std::size_t dash = ranges ? part.find('-') : std::string::npos;
        const std::uint32_t first = read_number(option, part.substr(0, dash), low, high);
        const std::uint32_t last = dash == std::string::npos
                                       ? first
                                       : read_number(option, part.substr(dash + 1), first, high);
        for (std::uint32_t number = first; number <= last; ++number) { numbers.push_back(number); }
        begin = end + 1;
    }
    std::ranges::sort(numbers);
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    return numbers;
}

// Where traces lie: below the current folder, or in the tree the program was built in.
std::vector<fs::path> find_traces() {
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    const fs::path below = fs::path("tests") / "data" / "traces";
    const fs::path beside = (self.parent_path() / ".." / ".." / below).lexically_normal();
    for (const fs::path& folder : {below, beside}) {
        std::vector<fs::path> traces;
        for (const auto& entry : fs::directory_iterator(folder, error)) {
            if (entry.path().extension() == ".safetensors") { traces.push_back(entry.path()); }
        }
        if (!traces.empty()) {
            std::ranges::sort(traces);
            return traces;
        }
    }
    throw Failure(exit_data,
                  fmt::format("no traces (*.safetensors) in {} or {}; name some with --trace FILE",
                              below.string(), beside.string()));
}

// Arguments as a shell would take them.
std::string command_text(int argc, const char* const* argv) {
    std::string text = fs::path(argv[0]).filename().string();
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        const bool plain =
            !word.empty() && word.find_first_of(" \t\n\"'$\\{}()*?;&|<>`!#~") == std::string::npos;
        std::string escaped;
        for (const char c : word) { escaped += c == '\'' ? "'\\''" : std::string(1, c); }
        text += plain ? " " + word : " '" + escaped + "'";
    }
    return text;
}

// The parser, and what it fills before that is checked and put into Options.
struct CommandLine {
    Options out;
    std::vector<std::string> traces;
    std::vector<std::string> recipes;
    std::string lengths = "256,1024,2048";
    std::string layers;
    std::string measure = "decode";
    std::string sides = "both";
    bool quick = false;
    bool no_timing = false;
    bool no_html = false;
    CLI::App app{description, "mustafar-experiment"};

    CommandLine() {
        app.footer(footer);
        app.get_formatter()->column_width(24);
        app.set_help_flag("-h,--help", "this text");
        app.set_version_flag("--version", std::string(), "version of the library");
        add_what();
        add_how();
        add_where();
    }

  private:
    void add_what() {
        const char* group = "What is measured";
        app.add_option("--trace", traces, "traces to replay (default: all in tests/data/traces)")
            ->group(group)
            ->type_name("FILE...");
        app.add_option("--recipes", recipes, "names, shorthands, files; or one JSON text")
            ->group(group)
            ->type_name("A,B,...")
            ->expected(1)
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        app.add_option("--layers", layers, "only these layers: 0,2-3")
            ->group(group)
            ->type_name("LIST");
        app.add_option("--tokens", out.settings.tokens, "only the last N tokens of each trace")
            ->group(group)
            ->type_name("N")
            ->check(CLI::Range(1u, tokens_max));
        app.add_option("--queries", out.settings.queries, "only the last N queries of each trace")
            ->group(group)
            ->type_name("N")
            ->check(CLI::Range(1u, tokens_max));
        app.add_option(
               "--measure", measure,
               "what a query sees: as a decoder does (decode); exactly its newest 32 tokens dense "
               "(window); nothing dense (none)")
            ->group(group)
            ->type_name("M")
            ->check(CLI::IsMember({"decode", "window", "none"}));
        app.add_option("--sides", sides, "compress only k, only v, or both")
            ->group(group)
            ->type_name("S")
            ->check(CLI::IsMember({"both", "k", "v"}));
        app.add_option("--drop-mass", out.settings.drop_mass,
                       "let attend leave out V rows of at most this weight (0)")
            ->group(group)
            ->type_name("EPS")
            ->check(CLI::Range(0.0, 1.0));
        app.add_flag("--quick", quick, "a few seconds: 512 tokens, 16 queries, 6 recipes, 5 rounds")
            ->group(group);
    }

    void add_how() {
        const char* group = "How time is taken";
        app.add_option("--lengths", lengths,
                       "tokens in the cache when attend is timed (256,1024,2048); beyond the trace "
                       "it repeats")
            ->group(group)
            ->type_name("LIST");
        app.add_option("--repeats", out.settings.repeats,
                       "rounds over all recipes, interleaved (15)")
            ->group(group)
            ->type_name("N")
            ->check(CLI::Range(1u, 1000000u));
        app.add_option("--budget-seconds", out.settings.budget_seconds,
                       "no further round after so long, but at least 3 (60)")
            ->group(group)
            ->type_name("S")
            ->check(CLI::Range(0.0, 1e6));
        app.add_option("--seed", out.settings.seed, "order of the recipes within a round (1)")
            ->group(group)
            ->type_name("N");
        app.add_option("--threads", out.settings.threads, "threads of the library (0: all)")
            ->group(group)
            ->type_name("N")
            ->check(CLI::Range(0u, 1024u));
        app.add_option("--backend", out.settings.backend, "kernels to use; --backends lists them")
            ->group(group)
            ->type_name("NAME");
        app.add_flag("--no-timing", no_timing,
                     "sizes and errors only: the result is the same each time")
            ->group(group);
    }

    void add_where() {
        const char* group = "Results";
        app.add_option("--json", out.json, "write JSON there")->group(group)->type_name("FILE|-");
        app.add_option("--csv", out.csv, "write CSV there")->group(group)->type_name("FILE|-");
        app.add_option("--html", out.html,
                       "the report (build/report.html, or ./mustafar-report.html)")
            ->group(group)
            ->type_name("FILE");
        app.add_flag("--no-html", no_html, "no report")->group(group);
        group = "Instead of measuring";
        app.add_flag("--verify", out.verify, "dense attention against the outputs in the traces")
            ->group(group);
        app.add_flag("--list-recipes", out.list_recipes, "built-in recipes, a sentence each")
            ->group(group);
        app.add_flag("--backends,--why", out.backends,
                     "kernels of the library, and why not the others")
            ->group(group);
    }
};

void apply_quick(CommandLine& line) {
    Settings& s = line.out.settings;
    const auto unless_given = [&](const char* option, auto& place, auto value) {
        if (line.app.count(option) == 0) { place = value; }
    };
    unless_given("--tokens", s.tokens, 512u);
    unless_given("--queries", s.queries, 16u);
    unless_given("--repeats", s.repeats, 5u);
    unless_given("--budget-seconds", s.budget_seconds, 5.0);
    unless_given("--lengths", line.lengths, "128,512");
    if (line.recipes.empty()) { line.recipes = {"dense,int8,int4,mustafar-50,mustafar-70,lean"}; }
}

void fill_settings(CommandLine& line) {
    Settings& s = line.out.settings;
    if (line.quick) { apply_quick(line); }
    s.lengths = read_list("--lengths", line.lengths, 1, tokens_max, false);
    if (line.app.count("--layers") != 0) {
        s.layers = read_list("--layers", line.layers, 0, 4095, true);
    }
    s.measure = line.measure == "decode"   ? Measure::decode
                : line.measure == "window" ? Measure::window
                                           : Measure::none;
    s.sides = line.sides == "both" ? Sides::both : line.sides == "k" ? Sides::k : Sides::v;
    s.timing = !line.no_timing;
    for (const std::string& argument : line.recipes) {
        const auto parts = split_recipes(argument);
        s.recipes.insert(s.recipes.end(), parts.begin(), parts.end());
    }
    if (s.recipes.empty()) { s.recipes = default_recipes(); }
    s.traces.assign(line.traces.begin(), line.traces.end());
}

void fill_outputs(CommandLine& line) {
    Options& out = line.out;
    if (line.no_html && !out.html.empty()) { wrong("--html and --no-html exclude each other"); }
    if (out.html == "-") { wrong("--html -: a report goes into a file"); }
    if (out.json == "-" && out.csv == "-") {
        wrong("--json - and --csv -: only one of them can have standard output");
    }
    if (!line.no_html && out.html.empty()) {
        std::error_code error;
        out.html = fs::is_directory("build", error) ? "build/report.html" : "mustafar-report.html";
    }
}

} // namespace

std::optional<Options> parse_options(int argc, const char* const* argv) {
    CommandLine line;
    try {
        line.app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        write_output("-", line.app.help());
        return std::nullopt;
    } catch (const CLI::CallForVersion&) {
        write_output("-", fmt::format("mustafar-experiment {} (ABI {})\n", mustafar_version(),
                                      mustafar_abi_version()));
        return std::nullopt;
    } catch (const CLI::ParseError& error) {
        std::string text = error.what();
        std::ranges::replace(text, '\n', ' ');
        wrong(text + " (--help explains)");
    }
    fill_settings(line);
    fill_outputs(line);
    Options& out = line.out;
    out.settings.command = command_text(argc, argv);
    if (out.settings.traces.empty() && !out.list_recipes && !out.backends) {
        out.settings.traces = find_traces();
    }
    return std::move(out);
}

} // namespace mustafar::experiment
