// SPDX-License-Identifier: Apache-2.0
#include "core/context.hpp"

#include <cstdlib>
#include <cstring>

#include <tbb/info.h>
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

// More threads than the machine has would only make oneTBB print a warning.
std::uint32_t thread_count(std::uint32_t asked) {
    const auto machine = static_cast<std::uint32_t>(std::max(1, tbb::info::default_concurrency()));
    return asked == 0 ? machine : std::min(asked, machine);
}

Kernels kernels_for(const ContextSettings& settings) {
    if (settings.kernels != nullptr) { return *settings.kernels; }
    const char* forced = std::getenv("MUSTAFAR_FORCE_BACKEND");
    if (forced != nullptr && *forced != '\0') {
        return choose_kernels(forced, "MUSTAFAR_FORCE_BACKEND", settings.refuse_ref);
    }
    return choose_kernels(settings.backend, "options.backend", settings.refuse_ref);
}

} // namespace

namespace {

// Lists of blocks, each starting with a pointer to the next.
void push_block(void*& list, void* block) noexcept {
    std::memcpy(block, &list, sizeof(void*));
    list = block;
}

void* pop_block(void*& list) noexcept {
    void* block = list;
    std::memcpy(&list, block, sizeof(void*));
    return block;
}

struct alignas(64) RoomHeader { // in front of a room's data
    void* next = nullptr;
    std::size_t bytes = 0; // this included
};

void release_room(Memory& memory, void* block) noexcept {
    memory.release(block, static_cast<RoomHeader*>(block)->bytes, 64, Part::work);
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
        log(MUSTAFAR_LOG_INFO,
            (std::string("context: op ") + row.op + " runs " + row.name).c_str());
    }
}

Context::~Context() {
    while (workspaces_ != nullptr) {
        memory_.release(pop_block(workspaces_), work_bytes, 64, Part::work);
    }
    while (rooms_ != nullptr) { release_room(memory_, pop_block(rooms_)); }
}

void Context::parallel_for(std::size_t count, const std::function<void(std::size_t)>& work) {
    if (arena_ == nullptr || count <= 1) {
        for (std::size_t i = 0; i < count; ++i) { work(i); }
        return;
    }
    arena_->arena.execute([&] { tbb::parallel_for(std::size_t{0}, count, work); });
}

Context::Leases::Leases(Context& context, std::size_t items) : context_(context) {
    try {
        for (std::size_t i = 0; i < std::min<std::size_t>(items, context.threads()); ++i) {
            push_block(free_, context.take_workspace());
        }
    } catch (...) {
        while (free_ != nullptr) { context_.return_workspace(pop_block(free_)); }
        throw;
    }
}

Context::Leases::~Leases() {
    while (free_ != nullptr) { context_.return_workspace(pop_block(free_)); }
}

void* Context::Leases::take() {
    const std::lock_guard lock(mutex_);
    return pop_block(free_); // never empty: as many as threads work on the call
}

void Context::Leases::give(void* block) noexcept {
    const std::lock_guard lock(mutex_);
    push_block(free_, block);
}

void* Context::take_workspace() {
    {
        const std::lock_guard lock(workspaces_mutex_);
        if (workspaces_ != nullptr) { return pop_block(workspaces_); }
    }
    return memory_.allocate(work_bytes, 64, Part::work);
}

void Context::return_workspace(void* block) noexcept {
    const std::lock_guard lock(workspaces_mutex_);
    push_block(workspaces_, block);
}

// The first free room that is large enough; else a new one, in place of a free one that was not.
void* Context::take_room(std::size_t bytes) {
    bytes += sizeof(RoomHeader);
    const std::lock_guard lock(workspaces_mutex_);
    for (void** link = &rooms_; *link != nullptr; link = &static_cast<RoomHeader*>(*link)->next) {
        auto* room = static_cast<RoomHeader*>(*link);
        if (room->bytes < bytes) { continue; }
        *link = room->next;
        return room;
    }
    auto* room = ::new (memory_.allocate(bytes, 64, Part::work)) RoomHeader{nullptr, bytes};
    if (rooms_ != nullptr) { release_room(memory_, pop_block(rooms_)); }
    return room;
}

void Context::return_room(void* block) noexcept {
    const std::lock_guard lock(workspaces_mutex_);
    push_block(rooms_, block);
}

void* Context::Room::data() const { return static_cast<RoomHeader*>(block_) + 1; }

} // namespace mustafar
