// SPDX-License-Identifier: Apache-2.0
// cpp-httplib behind the guard. Written for the packaged 0.11.4; process_request() has other parameters from 0.18
// on, which concerns this file alone.
//
// What the library does: splits and decodes the target, writes the status line and the fields of the reply. What it
// never sees: sockets, bodies, a client's fields, and any target that is not strict.
#include "http/transport.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <utility>

#include <httplib.h>

#if !defined(CPPHTTPLIB_OPENSSL_SUPPORT) || !defined(CPPHTTPLIB_ZLIB_SUPPORT)
#error                                                                                             \
    "compile with the flags of `pkg-config cpp-httplib`: without them its structs have other sizes"
#endif

namespace mustafar::daemon {

namespace {

// A request that lies in memory; what is written is kept.
class HeadStream final : public httplib::Stream {
  public:
    explicit HeadStream(std::string_view in) : in_(in) {}
    bool is_readable() const override { return !in_.empty(); }
    bool is_writable() const override { return true; }
    ssize_t read(char* data, size_t size) override {
        const size_t taken = std::min(size, in_.size());
        std::memcpy(data, in_.data(), taken);
        in_.remove_prefix(taken);
        return static_cast<ssize_t>(taken);
    }
    ssize_t write(const char* data, size_t size) override {
        out.append(data, size);
        return static_cast<ssize_t>(size);
    }
    void get_remote_ip_and_port(std::string&, int&) const override {}
    void get_local_ip_and_port(std::string&, int&) const override {}
    socket_t socket() const override { return 0; }

    std::string out;

  private:
    std::string_view in_;
};

bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// How many there are; `none_told` where one could be read in two ways. The library drops a parameter that repeats
// another, and empty ones; it takes what stands behind the last '=' as the value, "=a" as the name "a", "%u0041" as "A",
// and "%zz" as it is.
std::size_t parameters_of(std::string_view query) {
    constexpr std::size_t none_told = SIZE_MAX;
    std::size_t parts = 1;
    std::size_t equals = 0;
    char before = '&';
    for (std::size_t i = 0; i < query.size(); ++i) {
        const char c = query[i];
        parts += c == '&' ? 1 : 0;
        equals = c == '&' ? 0 : equals + (c == '=' ? 1 : 0);
        const bool nameless = c == '=' && before == '&';
        const bool cut =
            c == '%' && !(i + 2 < query.size() && is_hex(query[i + 1]) && is_hex(query[i + 2]));
        if (equals > 1 || nameless || cut) { return none_told; }
        before = c;
    }
    return parts;
}

// The library refuses a second one, which may stand in a query (RFC 3986, section 3.4).
std::string with_one_question_mark(const std::string& target) {
    std::string out;
    bool query = false;
    for (const char c : target) {
        if (c == '?' && query) {
            out += "%3F";
        } else {
            out += c;
        }
        query = query || c == '?';
    }
    return out;
}

class HttplibTransport final : public Transport, private httplib::Server {
  public:
    explicit HttplibTransport(double idle_seconds) {
        set_keep_alive_timeout(static_cast<time_t>(idle_seconds));
        set_keep_alive_max_count(1u << 30);
        // Before routing, hence before the library would read a body.
        set_pre_routing_handler([this](const httplib::Request& in, httplib::Response& out) {
            called_ = true;
            try {
                answer(in, out);
            } catch (...) { thrown_ = std::current_exception(); }
            return HandlerResponse::Handled;
        });
    }

    std::string exchange(const std::string& target, bool keep_alive, Request& request,
                         Response& response, const std::function<void()>& handle) override {
        // Always GET: the guard has routed by method already, and the library reads no body for it.
        const std::string head =
            "GET " + with_one_question_mark(target) + " HTTP/1.1\r\nHost: guard\r\n\r\n";
        HeadStream stream(head);
        bool closed = false;
        called_ = false;
        thrown_ = nullptr;
        keep_alive_ = keep_alive;
        request_ = &request;
        response_ = &response;
        handle_ = &handle;
        process_request(stream, !keep_alive, closed, [](httplib::Request&) {});
        // The library would answer with an empty 500 that carries the text of the fault.
        if (thrown_) { std::rethrow_exception(std::exchange(thrown_, nullptr)); }
        if (!called_) {
            throw std::runtime_error("cpp-httplib refused a target that the guard took");
        }
        if (response.status == 204 || response.status == 304) { // RFC 9110, section 8.6
            const std::string_view length = "Content-Length: 0\r\n";
            const std::size_t at = stream.out.find(length);
            if (at != std::string::npos) { stream.out.erase(at, length.size()); }
        }
        return std::move(stream.out);
    }

  private:
    void answer(const httplib::Request& in, httplib::Response& out) {
        for (const auto& [name, value] : in.params) { request_->query.push_back({name, value}); }
        const std::size_t mark = in.target.find('?');
        if (mark != std::string::npos && mark + 1 < in.target.size()) {
            const auto query = std::string_view(in.target).substr(mark + 1);
            request_->query_malformed = parameters_of(query) != in.params.size();
        }
        (*handle_)();
        out.status = response_->status;
        for (const Field& field : common_fields(*response_, keep_alive_)) {
            if (field.name != "Connection") { out.set_header(field.name, field.value); }
        }
        for (const Field& field : response_->fields) { out.set_header(field.name, field.value); }
    }

    bool called_ = false;
    std::exception_ptr thrown_; // by `handle_`, or around it
    bool keep_alive_ = false;
    Request* request_ = nullptr;
    Response* response_ = nullptr;
    const std::function<void()>* handle_ = nullptr;
};

} // namespace

std::unique_ptr<Transport> make_transport(double idle_seconds) {
    return std::make_unique<HttplibTransport>(idle_seconds);
}

const char* transport_name() { return "cpp-httplib " CPPHTTPLIB_VERSION; }

} // namespace mustafar::daemon
