#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Magic numbers and house error codes are unique.
. "${top_srcdir:-.}/tests/rules/rule.sh"
cd "$top_srcdir" || exit 1

cat lib/*/*.[ch] include/mproc/*.h | grep -E '# *define +[A-Z_]*(MAGIC|DEAD)[A-Z_]* +\(?0x' |
    sed 's/.*# *define *\([A-Z_]*\) *(*\(0x[0-9a-fA-F]*\).*/\2 \1/' | tr 'A-F' 'a-f' | sort >"$rule_work/magic"
cut -d' ' -f1 "$rule_work/magic" | uniq -d | sed 's/$/: a magic number with two names/' | rule_breach
grep -E '^ *X[(]' include/mproc/error.h | grep -oE -e '-5[0-9]{3}' | sort >"$rule_work/codes"
uniq -d "$rule_work/codes" | sed 's/^/include\/mproc\/error.h: code used twice: /' | rule_breach
rule_end "$(cat "$rule_work/magic" "$rule_work/codes" | wc -l)"
