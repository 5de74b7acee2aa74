/* SPDX-License-Identifier: BSD-2-Clause */
/* KILLSWEEP of starts: one of a starting family is killed at every point of a start, of a join and of the program's end.
 *
 *     startsweep [--scene NAME] [--followed N] [--killed N] [--mark N] [--every K] [--calls] [--at-once] [--short]
 *                [--live-ms N] [--random N [--seed N]]
 *
 * prints `scene <tab> followed <tab> killed <tab> states <tab> kills <tab> failures <tab> longest ms`, a line for each pair of
 * processes, last the line `all`; exits 1 when there are failures.
 *
 * A round. The controller makes a family: a parent and, by what the scene lets it do, its nursery and its children. One
 * process of it is followed through the scene's window, each time in turn, from mark to mark: the end of each system call
 * that others can see (quiet.c), and each change of a shared mapping or of the robust list (killsweep.h says why these are
 * all). All of the family run on one CPU, and at each mark all others go on until they sleep: what is found does not depend
 * on the machine. Followed is numbered by birth: 0 the parent, 1 the nursery, then the children, spares among them
 * (a thread that starts is one of them, and where it makes the nursery it is 1). Then, for
 * each mark, everything anew, to the mark, and SIGKILL for the followed one, the parent, the nursery or the child.
 *
 *     the parent is killed   all processes have ended within LIVE, found by a subreaper to whom nobody is left (that no name
 *                            is, check_startsweep finds); the function has run once at most, and has not begun
 *                            after the parent's death unless the child had said ready before (but for programs)
 *     nobody is killed       (scenes whose starting thread ends at once) the child lives, answers, and ends as it should
 *     another is killed      the start returns by a deadline, 0 or with an error; the next one works; the parent's exit
 *                            leaves nothing either
 *
 * --every: each K-th mark. --calls: none at changes of memory. --short: both, for `make check`; the first line says which.
 * --random N: in place of all that, N kills of a parent whose eight threads start, at random moments.
 * --at-once: as the machine has it; the others are not waited for at the marks. */
#ifndef MPROC__TESTS_KILL_START_ROUND_H
#define MPROC__TESTS_KILL_START_ROUND_H

#include <stdbool.h>

#include "kill/start_tree.h"

typedef enum start_window { WINDOW_START, WINDOW_THREAD, WINDOW_JOIN, WINDOW_EXIT } start_window;

enum { START_PROGRAM = 100 };

/* Whom to kill, beside the number of one: the youngest of the children; nobody, but the followed one was kept there until
 * all others slept. */
enum { KILL_YOUNGEST = 100, KILL_NOBODY = 101 };

typedef struct start_scene {
    const char *name;
    int method; /* an mproc_start, or START_PROGRAM */
    bool warm;  /* an earlier start has made the nursery */
    int spares; /* of the nursery; negative: as the library has it */
    start_window window;
} start_scene;

/* Which kill: after so many ends of calls, and so many changes after that. */
typedef struct start_mark {
    unsigned calls, changes;
} start_mark;

typedef struct start_round {
    const start_scene *scene;
    int followed;
    int killed; /* TREE_NOBODY: the marks are counted */
    start_mark mark;
    bool at_once;
    bool calls_only; /* no marks at changes of memory */
    int live_ms;
    /* What came of it. */
    bool reached; /* the mark, which timers and the like may move */
    bool done; /* the one to be killed lived at the mark, and was killed there */
    int gone_ms;
    char failure[200];
} start_round;

enum { START_MARKS = 4000 };

/* ---- start_scene.c; pool_scene.c for pools ---- */
/* What the parent and the controller share; not looked at. */
typedef struct start_flags {
    _Atomic int unseen;
    _Atomic int started; /* 1: the start has returned 0; else what it returned */
    _Atomic int killed;  /* + 1: the number of who was killed */
} start_flags;
extern start_flags *start_flags_shared;
extern const start_scene *const start_scenes; /* to one without a name */
extern const char *const start_program;
extern const char *const start_names[];       /* of the first of a family */

/* The parent: prepares, stops itself, does what the window is about, stops itself, and shows that all goes on. Its exit
 * status: 0, or what was wrong. `life_fd`: the function writes there when it begins. */
_Noreturn void start_parent(const start_scene *scene, int life_fd);

/* ---- start_round.c ---- */
int start_round_prepare(void);
/* How many marks there are for the followed one in its window; negative: `failure`. */
int start_round_count(start_round *round, start_mark *marks);
void start_round_run(start_round *round);
/* On all CPUs again. */
void start_round_unpin(void);

/* ---- start_random.c ---- */
/* Prints its line; the number of failures. */
unsigned start_random(unsigned kills, unsigned seed, int live_ms);

#endif
