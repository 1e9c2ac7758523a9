// SPDX-License-Identifier: Apache-2.0
#include "core/context.hpp"

#include <cstdlib>
#include <cstring>
#include <thread>

#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include "core/error.hpp"

namespace mustafar {
namespace {

void* default_allocate(void*, std::size_t bytes, std::size_t alignment) {
    const std::size_t rounded =
        (bytes + alignment - 1) / alignment * alignment; // aligned_alloc asks for it
    return std::aligned_alloc(alignment, rounded);
}
void default_release(void*, void* data, std::size_t, std::size_t) { std::free(data); }

mustafar_allocator allocator_or_default(const mustafar_allocator& given) {
    if (given.allocate != nullptr) { return given; }
    return {sizeof(mustafar_allocator), 0, nullptr, default_allocate, default_release};
}

std::uint32_t thread_count(std::uint32_t asked) {
    const std::uint32_t machine = std::max(1U, std::thread::hardware_concurrency());
    return asked == 0 ? machine : asked;
}

Kernels kernels_for(const ContextSettings& settings) {
    const char* forced = std::getenv("MUSTAFAR_FORCE_BACKEND");
    if (forced != nullptr && *forced != '\0') {
        return choose_kernels(forced, "MUSTAFAR_FORCE_BACKEND", settings.refuse_ref);
    }
    return choose_kernels(settings.backend, "options.backend", settings.refuse_ref);
}

} // namespace

struct Context::Arena {
    explicit Arena(std::uint32_t threads) : arena(static_cast<int>(threads)) {}
    tbb::task_arena arena;
};

Context::Context(const ContextSettings& settings)
    : memory_(allocator_or_default(settings.allocator), settings.quota_bytes), pool_(memory_),
      kernels_(kernels_for(settings)), log_(settings.log),
      threads_(thread_count(settings.threads)) {
    if (threads_ > 1) { arena_ = std::make_unique<Arena>(threads_); }
    for (const KernelRow& row : kernels_.rows) {
        log(MUSTAFAR_LOG_INFO, std::string("context: op ") + row.op + " runs " + row.name);
    }
}

Context::~Context() {
    while (workspaces_ != nullptr) {
        void* block = workspaces_;
        std::memcpy(&workspaces_, block, sizeof(void*));
        memory_.release(block, work_bytes, 64, Part::work);
    }
}

void Context::parallel_for(std::size_t count, const std::function<void(std::size_t)>& work) {
    if (arena_ == nullptr || count <= 1) {
        for (std::size_t i = 0; i < count; ++i) { work(i); }
        return;
    }
    arena_->arena.execute([&] { tbb::parallel_for(std::size_t{0}, count, work); });
}

void* Context::take_workspace() {
    {
        const std::lock_guard lock(workspaces_mutex_);
        if (workspaces_ != nullptr) {
            void* block = workspaces_;
            std::memcpy(&workspaces_, block, sizeof(void*));
            return block;
        }
    }
    return memory_.allocate(work_bytes, 64, Part::work);
}

void Context::return_workspace(void* block) noexcept {
    const std::lock_guard lock(workspaces_mutex_);
    std::memcpy(block, &workspaces_, sizeof(void*));
    workspaces_ = block;
}

} // namespace mustafar
