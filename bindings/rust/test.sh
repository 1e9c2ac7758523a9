#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One step of the tests; CMakeLists.txt says which there are. Status 77: skipped, and why.
#   test.sh STEP     environment: CARGO, STAGE and STAGE_LIB (an installation), WORK (target and other folders), MUSTAFAR_SOURCE_DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PATH=$(dirname "$CARGO"):$PATH # rustc, rustdoc, rustfmt of the same toolchain
export CARGO_TARGET_DIR="$WORK/target" CARGO_TERM_COLOR=never RUSTFLAGS="-D warnings" RUSTDOCFLAGS="-D warnings"
export CARGO_PROFILE_DEV_DEBUG=0 # builds faster; a failed test names its line anyway
workspace=$WORK/workspace

skip() {
    echo "skipped: $*"
    exit 77
}
minor() { rustc --version | sed 's/rustc 1\.\([0-9]*\).*/\1/'; }
installed() { [ -n "$("$CARGO" "$1" --version 2>/dev/null)" ]; }

# The workspace as it is, where the optional crate `half` is here or can be had; else a copy without it, for cargo
# wants to see even the crates that it does not build. The index before 1.70 is too large to be fetched for a test.
prepare() {
    rm -rf "$workspace"
    cd "$here"
    rm -f Cargo.lock # an older toolchain does not read a newer one's
    if "$CARGO" fetch --offline >/dev/null 2>&1 ||
        { [ "$(minor)" -ge 70 ] && CARGO_NET_RETRY=0 timeout 60 "$CARGO" fetch >/dev/null 2>&1; }; then
        ln -s "$here" "$workspace"
    else
        echo "the crate half cannot be had: a copy of the workspace without it is tested"
        mkdir "$workspace"
        cp -R Cargo.toml README.md rustfmt.toml mustafar-sys mustafar conformance "$workspace"
        sed '/half/d' "$here/mustafar/Cargo.toml" >"$workspace/mustafar/Cargo.toml"
    fi
    cd "$workspace"
    "$CARGO" test --offline --workspace --no-run
    "$CARGO" build --offline --workspace --bins --examples
}

# A project of somebody else, made as README.md says; then what is said where the library is missing or too old.
outside() {
    project=$WORK/outside
    rm -rf "$project"
    mkdir -p "$project/src" "$project/old/mustafar"
    cd "$project"
    sed -n '/^```rust$/,/^```$/p' "$here/README.md" | sed '/^```/d' >src/main.rs
    {
        printf '[package]\nname = "outside"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n'
        sed -n '/^```toml$/,/^```$/p' "$here/README.md" | sed "/^\`\`\`/d; s|path = \".*/mustafar\"|path = \"$workspace/mustafar\"|"
    } >Cargo.toml
    [ "$(minor)" -ge 78 ] || [ ! -f "$workspace/Cargo.lock" ] || cp "$workspace/Cargo.lock" .
    CARGO_TARGET_DIR=$project/target
    "$CARGO" run --offline --quiet
    refused "pkg-config does not find mustafar" PKG_CONFIG_PATH= PKG_CONFIG_LIBDIR="$project/old"
    refused "there is no $project/old/libmustafar.so" MUSTAFAR_LIB_DIR="$project/old"
    sed 's/MUSTAFAR_VERSION ".*"/MUSTAFAR_VERSION "0.0.9"/' "$STAGE/include/mustafar/info.h" >old/mustafar/info.h
    refused "libmustafar 0.0.9 is too old" MUSTAFAR_LIB_DIR="$STAGE_LIB" MUSTAFAR_INCLUDE_DIR="$project/old"
    env MUSTAFAR_LIB_DIR="$STAGE_LIB" "$CARGO" run --offline --quiet
    # A program that meets an older library when it runs.
    echo 'const char *mustafar_version(void) { return "0.0.9"; }' | cc -shared -fPIC -x c -o old/old.so -
    if LD_PRELOAD=$project/old/old.so target/debug/outside >run.log 2>&1; then
        echo "the program ran with a library that is too old"
        exit 1
    fi
    grep -F "libmustafar 0.0.9 is older" run.log
}
refused() { # refused TEXT NAME=VALUE...: the build must fail, say so, and name the way out
    text=$1
    shift
    if env "$@" "$CARGO" check --offline >build.log 2>&1; then
        echo "the build went on with $*"
        exit 1
    fi
    grep -F "$text" build.log && grep -qF MUSTAFAR_INCLUDE_DIR build.log || {
        cat build.log
        exit 1
    }
}

step=$1
if [ "$step" = prepare ]; then
    prepare
    exit
fi
cd "$workspace"
case $step in
package) "$CARGO" test --offline --quiet -p mustafar --lib --tests ;;
docs)
    "$CARGO" test --offline --quiet -p mustafar --doc
    "$CARGO" doc --offline --quiet --no-deps -p mustafar -p mustafar-sys
    ;;
examples)
    for example in mustafar/examples/*.rs; do
        echo "$example"
        "$CARGO" run --offline --quiet -p mustafar --example "$(basename "$example" .rs)"
    done
    ;;
half)
    [ -L "$workspace" ] || skip "the crate half cannot be had here"
    "$CARGO" test --offline --quiet -p mustafar --features half --lib --test half
    ;;
fmt)
    installed fmt || skip "rustfmt is not here (package rustfmt)"
    "$CARGO" fmt --all -- --check
    ;;
clippy)
    installed clippy || skip "clippy is not here (package rust-clippy)"
    more=
    [ "$(minor)" -lt 70 ] || more="-D clippy::undocumented_unsafe_blocks" # the older one overlooks comments
    # shellcheck disable=SC2086
    "$CARGO" clippy --offline --quiet --workspace --all-targets -- -D warnings $more
    ;;
bindings) exec "$here/mustafar-sys/regenerate.sh" --check ;;
outside) outside ;;
compile-fail)
    # The messages of the compiler are compared, and they change between releases.
    wanted=$(cat "$here/compile-fail/rustc-minor")
    [ "$(minor)" = "$wanted" ] || skip "the messages are those of rustc 1.$wanted, this is 1.$(minor)"
    cd "$here/compile-fail"
    "$CARGO" fetch --offline >/dev/null 2>&1 || timeout 60 "$CARGO" fetch >/dev/null 2>&1 ||
        skip "the crate trybuild cannot be had here"
    CARGO_TARGET_DIR=$WORK/compile-fail "$CARGO" test --offline --quiet
    ;;
miri)
    # Everything that does not call into C: views of slices, errors, and the callbacks that C calls.
    "$CARGO" +nightly miri --version >/dev/null 2>&1 || skip "miri is not here (rustup +nightly component add miri)"
    "$CARGO" +nightly miri setup >/dev/null 2>&1 || skip "miri has no sources of the standard library"
    CARGO_TARGET_DIR=$WORK/miri "$CARGO" +nightly miri test --offline --quiet -p mustafar --lib
    ;;
*)
    echo "no step '$step'"
    exit 2
    ;;
esac
