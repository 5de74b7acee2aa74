#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# examples/top: a table with numbers in it, and children that used what they were told to.
set -eu
said=$(timeout 60 examples/top 0.3 5)
echo "$said" | grep -q '^up .* CPUs usable' || { echo "$said"; echo "no machine"; exit 1; }
[ "$(echo "$said" | grep -cE '^ *[0-9]+ +[0-9]+  [A-Z] +[0-9.]+ +[0-9]+ +[0-9]+  .')" = 5 ] || { echo "$said"; echo "not five processes"; exit 1; }
greedy=$(echo "$said" | sed -n 's/^greedy used \([0-9]*\) ms.*/\1/p')
modest=$(echo "$said" | sed -n 's/^modest used \([0-9]*\) ms.*/\1/p')
[ "$greedy" -gt "$modest" ] || { echo "$said"; echo "the greedy one is not the greedier"; exit 1; }
