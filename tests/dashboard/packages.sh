#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# packages.sh FOLDER: what package-lock.json names, into FOLDER/node_modules, once per lock. 77: it cannot be had.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
command -v npm >/dev/null || { echo "skipped: npm not found (package npm)"; exit 77; }
stamp=node_modules/.$(cksum <"$here/package-lock.json" | tr ' ' -)
mkdir -p "$1"
cd "$1"
[ -e "$stamp" ] && exit 0
cp "$here/package.json" "$here/package-lock.json" .
if ! npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --fetch-retries=0 --fetch-timeout=20000; then
    echo "skipped: npm cannot get playwright-core and typescript"
    exit 77
fi
touch "$stamp"
