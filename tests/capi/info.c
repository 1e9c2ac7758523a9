/* SPDX-License-Identifier: Apache-2.0
 * info.h: versions, names, rows of the dispatch tables. */
#include <string.h>

#include "common.h"

static void versions(void) {
    CHECK(strcmp(mustafar_version(), MUSTAFAR_VERSION) == 0);
    CHECK(mustafar_abi_version() == 0);
    CHECK(strlen(mustafar_build_text()) > 5);
    CHECK(strchr(mustafar_build_text(), '\n') == NULL);
}

static void names(void) {
    static const char* const statuses[] = {"MUSTAFAR_OK",          "MUSTAFAR_INVALID_ARGUMENT",
                                           "MUSTAFAR_UNSUPPORTED", "MUSTAFAR_OUT_OF_MEMORY",
                                           "MUSTAFAR_CAPACITY",    "MUSTAFAR_BAD_STATE",
                                           "MUSTAFAR_NON_FINITE",  "MUSTAFAR_NOT_EXACT",
                                           "MUSTAFAR_CORRUPT",     "MUSTAFAR_MISMATCH",
                                           "MUSTAFAR_IO",          "MUSTAFAR_DEVICE",
                                           "MUSTAFAR_INTERNAL"};
    static const char* const dtypes[] = {"unknown", "f32", "f16", "bf16", "u8", "i32"};
    int32_t i;
    for (i = 0; i < 13; ++i) {
        CHECK_CASE(strcmp(mustafar_status_name(i), statuses[i]) == 0, "status %d", (int)i);
    }
    CHECK(strcmp(mustafar_status_name(13), "MUSTAFAR_UNKNOWN") == 0);
    CHECK(strcmp(mustafar_status_name(-1), "MUSTAFAR_UNKNOWN") == 0);
    CHECK(strcmp(mustafar_status_name(INT32_MIN), "MUSTAFAR_UNKNOWN") == 0);
    for (i = 0; i < 6; ++i) {
        CHECK_CASE(strcmp(mustafar_dtype_name(i), dtypes[i]) == 0, "dtype %d", (int)i);
    }
    CHECK(strcmp(mustafar_dtype_name(6), "unknown") == 0);
    CHECK(strcmp(mustafar_dtype_name(-1), "unknown") == 0);
    CHECK(strcmp(mustafar_dtype_name(INT32_MAX), "unknown") == 0);
}

static void every_table_ends_in_ref(void) {
    static const char* const ops[] = {"attend", "prune", "pack", "unpack", "merge", "order"};
    const size_t count = mustafar_kernel_count();
    bool seen[6] = {false};
    char previous[32] = "";
    size_t i, op;
    CHECK(count >= 6);
    for (i = 0; i < count; ++i) {
        mustafar_kernel_info row;
        memset(&row, 0x5a, sizeof row);
        row.struct_size = (uint32_t)sizeof row;
        if (!EXPECT(MUSTAFAR_OK, mustafar_kernel_at(i, &row, ERR))) { continue; }
        CHECK(row.struct_size == sizeof row);
        CHECK(row.available <= 1);
        CHECK(memchr(row.op, 0, sizeof row.op) && memchr(row.backend, 0, sizeof row.backend));
        CHECK(memchr(row.name, 0, sizeof row.name) && memchr(row.reason, 0, sizeof row.reason));
        CHECK_CASE((row.reason[0] == '\0') == (row.available == 1), "row %s", row.name);
        CHECK_CASE(strncmp(row.name, row.op, strlen(row.op)) == 0, "row %s of %s", row.name,
                   row.op);
        for (op = 0; op < 6; ++op) {
            if (strcmp(row.op, ops[op]) == 0 && strcmp(row.backend, "ref") == 0) {
                CHECK_CASE(!seen[op], "two ref rows for %s", ops[op]);
                CHECK(row.available == 1);
                seen[op] = true;
            }
        }
        if (i > 0 && strcmp(previous, row.op) != 0) { /* the table before has ended */
            mustafar_kernel_info end = {0};
            end.struct_size = (uint32_t)sizeof end;
            EXPECT(MUSTAFAR_OK, mustafar_kernel_at(i - 1, &end, ERR));
            CHECK_CASE(strcmp(end.backend, "ref") == 0, "table %s ends in %s", end.op, end.name);
        }
        strcpy(previous, row.op);
    }
    for (op = 0; op < 6; ++op) { CHECK_CASE(seen[op], "no ref row for %s", ops[op]); }
}

static void kernel_at_refuses(void) {
    mustafar_kernel_info row, before;
    memset(&row, 0x5a, sizeof row);
    row.struct_size = (uint32_t)sizeof row;
    before = row;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_kernel_at(mustafar_kernel_count(), &row, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_kernel_at(SIZE_MAX, &row, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_kernel_at(SIZE_MAX, &row, NULL));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_kernel_at(0, NULL, ERR));
    CHECK(memcmp(&row, &before, sizeof row) == 0);
}

int main(void) {
    versions();
    names();
    every_table_ends_in_ref();
    kernel_at_refuses();
    return check_summary("capi/info");
}
