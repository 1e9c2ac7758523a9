// SPDX-License-Identifier: Apache-2.0
// The one exception boundary, and the rules for structs that grow.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "core/error.hpp"
#include "mustafar/types.h"
#include "released.hpp"

namespace mustafar::capi {

inline mustafar_status report(const char* call, mustafar_error* error, mustafar_status code,
                              const char* text, const std::int64_t* values) noexcept {
    constexpr std::size_t head = offsetof(mustafar_error, message);
    if (error == nullptr || error->struct_size <= head) { return code; }
    const std::size_t room =
        std::min<std::size_t>(error->struct_size, sizeof(mustafar_error)) - head;
    error->code = code;
    for (int i = 0; i < 4; ++i) { error->values[i] = values != nullptr ? values[i] : 0; }
    std::snprintf(error->message, room, "%s: %s", call, text);
    return code;
}

// Runs `body`; whatever it throws becomes a status.
template <typename Body>
mustafar_status guard(const char* call, mustafar_error* error, const Body& body) noexcept {
    try {
        body();
        return MUSTAFAR_OK;
    } catch (const Error& failure) {
        return report(call, error, failure.code, failure.text.c_str(), failure.values.data());
    } catch (const std::bad_alloc&) {
        return report(call, error, MUSTAFAR_OUT_OF_MEMORY, "the process heap has no memory left",
                      nullptr);
    } catch (const std::exception& failure) {
        return report(call, error, MUSTAFAR_INTERNAL, failure.what(), nullptr);
    } catch (...) {
        return report(call, error, MUSTAFAR_INTERNAL, "an unknown exception", nullptr);
    }
}

[[noreturn]] inline void refuse(const std::string& text) {
    throw Error(MUSTAFAR_INVALID_ARGUMENT, text);
}

template <typename T>
void require(const T* pointer, const char* name) {
    if (pointer == nullptr) { refuse(std::string(name) + " = NULL"); }
}

// Reads a caller's struct of any age into ours: missing fields are zero; fields we do not know must
// be zero. `least` is the size of its first release.
template <typename T>
T read_struct(const T* given, const char* name) {
    constexpr std::size_t least = released_size<T>;
    static_assert(least > 0 && least <= sizeof(T));
    T read{};
    const std::size_t size = given->struct_size;
    if (size < least || size > 65536) {
        refuse(std::string(name) + ".struct_size = " + std::to_string(size) +
               " is no size of this struct; set it to sizeof, at least " + std::to_string(least));
    }
    std::memcpy(&read, given, std::min(size, sizeof(T)));
    const auto* bytes = reinterpret_cast<const unsigned char*>(given);
    for (std::size_t i = sizeof(T); i < size; ++i) {
        if (bytes[i] != 0) {
            throw Error(MUSTAFAR_UNSUPPORTED,
                        std::string(name) + ": byte " + std::to_string(i) +
                            " is set, a field this version (" + std::to_string(sizeof(T)) +
                            " bytes) does not know; use a newer library or leave it 0");
        }
    }
    read.struct_size = sizeof(T);
    return read;
}

// Checks an output struct before work is done; `write_struct` fills it up to the caller's size
// afterwards.
template <typename T>
void check_output(const T* out, const char* name) {
    constexpr std::size_t least = released_size<T>;
    static_assert(least > 0 && least <= sizeof(T));
    require(out, name);
    if (out->struct_size < least || out->struct_size > 65536) {
        refuse(std::string(name) + ".struct_size = " + std::to_string(out->struct_size) +
               " is no size of this struct; set it to sizeof, at least " + std::to_string(least));
    }
}

template <typename T>
void write_struct(T* out, T value) {
    const std::uint32_t size = out->struct_size;
    value.struct_size = size;
    std::memcpy(out, &value, std::min<std::size_t>(size, sizeof(T)));
    if (size > sizeof(T)) {
        std::memset(reinterpret_cast<char*>(out) + sizeof(T), 0, size - sizeof(T));
    }
}

inline void require_zero(std::uint64_t value, const char* name) {
    if (value != 0) {
        refuse(std::string(name) + " = " + std::to_string(value) + " is reserved; set it to 0");
    }
}

inline void check_flags(std::uint32_t flags, std::uint32_t known, const char* name) {
    if ((flags & ~known) == 0) { return; }
    throw Error(MUSTAFAR_UNSUPPORTED, std::string(name) + " = " + std::to_string(flags) +
                                          " has unknown bits; known: " + std::to_string(known));
}

} // namespace mustafar::capi
