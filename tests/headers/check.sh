#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every public header compiles alone, twice and without a warning, in every language and by every compiler
# we serve; the umbrella includes all of them but dlpack.h; the sources are ASCII.
# Usage: check.sh <capi/include> [C compiler,C++ compiler]...     Prints "N passed, N failed".
set -u
include=$1; shift
compilers=("$@")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0; failed=0

report() { # report <0 = good> <what>
    if [ "$1" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED  $2"; fi
}

compiles() { # compiles <include folder> <compiler> <language> <standard> <header>...
    local folder=$1 compiler=$2 language=$3 standard=$4 header; shift 4
    for header; do printf '#include "mustafar/%s"\n' "$header"; done >"$work/unit.$language"
    # A unit must declare something; the include path is a plain -I, so that warnings in headers count.
    printf 'extern int mustafar_headers_unit;\n' >>"$work/unit.$language"
    "$compiler" -x "$language" -std="$standard" -Wall -Wextra -pedantic -Werror -Wshadow -Wundef \
        -c -o "$work/unit.o" -I "$folder" "$work/unit.$language" >"$work/log" 2>&1
}

# The checks themselves must be able to fail.
mkdir -p "$work/bad/mustafar"
printf 'static int unused_function(void) { return 0; }\n' >"$work/bad/mustafar/warns.h"
printf 'size_t missing_include(void);\n' >"$work/bad/mustafar/incomplete.h"
printf 'struct twice { int field; };\n' >"$work/bad/mustafar/unguarded.h"

headers=()
for path in "$include"/mustafar/*.h; do headers+=("$(basename "$path")"); done
[ ${#headers[@]} -ge 8 ]; report $? "only ${#headers[@]} headers found in $include/mustafar"

for pair in "${compilers[@]}"; do
    for language in c c++; do
        if [ $language = c ]; then compiler=${pair%,*}; standards="c99 c11"; else compiler=${pair#*,}; standards="c++17 c++20"; fi
        for standard in $standards; do
            for bad in "warns.h" "incomplete.h" "unguarded.h unguarded.h"; do
                # shellcheck disable=SC2086
                ! compiles "$work/bad" "$compiler" $language $standard $bad
                report $? "$compiler -std=$standard accepts a bad header ($bad)"
            done
            for header in "${headers[@]}"; do
                compiles "$include" "$compiler" $language $standard "$header"
                report $? "$header alone, $compiler -std=$standard: $(head -3 "$work/log")"
                compiles "$include" "$compiler" $language $standard "$header" "$header"
                report $? "$header twice, $compiler -std=$standard: $(head -3 "$work/log")"
            done
            compiles "$include" "$compiler" $language $standard "${headers[@]}" mustafar.h
            report $? "all together, $compiler -std=$standard: $(head -3 "$work/log")"
        done
    done
done

# The C++ wrapper, by those who have C++20: alone, and behind all others with its second half first.
for pair in "${compilers[@]}"; do
    for set in "mustafar.hpp mustafar.hpp" "${headers[*]} cache.hpp mustafar.hpp"; do
        # shellcheck disable=SC2086
        compiles "$include" "${pair#*,}" c++ c++20 $set
        report $? "$set, ${pair#*,} -std=c++20: $(head -3 "$work/log")"
    done
done

for header in "${headers[@]}"; do
    ! LC_ALL=C grep -n '[^ -~]' "$include/mustafar/$header" >"$work/log"
    report $? "$header holds tabs or bytes beyond ASCII: $(head -1 "$work/log")"
    grep -q "SPDX-License-Identifier: Apache-2.0" "$include/mustafar/$header"
    report $? "$header has no licence line"
    case $header in
    mustafar.h) ;;
    dlpack.h) ! grep -q "include \"$header\"" "$include/mustafar/mustafar.h"
              report $? "mustafar.h includes $header, which is optional" ;;
    *) grep -q "^#include \"$header\"" "$include/mustafar/mustafar.h"
       report $? "mustafar.h does not include $header" ;;
    esac
done

for header in "$include"/mustafar/*.hpp; do
    ! LC_ALL=C grep -n '[^ -~]' "$header" >"$work/log"
    report $? "$header holds tabs or bytes beyond ASCII: $(head -1 "$work/log")"
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
