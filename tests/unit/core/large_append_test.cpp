// SPDX-License-Identifier: Apache-2.0
// Large appends of halves are checked while they are packed: that must not be seen from outside.
#include <limits>

#include "core/half.hpp"
#include "unit_support.hpp"

namespace mustafar::test {
namespace {

constexpr std::uint32_t before = 45;
constexpr std::uint32_t tokens = 700;

// K and V of one layer as the library stores them.
struct Halves {
    explicit Halves(const Geometry& geometry) {
        const Sequence sequence(geometry, tokens, 3);
        for (const int side : {0, 1}) {
            const Array& array = side == 0 ? sequence.k[0] : sequence.v[0];
            for (const float x : array.values) { bits[side].push_back(f32_to_f16(x)); }
            views[side] = array.view();
            views[side].data = bits[side].data();
            views[side].dtype = MUSTAFAR_F16;
        }
    }
    mustafar_tensor part(int side, std::uint32_t begin, std::uint32_t end) const {
        mustafar_tensor tensor = views[side];
        tensor.data = static_cast<std::uint16_t*>(tensor.data) + begin * tensor.strides[0];
        tensor.shape[0] = end - begin;
        return tensor;
    }
    void append(Cache& cache, std::uint32_t begin, std::uint32_t end) const {
        cache.append(0, part(0, begin, end), part(1, begin, end), false);
    }
    std::uint16_t& at(int side, std::uint32_t token, std::uint32_t head, std::uint32_t channel) {
        const auto& strides = views[side].strides;
        return bits[side]
                   [static_cast<std::size_t>(token * strides[0] + head * strides[1]) + channel];
    }
    std::vector<std::uint16_t> bits[2];
    mustafar_tensor views[2];
};

class CacheLargeAppend : public testing::Test {
  protected:
    ~CacheLargeAppend() override { EXPECT_EQ(heap.complaint(), ""); }
    Heap heap;
    std::shared_ptr<Context> context = make_context(heap, 0, 2);
    const Geometry geometry = small_geometry(1);
    Halves halves{geometry};
};

TEST_F(CacheLargeAppend, GivesTheBytesOfSmallOnes) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto whole = Cache::create(context, geometry, kind.recipe(), {tokens, 0, true});
        const auto small = Cache::create(context, geometry, kind.recipe(), {tokens, 0, true});
        halves.append(*whole, 0, before);
        halves.append(*whole, before, tokens);
        for (std::uint32_t t = 0; t < tokens; t += 100) { halves.append(*small, t, t + 100); }
        EXPECT_EQ(snapshot(*whole), snapshot(*small));
    }
}

TEST_F(CacheLargeAppend, AValueThatCannotBeStored_IsRefusedNamingTheFirstAndNothingIsStored) {
    constexpr std::uint16_t infinity = 0x7C00, nan = 0xFE01;
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        for (const std::uint32_t filled : {0U, before}) {
            const auto cache = Cache::create(context, geometry, kind.recipe(), {tokens, 0, true});
            if (filled > 0) { halves.append(*cache, 0, filled); }
            const std::string old = snapshot(*cache);
            const std::uint64_t bytes = cache_bytes(*context);
            const std::uint32_t incoming = tokens - filled;
            // A sink, rows of the first and a later page, the last that is packed, the window.
            for (const std::uint32_t token : {0U, 1U, 2U, 31U, 300U, incoming - 30, incoming - 1}) {
                for (const std::uint32_t head : {0U, 1U}) {
                    const int side = static_cast<int>((token + head) % 2);
                    std::uint16_t& first = halves.at(side, filled + token, head, 17);
                    std::uint16_t& later = halves.at(1, tokens - 1, 1, 18);
                    const std::uint16_t was[2] = {first, later};
                    first = head == 0 ? nan : infinity;
                    later = nan;
                    const Error error = error_of([&] { halves.append(*cache, filled, tokens); });
                    first = was[0];
                    later = was[1];
                    EXPECT_EQ(error.code, MUSTAFAR_NON_FINITE);
                    const std::array<std::int64_t, 4> place = {side, token, head, 17};
                    EXPECT_EQ(error.values, place);
                    EXPECT_EQ(snapshot(*cache), old);
                    EXPECT_EQ(cache_bytes(*context), bytes);
                }
            }
        }
    }
}

// The machine says no in the middle: the bad value behind it is told all the same.
TEST_F(CacheLargeAppend, ABadValueIsTold_WhereThereIsNoRoomEither) {
    const auto narrow = make_context(heap, 64 << 10, 2);
    const auto recipe = kinds[0].recipe();
    const auto cache = Cache::create(narrow, geometry, recipe, {tokens, 0, true});
    const std::string old = snapshot(*cache);
    EXPECT_EQ(status_of([&] { halves.append(*cache, 0, tokens); }), MUSTAFAR_OUT_OF_MEMORY);
    EXPECT_EQ(snapshot(*cache), old);
    halves.at(1, tokens - 2, 1, 3) = 0x7C00;
    EXPECT_EQ(status_of([&] { halves.append(*cache, 0, tokens); }), MUSTAFAR_NON_FINITE);
    EXPECT_EQ(snapshot(*cache), old);
}

} // namespace
} // namespace mustafar::test
