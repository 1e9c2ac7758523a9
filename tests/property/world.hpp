// SPDX-License-Identifier: Apache-2.0
// The world a random program changes: a context, some caches, and the oracle's
// idea of each.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "budget.h"
#include "library.hpp"
#include "model.hpp"

namespace oracle {

// X(name, weight): operations and how often they are drawn.
#define ORACLE_KINDS(X)                                                                            \
    X(append, 30)                                                                                  \
    X(draft, 7)                                                                                    \
    X(commit, 7)                                                                                   \
    X(prune, 12)                                                                                   \
    X(compress, 6)                                                                                 \
    X(evict, 7)                                                                                    \
    X(evict_scores, 5)                                                                             \
    X(attend, 12)                                                                                  \
    X(merge, 1)                                                                                    \
    X(truncate, 8)                                                                                 \
    X(fork, 3)                                                                                     \
    X(drop, 3)                                                                                     \
    X(reset, 2)                                                                                    \
    X(reload, 4)                                                                                   \
    X(plan, 1)                                                                                     \
    X(refuse, 10)

enum class Kind : uint8_t {
#define X(name, weight) name,
    ORACLE_KINDS(X)
#undef X
};
const char *kind_name(Kind kind);
constexpr uint32_t kind_count = 16;

// One operation. What it does exactly follows from `seed` and the state it
// meets, so that any operation makes sense anywhere: programs can be shrunk by
// leaving operations out.
struct Op {
    Kind kind = Kind::append;
    uint32_t size = 0;   // tokens, lengths, counts
    uint32_t cache = 0;  // modulo the number of caches
    int32_t refuse = -1; // >= 0: the allocator refuses the n-th call
    uint64_t seed = 0;
};

struct Slot {
    Slot(mustafar_cache *cache, Model state);
    ~Slot() { mustafar_cache_destroy(library); }
    Slot(const Slot &) = delete;
    Slot &operator=(const Slot &) = delete;

    mustafar_cache *library;
    Model model;
    bool plain = false;          // only appended to and committed since creation: `plan` must agree
    mustafar_bytes bytes{};      // as the last check saw them
    mustafar_cache_stats base{}; // statistics when the handle appeared, and the
                                 // model's counters then
    uint64_t base_packed = 0, base_evicted = 0, base_appended = 0;
    void rebase();
};

// What the run has seen, for the table at the end.
struct Coverage {
    std::map<std::string, uint64_t> seen;
    void count(const std::string &what, uint64_t times = 1) { seen[what] += times; }
};

class World {
  public:
    World(const Config &config, Coverage &coverage);
    ~World();

    void run(const Op &op); // throws Failure
    void finish();          // destroys everything and checks that nothing is left
    const std::string &log() const { return log_; }

    const Config config;
    Coverage &coverage;
    Heap heap;
    mustafar_context *context = nullptr;
    mustafar_recipe *recipe = nullptr;
    std::string backend; // of the row that attends here
    std::vector<std::unique_ptr<Slot>> slots;
    mustafar_error error = MUSTAFAR_ERROR_INIT; // of the latest call
    Random random{0};                           // of the operation at work

    // True: the call succeeded. False: memory ran out as arranged (quota or
    // allocator), which must have changed nothing. Anything else fails the test.
    bool done(mustafar_status status, const char *call);
    // The call must be refused with `wanted`.
    void refused(mustafar_status status, mustafar_status wanted, const char *what);
    // Refused as malformed, or as something this release does not know (flags,
    // methods, dtypes).
    void rejected(mustafar_status status, const char *what) {
        const bool unknown = status == MUSTAFAR_UNSUPPORTED;
        refused(status, unknown ? MUSTAFAR_UNSUPPORTED : MUSTAFAR_INVALID_ARGUMENT, what);
    }
    __attribute__((format(printf, 2, 3))) void say(const char *format, ...);

    Slot &slot(const Op &op) { return *slots[op.cache % slots.size()]; }
    uint32_t any_layer() { return random.below(config.geometry.layers); }
    uint32_t any_head() { return random.below(config.geometry.kv_heads); }
    mustafar_dtype any_dtype();
    mustafar_cache *create(); // null: no memory, as arranged
    void check_recipe();
    // Of attention on one kv head; of dense rows without a recipe's freedom.
    attend_budget budget(const HeadRecipe *head) const;

  private:
    std::string log_;
    uint64_t steps_ = 0;
};

// checks.cpp, checks_bytes.cpp
void check_slot(World &world, Slot &slot);
void check_bytes(World &world, Slot &slot);
void check_context(World &world);
void check_plan(World &world, const Slot &slot, const mustafar_bytes &bytes);
void check_unchanged(World &world, const Slot &slot, const mustafar_bytes &before);
mustafar_bytes bytes_of(World &world, const Slot &slot, uint32_t layer, uint32_t head);

// K and V of one append, for both sides of the test.
struct Tokens {
    Tokens(World &world, uint32_t tokens);
    mustafar_dtype dtype;
    std::vector<float> values_k, values_v; // as the caller has them
    std::vector<float> stored_k, stored_v; // as the cache must store them
    Array k, v;
};

// Marks every row of `layer` (or all) that compress will ask a mark of: recipes with method `mask`.
// False: out of memory.
bool mark_for_compress(World &world, Slot &slot, uint32_t layer);

// One function per kind.
void do_append(World &world, const Op &op);
void do_draft(World &world, const Op &op);
void do_commit(World &world, const Op &op);
void do_prune(World &world, const Op &op);
void do_compress(World &world, const Op &op);
void do_evict(World &world, const Op &op);
void do_evict_scores(World &world, const Op &op);
void do_attend(World &world, const Op &op);
void do_merge(World &world, const Op &op);
void do_truncate(World &world, const Op &op);
void do_fork(World &world, const Op &op);
void do_drop(World &world, const Op &op);
void do_reset(World &world, const Op &op);
void do_reload(World &world, const Op &op);
void do_plan(World &world, const Op &op);
void do_refuse(World &world, const Op &op);

} // namespace oracle
