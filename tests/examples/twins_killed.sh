#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The same examples while their workers, or their supervisor, are killed: the right answer all the same (they try again), or a
# message; never a hang, and nobody left.
# shows: DEATH-6 (of maps and loops, seen by a user), DEATH-9 (owner killed)
set -u
dir=$(mktemp -d "${TMPDIR:-/tmp}/twins-killed-test-XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
failed=0
mark=twins_killed_$$

fail() {
    echo "FAIL: $*"
    failed=$((failed + 1))
}
children() { cat "/proc/$1/task/"*/children 2>/dev/null; }
survivors() { grep -lsa "MPROC_TEST_MARK=$mark" /proc/[0-9]*/environ 2>/dev/null | wc -l; }
none_left() {
    for _ in $(seq 200); do
        [ "$(survivors)" -eq 0 ] && return 0
        sleep 0.05 # polls with a deadline of 10 s
    done
    fail "$*: $(survivors) processes left"
}

# Workers are what the examples' pools name after themselves; their parent is the supervisor.
worker_find() { # pid of the program, its name
    local supervisor child
    for _ in $(seq 1000); do
        for supervisor in $(children "$1"); do
            for child in $(children "$supervisor"); do
                case $(cat "/proc/$child/comm" 2>/dev/null) in "$2"-*) echo "$supervisor $child"; return 0 ;; esac
            done
        done
        kill -0 "$1" 2>/dev/null || return 1
        sleep 0.005 # polls with a deadline of 5 s
    done
    return 1
}

killed() { # whom, program, arguments...
    local whom=$1 program=$2 main pair
    shift
    MPROC_TEST_MARK=$mark examples/"$@" >"$dir/out" 2>"$dir/err" &
    main=$!
    pair=$(worker_find $main "$program") || { wait $main; fail "$whom of $*: ended first"; return; }
    case $whom in
    worker) kill -KILL "${pair#* }" 2>/dev/null ;;
    supervisor) kill -KILL "${pair% *}" 2>/dev/null ;;
    program) kill -KILL $main ;;
    esac
    wait $main 2>/dev/null
    local code=$?
    case $whom in
    program) [ $code -eq 137 ] || fail "$whom of $*: exit $code" ;;
    worker) { [ $code -eq 0 ] && grep -q 'times as fast$' "$dir/out"; } || fail "$whom of $*: exit $code, $(cat "$dir/err")" ;;
    *) [ $code -eq 0 ] || grep -q MPROC_EDIED "$dir/err" || fail "$whom of $*: exit $code, $(cat "$dir/err")" ;;
    esac
    none_left "$whom of $*"
}

everywhere() { # whom, method
    killed $1 pi --size 100000000 --start $2
    killed $1 mandelbrot --size 700 --start $2
    killed $1 merge_sort --size 5000000 --start $2
    killed $1 k_means --size 200000 --start $2
}
for method in fork spawn forkserver; do everywhere worker $method; done
everywhere supervisor fork
everywhere program forkserver
[ $failed -eq 0 ]
