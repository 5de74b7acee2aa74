#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Every symbol that crosses a file carries our prefix: mproc_ when public, mproc__ inside. Generated code included.
. "${top_srcdir:-.}/tests/rules/rule.sh"
rule_need nm
cd "$top_builddir" || exit 1

count=0
for archive in lib/.libs/libmproc_*.a; do
    [ -f "$archive" ] || continue
    count=$((count + 1))
    nm -g --defined-only "$archive" 2>/dev/null | sed -n 's/^[0-9a-f]* [TDBRCVW] \([A-Za-z0-9_]*\)$/\1/p' |
        grep -v -e '^mproc_' -e '^__' -e '^_Z' | sed "s|^|$archive: |" | rule_breach
done
rule_end $count
