/* SPDX-License-Identifier: BSD-2-Clause */
/* Measuring beside peers.
 *
 *     bench [--list] [CASE...]
 *
 * prints a line a case, eight tab-separated columns:
 *     case, our figure, name of the peer, its figure, ratio = ours / the peer's (4 digits), goal, floor, sense
 * where goal and floor are ratios and sense says whether ours should be at least (`min`, rates) or at most (`max`, times,
 * memory) that. A CASE is a name or the beginning of some. Exit status: 0, or 1 when a case could not be measured; a
 * missed floor is said on stderr, because a busy machine is enough for it. On stderr: the unit, the spread and the machine.
 *
 * The rules: ours and the peer alternate, an odd number of rounds, at least 5; the figure is the median. The two
 * processes of a case are pinned to the first two CPUs we may use (one CPU: both to it, and the line says so), the peer's
 * in the same way. The time a cache line takes between the two is measured in the same run.
 *
 * A bench_<noun>.c defines `const bench_case bench_queue_rate = {...}` and adds it to cases.h by name. */
#ifndef MPROC__BENCH_H
#define MPROC__BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum bench_sense { BENCH_MIN, BENCH_MAX } bench_sense;

typedef struct bench_case {
    const char *name;           /* begins with sync, queue, process, pool or manager */
    const char *unit;           /* "messages/s": for stderr */
    const char *peer;
    double (*ours)(void);       /* one round; negative: failed, with a message on stderr */
    double (*theirs)(void);
    double goal, floor;         /* ratios */
    bench_sense sense;
} bench_case;

/* ---- bench.c: help for cases ---- */
int64_t bench_now_ns(void);
/* Pins the calling process: 0 and 1 are the first two CPUs of the program's own mask. */
void bench_pin(unsigned side);
/* Runs `child` in a forked process pinned to side 1 while `parent` runs here on side 0; both get context. Returns what
 * parent returned, or -1 when the child did not exit with 0. */
double bench_pair(double (*parent)(void *context), int (*child)(void *context), void *context);
/* Runs a peer's program (a shell command below the build directory) and reads one number from its output. */
double bench_program(const char *command);

/* ---- peers.c ---- */
enum { BENCH_MESSAGE_BYTES = 64, BENCH_MESSAGES = 2000000, BENCH_ROUND_TRIPS = 20000 };

/* Boost.Interprocess's message_queue: BENCH_MESSAGES of BENCH_MESSAGE_BYTES, one producer and one consumer, messages/s. */
double bench_peer_boost_rate(void);
/* A pair of pipes: one byte there and back, both sides asleep in read between, nanoseconds. */
double bench_peer_pipe_round_trip(void);

#endif
