// SPDX-License-Identifier: Apache-2.0
// A watcher for a terminal: a bar on standard error, and Ctrl-C.
#pragma once

#include <chrono>
#include <string>

#include "experiment/watcher.hpp"

namespace mustafar::experiment {

// From now on the first Ctrl-C (or SIGTERM) only asks to stop; a second one kills.
void catch_interrupts();
bool interrupted();

class TerminalWatcher final : public Watcher {
  public:
    TerminalWatcher(); // no bar where standard error is not a terminal
    ~TerminalWatcher() override { clear(); }
    TerminalWatcher(const TerminalWatcher&) = delete;
    TerminalWatcher& operator=(const TerminalWatcher&) = delete;

    void progress(double done, std::string_view what) override;
    bool stop() override { return interrupted(); }
    void clear(); // before anything else is printed

  private:
    using Clock = std::chrono::steady_clock;
    bool terminal_;
    bool drawn_ = false;
    Clock::time_point start_ = Clock::now();
    Clock::time_point last_{};
};

} // namespace mustafar::experiment
