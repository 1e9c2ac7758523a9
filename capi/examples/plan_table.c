/* SPDX-License-Identifier: Apache-2.0
 * What every named recipe would cost for a model, without data:
 *     plan_table [layers kv_heads head_dim tokens]        default: 32 8 128 16384 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mustafar/mustafar.h>

static const char usage[] =
    "usage: plan_table [layers kv_heads head_dim tokens]\n"
    "  layers    1..4096          layers of the model\n"
    "  kv_heads  1..1024          key/value heads of a layer\n"
    "  head_dim  32..256, by 8    elements of a head's key, and of its value\n"
    "  tokens    1..2147483647    length of the sequence\n"
    "example: plan_table 32 8 128 16384\n";

/* A whole argument that is a number of the range, or the end of the program with a word about it. */
static uint32_t number(const char *name, const char *text, unsigned long least,
                       unsigned long most) {
    char *end = NULL;
    unsigned long value;
    errno = 0;
    value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least ||
        value > most) {
        fprintf(stderr, "plan_table: %s = \"%s\"; give a number %lu..%lu\n\n%s", name, text, least,
                most, usage);
        exit(2);
    }
    return (uint32_t)value;
}

/* Bytes of a whole cache under a recipe after `tokens` tokens. */
static mustafar_status plan(const char *name, const mustafar_geometry *geometry, uint32_t tokens,
                            mustafar_bytes *out, mustafar_error *error) {
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    mustafar_recipe *recipe = NULL;
    mustafar_status status = mustafar_recipe_parse(name, strlen(name), &recipe, error);
    options.max_tokens = tokens;
    memset(out, 0, sizeof *out);
    out->struct_size = (uint32_t)sizeof *out;
    if (status == MUSTAFAR_OK) {
        status = mustafar_plan(recipe, geometry, &options, tokens, MUSTAFAR_ALL, out, error);
    }
    mustafar_recipe_destroy(recipe);
    return status;
}

int main(int argc, char **argv) {
    mustafar_geometry geometry = {sizeof geometry, 32, 8, 8, 128, 128, MUSTAFAR_BF16, 0};
    uint32_t tokens = 16384;
    uint64_t dense;
    size_t i;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("%s", usage);
        return 0;
    }
    if (argc != 1 && argc != 5) {
        fprintf(stderr, "plan_table: %d arguments; give none or all four\n\n%s", argc - 1, usage);
        return 2;
    }
    if (argc == 5) {
        geometry.layers = number("layers", argv[1], 1, 4096);
        geometry.q_heads = geometry.kv_heads = number("kv_heads", argv[2], 1, 1024);
        geometry.head_dim_k = geometry.head_dim_v = number("head_dim", argv[3], 1, 4096);
        tokens = number("tokens", argv[4], 1, 2147483647);
    }
    dense = (uint64_t)geometry.layers * geometry.kv_heads *
            (geometry.head_dim_k + geometry.head_dim_v) * 2 * tokens;
    for (i = 0; i < mustafar_recipe_count(); ++i) {
        mustafar_error error = MUSTAFAR_ERROR_INIT;
        mustafar_bytes bytes;
        if (plan(mustafar_recipe_name(i), &geometry, tokens, &bytes, &error) != MUSTAFAR_OK) {
            fprintf(stderr, "plan_table: %s\n", error.message);
            return 1;
        }
        if (i == 0) {
            printf(
                "%u layers, %u kv heads, head_dim %u, %u tokens; dense 16-bit values: %.1f MiB\n",
                geometry.layers, geometry.kv_heads, geometry.head_dim_k, tokens,
                (double)dense / 1048576);
            printf("%-18s %12s %12s %12s %9s\n", "recipe", "total MiB", "window MiB", "bytes/token",
                   "of dense");
        }
        printf("%-18s %12.1f %12.1f %12.1f %8.1f%%%s\n", mustafar_recipe_name(i),
               (double)bytes.total / 1048576, (double)bytes.window / 1048576,
               (double)bytes.total / tokens, 100.0 * (double)bytes.total / (double)dense,
               bytes.exact ? "" : "  (at most)");
    }
    return 0;
}
