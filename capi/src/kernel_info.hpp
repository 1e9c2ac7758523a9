// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>

#include "core/kernels.hpp"
#include "mustafar/info.h"

namespace mustafar::capi {

inline mustafar_kernel_info kernel_info(const KernelRow& row) {
    mustafar_kernel_info info{};
    info.struct_size = sizeof(info);
    const char* missing = row.missing();
    info.available = missing == nullptr ? 1 : 0;
    std::snprintf(info.op, sizeof(info.op), "%s", row.op);
    std::snprintf(info.backend, sizeof(info.backend), "%s", row.backend);
    std::snprintf(info.name, sizeof(info.name), "%s", row.name);
    std::snprintf(info.reason, sizeof(info.reason), "%s", missing != nullptr ? missing : "");
    return info;
}

} // namespace mustafar::capi
