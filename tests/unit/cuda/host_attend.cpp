// SPDX-License-Identifier: Apache-2.0
#include "cuda/host_attend.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda/attend_join.hpp"
#include "cuda/host_warp.hpp"
#include "cuda/shape.hpp"
#include "cuda/staging.hpp"

namespace mustafar::test {
namespace {

using cuda::AttendItem;
using cuda::AttendJob;
using cuda::HostWarp;

// Memory that starts like that of a device: with something in it.
struct Shared {
    std::vector<std::uint64_t> words;
    explicit Shared(std::size_t bytes) : words(bytes / 8 + 33, 0x7FF07FF07FF07FF0) {}
    std::byte* data() { // aligned as memory of a device
        const auto at = reinterpret_cast<std::uintptr_t>(words.data());
        return reinterpret_cast<std::byte*>(words.data()) + (256 - at % 256) % 256;
    }
};

template <unsigned D, class A>
void run(std::span<const AttendJob> jobs, const cuda::AttendPlan& plan, std::uint32_t warps,
         std::size_t page_bytes) {
    const std::size_t floats = cuda::block_queries * cuda::partial_floats(256);
    std::vector<float> partials(plan.partials * floats, -1e30F);
    std::vector<std::uint32_t> tickets(plan.tickets, 0);
    const std::size_t warp_bytes = cuda::warp_shared_bytes<D, A>(page_bytes);
    for (const AttendItem& item : plan.items) {
        const AttendJob& job = jobs[item.job];
        Shared memory(cuda::block_shared_bytes<D, A>() + warps * warp_bytes);
        auto& block = *reinterpret_cast<cuda::BlockShared<D, A>*>(memory.data());
        std::byte* first_warp = memory.data() + cuda::block_shared_bytes<D, A>();
        for (std::uint32_t w = 0; w < warps; ++w) {
            cuda::load_queries<HostWarp, D, A>(job, item, w, warps, block);
        }
        for (std::uint32_t w = 0; w < warps; ++w) {
            cuda::AttendWarp<HostWarp, D, A>(job, item, block, first_warp + w * warp_bytes,
                                             page_bytes, w, warps)
                .run();
        }
        for (std::uint32_t w = 0; w < warps; ++w) {
            cuda::join_warps<HostWarp, D, A>(job, item, w, warps, first_warp, warp_bytes,
                                             partials.data());
        }
        if (item.splits == 1 || ++tickets[item.ticket] < item.splits) { continue; }
        for (std::uint32_t w = 0; w < warps; ++w) {
            cuda::join_splits<HostWarp, D>(job, item, w, warps, partials.data());
        }
    }
}

template <class A>
void run_size(std::span<const AttendJob> jobs, const cuda::AttendPlan& plan, std::uint32_t warps,
              std::size_t page_bytes) {
    std::uint32_t d = 0;
    for (const AttendJob& job : jobs) { d = std::max({d, job.side[0].d, job.side[1].d}); }
    switch (cuda::attend_head_size(d)) {
    case 64:
        return run<64, A>(jobs, plan, warps, page_bytes);
    case 128:
        return run<128, A>(jobs, plan, warps, page_bytes);
    default:
        return run<256, A>(jobs, plan, warps, page_bytes);
    }
}

} // namespace

std::size_t& parts_beyond_float() {
    static std::size_t count = 0;
    return count;
}

void run_attend_on_host(std::span<const AttendJob> jobs, const cuda::AttendPlan& plan,
                        std::uint32_t warps, std::size_t page_bytes, bool bf16, bool precise) {
    using cuda::Arithmetic;
    if (precise) {
        (bf16 ? run_size<Arithmetic<true, true>>
              : run_size<Arithmetic<false, true>>)(jobs, plan, warps, page_bytes);
    } else {
        (bf16 ? run_size<Arithmetic<true, false>>
              : run_size<Arithmetic<false, false>>)(jobs, plan, warps, page_bytes);
    }
}

// As attend_cuda does it, with the device's memory played by the host's.
void attend_cuda_on_host(const AttendArgs& args) {
    // Few processors and warps, so that short parts are cut too.
    const cuda::Machine machine{args.part.tiles % 2 == 0 ? 3U : 1U, 1 + args.part.tiles % 3};
    cuda::StagedPart part(args, machine);
    Shared memory(part.bytes());
    std::byte* base = memory.data();
    std::memcpy(base, part.bytes_for(base).data(), part.input_bytes());
    run_attend_on_host({part.job(base), 1}, part.plan(), machine.warps, part.page_bytes(),
                       args.head.store == Dtype::bf16, args.head.precise);
    part.finish(base + part.results_at());
    if (std::isnan(args.part.partial[0])) { ++parts_beyond_float(); }
}

} // namespace mustafar::test
