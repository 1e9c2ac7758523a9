// SPDX-License-Identifier: Apache-2.0
// Who looks on while an experiment runs: is told how far it is and what it has found, and may stop it.
#pragma once

#include <cstddef>
#include <string_view>

#include "experiment/failure.hpp"

namespace mustafar::experiment {

struct Report;

class Watcher {
  public:
    virtual ~Watcher() = default;
    // Everything but rows is known; later only `rows`, timings, `seconds` and `complete` change.
    virtual void begun(const Report&) {}
    // A row is there, without times; all rows are told once more when they have theirs.
    virtual void row(const Report&, std::size_t /*index*/) {}
    virtual void progress(double /*done, 0 .. 1*/, std::string_view /*what*/) {}
    virtual bool stop() { return false; }

    void check() { // called between two calls of the library, a few milliseconds apart
        if (stop()) { throw Interrupted(); }
    }
};

} // namespace mustafar::experiment
