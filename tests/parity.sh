#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Which behaviours of the reference a test shows: `make parity`.
#
# tests/parity-rows.tsv has the rows (id, area, behaviour), tests/parity.tsv what shows them (id, and `program:test`, more
# than one separated by blanks, or `no-meaning: why it cannot exist in C`). A row that tests/parity.tsv does not name is
# open: neither shown nor without meaning. Named programs that have no result yet are run; a named test that is missing or
# did not pass is a failure. Prints area, shown, no meaning, total; last the line `all`.
set -u
LC_ALL=C
export LC_ALL
top_srcdir=${top_srcdir:-.}
results=${MPROC_TEST_RESULTS:-$PWD/tests/results}
MPROC_TEST_RESULTS=$results
top_builddir=$PWD
export MPROC_TEST_RESULTS top_srcdir top_builddir
tab=$(printf '\t')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n "2,\$p" "$top_srcdir/tests/parity.tsv" >"$work/shown"
mkdir -p "$results"
for program in $(cut -f2 "$work/shown" | grep -v '^no-meaning:' | tr ' ' '\n' | sed 's/:.*//' | sort -u); do
    path=$(find tests -type f -name "$program" -perm -u+x | head -n 1)
    [ -n "$path" ] || continue
    # A result from before the program was built again is none.
    [ -s "$results/$program.tap" ] && [ "$results/$program.tap" -nt "$path" ] && continue
    "$path" >"$results/$program.log" 2>&1 || :
done

# A line "ok 3 - file.c:case:test_name: Passed" counts for program:test_name; one "not ok" of a loop test spoils it.
for tap in "$results"/*.tap; do
    [ -f "$tap" ] && sed -n "s/^\(not ok\|ok\) [0-9]* - [^:]*:[^:]*:\([a-z0-9_A-Z]*\):.*/\1$tab$(basename "$tap" .tap):\2/p" "$tap"
done >"$work/results"

awk -F '\t' '
FILENAME ~ /results$/ { if ($1 == "ok") passed[$2] = 1; else failed[$2] = 1; next }
FILENAME ~ /shown$/ {
    if ($1 in by) bad($1, "stands twice in tests/parity.tsv")
    by[$1] = $2
    next
}
FNR == 1 { next }
{
    area = $2
    if (!(area in total)) order[++areas] = area
    total[area]++; all_total++
    rows[$1] = 1
    if (!($1 in by)) next
    if (by[$1] ~ /^no-meaning: ./) { none[area]++; all_none++; next }
    if (by[$1] !~ /^[^ ]+:[^ ]+/) { bad($1, "neither program:test nor a reason"); next }
    n = split(by[$1], tests, " ")
    good = 1
    for (i = 1; i <= n; i++)
        if (tests[i] in failed) { bad($1, tests[i] " did not pass"); good = 0 }
        else if (!(tests[i] in passed)) { bad($1, tests[i] " is missing"); good = 0 }
    if (good) { shown[area]++; all_shown++ }
}
function bad(id, what) { print "parity: " id ": " what >"/dev/stderr"; wrong = 1 }
END {
    for (id in by) if (!(id in rows)) bad(id, "is no row of the table")
    for (i = 1; i <= areas; i++)
        printf "%s\t%d\t%d\t%d\n", order[i], shown[order[i]], none[order[i]], total[order[i]]
    printf "all\t%d\t%d\t%d\n", all_shown, all_none, all_total
    exit wrong
}' "$work/results" "$work/shown" "$top_srcdir/tests/parity-rows.tsv"
