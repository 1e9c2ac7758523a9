/* SPDX-License-Identifier: Apache-2.0
 *
 * libmustafar: a KV cache that stays small. Keys and values are pruned, quantized and attended in
 * packed form. Read the headers in this order; stop anywhere and you can already work:
 *   types.h     status, error, tensor view, geometry
 *   info.h      versions, what runs here
 *   context.h   memory, threads, backend
 *   recipe.h    what survives, and in how many bits
 *   cache.h     create, append, prune, compress, evict, truncate, fork, stats, plan
 *   attend.h    attention and merge
 *   snapshot.h  save and load
 * Not included: dlpack.h, which converts DLPack tensors to the view of types.h. */
#ifndef MUSTAFAR_MUSTAFAR_H
#define MUSTAFAR_MUSTAFAR_H

#include "attend.h"
#include "cache.h"
#include "context.h"
#include "info.h"
#include "recipe.h"
#include "snapshot.h"
#include "types.h"

#endif /* MUSTAFAR_MUSTAFAR_H */
