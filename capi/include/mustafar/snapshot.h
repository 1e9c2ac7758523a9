/* SPDX-License-Identifier: Apache-2.0
 *
 * Saving a cache and loading it again. A snapshot is self-describing (docs/format.md, section 5):
 * geometry, recipe, the caller's model_id, rows in canonical order, a checksum per section. Equal
 * caches give equal bytes. Everything read is checked before use; loading builds a new cache and
 * hands it out whole. */
#ifndef MUSTAFAR_SNAPSHOT_H
#define MUSTAFAR_SNAPSHOT_H

#include "cache.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MUSTAFAR_MODEL_ID_MAX 1024 /* bytes, the NUL not counted */

/* Takes `bytes` bytes; 0 = taken, anything else ends the save with MUSTAFAR_IO and that number in
 * values[0]. Called on the saving thread; must not call back into the cache. */
typedef int32_t (*mustafar_write_fn)(void *user, const void *data, size_t bytes);

/* Gives up to `bytes` bytes: 0 and `*got` (0 = end); anything else ends the load likewise. */
typedef int32_t (*mustafar_read_fn)(void *user, void *data, size_t bytes, size_t *got);

/* Writes a snapshot through `write`. `model_id` is any text that names weights and position
 * encoding (NUL-terminated, at most MUSTAFAR_MODEL_ID_MAX bytes, may be NULL = ""); load compares
 * it.
 *   IO, INVALID_ARGUMENT, OUT_OF_MEMORY.                                               Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_save(const mustafar_cache *cache,
                                                                   const char *model_id,
                                                                   mustafar_write_fn write,
                                                                   void *user,
                                                                   mustafar_error *error);

/* The same into a file: written beside it, synced, then renamed over it, so that `path` is never
 * half a snapshot and an old one survives a failure.                                   Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_save_file(const mustafar_cache *cache,
                                                                        const char *model_id,
                                                                        const char *path,
                                                                        mustafar_error *error);

/* Builds a cache from a snapshot. What is given must match, what is NULL is taken from the
 * snapshot:
 *   geometry, recipe   compared field by field, and by digest
 *   model_id           compared byte by byte
 *   options            max_tokens 0 = as saved; flags must equal the saved ones; NULL = as saved
 * Reads exactly the bytes of the snapshot and not more.
 *   MISMATCH (also a version or an encoding tag that this library does not read); CORRUPT (magic,
 *   checksum, any count or value out of range; values[0] = byte offset of the section at fault);
 *   IO; OUT_OF_MEMORY; CAPACITY max_tokens below the saved length.                     Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_load(
    mustafar_context *context, const mustafar_geometry *geometry, const mustafar_recipe *recipe,
    const char *model_id, const mustafar_cache_options *options, mustafar_read_fn read, void *user,
    mustafar_cache **out, mustafar_error *error);

/* The same from a file; bytes behind the snapshot are CORRUPT.                         Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_load_file(
    mustafar_context *context, const mustafar_geometry *geometry, const mustafar_recipe *recipe,
    const char *model_id, const mustafar_cache_options *options, const char *path,
    mustafar_cache **out, mustafar_error *error);

#ifdef __cplusplus
}
#endif
#endif /* MUSTAFAR_SNAPSHOT_H */
