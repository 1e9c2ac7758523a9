// SPDX-License-Identifier: Apache-2.0
#include "tokens.hpp"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mustafar::daemon {

namespace {

constexpr std::size_t file_bytes_max = 64 * 1024;
constexpr std::size_t token_bytes_min = 16;
constexpr std::size_t token_bytes_max = 256;

[[noreturn]] void wrong(const std::string& text) { throw std::invalid_argument(text); }

} // namespace

Sha256 sha256(std::string_view bytes) {
    Sha256 hash{};
    unsigned int size = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), hash.data(), &size, EVP_sha256(), nullptr) != 1 ||
        size != hash.size()) {
        throw std::runtime_error("OpenSSL has no SHA-256");
    }
    return hash;
}

Tokens Tokens::read(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) { wrong("--token-file " + path + ": " + std::strerror(errno)); }
    struct stat status {};
    std::string text(file_bytes_max + 1, '\0');
    const bool known = ::fstat(file, &status) == 0;
    const ssize_t bytes = ::read(file, text.data(), text.size());
    ::close(file);
    if (!known || !S_ISREG(status.st_mode)) {
        wrong("--token-file " + path + ": not a regular file");
    }
    if ((status.st_mode & 0077) != 0) {
        wrong("--token-file " + path + ": others can read or write it; chmod 600 it");
    }
    if (bytes < 0 || static_cast<std::size_t>(bytes) > file_bytes_max) {
        wrong("--token-file " + path + ": cannot be read, or larger than 64 KiB");
    }
    text.resize(static_cast<std::size_t>(bytes));
    Tokens tokens = parse(text, path);
    OPENSSL_cleanse(text.data(), text.size());
    return tokens;
}

Tokens Tokens::parse(std::string_view text, const std::string& name) {
    Tokens tokens;
    std::size_t number = 0;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == text.npos ? text.size() : end + 1);
        ++number;
        line = line.substr(0, line.find('#'));
        line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
        if (line.empty()) { continue; }
        const std::string at = "--token-file " + name + ": line " + std::to_string(number) + ": ";
        const std::size_t space = line.find(' ');
        const std::string_view word = line.substr(0, space);
        const Scope scope = word == "read"    ? Scope::read
                            : word == "write" ? Scope::write
                            : word == "admin" ? Scope::admin
                                              : Scope::none;
        if (scope == Scope::none || space == line.npos) {
            wrong(at + "read|write|admin TOKEN is expected");
        }
        const std::string_view token = line.substr(line.find_first_not_of(' ', space));
        for (const char c : token) {
            if (c <= 0x20 || c >= 0x7f) { wrong(at + "a token is visible ASCII without spaces"); }
        }
        if (token.size() < token_bytes_min || token.size() > token_bytes_max) {
            wrong(at + "a token has 16 to 256 characters");
        }
        tokens.entries_.push_back({sha256(token), scope});
    }
    if (tokens.entries_.empty()) { wrong("--token-file " + name + ": holds no token"); }
    return tokens;
}

Scope Tokens::scope_of(std::string_view token) const {
    const Sha256 hash = sha256(token);
    Scope scope = Scope::none;
    for (const Entry& entry : entries_) { // all of them, whichever matches
        const bool same = CRYPTO_memcmp(entry.hash.data(), hash.data(), hash.size()) == 0;
        if (same && entry.scope > scope) { scope = entry.scope; }
    }
    return scope;
}

} // namespace mustafar::daemon
