#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Man pages are correct mdoc or man, and name no file or page of ours that does not exist.
. "${top_srcdir:-.}/tests/rules/rule.sh"
rule_need mandoc
cd "$top_srcdir/man" || exit 1

count=0
for page in *.[1-8]; do
    [ -f "$page" ] || continue
    count=$((count + 1))
    # "referenced manual not found" is about what this machine has installed.
    mandoc -T lint -W warning "$page" 2>&1 | grep -v -e 'referenced manual not found' | rule_breach
    grep -oE '^\.Xr (mproc|manager)[a-z.-]* [1-8]' "$page" | while read -r _ name section; do
        [ -f "$name.$section" ] || rule_breach "$page: refers to $name($section), which does not exist"
    done
done
rule_end $count
