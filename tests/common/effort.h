/* SPDX-License-Identifier: Apache-2.0
 *
 * Sanitizers slow a test ten times and more, and look for other faults than wrong numbers: under them long loops over
 * shapes, lengths and seeds take every n-th. MUSTAFAR_LONG takes all. */
#ifndef MUSTAFAR_TESTS_EFFORT_H
#define MUSTAFAR_TESTS_EFFORT_H

#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MUSTAFAR_TEST_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MUSTAFAR_TEST_SANITIZED 1
#endif

/* `n` under a sanitizer, else 1. */
static inline unsigned every_nth(unsigned n) {
#ifdef MUSTAFAR_TEST_SANITIZED
    return getenv("MUSTAFAR_LONG") == NULL ? n : 1;
#else
    (void)n;
    return 1;
#endif
}

#endif
