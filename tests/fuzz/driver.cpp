// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target without libFuzzer: <program> MUTATIONS [FILE or FOLDER ...]. Every file as it is, then so many
// mutations of them, the same ones in every run. A failure prints a command that repeats it alone.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes current;
const char* program = "";

// The input that was running, as a file: what is called here is allowed in a signal handler, but for printf.
void keep_input(int signal) {
    std::string path = "/tmp/mustafar-fuzz-" + std::to_string(getpid());
    if (std::FILE* file = std::fopen(path.c_str(), "wb")) {
        std::fwrite(current.data(), 1, current.size(), file);
        std::fclose(file);
        std::fprintf(stderr, "rerun:  %s 0 %s\n", program, path.c_str());
    }
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

class Random { // xorshift64*
  public:
    explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15U + 1) {}
    std::size_t below(std::size_t limit) {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<std::size_t>(state_ * 0x2545F4914F6CDD1DU >> 33) %
               std::max<std::size_t>(1, limit);
    }

  private:
    std::uint64_t state_;
};

Bytes mutated(const std::vector<Bytes>& corpus, std::uint64_t seed) {
    Random random(seed);
    Bytes out = corpus[random.below(corpus.size())];
    for (std::size_t i = 0, count = 1 + random.below(4); i < count; ++i) {
        const std::size_t at = random.below(out.size());
        const auto place = out.begin() + static_cast<std::ptrdiff_t>(at);
        const std::size_t some = std::min(out.size() - at, 1 + random.below(8));
        switch (out.empty() ? 3 : random.below(7)) {
        case 0:
            *place = static_cast<std::uint8_t>(*place ^ 1U << random.below(8));
            break;
        case 1:
            *place = static_cast<std::uint8_t>(random.below(256));
            break;
        case 2: { // a number of every size at a border
            constexpr std::uint8_t borders[] = {0x00, 0xFF, 0x7F, 0x80, 0x01};
            std::fill_n(place, some, borders[random.below(std::size(borders))]);
            break;
        }
        case 3:
            out.insert(place, 1 + random.below(6), static_cast<std::uint8_t>(random.below(256)));
            break;
        case 4:
            out.erase(place, place + static_cast<std::ptrdiff_t>(some));
            break;
        case 5: { // a piece of another file
            const Bytes& other = corpus[random.below(corpus.size())];
            const std::size_t from = random.below(other.size());
            const std::size_t bytes = std::min(other.size() - from, 1 + random.below(64));
            const auto piece = other.begin() + static_cast<std::ptrdiff_t>(from);
            out.insert(place, piece, piece + static_cast<std::ptrdiff_t>(bytes));
            break;
        }
        default:
            out.resize(at);
        }
    }
    return out;
}

void run(const Bytes& input) {
    current = input;
    LLVMFuzzerTestOneInput(current.data(), current.size());
}

Bytes read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

} // namespace

int main(int count, char** arguments) {
    if (count < 2) {
        std::fprintf(stderr, "usage: %s MUTATIONS [FILE or FOLDER ...]\n", arguments[0]);
        return 2;
    }
    program = arguments[0];
    std::signal(SIGABRT, keep_input);
    std::signal(SIGSEGV, keep_input);
    std::vector<std::filesystem::path> paths;
    for (int i = 2; i < count; ++i) {
        if (!std::filesystem::is_directory(arguments[i])) {
            paths.emplace_back(arguments[i]);
            continue;
        }
        for (const auto& item : std::filesystem::recursive_directory_iterator(arguments[i])) {
            if (item.is_regular_file()) { paths.push_back(item.path()); }
        }
    }
    std::sort(paths.begin(), paths.end());
    std::vector<Bytes> corpus;
    for (const auto& path : paths) {
        corpus.push_back(read(path));
        run(corpus.back());
    }
    if (corpus.empty()) { corpus.emplace_back(); }
    run({});
    const std::uint64_t mutations = std::strtoull(arguments[1], nullptr, 10);
    for (std::uint64_t seed = 1; seed <= mutations; ++seed) { run(mutated(corpus, seed)); }
    std::printf("%zu files, %llu mutations\n", paths.size(),
                static_cast<unsigned long long>(mutations));
    return 0;
}
