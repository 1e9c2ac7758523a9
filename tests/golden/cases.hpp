// SPDX-License-Identifier: Apache-2.0
// How the golden snapshots of version 1 were made. Used by make_golden alone: tests read the files.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "library.hpp"

namespace mustafar::golden {

struct GoodCase {
    std::string name; // of the file, without ".snap"
    std::string why;
    std::string model_id;
    std::function<CachePtr(mustafar_context*)> make;
};
std::vector<GoodCase> good_cases();

struct BadCase {
    std::string name;
    std::string base; // the good file it was made of
    std::function<Bytes(const Bytes&)> damage;
    mustafar_status status;
    std::string section; // whose start the error must name, "" = the file's first byte, "-" = none
    std::string says;    // a part of the error's text: that it was refused for the reason meant
};
std::vector<BadCase> bad_cases();

} // namespace mustafar::golden
