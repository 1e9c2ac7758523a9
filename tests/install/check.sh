#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs into an empty folder and builds consumer/ against that; tests/install/CMakeLists.txt runs it.
set -euo pipefail
way=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stage="$work/stage with space"
[ "$way" = find_package ] || stage=$work/stage # pkg-config and a shell do not agree about spaces

logged() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }; } # quiet unless it fails

# The consumer is C and nothing else: it must not need a C++ compiler, nor any package of ours.
with_cmake() {
    logged "$CMAKE" -S "$here/consumer" -B "$work/build" -G Ninja -DCMAKE_C_COMPILER="$CC" \
        -DCMAKE_PREFIX_PATH="$1" -DWANTED_VERSION="$VERSION"
    logged "$CMAKE" --build "$work/build"
    "$work/build/consumer"
}
with_pkg_config() {
    local flags
    export PKG_CONFIG_PATH=$1/$LIBDIR/pkgconfig
    pkg-config --exact-version="$VERSION" mustafar
    flags=$(pkg-config --cflags --libs mustafar)
    # Nothing of what the library uses itself may reach its users.
    [[ ! $flags =~ tbb|json|xxhash|stdc ]] || { echo "private dependencies leak: $flags"; return 1; }
    # shellcheck disable=SC2086
    "$CC" -std=c99 -pedantic -Wall -Wextra -Werror "$here/consumer/main.c" $flags -o "$work/consumer"
    LD_LIBRARY_PATH=$1/$LIBDIR "$work/consumer"
}
install_to() {
    "$CMAKE" --install "$BUILD" --prefix "$1" --component runtime >/dev/null
    "$CMAKE" --install "$BUILD" --prefix "$1" --component dev >/dev/null
    if grep -rIlF -e "$SOURCE" -e "$BUILD" "$1"; then
        echo "the files above name the build machine's folders"
        return 1
    fi
}

case $way in
find_package)
    install_to "$stage"
    with_cmake "$stage"
    ;;
pkg_config)
    install_to "$stage"
    with_pkg_config "$stage"
    ;;
moved)
    install_to "$stage"
    mkdir -p "$work/elsewhere"
    mv "$stage" "$work/elsewhere/place"
    with_cmake "$work/elsewhere/place"
    with_pkg_config "$work/elsewhere/place"
    ;;
absolute) # configure only: the .pc file must name the folders as they were given
    logged "$CMAKE" -S "$SOURCE" -B "$work/build" -G Ninja -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" \
        -DMUSTAFAR_BUILD_TOOLS=OFF -DMUSTAFAR_BUILD_TESTS=OFF -DCMAKE_INSTALL_PREFIX=/opt/mustafar \
        -DCMAKE_INSTALL_LIBDIR=/opt/elsewhere/lib64 -DCMAKE_INSTALL_INCLUDEDIR=/opt/other/include
    export PKG_CONFIG_PATH=$work/build/capi
    [ "$(pkg-config --variable=libdir mustafar)" = /opt/elsewhere/lib64 ]
    [ "$(pkg-config --variable=includedir mustafar)" = /opt/other/include ]
    pkg-config --cflags --libs mustafar
    ;;
esac
