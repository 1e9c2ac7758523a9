// SPDX-License-Identifier: Apache-2.0
// Modules that only a test loads; MADE says what is wrong with this one.
#include "core/error.hpp"
#include "cuda/module/table.hpp"

#define OF_ANOTHER_VERSION 1
#define OF_ANOTHER_BUILD 2
#define WITHOUT_THE_SYMBOL 3
#define THAT_WORKS 4

namespace {

using namespace mustafar;

const char* missing() { return "no device: made for a test"; }

// As far as a part can be seen in an answer: what came back is the head it was asked for.
bool attend(const AttendArgs& args, cuda::ModuleError& error) {
    if (args.kv_head == 0) { return true; }
    error.code = MUSTAFAR_DEVICE;
    error.values[0] = args.kv_head;
    error.text[0] = '!';
    return false;
}

} // namespace

#if MADE == WITHOUT_THE_SYMBOL
#define NAME another_symbol
#else
#define NAME mustafar_cuda_module
#endif
extern "C" __attribute__((visibility("default"))) const cuda::Module NAME = {
    MADE == OF_ANOTHER_VERSION ? "0.0.9" : MUSTAFAR_PROJECT_VERSION,
    cuda::module_layout() + (MADE == OF_ANOTHER_BUILD ? 1U : 0U), missing, attend};
