// SPDX-License-Identifier: Apache-2.0
// attend_cuda: the row of op `attend` for caches in the memory of the host. Each call takes its
// part to the device, computes, and brings the result back: every shape list that a row is
// compared on runs on the device so.
#include "cuda/attend_launch.hpp"
#include "cuda/device.hpp"
#include "cuda/rows.hpp"
#include "cuda/staging.hpp"

#include <string>

#include "core/error.hpp"

namespace mustafar {

void attend_cuda(const AttendArgs& args) {
    using namespace cuda;
    const DeviceLimits& device = device_limits();
    const HeadSpec& spec = *args.head.spec;
    const HeadTables sizes = head_tables(args);
    AttendLaunch what;
    what.d = spec.k.d > spec.v.d ? spec.k.d : spec.v.d;
    what.precise = args.head.precise;
    what.bf16 = args.head.store == Dtype::bf16;
    what.page_bytes = static_cast<std::uint32_t>(sizes.page_bytes);
    what.shape = attend_shape(what.d, what.precise, what.page_bytes, device.processor);
    if (what.shape.warps == 0) {
        throw Error(MUSTAFAR_UNSUPPORTED,
                    "pages of " + std::to_string(what.page_bytes) + " B with heads of " +
                        std::to_string(what.d) + " do not fit the shared memory of this device (" +
                        std::to_string(device.processor.block_shared) +
                        " B a block); keep fewer elements or bits, or leave precise out");
    }
    StagedPart part(args, {device.processors * what.shape.blocks, what.shape.warps});

    const Stream stream;
    DeviceBytes memory(part.bytes(), stream.get());
    std::byte* base = memory.data();
    memory.upload(part.bytes_for(base).data(), part.input_bytes());
    check(cudaMemsetAsync(base + part.tickets_at(), 0, part.ticket_bytes(), stream.get()),
          "clearing the tickets");
    what.jobs = part.job(base);
    what.items = part.items(base);
    what.item_count = static_cast<std::uint32_t>(part.plan().items.size());
    what.partials = reinterpret_cast<float*>(base + part.partials_at());
    what.tickets = reinterpret_cast<std::uint32_t*>(base + part.tickets_at());
    check(launch_attend(what, stream.get()), "launching attend");
    std::vector<std::byte> results(part.result_bytes());
    memory.download(results.data(), part.results_at(), results.size());
    stream.wait();
    part.finish(results.data());
}

} // namespace mustafar
