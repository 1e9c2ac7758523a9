# SPDX-License-Identifier: Apache-2.0
# Everything we use from others, found in one place and named by its Debian package. What the library needs
# is an error when it is missing; what only tools or tests need switches them off, and the summary says so.

find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 QUIET)
find_package(TBB QUIET)
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
    pkg_check_modules(xxhash QUIET IMPORTED_TARGET libxxhash)
endif()
set(missing "")
foreach(need "nlohmann_json_FOUND nlohmann-json3-dev" "TBB_FOUND libtbb-dev"
             "PkgConfig_FOUND pkg-config" "xxhash_FOUND libxxhash-dev")
    separate_arguments(need)
    list(GET need 0 found)
    list(GET need 1 package)
    if(NOT ${found})
        string(APPEND missing " ${package}")
    endif()
endforeach()
if(missing)
    message(FATAL_ERROR "the library needs packages that are not here; ./dev run installs them, or\n"
                        "  apt-get install${missing}\n")
endif()

if(MUSTAFAR_BUILD_TOOLS OR MUSTAFAR_BUILD_TESTS)
    find_package(CLI11 QUIET)
    find_package(fmt QUIET)
endif()
if(MUSTAFAR_BUILD_TESTS)
    find_package(GTest 1.12 QUIET)
    find_package(rapidcheck QUIET)
endif()
