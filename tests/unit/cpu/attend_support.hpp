// SPDX-License-Identifier: Apache-2.0
// What the comparison of attend rows works with: tensors of any type and stride, the caches of a case in
// a context of any backend, and one attend on them.
#pragma once

#include <string>
#include <vector>

#include "cpu/attend_cases.hpp"

namespace mustafar::test {

// A tensor whose dimensions lie in any order with gaps between; gaps are filled, and must stay so.
class Tensor {
  public:
    Tensor(mustafar_dtype dtype, std::vector<std::int64_t> shape, std::uint64_t layout = 0);
    const mustafar_tensor& view() const { return view_; }
    std::size_t count() const { return offsets_.size(); }
    float get(std::size_t i) const { return load_element(view_, offsets_[i]); }
    void set(std::size_t i, float value) { store_element(view_, offsets_[i], double{value}); }
    void fill(const std::vector<float>& values);
    std::vector<float> all() const;
    bool gaps_untouched() const;

  private:
    std::vector<std::uint8_t> bytes_;
    std::vector<std::int64_t> offsets_; // of elements in row-major order
    mustafar_tensor view_{};
    std::int64_t room_ = 0; // elements
};

std::shared_ptr<Context> backend_context(const std::string& backend, std::uint32_t threads = 1);

// The caches of a case, filled with its tokens; the same whatever the context.
std::vector<Cache::Handle> fill_caches(const AttendCase& one, const std::shared_ptr<Context>& in);
// Copies of them in another context.
std::vector<Cache::Handle> copy_caches(const std::vector<Cache::Handle>& caches,
                                       const std::shared_ptr<Context>& into);

// Contiguous f32 results of one attend.
struct Attended {
    std::vector<float> out, lse, weights, dropped;
    bool operator==(const Attended&) const = default;
};
std::int64_t weight_width(const std::vector<Cache::Handle>& caches);
Attended attend_case(const AttendCase& one, const std::vector<Cache::Handle>& caches,
                     const Tensor& q);
// Into `out`, of any type and stride, and nothing else.
void attend_case_into(const AttendCase& one, const std::vector<Cache::Handle>& caches,
                      const Tensor& q, const Tensor& out);
double scale_of(const AttendCase& one);

} // namespace mustafar::test
