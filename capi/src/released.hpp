// SPDX-License-Identifier: Apache-2.0
// Size of each growing struct in the release that introduced it: the least a caller may state. Never edited;
// sizeof would refuse every older caller on the day a field is appended.
#pragma once

#include <cstddef>

#include "mustafar/mustafar.h"

namespace mustafar::capi {

template <typename T>
inline constexpr std::size_t released_size = 0;

template <>
inline constexpr std::size_t released_size<mustafar_geometry> = 32;
template <>
inline constexpr std::size_t released_size<mustafar_bytes> = 72;
template <>
inline constexpr std::size_t released_size<mustafar_kernel_info> = 264;
template <>
inline constexpr std::size_t released_size<mustafar_allocator> = 32;
template <>
inline constexpr std::size_t released_size<mustafar_log_hook> = 24;
template <>
inline constexpr std::size_t released_size<mustafar_context_options> = 56;
template <>
inline constexpr std::size_t released_size<mustafar_context_stats> = 88;
template <>
inline constexpr std::size_t released_size<mustafar_side_info> = 48;
template <>
inline constexpr std::size_t released_size<mustafar_cache_options> = 16;
template <>
inline constexpr std::size_t released_size<mustafar_prune_options> = 24;
template <>
inline constexpr std::size_t released_size<mustafar_cache_stats> = 232;
template <>
inline constexpr std::size_t released_size<mustafar_attend_options> = 40;

} // namespace mustafar::capi
