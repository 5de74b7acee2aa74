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

# MPROC_ARGS of eight in an assertion that turns its expansion into text: within the 4095 bytes of ISO C. A pointer that is no
# handle, and a struct, do not compile; every handle does.
strict="-std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I$top_srcdir/include"
cat >"$rule_work/macro.c" <<'END'
#include <mproc.h>
#define TEXT_(...) #__VA_ARGS__
#define TEXT(...) TEXT_(__VA_ARGS__)
#define CHECK(...) ((__VA_ARGS__) ? 0 : (int)sizeof(TEXT(__VA_ARGS__)))
int use(mproc_variant value);
int eight(mproc_lock *lock, mproc_dict *dict, const char *text, void *pointer, mproc_variant value);
int eight(mproc_lock *lock, mproc_dict *dict, const char *text, void *pointer, mproc_variant value)
{
    return CHECK(use(MPROC_ARGS(1, "two", 3.5, lock, dict, text, pointer, value)) == 0);
}
#ifdef WRONG
int one(WRONG wrong);
int one(WRONG wrong) { return use(MPROC_V(wrong)); }
#endif
END
$cc $strict "$rule_work/macro.c" 2>&1 | sed 's/^/MPROC_ARGS: /' | rule_breach
for wrong in 'int *' 'mproc_pool *' 'mproc_deadline'; do
    $cc $strict "-DWRONG=$wrong" "$rule_work/macro.c" 2>/dev/null && rule_breach "MPROC_V takes a $wrong"
done
for handle in $(sed -n '/^typedef union mproc__any/,/^}/p' "$top_srcdir/include/mproc/variant.h" | grep -oE 'mproc_[a-z_]+ \*' | tr -d ' *'); do
    $cc $strict "-DWRONG=$handle *" "$rule_work/macro.c" 2>&1 | sed "s/^/MPROC_V($handle *): /" | rule_breach
done
rule_end $count
