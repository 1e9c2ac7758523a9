// SPDX-License-Identifier: Apache-2.0
// Any bytes as a safetensors file: refused with SafetensorsError, or entries that tile the buffer.
#include "experiment/safetensors.hpp"

#include "support.hpp"

using namespace mustafar::experiment;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
    try {
        const Safetensors tensors = parse_safetensors(file);
        std::size_t bytes = 0;
        for (const SafetensorsEntry& entry : tensors.entries) {
            std::uint64_t elements = 1;
            for (const std::uint64_t extent : entry.shape) { elements *= extent; }
            if (elements * safetensors_dtype_bytes(entry.dtype) != entry.data.size()) {
                mustafar::fuzz::fail("size of " + entry.name);
            }
            if (tensors.find(entry.name) == nullptr) { mustafar::fuzz::fail("name " + entry.name); }
            for (const std::byte byte : entry.data) {
                bytes += 1 + 0 * std::to_integer<std::size_t>(byte);
            }
        }
        if (bytes > size) { mustafar::fuzz::fail("entries overlap"); }
    } catch (const SafetensorsError&) {}
    return 0;
}
