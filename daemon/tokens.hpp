// SPDX-License-Identifier: Apache-2.0
// Who may do what. A token file has lines `read|write|admin TOKEN`; '#' starts a comment. Only hashes are kept.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.hpp"

namespace mustafar::daemon {

using Sha256 = std::array<unsigned char, 32>;
Sha256 sha256(std::string_view bytes);

class Tokens {
  public:
    // Throws std::invalid_argument: not a regular file of mode 0600 or less, a line that is not understood,
    // a token below 16 or above 256 characters, no token at all.
    static Tokens read(const std::string& path);
    static Tokens parse(std::string_view text, const std::string& name);

    // Scope::none for a token that is not known. Takes the same time for every token of one length.
    Scope scope_of(std::string_view token) const;

  private:
    struct Entry {
        Sha256 hash;
        Scope scope;
    };
    std::vector<Entry> entries_;
};

} // namespace mustafar::daemon
