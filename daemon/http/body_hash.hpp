// SPDX-License-Identifier: Apache-2.0
// XXH3-128 of a body: what tells a repeated append from another one. Taken piece by piece as the bytes come it costs
// a fortieth of their transfer; taken from a large body in memory it is one more walk through all of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace mustafar::daemon {

using BodyDigest = std::array<std::uint64_t, 2>;

BodyDigest body_digest(std::string_view body);

// Threads: one at a time.
class BodyHash {
  public:
    BodyHash(); // throws std::bad_alloc
    void add(const char* data, std::size_t bytes);
    BodyDigest digest() const;

  private:
    struct Free {
        void operator()(void* state) const;
    };
    std::unique_ptr<void, Free> state_;
};

} // namespace mustafar::daemon
