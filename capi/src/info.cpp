// SPDX-License-Identifier: Apache-2.0
#include "mustafar/info.h"

#include "core/kernels.hpp"
#include "guard.hpp"
#include "kernel_info.hpp"

using namespace mustafar;
using namespace mustafar::capi;

extern "C" {

const char* mustafar_version(void) { return MUSTAFAR_VERSION; }
uint32_t mustafar_abi_version(void) { return MUSTAFAR_ABI_VERSION; }

const char* mustafar_build_text(void) {
#if defined(__clang__)
    return "libmustafar " MUSTAFAR_VERSION ", clang " __clang_version__ ", " MUSTAFAR_BUILD_TYPE;
#else
    return "libmustafar " MUSTAFAR_VERSION ", gcc " __VERSION__ ", " MUSTAFAR_BUILD_TYPE;
#endif
}

const char* mustafar_status_name(mustafar_status status) {
    switch (status) {
    case MUSTAFAR_OK:
        return "MUSTAFAR_OK";
    case MUSTAFAR_INVALID_ARGUMENT:
        return "MUSTAFAR_INVALID_ARGUMENT";
    case MUSTAFAR_UNSUPPORTED:
        return "MUSTAFAR_UNSUPPORTED";
    case MUSTAFAR_OUT_OF_MEMORY:
        return "MUSTAFAR_OUT_OF_MEMORY";
    case MUSTAFAR_CAPACITY:
        return "MUSTAFAR_CAPACITY";
    case MUSTAFAR_BAD_STATE:
        return "MUSTAFAR_BAD_STATE";
    case MUSTAFAR_NON_FINITE:
        return "MUSTAFAR_NON_FINITE";
    case MUSTAFAR_NOT_EXACT:
        return "MUSTAFAR_NOT_EXACT";
    case MUSTAFAR_CORRUPT:
        return "MUSTAFAR_CORRUPT";
    case MUSTAFAR_MISMATCH:
        return "MUSTAFAR_MISMATCH";
    case MUSTAFAR_IO:
        return "MUSTAFAR_IO";
    case MUSTAFAR_DEVICE:
        return "MUSTAFAR_DEVICE";
    case MUSTAFAR_INTERNAL:
        return "MUSTAFAR_INTERNAL";
    default:
        return "MUSTAFAR_UNKNOWN";
    }
}

const char* mustafar_dtype_name(mustafar_dtype dtype) {
    switch (dtype) {
    case MUSTAFAR_F32:
        return "f32";
    case MUSTAFAR_F16:
        return "f16";
    case MUSTAFAR_BF16:
        return "bf16";
    case MUSTAFAR_U8:
        return "u8";
    case MUSTAFAR_I32:
        return "i32";
    default:
        return "unknown";
    }
}

size_t mustafar_kernel_count(void) { return kernel_rows().size(); }

mustafar_status mustafar_kernel_at(size_t index, mustafar_kernel_info* out, mustafar_error* error) {
    return guard("mustafar_kernel_at", error, [&] {
        check_output(out, "out");
        const auto rows = kernel_rows();
        if (index >= rows.size()) {
            refuse("index = " + std::to_string(index) + " is out of range; give 0.." +
                   std::to_string(rows.size() - 1));
        }
        write_struct(out, kernel_info(rows[index]));
    });
}

} // extern "C"
