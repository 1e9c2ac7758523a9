// SPDX-License-Identifier: Apache-2.0
// What ends a run early, and the exit status it becomes. main() prints one line and returns the status.
#pragma once

#include <stdexcept>
#include <string>

namespace mustafar::experiment {

enum Exit : int {
    exit_ok = 0,
    exit_usage = 2,        // the command line
    exit_data = 3,         // a trace or recipe file is missing, damaged or does not fit
    exit_refused = 4,      // the library said no, or --verify found a difference
    exit_output = 5,       // a result could not be written
    exit_interrupted = 130 // Ctrl-C
};

class Failure : public std::runtime_error {
  public:
    Failure(Exit status, const std::string& text) : std::runtime_error(text), status_(status) {}
    Exit status() const { return status_; }

  private:
    Exit status_;
};

class Interrupted : public Failure {
  public:
    Interrupted() : Failure(exit_interrupted, "interrupted") {}
};

} // namespace mustafar::experiment
