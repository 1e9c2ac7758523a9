#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Types, tests, and the runner of the scenario into $WORK/typescript. Environment: NODE, TSC, WORK.
set -eu
cd "$(dirname "$0")"
out=$WORK/typescript
rm -rf "$out"
"$TSC" -p . --outDir "$out"
echo '{"type": "module"}' >"$out/package.json"
"$NODE" --test "$out"/tests/*.test.js
