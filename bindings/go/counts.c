/* SPDX-License-Identifier: Apache-2.0
 * The allocator of CountingAllocator. */
#include "shim.h"

#include <stdlib.h> /* aligned_alloc */

mustafar_go_counts *mustafar_go_counts_create(void) {
    mustafar_go_counts *counts = calloc(1, sizeof *counts);
    if (counts != NULL) counts->fail_after = -1;
    return counts;
}

void mustafar_go_counts_destroy(mustafar_go_counts *counts) { free(counts); }

mustafar_go_counts mustafar_go_counts_read(mustafar_go_counts *counts) {
    mustafar_go_counts result;
    result.live_bytes = __atomic_load_n(&counts->live_bytes, __ATOMIC_RELAXED);
    result.live_blocks = __atomic_load_n(&counts->live_blocks, __ATOMIC_RELAXED);
    result.allocations = __atomic_load_n(&counts->allocations, __ATOMIC_RELAXED);
    result.fail_after = __atomic_load_n(&counts->fail_after, __ATOMIC_RELAXED);
    return result;
}

void mustafar_go_counts_fail_after(mustafar_go_counts *counts, int64_t allocations) {
    __atomic_store_n(&counts->fail_after, allocations, __ATOMIC_RELAXED);
}

void *mustafar_go_counted_allocate(void *user, size_t bytes, size_t alignment) {
    mustafar_go_counts *counts = user;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void *data;
    if (__atomic_load_n(&counts->fail_after, __ATOMIC_RELAXED) >= 0 &&
        __atomic_fetch_sub(&counts->fail_after, 1, __ATOMIC_RELAXED) <= 0) {
        __atomic_store_n(&counts->fail_after, 0, __ATOMIC_RELAXED);
        return NULL;
    }
    data = rounded < bytes ? NULL : aligned_alloc(alignment, rounded);
    if (data == NULL) return NULL;
    __atomic_fetch_add(&counts->live_bytes, (int64_t)bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counts->live_blocks, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counts->allocations, 1, __ATOMIC_RELAXED);
    return data;
}

void mustafar_go_counted_release(void *user, void *data, size_t bytes, size_t alignment) {
    mustafar_go_counts *counts = user;
    (void)alignment;
    __atomic_fetch_sub(&counts->live_bytes, (int64_t)bytes, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&counts->live_blocks, 1, __ATOMIC_RELAXED);
    free(data);
}
