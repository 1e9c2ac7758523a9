// SPDX-License-Identifier: Apache-2.0
// The conformance vectors on the C ABI, from C++.
//
//   run VECTORS RAN [--backend NAME] [--only ID] [--leave-out ID]
//
// VECTORS is the folder of the JSON files. RAN is written: `ran ID` or `failed ID why`, a line per
// case; check.py compares it with the manifest. The status is 0 when every case ran, whatever came
// out: the check judges, since failures may be expected. --leave-out is how the check is tested.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "runner.hpp"

namespace {

struct Arguments {
    std::filesystem::path vectors;
    std::filesystem::path ran;
    std::string backend, only, leave_out;
};

Arguments read_arguments(const std::vector<std::string>& words) {
    Arguments arguments;
    arguments.vectors = words.at(0);
    arguments.ran = words.at(1);
    for (std::size_t i = 2; i + 1 < words.size(); i += 2) {
        if (words[i] == "--backend") { arguments.backend = words[i + 1]; }
        if (words[i] == "--only") { arguments.only = words[i + 1]; }
        if (words[i] == "--leave-out") { arguments.leave_out = words[i + 1]; }
    }
    return arguments;
}

mustafar_context* make_context(const std::string& backend) {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    std::strncpy(options.backend, backend.c_str(), sizeof(options.backend) - 1);
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_context* context = nullptr;
    if (mustafar_context_create(&options, nullptr, nullptr, &context, &error) != MUSTAFAR_OK) {
        throw std::runtime_error(error.message);
    }
    return context;
}

// The strict tolerances are for the reference rows alone.
bool runs_on_ref(const mustafar_context* context) {
    for (const char* op : {"attend", "unpack", "merge"}) {
        mustafar_kernel_info info{};
        info.struct_size = sizeof(info);
        if (mustafar_context_kernel(context, op, &info, nullptr) != MUSTAFAR_OK ||
            std::strcmp(info.backend, "ref") != 0) {
            return false;
        }
    }
    return true;
}

std::string run_case(mustafar_context* context, const conformance::Json& test) {
    try {
        conformance::Runner(context, runs_on_ref(context)).run(test);
        return "";
    } catch (const std::exception& problem) {
        std::string text = problem.what();
        std::replace(text.begin(), text.end(), '\n', ' ');
        return text;
    }
}

int run(const Arguments& arguments) {
    const conformance::Handle<mustafar_context> context(make_context(arguments.backend),
                                                        mustafar_context_destroy);
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(arguments.vectors)) {
        if (entry.path().extension() == ".json") { files.push_back(entry.path()); }
    }
    std::sort(files.begin(), files.end());
    std::ofstream ran(arguments.ran);
    std::size_t good = 0;
    std::size_t bad = 0;
    for (const auto& path : files) {
        std::ifstream in(path);
        const auto document = conformance::Json::parse(in);
        for (const auto& test : document.at("cases")) {
            const auto id = test.at("id").get<std::string>();
            if (id == arguments.leave_out) { continue; }
            if (!arguments.only.empty() && id != arguments.only) { continue; }
            const std::string why = run_case(context.get(), test);
            ran << (why.empty() ? "ran " : "failed ") << id << (why.empty() ? "" : " ") << why
                << '\n';
            if (!why.empty()) { std::cout << "failed " << id << ": " << why << '\n'; }
            (why.empty() ? good : bad) += 1;
        }
    }
    std::cout << good << " ran, " << bad << " failed\n";
    ran.close();
    return ran ? 0 : 1;
}

} // namespace

int main(int count, char** words) {
    if (count < 3) {
        std::cerr << "run VECTORS RAN [--backend NAME] [--only ID] [--leave-out ID]\n";
        return 2;
    }
    try {
        return run(read_arguments({words + 1, words + count}));
    } catch (const std::exception& problem) {
        std::cerr << problem.what() << '\n';
        return 1;
    }
}
