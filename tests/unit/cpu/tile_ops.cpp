// SPDX-License-Identifier: Apache-2.0
// The functions of TileOps against a model in double, on random tiles of every form. `tile_ops ISA`;
// needs nothing but the kernels of that instruction set, so that it runs under an emulator too. Exit
// status 77: this processor lacks it.
//
// attend_part(), which the kernels call, is defined here instead of in cpu/attend/driver.cpp: that is
// how the test gets hold of their tables.
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/half.hpp"
#include "cpu/attend/driver.hpp"
#include "cpu/features.hpp"
#include "cpu/rows.hpp"
#include "tile_model.hpp"

namespace {
const mustafar::cpu::TileOps* fast_ops = nullptr;
const mustafar::cpu::TileOps* safe_ops = nullptr;
} // namespace

namespace mustafar::cpu {
void attend_part(const AttendArgs&, const TileOps* fast, const TileOps& safe) {
    fast_ops = fast;
    safe_ops = &safe;
}
} // namespace mustafar::cpu

namespace {

using namespace mustafar;
using namespace mustafar::tile_model;
using cpu::TileOps;

struct Isa {
    const char* name;
    const char* (*missing)();
    AttendFn attend;
    bool columns; // K of full pages by columns
};
const Isa isas[] = {
#if defined(__aarch64__)
    {"neon", cpu::missing_neon, attend_neon, false},
#elif defined(__x86_64__)
    {"avx2", cpu::missing_avx2, attend_avx2, false},
    {"avx512", cpu::missing_avx512, attend_avx512, true},
    {"avx512fp16", cpu::missing_avx512fp16, attend_avx512fp16, true},
#endif
    {nullptr, nullptr, nullptr, false},
};

// What one table may be wrong by, relative to the sum of magnitudes of what it adds up.
struct Tested {
    const TileOps* ops;
    const char* arithmetic;
    double error;
    double unit;       // smallest weight that counts, of the largest in a tile
    double score_unit; // half of the smallest raw product
    bool integer;      // dense rows of 4 and 2 bits are worked on in integers, weights have 8 bits
    bool bf16;
};
constexpr double integer_error = 1e-2;

std::string what; // the case at hand
int failures = 0;
__attribute__((format(printf, 1, 2))) void fail(const char* format, ...) {
    if (++failures > 20) { return; }
    std::va_list args;
    va_start(args, format);
    std::printf("FAILED %s: ", what.c_str());
    std::vprintf(format, args); // NOLINT
    std::printf("\n");
    va_end(args);
}

// ---- the functions -----------------------------------------------------------------------------

// Memory as the driver lays it out: 64-byte aligned, 64 readable bytes behind.
struct Work {
    std::byte* block = nullptr;
    cpu::Scratch scratch{};
    std::byte* native = nullptr;
    Work() {
        constexpr std::size_t rows = std::size_t{tile} * cpu::max_dim * 4 + 64;
        constexpr std::size_t queries = std::size_t{cpu::max_queries} * (cpu::max_dim * 6 + 8);
        const std::size_t total = 2 * rows + rows / 2 + 64 + queries;
        block = static_cast<std::byte*>(std::aligned_alloc(64, (total + 63) / 64 * 64));
        std::memset(block, 0xFF, total);
        scratch = {block, block + rows, block + 2 * rows};
        native = block + 2 * rows + rows / 2 + 32;
    }
    ~Work() { std::free(block); }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
};

const std::uint32_t query_counts[] = {1, 2, 4, 8, 64};

bool integer_codes(const Rows& rows) {
    return rows.form == Form::exact && rows.bitmaps == nullptr && rows.bits < 8;
}
double tolerance(const Tested& tested, const Rows& rows) {
    return tested.integer && integer_codes(rows) ? integer_error : tested.error;
}
cpu::Ahead some_ahead(const TileSide& side) {
    if (chance(0.5)) { return {}; }
    return {side.codes.data(), static_cast<std::uint32_t>(side.codes.size())};
}

void check_score(const Tested& tested, const TileSide& side, Work& work) {
    const Rows& rows = side.rows;
    const std::uint32_t d = rows.d;
    const std::uint32_t n = query_counts[below(5)];
    std::vector<float> q(std::size_t{n} * d);
    for (float& x : q) { x = static_cast<float>(gauss()); }
    float factor[cpu::max_queries];
    std::vector<float> scores(n * tile, std::nanf(""));
    tested.ops->load_queries(q.data(), n, d, integer_codes(rows) ? rows.bits : 0U, work.native,
                             factor);
    tested.ops->score(rows, work.native, n, scores.data(), work.scratch, some_ahead(side));
    for (std::uint32_t i = 0; i < n; ++i) {
        for (std::uint32_t slot = 0; slot < tile; ++slot) {
            const double got = static_cast<double>(scores[i * tile + slot]) * factor[i];
            if (((rows.slots >> slot) & 1U) == 0) { continue; }
            double dot = 0.0;
            double size = 0.0;
            for (std::uint32_t c = 0; c < d; ++c) {
                const double x = static_cast<double>(q[i * d + c]) * side.values[slot * d + c];
                dot += x;
                size += std::fabs(static_cast<double>(q[i * d + c])) * side.terms[slot * d + c];
            }
            const double unit = tested.score_unit * factor[i] * d; // one rounding per product
            if (!(std::fabs(got - dot) <= tolerance(tested, rows) * size + unit + 1e-30)) {
                fail("n %u d %u: score %u of slot %u is %.9g, not %.9g", n, d, i, slot, got, dot);
            }
        }
    }
}

void check_values(const Tested& tested, const TileSide& side, Work& work) {
    const Rows& rows = side.rows;
    const std::uint32_t d = rows.d;
    const std::uint32_t stride = (d + 31) / 32 * 32;
    const std::uint32_t n = query_counts[below(5)];
    std::vector<float> weights(n * tile, 0.0F);
    std::vector<cpu::Softmax> states(n);
    std::vector<float> out(std::size_t{n} * stride);
    std::uint32_t any = 0;
    const double visible = chance(0.2) ? 0.1 : 0.9;
    for (std::uint32_t i = 0; i < n; ++i) {
        states[i].correction =
            chance(0.3) ? 0.0F : static_cast<float>(std::exp(-gauss() * gauss()));
        for (std::uint32_t slot = 0; slot < tile; ++slot) {
            if (((rows.slots >> slot) & 1U) == 0 || !chance(visible)) { continue; }
            weights[i * tile + slot] = static_cast<float>(std::exp(-3.0 * std::fabs(gauss())));
            any |= 1U << slot;
        }
    }
    for (float& x : out) { x = static_cast<float>(gauss()); }
    // Some are left out although they have a weight.
    const std::uint32_t needed = chance(0.3) ? any & static_cast<std::uint32_t>(engine()) : any;
    std::vector<float> before = out;
    tested.ops->add_values(rows, weights.data(), n, needed, states.data(), out.data(), stride,
                           work.scratch, some_ahead(side));
    for (std::uint32_t i = 0; i < n; ++i) {
        double largest = 0.0; // weight
        for (std::uint32_t slot = 0; slot < tile; ++slot) {
            largest = std::max<double>(largest, weights[i * tile + slot]);
        }
        for (std::uint32_t c = 0; c < d; ++c) {
            double sum = static_cast<double>(before[i * stride + c]) * states[i].correction;
            double size = std::fabs(sum);
            for (std::uint32_t slot = 0; slot < tile; ++slot) {
                if (((needed >> slot) & 1U) == 0) { continue; }
                const double value = side.values[slot * d + c];
                sum += weights[i * tile + slot] * value;
                size += weights[i * tile + slot] * side.terms[slot * d + c];
                const double unit = tested.integer && integer_codes(rows) ? 1.0 : tested.unit;
                size += unit * largest * 6.0;
            }
            const double got = out[i * stride + c];
            if (!(std::fabs(got - sum) <= tolerance(tested, rows) * size + 1e-30)) {
                fail("n %u d %u: output %u of channel %u is %.9g, not %.9g", n, d, i, c, got, sum);
            }
        }
    }
}

// A step of tiles of one query row, as weigh() sees it.
struct Step {
    std::uint32_t tiles = 1 + below(cpu::max_step);
    std::size_t stride = tile * (1 + below(4));
    std::vector<float> scores = std::vector<float>(tiles * stride);
    std::vector<float> weights = std::vector<float>(tiles * stride, -1.0F);
    std::vector<double> expected = std::vector<double>(tiles * stride); // scaled scores
    std::uint32_t visible[cpu::max_step] = {};
    std::uint32_t needed[cpu::max_step] = {};
    bool finite = true;

    bool sees(std::size_t at) const { return ((visible[at / stride] >> at % stride) & 1U) != 0; }
    template <class F>
    void each_slot(F f) const {
        for (std::size_t t = 0; t < tiles; ++t) {
            for (std::size_t slot = 0; slot < tile; ++slot) { f(t * stride + slot); }
        }
    }
};

cpu::Softmax random_state() {
    cpu::Softmax state;
    state.scale = static_cast<float>(0.05 + std::fabs(gauss()));
    state.offset = static_cast<float>(gauss());
    state.softcap = chance(0.4) ? static_cast<float>(1.0 + 30.0 * std::fabs(gauss())) : 0.0F;
    state.max = -std::numeric_limits<float>::infinity();
    if (chance(0.7)) {
        state.max = static_cast<float>(gauss() * 10.0);
        state.sum = static_cast<float>(1.0 + std::fabs(gauss()));
        state.dropped = 0.1F;
    }
    state.drop = chance(0.5) ? static_cast<float>(std::exp(-4.0 * std::fabs(gauss()))) : 0.0F;
    return state;
}

Step random_step(const cpu::Softmax& state) {
    Step step;
    const double spread = chance(0.3) ? 60.0 : 5.0;
    for (std::uint32_t t = 0; t < step.tiles; ++t) {
        step.visible[t] = chance(0.2)   ? 0U
                          : chance(0.5) ? ~0U
                                        : static_cast<std::uint32_t>(engine());
    }
    for (float& score : step.scores) { score = static_cast<float>(gauss() * spread); }
    for (int i = 0; i < 40 && chance(0.2); ++i) {
        const std::size_t at = below(step.tiles) * step.stride + below(tile);
        step.scores[at] = chance(0.5) ? std::nanf("") : -std::numeric_limits<float>::infinity();
        step.finite = step.finite && !step.sees(at);
    }
    step.each_slot([&](std::size_t at) {
        step.expected[at] = static_cast<double>(step.scores[at]) * state.scale + state.offset;
        if (state.softcap != 0.0F) {
            step.expected[at] = state.softcap * std::tanh(step.expected[at] / state.softcap);
        }
    });
    return step;
}

bool near(double a, double b, double error) {
    return a == b || std::fabs(a - b) <= error * std::max(std::fabs(a), std::fabs(b)) + 1e-19;
}

// A score of 200 has an error of 1e-5 in fp32, which is one of the weight as well.
constexpr double weigh_error = 1e-4;

void check_slot(const Step& step, const cpu::Softmax& state, double max, std::size_t at) {
    const double got = step.weights[at];
    const double weight = step.sees(at) ? std::exp(step.expected[at] - max) : 0.0;
    if (step.sees(at) && std::fabs(step.scores[at] - step.expected[at]) >
                             1e-5 * (std::fabs(step.expected[at]) + 1.0)) {
        fail("scaled score %zu is %.9g, not %.9g", at, static_cast<double>(step.scores[at]),
             step.expected[at]);
    }
    if (!near(got, weight, weigh_error)) { fail("weight %zu is %.9g, not %.9g", at, got, weight); }
    if (got != 0.0 && (got < 2e-20 || !step.sees(at))) { fail("weight %zu is %g", at, got); }
    const double least = static_cast<double>(state.drop) * state.sum;
    const bool wanted = ((step.needed[at / step.stride] >> at % step.stride) & 1U) != 0;
    if (wanted ? !(got > least * (1 - 1e-6)) : got > least * (1 + 1e-6)) {
        fail("slot %zu of weight %g is%s needed", at, got, wanted ? "" : " not");
    }
}

void check_weigh(const TileOps& ops) {
    cpu::Softmax state = random_state();
    const cpu::Softmax before = state;
    Step step = random_step(state);
    ops.weigh(step.scores.data(), step.weights.data(), step.stride, step.tiles, step.visible,
              step.needed, state);
    if (!step.finite) {
        if (!std::isnan(state.max)) { fail("a score that is not finite went unnoticed"); }
        return;
    }
    double max = before.max;
    step.each_slot([&](std::size_t at) {
        if (step.sees(at)) { max = std::max(max, step.expected[at]); }
    });
    const double correction = max == before.max ? 1.0 : std::exp(before.max - max);
    double sum = before.sum * correction;
    step.each_slot([&](std::size_t at) {
        if (step.sees(at)) { sum += std::exp(step.expected[at] - max); }
        check_slot(step, state, max, at);
    });
    if (!(state.max == max || std::fabs(state.max - max) <= 1e-5 * (std::fabs(max) + 1.0)) ||
        !near(state.sum, sum, weigh_error) || !near(state.correction, correction, weigh_error) ||
        !near(state.dropped, before.dropped * correction, weigh_error)) {
        fail("state: max %g sum %g correction %g dropped %g, not %g %g %g %g",
             static_cast<double>(state.max), static_cast<double>(state.sum),
             static_cast<double>(state.correction), static_cast<double>(state.dropped), max, sum,
             correction, before.dropped * correction);
    }
}

std::vector<Shape> all_shapes() {
    std::vector<Shape> shapes;
    for (const bool bf16 : {false, true}) {
        for (const bool marked : {false, true}) {
            shapes.push_back({Form::window, 16, false, bf16, marked});
        }
        for (const Form form : {Form::exact, Form::ragged, Form::columns}) {
            shapes.push_back({form, 16, true, bf16, false});
            if (form != Form::ragged) { shapes.push_back({form, 16, false, bf16, false}); }
        }
    }
    for (const std::uint32_t bits : {8U, 4U, 2U}) {
        for (const Form form : {Form::exact, Form::columns}) {
            for (const bool sparse : {false, true}) {
                if (form == Form::columns && !sparse && bits < 8) { continue; } // not kept so
                shapes.push_back({form, bits, sparse, false, false});
            }
        }
        shapes.push_back({Form::ragged, bits, true, false, false});
        shapes.push_back({Form::grouped, bits, false, false, false});
        shapes.push_back({Form::channel, bits, false, false, false});
    }
    return shapes;
}

const char* name_of(Form form) {
    const char* const names[] = {"window", "columns", "exact", "ragged", "grouped", "channel"};
    return names[static_cast<std::size_t>(form)];
}

void check(const Isa& isa, const Tested& tested, int rounds) {
    Work work;
    for (int round = 0; round < rounds; ++round) {
        for (const Shape& shape : all_shapes()) {
            if (shape.bf16 && !tested.bf16) { continue; }
            if (shape.form == Form::columns && !isa.columns) { continue; }
            what = std::string(isa.name) + " " + tested.arithmetic + " " + name_of(shape.form) +
                   " of " + std::to_string(shape.bits) + " bits" +
                   (shape.sparse ? ", sparse" : "") + (shape.bf16 ? ", bf16" : "") +
                   (shape.marked ? ", marked" : "");
            check_score(tested, make_side(shape), work);
            if (shape.form != Form::columns) { check_values(tested, make_side(shape), work); }
        }
        what = std::string(isa.name) + " " + tested.arithmetic + " weigh";
        for (int i = 0; i < 20; ++i) { check_weigh(*tested.ops); }
    }
}

const TileOps* caught(const Isa& isa, bool precise, bool fast) {
    AttendArgs args;
    args.head.precise = precise;
    isa.attend(args);
    return fast ? fast_ops : safe_ops;
}

} // namespace

int main(int argc, char** argv) {
    const Isa* isa = isas;
    while (isa->name != nullptr && (argc != 2 || std::string(argv[1]) != isa->name)) { ++isa; }
    if (isa->name == nullptr) {
        std::printf("no such instruction set in this build\n");
        return 2;
    }
    if (isa->missing() != nullptr) {
        std::printf("skipped: %s %s\n", isa->name, isa->missing());
        return 77;
    }
    const char* seed_text = std::getenv("MUSTAFAR_SEED");
    const char* long_text = std::getenv("MUSTAFAR_LONG");
    const std::uint64_t seed = seed_text != nullptr ? std::strtoull(seed_text, nullptr, 0) : 1;
    const int rounds = long_text != nullptr ? std::atoi(long_text) : 12;
    engine.seed(seed);

    const TileOps* half = caught(*isa, false, true);
    const TileOps* usual = caught(*isa, false, false);
    const TileOps* precise = caught(*isa, true, false);
    std::vector<Tested> tables = {{precise, "fp32", 1e-6, 0.0, 0.0, false, true}};
    if (usual != precise) {
        tables.push_back({usual, "fp32, integers", 1e-6, 0.0, 0.0, true, true});
    }
    if (half != nullptr) { tables.push_back({half, "fp16", 1e-2, 1e-4, 0x1p-25, true, false}); }
    for (const Tested& tested : tables) { check(*isa, tested, rounds); }
    if (failures != 0) {
        std::printf("%d failures; MUSTAFAR_SEED=%llu\n", failures,
                    static_cast<unsigned long long>(seed));
        return 1;
    }
    std::printf("%s: %zu tables, %d rounds of %zu forms, seed %llu\n", isa->name, tables.size(),
                rounds, all_shapes().size(), static_cast<unsigned long long>(seed));
    return 0;
}
