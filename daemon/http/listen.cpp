// SPDX-License-Identifier: Apache-2.0
#include "http/listen.hpp"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace mustafar::daemon {

namespace {

constexpr int backlog = 512;

[[noreturn]] void failed(const std::string& what) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
}

} // namespace

Listener::Listener(const Config& config) {
    if (config.unix_path.empty()) {
        listen_tcp(config);
    } else {
        listen_unix(config.unix_path);
    }
}

void Listener::close() {
    if (socket_ >= 0) { ::close(socket_); }
    socket_ = -1;
    if (!unix_path_.empty()) { ::unlink(unix_path_.c_str()); }
    unix_path_.clear();
}

void Listener::listen_tcp(const Config& config) {
    addrinfo hints{};
    hints.ai_flags =
        AI_PASSIVE | AI_NUMERICSERV | (config.host == "localhost" ? 0 : AI_NUMERICHOST);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = config.host == "localhost" ? AF_INET : AF_UNSPEC;
    addrinfo* found = nullptr;
    const std::string port = std::to_string(config.port);
    if (const int error = ::getaddrinfo(config.host.c_str(), port.c_str(), &hints, &found);
        error != 0) {
        throw std::runtime_error("--host " + config.host + ": " + ::gai_strerror(error));
    }
    const std::string where = config.host + " port " + port;
    socket_ = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1; // SO_REUSEADDR alone: with SO_REUSEPORT a second daemon would share the port
    const bool bound =
        socket_ >= 0 && ::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        ::bind(socket_, found->ai_addr, found->ai_addrlen) == 0 && ::listen(socket_, backlog) == 0;
    const bool six = found->ai_family == AF_INET6;
    ::freeaddrinfo(found);
    if (!bound) {
        const int error = errno;
        close();
        errno = error;
        failed("cannot listen on " + where);
    }
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        failed("getsockname");
    }
    port_ = ntohs(six ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                      : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
    address_ =
        "http://" + (six ? "[" + config.host + "]" : config.host) + ":" + std::to_string(port_);
}

void Listener::listen_unix(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        throw std::runtime_error("--unix " + path + ": longer than " +
                                 std::to_string(sizeof address.sun_path - 1) + " bytes");
    }
    std::memcpy(address.sun_path, path.c_str(), path.size());
    const auto* where = reinterpret_cast<const sockaddr*>(&address);
    socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_ < 0) { failed("socket"); }
    // What a daemon left behind when it was killed is removed, once nobody answers there.
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) {
        const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const bool dead = ::connect(probe, where, sizeof address) != 0 && errno == ECONNREFUSED;
        ::close(probe);
        if (dead) { ::unlink(path.c_str()); }
    }
    const mode_t mask = ::umask(077);
    const bool bound = ::bind(socket_, where, sizeof address) == 0;
    const int error = errno;
    ::umask(mask);
    if (!bound || ::listen(socket_, backlog) != 0) {
        errno = bound ? errno : error;
        failed("cannot listen on --unix " + path);
    }
    unix_path_ = path;
    address_ = "unix:" + path;
}

} // namespace mustafar::daemon
