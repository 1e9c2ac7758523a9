// SPDX-License-Identifier: Apache-2.0
#include "cuda/module/load.hpp"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include "core/error.hpp"

namespace mustafar::cuda {
namespace {

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }

std::string own_program() {
    char path[4096];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
    return length <= 0 ? "" : std::string(path, static_cast<std::size_t>(length));
}

const char* build_version() { return MUSTAFAR_PROJECT_VERSION; }

} // namespace

std::string own_library() {
    Dl_info info;
    link_map* map = nullptr;
    const auto here = reinterpret_cast<const void*>(&own_library);
    if (dladdr1(here, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0) { return ""; }
    // The program itself has no name there, and argv[0] is whatever its caller liked.
    return map->l_name[0] == '\0' ? own_program() : map->l_name;
}

ModulePath module_path(const char* given, const std::string& library) {
    if (given != nullptr && given[0] == '/') { return {given, ""}; }
    if (given != nullptr && given[0] != '\0') {
        return {"", "MUSTAFAR_CUDA_MODULE is not an absolute path: " + std::string(given)};
    }
    if (library.empty() || library[0] != '/') {
        return {"", "this library was not loaded by an absolute path; "
                    "MUSTAFAR_CUDA_MODULE=FILE names the module"};
    }
    const std::string path = folder_of(library) + module_file;
    if (access(path.c_str(), F_OK) == 0) { return {path, ""}; }
    return {"", std::string("no ") + module_file +
                    " beside this library; MUSTAFAR_CUDA_MODULE=FILE names one elsewhere"};
}

LoadedModule load_module(const std::string& path) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char* why = dlerror();
        return {nullptr, std::string("the CUDA module cannot be loaded: ") +
                             (why == nullptr ? path : std::string(why))};
    }
    const auto refuse = [&](const std::string& why) {
        dlclose(library);
        return LoadedModule{nullptr, why};
    };
    const auto* module = static_cast<const Module*>(dlsym(library, module_symbol));
    if (module == nullptr) { return refuse("not a CUDA module of this project: " + path); }
    const std::string version = module->version == nullptr ? "" : module->version;
    if (version != build_version()) {
        return refuse("the CUDA module is of version " + version.substr(0, 32) +
                      ", this library of " + build_version() + ": " + path);
    }
    if (module->layout != module_layout()) {
        return refuse("the CUDA module is of another build of " + version + ": " + path);
    }
    return {module, ""};
}

void attend_with(const Module& module, const AttendArgs& args) {
    ModuleError error;
    if (module.attend(args, error)) { return; }
    throw Error(error.code, error.text,
                {error.values[0], error.values[1], error.values[2], error.values[3]});
}

} // namespace mustafar::cuda
