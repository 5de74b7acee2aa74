#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# examples/map: the roots, a file's beginning, and a failure for the file that does not exist.
set -eu
dir=$(mktemp -d "${TMPDIR:-/tmp}/map-test-XXXXXX")
trap 'rm -rf "$dir"' EXIT
printf 'some text\n' >"$dir/in"
examples/map "$dir/in" >"$dir/out"
grep -q '^the root of 999999 is 999.999$' "$dir/out"
grep -q '^some text$' "$dir/out"
if examples/map "$dir/missing" >"$dir/out" 2>"$dir/err"; then
    echo "a missing file went unnoticed"
    exit 1
fi
grep -q "$dir/missing: No such file or directory" "$dir/err"
