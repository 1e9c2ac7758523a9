// SPDX-License-Identifier: Apache-2.0
// The C ABI as handlers use it: handles that destroy themselves, and calls that throw the problem of their status.
#pragma once

#include "experiment/capi.hpp"
#include "problem.hpp"

namespace mustafar::daemon {

using experiment::Cache;
using experiment::Context;
using experiment::Recipe;
using experiment::sized;

// Calls `function(args..., &error)`.
template <class Function, class... Args>
void call(Function function, Args... args) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    const mustafar_status status = function(args..., &error);
    if (status != MUSTAFAR_OK) { throw problem_of(status, error); }
}

// The same for calls that make a handle: `function(args..., &handle, &error)`.
template <class Handle, class Function, class... Args>
std::unique_ptr<Handle, experiment::Destroy> make(Function function, Args... args) {
    Handle* handle = nullptr;
    call(function, args..., &handle);
    return std::unique_ptr<Handle, experiment::Destroy>(handle);
}

} // namespace mustafar::daemon
