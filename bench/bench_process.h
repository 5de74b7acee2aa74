/* SPDX-License-Identifier: BSD-2-Clause */
/* What is measured of starting processes, and in whom.
 *
 * A start is measured in a process of its own, the subject: this program exec'd anew, which touches the memory it shall
 * have, 4 KiB page by 4 KiB page, lets two seconds pass, and then measures what it is asked, again and again, until its
 * input ends. One subject a size lives from its first use on, so that the sizes can take turns within a round.
 *
 * Nothing here is pinned: a child inherits its parent's CPUs, and both on one is not what is asked. */
#ifndef MPROC__BENCH_PROCESS_H
#define MPROC__BENCH_PROCESS_H

/* FIRST: from before the call to the target's first instruction, which reads the clock. JOIN: from before the start until
 * the end is collected. SPARE: with a blank child waiting for each (mproc_set_spares): bursts of starts one after the other,
 * and between them, outside the timed part, the nursery makes new ones. PAUSED: with the library's two spares and a pause
 * before each start, in which the machine falls asleep; the same pause before each of a peer's. */
typedef enum bench_start {
    BENCH_FIRST_SPARE,
    BENCH_FIRST_SPARE_PAUSED,
    BENCH_FIRST_POSIX_SPAWN, /* of a program that reads the clock in its main */
    BENCH_FIRST_POSIX_SPAWN_PAUSED,
    BENCH_FIRST_BARE_FORK,
    BENCH_JOIN_SPARE,
    BENCH_JOIN_SPARE_PAUSED,
    BENCH_JOIN_FORKSERVER, /* no spares */
    BENCH_JOIN_FORK,
    BENCH_JOIN_SPAWN,
    BENCH_JOIN_THREAD,
    BENCH_JOIN_PROGRAM,
    BENCH_JOIN_POSIX_SPAWN, /* of /bin/true, and waitpid */
    BENCH_JOIN_POSIX_SPAWN_PAUSED,
    BENCH_JOIN_BARE_FORK, /* and _exit, and waitpid */
    BENCH_JOIN_PTHREAD,
    BENCH_STARTS
} bench_start;

enum { BENCH_SUBJECT_0, BENCH_SUBJECT_1_GIB, BENCH_SUBJECT_4_GIB, BENCH_SUBJECTS };

/* Microseconds, the median of `count` starts; negative: failed, with a message. */
double bench_subject_measure(unsigned subject, bench_start start, unsigned count);

/* The subject's main: `gib` as above. Returns at its input's end. */
int bench_subject_main(unsigned gib);

#endif
