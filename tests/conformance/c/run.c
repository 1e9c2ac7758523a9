/* SPDX-License-Identifier: Apache-2.0
 *
 * The conformance vectors on the C ABI, from C99. It reads the line-oriented twins (README.md, "The
 * twin"), for C has no JSON reader.
 *
 *   run VECTORS RAN [--backend NAME] [--only ID] [--leave-out ID]
 *
 * As the C++ runner: RAN gets `ran ID` or `failed ID why`, and the status says whether all ran. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "steps.h"

struct arguments {
    const char *vectors, *ran, *backend, *only, *leave_out;
};

/* The step was refused as it should have been: status, argument, numbers. */
static bool answered(const struct runner* runner, const struct step* step) {
    const char* wanted = text_of(step, "status");
    const char* got = mustafar_status_name(runner->status) + strlen("MUSTAFAR_");
    const char* names = text_of(step, "names");
    int64_t values[MOST_LIST];
    const size_t count = list_of(step, "error_values", values);
    if (strcmp(got, wanted != NULL ? wanted : "OK") != 0) {
        return fail("status %s, expected %s: %s", got, wanted != NULL ? wanted : "OK",
                    runner->error.message);
    }
    if (names != NULL && strstr(runner->error.message, names) == NULL) {
        return fail("the error does not name %s: %s", names, runner->error.message);
    }
    for (size_t i = 0; i < count && i < 4; ++i) {
        if (runner->error.values[i] != values[i]) { return fail("other error values"); }
    }
    return true;
}

static bool run_step(struct runner* runner, const struct step* step) {
    const mustafar_error fresh = MUSTAFAR_ERROR_INIT;
    bool known = false;
    runner->status = MUSTAFAR_OK;
    runner->error = fresh;
    bool good = run_change(runner, step, &known);
    if (!known) { good = run_question(runner, step, &known); }
    if (!known) { return fail("unknown op"); }
    return good && answered(runner, step);
}

static void end_case(struct runner* runner) {
    for (int i = 0; i < MOST_CACHES; ++i) {
        mustafar_cache_destroy(runner->caches[i]);
        runner->caches[i] = NULL;
        free_array(&runner->saved[i]);
        runner->saved[i].count = 0;
    }
}

struct totals {
    size_t ran, failed;
};

static void report(FILE* ran, const char* id, bool good, const char* op, int number,
                   struct totals* totals) {
    if (good) {
        fprintf(ran, "ran %s\n", id);
        ++totals->ran;
        return;
    }
    for (char* c = why; *c != 0; ++c) { *c = *c == '\n' ? ' ' : *c; }
    fprintf(ran, "failed %s step %d %s: %s\n", id, number, op, why);
    printf("failed %s: step %d %s: %s\n", id, number, op, why);
    ++totals->failed;
}

static bool wanted(const struct arguments* arguments, const char* id) {
    if (arguments->leave_out != NULL && strcmp(id, arguments->leave_out) == 0) { return false; }
    return arguments->only == NULL || strcmp(id, arguments->only) == 0;
}

static bool run_file(struct runner* runner, const char* path, const struct arguments* arguments,
                     FILE* ran, struct totals* totals) {
    FILE* in = fopen(path, "r");
    if (in == NULL) { return false; }
    char* line = NULL;
    char* head = NULL; /* the case's own line, which `test` points into */
    size_t room = 0;
    struct step test;
    bool skip = true;
    bool good = true;
    int number = 0;
    while (getline(&line, &room, in) > 0) {
        if (strncmp(line, "case ", 5) == 0) {
            free(head);
            head = strdup(line);
            good = read_step(head, &test) && test.count > 0;
            runner->test = &test;
            skip = !good || !wanted(arguments, test.keys[0]);
            number = 0;
        } else if (strncmp(line, "end", 3) == 0) {
            if (!skip && good) { report(ran, test.keys[0], true, "", 0, totals); }
            end_case(runner);
            skip = true;
        } else if (!skip && good) {
            struct step step;
            good = read_step(line, &step) && run_step(runner, &step);
            if (!good) { report(ran, test.keys[0], false, step.op, number, totals); }
            ++number;
        }
    }
    free(line);
    free(head);
    fclose(in);
    return true;
}

/* The strict tolerances are for the reference rows alone. */
static bool runs_on_ref(const mustafar_context* context) {
    static const char* const ops[] = {"attend", "unpack", "merge"};
    for (size_t i = 0; i < 3; ++i) {
        mustafar_kernel_info info;
        memset(&info, 0, sizeof(info));
        info.struct_size = sizeof(info);
        if (mustafar_context_kernel(context, ops[i], &info, NULL) != MUSTAFAR_OK ||
            strcmp(info.backend, "ref") != 0) {
            return false;
        }
    }
    return true;
}

static int is_twin(const struct dirent* entry) {
    const size_t bytes = strlen(entry->d_name);
    return bytes > 4 && strcmp(entry->d_name + bytes - 4, ".txt") == 0;
}

static int run_all(struct runner* runner, const struct arguments* arguments) {
    struct dirent** entries = NULL;
    const int count = scandir(arguments->vectors, &entries, is_twin, alphasort);
    FILE* ran = fopen(arguments->ran, "w");
    struct totals totals = {0, 0};
    bool good = count > 0 && ran != NULL;
    for (int i = 0; i < count; ++i) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", arguments->vectors, entries[i]->d_name);
        good = good && run_file(runner, path, arguments, ran, &totals);
        free(entries[i]);
    }
    free(entries);
    printf("%zu ran, %zu failed\n", totals.ran, totals.failed);
    good = ran != NULL && fclose(ran) == 0 && good;
    return good ? 0 : 1;
}

int main(int count, char** words) {
    struct arguments arguments = {0};
    struct runner runner;
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    if (count < 3) {
        fprintf(stderr, "run VECTORS RAN [--backend NAME] [--only ID] [--leave-out ID]\n");
        return 2;
    }
    arguments.vectors = words[1];
    arguments.ran = words[2];
    for (int i = 3; i + 1 < count; i += 2) {
        if (strcmp(words[i], "--backend") == 0) { arguments.backend = words[i + 1]; }
        if (strcmp(words[i], "--only") == 0) { arguments.only = words[i + 1]; }
        if (strcmp(words[i], "--leave-out") == 0) { arguments.leave_out = words[i + 1]; }
    }
    memset(&runner, 0, sizeof(runner));
    if (arguments.backend != NULL) {
        snprintf(options.backend, sizeof(options.backend), "%s", arguments.backend);
    }
    if (mustafar_context_create(&options, NULL, NULL, &runner.context, &error) != MUSTAFAR_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    runner.strict = runs_on_ref(runner.context);
    const int status = run_all(&runner, &arguments);
    mustafar_context_destroy(runner.context);
    return status;
}
