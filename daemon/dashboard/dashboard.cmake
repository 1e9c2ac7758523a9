# SPDX-License-Identifier: Apache-2.0
# Adds the dashboard to mustafard_parts: the bundle where npm is, else the plain page. Building it needs no npm.
set(MUSTAFARD_DASHBOARD AUTO CACHE STRING
    "AUTO: the dashboard where npm can get its packages, else a plain page; ON: or fail; OFF: the plain page")
set_property(CACHE MUSTAFARD_DASHBOARD PROPERTY STRINGS AUTO ON OFF)

set(dashboard ${CMAKE_CURRENT_LIST_DIR})
set(work ${CMAKE_CURRENT_BINARY_DIR}/dashboard)
find_program(MUSTAFARD_NPM npm)
find_program(MUSTAFARD_NODE NAMES node nodejs)
mark_as_advanced(MUSTAFARD_NPM MUSTAFARD_NODE)

# Packages by the committed lock, once per lock; why they are not here, or nothing, goes to `out`.
function(dashboard_packages out)
    set(${out} "" PARENT_SCOPE)
    if(NOT MUSTAFARD_NPM OR NOT MUSTAFARD_NODE)
        set(${out} "npm not found (packages nodejs npm)" PARENT_SCOPE)
        return()
    endif()
    file(SHA256 ${dashboard}/package-lock.json lock)
    if(EXISTS ${work}/node_modules/.${lock})
        return()
    endif()
    file(MAKE_DIRECTORY ${work})
    file(COPY ${dashboard}/package.json ${dashboard}/package-lock.json DESTINATION ${work})
    execute_process(
        COMMAND ${MUSTAFARD_NPM} ci --ignore-scripts --no-audit --no-fund --prefer-offline
                --fetch-retries=0 --fetch-timeout=20000
        WORKING_DIRECTORY ${work} TIMEOUT 120 RESULT_VARIABLE status OUTPUT_FILE ${work}/npm.log ERROR_FILE ${work}/npm.log)
    if(NOT status EQUAL 0)
        set(${out} "npm cannot get its packages (${work}/npm.log)" PARENT_SCOPE)
        return()
    endif()
    file(TOUCH ${work}/node_modules/.${lock})
endfunction()

if(MUSTAFARD_DASHBOARD STREQUAL "OFF")
    set(lacks "MUSTAFARD_DASHBOARD is OFF")
else()
    dashboard_packages(lacks)
    if(lacks AND MUSTAFARD_DASHBOARD STREQUAL "ON")
        message(FATAL_ERROR "MUSTAFARD_DASHBOARD is ON, but ${lacks}")
    endif()
endif()

set(page ${work}/page.cpp)
if(lacks)
    mustafar_summary(dashboard off "plain page only: ${lacks}")
    set(html ${dashboard}/plain.html)
    set(gzip "")
else()
    mustafar_summary(dashboard on "embedded in mustafard")
    file(GLOB_RECURSE inputs CONFIGURE_DEPENDS ${dashboard}/src/*)
    set(html ${work}/dashboard.html)
    set(gzip ${work}/dashboard.html.gz)
    add_custom_command(
        OUTPUT ${html} ${gzip}
        COMMAND ${MUSTAFARD_NODE} ${dashboard}/build.mjs --packages ${work} --out ${work}
        DEPENDS ${inputs} ${dashboard}/build.mjs ${dashboard}/package-lock.json
        COMMENT "Bundling the dashboard" VERBATIM)
endif()
add_custom_command(
    OUTPUT ${page}
    COMMAND ${CMAKE_COMMAND} -DHTML=${html} -DGZIP=${gzip} -DOUTPUT=${page} -P ${dashboard}/embed.cmake
    DEPENDS ${html} ${gzip} ${dashboard}/embed.cmake
    COMMENT "Embedding the dashboard" VERBATIM)
target_sources(mustafard_parts PRIVATE ${page})
