#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# TIME-1: the wall clock decides nothing. CLOCK_REALTIME stands only where a date is printed or a server life is numbered,
# and a comment or name close above says so; calls whose time is the wall clock's by definition stand nowhere.
. "${top_srcdir:-.}/tests/rules/rule.sh"
cd "$top_srcdir" || exit 1

sources=$(ls lib/*.c lib/*/*.[ch] managerd/*.[ch] tools/*.[ch] include/*.h include/mproc/*.h 2>/dev/null | grep -v '\.pb-c\.')
count=$(echo "$sources" | wc -l)
awk 'FNR == 1 { said = -10 } /life|date/ { said = FNR } /CLOCK_REALTIME|CLOCK_TAI/ && FNR - said > 6 {
    print FILENAME ":" FNR ": the wall clock decides nothing" }' $sources | rule_breach
# strptime and the like convert, they do not ask. setitimer's ITIMER_REAL runs on the monotonic clock in Linux, whatever its name.
grep -nwE 'time|gettimeofday|ftime|timespec_get|sem_timedwait|pthread_mutex_timedlock|pthread_rwlock_timed(rd|wr)lock|mq_timed(send|receive)|pthread_timedjoin_np|FUTEX_LOCK_PI|timer_create|cnd_timedwait|mtx_timedlock' \
    $sources | grep -vE '^[^:]*:[0-9]*: *(\*|/\*|//)' |
    grep -E '\b(gettimeofday|ftime|timespec_get|sem_timedwait|pthread_mutex_timedlock|pthread_rwlock_timed(rd|wr)lock|mq_timed(send|receive)|pthread_timedjoin_np|timer_create|cnd_timedwait|mtx_timedlock|time) ?\(|FUTEX_LOCK_PI' |
    sed 's/$/ -- its time is the wall clock/' | rule_breach
# A condition variable waits by the clock it was made with; mproc__line_condition makes them so.
for file in $(grep -lw pthread_cond_timedwait $sources); do
    grep -qE 'pthread_condattr_setclock\(.*CLOCK_MONOTONIC\)|mproc__line_condition\(' "$file" ||
        rule_breach "$file: pthread_cond_timedwait without pthread_condattr_setclock(CLOCK_MONOTONIC)"
done
# FUTEX_WAIT_BITSET asks the monotonic clock unless told otherwise.
grep -n 'FUTEX_CLOCK_REALTIME' $sources | sed 's/$/ -- futexes wait by the monotonic clock/' | rule_breach
rule_end "$count"
