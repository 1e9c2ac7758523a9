// SPDX-License-Identifier: Apache-2.0
// The OpenAPI 3.1 document, made of the route table, the schemas and the list of problems.
#pragma once

#include <string>

#include "problem.hpp"

namespace mustafar::daemon {

std::string openapi_text(); // indented JSON; equal for equal sources

// JSON schemas by the names that routes use (schemas.cpp, schemas_data.cpp).
const Json& schemas();
Json job_schemas();  // schemas_jobs.cpp: a part of them
Json data_schemas(); // of what is in caches: pictures, batches, how long they stay

} // namespace mustafar::daemon
