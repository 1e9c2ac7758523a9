// SPDX-License-Identifier: Apache-2.0
// Every row of op `attend` that this machine can run, against `ref`, within tests/common/budget.h.
#include <limits>
#include <set>

#include "budget.h"
#include "cpu/attend_support.hpp"
#include "effort.h"

namespace mustafar::test {
namespace {

constexpr std::size_t usual_cases = 220;

std::vector<std::string> fast_backends() {
    std::vector<std::string> names;
    for (const KernelRow& row : kernel_rows()) {
        const bool fast = std::string(row.op) == "attend" && std::string(row.backend) != "ref";
        if (fast) { names.emplace_back(row.backend); }
    }
    return names;
}

const char* what_is_missing(const std::string& backend) {
    for (const KernelRow& row : kernel_rows()) {
        if (std::string(row.op) == "attend" && row.backend == backend) { return row.missing; }
    }
    return "no such row";
}

// One kv head of one cache as both sides see it, for the size of scores and of sums.
struct HeadRows {
    Array k, v;
    std::vector<float> centre;
    std::vector<double> squares_v; // of each row of V
    double largest_v = 0.0;
    HeadRows(const Cache& cache, std::uint32_t kv_head)
        : k(rows_of(cache, 0, kv_head, Side::k)), v(rows_of(cache, 0, kv_head, Side::v)) {
        const HeadView view = cache.view(0, kv_head);
        if (view.centre != nullptr) {
            centre.assign(view.centre, view.centre + cache.geometry().head_dim_k);
        }
        const auto dv = static_cast<std::size_t>(v.shape[1]);
        for (std::size_t r = 0; r * dv < v.values.size(); ++r) {
            double squares = 0.0;
            for (std::size_t c = 0; c < dv; ++c) {
                squares += double{v.values[r * dv + c]} * double{v.values[r * dv + c]};
            }
            squares_v.push_back(squares);
            largest_v = std::max(largest_v, std::sqrt(squares));
        }
    }
    // The largest size of a q . k; kernels add q . centre apart.
    double largest_dot(const float* q) const {
        const auto d = static_cast<std::size_t>(k.shape[1]);
        double most = 0.0;
        for (std::size_t r = 0; r * d < k.values.size(); ++r) {
            most = std::max(most, size_of(q, &k.values[r * d], d));
        }
        return most + size_of(q, centre.data(), centre.size());
    }
    static double size_of(const float* a, const float* b, std::size_t d) {
        float dot = 0.0F, terms = 0.0F;
        for (std::size_t c = 0; c < d; ++c) {
            dot += a[c] * b[c];
            terms += std::fabs(a[c] * b[c]);
        }
        return score_size(double{dot}, double{terms});
    }
};

struct Worst { // of what is allowed, over all cases
    double out = 0.0, lse = 0.0, weight = 0.0;
};

class Comparison {
  public:
    Comparison(const AttendCase& one, const std::vector<Cache::Handle>& caches, const Tensor& q,
               const Attended& want, const Attended& got, const char* backend)
        : one_(one), q_(q.all()), want_(want), got_(got),
          budget_(attend_budget_of(backend, one.freedom())), width_(weight_width(caches)) {
        for (const auto& cache : caches) {
            for (std::uint32_t h = 0; h < one.geometry.kv_heads; ++h) {
                heads_.emplace_back(*cache, h);
            }
        }
        n_ = caches.size();
    }

    // The first thing that is wrong; empty if nothing is.
    std::string check(Worst& worst) {
        const std::uint32_t heads = one_.geometry.q_heads;
        std::size_t at = 0;
        for (std::size_t n = 0; n < n_; ++n) {
            for (std::uint32_t i = 0; i < one_.q_len; ++i) {
                for (std::uint32_t h = 0; h < heads; ++h, ++at) {
                    const HeadRows& rows = heads_[n * one_.geometry.kv_heads + h / one_.group()];
                    std::string wrong = check_query(rows, at, worst);
                    if (!wrong.empty()) {
                        return "cache " + std::to_string(n) + " query " + std::to_string(i) +
                               " head " + std::to_string(h) + ": " + wrong;
                    }
                }
            }
        }
        return "";
    }

  private:
    std::string check_query(const HeadRows& rows, std::size_t at, Worst& worst) const {
        const std::size_t dk = one_.geometry.head_dim_k;
        const double score = rows.largest_dot(&q_[at * dk]) * scale_of(one_);
        const double factor = budget_factor(&budget_, score);
        const auto say = [&](const char* what, double got, double want, double room) {
            char text[200];
            std::snprintf(text, sizeof text, "%s = %.9g, ref %.9g, allowed %.3g (scores to %.3g)",
                          what, got, want, room, score);
            return std::string(text);
        };
        const double lse = double{got_.lse[at]};
        const double want_lse = double{want_.lse[at]};
        const double lse_off = std::fabs(lse - want_lse);
        const double lse_allowed = lse_room(&budget_, score, want_lse);
        if (std::isinf(want_lse) ? lse != want_lse : !(lse_off <= lse_allowed)) {
            return say("lse", lse, want_lse, lse_allowed);
        }
        if (!std::isinf(want_lse)) { worst.lse = std::max(worst.lse, lse_off / lse_allowed); }
        const double dropped = double{got_.dropped[at]};
        if (!(dropped >= 0.0 && dropped <= one_.drop_mass * (1 + 1e-4))) {
            return say("dropped", dropped, double{want_.dropped[at]}, one_.drop_mass);
        }
        double squares = 0.0; // of what was added up
        for (std::size_t r = 0; r < static_cast<std::size_t>(width_); ++r) {
            const double weight = double{want_.weights[at * width() + r]};
            const double got = double{got_.weights[at * width() + r]};
            const double room = budget_.weight * factor * weight + 1e-19;
            if (!(std::fabs(got - weight) <= room)) {
                return "row " + std::to_string(r) + ": " + say("weight", got, weight, room);
            }
            if (weight > 1e-10) {
                worst.weight = std::max(worst.weight, std::fabs(got - weight) / room);
            }
            if (r < rows.squares_v.size()) { squares += rows.squares_v[r] * weight * weight; }
        }
        const std::size_t dv = one_.geometry.head_dim_v;
        double error = 0.0, size = 0.0;
        for (std::size_t c = 0; c < dv; ++c) {
            const double want = double{want_.out[at * dv + c]};
            const double off = double{got_.out[at * dv + c]} - want;
            error += off * off;
            size += want * want;
        }
        const double alike = one_.values == Values::constant ? budget_.one_sign : 1.0;
        const double exact = budget_.out * alike * factor * output_size(std::sqrt(size), squares) +
                             budget_.tail * rows.largest_v + budget_.unit * std::sqrt(double(dv));
        const double left_out = dropped + double{want_.dropped[at]};
        const double room = exact + left_out * rows.largest_v;
        if (!(std::sqrt(error) <= room)) {
            return say("|out - ref|", std::sqrt(error), std::sqrt(size), room);
        }
        if (one_.drop_mass == 0.0) { worst.out = std::max(worst.out, std::sqrt(error) / room); }
        return "";
    }

    std::size_t width() const { return static_cast<std::size_t>(width_); }

    const AttendCase& one_;
    std::vector<float> q_;
    const Attended& want_;
    const Attended& got_;
    attend_budget budget_;
    std::int64_t width_;
    std::vector<HeadRows> heads_;
    std::size_t n_ = 0;
};

// Queries as the values of the case ask: scores of about 1, of up to 80, or none.
Tensor queries(const AttendCase& one, const std::vector<Cache::Handle>& caches) {
    const Geometry& g = one.geometry;
    Tensor q(one.q_input,
             {static_cast<std::int64_t>(caches.size()), one.q_len, g.q_heads, g.head_dim_k},
             one.seed | 1U);
    std::vector<float> values = Random(one.seed + 1).values(q.count(), -1.5F, 1.5F);
    if (one.values == Values::peaked || one.values == Values::huge) {
        const double wanted = one.values == Values::huge ? 3.0 : 80.0;
        std::size_t row = 0;
        for (const auto& cache : caches) {
            std::vector<HeadRows> heads;
            for (std::uint32_t h = 0; h < g.kv_heads; ++h) { heads.emplace_back(*cache, h); }
            for (std::uint32_t i = 0; i < one.q_len * g.q_heads; ++i, ++row) {
                float* at = &values[row * g.head_dim_k];
                const double dot = heads[i % g.q_heads / one.group()].largest_dot(at);
                const double factor = dot > 0.0 ? wanted / (dot * scale_of(one)) : 1.0;
                for (std::uint32_t c = 0; c < g.head_dim_k; ++c) {
                    at[c] = static_cast<float>(at[c] * factor);
                }
            }
        }
    }
    if (one.values == Values::flat) { std::fill(values.begin(), values.end(), 0.0F); }
    q.fill(values);
    return q;
}

class AttendRows : public testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        if (const char* missing = what_is_missing(GetParam())) {
            GTEST_SKIP() << GetParam() << " cannot run here: " << missing;
        }
    }
};

void compare_case(const AttendCase& one, const std::string& backend, Worst& worst) {
    const auto ref = backend_context("ref");
    const auto fast = backend_context(backend);
    const auto caches = fill_caches(one, fast);
    const auto ref_caches = copy_caches(caches, ref);
    const Tensor q = queries(one, ref_caches);
    const Attended want = attend_case(one, ref_caches, q);
    const Attended got = attend_case(one, caches, q);
    Comparison comparison(one, ref_caches, q, want, got, backend.c_str());
    const std::string wrong = comparison.check(worst);
    ASSERT_TRUE(wrong.empty()) << backend << ": " << wrong << "\n" << one.text();

    for (const std::uint32_t threads : {2U, 7U}) {
        const auto copies = copy_caches(caches, backend_context(backend, threads));
        const Attended again = attend_case(one, copies, q);
        ASSERT_TRUE(again.lse == got.lse && again.weights == got.weights &&
                    again.dropped == got.dropped && again.out == got.out)
            << backend << " with " << threads << " threads gives other bits\n"
            << one.text();
    }

    Tensor out(one.out,
               {static_cast<std::int64_t>(caches.size()), one.q_len, one.geometry.q_heads,
                one.geometry.head_dim_v},
               one.seed | 1U);
    Tensor rounded(one.out, {static_cast<std::int64_t>(out.count())});
    rounded.fill(got.out);
    attend_case_into(one, caches, q, out);
    ASSERT_EQ(out.all(), rounded.all()) << backend << ": other types and strides, other results\n"
                                        << one.text();
    ASSERT_TRUE(out.gaps_untouched()) << backend << " wrote between the rows\n" << one.text();
}

TEST_P(AttendRows, EveryShapeRecipeAndOption_AgreesWithRefForAnyNumberOfThreads) {
    const char* longer = std::getenv("MUSTAFAR_LONG");
    const std::size_t count = longer == nullptr ? usual_cases / every_nth(3)
                                                : std::strtoull(longer, nullptr, 0) / 100 + 1;
    Worst worst;
    for (const AttendCase& one : attend_cases(count)) {
        const Error error = error_of([&] { compare_case(one, GetParam(), worst); });
        ASSERT_EQ(error.code, MUSTAFAR_OK) << error.text << "\n" << one.text();
        if (HasFatalFailure()) { return; }
    }
    std::printf("%s: at most %.2f of the room of outputs, %.2f of lse, %.2f of weights\n",
                GetParam().c_str(), worst.out, worst.lse, worst.weight);
}

INSTANTIATE_TEST_SUITE_P(Every, AttendRows, testing::ValuesIn(fast_backends()),
                         [](const auto& one) { return one.param; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(AttendRows);

} // namespace
} // namespace mustafar::test
