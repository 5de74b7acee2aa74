# SPDX-License-Identifier: BSD-2-Clause
# What the rules share. A rule is a script that prints each breach as `file: what` and ends with rule_end.
# 77 tells automake "skipped": only for a tool that is missing.
set -u
LC_ALL=C
export LC_ALL
top_srcdir=$(cd "${top_srcdir:-.}" && pwd)
top_builddir=$(cd "${top_builddir:-.}" && pwd)
rule_work=$(mktemp -d)
trap 'rm -rf "$rule_work"' EXIT

# Breaches arrive on standard input or as arguments.
rule_breach()
{
    if [ $# -gt 0 ]; then
        echo "$*"
    else
        cat
    fi >>"$rule_work/breaches"
}

rule_need()
{
    command -v "$1" >/dev/null 2>&1 || { echo "$1 is missing"; exit 77; }
}

# A rule that looked at nothing is broken itself.
rule_end()
{
    [ "$1" -gt 0 ] || { echo "nothing was looked at"; exit 1; }
    [ ! -s "$rule_work/breaches" ] || { cat "$rule_work/breaches"; exit 1; }
    echo "$1 looked at"
    exit 0
}
