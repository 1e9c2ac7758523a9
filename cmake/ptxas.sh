#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What ptxas says of each kernel, kept out of the log of the build:
#   ptxas.sh run COMMAND...   a compiler's launcher: lines of ptxas go to OBJECT.ptxas, all others to stderr
#   ptxas.sh table OBJECT...  a table of the kernels in these objects; a line on stderr for each that spills
set -eu

run() {
    object= previous=
    for word; do
        if [ "$previous" = -o ]; then object=$word; fi
        previous=$word
    done
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    notes=${object:+$object.ptxas}
    notes=${notes:-/dev/null}
    status=0
    "$@" 2>"$log" || status=$?
    : >"$notes"
    # A line of properties belongs to the line of ptxas before it.
    awk -v to="$notes" '
        /^ptxas info/ || /bytes stack frame/ { print > to; next }
        { print > "/dev/stderr" }' "$log"
    exit "$status"
}

table() {
    for object; do
        if [ ! -f "$object.ptxas" ]; then
            echo "ptxas.sh: $object.ptxas is not there; build anew" >&2
            exit 1
        fi
    done
    for object; do cat "$object.ptxas"; done | demangled | awk '
        /Compiling entry function/ {
            name = $0; sub(/^[^\047]*\047/, "", name); sub(/\047 for .*/, "", name)
            arch = $0; sub(/.*\047 for \047/, "", arch); sub(/\047.*/, "", arch)
            # the arguments of the template say which kernel it is, those of the function do not
            gsub(/\(mustafar::cuda::[A-Za-z]+\)/, "", name)
            sub(/^void /, "", name); sub(/\(.*\)$/, "", name); gsub(/mustafar::cuda::/, "", name)
        }
        /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
        /: Used [0-9]+ registers/ {
            registers = $0; sub(/.*Used /, "", registers); sub(/ .*/, "", registers)
            if (!count++) printf "%-9s %-9s %-8s %-12s %s\n", "registers", "stack", "spilled", "for", "kernel"
            spilled = stores + loads
            printf "%9d %7d B %6d B %-12s %s\n", registers, stack, spilled, " " arch, name
            if (spilled) printf "spills: %d B stored, %d B loaded: %s for %s\n", stores, loads, name, arch > "/dev/stderr"
            stack = stores = loads = 0
        }'
}

demangled() { if command -v c++filt >/dev/null; then c++filt; else cat; fi; }

mode=$1
shift
case $mode in
run | table) "$mode" "$@" ;;
*) echo "usage: ptxas.sh run COMMAND... | table OBJECT..." >&2 && exit 2 ;;
esac
