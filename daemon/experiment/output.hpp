// SPDX-License-Identifier: Apache-2.0
// Results into files that are never half written, and the three texts they hold.
#pragma once

#include <filesystem>
#include <string>

#include "experiment/experiment.hpp"
#include "experiment/json.hpp"
#include "experiment/report.hpp"

namespace mustafar::experiment {

// Tables for a terminal, at most 100 columns wide, each line ended by '\n'.
std::string table_text(const Report& report);
std::string verified_text(const std::vector<Verified>& verified);
std::string html_text(const Report& report); // one file, no network, no script

// Number as tables and pictures show it: three digits, "-" for NaN.
std::string short_number(double value);
std::string short_time(double ns);      // with its unit: "12.3 us"
std::string whole_number(double value); // "36", "36.5", "-"

struct TimeUnit {
    double ns;
    const char* name;
};
TimeUnit time_unit(const Shape& shape); // for all times of decode steps of a shape; needs timings

// Throws Failure{exit_output} now if write_output could not succeed later: no such folder, no right to write.
void check_output(const std::string& path);

// "-" is standard output. A regular file is written beside, synced and renamed, so that `path` is either the old
// file or the whole new one; anything else that exists (a pipe, /dev/stdout) is written to directly.
void write_output(const std::string& path, const std::string& text);

} // namespace mustafar::experiment
