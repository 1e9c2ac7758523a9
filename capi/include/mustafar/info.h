/* SPDX-License-Identifier: Apache-2.0
 *
 * What this library is and what it can run here. No handle is needed; every call may overlap any
 * other. */
#ifndef MUSTAFAR_INFO_H
#define MUSTAFAR_INFO_H

#include "types.h"

#define MUSTAFAR_VERSION_MAJOR 0
#define MUSTAFAR_VERSION_MINOR 1
#define MUSTAFAR_VERSION_PATCH 0
#define MUSTAFAR_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* Release of the loaded library, e.g. "0.1.0". Static text.                            Since 0.1 */
MUSTAFAR_API const char *mustafar_version(void);

/* ABI number of the loaded library; equals its SONAME. 0 while experimental.           Since 0.1 */
MUSTAFAR_API uint32_t mustafar_abi_version(void);

/* Compiler, build type and options, one line of static text.                           Since 0.1 */
MUSTAFAR_API const char *mustafar_build_text(void);

/* Symbol of a status, e.g. "MUSTAFAR_NON_FINITE"; "MUSTAFAR_UNKNOWN" for values it does not know.
 * Static text.                                                                         Since 0.1 */
MUSTAFAR_API const char *mustafar_status_name(mustafar_status status);

/* Symbol of a dtype, e.g. "f16"; "unknown" otherwise. Static text.                     Since 0.1 */
MUSTAFAR_API const char *mustafar_dtype_name(mustafar_dtype dtype);

/* One row of a dispatch table. Each operation has one ordered list, best row first, and ends in
 * `ref`. */
typedef struct mustafar_kernel_info {
    uint32_t struct_size; /* caller's sizeof */
    uint32_t available;   /* 1: this machine can run it */
    char op[32];          /* "attend", "prune", "pack", "unpack", "merge", "order" */
    char backend[32];     /* "ref", ...: what MUSTAFAR_FORCE_BACKEND and the context option take */
    char name[64];        /* function name, as a profiler shows it: "attend_ref" */
    char reason[128];     /* why not available; empty when it is */
} mustafar_kernel_info;

/* Number of rows of all tables together.                                               Since 0.1 */
MUSTAFAR_API size_t mustafar_kernel_count(void);

/* Row `index` (0 .. count-1). INVALID_ARGUMENT beyond the end.                         Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_kernel_at(size_t index,
                                                                  mustafar_kernel_info *out,
                                                                  mustafar_error *error);

#ifdef __cplusplus
}
#endif
#endif /* MUSTAFAR_INFO_H */
