// SPDX-License-Identifier: Apache-2.0
// What only a device can show: the kernels themselves. Without one each case is skipped and says
// why.
#include <dlfcn.h>

#include <memory>

#include "cpu/attend_compare.hpp"
#include "cuda/attend_launch.hpp"
#include "cuda/compress_launch.hpp"
#include "cuda/compress_support.hpp"
#include "cuda/device.hpp"
#include "cuda/rows.hpp"
#include "cuda/staging.hpp"

namespace mustafar::test {
namespace {

using cuda::AttendItem;
using cuda::AttendJob;
using cuda::check;
using cuda::CompressJob;
using cuda::DeviceBytes;
using cuda::Stream;

// Stands first: the others make one. Is the primary context of device 0 active? -1: no driver to ask.
int context_is_there() {
    void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (driver == nullptr) { return -1; }
    using Init = int (*)(unsigned);
    using State = int (*)(int, unsigned*, int*);
    const auto init = reinterpret_cast<Init>(dlsym(driver, "cuInit"));
    const auto state = reinterpret_cast<State>(dlsym(driver, "cuDevicePrimaryCtxGetState"));
    unsigned flags = 0;
    int active = 0;
    if (init == nullptr || state == nullptr || init(0) != 0) { return -1; }
    return state(0, &flags, &active) == 0 ? active : -1;
}

TEST(CudaAsking, WhatIsHere_CreatesNoContextOnTheDevice) {
    const int before = context_is_there();
    if (before < 0) { GTEST_SKIP() << "no driver"; }
    ASSERT_EQ(before, 0) << "another test has made one before";
    static_cast<void>(cuda::missing());
    for (const KernelRow& row : kernel_rows()) { static_cast<void>(row.missing()); }
    EXPECT_EQ(context_is_there(), 0);
}

class CudaDevice : public testing::Test {
  protected:
    void SetUp() override {
        if (const char* why = cuda::missing()) { GTEST_SKIP() << why; }
        stream_ = std::make_unique<Stream>();
    }
    cudaStream_t stream() const { return stream_->get(); }

    template <class T>
    std::unique_ptr<DeviceBytes> put(const T* from, std::size_t count) {
        auto memory = std::make_unique<DeviceBytes>(count * sizeof(T), stream());
        memory->upload(from, count * sizeof(T));
        return memory;
    }
    template <class T>
    static T* as(const std::unique_ptr<DeviceBytes>& memory) {
        return reinterpret_cast<T*>(memory->data());
    }

    std::unique_ptr<Stream> stream_;
};

class CudaCompressOnDevice : public CudaDevice {
  protected:
    void compare(const SideSpec& side, const HardRows& rows, int form, bool weighted) {
        std::vector<float> weights;
        if (weighted) { weights = Random(rows.d).values(rows.d, 0.0F, 2.0F); }
        Pages want(side, rows.rows), got(side, rows.rows);
        pack_with_ref(side, rows, form, weights, want);
        run(job_of(side, rows, form, weights, got), rows, got);
        for (std::size_t page = 0; page < want.bytes.size(); ++page) {
            ASSERT_EQ(got.bytes[page], want.bytes[page]) << "page " << page;
        }
    }
    void run(CompressJob job, const HardRows& rows, Pages& pages) {
        const auto halves = put(rows.halves.data(), rows.halves.size());
        const auto centre = put(rows.centre.data(), rows.d);
        const auto weights = put(job.channel_weights, job.channel_weights ? rows.d : 0);
        job.first = as<const std::uint16_t>(halves);
        if (job.centre != nullptr) { job.centre = as<const float>(centre); }
        if (job.channel_weights != nullptr) { job.channel_weights = as<const float>(weights); }
        std::vector<std::unique_ptr<DeviceBytes>> memory;
        std::vector<std::byte*> table;
        for (const auto& page : pages.bytes) {
            memory.push_back(put(page.data(), page.size()));
            table.push_back(memory.back()->data());
        }
        const auto device_table = put(table.data(), table.size());
        job.pages = as<std::byte* const>(device_table);
        const auto device_job = put(&job, 1);
        check(cuda::launch_compress(cuda::CompressStep::rows, as<const CompressJob>(device_job), 1,
                                    job.rows, job.d, stream()),
              "launching compress");
        for (std::size_t page = 0; page < pages.bytes.size(); ++page) {
            memory[page]->download(pages.bytes[page].data(), 0, pages.bytes[page].size());
        }
        stream_->wait();
    }
};

TEST_F(CudaCompressOnDevice, EveryShapePatternAndEncoding_HasTheBytesOfRef) {
    for (const std::uint32_t d : head_sizes) {
        for (std::size_t p = 0; p < patterns.size(); ++p) {
            const Dtype store = (p + d / 8) % 2 == 0 ? Dtype::f16 : Dtype::bf16;
            const HardRows rows(patterns[p], d, 40, store, p);
            for (const SideSpec& side : sides_of(d)) {
                for (const int form : {0, 1}) {
                    SCOPED_TRACE(std::string(patterns[p]) + ", d " + std::to_string(d) + ", keep " +
                                 std::to_string(side.keep) + ", bits " + std::to_string(side.bits) +
                                 (form == 1 ? ", centred" : ""));
                    compare(side, rows, form, (p + side.keep) % 3 == 0);
                    if (HasFatalFailure()) { return; }
                }
            }
        }
    }
}

// Heads of several caches, of other lengths each, staged on the device, and one launch for all.
class CudaBatch : public CudaDevice {
  protected:
    void stage(std::uint32_t caches) {
        AttendCase one;
        one.seed = 5;
        one.geometry = {1, 8, 2, 128, 128, Dtype::f16};
        one.recipe =
            R"({"schema":"mustafar.recipe","version":1,"k":{"keep":40},"v":{"keep":40,"bits":8}})";
        context_ = backend_context("ref");
        for (std::uint32_t i = 0; i < caches; ++i) {
            one.tokens = 1 + i * i * 150;
            caches_.push_back(std::move(fill_caches(one, context_)[0]));
        }
        q_ = std::make_unique<Tensor>(
            MUSTAFAR_F32, std::vector<std::int64_t>{static_cast<std::int64_t>(caches), 1, 8, 128});
        q_->fill(Random(9).values(q_->count(), -1.0F, 1.0F));
        std::vector<cuda::Load> loads;
        const std::size_t heads = caches * 2;
        args_.resize(heads);
        partials_.resize(heads, std::vector<float>(4 * (4 + 128)));
        for (std::size_t h = 0; h < heads; ++h) {
            const Cache& cache = *caches_[h / 2];
            AttendArgs& args = args_[h];
            args.head = cache.view(0, h % 2);
            args.kv_head = h % 2;
            args.group = 4;
            args.q_len = 1;
            args.q_position = cache.layer(0).length() - 1;
            args.scale = 0.0883883476;
            args.q = &q_->view();
            args.cache = static_cast<std::int64_t>(h / 2);
            args.part = {0, 4, 0, 0, partials_[h].data()};
            const cuda::HeadLengths lengths = cuda::head_tables(args).lengths;
            args.part.tiles = cuda::TileCounts(lengths).count();
            parts_.push_back(std::make_unique<cuda::StagedPart>(args, cuda::Machine{1, 4}));
            loads.push_back({args.part.tiles, 4});
            const auto base = new_memory(parts_.back()->bytes());
            memory_.back()->upload(parts_.back()->bytes_for(base).data(),
                                   parts_.back()->input_bytes());
            AttendJob job;
            std::memcpy(&job,
                        parts_.back()->bytes_for(base).data() +
                            (reinterpret_cast<const std::byte*>(parts_.back()->job(base)) - base),
                        sizeof job);
            jobs_.push_back(job);
            what_.page_bytes =
                std::max(what_.page_bytes, static_cast<std::uint32_t>(parts_.back()->page_bytes()));
        }
        what_.d = 128;
        what_.shape =
            cuda::attend_shape(128, false, what_.page_bytes, cuda::device_limits().processor);
        plan_ = cuda::plan_attend(
            loads, {cuda::device_limits().processors * what_.shape.blocks, what_.shape.warps});
        device_jobs_ = put(jobs_.data(), jobs_.size());
        items_ = put(plan_.items.data(), plan_.items.size());
        scratch_ = std::make_unique<DeviceBytes>(plan_.partials * 16 * 132 * 4 + 4, stream());
        tickets_ = std::make_unique<DeviceBytes>(plan_.tickets * 4 + 4, stream());
        tickets_->fill(0, plan_.tickets * 4 + 4);
        what_.jobs = as<const AttendJob>(device_jobs_);
        what_.items = as<const AttendItem>(items_);
        what_.item_count = static_cast<std::uint32_t>(plan_.items.size());
        what_.partials = as<float>(scratch_);
        what_.tickets = as<std::uint32_t>(tickets_);
        stream_->wait();
    }
    std::byte* new_memory(std::size_t bytes) {
        memory_.push_back(std::make_unique<DeviceBytes>(bytes, stream()));
        return memory_.back()->data();
    }
    std::vector<std::vector<float>> results() {
        for (std::size_t h = 0; h < parts_.size(); ++h) {
            std::vector<std::byte> bytes(parts_[h]->result_bytes());
            memory_[h]->download(bytes.data(), parts_[h]->results_at(), bytes.size());
            stream_->wait();
            parts_[h]->finish(bytes.data());
        }
        return partials_;
    }
    void forget() {
        for (std::size_t h = 0; h < parts_.size(); ++h) {
            check(cudaMemsetAsync(memory_[h]->data() + parts_[h]->results_at(), 0xFF,
                                  parts_[h]->result_bytes(), stream()),
                  "clearing");
        }
    }

    std::shared_ptr<Context> context_;
    std::vector<Cache::Handle> caches_;
    std::unique_ptr<Tensor> q_;
    std::vector<AttendArgs> args_;
    std::vector<std::vector<float>> partials_;
    std::vector<std::unique_ptr<cuda::StagedPart>> parts_;
    std::vector<std::unique_ptr<DeviceBytes>> memory_;
    std::vector<AttendJob> jobs_;
    cuda::AttendPlan plan_;
    cuda::AttendLaunch what_;
    std::unique_ptr<DeviceBytes> device_jobs_, items_, scratch_, tickets_;
};

TEST_F(CudaBatch, RaggedHeadsInOneLaunch_AgreeWithRef) {
    stage(7);
    check(cuda::launch_attend(what_, stream()), "launching attend");
    const auto got = results();
    for (std::size_t h = 0; h < got.size(); ++h) {
        Tensor out(MUSTAFAR_F32, {7, 1, 8, 128}), lse(MUSTAFAR_F32, {7, 1, 8});
        std::vector<std::byte> work(work_bytes);
        AttendArgs args = args_[h];
        args.out = &out.view();
        args.lse = &lse.view();
        args.work = work.data();
        attend_ref(args);
        for (std::size_t i = 0; i < 4; ++i) {
            const std::size_t row = h / 2 * 8 + h % 2 * 4 + i;
            EXPECT_NEAR(got[h][i * 132], lse.get(row), 4e-3) << "head " << h;
            double error = 0.0, size = 0.0;
            for (std::size_t c = 0; c < 128; ++c) {
                const double want = double{out.get(row * 128 + c)};
                const double off = double{got[h][i * 132 + 4 + c]} - want;
                error += off * off;
                size += want * want;
            }
            EXPECT_LE(std::sqrt(error), 2e-3 * std::sqrt(size)) << "head " << h;
        }
    }
}

TEST_F(CudaBatch, ACapturedLaunch_GivesTheSameBitsAndFollowsTheLengths) {
    stage(6);
    check(cuda::launch_attend(what_, stream()), "launching attend");
    const auto eager = results();
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t program = nullptr;
    check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "capturing");
    check(cuda::launch_attend(what_, stream()), "capturing a launch");
    check(cudaStreamEndCapture(stream(), &graph), "capturing");
    check(cudaGraphInstantiate(&program, graph, 0), "making a graph");
    for (int round = 0; round < 3; ++round) {
        forget();
        check(cudaGraphLaunch(program, stream()), "replaying");
        EXPECT_EQ(results(), eager) << "round " << round;
    }
    // Fewer rows, written where the captured launch reads them.
    for (std::size_t h = 0; h < jobs_.size(); ++h) {
        cuda::HeadLengths less = cuda::head_tables(args_[h]).lengths;
        less.pages /= 2;
        less.body_rows = less.pages * 32;
        check(cudaMemcpyAsync(const_cast<cuda::HeadLengths*>(jobs_[h].lengths), &less, sizeof less,
                              cudaMemcpyHostToDevice, stream()),
              "changing lengths");
    }
    forget();
    check(cudaGraphLaunch(program, stream()), "replaying");
    const auto replayed = results();
    forget();
    check(cuda::launch_attend(what_, stream()), "launching attend");
    EXPECT_EQ(results(), replayed);
    EXPECT_NE(replayed, eager);
    check(cudaGraphExecDestroy(program), "freeing");
    check(cudaGraphDestroy(graph), "freeing");
}

TEST_F(CudaDevice, MoreMemoryThanThereIs_IsRefusedAndTheNextCallWorks) {
    try {
        DeviceBytes memory(std::size_t{1} << 50, stream());
        FAIL() << "a petabyte";
    } catch (const Error& error) { EXPECT_EQ(error.code, MUSTAFAR_OUT_OF_MEMORY) << error.text; }
    DeviceBytes memory(1 << 20, stream());
    EXPECT_NE(memory.data(), nullptr);
}

} // namespace
} // namespace mustafar::test
