# SPDX-License-Identifier: Apache-2.0
# The CUDA backend: is it built, with which compiler, for which architectures.
#   MUSTAFAR_CUDA                AUTO where nvcc is found, ON (an error without), MODULE (the same, as a library of its
#                                own that the first who asks for it loads), OFF; OFF below another project
#   MUSTAFAR_CUDA_TOOLKIT        a toolkit that is not on the PATH; `./dev` installs one in build-cuda
#   CMAKE_CUDA_ARCHITECTURES     90 unless given; the release preset has 80, 86, 89, 90, 100, and PTX for newer ones
# Code for the device ends up in the library itself or in the module, with a static runtime: a program needs no
# toolkit, and where there is no driver the backend says so (libmustafar/cuda/README.md).

set(default AUTO)
if(NOT PROJECT_IS_TOP_LEVEL) # the languages of a project are its own business
    set(default OFF)
endif()
set(MUSTAFAR_CUDA ${default} CACHE STRING "CUDA backend: AUTO, ON, MODULE or OFF")
set_property(CACHE MUSTAFAR_CUDA PROPERTY STRINGS AUTO ON MODULE OFF)
set(MUSTAFAR_CUDA_TOOLKIT ${PROJECT_SOURCE_DIR}/build-cuda/nvidia/cu13 CACHE PATH "a CUDA toolkit, 12.4 or newer")

set(MUSTAFAR_HAVE_CUDA FALSE)
if(MUSTAFAR_CUDA STREQUAL "OFF")
    mustafar_summary(cuda off "MUSTAFAR_CUDA is OFF")
    return()
elseif(NOT MUSTAFAR_CUDA MATCHES "^(AUTO|ON|MODULE)$")
    message(FATAL_ERROR "MUSTAFAR_CUDA = ${MUSTAFAR_CUDA}; give AUTO, ON, MODULE or OFF")
endif()
if(MUSTAFAR_SANITIZE AND MUSTAFAR_CUDA STREQUAL "AUTO") # they know nothing of the device
    mustafar_summary(cuda off "not with sanitizers (MUSTAFAR_CUDA=ON builds it there too)")
    return()
endif()

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND MUSTAFAR_CUDA STREQUAL "AUTO") # tried with gcc only
    mustafar_summary(cuda off "the compiler is not gcc (MUSTAFAR_CUDA=ON tries it)")
    return()
endif()

foreach(found MUSTAFAR_NVCC MUSTAFAR_CUDART) # a toolkit that has gone
    if(${found} AND NOT EXISTS "${${found}}")
        unset(${found} CACHE)
    endif()
endforeach()
if(NOT CMAKE_CUDA_COMPILER AND DEFINED ENV{CUDACXX})
    set(CMAKE_CUDA_COMPILER $ENV{CUDACXX})
endif()
if(NOT CMAKE_CUDA_COMPILER)
    find_program(MUSTAFAR_NVCC nvcc HINTS ${MUSTAFAR_CUDA_TOOLKIT}/bin PATHS /usr/local/cuda/bin)
    mark_as_advanced(MUSTAFAR_NVCC)
    if(NOT MUSTAFAR_NVCC)
        if(NOT MUSTAFAR_CUDA STREQUAL "AUTO")
            message(FATAL_ERROR "MUSTAFAR_CUDA is ${MUSTAFAR_CUDA} and there is no nvcc; ./dev build installs one, or give "
                                "MUSTAFAR_CUDA_TOOLKIT")
        endif()
        mustafar_summary(cuda off "no nvcc (./dev build installs one, or -DMUSTAFAR_CUDA_TOOLKIT=DIR)")
        return()
    endif()
    set(CMAKE_CUDA_COMPILER ${MUSTAFAR_NVCC})
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90-real)
endif()
if(NOT DEFINED CMAKE_CUDA_HOST_COMPILER)
    set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
endif()
if(MUSTAFAR_CUDA STREQUAL "AUTO") # what enable_language cannot use ends the configuration: ask before
    execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE nvcc_says ERROR_QUIET)
    if(NOT nvcc_says MATCHES "release ([0-9]+[.][0-9]+)" OR CMAKE_MATCH_1 VERSION_LESS 12.4)
        mustafar_summary(cuda off "nvcc ${CMAKE_MATCH_1} is too old: 12.4 or newer")
        return()
    endif()
endif()
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.4)
    if(NOT MUSTAFAR_CUDA STREQUAL "AUTO")
        message(FATAL_ERROR "nvcc ${CMAKE_CUDA_COMPILER_VERSION} is too old: 12.4 or newer")
    endif()
    mustafar_summary(cuda off "nvcc ${CMAKE_CUDA_COMPILER_VERSION} is too old: 12.4 or newer")
    return()
endif()
# The runtime, static. Not by find_package(CUDAToolkit), whose module of CMake 3.25 fails with toolkits of version 13.
get_filename_component(toolkit ${CMAKE_CUDA_COMPILER} REALPATH)
get_filename_component(toolkit ${toolkit} DIRECTORY)
find_library(MUSTAFAR_CUDART cudart_static NO_DEFAULT_PATH
             PATHS ${toolkit}/.. PATH_SUFFIXES lib64 lib targets/${CMAKE_SYSTEM_PROCESSOR}-linux/lib)
mark_as_advanced(MUSTAFAR_CUDART)
if(NOT MUSTAFAR_CUDART)
    message(FATAL_ERROR "${CMAKE_CUDA_COMPILER} has no libcudart_static.a beside it; -DMUSTAFAR_CUDA=OFF does without")
endif()
add_library(mustafar_cudart INTERFACE)
target_link_libraries(mustafar_cudart INTERFACE ${MUSTAFAR_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION) # CMake 3.25 does not know that nvcc 12 does
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
# What ptxas says of each kernel goes into a file beside its object (cmake/ptxas.sh).
set(CMAKE_CUDA_COMPILER_LAUNCHER ${PROJECT_SOURCE_DIR}/cmake/ptxas.sh run ${MUSTAFAR_CCACHE})
set(MUSTAFAR_HAVE_CUDA TRUE)
set(MUSTAFAR_CUDA_PTX 0) # a list without PTX names every entry "-real"
foreach(architecture IN LISTS CMAKE_CUDA_ARCHITECTURES)
    if(NOT architecture MATCHES "-real$|^native$")
        set(MUSTAFAR_CUDA_PTX 1)
    endif()
endforeach()
list(JOIN CMAKE_CUDA_ARCHITECTURES " " architectures)
set(place "")
if(MUSTAFAR_CUDA STREQUAL "MODULE")
    set(place ", libmustafar-cuda.so.${MUSTAFAR_ABI_VERSION}")
endif()
mustafar_summary(cuda on "nvcc ${CMAKE_CUDA_COMPILER_VERSION} for ${architectures}${place}")

# mustafar_cuda_options(<target>): warnings of nvcc, ptxas and the host compiler. Registers and spills of each
# kernel: <build>/cuda-ptxas.txt; a spill is also told while it is built.
function(mustafar_cuda_options target)
    set(host -Wall -Wextra -Wshadow)
    set(device -Wreorder -Xptxas -v)
    if(MUSTAFAR_WERROR)
        list(APPEND host -Werror)
        list(APPEND device -Werror all-warnings)
    endif()
    list(JOIN host "," host)
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Xcompiler ${host}>")
    list(JOIN device " " device)
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:${device}>")
    target_compile_definitions(${target} PRIVATE MUSTAFAR_CUDA_PTX=${MUSTAFAR_CUDA_PTX})
    set(table ${PROJECT_BINARY_DIR}/cuda-ptxas.txt)
    add_custom_command(OUTPUT ${table}
        COMMAND ${PROJECT_SOURCE_DIR}/cmake/ptxas.sh table "$<TARGET_OBJECTS:${target}>" > ${table}
        DEPENDS $<TARGET_OBJECTS:${target}> ${PROJECT_SOURCE_DIR}/cmake/ptxas.sh
        COMMENT "Registers and spills of the kernels: cuda-ptxas.txt" COMMAND_EXPAND_LISTS VERBATIM)
    add_custom_target(${target}_ptxas ALL DEPENDS ${table})
endfunction()
