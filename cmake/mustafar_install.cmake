# SPDX-License-Identifier: Apache-2.0
# Installation of the library: headers, CMake package, pkg-config file. Included by capi/CMakeLists.txt.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mustafar)

install(TARGETS mustafar EXPORT mustafarTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT dev)
install(DIRECTORY include/mustafar DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
install(EXPORT mustafarTargets NAMESPACE mustafar:: DESTINATION ${package_dir} COMPONENT dev)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/mustafarConfig.cmake.in
    ${CMAKE_CURRENT_BINARY_DIR}/mustafarConfig.cmake INSTALL_DESTINATION ${package_dir}
    NO_SET_AND_CHECK_MACRO)
# While the version is 0.x, a minor release may break source compatibility.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/mustafarConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/mustafarConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/mustafarConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT dev)

# The .pc file: folders below the prefix are written relative to the file itself, so that a moved tree
# keeps working (`cmake --install --prefix`, a chroot); folders given as absolute paths stay absolute.
function(mustafar_pc_path out dir)
    if(IS_ABSOLUTE "${dir}")
        set(${out} "${dir}" PARENT_SCOPE)
    else()
        set(${out} "\${prefix}/${dir}" PARENT_SCOPE)
    endif()
endfunction()
mustafar_pc_path(pc_libdir "${CMAKE_INSTALL_LIBDIR}")
mustafar_pc_path(pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
    file(RELATIVE_PATH up "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" /prefix)
    string(REGEX REPLACE "/$" "" up "${up}")
    set(pc_prefix "\${pcfiledir}/${up}")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/mustafar.pc.in ${CMAKE_CURRENT_BINARY_DIR}/mustafar.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/mustafar.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
