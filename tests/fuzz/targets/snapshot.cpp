// SPDX-License-Identifier: Apache-2.0
// Any bytes as a snapshot.
#include "support.hpp"

using namespace mustafar::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Gate gate;
    try_snapshot(gate, Bytes(data, data + size));
    return 0;
}
