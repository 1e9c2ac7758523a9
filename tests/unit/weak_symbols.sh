#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weak_symbols.sh NM ROWS_HPP OBJECT...: objects compiled for an instruction set define the rows that
# ROWS_HPP declares, and nothing that could replace a function of the rest of the program.
set -u
nm=$1 rows=$2
shift 2
[ $# -gt 0 ] || { echo "no objects of kernels in this build"; exit 77; }
allowed=$(grep -oE '\b[a-z_]+_(avx512fp16|avx512|avx2|neon)\b' "$rows" | sort -u)
bad=0
for object in "$@"; do
    while read -r type symbol; do
        name=$(c++filt -p "$symbol")
        name=${name##*::}
        case $type in
        W | w | V | v | u) echo "$object: weak symbol $symbol"; bad=1 ;;
        *) grep -qx "$name" <<<"$allowed" || { echo "$object: unexpected symbol $symbol"; bad=1; } ;;
        esac
    done < <("$nm" --defined-only --extern-only "$object" | awk 'NF == 3 {print $2, $3}')
done
echo "$# objects looked at"
exit $bad
