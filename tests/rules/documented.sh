#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Every public call is in a man page. Names with two underscores are support of macros and are not documented.
. "${top_srcdir:-.}/tests/rules/rule.sh"
cd "$rule_work" || exit 1

sed -n 's/^ *\(mproc_[a-z0-9_]*\);.*/\1/p' "$top_srcdir/lib/libmproc.map" | grep -v '^mproc__' | sort >to_document
cat "$top_srcdir"/man/*.3 "$top_srcdir"/man/*.7 2>/dev/null | sed 's/\\-/-/g; s/\\&//g' | grep -oE '\bmproc_[a-z0-9_]+' |
    sort -u >documented
comm -23 to_document documented | sed 's/$/: in no man page/' | rule_breach
rule_end "$(wc -l <to_document)"
