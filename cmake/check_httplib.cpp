// SPDX-License-Identifier: Apache-2.0
// Run at configure time. Debian splits cpp-httplib into a header and a library: without the macros of its
// pkg-config file structs have other sizes here than there, and the first request crashes. So one is made.
#include <cstring>
#include <string>

#include <httplib.h>

struct OneRequest : httplib::Stream {
    std::string in = "GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\n\r\n";
    std::string out;
    bool is_readable() const override { return true; }
    bool is_writable() const override { return true; }
    ssize_t read(char *data, size_t size) override {
        const size_t taken = std::min(size, in.size());
        std::memcpy(data, in.data(), taken);
        in.erase(0, taken);
        return static_cast<ssize_t>(taken);
    }
    ssize_t write(const char *data, size_t size) override {
        out.append(data, size);
        return static_cast<ssize_t>(size);
    }
    void get_remote_ip_and_port(std::string &, int &) const override {}
    void get_local_ip_and_port(std::string &, int &) const override {}
    socket_t socket() const override { return 0; }
};

struct OneServer : httplib::Server {
    bool good() {
        bool seen = false;
        set_pre_routing_handler([&](const httplib::Request &in, httplib::Response &out) {
            seen = in.path == "/a b" && in.get_param_value("c") == "d";
            out.status = 204;
            return HandlerResponse::Handled;
        });
        OneRequest stream;
        bool closed = false;
        process_request(stream, true, closed, [](httplib::Request &) {});
        return seen && stream.out.rfind("HTTP/1.1 204 ", 0) == 0;
    }
};

int main() { return OneServer().good() ? 0 : 1; }
