#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One test of the package, on the library that is installed in STAGE (FOLDER: where it has its .pc file):
#   go.sh STAGE FOLDER fmt                 every file as gofmt wants it
#   go.sh STAGE FOLDER strict [ARGS...]    go test with the race detector and cgocheck=2, in one build
#   go.sh STAGE FOLDER module              the package from a module of its own, elsewhere, as README.md says
#   go.sh STAGE FOLDER ARGS...             go ARGS
set -eu
stage=$1 folder=$2
shift 2
cd "$(dirname "$0")/.."
export PKG_CONFIG_PATH="$folder/pkgconfig" LD_LIBRARY_PATH="$folder"
export HOME="${HOME:-$stage}" # go keeps its cache there
# No network, no other toolchain, no surrounding workspace.
export GOFLAGS=-mod=readonly GOPROXY=off GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=1
# The build cache of Go does not see that headers outside of the package changed; it does see flags.
CGO_CPPFLAGS="-DMUSTAFAR_HEADERS=$(cat "$stage"/include/mustafar/*.h | cksum | cut -d' ' -f1)"
export CGO_CPPFLAGS

case $1 in
fmt)
    differ=$("$(go env GOROOT)/bin/gofmt" -l .)
    if [ -n "$differ" ]; then
        echo "these differ from gofmt: $differ"
        exit 1
    fi
    ;;
strict)
    shift
    case $(go env GOVERSION) in
    go1.19* | go1.20*) export GODEBUG=cgocheck=2 ;;
    *) export GOEXPERIMENT=cgocheck2 ;;
    esac
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    status=0
    go test -count=1 -race "$@" . >"$log" 2>&1 || status=$?
    cat "$log"
    if [ "$status" != 0 ] && grep -q -e '-race is not supported' -e '-race requires' "$log"; then
        exit 77 # not on this platform
    fi
    exit "$status"
    ;;
module)
    package=$PWD
    away=$(mktemp -d)
    trap 'rm -rf "$away"' EXIT
    cp examples/quickstart/main.go "$away"
    cd "$away"
    go mod init example.org/try
    go mod edit -require mustafar@v0.0.0 -replace "mustafar=$package"
    go run .
    ;;
*) exec go "$@" ;;
esac
