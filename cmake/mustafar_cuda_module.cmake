# SPDX-License-Identifier: Apache-2.0
# libmustafar-cuda.so.0: the CUDA backend as a library of its own. With MUSTAFAR_CUDA=MODULE it lies beside
# libmustafar.so and is installed there; else the tests link one of the same objects, in tests/modules.
set(version_script ${CMAKE_CURRENT_SOURCE_DIR}/cuda/module/module.map)
add_library(mustafar_cuda_module SHARED cuda/module/entry.cpp $<TARGET_OBJECTS:mustafar_cuda>)
mustafar_warnings(mustafar_cuda_module)
set_target_properties(mustafar_cuda_module PROPERTIES LINKER_LANGUAGE CXX LINK_DEPENDS ${version_script}
    OUTPUT_NAME mustafar-cuda VERSION ${MUSTAFAR_ABI_VERSION}.${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    SOVERSION ${MUSTAFAR_ABI_VERSION})
# Of the core it takes what stages a part; nothing of that leaves it.
target_link_libraries(mustafar_cuda_module PRIVATE mustafar_core mustafar_cudart)
target_link_options(mustafar_cuda_module PRIVATE LINKER:--version-script=${version_script}
                    LINKER:--exclude-libs,ALL LINKER:--as-needed)
if(NOT MUSTAFAR_SANITIZE)
    target_link_options(mustafar_cuda_module PRIVATE LINKER:-z,defs)
endif()
if(MUSTAFAR_CUDA STREQUAL "MODULE")
    install(TARGETS mustafar_cuda_module LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cuda NAMELINK_SKIP)
else()
    set_target_properties(mustafar_cuda_module PROPERTIES EXCLUDE_FROM_ALL TRUE
                          LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/modules)
endif()
