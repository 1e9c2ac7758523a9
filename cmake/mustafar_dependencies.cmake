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

# What mustafard needs besides; MUSTAFAR_DAEMON_LACKS says why it is not built, or is empty.
if(MUSTAFAR_BUILD_TOOLS OR MUSTAFAR_BUILD_TESTS)
    find_package(OpenSSL QUIET)
    find_package(spdlog QUIET)
    find_package(SQLite3 3.37 QUIET)
    if(PkgConfig_FOUND)
        pkg_check_modules(httplib QUIET IMPORTED_TARGET cpp-httplib)
    endif()
    set(missing "")
    foreach(need "CLI11_FOUND libcli11-dev" "fmt_FOUND libfmt-dev" "httplib_FOUND libcpp-httplib-dev"
                 "OPENSSL_FOUND libssl-dev" "spdlog_FOUND libspdlog-dev"
                 "SQLite3_FOUND libsqlite3-dev")
        separate_arguments(need)
        list(GET need 0 found)
        list(GET need 1 package)
        if(NOT ${found})
            string(APPEND missing " ${package}")
        endif()
    endforeach()
    set(MUSTAFAR_DAEMON_LACKS "")
    if(missing)
        set(MUSTAFAR_DAEMON_LACKS "needs packages${missing}")
    elseif(NOT DEFINED MUSTAFAR_HTTPLIB_RUNS)
        try_run(MUSTAFAR_HTTPLIB_RUNS MUSTAFAR_HTTPLIB_BUILDS ${CMAKE_BINARY_DIR}/check_httplib
                ${CMAKE_CURRENT_LIST_DIR}/check_httplib.cpp
                LINK_LIBRARIES PkgConfig::httplib Threads::Threads CXX_STANDARD 20
                COMPILE_OUTPUT_VARIABLE output)
    endif()
    if(NOT MUSTAFAR_DAEMON_LACKS AND NOT MUSTAFAR_HTTPLIB_RUNS EQUAL 0)
        set(MUSTAFAR_DAEMON_LACKS "the flags of `pkg-config cpp-httplib` do not fit its library (needs 0.11)")
    endif()
endif()
