// SPDX-License-Identifier: Apache-2.0
// Who looks on while an experiment runs: is told how far it is, and may stop it.
#pragma once

#include <string_view>

#include "experiment/failure.hpp"

namespace mustafar::experiment {

class Watcher {
  public:
    virtual ~Watcher() = default;
    virtual void progress(double /*done, 0 .. 1*/, std::string_view /*what*/) {}
    virtual bool stop() { return false; }

    void check() { // called between two calls of the library, a few milliseconds apart
        if (stop()) { throw Interrupted(); }
    }
};

} // namespace mustafar::experiment
