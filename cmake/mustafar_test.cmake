# SPDX-License-Identifier: Apache-2.0
# One call per test program:
#
#   mustafar_test(cache_truncate SOURCES cache_truncate.cpp
#                 [LABELS fast|slow tsan ...]  default: fast; the folder's name is always added
#                 [LIBRARIES mustafar_core]    what it links; mustafar::mustafar unless said otherwise
#                 [PLAIN]                      has a main of its own: exit 0 passed, 77 skipped
#                 [WHOLE]                      GoogleTest, but one ctest entry instead of one per case
#                 [BACKENDS]                   once with `ref` forced, and again with each fast backend
#                 [BACKEND_ENVIRONMENT A=b ...] of these further runs
#                 [ARGS ...] [ENVIRONMENT A=b ...] [TIMEOUT seconds])
#
# C sources are PLAIN; C++ sources are GoogleTest programs (gtest, gmock and their main are linked) and
# each of their cases is one entry `<folder>/<Suite>.<Case>`, so that `./dev test --rerun` can name it
# and skips are counted. A PLAIN or WHOLE program is the entry `<folder>/<name>`.
# Labels to choose by: fast, slow, tsan (runs under the thread sanitizer too), and the folder's name.
# `tests-<label>` builds the programs of one label. With BACKENDS, `<folder>/<name>` has `ref` forced and
# `<folder>/<name>@<backend>` runs the whole program with that one; it counts as skipped, and says why,
# where this machine or build lacks it; with sanitizers there is one, `@best`. mustafar_test_backends() adds such
# entries to any command.
# Programs lie in <build>/tests/bin, see MUSTAFAR_TEST_DATA (tests/data) and MUSTAFAR_SOURCE_DIR as string
# macros, and find what tests/common holds.

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    set(MUSTAFAR_TEST_BACKENDS avx512fp16 avx512 avx2)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    set(MUSTAFAR_TEST_BACKENDS neon)
endif()
list(APPEND MUSTAFAR_TEST_BACKENDS cuda)
if(MUSTAFAR_SANITIZE) # unit/cpu walks all rows; of whole programs one more run is enough
    set(MUSTAFAR_TEST_BACKENDS best)
endif()

# The entries `<name>@<backend>`: COMMAND with MUSTAFAR_FORCE_BACKEND set (tests/common/with_backend.c).
function(mustafar_test_backends name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LABELS;ENVIRONMENT;COMMAND")
    foreach(label IN LISTS arg_LABELS)
        if(NOT TARGET tests-${label})
            add_custom_target(tests-${label})
        endif()
        add_dependencies(tests-${label} with_backend)
    endforeach()
    foreach(backend IN LISTS MUSTAFAR_TEST_BACKENDS)
        add_test(NAME ${name}@${backend} COMMAND with_backend ${backend} ${arg_COMMAND})
        set_tests_properties(${name}@${backend} PROPERTIES LABELS "${arg_LABELS}" SKIP_RETURN_CODE 77
                             ENVIRONMENT "${arg_ENVIRONMENT}")
    endforeach()
endfunction()

function(mustafar_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "PLAIN;WHOLE;BACKENDS" "TIMEOUT"
                          "SOURCES;LABELS;LIBRARIES;ARGS;ENVIRONMENT;BACKEND_ENVIRONMENT")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
        message(FATAL_ERROR "mustafar_test(${name}): SOURCES missing or unknown words: ${arg_UNPARSED_ARGUMENTS}")
    endif()
    file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR}/tests ${CMAKE_CURRENT_SOURCE_DIR})
    string(REGEX REPLACE "/.*" "" folder "${folder}")  # tests/unit/recipe belongs to unit
    if(NOT arg_LABELS)
        set(arg_LABELS fast)
    endif()
    if(NOT arg_LIBRARIES)
        set(arg_LIBRARIES mustafar::mustafar)
    endif()
    if(NOT arg_SOURCES MATCHES "\\.(cpp|cc|cxx)")
        set(arg_PLAIN TRUE)
    endif()
    set(labels ${folder} ${arg_LABELS})
    list(REMOVE_DUPLICATES labels)

    set(target test_${folder}_${name})
    add_executable(${target} ${arg_SOURCES})
    mustafar_warnings(${target})
    target_link_libraries(${target} PRIVATE ${arg_LIBRARIES})
    target_compile_definitions(${target} PRIVATE
        MUSTAFAR_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data" MUSTAFAR_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    set_target_properties(${target} PROPERTIES
        OUTPUT_NAME ${folder}_${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/bin)
    foreach(label IN LISTS labels)
        if(NOT TARGET tests-${label})
            add_custom_target(tests-${label})
        endif()
        add_dependencies(tests-${label} ${target})
    endforeach()

    set(environment ${arg_ENVIRONMENT})
    if(MUSTAFAR_SANITIZE MATCHES "thread")
        list(APPEND environment "TSAN_OPTIONS=halt_on_error=1:suppressions=${PROJECT_SOURCE_DIR}/cmake/tsan.supp")
    endif()
    if(arg_BACKENDS)
        mustafar_test_backends(${folder}/${name} LABELS ${labels}
                               COMMAND $<TARGET_FILE:${target}> ${arg_ARGS}
                               ENVIRONMENT ${environment} ${arg_BACKEND_ENVIRONMENT})
        list(APPEND environment MUSTAFAR_FORCE_BACKEND=ref)
    endif()
    # ctest reads what follows at its start. It is not done with add_test() and PROPERTIES since those know
    # neither lists in the properties of discovered cases nor a time limit that --long lifts.
    set(entry ${CMAKE_CURRENT_BINARY_DIR}/${target}_entry.cmake)
    set(properties "LABELS \"${labels}\" ENVIRONMENT \"${environment}\" SKIP_RETURN_CODE 77")
    set(tests "\"${folder}/${name}\"")
    set(content "")
    if(arg_PLAIN OR arg_WHOLE)
        set(command "$<TARGET_FILE:${target}>" ${arg_ARGS})
        list(JOIN command "\" \"" command)
        set(content "add_test(${tests} \"${command}\")\n")
    else()
        gtest_discover_tests(${target} TEST_PREFIX ${folder}/ TEST_LIST ${target}_cases
            DISCOVERY_MODE PRE_TEST EXTRA_ARGS ${arg_ARGS})
        set(tests "\${${target}_cases}")
    endif()
    if(NOT arg_PLAIN)
        target_link_libraries(${target} PRIVATE GTest::gtest GTest::gmock GTest::gtest_main)
    endif()
    string(APPEND content "foreach(test IN ITEMS ${tests})\n"
                          "    set_tests_properties(\"\${test}\" PROPERTIES ${properties})\n")
    if(arg_TIMEOUT)
        string(APPEND content "    if(NOT DEFINED ENV{MUSTAFAR_LONG})\n"
                              "        set_tests_properties(\"\${test}\" PROPERTIES TIMEOUT ${arg_TIMEOUT})\n"
                              "    endif()\n")
    endif()
    file(GENERATE OUTPUT ${entry} CONTENT "${content}endforeach()\n")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${entry})
endfunction()
