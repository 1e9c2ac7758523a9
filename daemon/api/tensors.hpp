// SPDX-License-Identifier: Apache-2.0
// Tensors between bodies and the library: views of raw arrays, and safetensors in and out.
#pragma once

#include <string>
#include <vector>

#include "experiment/safetensors.hpp"
#include "http/message.hpp"
#include "library.hpp"
#include "service.hpp"

namespace mustafar::daemon {

// [tokens, heads, d] and [count, tokens, heads, d], contiguous.
mustafar_tensor rows_view(const char* data, mustafar_dtype dtype, std::uint64_t tokens,
                          std::uint32_t heads, std::uint32_t d);
mustafar_tensor queries_view(const char* data, mustafar_dtype dtype, std::uint64_t count,
                             std::uint64_t tokens, std::uint32_t heads, std::uint32_t d);

void check_size(const Request& request, std::uint64_t expected); // throws body_size

// What is wrong with one tensor of a body: 422 bad-body whose pointer is "/name".
Problem bad_tensor(const std::string& name, const char* code, const std::string& message);

struct BodyTensor {
    std::string name;
    mustafar_dtype dtype = 0;
    std::vector<std::uint64_t> shape;
    const char* data = nullptr; // aligned to 4

    std::uint64_t bytes() const;
    mustafar_tensor view() const; // contiguous; at most 4 dimensions
    // Throws bad_tensor.
    void expect_shape(std::initializer_list<std::uint64_t> wanted) const;
};

// A safetensors body. Tensors are views into it, in the order of their bytes.
class BodyTensors {
  public:
    // Throws bad_body where it is none, or holds a dtype that is not f16, bf16 or f32. Metadata besides "format"
    // and those that begin with `metadata_prefix` are unknown. A body whose header leaves the data unaligned is
    // copied once.
    BodyTensors(Service& service, const Request& request, std::string_view metadata_prefix = {});
    const std::vector<BodyTensor>& list() const { return list_; }
    const BodyTensor& get(const std::string& name) const; // throws bad_tensor
    const std::map<std::string, std::string>& metadata() const { return metadata_; }

  private:
    Staging copy_;
    std::vector<BodyTensor> list_;
    std::map<std::string, std::string> metadata_;
};

// A safetensors reply: say what is in it, then fill it in.
class ReplyTensors {
  public:
    void add(const std::string& name, mustafar_dtype dtype, std::vector<std::uint64_t> shape);
    // The response, and where the first tensor begins; the others follow without a gap.
    Response make(Service& service, char** data);

  private:
    Json header_ = Json::object();
    std::uint64_t bytes_ = 0;
};

} // namespace mustafar::daemon
