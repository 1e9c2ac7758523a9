#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Format, lints, tests, documentation, and the runner of the scenario into $WORK/rust. Environment: CARGO, WORK.
set -eu
cd "$(dirname "$0")"
PATH=$(dirname "$CARGO"):$PATH # rustc, rustdoc, rustfmt of the same toolchain
export CARGO_TARGET_DIR="$WORK/rust" CARGO_TERM_COLOR=never RUSTFLAGS="-D warnings" RUSTDOCFLAGS="-D warnings"
export CARGO_PROFILE_DEV_DEBUG=0
installed() { [ -n "$("$CARGO" "$1" --version 2>/dev/null)" ]; }
rm -f Cargo.lock # an older toolchain does not read a newer one's
if installed fmt; then "$CARGO" fmt -- --check; else echo "not checked: rustfmt is not here (package rustfmt)"; fi
if installed clippy; then
    # Two lints that clippy 1.63 has on by default, and newer ones not.
    "$CARGO" clippy --offline --quiet --all-targets -- -D warnings \
        -A clippy::format-push-string -A clippy::derive-partial-eq-without-eq
else
    echo "not checked: clippy is not here (package rust-clippy)"
fi
"$CARGO" test --offline --quiet
"$CARGO" doc --offline --quiet --no-deps --lib
"$CARGO" build --offline --quiet --bins
