// SPDX-License-Identifier: Apache-2.0
#include "cuda/device.hpp"

#include <string>

#include "core/error.hpp"
#include "cuda/images.hpp"

namespace mustafar::cuda {
namespace {

int attribute(cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, 0), "asking for an attribute of the device");
    return value;
}

constexpr int architectures[] = {__CUDA_ARCH_LIST__};
constexpr Images images = {architectures, MUSTAFAR_CUDA_PTX != 0, CUDART_VERSION};

// Calls that create no context: a program that is only told what there is takes no memory of a device.
std::string look() {
    int count = 0;
    cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver || status == cudaErrorStubLibrary) {
        return "no device: the CUDA driver is not loaded, or older than the runtime";
    }
    if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
        return "no device: the CUDA driver sees none";
    }
    if (status != cudaSuccess) { return std::string("no device: ") + cudaGetErrorString(status); }
    int major = 0, minor = 0, driver = 0;
    status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    if (status == cudaSuccess) {
        status = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
    }
    if (status == cudaSuccess) { status = cudaDriverGetVersion(&driver); }
    if (status != cudaSuccess) { return std::string("no device: ") + cudaGetErrorString(status); }
    return no_image(images, 10 * major + minor, driver);
}

} // namespace

const char* missing() {
    static const std::string reason = look();
    return reason.empty() ? nullptr : reason.c_str();
}

void check(cudaError_t status, const char* what) {
    if (status == cudaSuccess) { return; }
    static_cast<void>(cudaGetLastError()); // told here: the next launch does not tell it again
    if (status == cudaErrorMemoryAllocation) {
        std::size_t left = 0, all = 0;
        static_cast<void>(cudaMemGetInfo(&left, &all));
        throw Error(MUSTAFAR_OUT_OF_MEMORY,
                    std::string("the device has no memory for ") + what + "; " +
                        std::to_string(left) + " of " + std::to_string(all) + " B are free",
                    {0, static_cast<std::int64_t>(all - left), static_cast<std::int64_t>(all)});
    }
    throw Error(MUSTAFAR_DEVICE, std::string(what) + ": " + cudaGetErrorName(status) + ", " +
                                     cudaGetErrorString(status));
}

const DeviceLimits& device_limits() {
    static const DeviceLimits limits = [] {
        DeviceLimits all;
        const auto bytes = [](cudaDeviceAttr which) {
            return static_cast<std::size_t>(attribute(which));
        };
        all.processor.block_shared = bytes(cudaDevAttrMaxSharedMemoryPerBlockOptin);
        all.processor.shared = bytes(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
        all.processor.reserved = bytes(cudaDevAttrReservedSharedMemoryPerBlock);
        all.processors = static_cast<unsigned>(attribute(cudaDevAttrMultiProcessorCount));
        return all;
    }();
    return limits;
}

DeviceBytes::DeviceBytes(std::size_t bytes, cudaStream_t stream) : stream_(stream) {
    if (bytes == 0) { return; }
    void* data = nullptr;
    check(cudaMallocAsync(&data, bytes, stream), "allocating on the device");
    data_ = static_cast<std::byte*>(data);
}
DeviceBytes::~DeviceBytes() {
    if (data_ != nullptr) { static_cast<void>(cudaFreeAsync(data_, stream_)); }
}
void DeviceBytes::fill(int byte, std::size_t bytes) {
    if (bytes != 0) { check(cudaMemsetAsync(data_, byte, bytes, stream_), "filling memory"); }
}
void DeviceBytes::upload(const void* from, std::size_t bytes) {
    if (bytes == 0) { return; }
    check(cudaMemcpyAsync(data_, from, bytes, cudaMemcpyHostToDevice, stream_),
          "copying to the device");
}
void DeviceBytes::download(void* to, std::size_t from, std::size_t bytes) const {
    if (bytes == 0) { return; }
    check(cudaMemcpyAsync(to, data_ + from, bytes, cudaMemcpyDeviceToHost, stream_),
          "copying from the device");
}

Stream::Stream() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
}
Stream::~Stream() {
    if (stream_ != nullptr) { static_cast<void>(cudaStreamDestroy(stream_)); }
}
void Stream::wait() const { check(cudaStreamSynchronize(stream_), "waiting for the device"); }

} // namespace mustafar::cuda
