// SPDX-License-Identifier: Apache-2.0
// The C ABI as this program uses it: handles that destroy themselves, a call that throws, tensor views.
// Nothing else of libmustafar is seen here.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "experiment/failure.hpp"
#include "mustafar/mustafar.h"

namespace mustafar::experiment {

struct Destroy {
    void operator()(mustafar_context* context) const { mustafar_context_destroy(context); }
    void operator()(mustafar_recipe* recipe) const { mustafar_recipe_destroy(recipe); }
    void operator()(mustafar_cache* cache) const { mustafar_cache_destroy(cache); }
};
using Context = std::unique_ptr<mustafar_context, Destroy>;
using Recipe = std::unique_ptr<mustafar_recipe, Destroy>;
using Cache = std::unique_ptr<mustafar_cache, Destroy>;

// The library refused: its own words, with the subject ("trace x, recipe y") before them.
class Refused : public Failure {
  public:
    Refused(std::string_view subject, mustafar_status status, const mustafar_error& error)
        : Failure(exit_refused, std::string(subject) + ": " + error.message + " (" +
                                    mustafar_status_name(status) + ")"),
          code_(status) {}
    mustafar_status code() const { return code_; }

  private:
    mustafar_status code_;
};

// Calls `function(args..., &error)` and throws Refused unless it says OK.
template <class Function, class... Args>
void call(std::string_view subject, Function function, Args... args) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    const mustafar_status status = function(args..., &error);
    if (status != MUSTAFAR_OK) { throw Refused(subject, status, error); }
}

// The same for calls that make a handle: `function(args..., &handle, &error)`.
template <class Handle, class Function, class... Args>
std::unique_ptr<Handle, Destroy> make(std::string_view subject, Function function, Args... args) {
    Handle* handle = nullptr;
    call(subject, function, args..., &handle);
    return std::unique_ptr<Handle, Destroy>(handle);
}

// A struct of the library with its size set and the rest zero.
template <class Struct>
Struct sized() {
    Struct value{};
    value.struct_size = static_cast<std::uint32_t>(sizeof(Struct));
    return value;
}

inline mustafar_tensor tensor(const void* data, mustafar_dtype dtype,
                              std::initializer_list<std::int64_t> shape,
                              std::initializer_list<std::int64_t> strides) {
    mustafar_tensor view{};
    view.data = const_cast<void*>(data); // the library writes only to what it calls out...
    view.dtype = dtype;
    view.ndim = static_cast<std::uint32_t>(shape.size());
    std::uint32_t i = 0;
    for (const std::int64_t extent : shape) { view.shape[i++] = extent; }
    i = 0;
    for (const std::int64_t stride : strides) { view.strides[i++] = stride; }
    return view;
}

// Contiguous f32, last dimension fastest.
inline mustafar_tensor f32_tensor(float* data, std::initializer_list<std::int64_t> shape) {
    mustafar_tensor view = tensor(data, MUSTAFAR_F32, shape, {});
    std::int64_t stride = 1;
    for (std::uint32_t i = view.ndim; i-- > 0;) {
        view.strides[i] = stride;
        stride *= view.shape[i];
    }
    return view;
}

} // namespace mustafar::experiment
