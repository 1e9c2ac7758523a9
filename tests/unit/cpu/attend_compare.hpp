// SPDX-License-Identifier: Apache-2.0
// Is what a row of op `attend` gave near enough to what `ref` gave? tests/common/budget.h says how
// near.
#pragma once

#include "budget.h"
#include "cpu/attend_support.hpp"

namespace mustafar::test {

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
            const double room = weight_room(&budget_, factor, weight) + 1e-19;
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
        const double exact =
            out_share(&budget_, alike * factor) * output_size(std::sqrt(size), squares) +
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
Tensor queries(const AttendCase& one, const std::vector<Cache::Handle>& caches);

} // namespace mustafar::test
