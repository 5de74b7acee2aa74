#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Spin on the models of this folder: each whole, in every interleaving, without an error; and each mutation that its
# head lists, with one. `tests/models/run.sh [MODEL...]` prints a line a run; MPROC_MODELS_MIB limits memory (8192).
set -u
export LC_ALL=C
folder=${top_srcdir:-$(dirname "$0")/../..}/tests/models
folder=$(cd "$folder" && pwd) || exit 1
for tool in spin "${CC:-cc}"; do
    command -v "${tool%% *}" >/dev/null 2>&1 || { echo "models: no $tool here"; exit 77; }
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failures=0

field()
{
    sed -n "$1" "$work/out" | head -n 1
}

# search WANTED MODEL FLAG: one search; WANTED is clean or error.
search()
{
    rm -f "$work"/pan*
    (cd "$work" && spin ${3:+-D"$3"} -a "$folder/$2.pml" >spin.log 2>&1 &&
        ${CC:-cc} -O2 -w -DSAFETY -DMEMLIM="${MPROC_MODELS_MIB:-8192}" -o pan pan.c >>spin.log 2>&1) ||
        { cat "$work/spin.log"; echo "models: $2 ${3:-} cannot be made"; exit 1; }
    (cd "$work" && ./pan -m200000 >out 2>&1) || :
    errors=$(field 's/.*errors: \([0-9]*\)$/\1/p')
    found=clean
    [ "${errors:-0}" -eq 0 ] || found=error
    # A search that was cut short has shown nothing.
    grep -q 'Search not completed\|max search depth too small\|out of memory\|memory limit' "$work/out" &&
        [ $found = clean ] && found="cut short"
    [ -n "$errors" ] || found="broken off"
    verdict=$found
    [ "$found" = "$1" ] || { verdict="$found, but wanted $1"; failures=$((failures + 1)); }
    states=$(field 's/^ *\([0-9.e+]*\) states, stored.*/\1/p')
    memory=$(field 's/^ *\([0-9.]*\).*total actual memory usage.*/\1/p')
    seconds=$(field 's/.*elapsed time \([0-9.e+-]*\) sec.*/\1/p')
    printf '%-8s %-22s %11s states %8.0f MiB %7.1f s  %s\n' "$2" "${3:--}" "$states" "$memory" "$seconds" "$verdict"
    [ "$found" = "$1" ] || { sed -n '/^pan/p' "$work/out" | tail -n 3; }
}

[ $# -gt 0 ] || set -- ring
for model in "$@"; do
    search clean "$model" ""
    for flag in $(sed -n 's/^ \*     \([A-Z][A-Z_]*\)  *[a-z].*/\1/p' "$folder/$model.pml"); do
        search error "$model" "$flag"
    done
done
echo "models: $failures failures"
[ "$failures" -eq 0 ]
