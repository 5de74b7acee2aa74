#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs one test program again and again, as it may meet a machine: alone, on one CPU, and beside a process that never sleeps.
# `make repeat TEST=tests/sync/check_lock N=100`; N of each, 20 by default. Ends at the first failure and shows it.
set -u
test=${TEST:?name a test program: make repeat TEST=tests/sync/check_lock N=100}
count=${N:-20}
output=$(mktemp) || exit 1
busy=
trap 'rm -f "$output"; [ -z "$busy" ] || kill "$busy" 2>/dev/null' EXIT
trap 'exit 1' HUP INT TERM

# rounds WHAT COMMAND...
rounds()
{
    what=$1
    shift
    round=0
    while [ "$round" -lt "$count" ]; do
        round=$((round + 1))
        "$@" >"$output" 2>&1 && continue
        status=$?
        cat "$output"
        echo "$test: failed with $status in round $round of $count, $what"
        exit 1
    done
    echo "$test: $count times $what"
}

rounds "alone" "$test"
if command -v taskset >/dev/null 2>&1; then
    rounds "on one CPU" taskset -c 0 "$test"
fi
(while :; do :; done) &
busy=$!
rounds "beside a busy process" "$test"
