/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest test harness that will do: checks are counted, the first failures are printed, and
 * check_summary() prints "name: N passed, N failed" and gives the exit status of the program. */
#ifndef TESTS_CAPI_CHECK_H
#define TESTS_CAPI_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "mustafar/mustafar.h"

/* Passes when `condition` holds; gives `condition` back, so that a test can stop where it makes no sense
 * to go on. Extra arguments are a printf text about the case at hand. */
#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__, "%s", "")
#define CHECK_CASE(condition, ...)                                                                 \
    check_that((condition), #condition, __FILE__, __LINE__, __VA_ARGS__)
bool check_that(bool condition, const char* text, const char* file, int line, const char* format,
                ...) __attribute__((format(printf, 5, 6)));

/* Passes when `call` returns `status`; gives that back. Where the call was handed ERR, the error must say
 * the same status and carry a text that starts with "mustafar_", or be untouched on success. */
#define EXPECT(status, call) check_status((status), (call), #call, __FILE__, __LINE__)
bool check_status(mustafar_status expected, mustafar_status seen, const char* text,
                  const char* file, int line);

/* The last parameter of a call inside EXPECT: a fresh error, readable as `last` afterwards. */
#define ERR (fresh_error())
extern mustafar_error last;
mustafar_error* fresh_error(void);

/* Ends the program at once where a set-up step fails: nothing behind it would mean anything. */
#define MUST(call) must_succeed((call), #call, __FILE__, __LINE__)
void must_succeed(mustafar_status status, const char* text, const char* file, int line);

/* Prints the counts; 0 when something was checked and nothing failed. */
int check_summary(const char* program);

#endif
