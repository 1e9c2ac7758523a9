// SPDX-License-Identifier: Apache-2.0
#include "cpu/attend_cases.hpp"

#include <algorithm>

namespace mustafar::test {
namespace {

// Gives each card once before any of them again.
template <class T>
class Deck {
  public:
    Deck(std::vector<T> cards) : cards_(std::move(cards)) {}
    T next(Random& random) {
        if (at_ == 0) {
            for (std::size_t i = cards_.size(); i > 1; --i) {
                std::swap(cards_[i - 1], cards_[random.below(static_cast<std::uint32_t>(i))]);
            }
        }
        const T card = cards_[at_];
        at_ = (at_ + 1) % cards_.size();
        return card;
    }

  private:
    std::vector<T> cards_;
    std::size_t at_ = 0;
};

// How a side of a row is stored.
enum class Store { exact, n_m, channels, paper, channel_topk, threshold, mask, grouped, axis };

struct SideCase {
    Store store = Store::exact;
    std::uint32_t keep = 64; // of exact rows; above d: all
    std::uint32_t bits = 16;
    std::uint32_t group = 32;
    bool centred = false;
};

std::string json(const SideCase& side, std::uint32_t d) {
    const auto number = [](std::uint32_t x) { return std::to_string(x); };
    std::string text;
    switch (side.store) {
    case Store::exact:
        if (side.keep < d) { text = R"("keep":)" + number(side.keep); }
        break;
    case Store::n_m:
        text = R"("method":"n_m","n":)" + number(1 + side.keep % 4) + R"(,"m":4)";
        break;
    case Store::channels:
        text = R"("method":"channels","keep":)" + number(std::min(side.keep, d - 3));
        break;
    case Store::paper:
        text = R"("sparsity":0.7,"rule":"paper")";
        break;
    case Store::channel_topk:
        text = R"("method":"channel_topk","keep":)" + number(1 + side.keep % 32);
        break;
    case Store::threshold:
        text = R"("method":"threshold","threshold":0.75)";
        break;
    case Store::mask:
        text = R"("method":"mask")";
        break;
    case Store::grouped:
        text = R"("group":)" + number(side.group);
        break;
    case Store::axis:
        text = R"("axis":"channel")";
        break;
    }
    const auto add = [&](const std::string& more) { text += (text.empty() ? "" : ",") + more; };
    if (side.bits != 16) { add(R"("bits":)" + number(side.bits)); }
    if (side.centred) { add(R"("centre":"mean")"); }
    return "{" + text + "}";
}

bool few_bits(const SideCase& side, std::uint32_t d) {
    return side.store == Store::exact && side.keep >= d && side.bits < 8;
}

const char* name_of(Values values) {
    constexpr const char* names[] = {"random", "constant", "huge", "tiny",
                                     "peaked", "flat",     "zero", "outliers"};
    return names[static_cast<int>(values)];
}

std::string recipe_json(const AttendCase& one, const std::string& k, const std::string& v) {
    return R"({"schema":"mustafar.recipe","version":1,"window":{"recent":)" +
           std::to_string(one.window.recent) + R"(,"sink":)" + std::to_string(one.window.sink) +
           R"(,"step":)" + std::to_string(one.window.step) + R"(},"precise":)" +
           (one.precise ? "true" : "false") + R"(,"k":)" + k + R"(,"v":)" + v + "}";
}

class Maker {
  public:
    explicit Maker(std::uint64_t salt) : random_(salt) {}

    AttendCase any() {
        AttendCase one;
        one.seed = random_.next();
        one.geometry = {1,
                        0,
                        1 + random_.below(2),
                        dims_k_.next(random_),
                        dims_v_.next(random_),
                        random_.chance(70) ? Dtype::f16 : Dtype::bf16};
        one.geometry.q_heads = one.geometry.kv_heads * groups_.next(random_);
        one.precise = random_.chance(10);
        one.automatic = random_.chance(60);
        one.values = values_.next(random_);
        one.tokens = lengths_.next(random_);
        one.q_len = q_lens_.next(random_);
        one.window.recent = recents_.next(random_);
        one.window.sink = sinks_.next(random_);
        one.window.step = steps_.next(random_);
        SideCase k = side(one.geometry.head_dim_k, true, one);
        const SideCase v = side(one.geometry.head_dim_v, false, one);
        if (k.store == Store::axis) { one.window.step = 32; }
        one.masks[0] = k.store == Store::mask;
        one.masks[1] = v.store == Store::mask;
        if (one.masks[0] || one.masks[1]) { one.automatic = false; }
        one.recipe =
            recipe_json(one, json(k, one.geometry.head_dim_k), json(v, one.geometry.head_dim_v));
        one.codes[0] = few_bits(k, one.geometry.head_dim_k);
        one.codes[1] = few_bits(v, one.geometry.head_dim_v);
        choose_options(one);
        shorten(one);
        return one;
    }

  private:
    SideCase side(std::uint32_t d, bool key, const AttendCase& one) {
        SideCase side;
        side.store = (key ? stores_k_ : stores_v_).next(random_);
        side.keep = keeps_.next(random_);
        side.bits = (key ? bits_k_ : bits_v_).next(random_);
        side.group = d % 64 == 0 && random_.chance(50) ? 64 : 32;
        if (side.store == Store::grouped && d % 32 != 0) { side.store = Store::exact; }
        if (side.store == Store::grouped || side.store == Store::axis) {
            if (side.bits == 16) { side.bits = 8; }
        } else if (key) {
            side.centred = random_.chance(30) && one.values != Values::huge;
        }
        return side;
    }

    void choose_options(AttendCase& one) {
        one.input = dtypes_.next(random_);
        one.q_input = dtypes_.next(random_);
        one.out = dtypes_.next(random_);
        one.evicted = random_.chance(30);
        one.marked = !one.automatic && random_.chance(60);
        one.two_caches = random_.chance(25);
        one.sinks = random_.chance(30);
        if (random_.chance(25)) { one.softcap = random_.uniform(1.0F, 30.0F); }
        if (random_.chance(30)) { one.sliding_window = 1 + random_.below(one.tokens + 10); }
        if (random_.chance(30)) {
            constexpr double masses[] = {1e-6, 1e-3, 0.1, 1.0};
            one.drop_mass = masses[random_.below(4)];
        }
        if (random_.chance(25)) { one.tentative = random_.below(7); }
        if (one.q_len > one.tokens + one.tentative || random_.chance(15)) {
            one.position = random_.below(one.tokens + 20);
        }
    }

    // `ref` takes seconds for what no case needs.
    static void shorten(AttendCase& one) {
        const auto work = [&] {
            return std::uint64_t{one.geometry.q_heads} * one.q_len * one.tokens *
                   (one.geometry.head_dim_k + one.geometry.head_dim_v);
        };
        while (work() > 6'000'000 && one.q_len > 1) { one.q_len = (one.q_len + 1) / 2; }
        while (work() > 6'000'000 && one.tokens > 100) { one.tokens /= 2; }
    }

    Random random_;
    Deck<std::uint32_t> dims_k_{{32, 40, 64, 80, 96, 128, 256}};
    Deck<std::uint32_t> dims_v_{{32, 40, 64, 80, 96, 128, 256, 56}};
    Deck<std::uint32_t> groups_{{1, 2, 3, 4, 5, 8, 16}};
    Deck<std::uint32_t> q_lens_{{1, 1, 2, 7, 33}};
    Deck<std::uint32_t> lengths_{{1, 31, 32, 33, 64, 100, 100, 257, 300, 1000}};
    Deck<std::uint32_t> recents_{{0, 5, 32, 40}};
    Deck<std::uint32_t> sinks_{{0, 0, 4, 37}};
    Deck<std::uint32_t> steps_{{32, 32, 8, 1}};
    Deck<std::uint32_t> keeps_{{256, 64, 40, 1}};
    Deck<std::uint32_t> bits_k_{{16, 8, 4, 2, 16}};
    Deck<std::uint32_t> bits_v_{{16, 8, 4, 2}};
    Deck<mustafar_dtype> dtypes_{{MUSTAFAR_F16, MUSTAFAR_BF16, MUSTAFAR_F32}};
    Deck<Values> values_{{Values::random, Values::random, Values::random, Values::constant,
                          Values::huge, Values::tiny, Values::peaked, Values::flat, Values::zero,
                          Values::outliers}};
    Deck<Store> stores_k_{{Store::exact, Store::exact, Store::exact, Store::n_m, Store::channels,
                           Store::paper, Store::channel_topk, Store::threshold, Store::mask,
                           Store::grouped, Store::axis}};
    Deck<Store> stores_v_{{Store::exact, Store::exact, Store::exact, Store::n_m, Store::channels,
                           Store::paper, Store::channel_topk, Store::threshold, Store::mask,
                           Store::grouped}};
};

// Long enough for token ranges of 4096 rows; with drop_mass there are none.
void add_long(std::vector<AttendCase>& cases) {
    const SideCase dense{Store::exact, 256, 16, 32, false};
    const SideCase half{Store::exact, 32, 16, 32, false};
    const SideCase codes{Store::exact, 40, 4, 32, true};
    const SideCase ragged{Store::threshold, 0, 16, 32, false};
    const SideCase axis{Store::axis, 0, 4, 32, false};
    const SideCase few{Store::exact, 256, 2, 32, false};
    const struct {
        SideCase k, v;
        std::uint32_t group, q_len;
        Dtype store;
    } list[] = {{half, half, 4, 1, Dtype::f16},    {codes, half, 1, 2, Dtype::f16},
                {dense, dense, 16, 1, Dtype::f16}, {ragged, dense, 2, 1, Dtype::bf16},
                {axis, codes, 4, 2, Dtype::f16},   {half, ragged, 3, 3, Dtype::bf16},
                {few, few, 1, 1, Dtype::f16}};
    for (const auto& from : list) {
        AttendCase one;
        one.seed = cases.size();
        one.geometry = {1, from.group, 1, 64, 64, from.store};
        one.window = {32, 4, 32};
        one.tokens = 9000;
        one.q_len = from.q_len;
        SideCase v = from.v;
        v.centred = false;
        one.recipe = recipe_json(one, json(from.k, 64), json(v, 64));
        one.codes[0] = few_bits(from.k, 64);
        one.codes[1] = few_bits(v, 64);
        one.evicted = from.group == 4;
        one.sinks = from.group == 3;
        if (from.group == 2) { one.sliding_window = 8500; }
        if (from.group == 1 && from.q_len == 2) { one.drop_mass = 1e-3; }
        one.tentative = from.q_len;
        cases.push_back(one);
    }
}

} // namespace

std::string AttendCase::text() const {
    constexpr const char* dtypes[] = {"?", "f32", "f16", "bf16"};
    const auto dtype = [&](auto x) { return dtypes[static_cast<int>(x)]; };
    std::string text =
        name + ": " + std::to_string(geometry.kv_heads) + " x " + std::to_string(group()) +
        " heads, d " + std::to_string(geometry.head_dim_k) + "/" +
        std::to_string(geometry.head_dim_v) + " " + dtype(geometry.store) + ", " +
        std::to_string(tokens) + "+" + std::to_string(tentative) + " tokens, q_len " +
        std::to_string(q_len) + ", " + name_of(values) + " values\n  from " + dtype(input) + "/" +
        dtype(q_input) + " to " + dtype(out) + (automatic ? "" : ", manual") +
        (evicted ? ", evicted" : "") + (marked ? ", marked" : "") + (sinks ? ", sinks" : "") +
        (two_caches ? ", two caches" : "");
    if (position) { text += ", at " + std::to_string(*position); }
    if (softcap != 0.0) { text += ", softcap " + std::to_string(softcap); }
    if (sliding_window != 0) { text += ", window " + std::to_string(sliding_window); }
    if (drop_mass != 0.0) { text += ", drop " + std::to_string(drop_mass); }
    return text + "\n  " + recipe;
}

std::vector<AttendCase> attend_cases(std::size_t count) {
    std::vector<AttendCase> cases;
    add_long(cases);
    Maker maker(77);
    for (std::size_t i = 0; i < count; ++i) { cases.push_back(maker.any()); }
    for (std::size_t i = 0; i < cases.size(); ++i) {
        cases[i].name = "case " + std::to_string(i) + " of seed " + std::to_string(Random::seed());
    }
    return cases;
}

} // namespace mustafar::test
