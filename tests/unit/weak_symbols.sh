#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weak_symbols.sh NM ROWS_HPP OBJECT...: objects compiled for more than the floor of the processor may share
# nothing with others. A weak symbol (an inline function, a template, a constant) is one copy after linking,
# and that may be the one with instructions that the processor lacks. What they define for others must be
# the rows that cpu/rows.hpp declares, for the instruction set that the object is named after.
set -euo pipefail
nm=$1 rows=$2
shift 2
failed=0 count=0
complain() {
    printf '%s: %s\n' "$1" "$2"
    failed=1
}
for object; do
    isa=${object##*/}
    isa=${isa%%.cpp.o*}
    count=$((count + 1))
    functions=0
    # Upper case: defined for others; w, v, u: weak or unique whatever else.
    while read -r kind name; do
        name=${name#mustafar::}
        case $kind in
        T)
            if [[ $name != *_"$isa("* ]] || ! grep -qw -- "${name%%(*}" "$rows"; then
                complain "$object" "defines $name, no row of $isa in ${rows##*/}"
            fi
            functions=$((functions + 1))
            ;;
        *) complain "$object" "symbol of kind $kind: $name" ;;
        esac
    done < <("$nm" -C --defined-only "$object" | sed -nE 's/^[0-9a-f]+ ([A-Zuvw]) (.*)$/\1 \2/p')
    while read -r kind name; do
        complain "$object" "undefined weak symbol: $name"
    done < <("$nm" -C --undefined-only "$object" | sed -nE 's/^ +([wv]) (.*)$/\1 \2/p')
    if ((functions == 0)); then complain "$object" "defines no row"; fi
done
if ((count == 0)); then
    echo "no objects of fast rows in this build"
    exit 77
fi
if ((failed)); then exit 1; fi
echo "$count objects share nothing but their rows"
