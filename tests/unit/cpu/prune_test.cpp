// SPDX-License-Identifier: Apache-2.0
// Every row of the op prune against prune_ref, bit for bit.
#include "cpu/rows_support.hpp"

namespace mustafar::test {
namespace {

class PruneRow : public testing::TestWithParam<KernelRow> {
  protected:
    void SetUp() override {
        MUSTAFAR_SKIP_MISSING(GetParam());
        prune_ = choose_kernels(GetParam().backend, "test", false).prune;
        ASSERT_NE(prune_, prune_ref);
    }
    // All three forms of the rows, with and without weights.
    void compare(const PruneRule& rule, const HardRows& rows, bool weights) {
        Random random(rows.d + rows.rows);
        std::vector<float> channel, token;
        if (weights) {
            channel = random.values(rows.d, 0.0F, 2.0F);
            token = random.values(rows.rows, 0.0F, 2.0F);
            channel[0] = -0.0F;
            token[0] = 1.0F;
        }
        for (int form = 0; form < 3; ++form) {
            std::vector<std::uint8_t> want(rows.rows * rows.d / 8, 0x5A);
            std::vector<std::uint8_t> got(want.size(), 0xA5);
            PruneArgs args{rule,  rows.d, rows.as_values(form), channel,
                           token, want,   rows.as_halves(form)};
            prune_ref(args);
            args.bitmaps = got;
            prune_(args);
            ASSERT_EQ(got, want) << "form " << form << (weights ? ", weights" : "");
        }
    }
    void compare_all(const std::vector<PruneRule>& rules, std::uint32_t d, std::uint32_t count) {
        for (std::size_t p = 0; p < patterns.size(); ++p) {
            if ((p + d / 8 + count / 3) % every_nth(4) != 0) { continue; }
            const Dtype store = (p + d / 8 + count) % 2 == 0 ? Dtype::f16 : Dtype::bf16;
            const HardRows rows(patterns[p], d, count, store, p);
            for (const PruneRule& rule : rules) {
                for (const bool weights : {false, true}) {
                    SCOPED_TRACE(std::string(patterns[p]) + ", d " + std::to_string(d) + ", rows " +
                                 std::to_string(count) + ", keep " + std::to_string(rule.keep) +
                                 ", of " + std::to_string(rule.of));
                    compare(rule, rows, weights);
                    if (HasFatalFailure()) { return; }
                }
            }
        }
    }
    void compare_shapes(const std::function<std::vector<PruneRule>(std::uint32_t)>& rules) {
        for (const std::uint32_t d : head_sizes) {
            for (const std::uint32_t count : row_counts(d)) {
                compare_all(rules(d), d, count);
                if (HasFatalFailure()) { return; }
            }
        }
    }

    PruneFn prune_ = nullptr;
};

PruneRule keep_rule(Method method, std::uint32_t keep, std::uint32_t of = 0) {
    PruneRule rule;
    rule.method = method;
    rule.keep = static_cast<std::uint16_t>(keep);
    rule.of = static_cast<std::uint16_t>(of);
    return rule;
}

TEST_P(PruneRow, TokenTopk_IsWhatRefKeeps) {
    compare_shapes([](std::uint32_t d) {
        std::vector<PruneRule> rules;
        for (const std::uint32_t keep : {1U, d * 5 / 16, d / 2, d - 1, d}) {
            rules.push_back(keep_rule(Method::token_topk, keep));
            rules.push_back(rules.back());
            rules.back().paper = true;
        }
        return rules;
    });
}

TEST_P(PruneRow, NOfM_IsWhatRefKeeps) {
    compare_shapes([](std::uint32_t d) {
        std::vector<PruneRule> rules;
        for (const std::uint32_t m :
             {1U, 2U, 4U, 8U, 16U, 32U, 5U, 10U, 20U, 3U, 24U, 48U, d / 2, d}) {
            if (d % m == 0) { rules.push_back(keep_rule(Method::n_m, (m + 1) / 2, m)); }
        }
        return rules;
    });
}

TEST_P(PruneRow, Channels_AreThoseOfRef) {
    compare_shapes([](std::uint32_t d) {
        return std::vector<PruneRule>{keep_rule(Method::channels, 1),
                                      keep_rule(Method::channels, d / 2),
                                      keep_rule(Method::channels, d)};
    });
}

TEST_P(PruneRow, ChannelTopk_IsWhatRefKeeps) {
    const auto rules = [](std::uint32_t) {
        return std::vector<PruneRule>{keep_rule(Method::channel_topk, 1),
                                      keep_rule(Method::channel_topk, 10),
                                      keep_rule(Method::channel_topk, 32)};
    };
    compare_shapes(rules);
    compare_all(rules(40), 40, 75); // more rows than a page
}

TEST_P(PruneRow, Threshold_IsWhatRefKeeps) {
    compare_shapes([](std::uint32_t) {
        std::vector<PruneRule> rules(4, keep_rule(Method::threshold, 0));
        rules[1].threshold = 0.25F;
        rules[2].threshold = 1.7F;
        rules[3].threshold = 1e-6F;
        return rules;
    });
}

TEST_P(PruneRow, NoMethod_KeepsAllAndTheCallersKeepNothing) {
    const HardRows rows("random", 40, 3, Dtype::f16, 1);
    for (const Method method : {Method::none, Method::mask, Method::recipe}) {
        compare(keep_rule(method, 0), rows, false);
    }
}

INSTANTIATE_TEST_SUITE_P(Table, PruneRow, testing::ValuesIn(rows_of("prune")), row_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PruneRow);

} // namespace
} // namespace mustafar::test
