// SPDX-License-Identifier: Apache-2.0
#include "cuda/images.hpp"

namespace mustafar::cuda {
namespace {

std::string dotted(int capability) {
    return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

} // namespace

// Code of sm_XY runs on every X.Z with Z >= Y (CUDA programming guide, "binary compatibility"), PTX on
// whatever is newer.
std::string no_image(const Images& images, int capability, int driver) {
    std::string list;
    int newest = 0;
    for (const int architecture : images.architectures) {
        newest = architecture / 10;
        if (newest / 10 == capability / 10 && newest <= capability) { return ""; }
        list += (list.empty() ? "" : ", ") + dotted(newest);
    }
    const std::string has = "device 0 has compute capability " + dotted(capability);
    if (images.ptx && newest != 0 && newest <= capability) {
        if (driver >= images.toolkit) { return ""; }
        return has + ": its driver is too old to compile the PTX of this build";
    }
    return has + ": this build has code for " + (list.empty() ? "none" : list);
}

} // namespace mustafar::cuda
