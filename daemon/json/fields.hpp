// SPDX-License-Identifier: Apache-2.0
// Values of an object, read once each, with their type and range; what nobody read is unknown, hence refused.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "json/read.hpp"

namespace mustafar::daemon {

// Borrows the document. Every getter throws Problem bad_body with the pointer at fault.
class JsonFields {
  public:
    // `pointer` is where `object` stands in its document.
    explicit JsonFields(const Json& object, std::string pointer = {});

    bool has(const char* name) const { return object_.contains(name); }
    std::uint64_t integer(const char* name, std::uint64_t low, std::uint64_t high);
    std::uint64_t integer(const char* name, std::uint64_t low, std::uint64_t high,
                          std::uint64_t otherwise);
    double number(const char* name, double low, double high, double otherwise);
    bool boolean(const char* name, bool otherwise);
    std::string text(const char* name, std::size_t bytes_max);
    std::string text(const char* name, std::size_t bytes_max, const std::string& otherwise);
    std::string id(const char* name); // [a-z0-9][a-z0-9_-]{0,63}
    const Json& any(const char* name);
    const Json& array(const char* name, std::size_t count_max, std::size_t count_min = 1);
    JsonFields object(const char* name);
    // One of `words`; `otherwise` (or nullptr: required) where it is not there. Returns its index.
    std::size_t word(const char* name, std::initializer_list<const char*> words,
                     std::optional<std::size_t> otherwise = std::nullopt);

    void finish() const; // refuses what no getter asked for
    std::string pointer(const char* name) const { return pointer_ + "/" + name; }

  private:
    const Json* find(const char* name); // nullptr where it is not there
    const Json& get(const char* name);
    const Json& object_;
    std::string pointer_;
    std::set<std::string> read_;
};

// An integer of a document, strictly: no 3.9, no -1 for 2^64 - 1.
std::uint64_t integer_of(const Json& value, const std::string& pointer, std::uint64_t low,
                         std::uint64_t high);

} // namespace mustafar::daemon
