// SPDX-License-Identifier: Apache-2.0
#include "api/tensors.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "api/parameters.hpp"
#include "api/shapes.hpp"
#include "routes.hpp"

static_assert(std::endian::native == std::endian::little, "bodies are little-endian");

namespace mustafar::daemon {

namespace {

constexpr std::size_t element_max = 4; // bytes of the largest dtype
constexpr std::size_t reply_align = 64;

constexpr struct {
    const char* name; // of safetensors
    mustafar_dtype dtype;
} dtypes[] = {{"F16", MUSTAFAR_F16}, {"BF16", MUSTAFAR_BF16}, {"F32", MUSTAFAR_F32}};

mustafar_dtype dtype_of(const experiment::SafetensorsEntry& entry) {
    for (const auto& one : dtypes) {
        if (entry.dtype == one.name) { return one.dtype; }
    }
    throw bad_tensor(entry.name, "dtype", "F16, BF16 or F32 is expected, not " + entry.dtype);
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
    std::string text;
    for (const std::uint64_t extent : shape) {
        text += (text.empty() ? "" : ", ") + std::to_string(extent);
    }
    return "[" + text + "]";
}

} // namespace

mustafar_tensor rows_view(const char* data, mustafar_dtype dtype, std::uint64_t tokens,
                          std::uint32_t heads, std::uint32_t d) {
    const auto h = static_cast<std::int64_t>(heads);
    const auto n = static_cast<std::int64_t>(d);
    return experiment::tensor(data, dtype, {static_cast<std::int64_t>(tokens), h, n},
                              {h * n, n, 1});
}

mustafar_tensor queries_view(const char* data, mustafar_dtype dtype, std::uint64_t count,
                             std::uint64_t tokens, std::uint32_t heads, std::uint32_t d) {
    const auto t = static_cast<std::int64_t>(tokens);
    const auto h = static_cast<std::int64_t>(heads);
    const auto n = static_cast<std::int64_t>(d);
    return experiment::tensor(data, dtype, {static_cast<std::int64_t>(count), t, h, n},
                              {t * h * n, h * n, n, 1});
}

void check_size(const Request& request, std::uint64_t expected) {
    if (request.body.size() != expected) {
        throw Problem(ProblemType::body_size, "the body has another size than the parameters say",
                      {{"expected_bytes", expected}, {"actual_bytes", request.body.size()}});
    }
}

Problem bad_tensor(const std::string& name, const char* code, const std::string& message) {
    return bad_body("/" + name.substr(0, 200), code, message);
}

std::uint64_t BodyTensor::bytes() const {
    std::uint64_t product = dtype_bytes(dtype);
    for (const std::uint64_t extent : shape) { product *= extent; }
    return product; // the reader has seen that it fits
}

mustafar_tensor BodyTensor::view() const {
    if (shape.empty() || shape.size() > MUSTAFAR_MAX_DIMS) {
        throw bad_tensor(name, "shape", "1 to 4 dimensions are expected");
    }
    mustafar_tensor view = experiment::tensor(data, dtype, {}, {});
    view.ndim = static_cast<std::uint32_t>(shape.size());
    std::int64_t stride = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
        view.shape[i] = static_cast<std::int64_t>(shape[i]);
        view.strides[i] = stride;
        stride *= view.shape[i];
    }
    return view;
}

void BodyTensor::expect_shape(std::initializer_list<std::uint64_t> wanted) const {
    if (!std::ranges::equal(shape, wanted)) {
        throw bad_tensor(name, "shape",
                         "has shape " + shape_text(shape) + " where " + shape_text(wanted) +
                             " is expected");
    }
}

BodyTensors::BodyTensors(Service& service, const Request& request,
                         std::string_view metadata_prefix) {
    std::string_view body = request.body.view();
    experiment::Safetensors file;
    try {
        file = experiment::parse_safetensors(std::as_bytes(std::span(body)));
        const std::size_t data =
            file.entries.empty() ? 0
                                 : static_cast<std::size_t>(reinterpret_cast<const char*>(
                                                                file.entries.front().data.data()) -
                                                            body.data());
        if (data % element_max != 0) { // bodies begin aligned, this header ends anywhere
            const std::size_t bytes = body.size() - data;
            copy_ = reserve_reply(service, std::max<std::size_t>(bytes, 1));
            std::memcpy(copy_.data(), body.data() + data, bytes);
        }
        for (const experiment::SafetensorsEntry& entry : file.entries) {
            const auto* at = reinterpret_cast<const char*>(entry.data.data());
            if (!copy_.empty()) { at = copy_.data() + (at - body.data() - data); }
            list_.push_back({entry.name, dtype_of(entry), entry.shape, at});
        }
    } catch (const experiment::SafetensorsError& wrong) {
        throw bad_body("", "safetensors", wrong.what());
    }
    for (const auto& [name, value] : file.metadata) {
        const bool known =
            name == "format" || (!metadata_prefix.empty() && name.starts_with(metadata_prefix));
        if (!known) { throw bad_tensor("__metadata__/" + name, "unknown", "is not a field"); }
    }
    metadata_ = std::move(file.metadata);
}

const BodyTensor& BodyTensors::get(const std::string& name) const {
    const auto at = std::ranges::find(list_, name, &BodyTensor::name);
    if (at == list_.end()) { throw bad_tensor(name, "required", "is missing"); }
    return *at;
}

void ReplyTensors::add(const std::string& name, mustafar_dtype dtype,
                       std::vector<std::uint64_t> shape) {
    const BodyTensor tensor{name, dtype, std::move(shape), nullptr};
    const std::uint64_t end = bytes_ + tensor.bytes();
    const char* word = "";
    for (const auto& one : dtypes) {
        if (one.dtype == dtype) { word = one.name; }
    }
    header_[name] = {
        {"dtype", word}, {"shape", tensor.shape}, {"data_offsets", Json::array({bytes_, end})}};
    bytes_ = end;
}

Response ReplyTensors::make(Service& service, char** data) {
    std::string header = dump(header_);
    const std::size_t length = sizeof(std::uint64_t);
    const std::size_t whole =
        (length + header.size() + reply_align - 1) / reply_align * reply_align;
    header.resize(whole - length, ' ');
    Response response;
    response.type = media_type(BodyKind::safetensors);
    response.data = reserve_reply(service, whole + bytes_);
    const std::uint64_t header_bytes = header.size();
    std::memcpy(response.data.data(), &header_bytes, length);
    std::memcpy(response.data.data() + length, header.data(), header.size());
    *data = response.data.data() + whole;
    return response;
}

} // namespace mustafar::daemon
