// SPDX-License-Identifier: Apache-2.0
// The steps of `compress` beside rows of a fixed stride, on a device: what compress_forms_test.cpp shows
// of their source, shown of the kernels. Without a device each case is skipped and says why.
#include <memory>

#include "cuda/compress_forms.hpp"
#include "cuda/compress_launch.hpp"
#include "cuda/device.hpp"
#include "cuda/rows.hpp"

namespace mustafar::test {
namespace {

using cuda::check;
using cuda::DeviceBytes;
using cuda::Stream;

// A job with all it points to on the device, for one launch.
class DeviceJob {
  public:
    DeviceJob(const CompressJob& job, std::size_t survivors,
              const std::vector<std::vector<std::byte>>& pages)
        : job_(job) {
        const std::size_t halves = std::size_t{job.rows - 1} * job.stride + job.d;
        job_.first = put(job.first, halves);
        job_.centre = put(job.centre, job.d);
        job_.channel_weights = put(job.channel_weights, job.d);
        job_.token_weights = put(job.token_weights, job.rows);
        job_.survivors = put(job.survivors, survivors);
        survivors_ = memory_.empty() ? nullptr : memory_.back().get();
        std::vector<std::byte*> table;
        for (const auto& page : pages) {
            table.push_back(put(page.data(), page.size()));
            pages_.push_back(memory_.back().get());
        }
        job_.pages = table.empty() ? nullptr : put(table.data(), table.size());
        on_device_ = put(&job_, 1);
    }
    void run(CompressStep step, std::uint8_t* survivors, std::size_t bytes,
             std::vector<std::vector<std::byte>>& pages) const {
        check(cuda::launch_compress(step, on_device_, 1, cuda::compress_units(step, job_), job_.d,
                                    stream_.get()),
              "launching compress");
        if (bytes != 0) { survivors_->download(survivors, 0, bytes); }
        for (std::size_t p = 0; p < pages.size(); ++p) {
            pages_[p]->download(pages[p].data(), 0, pages[p].size());
        }
        stream_.wait();
    }

  private:
    template <class T>
    std::remove_const_t<T>* put(T* from, std::size_t count) {
        if (from == nullptr) { return nullptr; }
        memory_.push_back(std::make_unique<DeviceBytes>(count * sizeof(T), stream_.get()));
        memory_.back()->upload(from, count * sizeof(T));
        return reinterpret_cast<std::remove_const_t<T>*>(memory_.back()->data());
    }

    Stream stream_;
    CompressJob job_;
    std::vector<std::unique_ptr<DeviceBytes>> memory_;
    std::vector<DeviceBytes*> pages_;
    DeviceBytes* survivors_ = nullptr;
    const CompressJob* on_device_ = nullptr;
};

void run(CompressStep step, const CompressJob& job, std::size_t survivors,
         std::vector<std::vector<std::byte>>& pages) {
    DeviceJob(job, survivors, pages).run(step, job.survivors, survivors, pages);
}

class CudaCompressForms : public testing::Test {
  protected:
    void SetUp() override {
        if (const char* why = cuda::missing()) { GTEST_SKIP() << why; }
    }
};

TEST_F(CudaCompressForms, RaggedRows_HaveTheSurvivorsAndBytesOfRef) {
    EXPECT_GT(compare_every_ragged(run, {40}), 0U);
}

TEST_F(CudaCompressForms, ScalesOfChannels_HaveTheBytesOfRef) {
    EXPECT_GT(compare_every_channels(run, {70}), 0U);
}

} // namespace
} // namespace mustafar::test
