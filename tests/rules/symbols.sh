#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What the shared library exports = what lib/libmproc.map lists = what the headers declare.
. "${top_srcdir:-.}/tests/rules/rule.sh"
rule_need nm
cd "$rule_work" || exit 1

library=$top_builddir/.libs/libmproc.so
nm -D --defined-only "$library" | sed -n 's/.* [TDBRV] \(mproc_[a-z0-9_]*\).*/\1/p' | sort -u >exported
nm -D --defined-only "$library" | sed -n 's/.* [TDBRVWi] \([A-Za-z0-9_]*\).*/\1/p' | grep -v '^mproc_' |
    sed 's/$/: exported without our prefix/' | rule_breach
sed -n 's/^ *\(mproc_[a-z0-9_]*\);.*/\1/p' "$top_srcdir/lib/libmproc.map" | sort >mapped
sort -u mapped | cmp -s - mapped || rule_breach "lib/libmproc.map: a name twice, or not sorted"
cat "$top_srcdir"/include/mproc.h "$top_srcdir"/include/mproc/*.h | tr '\n' ' ' |
    grep -oE 'MPROC_API [^;]*;' | grep -oE '\bmproc_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u >declared

comm -23 mapped exported | sed 's/$/: in the map, but not exported (declared and missing?)/' | rule_breach
comm -13 mapped exported | sed 's/$/: exported, but not in the map/' | rule_breach
comm -23 mapped declared | sed 's/$/: in the map, but not declared in a public header/' | rule_breach
comm -13 mapped declared | sed 's/$/: declared in a public header, but not in the map/' | rule_breach
rule_end "$(wc -l <mapped)"
