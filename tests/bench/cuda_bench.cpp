// SPDX-License-Identifier: Apache-2.0
// Speed of the CUDA kernels on a device: one layer of a decode step, 32 query heads, 8 kv heads, d
// = 128, for batches of equal length; each recipe beside dense f16 and a copy of the same run.
//   cuda_bench [--json] [--batch N --tokens N] [--rounds N]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/half.hpp"
#include "cuda/attend_launch.hpp"
#include "cuda/compress_launch.hpp"
#include "cuda/device.hpp"
#include "cuda/head_job.hpp"
#include "cuda/plan.hpp"

namespace {

using namespace mustafar;
using namespace mustafar::cuda;

constexpr std::uint32_t d = 128, kv_heads = 8, group = 4, window = 32;

struct Recipe {
    const char* name;
    std::uint32_t keep, bits;
};
constexpr Recipe recipes[] = {{"dense f16", 128, 16},  {"dense int8", 128, 8},
                              {"dense int4", 128, 4},  {"keep 64 f16", 64, 16},
                              {"keep 40 f16", 40, 16}, {"keep 40 int8", 40, 8},
                              {"keep 40 int4", 40, 4}};

struct Options {
    bool json = false;
    std::uint32_t batch = 0, tokens = 0, rounds = 20;
};

struct Event {
    cudaEvent_t event = nullptr;
    Event() { check(cudaEventCreate(&event), "creating an event"); }
    ~Event() { static_cast<void>(cudaEventDestroy(event)); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
};

// Microseconds of `work` on the stream: median and spread of the rounds.
struct Time {
    double p10, p50, p90;
};
template <class F>
Time measure(const Stream& stream, std::uint32_t rounds, const F& work) {
    const Event start, end;
    std::vector<double> all;
    for (std::uint32_t round = 0; round < rounds + 3; ++round) {
        check(cudaEventRecord(start.event, stream.get()), "timing");
        work();
        check(cudaEventRecord(end.event, stream.get()), "timing");
        check(cudaEventSynchronize(end.event), "timing");
        float ms = 0.0F;
        check(cudaEventElapsedTime(&ms, start.event, end.event), "timing");
        if (round >= 3) { all.push_back(double{ms} * 1e3); } // the first ones warm up
    }
    std::sort(all.begin(), all.end());
    const auto at = [&](std::size_t percent) { return all[(all.size() - 1) * percent / 100]; };
    return {at(10), at(50), at(90)};
}

HeadSpec spec_of(const Recipe& recipe) {
    HeadSpec head;
    head.k.d = d;
    head.k.keep = static_cast<std::uint16_t>(recipe.keep);
    head.k.bits = static_cast<std::uint8_t>(recipe.bits);
    head.v = head.k;
    return head;
}

// Pages of `heads` heads of `tokens` rows each, packed on the device from random rows.
class Scene {
  public:
    Scene(const Recipe& recipe, std::uint32_t heads, std::uint32_t tokens, const Stream& stream)
        : spec_(spec_of(recipe)), heads_(heads), pages_(tokens / 32), stream_(stream),
          page_bytes_(mustafar::page_bytes(spec_, 0, 0)),
          slab_(std::size_t{heads} * pages_ * page_bytes_, stream.get()),
          rows_(std::size_t{tokens} * d * 2, stream.get()) {
        fill_rows(tokens);
        make_jobs(tokens);
        plan();
    }
    void compress(std::uint32_t head) const { // both sides of one head
        check(launch_compress(CompressStep::rows,
                              reinterpret_cast<const CompressJob*>(compress_->data()) + 2 * head, 2,
                              pages_ * 32, d, stream_.get()),
              "launching compress");
    }
    void attend() const { check(launch_attend(what_, stream_.get()), "launching attend"); }
    double bytes() const { // that attend reads
        const auto row = [](const SideSpec& side) {
            const RowStrides strides = row_strides(side);
            return double(strides.bitmap + strides.codes + strides.meta);
        };
        return heads_ * (pages_ * 32.0 * (row(spec_.k) + row(spec_.v)) + window * d * 4.0);
    }
    const BlockShape& shape() const { return what_.shape; }
    std::size_t items() const { return what_.item_count; }

  private:
    template <class T>
    std::unique_ptr<DeviceBytes> put(const std::vector<T>& from) {
        auto memory = std::make_unique<DeviceBytes>(from.size() * sizeof(T), stream_.get());
        memory->upload(from.data(), from.size() * sizeof(T));
        stream_.wait(); // `from` may go
        return memory;
    }
    void fill_rows(std::uint32_t tokens) {
        std::vector<std::uint16_t> rows(std::size_t{tokens} * d);
        std::uint32_t state = 12345;
        for (std::uint16_t& half : rows) { // bell-shaped
            float sum = 0.0F;
            for (int n = 0; n < 4; ++n) {
                state = state * 1664525U + 1013904223U;
                sum += static_cast<float>(state >> 8) * 0x1p-24F - 0.5F;
            }
            half = f32_to_f16(sum);
        }
        rows_.upload(rows.data(), rows.size() * 2);
        stream_.wait();
    }
    void make_jobs(std::uint32_t tokens) {
        const auto v_at = static_cast<std::uint32_t>(side_bytes(spec_.k, 0));
        const SideLayout layout = side_layout(spec_.k);
        const RowStrides strides = row_strides(spec_.k);
        const auto meta_at = layout.codes_at + (32 * strides.codes + 63) / 64 * 64;
        std::vector<std::byte*> pages;
        std::vector<PageEntry> entries;
        for (std::size_t p = 0; p < std::size_t{heads_} * pages_; ++p) {
            pages.push_back(slab_.data() + p * page_bytes_);
            const auto row = static_cast<std::uint32_t>(p % pages_) * 32;
            entries.push_back({pages.back(),
                               ~0U,
                               row,
                               static_cast<std::uint32_t>(page_bytes_),
                               v_at,
                               {meta_at, meta_at}});
        }
        page_list_ = put(pages);
        entries_ = put(entries);
        lengths_ = put(std::vector<HeadLengths>{{pages_, pages_ * 32, window, 0, tokens + window}});
        q_ = put(std::vector<float>(std::size_t{heads_} * group * d, 0.1F));
        out_ = std::make_unique<DeviceBytes>(std::size_t{heads_} * group * d * 4, stream_.get());
        std::vector<CompressJob> compress;
        std::vector<AttendJob> attend;
        for (std::uint32_t h = 0; h < heads_; ++h) {
            CompressJob job;
            job.d = d;
            job.keep = spec_.k.keep;
            job.bits = spec_.k.bits;
            job.rows = tokens;
            job.first = reinterpret_cast<const std::uint16_t*>(rows_.data());
            job.stride = d;
            job.pages =
                reinterpret_cast<std::byte* const*>(page_list_->data()) + std::size_t{h} * pages_;
            for (const std::uint32_t start : {0U, v_at}) {
                job.bitmaps_at = start;
                job.codes_at = start + layout.codes_at;
                job.meta_at = start + meta_at;
                job.bitmap_stride = strides.bitmap;
                job.codes_stride = strides.codes;
                job.meta_stride = strides.meta;
                compress.push_back(job);
            }
            AttendJob one;
            one.side[0] = one.side[1] = layout;
            one.lengths = reinterpret_cast<const HeadLengths*>(lengths_->data());
            one.pages =
                reinterpret_cast<const PageEntry*>(entries_->data()) + std::size_t{h} * pages_;
            one.dense[0] = one.dense[1] = reinterpret_cast<const std::uint16_t*>(rows_.data());
            one.group = group;
            one.scale = 0.0883883476F;
            const std::size_t at = std::size_t{h} * group * d * 4;
            one.q = {q_->data() + at, 0, d, 1, ElementType::f32};
            one.out = {out_->data() + at, 0, d, 1, ElementType::f32};
            attend.push_back(one);
        }
        compress_ = put(compress);
        attend_ = put(attend);
    }
    void plan() {
        what_.d = d;
        what_.page_bytes = static_cast<std::uint32_t>(page_bytes_);
        what_.shape = attend_shape(d, false, page_bytes_, device_limits().processor);
        const std::vector<Load> loads(heads_, {pages_ + 1, group});
        const AttendPlan plan = plan_attend(
            loads, {device_limits().processors * what_.shape.blocks, what_.shape.warps});
        items_ = put(plan.items);
        partials_ = std::make_unique<DeviceBytes>(
            std::size_t{plan.partials + 1} * block_queries * (partial_head + d) * 4, stream_.get());
        tickets_ = put(std::vector<std::uint32_t>(plan.tickets + 1, 0));
        what_.jobs = reinterpret_cast<const AttendJob*>(attend_->data());
        what_.items = reinterpret_cast<const AttendItem*>(items_->data());
        what_.item_count = static_cast<std::uint32_t>(plan.items.size());
        what_.partials = reinterpret_cast<float*>(partials_->data());
        what_.tickets = reinterpret_cast<std::uint32_t*>(tickets_->data());
    }

    HeadSpec spec_;
    std::uint32_t heads_, pages_;
    const Stream& stream_;
    std::size_t page_bytes_;
    DeviceBytes slab_, rows_;
    std::unique_ptr<DeviceBytes> page_list_, entries_, lengths_, q_, out_, compress_, attend_;
    std::unique_ptr<DeviceBytes> items_, partials_, tickets_;
    AttendLaunch what_;
};

double copy_gbps(const Stream& stream, std::uint32_t rounds) { // bytes read and written
    constexpr std::size_t bytes = std::size_t{2} << 30;
    const DeviceBytes from(bytes, stream.get()), to(bytes, stream.get());
    const Time time = measure(stream, rounds, [&] {
        check(
            cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, stream.get()),
            "copying");
    });
    return 2.0 * bytes / time.p50 * 1e-3;
}

void bench_shape(std::uint32_t batch, std::uint32_t tokens, double copy, const Options& options,
                 const Stream& stream) {
    double dense = 0.0;
    for (const Recipe& recipe : recipes) {
        const Scene scene(recipe, batch * kv_heads, tokens, stream);
        const Time pack = measure(stream, 5, [&] { scene.compress(0); });
        for (std::uint32_t h = 1; h < batch * kv_heads; ++h) { scene.compress(h); }
        const Time time = measure(stream, options.rounds, [&] { scene.attend(); });
        if (dense == 0.0) { dense = time.p50; }
        const double gbps = scene.bytes() / time.p50 * 1e-3;
        if (options.json) {
            std::printf("{\"recipe\": \"%s\", \"batch\": %u, \"tokens\": %u, \"us_p50\": %.2f, "
                        "\"us_p10\": %.2f, \"us_p90\": %.2f, \"gbps\": %.1f, \"copy_gbps\": %.1f, "
                        "\"speedup_f16\": %.3f, \"launches\": 1, \"pack_us\": %.1f}\n",
                        recipe.name, batch, tokens, time.p50, time.p10, time.p90, gbps, copy,
                        dense / time.p50, pack.p50);
        } else {
            std::printf("%-13s %3u x %6u %10.2f us [%.2f .. %.2f] %7.1f GB/s, %.2f of copy, %.2f x "
                        "f16, pack %.1f us a head; %u warps x %u, %zu items\n",
                        recipe.name, batch, tokens, time.p50, time.p10, time.p90, gbps, gbps / copy,
                        dense / time.p50, pack.p50, scene.shape().warps, scene.shape().blocks,
                        scene.items());
        }
        std::fflush(stdout);
    }
}

int run(const Options& options) {
    if (const char* why = missing()) {
        std::printf("skipped: %s\n", why);
        return 77;
    }
    const Stream stream;
    const double copy = copy_gbps(stream, options.rounds);
    if (!options.json) { std::printf("a copy on the device: %.1f GB/s\n", copy); }
    const std::uint32_t shapes[][2] = {{1, 4096},  {1, 32768}, {8, 4096},
                                       {8, 32768}, {64, 4096}, {64, 32768}};
    for (const auto& shape : shapes) {
        if (options.batch != 0 && (shape[0] != options.batch || shape[1] != options.tokens)) {
            continue;
        }
        bench_shape(shape[0], shape[1], copy, options, stream);
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        const auto number = [&] {
            return i + 1 < argc ? static_cast<std::uint32_t>(std::strtoul(argv[++i], nullptr, 10))
                                : 0U;
        };
        if (word == "--json") {
            options.json = true;
        } else if (word == "--batch") {
            options.batch = number();
        } else if (word == "--tokens") {
            options.tokens = number();
        } else if (word == "--rounds") {
            options.rounds = std::max(1U, number());
        } else {
            std::fprintf(stderr,
                         "usage: cuda_bench [--json] [--batch N --tokens N] [--rounds N]\n");
            return word == "--help" ? 0 : 2;
        }
    }
    try {
        return run(options);
    } catch (const Error& error) {
        std::fprintf(stderr, "cuda_bench: %s\n", error.text.c_str());
        return 1;
    }
}
