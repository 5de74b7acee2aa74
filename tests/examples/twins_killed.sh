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

# A supervisor and a worker of its, into `pair`. Workers are what the examples' pools name after themselves.
pair_find() { # pid of the program, its name
    local supervisor child name=
    pair=
    for supervisor in $(children "$1"); do
        for child in $(children "$supervisor"); do
            read -r name 2>/dev/null <"/proc/$child/comm"
            [[ $name == "$2"-* ]] && pair="$supervisor $child" && return 0
        done
    done
    return 1
}

# Killed as soon as the program says that its pool is made: a worker that dies before is the program's failure to make one.
killed() { # whom, program, arguments...
    local whom=$1 program=$2 main line pair code
    shift
    exec 3< <(export MPROC_TEST_MARK=$mark && exec examples/"$@" 2>"$dir/err")
    main=$!
    read -r line <&3
    pair_find $main "$program" || fail "$whom of $*: no workers while it works: $line, $(cat "$dir/err")"
    case $whom in
    worker) kill -KILL "${pair#* }" 2>/dev/null ;;
    supervisor) kill -KILL "${pair% *}" 2>/dev/null ;;
    program) kill -KILL $main ;;
    esac
    cat <&3 >"$dir/out"
    wait $main 2>/dev/null
    code=$?
    exec 3<&-
    [[ $line == *" ready after "* ]] || fail "$whom of $*: said first: $line"
    case $whom in
    program) [ $code -eq 137 ] || fail "$whom of $*: exit $code" ;;
    worker) { [ $code -eq 0 ] && grep -q 'times as fast$' "$dir/out"; } || fail "$whom of $*: exit $code, $(cat "$dir/err")" ;;
    *) [ $code -eq 0 ] || grep -q MPROC_EDIED "$dir/err" || fail "$whom of $*: exit $code, $(cat "$dir/err")" ;;
    esac
    none_left "$whom of $*"
}

# A sanitizer's programs need several times as long for what they do in memory; the other two are at it as long as ever, and
# with less to do they would be over before a worker of theirs is found.
slower=1
grep -qs __asan_init examples/.libs/pi examples/pi && slower=4
everywhere() { # whom, method
    killed $1 pi --size 50000000 --start $2
    killed $1 mandelbrot --size 500 --start $2
    killed $1 merge_sort --size $((3000000 / slower)) --start $2
    killed $1 k_means --size $((100000 / slower)) --start $2
}
for method in fork spawn forkserver; do everywhere worker $method; done
everywhere supervisor fork
everywhere program forkserver
[ $failed -eq 0 ]
