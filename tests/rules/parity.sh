#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Each test that tests/parity.tsv names stands in the source of that program: one that was renamed or moved is noticed here,
# without running anything. `make parity` tells whether they pass.
. "${top_srcdir:-.}/tests/rules/rule.sh"
cd "$top_srcdir/tests" || exit 1

grep -o 'START_TEST([a-z0-9_A-Z]*)' */check_*.c | sed 's/.*\/\(check_[a-z0-9_]*\)\.c:START_TEST(\(.*\))/\1:\2/' | sort -u >"$rule_work/there"
sed 1d parity.tsv | cut -f2 | grep -v '^no-meaning: ' | tr ' ' '\n' | sort -u >"$rule_work/named"
comm -23 "$rule_work/named" "$rule_work/there" | sed 's|^|tests/parity.tsv: no such test: |' | rule_breach
sed 1d parity.tsv | cut -f1 | sort | uniq -d | sed 's/$/: twice in tests\/parity.tsv/' | rule_breach
rule_end "$(wc -l <"$rule_work/named")"
