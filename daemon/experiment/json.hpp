// SPDX-License-Identifier: Apache-2.0
// The report as JSON, in parts: mustafar-experiment writes it whole, mustafard as it comes. Schema: docs/experiments.md,
// section 6.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "experiment/report.hpp"

namespace mustafar::experiment {

using Json = nlohmann::ordered_json;

Json head_json(const Report& report);                // everything but "rows"
Json flat_row(const Report& report, const Row& row); // the columns that rows and CSV lines share
Json full_row(const Report& report, const Row& row); // an element of "rows"

// RFC 4180: a line of names, then one per row; members that are no plain values are left out.
std::string csv_of(const std::vector<Json>& rows);

std::string json_text(const Report& report);
std::string csv_text(const Report& report);

} // namespace mustafar::experiment
