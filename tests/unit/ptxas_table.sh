#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ptxas_table.sh PTXAS_SH: notes of the compiler leave the log, all else stays in it, status included; a
# kernel that spills is told.
set -eu
ptxas=$1
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
fail() {
    echo "$1" >&2
    cat "$place"/said "$place"/*.ptxas >&2
    exit 1
}

cat >"$place/compiler" <<'END'
#!/bin/sh
cat >&2 <<'NOTES'
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z3onePi' for 'sm_90'
ptxas info    : Function properties for _Z3onePi
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 37 registers, used 1 barriers
kernel.cu(3): warning: what a person must see
ptxas info    : Compiling entry function '_Z3twoPi' for 'sm_90'
ptxas info    : Function properties for _Z3twoPi
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers
NOTES
exit "$STATUS"
END
chmod +x "$place/compiler"

for STATUS in 0 3; do
    export STATUS
    status=0
    "$ptxas" run "$place/compiler" -c kernel.cu -o "$place/kernel.o" 2>"$place/said" || status=$?
    [ "$status" = "$STATUS" ] || fail "the compiler's status $STATUS became $status"
    [ "$(cat "$place/said")" = "kernel.cu(3): warning: what a person must see" ] ||
        fail "the log is not the warning alone"
done
table=$("$ptxas" table "$place/kernel.o" 2>"$place/said")
[ "$(printf '%s\n' "$table" | wc -l)" = 3 ] || fail "not a head and two kernels: $table"
printf '%s\n' "$table" | grep -Eq '^ +37 +0 B +0 B +sm_90 +one$' || fail "wrong line of one: $table"
printf '%s\n' "$table" | grep -Eq '^ +255 +16 B +20 B +sm_90 +two$' || fail "wrong line of two: $table"
[ "$(cat "$place/said")" = "spills: 8 B stored, 12 B loaded: two for sm_90" ] || fail "the spill is not told"
if "$ptxas" table "$place/other.o" >/dev/null 2>"$place/said"; then fail "notes that are not there"; fi
