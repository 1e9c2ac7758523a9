/* SPDX-License-Identifier: Apache-2.0
 * The smallest program a stranger would write: is this the library the header is of? */
#include <mustafar/mustafar.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    printf("libmustafar %s, ABI %u\n", mustafar_version(), (unsigned)mustafar_abi_version());
    if (strcmp(mustafar_version(), MUSTAFAR_VERSION) != 0) {
        fprintf(stderr, "header %s, library %s\n", MUSTAFAR_VERSION, mustafar_version());
        return 1;
    }
    return 0;
}
