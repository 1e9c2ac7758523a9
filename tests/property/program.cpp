// SPDX-License-Identifier: Apache-2.0
#include "program.hpp"

#include <algorithm>
#include <rapidcheck/Random.h>
#include <rapidcheck/Seq.h>
#include <rapidcheck/shrink/Shrink.h>

namespace oracle {
namespace {

constexpr uint32_t weights[] = {
#define X(name, weight) weight,
    ORACLE_KINDS(X)
#undef X
};
static_assert(std::size(weights) == kind_count);

Kind any_kind(uint64_t number) {
    uint32_t total = 0, at = 0;
    for (const uint32_t weight : weights) total += weight;
    auto left = static_cast<uint32_t>(number % total);
    while (left >= weights[at]) left -= weights[at++];
    return static_cast<Kind>(at);
}

rc::Seq<Op> smaller(const Op &op) {
    return rc::seq::concat(
        rc::seq::map(rc::shrink::integral(op.size),
                     [op](uint32_t size) {
                         Op less = op;
                         less.size = size;
                         return less;
                     }),
        rc::seq::map(rc::shrink::integral(op.cache),
                     [op](uint32_t cache) {
                         Op less = op;
                         less.cache = cache;
                         return less;
                     }),
        op.refuse < 0 ? rc::Seq<Op>() : rc::seq::just(Op{op.kind, op.size, op.cache, -1, op.seed}));
}

// A failure's text without its numbers, cut short: tells kinds of failures
// apart.
std::string kind_of(const std::string &what) {
    std::string kind;
    for (const char c : what)
        if ((c < '0' || c > '9') && kind.size() < 18) kind += c;
    return kind;
}

// Fails in the same way: a smaller program with another fault would hide the
// first one.
bool fails(const Program &program, const std::string &kind) {
    Coverage nobody;
    const auto outcome = run(program, nobody);
    return outcome && kind_of(outcome->what) == kind;
}

} // namespace

Program random_program(uint64_t seed) {
    rc::Random source(seed);
    rc::Random split = source.split();
    Program program;
    program.config = random_config(split.next());
    const std::size_t length = 20 + source.next() % 90;
    for (std::size_t i = 0; i < length; ++i) {
        Op op;
        op.kind = any_kind(source.next());
        const uint64_t numbers = source.next();
        op.size = static_cast<uint32_t>(numbers & 0xFF);
        op.cache = static_cast<uint32_t>(numbers >> 8 & 3);
        if ((numbers >> 16) % 100 < 8) op.refuse = static_cast<int32_t>((numbers >> 32) % 12);
        op.seed = source.next();
        program.ops.push_back(op);
    }
    return program;
}

std::optional<Outcome> run(const Program &program, Coverage &coverage) {
    Outcome outcome;
    std::optional<World> world;
    try {
        world.emplace(program.config, coverage);
        for (const Op &op : program.ops) {
            world->run(op);
            outcome.log.push_back(world->log());
            ++outcome.at;
        }
        world->finish();
        return {};
    } catch (const Failure &failure) {
        if (world) outcome.log.push_back(world->log());
        outcome.what = failure.what();
        return outcome;
    }
}

// Greedy: the first smaller program that still fails is taken, until none does
// or time is up.
Program shrink(Program program, const std::string &what, std::size_t attempts) {
    const std::string kind = kind_of(what);
    const auto take = [&](Program candidate) {
        if (attempts == 0) return false;
        --attempts;
        if (!fails(candidate, kind)) return false;
        program = std::move(candidate);
        return true;
    };
    for (bool progress = true; progress && attempts != 0;) {
        progress = false;
        auto shorter = rc::shrink::removeChunks(program.ops);
        while (auto ops = shorter.next())
            if (take({program.config, *ops})) {
                progress = true;
                break;
            }
        if (progress) continue;
        for (const Config &config : simpler(program.config))
            if (take({config, program.ops})) {
                progress = true;
                break;
            }
        if (progress) continue;
        auto milder = rc::shrink::eachElement(program.ops, smaller);
        while (auto ops = milder.next())
            if (take({program.config, *ops})) {
                progress = true;
                break;
            }
    }
    return program;
}

} // namespace oracle
