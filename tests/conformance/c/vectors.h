/* SPDX-License-Identifier: Apache-2.0
 *
 * What the C runner reads: a line of a twin file (vectors/TOPIC.txt) as words, and array texts.
 * README.md, "The twin" and "Arrays". */
#ifndef CONFORMANCE_C_VECTORS_H
#define CONFORMANCE_C_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mustafar/mustafar.h>

#define MOST_WORDS 48
#define MOST_LIST 128

/* One line: `op key=value key=value ...`. Points into the line, which it takes apart. */
struct step {
    const char* op;
    int count;
    const char* keys[MOST_WORDS];
    const char* values[MOST_WORDS];
};
bool read_step(char* line, struct step* out);

/* The value of a key, NULL where the step does not give it. */
const char* text_of(const struct step* step, const char* key);
int64_t number_of(const struct step* step, const char* key, int64_t otherwise);
float real_of(const struct step* step, const char* key, float otherwise);
uint32_t index_of(const struct step* step, const char* key); /* -1 = MUSTAFAR_ALL */
size_t list_of(const struct step* step, const char* key, int64_t out[MOST_LIST]);

struct array {
    mustafar_dtype dtype;
    size_t width; /* bytes of an element */
    size_t count;
    uint8_t* bytes;
};

/* Makes an array of its text. `count` says how many elements `gen` and `all` have. */
bool read_array(struct array* out, const char* text, size_t count);
bool make_array(struct array* out, mustafar_dtype dtype, size_t count);
void free_array(struct array* array);
float value_of(const struct array* array, size_t index);
mustafar_dtype dtype_named(const char* name, size_t bytes);

/* Says why the case failed and gives false. */
bool fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
extern char why[700];

#endif
