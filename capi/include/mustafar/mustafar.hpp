// SPDX-License-Identifier: Apache-2.0
//
// The C API for C++20: handles that give themselves back, spans, one exception. Header only, so there
// is no C++ ABI: everything below is compiled into its user. Names, order, defaults, threads and
// statuses are those of the C headers, which are the contract; what C returns as a struct is that
// struct.
//
//     mustafar::Context context;
//     mustafar::Cache cache(context, {.layers = 1, .q_heads = 8, .kv_heads = 2, .head_dim_k = 128},
//                           mustafar::Recipe("lean"), {.max_tokens = 4096});
//     cache.append(0, mustafar::f32(k, {1000, 2, 128}), mustafar::f32(v, {1000, 2, 128}));
//     mustafar::attend({&cache}, 0, mustafar::f32(q, {1, 1, 8, 128}),
//                      mustafar::f32(out, {1, 1, 8, 128}));
//
// Errors     every call may throw mustafar::Error, and has then changed nothing. What a reader,
//            writer or allocation of std:: throws comes out as it is.
// Ownership  Context, Recipe and Cache move and do not copy (Cache::fork does). One that was moved
//            from is empty: a call on it is INVALID_ARGUMENT. Views borrow.
#ifndef MUSTAFAR_MUSTAFAR_HPP
#define MUSTAFAR_MUSTAFAR_HPP

#include <concepts>         // same_as
#include <cstddef>          // byte, size_t
#include <cstdint>          // fixed-width integers
#include <exception>        // exception_ptr
#include <initializer_list> // shapes
#include <limits>           // largest stride
#include <memory>           // unique_ptr
#include <optional>         // what may be absent
#include <ranges>           // contiguous_range
#include <span>             // views
#include <stdexcept>        // runtime_error
#include <string>           // texts
#include <string_view>      // texts
#include <type_traits>      // remove_reference
#include <utility>          // pair, move
#include <vector>           // results

#include "mustafar.h"

namespace mustafar {
inline namespace v0 { // apart from classes of the library's own, where both are linked statically

// ---- errors ------------------------------------------------------------------------------------

class Error : public std::runtime_error {
  public:
    explicit Error(const mustafar_error& error)
        : std::runtime_error(error.message), error_(error) {}
    mustafar_status code() const noexcept { return error_.code; }
    const char* name() const noexcept { return mustafar_status_name(error_.code); }
    std::span<const std::int64_t, 4> values() const noexcept {
        return error_.values;
    } // types.h, statuses

  private:
    mustafar_error error_;
};

namespace detail {

// Makes the call with an error to fill, and throws it.
template <class Call>
void check(Call&& call) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    const mustafar_status status = call(&error);
    if (status == MUSTAFAR_OK) { return; }
    error.code = status;
    throw Error(error);
}

[[noreturn]] inline void refuse(std::string_view text) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    error.code = MUSTAFAR_INVALID_ARGUMENT;
    text.copy(error.message, sizeof(error.message) - 1);
    throw Error(error);
}

template <class Struct>
Struct sized() {
    Struct made{};
    made.struct_size = sizeof(Struct);
    return made;
}

template <auto destroy>
struct Destroy {
    void operator()(auto* handle) const noexcept { destroy(handle); }
};

} // namespace detail

// ---- views -------------------------------------------------------------------------------------

// A tensor that is read. The default is "absent", where a call allows that.
struct Input {
    mustafar_tensor raw{};
    const mustafar_tensor* get() const noexcept { return raw.ndim == 0 ? nullptr : &raw; }
};

// A tensor that is written; it may be read, too.
struct Output : Input {};

// `first`: where element 0 of the view lies in `data`; `strides` in elements, empty = contiguous. A
// view that leaves `data` is refused here.
template <class View>
View make_view(void* data, std::size_t elements, std::size_t width, mustafar_dtype dtype,
               std::initializer_list<std::int64_t> shape,
               std::initializer_list<std::int64_t> strides, std::size_t first) {
    if (shape.size() == 0 || shape.size() > MUSTAFAR_MAX_DIMS) {
        detail::refuse("view: shape must have 1..4 dimensions");
    }
    if (strides.size() != 0 && strides.size() != shape.size()) {
        detail::refuse("view: strides must be as many as dimensions");
    }
    View view;
    view.raw.dtype = dtype;
    view.raw.ndim = static_cast<std::uint32_t>(shape.size());
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 16;
    std::int64_t lowest = 0, highest = 0, size = 1;
    bool empty = false;
    for (std::size_t i = shape.size(); i-- > 0;) {
        const std::int64_t extent = shape.begin()[i];
        const std::int64_t stride = strides.size() != 0 ? strides.begin()[i] : size;
        if (extent < 0) { detail::refuse("view: shape has a negative extent"); }
        if (stride > most || stride < -most || size > most / (extent > 0 ? extent : 1) ||
            (extent > 1 && (stride < 0 ? -stride : stride) > most / (extent - 1))) {
            detail::refuse("view: shape and strides reach further than 64 bits");
        }
        view.raw.shape[i] = extent;
        view.raw.strides[i] = stride;
        size *= extent > 0 ? extent : 1;
        empty = empty || extent == 0;
        (stride < 0 ? lowest : highest) += extent > 0 ? (extent - 1) * stride : 0;
    }
    if (!empty && (first >= elements || lowest < -static_cast<std::int64_t>(first) ||
                   highest >= static_cast<std::int64_t>(elements - first))) {
        detail::refuse("view: shape and strides leave the data");
    }
    if (!empty) { view.raw.data = static_cast<char*>(data) + first * width; }
    return view;
}

// Views of vectors, arrays, spans: Output of what can be written, else Input.
template <class T, std::ranges::contiguous_range Range>
requires std::same_as<std::ranges::range_value_t<Range>, T>
auto view(Range&& range, mustafar_dtype dtype, std::initializer_list<std::int64_t> shape,
          std::initializer_list<std::int64_t> strides = {}, std::size_t first = 0) {
    using Element = std::remove_reference_t<std::ranges::range_reference_t<Range>>;
    using View = std::conditional_t<std::is_const_v<Element>, Input, Output>;
    void* data = const_cast<T*>(std::ranges::data(range)); // an Input is never written
    return make_view<View>(data, std::ranges::size(range), sizeof(T), dtype, shape, strides, first);
}

#define MUSTAFAR_VIEW(name, type, dtype)                                                           \
    template <std::ranges::contiguous_range Range>                                                 \
    auto name(Range&& range, std::initializer_list<std::int64_t> shape,                            \
              std::initializer_list<std::int64_t> strides = {}, std::size_t first = 0) {           \
        return view<type>(range, dtype, shape, strides, first);                                    \
    }
MUSTAFAR_VIEW(f32, float, MUSTAFAR_F32)
MUSTAFAR_VIEW(f16, std::uint16_t, MUSTAFAR_F16)   // bits
MUSTAFAR_VIEW(bf16, std::uint16_t, MUSTAFAR_BF16) // bits
MUSTAFAR_VIEW(u8, std::uint8_t, MUSTAFAR_U8)      // masks
#undef MUSTAFAR_VIEW

// ---- info --------------------------------------------------------------------------------------

inline std::string_view version() { return mustafar_version(); }
inline std::uint32_t abi_version() { return mustafar_abi_version(); }
inline std::string_view build_text() { return mustafar_build_text(); }
inline std::string_view dtype_name(mustafar_dtype dtype) { return mustafar_dtype_name(dtype); }

// Every row of every dispatch table, best first.
inline std::vector<mustafar_kernel_info> kernels() {
    std::vector<mustafar_kernel_info> rows(mustafar_kernel_count(),
                                           detail::sized<mustafar_kernel_info>());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        detail::check([&](auto* error) { return mustafar_kernel_at(i, &rows[i], error); });
    }
    return rows;
}

// ---- context -----------------------------------------------------------------------------------

struct ContextOptions {
    std::uint32_t threads = 0;
    std::uint64_t quota_bytes = 0;
    bool refuse_ref = false;
    std::string backend = {};
    std::optional<mustafar_allocator> allocator = {}; // struct_size is set here
    std::optional<mustafar_log_hook> log = {};
};

class Context {
  public:
    explicit Context(const ContextOptions& options = {}) {
        auto raw = detail::sized<mustafar_context_options>();
        raw.threads = options.threads;
        raw.quota_bytes = options.quota_bytes;
        raw.flags = options.refuse_ref ? MUSTAFAR_CONTEXT_REFUSE_REF : 0U;
        if (options.backend.size() >= sizeof(raw.backend)) {
            detail::refuse("options.backend is longer than any name");
        }
        options.backend.copy(raw.backend, sizeof(raw.backend) - 1);
        auto allocator = options.allocator;
        auto log = options.log;
        if (allocator) { allocator->struct_size = sizeof(*allocator); }
        if (log) { log->struct_size = sizeof(*log); }
        mustafar_context* made = nullptr;
        detail::check([&](auto* error) {
            return mustafar_context_create(&raw, allocator ? &*allocator : nullptr,
                                           log ? &*log : nullptr, &made, error);
        });
        handle_.reset(made);
    }
    mustafar_context* get() const noexcept { return handle_.get(); }

    mustafar_kernel_info kernel(const std::string& op) const {
        auto out = detail::sized<mustafar_kernel_info>();
        detail::check(
            [&](auto* error) { return mustafar_context_kernel(get(), op.c_str(), &out, error); });
        return out;
    }
    mustafar_context_stats stats() const {
        auto out = detail::sized<mustafar_context_stats>();
        detail::check([&](auto* error) { return mustafar_context_get_stats(get(), &out, error); });
        return out;
    }

  private:
    std::unique_ptr<mustafar_context, detail::Destroy<mustafar_context_destroy>> handle_;
};

// ---- recipe ------------------------------------------------------------------------------------

struct Geometry {
    std::uint32_t layers = 0, q_heads = 0, kv_heads = 0, head_dim_k = 0;
    std::uint32_t head_dim_v = 0; // 0 = head_dim_k
    mustafar_dtype dtype = MUSTAFAR_F16;
    mustafar_geometry raw() const {
        return {sizeof(mustafar_geometry),
                layers,
                q_heads,
                kv_heads,
                head_dim_k,
                head_dim_v != 0 ? head_dim_v : head_dim_k,
                dtype,
                0};
    }
};

struct CacheOptions {
    std::uint32_t max_tokens = 0, reserve_tokens = 0;
    bool automatic = true; // MUSTAFAR_CACHE_AUTO
    mustafar_cache_options raw() const {
        return {sizeof(mustafar_cache_options), max_tokens, reserve_tokens,
                automatic ? MUSTAFAR_CACHE_AUTO : 0U};
    }
};

struct Window {
    std::uint32_t recent, sink, step, budget;
};

class Recipe {
  public:
    explicit Recipe(std::string_view text) {
        mustafar_recipe* made = nullptr;
        detail::check([&](auto* error) {
            return mustafar_recipe_parse(text.data(), text.size(), &made, error);
        });
        handle_.reset(made);
    }
    const mustafar_recipe* get() const noexcept { return handle_.get(); }

    std::string_view json() const { return get() != nullptr ? mustafar_recipe_json(get()) : ""; }
    std::string_view digest() const {
        return get() != nullptr ? mustafar_recipe_digest(get()) : "";
    }
    mustafar_side_info side(const Geometry& geometry, std::uint32_t layer, std::uint32_t kv_head,
                            std::uint32_t side) const {
        auto out = detail::sized<mustafar_side_info>();
        const auto shape = geometry.raw();
        detail::check([&](auto* error) {
            return mustafar_recipe_side(get(), &shape, layer, kv_head, side, &out, error);
        });
        return out;
    }
    Window window(const Geometry& geometry, std::uint32_t layer, std::uint32_t kv_head) const {
        Window out{};
        const auto shape = geometry.raw();
        detail::check([&](auto* error) {
            return mustafar_recipe_window(get(), &shape, layer, kv_head, &out.recent, &out.sink,
                                          &out.step, &out.budget, error);
        });
        return out;
    }

  private:
    std::unique_ptr<mustafar_recipe, detail::Destroy<mustafar_recipe_destroy>> handle_;
};

// Built-in recipes: name, and a sentence about it.
inline std::vector<std::pair<std::string_view, std::string_view>> named_recipes() {
    std::vector<std::pair<std::string_view, std::string_view>> all;
    for (std::size_t i = 0; i < mustafar_recipe_count(); ++i) {
        all.emplace_back(mustafar_recipe_name(i), mustafar_recipe_sentence(i));
    }
    return all;
}

inline mustafar_bytes plan(const Recipe& recipe, const Geometry& geometry,
                           const CacheOptions& options, std::uint32_t tokens,
                           std::uint32_t layer = MUSTAFAR_ALL) {
    auto out = detail::sized<mustafar_bytes>();
    const auto shape = geometry.raw();
    const auto limits = options.raw();
    detail::check([&](auto* error) {
        return mustafar_plan(recipe.get(), &shape, &limits, tokens, layer, &out, error);
    });
    return out;
}

} // namespace v0
} // namespace mustafar

#include "cache.hpp"

#endif // MUSTAFAR_MUSTAFAR_HPP
