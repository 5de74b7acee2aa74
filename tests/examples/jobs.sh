#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# examples/jobs: every item once, outputs whole, a failure and a program that does not exist told.
set -eu
said=$(examples/jobs 3 printf '%s.\n' -- a 'b  $HOME' '*' c | sort)
wanted=$(printf '%s.\n' a 'b  $HOME' '*' c | sort)
if [ "$said" != "$wanted" ]; then
    echo "$said"
    exit 1
fi
for call in "2 test -e -- / /no/such/file" "2 no-such-program -- a" "0 echo -- a" "2 echo"; do
    if examples/jobs $call >/dev/null 2>&1; then
        echo "jobs $call: went well"
        exit 1
    fi
done
