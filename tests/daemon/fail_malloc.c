/* SPDX-License-Identifier: Apache-2.0
 *
 * LD_PRELOAD=fail_malloc.so MUSTAFAR_FAIL_MALLOC_CONTROL=FILE: counts the allocations of a process and lets one
 * of them fail, or all from one on, as the test says in FILE: three 64-bit integers that both have mapped.
 *   [0] calls so far   [1] n: the nth from now on fails, 0: none does   [2] 1: and all after it too */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What glibc's own functions do, under names that nobody replaces. */
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* data, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

static struct { _Atomic int64_t calls, countdown, all; } * control;

__attribute__((constructor)) static void map_control(void) {
    const char* path = getenv("MUSTAFAR_FAIL_MALLOC_CONTROL");
    const int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void* data = MAP_FAILED;
    if (file >= 0) {
        data = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
    }
    if (data == MAP_FAILED) { _exit(99); } /* a test that counts nothing must not pass */
    control = data;
}

static int fails(void) {
    int64_t left;
    if (control == NULL) { return 0; }
    atomic_fetch_add(&control->calls, 1);
    left = atomic_load(&control->countdown);
    while (left > 0) {
        if (left == 1 && atomic_load(&control->all) != 0) { break; } /* stays at 1 */
        if (atomic_compare_exchange_weak(&control->countdown, &left, left - 1)) { break; }
    }
    if (left != 1) { return 0; }
    errno = ENOMEM;
    return 1;
}

void* malloc(size_t bytes) { return fails() ? NULL : __libc_malloc(bytes); }
void* calloc(size_t count, size_t bytes) { return fails() ? NULL : __libc_calloc(count, bytes); }
void* realloc(void* data, size_t bytes) { return fails() ? NULL : __libc_realloc(data, bytes); }
void* aligned_alloc(size_t alignment, size_t bytes) {
    return fails() ? NULL : __libc_memalign(alignment, bytes);
}
int posix_memalign(void** out, size_t alignment, size_t bytes) {
    void* data = fails() ? NULL : __libc_memalign(alignment, bytes);
    if (data == NULL) { return ENOMEM; }
    *out = data;
    return 0;
}
