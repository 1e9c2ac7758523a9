// SPDX-License-Identifier: Apache-2.0
// Where a run took place, for reports. Nothing fails: what cannot be found is "unknown".
#pragma once

#include "experiment/report.hpp"

namespace mustafar::experiment {

Machine this_machine();
std::string commit_text(); // environment variable MUSTAFAR_COMMIT, or "unknown"

} // namespace mustafar::experiment
