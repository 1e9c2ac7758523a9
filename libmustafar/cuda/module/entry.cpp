// SPDX-License-Identifier: Apache-2.0
// The one symbol of libmustafar-cuda.so.0: the rows of the backend behind a table.
#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

#include "core/error.hpp"
#include "cuda/module/table.hpp"
#include "cuda/rows.hpp"

namespace mustafar::cuda {
namespace {

void tell(ModuleError& error, mustafar_status code, const char* text) {
    error.code = code;
    const std::size_t length = std::min(std::strlen(text), sizeof error.text - 1);
    std::memcpy(error.text, text, length);
    error.text[length] = '\0';
}

bool attend(const AttendArgs& args, ModuleError& error) {
    try {
        attend_cuda(args);
        return true;
    } catch (const Error& thrown) {
        tell(error, thrown.code, thrown.text.c_str());
        std::copy(thrown.values.begin(), thrown.values.end(), error.values);
    } catch (const std::bad_alloc&) {
        tell(error, MUSTAFAR_OUT_OF_MEMORY,
             "the host has no memory to stage a part for the device");
    } catch (const std::exception& thrown) { tell(error, MUSTAFAR_INTERNAL, thrown.what()); }
    return false;
}

} // namespace
} // namespace mustafar::cuda

extern "C" __attribute__((visibility("default")))
const mustafar::cuda::Module mustafar_cuda_module = {
    MUSTAFAR_PROJECT_VERSION, mustafar::cuda::module_layout(), mustafar::cuda::missing,
    mustafar::cuda::attend};
