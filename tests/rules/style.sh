#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What DESIGN asks of every file: licence, first include, widths, lengths, names. Lengths of functions are counted
# between the braces in the first column, which is how the formatter writes them.
. "${top_srcdir:-.}/tests/rules/rule.sh"
cd "$top_srcdir" || exit 1

sources=$(ls lib/*.c lib/*/*.[ch] managerd/*.[ch] tools/*.[ch] examples/*.[ch] tests/*/*.[ch] bench/*.[ch] \
    include/*.h include/mproc/*.h 2>/dev/null | grep -v '\.pb-c\.')
count=0
for file in $sources; do
    count=$((count + 1))
    head -n 1 "$file" | grep -q 'SPDX-License-Identifier: BSD-2-Clause' || rule_breach "$file: no SPDX line first"
    case $file in
    examples/* | *.h) ;;
    *)
        grep -m 1 '^#include' "$file" | grep -q '"platform/base.h"' ||
            rule_breach "$file: the first include is not platform/base.h"
        ;;
    esac
done
grep -nE '[[:blank:]]+$' $sources | sed 's/$/ -- blank at the end of the line/' | rule_breach
grep -nP '\t' $sources | sed 's/$/ -- tab/' | rule_breach
grep -nE '\b(TODO|FIXME|XXX)\b' $sources | rule_breach
grep -nE '^typedef .*[a-z]_t;' $sources | sed 's/$/ -- a type of ours ends in _t/' | rule_breach
# The formatter keeps code within 110; comments behind code may stand out a little. The public headers keep their tables.
awk 'length($0) > 130 { printf "%s:%d: %d columns\n", FILENAME, FNR, length($0) }' \
    $(echo "$sources" | grep -v '^include') | rule_breach
for file in $(echo "$sources" | grep -E '^(lib|managerd|tools)/'); do
    [ "$(wc -l <"$file")" -le 480 ] || rule_breach "$file: $(wc -l <"$file") lines; a file has 100 to 400"
done

awk 'FNR == 1 { inside = 0 }
    /^{/ { start = FNR; inside = 1 }
    /^}/ && inside { print FNR - start - 1, FILENAME ":" start; inside = 0 }' \
    $(echo "$sources" | grep -E '^(lib|managerd)/.*\.c$') | sort -n >"$rule_work/functions"
awk '$1 > 60 { print $2 ": a function of " $1 " lines" }' "$rule_work/functions" | rule_breach
awk '{ length_of[NR] = $1 } END {
    if (NR && length_of[int((NR + 1) / 2)] >= 15) print "functions: the median is " length_of[int((NR + 1) / 2)] " lines"
    if (NR && length_of[int(NR * 0.9)] >= 40) print "functions: a tenth has over " length_of[int(NR * 0.9)] " lines" }' \
    "$rule_work/functions" | rule_breach
rule_end $count
