# SPDX-License-Identifier: Apache-2.0
# What is on, what is off, and why, printed once at the end of configure.

# mustafar_summary(<part> <on|off> <why or detail>)
function(mustafar_summary part state why)
    set_property(GLOBAL APPEND PROPERTY MUSTAFAR_SUMMARY_LINES "${part}|${state}|${why}")
endfunction()

function(mustafar_print_summary)
    get_property(lines GLOBAL PROPERTY MUSTAFAR_SUMMARY_LINES)
    message(STATUS "")
    message(STATUS "mustafar ${PROJECT_VERSION} (ABI ${MUSTAFAR_ABI_VERSION}), ${CMAKE_BUILD_TYPE}, "
                   "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
    foreach(line IN LISTS lines)
        string(REGEX MATCH "^([^|]*)\\|([^|]*)\\|(.*)$" _ "${line}")
        set(part "${CMAKE_MATCH_1}:                ")
        string(SUBSTRING "${part}" 0 14 part)
        set(state "${CMAKE_MATCH_2}    ")
        string(SUBSTRING "${state}" 0 4 state)
        message(STATUS "  ${part}${state}${CMAKE_MATCH_3}")
    endforeach()
    message(STATUS "")
endfunction()
