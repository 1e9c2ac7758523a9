// SPDX-License-Identifier: Apache-2.0
#include "experiment/trace.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "experiment/capi.hpp"
#include "experiment/failure.hpp"
#include "experiment/half.hpp"
#include "experiment/safetensors.hpp"

namespace mustafar::experiment {

namespace {

static_assert(std::endian::native == std::endian::little, "tensors are copied as they are");

constexpr std::uint64_t count_max = INT32_MAX;

[[noreturn]] void fail(const std::string& name, const std::string& text) {
    throw Failure(exit_data, fmt::format("{}: {}", name, text));
}

// One trace being read: the file's parts, and messages that name it.
class Reader {
  public:
    Reader(const Safetensors& file, const std::string& name) : file_(file), name_(name) {}

    std::string text(const char* key) const {
        const auto found = file_.metadata.find(key);
        return found == file_.metadata.end() ? std::string() : found->second;
    }

    template <class Number>
    Number number(const char* key) const {
        const std::string value = required(key);
        Number out{};
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
        if (error != std::errc() || end != value.data() + value.size()) {
            fail(name_,
                 fmt::format("metadata {} = \"{}\" is not a number", key, value.substr(0, 40)));
        }
        return out;
    }

    std::uint32_t count(const char* key, std::uint64_t limit = count_max) const {
        const auto value = number<std::uint64_t>(key);
        if (value < 1 || value > limit) {
            fail(name_, fmt::format("metadata {} = {}, allowed are 1 to {}", key, value, limit));
        }
        return static_cast<std::uint32_t>(value);
    }

    bool has(const std::string& tensor) const { return file_.find(tensor) != nullptr; }

    // The tensor, whose shape must be as the metadata says.
    const SafetensorsEntry& find(const std::string& tensor,
                                 std::initializer_list<std::uint64_t> shape) const {
        const SafetensorsEntry* entry = file_.find(tensor);
        if (entry == nullptr) { fail(name_, fmt::format("tensor \"{}\" is missing", tensor)); }
        if (!std::ranges::equal(entry->shape, shape)) {
            fail(name_, fmt::format("tensor \"{}\" has shape [{}], the metadata ask for [{}]",
                                    tensor, fmt::join(entry->shape, ", "), fmt::join(shape, ", ")));
        }
        return *entry;
    }

    template <class Value>
    std::vector<Value> values(const std::string& tensor, std::string_view dtype,
                              std::initializer_list<std::uint64_t> shape) const {
        const SafetensorsEntry& entry = find(tensor, shape);
        if (entry.dtype != dtype) {
            fail(name_,
                 fmt::format("tensor \"{}\" is {}, expected was {}", tensor, entry.dtype, dtype));
        }
        std::vector<Value> out(entry.data.size() / sizeof(Value));
        if (!out.empty()) { std::memcpy(out.data(), entry.data.data(), entry.data.size()); }
        return out;
    }

    std::vector<std::uint16_t> halves(const std::string& tensor, mustafar_dtype dtype,
                                      std::initializer_list<std::uint64_t> shape) const {
        auto out = values<std::uint16_t>(tensor, dtype == MUSTAFAR_BF16 ? "BF16" : "F16", shape);
        const auto bad = std::ranges::find_if(
            out, [&](std::uint16_t bits) { return !std::isfinite(half_to_float(bits, dtype)); });
        if (bad != out.end()) {
            fail(name_, fmt::format("tensor \"{}\" holds a value that is not finite, at element {}",
                                    tensor, bad - out.begin()));
        }
        return out;
    }

  private:
    std::string required(const char* key) const {
        const auto found = file_.metadata.find(key);
        if (found == file_.metadata.end()) {
            fail(name_, fmt::format(
                            "metadata \"{}\" is missing (needed are T, Tq, scale, layers, q_heads, "
                            "kv_heads, head_dim)",
                            key));
        }
        return found->second;
    }

    const Safetensors& file_;
    const std::string& name_;
};

void check_shape(const Trace& trace) {
    if (trace.queries > trace.tokens) {
        fail(trace.name,
             fmt::format("metadata Tq = {} is more than T = {}", trace.queries, trace.tokens));
    }
    if (trace.q_heads % trace.kv_heads != 0) {
        fail(trace.name, fmt::format("metadata q_heads = {} is no multiple of kv_heads = {}",
                                     trace.q_heads, trace.kv_heads));
    }
    if (!std::isfinite(trace.scale) || trace.scale <= 0.0) {
        fail(trace.name, fmt::format("metadata scale = {} must be above 0", trace.scale));
    }
}

TraceLayer read_layer(const Reader& reader, const Trace& t, std::uint32_t index) {
    const auto tensor = [&](const char* part) { return fmt::format("layers.{}.{}", index, part); };
    TraceLayer layer;
    layer.k = reader.halves(tensor("k"), t.dtype, {t.kv_heads, t.tokens, t.head_dim});
    layer.v = reader.halves(tensor("v"), t.dtype, {t.kv_heads, t.tokens, t.head_dim});
    layer.q = reader.halves(tensor("q"), t.dtype, {t.q_heads, t.queries, t.head_dim});
    if (reader.has(tensor("out"))) {
        layer.out = reader.values<float>(tensor("out"), "F32", {t.q_heads, t.queries, t.head_dim});
    }
    if (reader.has(tensor("lse"))) {
        layer.lse = reader.values<float>(tensor("lse"), "F32", {t.q_heads, t.queries});
    }
    return layer;
}

// The shapes and types that read_layer asks for.
void check_layer(const Reader& reader, const Trace& t, std::uint32_t index) {
    const char* halves = t.dtype == MUSTAFAR_BF16 ? "BF16" : "F16";
    const auto check = [&](const char* part, const char* dtype,
                           std::initializer_list<std::uint64_t> shape) {
        const std::string tensor = fmt::format("layers.{}.{}", index, part);
        if (dtype != halves && !reader.has(tensor)) { return; }
        const SafetensorsEntry& entry = reader.find(tensor, shape);
        if (entry.dtype != dtype) {
            fail(t.name,
                 fmt::format("tensor \"{}\" is {}, expected was {}", tensor, entry.dtype, dtype));
        }
    };
    check("k", halves, {t.kv_heads, t.tokens, t.head_dim});
    check("v", halves, {t.kv_heads, t.tokens, t.head_dim});
    check("q", halves, {t.q_heads, t.queries, t.head_dim});
    check("out", "F32", {t.q_heads, t.queries, t.head_dim}); // these two may be missing
    check("lse", "F32", {t.q_heads, t.queries});
}

std::vector<std::byte> read_file(const std::filesystem::path& path) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error) { fail(path.string(), fmt::format("cannot be read: {}", error.message())); }
    std::ifstream stream(path, std::ios::binary);
    std::vector<std::byte> bytes(size);
    if (!stream ||
        !stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size))) {
        fail(path.string(), fmt::format("cannot be read: {}", std::strerror(errno)));
    }
    return bytes;
}

// The last `kept` of every `total` rows of `width` values.
template <class Value>
void keep_rows(std::vector<Value>& values, std::size_t total, std::size_t kept, std::size_t width) {
    if (values.empty() || kept == total) { return; }
    const std::size_t heads = values.size() / (total * width);
    std::vector<Value> out;
    out.reserve(heads * kept * width);
    for (std::size_t head = 0; head < heads; ++head) {
        const auto end = values.begin() + static_cast<std::ptrdiff_t>((head + 1) * total * width);
        out.insert(out.end(), end - static_cast<std::ptrdiff_t>(kept * width), end);
    }
    values = std::move(out);
}

} // namespace

mustafar_geometry Trace::geometry() const {
    auto geometry = sized<mustafar_geometry>();
    geometry.layers = static_cast<std::uint32_t>(layers.size());
    geometry.q_heads = q_heads;
    geometry.kv_heads = kv_heads;
    geometry.head_dim_k = head_dim;
    geometry.head_dim_v = head_dim;
    geometry.dtype = dtype;
    return geometry;
}

bool Trace::same_shape(const Trace& other) const {
    return layers.size() == other.layers.size() && q_heads == other.q_heads &&
           kv_heads == other.kv_heads && head_dim == other.head_dim && dtype == other.dtype &&
           scale == other.scale;
}

float Trace::scale_option() const {
    const double usual = 1.0 / std::sqrt(static_cast<double>(head_dim));
    return std::abs(scale - usual) <= 1e-12 * usual ? 0.0F : static_cast<float>(scale);
}

void Trace::keep_last(std::uint32_t count_tokens, std::uint32_t count_queries) {
    const std::uint32_t kept_queries =
        count_queries == 0 ? queries : std::min(count_queries, queries);
    const std::uint32_t kept = count_tokens == 0 ? tokens : std::min(count_tokens, tokens);
    if (kept < kept_queries) {
        throw Failure(
            exit_usage,
            fmt::format(
                "--tokens {}: {} has {} queries, each needs its token; --queries takes fewer", kept,
                name, kept_queries));
    }
    for (TraceLayer& layer : layers) {
        keep_rows(layer.k, tokens, kept, head_dim);
        keep_rows(layer.v, tokens, kept, head_dim);
        keep_rows(layer.q, queries, kept_queries, head_dim);
        keep_rows(layer.out, queries, kept_queries, head_dim);
        keep_rows(layer.lse, queries, kept_queries, 1);
    }
    cut = cut || kept < tokens;
    tokens = kept;
    queries = kept_queries;
}

namespace {

// Everything but the layers, which are there without values.
Trace read_metadata(const Safetensors& file, const Reader& reader, const std::string& name) {
    Trace trace;
    trace.name = name;
    trace.model = reader.text("model");
    trace.kind = reader.text("kind");
    trace.tokens = reader.count("T");
    trace.queries = reader.count("Tq");
    trace.scale = reader.number<double>("scale");
    const std::uint32_t layers = reader.count("layers", 4096);
    trace.q_heads = reader.count("q_heads", 1024);
    trace.kv_heads = reader.count("kv_heads", 1024);
    trace.head_dim = reader.count("head_dim", 65536);
    check_shape(trace);
    const SafetensorsEntry* first = file.find("layers.0.k");
    trace.dtype = first != nullptr && first->dtype == "BF16" ? MUSTAFAR_BF16 : MUSTAFAR_F16;
    trace.layers.resize(layers);
    return trace;
}

template <class Parse>
Safetensors parsed(const std::string& name, const Parse& parse) {
    try {
        return parse();
    } catch (const SafetensorsError& error) {
        fail(name, fmt::format("not a safetensors file: {}", error.what()));
    }
}

Trace read_trace(std::span<const std::byte> bytes, const std::string& name, bool keep_values) {
    const Safetensors file = parsed(name, [&] { return parse_safetensors(bytes); });
    const Reader reader(file, name);
    Trace trace = read_metadata(file, reader, name);
    for (std::uint32_t i = 0; i < trace.layers.size(); ++i) {
        TraceLayer layer = read_layer(reader, trace, i);
        if (keep_values) { trace.layers[i] = std::move(layer); }
    }
    return trace;
}

// The length of the header, and the header.
std::vector<std::byte> read_start(const std::filesystem::path& path, std::uint64_t* file_bytes) {
    std::error_code error;
    *file_bytes = std::filesystem::file_size(path, error);
    if (error) { fail(path.string(), fmt::format("cannot be read: {}", error.message())); }
    std::ifstream stream(path, std::ios::binary);
    std::vector<std::byte> bytes(8 + safetensors_header_max);
    stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!stream && !stream.eof()) {
        fail(path.string(), fmt::format("cannot be read: {}", std::strerror(errno)));
    }
    bytes.resize(static_cast<std::size_t>(stream.gcount()));
    return bytes;
}

} // namespace

Trace parse_trace(std::span<const std::byte> bytes, const std::string& name) {
    return read_trace(bytes, name, true);
}

Trace check_trace(std::span<const std::byte> bytes, const std::string& name) {
    return read_trace(bytes, name, false);
}

Trace describe_trace(const std::filesystem::path& path) {
    std::uint64_t file_bytes = 0;
    const std::vector<std::byte> start = read_start(path, &file_bytes);
    const std::string name = path.stem().string();
    const Safetensors file =
        parsed(name, [&] { return parse_safetensors_start(start, file_bytes); });
    const Reader reader(file, name);
    Trace trace = read_metadata(file, reader, name);
    trace.path = path.string();
    for (std::uint32_t i = 0; i < trace.layers.size(); ++i) { check_layer(reader, trace, i); }
    return trace;
}

Trace load_trace(const std::filesystem::path& path) {
    const std::vector<std::byte> bytes = read_file(path);
    Trace trace = parse_trace(bytes, path.string());
    trace.path = path.string();
    trace.name = path.stem().string();
    return trace;
}

} // namespace mustafar::experiment
