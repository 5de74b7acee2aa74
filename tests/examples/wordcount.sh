#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The main job, from outside: its counts equal those of tr, sort and uniq for every start method, also when a worker is
# killed half-way; bad input gives a message that names the thing, a non-zero exit, and nothing left behind.
# shows: DEATH-6 (its task only), DEATH-9 (owner killed), START-D (one result under all methods)
set -u
LC_ALL=C
export LC_ALL
unset MPROC_PLACE
wordcount=${WORDCOUNT:-examples/wordcount}
dir=$(mktemp -d "${TMPDIR:-/tmp}/wordcount-test-XXXXXX") || exit 99
passed=0 failed=0
trap 'rm -rf "$dir"' EXIT

result() { # name, status
    if [ "$2" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL: $1"; fi
}

reference() { # file...
    for file; do tr -cs 'A-Za-z' '\n' <"$file"; echo; done | tr 'A-Z' 'a-z' | grep . | sort | uniq -c |
        sort -k1,1nr -k2,2 | head -n 20 | awk '{print $1 " " $2}'
}

children() { cat "/proc/$1/task/"*/children 2>/dev/null; } # not ps: a minimal system has none

# Processes of this run: the environment carries a mark that every descendant inherits.
mark=wordcount_test_$$
survivors() { grep -lsa "MPROC_TEST_MARK=$mark" /proc/[0-9]*/environ 2>/dev/null | wc -l; }
none_left() {
    for _ in $(seq 200); do
        [ "$(survivors)" -eq 0 ] && return 0
        sleep 0.05 # polls with a deadline of 10 s
    done
    echo "left behind: $(survivors) processes"
    return 1
}
run() { MPROC_TEST_MARK=$mark "$wordcount" "$@"; }

same() { # name, reference file, arguments...
    local name=$1 expected=$2
    shift 2
    run "$@" >"$dir/out" 2>"$dir/err"
    local code=$?
    { [ $code -eq 0 ] && cmp -s "$dir/out" "$expected"; } || { cat "$dir/err"; diff "$dir/out" "$expected" | head -n 5; false; }
    result "$name" $?
    none_left
    result "$name: nothing left" $?
}

refused() { # name, text that the message must hold, command...
    local name=$1 text=$2
    shift 2
    "$@" >"$dir/out" 2>"$dir/err"
    local code=$?
    [ $code -ne 0 ] && [ $code -lt 128 ] && grep -q -- "$text" "$dir/err"
    result "$name (exit $code)" $?
    none_left
    result "$name: nothing left" $?
}

# ---- inputs: text, an empty file, one without a letter, bytes of every value, a word over a piece's edge ----
licences=(/usr/share/common-licenses/*)
if [ ! -f "${licences[0]}" ]; then licences=("$0"); fi
cat "${licences[@]}" >"$dir/text"
: >"$dir/empty"
printf '%4096d' 0 >"$dir/digits"
head -c 3000000 /dev/urandom >"$dir/binary"
{ head -c 1048570 /dev/zero | tr '\0' '.'; echo 'acrosstheedge and on'; head -c 1048576 /dev/zero | tr '\0' 'x' | fold -w 1000; } >"$dir/edge"
times=400 # some 100 MB: long enough to be killed in the middle of
for _ in $(seq $times); do cat "$dir/text"; done >"$dir/large"
reference "$dir/text" "$dir/empty" "$dir/digits" "$dir/binary" "$dir/edge" >"$dir/expected"
reference "$dir/text" | awk -v times=$times '{print $1 * times " " $2}' >"$dir/expected-large"
: >"$dir/nothing"

methods=${METHODS:-fork spawn forkserver thread}
for method in $methods; do
    same "$method" "$dir/expected" --method "$method" "$dir/text" "$dir/empty" "$dir/digits" "$dir/binary" "$dir/edge"
done
same "only an empty file" "$dir/nothing" "$dir/empty"

# ---- one worker is killed half-way ----
killed() {
    local method=$1 victim='' supervisor main
    MPROC_TEST_MARK=$mark "$wordcount" --method "$method" "$dir/large" >"$dir/out" 2>"$dir/err" &
    main=$!
    for _ in $(seq 2000); do
        # Progress is shown from 0 %, when a method that starts slowly may have no worker yet: so both are awaited.
        if grep -q '%' "$dir/err" 2>/dev/null; then
            for supervisor in $(children $main); do
                for victim in $(children "$supervisor"); do break; done
                [ -n "$victim" ] && break
            done
        fi
        [ -n "$victim" ] && break
        kill -0 $main 2>/dev/null || break
        sleep 0.005 # polls with a deadline of 10 s
    done
    [ -n "$victim" ] && kill -KILL "$victim"
    wait $main
    local code=$?
    { [ -n "$victim" ] && [ $code -eq 0 ] && cmp -s "$dir/out" "$dir/expected-large" && grep -q 'EDIED' "$dir/err"; } ||
        { echo "victim '$victim', exit $code"; cat "$dir/err"; false; }
}
for method in $methods; do
    [ "$method" = thread ] && continue
    killed "$method"
    result "$method, a worker killed half-way" $?
    none_left
    result "$method, a worker killed: nothing left" $?
done

# ---- the program itself is interrupted, or killed ----
stopped() { # signal, exit code
    MPROC_TEST_MARK=$mark "$wordcount" "$dir/large" >"$dir/out" 2>"$dir/err" &
    local main=$!
    for _ in $(seq 2000); do
        grep -q '%' "$dir/err" 2>/dev/null && break
        sleep 0.005 # polls with a deadline of 10 s
    done
    kill "-$1" $main
    wait $main 2>/dev/null
    [ $? -eq "$2" ]
}
stopped INT 130 && grep -q interrupted "$dir/err"
result "SIGINT in the middle" $?
none_left
result "SIGINT: nothing left" $?
stopped KILL 137
result "SIGKILL in the middle" $?
none_left
result "SIGKILL: nothing left" $?

# ---- bad input ----
refused "a missing file" "$dir/missing: No such file" run "$dir/text" "$dir/missing"
refused "a directory" "$dir: Is a directory" run "$dir"
refused "a device" "/dev/null: Not a regular file" run /dev/null
refused "an unknown method" "--method vfork" run --method vfork
refused "no managerd" "no-such-managerd" env MPROC_TEST_MARK=$mark MANAGERD="$dir/no-such-managerd" "$wordcount" "$dir/text"
refused "a managerd that dies" "managerd" env MPROC_TEST_MARK=$mark MANAGERD=/bin/false "$wordcount" "$dir/text"
echo secret >"$dir/unreadable"
chmod 000 "$dir/unreadable"
if [ "$(id -u)" -eq 0 ]; then # without the capability to read everything; another user could not reach a build in /root
    chown 65534 "$dir/unreadable"
    without=(setpriv --bounding-set=-all --inh-caps=-all)
else
    without=(env)
fi
refused "an unreadable file" "$dir/unreadable: Permission denied" \
    "${without[@]}" env MPROC_TEST_MARK=$mark "$wordcount" "$dir/unreadable"

echo "wordcount: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
