#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Spin on the models of this folder: each whole, in every interleaving, without an error, also in the variants that
# its head lists with a +; and each mutation listed there, with one. Without partial order reduction: it does not go
# with the way in which the models kill (spin says so, and it did hide an error).
#
# `tests/models/run.sh [MODEL...]` prints a line a search. MPROC_MODELS_MIB limits the memory of each. What the mutations show,
# that an error would be found, changes with the models only: of all models together every 4th is tried, or every
# MPROC_MODELS_EVERY-th; all of them of models that are named, and by `make models`.
set -u
export LC_ALL=C
folder=${top_srcdir:-$(dirname "$0")/../..}/tests/models
folder=$(cd "$folder" && pwd) || exit 1
limit=${MPROC_MODELS_MIB:-8192}
for tool in spin "${CC:-cc}"; do
    command -v "${tool%% *}" >/dev/null 2>&1 || { echo "models: no $tool here"; exit 77; }
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failures=0

# flags MODEL SIGN: what the head of the model lists.
flags()
{
    sed -n "s/^ \*     $2\([A-Z][A-Z_]*\)  *[a-z].*/\1/p" "$folder/$1.pml"
}

field()
{
    sed -n "$1" "$work/out" | head -n 1
}

# make_search MODEL FLAG WANTED. An error is found soon, so that to compile is most of it: -O0 takes 1.3 s, -O1 3.1, -O2
# 4.4; whole searches are no faster with -O2 than with -O1.
make_search()
{
    rm -f "$work"/pan* "$work/out"
    level=-O1
    [ "$3" = clean ] || level=-O0
    (cd "$work" && spin ${2:+-D"$2"} -a "$folder/$1.pml" >spin.log 2>&1 &&
        ${CC:-cc} $level -w -DSAFETY -DNOREDUCE -DMEMLIM="$limit" -o pan pan.c >>spin.log 2>&1) ||
        { cat "$work/spin.log"; echo "models: $1 ${2:-} cannot be made"; exit 1; }
}

# search WANTED MODEL FLAG: one search; WANTED is clean or error. One that was cut short has shown nothing.
search()
{
    make_search "$2" "$3" "$1"
    (cd "$work" && ./pan -m200000 >out 2>&1) || :
    found=$(field 's/.*errors: \([0-9]*\)$/\1/p')
    case ${found:-none} in
    none) found="broken off" ;;
    0) found=clean ;;
    *) found=error ;;
    esac
    cut='Search not completed|max search depth too small|out of memory|memory limit'
    [ "$found" != clean ] || ! grep -Eq "$cut" "$work/out" || found="cut short"
    states=$(field 's/^ *\([0-9.e+]*\) states, stored.*/\1/p')
    memory=$(field 's/^ *\([0-9.]*\).*total actual memory usage.*/\1/p')
    seconds=$(field 's/.*elapsed time \([0-9.e+-]*\) sec.*/\1/p')
    verdict=$found
    [ "$found" = "$1" ] || { verdict="$found, but wanted $1"; failures=$((failures + 1)); }
    printf '%-6s %-18s %11s states %6.0f MiB %6.1f s  %s\n' \
        "$2" "${3:--}" "$states" "$memory" "$seconds" "$verdict"
    [ "$found" = "$1" ] || sed -n '/^pan/p' "$work/out" | tail -n 3
}

every=${MPROC_MODELS_EVERY:-4}
[ $# -eq 0 ] || every=1
[ $# -gt 0 ] || set -- ring block wake bias order grow
mutations=0
for model in "$@"; do
    search clean "$model" ""
    for flag in $(flags "$model" +); do
        search clean "$model" "$flag"
    done
    for flag in $(flags "$model" ''); do
        [ $((mutations % every)) -ne 0 ] || search error "$model" "$flag"
        mutations=$((mutations + 1))
    done
done
echo "models: $failures failures; every ${every}th of $mutations mutations tried"
[ "$failures" -eq 0 ]
