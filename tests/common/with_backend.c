/* SPDX-License-Identifier: Apache-2.0
 *
 * with_backend NAME PROGRAM [ARGUMENTS]: runs a program with MUSTAFAR_FORCE_BACKEND=NAME; `best` is that
 * of the row of attend that this machine gets. Where this build has no row of that backend, or this
 * machine cannot run it, says so and exits with 77: skipped. */
#define _POSIX_C_SOURCE 200809L /* setenv, execvp */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mustafar/mustafar.h"

int main(int argc, char** argv) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    const bool best = argc > 1 && strcmp(argv[1], "best") == 0;
    char backend[64] = "";
    bool known = false;
    size_t i;
    if (argc < 3) {
        fprintf(stderr, "usage: with_backend NAME PROGRAM [ARGUMENTS]\n");
        return 2;
    }
    for (i = 0; i < mustafar_kernel_count(); ++i) {
        mustafar_kernel_info row;
        memset(&row, 0, sizeof row);
        row.struct_size = (uint32_t)sizeof row;
        if (mustafar_kernel_at(i, &row, &error) != MUSTAFAR_OK) {
            fprintf(stderr, "with_backend: %s\n", error.message);
            return 1;
        }
        if (best && (strcmp(row.op, "attend") != 0 || row.available == 0)) { continue; }
        if (!best && strcmp(row.backend, argv[1]) != 0) { continue; }
        known = !best || strcmp(row.backend, "ref") != 0;
        snprintf(backend, sizeof backend, "%s", row.backend);
        if (best) { break; } /* they stand in that order */
        if (row.available == 0) {
            printf("skipped: %s cannot run here: %s\n", row.name, row.reason);
            return 77;
        }
    }
    if (!known) {
        printf("skipped: %s %s\n",
               best ? "nothing here is faster than" : "this build has no rows of",
               best ? "ref" : argv[1]);
        return 77;
    }
    if (setenv("MUSTAFAR_FORCE_BACKEND", backend, 1) != 0) {
        perror("with_backend: setenv");
        return 1;
    }
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return 1;
}
