/* SPDX-License-Identifier: BSD-2-Clause */
/* The process handle, from start to collected. L5.
 *
 * States by events; each cell is what the call answers, and where it goes if it goes anywhere. A start that fails has no handle;
 * closing is no state of the process, only of who may ask. tests/process/check_states.c walks the table.
 *
 *   event            runs                        ended                  collected         in a fork child
 *   its end          -> ended                    -                      -                 -
 *   join             sleeps; -ETIMEDOUT          0 -> collected         0, the same code  -ECHILD
 *   is_alive         true                        false                  false             false
 *   signal           0, sent (1)                 0, not sent            0, not sent       -ECHILD
 *   stop             flag, SIGTERM, SIGKILL (2)  0 -> collected         0                 -ECHILD
 *                    0 -> collected
 *   children         listed                      not -> collected       not listed        not listed
 *   another start    -                           -> collected (3)       -                 a new family
 *   close            goes on without a handle    -> collected, freed    freed             freed
 *   normal exit      joined -> collected (4)     -> collected           -                 -
 *   the nursery      fork, spawn: watched by     fork, spawn: -         -                 -
 *   is killed        the next one (guard.c)      forkserver, program:
 *                    forkserver, program:        the code is lost,
 *                    killed -> ended             unless told before
 *   (1) a thread: its stopping flag   (2) a thread: the flag; -EBUSY if it has not looked
 *   (3) in turn, some at each start   (4) daemonic: stopped; a daemonic thread: asked
 *
 * ended: its pidfd or its thread says so, and of one that the nursery has forked, the nursery. collected: exit code known, or
 * lost; slot, watcher and place in the family given back. Collecting happens once, by whoever comes first. */
#ifndef MPROC__PROCESS_PROCESS_H
#define MPROC__PROCESS_PROCESS_H

#include <pthread.h>
#include <sys/resource.h>

#include <mproc/process.h>
#include "data/handle.h"
#include "process/nursery.h"
#include "process/self.h"

typedef enum mproc__process_kind {
    MPROC__PROCESS_CHILD,  /* fork, spawn: this process reaps it */
    MPROC__PROCESS_SERVED, /* forkserver: the nursery reaps it */
    MPROC__PROCESS_THREAD,
    MPROC__PROCESS_SELF,
    MPROC__PROCESS_PARENT
} mproc__process_kind;

struct mproc_process {
    mproc__handle handle;
    mproc__process_kind kind;
    mproc_start method;
    char name[MPROC__NAME_BYTES];
    char path[MPROC__PATH_BYTES];
    uint64_t incarnation; /* of the process that may use it */
    pid_t pid;
    pid_t parent_pid; /* who started it; 0: nobody, or nobody knows */
    int pidfd;        /* -1: a thread, or self */
    int leash[2];     /* leash.h; -1: none */
    uint32_t grace_ms;
    bool daemon;
    unsigned slot;
    _Atomic uint32_t *stop_word;
    mproc__nursery *nursery;        /* its watcher or server; NULL: a thread */
    struct mproc__program *program; /* program.h; NULL: it runs a function. Set at start */

    pthread_mutex_t collect_lock; /* guards collecting */
    _Atomic bool collected;       /* set last; exit_code and exit_lost stand still then */
    int exit_code;
    bool exit_lost; /* somebody else has reaped it and the kernel does not tell */
    bool usage_told;
    struct rusage usage; /* what it had used in all; of a thread: written by it before thread_ended */

    pthread_t thread; /* threads only, from here */
    mproc_fn *fn;
    mproc_variant args;                 /* owned; read by the thread */
    _Atomic pid_t thread_tid;           /* 0: not begun */
    const struct mproc__limits *limits; /* of the starter, who waits until they are on; NULL: none */
    int limits_code;                    /* written by the thread before limits_on */
    mproc_error limits_story;
    _Atomic uint32_t limits_on;
    int thread_code; /* written by the thread before thread_ended */
    _Atomic uint32_t thread_ended;
    _Atomic int thread_fd; /* an eventfd, readable from then on; -1: nobody has asked for it */

    bool closed; /* by the program; under the family's lock, as the links */
    mproc_process *next, *previous;
};

mproc_process *mproc__process_new(mproc__process_kind kind); /* NULL: no memory, with a story */
bool mproc__process_runs(const mproc_process *process); /* it has not ended, as far as the kernel has told */
/* First in every call: the right kind of handle, and of this process. */
int mproc__process_check(const mproc_process *process);
/* In a fork child, of one of the parent's: its descriptors were closed there before anything else ran (own_fds.h), and the
 * numbers may be the program's by now. */
void mproc__process_forget(mproc_process *process);
/* Waits until it has ended: 0, -ETIMEDOUT. */
int mproc__process_wait(mproc_process *process, mproc_deadline deadline);
/* Of an ended one: takes its exit code and lets go of slot, watcher and list. Any thread, any number of
 * times. */
void mproc__process_collect(mproc_process *process);
/* Whether collecting would not wait. */
bool mproc__process_ended(const mproc_process *process);

/* ---- process_stop.c ---- */
/* What stopping begins with: the flag, and SIGTERM to one that is no thread. Of one on the family's list, under
 * its lock, which keeps the word from being another child's. */
void mproc__process_stop_ask(mproc_process *process);
/* And how it goes on: as mproc_process_stop. */
int mproc__process_stop_await(mproc_process *process, mproc_deadline deadline);

/* ---- start.c ---- */
enum { MPROC__GRACE_MS = 2000 };
/* Takes a slot, begins the child in it, and puts it on the family's list; or undoes it all. */
int mproc__process_enlist(mproc_process *process, int (*begin)(mproc_process *process, void *context),
                          void *context);

/* ---- thread.c ---- */
struct mproc__limits;
int mproc__thread_start(mproc_process *process, mproc_fn *fn, mproc_variant args,
                        const struct mproc__limits *limits);
/* A descriptor that is readable once the thread has ended: made now, the first time. It is the handle's. */
int mproc__thread_fd(mproc_process *process);
mproc_process *mproc__thread_self(void); /* of a thread that was started so; else NULL */

#endif
