// SPDX-License-Identifier: Apache-2.0
#include "experiment/progress.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>

#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace mustafar::experiment {

namespace {

volatile std::sig_atomic_t stopped = 0;

void note_signal(int) { stopped = 1; }

std::size_t columns() {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

} // namespace

void catch_interrupts() {
    struct sigaction action {};
    action.sa_handler = note_signal;
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    std::signal(SIGPIPE, SIG_IGN); // a reader that left is an output that could not be written
}

bool interrupted() { return stopped != 0; }

TerminalWatcher::TerminalWatcher() : terminal_(isatty(STDERR_FILENO) == 1) {}

void TerminalWatcher::progress(double done, std::string_view what) {
    constexpr auto pause = std::chrono::milliseconds(100);
    constexpr int cells = 24;
    const auto now = Clock::now();
    if (!terminal_ || now - last_ < pause) { return; }
    last_ = now;
    const int full = std::clamp(static_cast<int>(done * cells), 0, cells);
    const double seconds = std::chrono::duration<double>(now - start_).count();
    std::string line = fmt::format("[{:#<{}}{:.<{}}] {:3.0f} %  {:3.0f} s  {}", "", full, "",
                                   cells - full, 100 * done, seconds, what);
    line.resize(std::min(line.size(), columns() - 1));
    fmt::print(stderr, "\r{}\033[K", line);
    std::fflush(stderr);
    drawn_ = true;
}

void TerminalWatcher::clear() {
    if (drawn_) {
        fmt::print(stderr, "\r\033[K");
        std::fflush(stderr);
        drawn_ = false;
    }
}

} // namespace mustafar::experiment
