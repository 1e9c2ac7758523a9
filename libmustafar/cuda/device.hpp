// SPDX-License-Identifier: Apache-2.0
// The device as host code sees it: is there one, what it can hold, and memory on it. Every status
// of the runtime is looked at: a failure is Error{DEVICE} or Error{OUT_OF_MEMORY} of the call that
// meets it.
#pragma once

#include <cstddef>
#include <span>

#include <cuda_runtime_api.h>

#include "cuda/shape.hpp"

namespace mustafar::cuda {

// Why nothing can run here, in words that live as long as the program; null = device 0 can. Asked
// once.
const char* missing();

// Throws where `status` is not success; `what` names the step.
void check(cudaError_t status, const char* what);

struct DeviceLimits { // of device 0
    Processor processor;
    unsigned processors = 0;
};
const DeviceLimits& device_limits();

// Memory of the device and the copies to and from it, in the order of a stream.
class DeviceBytes {
  public:
    DeviceBytes(std::size_t bytes, cudaStream_t stream);
    ~DeviceBytes();
    DeviceBytes(const DeviceBytes&) = delete;
    DeviceBytes& operator=(const DeviceBytes&) = delete;
    std::byte* data() const { return data_; }
    void fill(int byte, std::size_t bytes);
    void upload(const void* from, std::size_t bytes);
    void download(void* to, std::size_t from, std::size_t bytes) const;

  private:
    std::byte* data_ = nullptr;
    cudaStream_t stream_;
};

class Stream {
  public:
    Stream();
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    cudaStream_t get() const { return stream_; }
    void wait() const;

  private:
    cudaStream_t stream_ = nullptr;
};

} // namespace mustafar::cuda
