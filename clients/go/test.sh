#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Format, vet, tests, and the runner of the scenario into $WORK/go. Environment: GO, WORK.
set -eu
cd "$(dirname "$0")"
export HOME="${HOME:-$WORK}" # go keeps its cache there
# No network, no other toolchain, no surrounding workspace, no C.
export GOFLAGS=-mod=readonly GOPROXY=off GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0
differ=$("$("$GO" env GOROOT)/bin/gofmt" -l .)
if [ -n "$differ" ]; then
    echo "these differ from gofmt: $differ"
    exit 1
fi
"$GO" vet ./...
"$GO" test -count=1 ./...
mkdir -p "$WORK/go"
"$GO" build -o "$WORK/go/scenario" ./scenario
