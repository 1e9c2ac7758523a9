// SPDX-License-Identifier: Apache-2.0
// The socket that is listened on: TCP, or UNIX with mode 0600.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "config.hpp"

namespace mustafar::daemon {

class Listener {
  public:
    // Binds and listens. Throws std::runtime_error with one line: address in use, no permission, ...
    explicit Listener(const Config& config);
    Listener(Listener&& other) noexcept
        : socket_(std::exchange(other.socket_, -1)), port_(other.port_),
          unix_path_(std::exchange(other.unix_path_, {})), address_(std::move(other.address_)) {}
    Listener& operator=(Listener&&) = delete;
    ~Listener() { close(); }

    int socket() const { return socket_; }
    std::uint16_t port() const { return port_; }
    const std::string& address() const {
        return address_;
    }             // "http://127.0.0.1:8642", "unix:/run/x.sock"
    void close(); // also removes the path of a UNIX socket

  private:
    void listen_tcp(const Config& config);
    void listen_unix(const std::string& path);
    int socket_ = -1;
    std::uint16_t port_ = 0;
    std::string unix_path_;
    std::string address_;
};

} // namespace mustafar::daemon
