#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# A layer includes headers of its own folder and of lower layers. Programs include the library's public headers (and,
# while they are thin mains over it, nothing of lib/). protobuf-c is included in lib/data and lib/manager only.
. "${top_srcdir:-.}/tests/rules/rule.sh"
cd "$top_srcdir" || exit 1

allowed=
count=0
for layer in platform data shm sync channel process pool manager; do
    allowed="$allowed $layer"
    for file in lib/$layer/*.[ch]; do
        count=$((count + 1))
        for included in $(sed -n 's/^ *# *include "\([a-z_]*\)\/.*/\1/p' "$file"); do
            case " $allowed " in
            *" $included "*) ;;
            *) rule_breach "$file: includes $included/, which is above lib/$layer" ;;
            esac
        done
    done
done
grep -l '# *include <protobuf-c' lib/*/*.[ch] | grep -v -e '^lib/data/' -e '^lib/manager/' |
    sed 's/$/: includes protobuf-c, which is for lib\/data and lib\/manager/' | rule_breach
grep -n '# *include "\(platform\|data\|shm\|sync\|channel\|process\|pool\|manager\)/' examples/*.[ch] /dev/null |
    sed 's/$/ -- an example includes public headers only/' | rule_breach
rule_end $count
