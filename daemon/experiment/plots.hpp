// SPDX-License-Identifier: Apache-2.0
// The three pictures of the report, as inline SVG.
#pragma once

#include <string>

#include "experiment/report.hpp"

namespace mustafar::experiment {

std::string plot_error_against_bytes(const Report& report, const TraceInfo& trace);
std::string plot_layer_errors(const Report& report, const TraceInfo& trace); // a heat map
std::string plot_time_against_length(const Shape& shape);

} // namespace mustafar::experiment
