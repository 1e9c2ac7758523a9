// SPDX-License-Identifier: Apache-2.0
// What one experiment is asked to do. The command line fills it; so may any other caller.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mustafar::experiment {

enum class Measure {
    decode, // as a decoder does: tokens one at a time, rows packed a step at a time
    window, // every query sees exactly its newest 32 tokens dense and all older rows packed
    none    // every row packed, the newest too
};
enum class Sides { both, k, v }; // which sides the recipe compresses; the other one stays dense

const char* text_of(Measure measure);
const char* text_of(Sides sides);

struct Settings {
    std::vector<std::filesystem::path> traces;
    std::vector<std::string> recipes;   // names, shorthands, files or JSON
    std::vector<std::uint32_t> lengths; // tokens in the cache where attend is timed, ascending
    std::vector<std::uint32_t> layers;  // ascending; empty = all
    std::uint32_t tokens = 0;           // the last so many of each trace; 0 = all
    std::uint32_t queries = 0;          // the last so many queries; 0 = all
    std::uint32_t threads = 0;          // 0 = all the machine has
    std::uint32_t repeats = 15;         // rounds of timing
    double budget_seconds = 60.0;       // no further round of timing after this, but at least 3
    std::uint64_t seed = 1;             // order of the recipes within a round
    float drop_mass = 0.0F;
    Measure measure = Measure::decode;
    Sides sides = Sides::both;
    bool timing = true;
    std::string backend; // "" = the best
    std::string command; // the command line, for reports
};

} // namespace mustafar::experiment
