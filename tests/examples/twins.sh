#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The examples that do their work twice, in a loop and in a pool: the same answer by every start method and number of
# workers, for sizes that leave somebody without work too; messages for bad input.
set -u
dir=$(mktemp -d "${TMPDIR:-/tmp}/twins-test-XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
failed=0

fail() {
    echo "FAIL: $*"
    failed=$((failed + 1))
}

good() { # program, arguments...
    timeout 60 examples/"$@" >"$dir/out" 2>"$dir/err" || fail "$* (exit $?): $(cat "$dir/err")"
    grep -q 'times as fast$' "$dir/out" || fail "$*: said $(cat "$dir/out")"
    [ ! -s "$dir/err" ] || fail "$*: $(cat "$dir/err")"
}

refused() { # text of the message, program, arguments...
    local text=$1
    shift
    timeout 60 examples/"$@" >"$dir/out" 2>"$dir/err"
    local code=$?
    { [ $code -ne 0 ] && [ $code -lt 124 ]; } || fail "$*: exit $code"
    grep -q -- "$text" "$dir/err" || fail "$*: said $(cat "$dir/err")"
}

for method in fork spawn forkserver thread; do
    good pi --start $method --size 5000000
    good mandelbrot --start $method --size 100 --output "$dir/$method.ppm"
    good merge_sort --start $method --size 100003
    good k_means --start $method --size 10007
    cmp "$dir/fork.ppm" "$dir/$method.ppm" || fail "mandelbrot: another picture by $method"
done
for program in pi mandelbrot merge_sort k_means; do
    good $program --size 1 --workers 3
    good $program --size 17 --workers 1 --start thread
    refused "must be a number from 1" $program --size 0
    refused "must be a number from 1" $program --size -3
    refused "must be a number from 1" $program --size 12x
    refused "must be a number from 1" $program --size 99999999999999999999
    refused "must be a number from 1 to 112" $program --workers 0
    refused "must be a number from 1 to 112" $program --workers 113
    refused "must be fork, spawn" $program --start vfork
    refused "usage" $program file
    refused "usage" $program --nothing
done
for program in merge_sort k_means; do
    refused "memory\|room\|bytes" $program --size 1099511627776
done

# ---- the picture: as PPM and PNG the same, and nothing left of one that cannot be written ----
good mandelbrot --size 100 --output "$dir/image.png"
[ "$(head -c 2 "$dir/fork.ppm")" = P6 ] && [ "$(stat -c %s "$dir/fork.ppm")" -eq $((15 + 3 * 100 * 100)) ] || fail "the PPM is none"
[ "$(head -c 8 "$dir/image.png" | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ] || fail "the PNG is none"
refused "$dir/nowhere/image.png: No such file" mandelbrot --size 10 --output "$dir/nowhere/image.png"
refused "/dev/full: No space left" mandelbrot --size 100 --output /dev/full
[ -c /dev/full ] || fail "/dev/full is gone"

[ $failed -eq 0 ]
