// SPDX-License-Identifier: Apache-2.0
// Any bytes as a snapshot whose lengths and checksums fit and whose recipe is canonical: what is behind them is tried.
#include "sections.hpp"
#include "support.hpp"

using namespace mustafar::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Gate gate;
    try_snapshot(gate, mustafar::golden::repair(Bytes(data, data + size), true));
    return 0;
}
