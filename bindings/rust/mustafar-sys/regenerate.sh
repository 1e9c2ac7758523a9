#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes src/bindings.rs anew from the public headers, or compares with it.
#   regenerate.sh [--check]     status 77: no bindgen, or another one (its output differs between releases)
set -eu
cd "$(dirname "$0")"
wanted=0.60.1 # Debian 12, package bindgen

found=$(bindgen --version 2>/dev/null | sed 's/.* //' || true)
if [ "$found" != "$wanted" ]; then
    echo "skipped: bindgen $wanted is not here (package bindgen of Debian 12${found:+; this is $found})"
    exit 77
fi
new=$(mktemp)
trap 'rm -f "$new" "$new.h"' EXIT
echo '#include <stddef.h>' >"$new.h"
if ! bindgen "$new.h" >/dev/null 2>&1; then
    echo "skipped: bindgen finds no libclang, or not its headers (packages libclang1-14, libclang-common-14-dev)"
    exit 77
fi

# Enumerators become constants: a value of a newer library must never be an invalid Rust enum. Layouts are
# compared with capi/abi/api.json (../mustafar/tests/api.rs), without the dereferenced null pointers of bindgen's own tests.
{
    echo '// SPDX-License-Identifier: Apache-2.0'
    echo '// Written by regenerate.sh from capi/include/mustafar/mustafar.h. Do not edit.'
    bindgen --no-layout-tests --no-doc-comments --no-prepend-enum-name --default-enum-style consts \
        --disable-header-comment --size_t-is-usize --rustfmt-configuration-file "$PWD/../rustfmt.toml" \
        --allowlist-function 'mustafar_.*' --allowlist-type 'mustafar_.*' \
        --allowlist-var 'MUSTAFAR_.*' ../../../capi/include/mustafar/mustafar.h -- -std=c11
} >"$new"

# How rustfmt breaks lines depends on its release: that does not count.
plain() { tr -d '[:space:],' <"$1"; }
if [ "${1:-}" = --check ]; then
    if [ "$(plain "$new")" = "$(plain src/bindings.rs)" ]; then
        echo "src/bindings.rs is what bindgen $wanted writes"
    else
        diff -u src/bindings.rs "$new" || true
        echo "the headers have changed; run bindings/rust/mustafar-sys/regenerate.sh"
        exit 1
    fi
else
    cat "$new" >src/bindings.rs
fi
