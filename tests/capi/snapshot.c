/* SPDX-License-Identifier: Apache-2.0
 * snapshot.h: round trips, callbacks that fail or give little, damaged bytes, files. */
#define _DEFAULT_SOURCE /* mkdtemp, symlink, unlink */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

#define JSON "{\"schema\":\"mustafar.recipe\",\"version\":1,"

static mustafar_context* context;
static mustafar_cache* const untouched = (mustafar_cache*)(uintptr_t)0x5a5a5a50;
static char folder[] = "/tmp/mustafar-capi-XXXXXX";

static const char* const recipes[] = {
    "dense",
    "mustafar-70",
    "lean",
    "kivi-4",
    "kdi4g32/vdi2g32/w0",
    "k32i4m/vdi2/w16/s3",
    JSON "\"k\":{\"method\":\"threshold\",\"threshold\":0.3},\"v\":{\"method\":\"threshold\","
         "\"threshold\":0.2,\"bits\":8}}",
    JSON "\"k\":{\"method\":\"n_m\",\"n\":2,\"m\":4},\"v\":{\"method\":\"channels\",\"keep\":24}}",
    JSON "\"k\":{\"bits\":4},\"v\":{\"bits\":4},\"layers\":[{\"at\":\"1\",\"k\":{\"bits\":16,"
         "\"keep\":20}}]}"};
enum { RECIPES = sizeof recipes / sizeof recipes[0] };

static mustafar_geometry usual(void) { return make_geometry(2, 4, 2, 64, 32, MUSTAFAR_F16); }

/* Layers of unequal length, one head evicted. */
static mustafar_cache* filled(const char* recipe, uint32_t tokens) {
    mustafar_cache* cache = make_cache(context, usual(), recipe, 500, MUSTAFAR_CACHE_AUTO);
    const int32_t gone[3] = {40, 42, 60};
    must_append(cache, 0, 1, tokens, 0);
    must_append(cache, 1, 1, tokens / 2 + 1, 0);
    if (tokens >= 100) { MUST(mustafar_cache_evict(cache, 0, 1, gone, 3, 0, ERR)); }
    return cache;
}

static mustafar_cache* load(blob* bytes) {
    mustafar_cache* cache = NULL;
    bytes->at = 0;
    MUST(mustafar_cache_load(context, NULL, NULL, NULL, NULL, blob_read, bytes, &cache, ERR));
    return cache;
}

static void round_trip(const char* recipe_text) {
    const mustafar_geometry geometry = usual();
    static const uint32_t lengths[] = {0, 1, 31, 64, 65, 170};
    mustafar_recipe* recipe = make_recipe(recipe_text);
    size_t i;
    for (i = 0; i < sizeof lengths / sizeof lengths[0]; ++i) {
        mustafar_cache* cache =
            lengths[i] > 0 ? filled(recipe_text, lengths[i])
                           : make_cache(context, geometry, recipe_text, 500, MUSTAFAR_CACHE_AUTO);
        mustafar_cache *copy, *checked = NULL;
        blob bytes = snapshot_of(cache), later;
        copy = load(&bytes);
        CHECK_CASE(unchanged(copy, &bytes), "%s at %u", recipe_text, (unsigned)lengths[i]);
        CHECK_CASE(bytes.at == bytes.size, "%s: read %u of %u", recipe_text, (unsigned)bytes.at,
                   (unsigned)bytes.size);
        CHECK_CASE(bytes_of(copy).total == bytes_of(cache).total, "%s at %u: %llu and %llu bytes",
                   recipe_text, (unsigned)lengths[i], (unsigned long long)bytes_of(copy).total,
                   (unsigned long long)bytes_of(cache).total);
        bytes.at = 0;
        EXPECT(MUSTAFAR_OK, mustafar_cache_load(context, &geometry, recipe, "tests/capi", NULL,
                                                blob_read, &bytes, &checked, ERR));
        CHECK_CASE(checked != NULL && unchanged(checked, &bytes), "%s", recipe_text);
        must_append_all(cache, 5, 70); /* both go on alike */
        must_append_all(copy, 5, 70);
        later = snapshot_of(cache);
        CHECK_CASE(unchanged(copy, &later), "%s at %u, 70 more", recipe_text, (unsigned)lengths[i]);
        blob_free(&bytes);
        blob_free(&later);
        mustafar_cache_destroy(cache);
        mustafar_cache_destroy(copy);
        mustafar_cache_destroy(checked);
    }
    mustafar_recipe_destroy(recipe);
}

/* ---- callbacks ------------------------------------------------------------------------------------ */

typedef struct limited {
    blob bytes;
    int64_t calls, fail_at; /* the call that fails, counted from 1 */
    int32_t result;
    size_t most; /* of one read */
    bool endless_claim;
} limited;

static int32_t limited_write(void* user, const void* data, size_t bytes) {
    limited* to = user;
    return ++to->calls == to->fail_at ? to->result : blob_write(&to->bytes, data, bytes);
}

static int32_t limited_read(void* user, void* data, size_t bytes, size_t* got) {
    limited* from = user;
    int32_t result;
    if (++from->calls == from->fail_at) {
        *got = 0;
        return from->result;
    }
    result = blob_read(&from->bytes, data, bytes < from->most ? bytes : from->most, got);
    if (from->endless_claim) { *got = bytes + 1; /* a callback that lies */ }
    return result;
}

static void failing_callbacks(void) {
    mustafar_cache *cache = filled("lean", 170), *out = untouched;
    limited to, from;
    blob before = snapshot_of(cache);
    int64_t n, writes, live = (int64_t)stats_of(context).live_bytes;
    memset(&to, 0, sizeof to);
    EXPECT(MUSTAFAR_OK, mustafar_cache_save(cache, "tests/capi", limited_write, &to, ERR));
    writes = to.calls;
    CHECK(writes > 1 && blob_equal(&to.bytes, &before));
    blob_free(&to.bytes);
    for (n = 1; n <= writes; ++n) {
        memset(&to, 0, sizeof to);
        to.fail_at = n;
        to.result = (int32_t)(n % 2 != 0 ? 28 : -7);
        EXPECT(MUSTAFAR_IO, mustafar_cache_save(cache, "tests/capi", limited_write, &to, ERR));
        CHECK_CASE(last.values[0] == to.result, "call %d gave %d", (int)n, (int)last.values[0]);
        CHECK_CASE(to.calls == n, "called again after failing");
        blob_free(&to.bytes);
    }
    memset(&from, 0, sizeof from);
    from.bytes = before;
    from.most = SIZE_MAX;
    MUST(mustafar_cache_load(context, NULL, NULL, NULL, NULL, limited_read, &from, &out, ERR));
    mustafar_cache_destroy(out);
    for (n = from.calls; n >= 1; --n) {
        from.calls = 0;
        from.bytes.at = 0;
        from.fail_at = n;
        from.result = 5;
        out = untouched;
        EXPECT(MUSTAFAR_IO, mustafar_cache_load(context, NULL, NULL, NULL, NULL, limited_read,
                                                &from, &out, ERR));
        CHECK(last.values[0] == 5 && out == untouched && from.calls == n);
    }
    from.fail_at = 0;
    from.most = 1; /* one byte at a time */
    from.bytes.at = 0;
    EXPECT(MUSTAFAR_OK,
           mustafar_cache_load(context, NULL, NULL, NULL, NULL, limited_read, &from, &out, ERR));
    CHECK(out != untouched && unchanged(out, &before));
    mustafar_cache_destroy(out);
    from.most = 7;
    from.bytes.at = 0;
    EXPECT(MUSTAFAR_OK,
           mustafar_cache_load(context, NULL, NULL, NULL, NULL, limited_read, &from, &out, ERR));
    mustafar_cache_destroy(out);
    out = untouched;
    from.bytes.at = 0;
    from.endless_claim = true;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_load(context, NULL, NULL, NULL, NULL, limited_read, &from, &out, ERR));
    CHECK(out == untouched);
    CHECK((int64_t)stats_of(context).live_bytes == live); /* nothing of the failed loads stays */
    blob_free(&before);
    mustafar_cache_destroy(cache);
}

static void null_arguments(void) {
    mustafar_cache *cache = filled("lean", 50), *out = untouched;
    blob bytes = snapshot_of(cache), sink = {0};
    char* long_id = malloc(MUSTAFAR_MODEL_ID_MAX + 2);
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_save(NULL, "", blob_write, &sink, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_save(cache, "", NULL, &sink, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_save_file(NULL, "", "/tmp/x", ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_save_file(cache, "", NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_load(NULL, NULL, NULL, NULL, NULL, blob_read, &bytes, &out, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_load(context, NULL, NULL, NULL, NULL, NULL, &bytes, &out, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_load(context, NULL, NULL, NULL, NULL, blob_read, &bytes, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_load_file(NULL, NULL, NULL, NULL, NULL, "/tmp/x", &out, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_load_file(context, NULL, NULL, NULL, NULL, NULL, &out, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_load_file(context, NULL, NULL, NULL, NULL, "/tmp/x", NULL, NULL));
    CHECK(out == untouched && bytes.at == 0 && sink.size == 0);
    if (long_id != NULL) {
        memset(long_id, 'm', MUSTAFAR_MODEL_ID_MAX + 1);
        long_id[MUSTAFAR_MODEL_ID_MAX + 1] = '\0';
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_save(cache, long_id, blob_write, &sink, ERR));
        CHECK(sink.size == 0);
        EXPECT(MUSTAFAR_OK, mustafar_cache_save(cache, long_id + 1, blob_write, &sink, ERR));
        EXPECT(MUSTAFAR_OK, mustafar_cache_load(context, NULL, NULL, long_id + 1, NULL, blob_read,
                                                &sink, &out, ERR));
        mustafar_cache_destroy(out);
    }
    blob_free(&sink);
    EXPECT(MUSTAFAR_OK, mustafar_cache_save(cache, NULL, blob_write, &sink, ERR)); /* NULL = "" */
    EXPECT(MUSTAFAR_OK,
           mustafar_cache_load(context, NULL, NULL, "", NULL, blob_read, &sink, &out, ERR));
    mustafar_cache_destroy(out);
    free(long_id);
    blob_free(&sink);
    blob_free(&bytes);
    mustafar_cache_destroy(cache);
}

/* ---- damage --------------------------------------------------------------------------------------- */

static void damaged_bytes(const char* recipe) {
    mustafar_cache* cache = make_cache(context, make_geometry(1, 1, 1, 32, 32, MUSTAFAR_F16),
                                       recipe, 100, MUSTAFAR_CACHE_AUTO);
    mustafar_cache* out = untouched;
    const int32_t gone[2] = {8, 9};
    blob bytes, cut;
    size_t i, accepted = 0, misnamed = 0, written = 0, bad_offset = 0;
    must_append_all(cache, 3, 70);
    if (strstr(recipe, "/w0") != NULL) { MUST(mustafar_cache_evict(cache, 0, 0, gone, 2, 0, ERR)); }
    bytes = snapshot_of(cache);
    for (i = 0; i < bytes.size; ++i) { /* truncated at every byte */
        mustafar_status status;
        cut = bytes;
        cut.size = i;
        cut.at = 0;
        status = mustafar_cache_load(context, NULL, NULL, NULL, NULL, blob_read, &cut, &out, ERR);
        accepted += status == MUSTAFAR_OK;
        misnamed += status != MUSTAFAR_CORRUPT;
        written += out != untouched;
        bad_offset += last.values[0] < 0 || last.values[0] > (int64_t)bytes.size;
    }
    CHECK_CASE(accepted == 0 && misnamed == 0 && written == 0 && bad_offset == 0,
               "%s cut: %u %u %u %u", recipe, (unsigned)accepted, (unsigned)misnamed,
               (unsigned)written, (unsigned)bad_offset);
    for (i = 0; i < bytes.size; ++i) { /* a bit flipped in every byte, each in its turn */
        const unsigned char bit = (unsigned char)(1u << (i * 5 % 8));
        mustafar_status status;
        bytes.data[i] ^= bit;
        bytes.at = 0;
        status = mustafar_cache_load(context, NULL, NULL, NULL, NULL, blob_read, &bytes, &out, ERR);
        bytes.data[i] ^= bit;
        accepted += status == MUSTAFAR_OK;
        if (i >= 8 && i < 12 && status == MUSTAFAR_MISMATCH) {
            status = MUSTAFAR_CORRUPT; /* the version: then it is a snapshot of another version */
        }
        if (status != MUSTAFAR_CORRUPT && status != MUSTAFAR_OK && ++misnamed <= 3) {
            CHECK_CASE(false, "%s: byte %u flipped: %s: %s", recipe, (unsigned)i,
                       mustafar_status_name(status), last.message);
        }
        written += out != untouched;
    }
    CHECK_CASE(accepted == 0 && misnamed == 0 && written == 0,
               "%s flipped: %u accepted, %u misnamed", recipe, (unsigned)accepted,
               (unsigned)misnamed);
    cut = bytes;
    cut.data = (unsigned char*)"not a snapshot at all, only some text that happens to be long "
                               "enough for a header....";
    cut.size = strlen((char*)cut.data);
    cut.at = 0;
    EXPECT(MUSTAFAR_CORRUPT,
           mustafar_cache_load(context, NULL, NULL, NULL, NULL, blob_read, &cut, &out, ERR));
    cut.size = cut.at = 0;
    EXPECT(MUSTAFAR_CORRUPT,
           mustafar_cache_load(context, NULL, NULL, NULL, NULL, blob_read, &cut, &out, ERR));
    CHECK(out == untouched);
    blob_free(&bytes);
    mustafar_cache_destroy(cache);
}

static void mismatches(void) {
    mustafar_cache *cache = filled("lean", 170), *out = untouched;
    blob bytes = snapshot_of(cache);
    mustafar_recipe* other = make_recipe("leaner");
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    uint32_t field;
#define LOAD(geometry, recipe, id, opts)                                                           \
    (bytes.at = 0,                                                                                 \
     mustafar_cache_load(context, geometry, recipe, id, opts, blob_read, &bytes, &out, ERR))
    for (field = 1; field <= 6; ++field) {
        static const uint32_t values[] = {0, 3, 8, 1, 72, 40, MUSTAFAR_BF16};
        mustafar_geometry geometry = usual();
        memcpy((char*)&geometry + 4 * field, &values[field], 4);
        EXPECT(MUSTAFAR_MISMATCH, LOAD(&geometry, NULL, NULL, NULL));
        CHECK(out == untouched);
    }
    EXPECT(MUSTAFAR_MISMATCH, LOAD(NULL, other, NULL, NULL));
    EXPECT(MUSTAFAR_MISMATCH, LOAD(NULL, NULL, "tests/cap", NULL));
    EXPECT(MUSTAFAR_MISMATCH, LOAD(NULL, NULL, "tests/capi ", NULL));
    EXPECT(MUSTAFAR_MISMATCH, LOAD(NULL, NULL, "", NULL));
    CHECK(strstr(last.message, "tests/capi") != NULL);
    options.max_tokens = 169;
    EXPECT(MUSTAFAR_CAPACITY, LOAD(NULL, NULL, NULL, &options));
    options.max_tokens = 170;
    options.flags = 0;
    EXPECT(MUSTAFAR_MISMATCH, LOAD(NULL, NULL, NULL, &options));
    CHECK(out == untouched);
    options.flags = MUSTAFAR_CACHE_AUTO;
    EXPECT(MUSTAFAR_OK, LOAD(NULL, NULL, NULL, &options));
    mustafar_cache_destroy(out);
    options.max_tokens = 0; /* as saved */
    EXPECT(MUSTAFAR_OK, LOAD(NULL, NULL, NULL, &options));
    {
        mustafar_cache_options described = {0};
        described.struct_size = (uint32_t)sizeof described;
        MUST(mustafar_cache_describe(out, NULL, &described, NULL, ERR));
        CHECK(described.max_tokens == 500);
    }
    mustafar_cache_destroy(out);
    {
        const mustafar_geometry geometry = usual();
        mustafar_recipe* resolved = make_recipe("lean");
        EXPECT(MUSTAFAR_OK, LOAD(&geometry, resolved, "tests/capi", NULL));
        mustafar_cache_destroy(out);
        mustafar_recipe_destroy(resolved);
    }
#undef LOAD
    mustafar_recipe_destroy(other);
    blob_free(&bytes);
    mustafar_cache_destroy(cache);
}

/* ---- files ---------------------------------------------------------------------------------------- */

static int files_in(const char* path) {
    DIR* directory = opendir(path);
    struct dirent* entry;
    int count = 0;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    }
    if (directory != NULL) { closedir(directory); }
    return count;
}

static blob read_whole(const char* path) {
    blob bytes = {0};
    char block[4096];
    size_t got;
    FILE* file = fopen(path, "rb");
    while (file != NULL && (got = fread(block, 1, sizeof block, file)) > 0) {
        blob_write(&bytes, block, got);
    }
    if (file != NULL) { fclose(file); }
    return bytes;
}

static void files(void) {
    mustafar_cache *cache = filled("lean", 170), *out = untouched;
    char path[256], longer[256], in_missing[256], tail[8];
    blob bytes = snapshot_of(cache), file;
    FILE* append;
    snprintf(path, sizeof path, "%s/a.mst", folder);
    snprintf(longer, sizeof longer, "%s/b.mst", folder);
    snprintf(in_missing, sizeof in_missing, "%s/missing/a.mst", folder);
    EXPECT(MUSTAFAR_OK, mustafar_cache_save_file(cache, "tests/capi", path, ERR));
    file = read_whole(path);
    CHECK(blob_equal(&file, &bytes)); /* a file is what save writes */
    CHECK_CASE(files_in(folder) == 1, "%d files", files_in(folder));
    EXPECT(MUSTAFAR_OK,
           mustafar_cache_load_file(context, NULL, NULL, "tests/capi", NULL, path, &out, ERR));
    CHECK(unchanged(out, &bytes));
    mustafar_cache_destroy(out);
    out = untouched;
    must_append_all(cache, 5, 10);
    EXPECT(MUSTAFAR_OK,
           mustafar_cache_save_file(cache, "tests/capi", path, ERR)); /* over the old one */
    CHECK(files_in(folder) == 1);
    blob_free(&file);
    file = read_whole(path);
    CHECK(unchanged(cache, &file));

    EXPECT(MUSTAFAR_IO,
           mustafar_cache_load_file(context, NULL, NULL, NULL, NULL, in_missing, &out, ERR));
    CHECK(last.values[0] == ENOENT && strstr(last.message, "missing/a.mst") != NULL);
    EXPECT(MUSTAFAR_IO,
           mustafar_cache_load_file(context, NULL, NULL, NULL, NULL, folder, &out, ERR));
    CHECK(last.values[0] == EISDIR);
    EXPECT(MUSTAFAR_IO, mustafar_cache_load_file(context, NULL, NULL, NULL, NULL, "", &out, ERR));
    EXPECT(MUSTAFAR_IO, mustafar_cache_save_file(cache, NULL, in_missing, ERR));
    CHECK(last.values[0] == ENOENT);
    EXPECT(MUSTAFAR_IO,
           mustafar_cache_save_file(cache, NULL, folder, ERR)); /* a directory is in the way */
    EXPECT(MUSTAFAR_IO, mustafar_cache_save_file(cache, NULL, "/proc/mustafar.mst", ERR));
    EXPECT(MUSTAFAR_IO, mustafar_cache_save_file(cache, NULL, "", ERR));
    EXPECT(MUSTAFAR_CORRUPT,
           mustafar_cache_load_file(context, NULL, NULL, NULL, NULL, "/dev/null", &out, ERR));
    CHECK(out == untouched);
    CHECK_CASE(files_in(folder) == 1, "%d files: what a failed save left", files_in(folder));

    snprintf(tail, sizeof tail, "x");
    append = fopen(longer, "wb");
    if (CHECK(append != NULL)) { /* bytes behind the snapshot */
        CHECK(fwrite(bytes.data, 1, bytes.size, append) == bytes.size &&
              fwrite(tail, 1, 1, append) == 1);
        fclose(append);
        EXPECT(MUSTAFAR_CORRUPT,
               mustafar_cache_load_file(context, NULL, NULL, NULL, NULL, longer, &out, ERR));
        CHECK_CASE(last.values[0] == (int64_t)bytes.size, "%d of %d", (int)last.values[0],
                   (int)bytes.size);
        CHECK(out == untouched);
    }
    unlink(longer);
    unlink(path);
    blob_free(&file);
    blob_free(&bytes);
    mustafar_cache_destroy(cache);
}

/* A saved file has the permissions of any new file of this process. */
static void permissions(void) {
    static const mode_t masks[] = {022, 027, 077, 002};
    mustafar_cache* cache = filled("lean", 40);
    char path[256];
    size_t i;
    snprintf(path, sizeof path, "%s/mode.mst", folder);
    for (i = 0; i < sizeof masks / sizeof masks[0]; ++i) {
        struct stat info;
        const mode_t before = umask(masks[i]);
        EXPECT(MUSTAFAR_OK, mustafar_cache_save_file(cache, NULL, path, ERR));
        CHECK(umask(before) == masks[i]); /* as it was during the call */
        if (CHECK(stat(path, &info) == 0)) {
            CHECK_CASE((info.st_mode & 0777) == (0666 & ~masks[i]), "%o under umask %o",
                       (unsigned)info.st_mode & 0777, (unsigned)masks[i]);
        }
    }
    unlink(path);
    mustafar_cache_destroy(cache);
}

/* A disk that is full: through the callback that writes to /dev/full, and through a file system of one
 * page where this process may mount one (ctest rarely runs so). */
static int32_t write_to_file(void* user, const void* data, size_t bytes) {
    return fwrite(data, 1, bytes, user) == bytes && fflush(user) == 0 ? 0 : errno;
}

static void full_disk(void) {
    mustafar_cache* cache = filled("lean", 170);
    FILE* full = fopen("/dev/full", "wb");
    if (full != NULL) {
        EXPECT(MUSTAFAR_IO, mustafar_cache_save(cache, NULL, write_to_file, full, ERR));
        CHECK(last.values[0] == ENOSPC);
        fclose(full);
    }
    mustafar_cache_destroy(cache);
}

/* Tentative tokens: whatever save does with them, it must not lose them in silence. */
static void tentative_tokens(void) {
    mustafar_cache *cache = filled("lean", 100), *copy = NULL;
    blob bytes = {0};
    mustafar_status status;
    must_append(cache, 0, 1, 3, MUSTAFAR_APPEND_TENTATIVE);
    status = mustafar_cache_save(cache, NULL, blob_write, &bytes, ERR);
    if (status == MUSTAFAR_OK) {
        uint32_t committed = 0, tentative = 0;
        copy = load(&bytes);
        MUST(mustafar_cache_length(copy, 0, &committed, &tentative, ERR));
        CHECK_CASE(committed == 100 && tentative == 3, "%u + %u", (unsigned)committed,
                   (unsigned)tentative);
        mustafar_cache_destroy(copy);
    } else {
        CHECK(status == MUSTAFAR_BAD_STATE && bytes.size == 0);
    }
    blob_free(&bytes);
    mustafar_cache_destroy(cache);
}

/* Equal caches give equal bytes, however they came to be. */
static void equal_caches_equal_bytes(void) {
    mustafar_cache *a = filled("lean", 170), *fork = NULL,
                   *b = make_cache(context, usual(), "lean", 500, MUSTAFAR_CACHE_AUTO);
    blob bytes = snapshot_of(a), again = snapshot_of(a);
    const int32_t gone[3] = {40, 42, 60};
    CHECK(blob_equal(&bytes, &again));
    MUST(mustafar_cache_fork(a, &fork, ERR));
    CHECK(unchanged(fork, &bytes));
    must_append_all(b, 99, 300);
    MUST(mustafar_cache_reset(b, ERR));
    must_append(b, 0, 1, 170, 0);
    must_append(b, 1, 1, 86, 0);
    MUST(mustafar_cache_evict(b, 0, 1, gone, 1, 0, ERR));
    MUST(mustafar_cache_evict(b, 0, 1, gone + 1, 2, 0, ERR));
    CHECK(unchanged(b, &bytes));
    blob_free(&bytes);
    blob_free(&again);
    mustafar_cache_destroy(a);
    mustafar_cache_destroy(b);
    mustafar_cache_destroy(fork);
}

int main(void) {
    size_t i;
    context = make_context(1);
    if (mkdtemp(folder) == NULL) {
        printf("FAILED  no temporary folder\n");
        return 1;
    }
    for (i = 0; i < RECIPES; ++i) { round_trip(recipes[i]); }
    failing_callbacks();
    null_arguments();
    damaged_bytes("k16i4/vdi2");
    damaged_bytes("kdi4c/v20");
    damaged_bytes("k16i4m/vdi2g32/w0");
    damaged_bytes(JSON "\"k\":{\"method\":\"threshold\",\"threshold\":0.3,\"bits\":4},\"v\":{"
                       "\"method\":\"channels\",\"keep\":24}}");
    mismatches();
    files();
    permissions();
    full_disk();
    tentative_tokens();
    equal_caches_equal_bytes();
    CHECK(stats_of(context).caches == 0);
    mustafar_context_destroy(context);
    rmdir(folder);
    return check_summary("capi/snapshot");
}
