#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Each public header compiles alone, as C11 and as C++17, without a warning.
. "${top_srcdir:-.}/tests/rules/rule.sh"
cc=${CC:-cc}
cxx=${CXX:-c++}
rule_need "${cc%% *}"
rule_need "${cxx%% *}"

count=0
for header in mproc.h $(cd "$top_srcdir/include" && echo mproc/*.h); do
    count=$((count + 1))
    printf '#include <%s>\nint main(void) { return 0; }\n' "$header" >"$rule_work/alone.c"
    cp "$rule_work/alone.c" "$rule_work/alone.cc"
    $cc -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wundef -Wstrict-prototypes -Werror -fsyntax-only \
        -I"$top_srcdir/include" "$rule_work/alone.c" 2>&1 | sed "s|^|$header as C11: |" | rule_breach
    $cxx -std=c++17 -Wall -Wextra -Wshadow -Wundef -Werror -fsyntax-only \
        -I"$top_srcdir/include" "$rule_work/alone.cc" 2>&1 | sed "s|^|$header as C++17: |" | rule_breach
done
rule_end $count
