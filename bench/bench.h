/* SPDX-License-Identifier: BSD-2-Clause */
/* Measuring beside peers.
 *
 *     bench [--list] [--rounds N] [--plot FILE] [CASE...]
 *
 * prints a line a row, eight tab-separated columns:
 *     case, our figure, name of the peer, its figure, ratio = ours / the peer's (4 digits), goal, floor, sense
 * where goal and floor are ratios (`-`: nobody has set one) and sense says whether ours should be at least
 * (`min`, rates) or at most (`max`, times, memory) that. A CASE is a name or the beginning of some. A peer
 * that is not there has `not installed` for its figure, one that cannot do this here `not possible`, both
 * `-` for the ratio. Exit status: 0, or 1 when a case could not be measured; a missed floor is said on
 * stderr, because a busy machine is enough for it. On stderr, too: the unit, the spread, the verdict and the
 * machine.
 *
 * The rules: ours and the peers alternate, an odd number of rounds, at least 5 (fewer only by --rounds); the
 * figure is the median. The two processes of a case are pinned to the first two CPUs we may use (one CPU:
 * both to it, and the line says so), the peer's in the same way, unless its name says unpinned; the cases of
 * `process` are not pinned. The time a cache line takes between the two is measured beside each group.
 * Groups that name a panel are drawn: an SVG file, by default bench.svg where we are.
 *
 * A bench_<noun>.c defines `const bench_case bench_queue_rate = {...}`, ours beside one peer, or a `bench_group`, ours
 * beside several in the same rounds, and adds it to cases.h by name. */
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
    double goal, floor;         /* ratios; 0: none is set */
    bench_sense sense;
} bench_case;

/* One row of a group. */
typedef struct bench_row {
    const char *name;           /* NULL: the last one's end */
    const char *peer;
    double goal, floor;         /* 0: none is set */
    double (*theirs)(void);     /* may answer BENCH_ABSENT, too; NULL: */
    const char *program;        /* how to call a peer's program: "boost 64 2000000 pinned", see peer.h */
} bench_row;

typedef struct bench_group {
    const char *panel;          /* of the plot; groups of one panel share it. NULL: not drawn */
    const char *label;          /* ours, in the plot */
    const char *unit;
    bench_sense sense;
    double (*ours)(void);
    const bench_row *rows;
} bench_group;

/* Figures of a peer. */
#define BENCH_ABSENT (-2.0)     /* it is not installed */
#define BENCH_CANNOT (-3.0)     /* it is, and cannot do this here */

/* ---- measure.c: help for cases ---- */
int64_t bench_now_ns(void);
/* Remembers the CPUs we may use: the program's first act. */
void bench_begin(void);
unsigned bench_cpus(void);
/* Pins the calling process: 0 and 1 are the first two CPUs of the program's own mask. */
void bench_pin(unsigned side);
/* Runs `child` in a forked process pinned to side 1 while `parent` runs here on side 0; both get context. Returns what
 * parent returned, or -1 when the child did not exit with 0. */
double bench_pair(double (*parent)(void *context), int (*child)(void *context), void *context);
/* The same, each where the scheduler puts it. */
double bench_pair_unpinned(double (*parent)(void *context), int (*child)(void *context), void *context);
/* Runs a program (a shell command below the build directory) and reads one number from its output. */
double bench_program(const char *command);
/* A round of ours in a process of its own that may use only one CPU: what `CASE` measures there. */
double bench_ours_on_one_cpu(const char *name);
/* A cache line there and back between two pinned processes, spinning: nanoseconds; on one CPU negative. */
double bench_line_ns(void);

/* ---- peers.c ---- */
enum { BENCH_MESSAGE_BYTES = 64, BENCH_MESSAGES = 2000000, BENCH_ROUND_TRIPS = 20000 };

/* Runs a peer's program; BENCH_ABSENT when it was not built; BENCH_CANNOT when it says so. */
double bench_peer(const char *program);
/* The same, all of it on one CPU. */
double bench_peer_on_one_cpu(const char *program);
/* A pair of pipes: one byte there and back, both sides asleep in read between, nanoseconds. */
double bench_peer_pipe_round_trip(void);

/* ---- plot.c ---- */
typedef struct bench_bar {
    const char *panel, *unit, *label;
    bool ours;
    double figure, least, most;
} bench_bar;
/* Bars of one panel lie side by side in the array or not; each panel has a logarithmic axis of its own. */
int bench_plot(const char *path, const bench_bar *bars, size_t count);

#endif
