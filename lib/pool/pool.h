/* SPDX-License-Identifier: BSD-2-Clause */
/* A pool as the process that made it sees it: the private side of layout.h. L6.
 *
 * The core outlives the user's handle: futures and results hold it. One mutex guards all that is private; it is never held
 * while waiting, and workers never take it. */
#ifndef MPROC__POOL_POOL_H
#define MPROC__POOL_POOL_H

#include <pthread.h>
#include <sys/types.h>

#include <mproc/pool.h>
#include "data/handle.h"
#include "pool/after.h"
#include "pool/batch.h"
#include "pool/future_store.h"
#include "pool/layout.h"
#include "pool/lend.h"
#include "pool/region.h"
#include "pool/supervisor.h"
#include "pool/task.h"
#include "process/limits.h"

typedef struct mproc__pool_thread {
    pthread_t id;
    mproc__pool_core *core;
    unsigned index;
    unsigned life;        /* of its desk */
    bool blocked;         /* under `lock`: sleeps for the pool's work, without a deadline, */
    uint32_t blocked_at;  /* since `done` was this */
    _Atomic bool started; /* and neither joined nor detached; looked at by others while it is stored */
    _Atomic bool ended;   /* it will run nothing more; or swapped back, see worker_threads.c */
} mproc__pool_thread;

/* What the service thread (service.h) keeps of a pool whose futures it watches. Its own, but for `lingers`. */
typedef struct mproc__service_host {
    mproc_future *first, **end; /* watched, in order of coming; NULL: the pool is not in the list */
    mproc__pool_core *next;
    mproc__segment_sleep sleep;
    int64_t look_ns; /* a future is to be looked at then */
    unsigned count;  /* under the service's lock: futures it has */
    bool lingers;    /* under the service's lock: a need of the pool itself, until it ends */
} mproc__service_host;

/* Where those wait who wait for a future. */
typedef struct mproc__future_home {
    pthread_mutex_t *lock;
    mproc__segment *segment; /* NULL: of this process only */
    mproc__eventcount_shared *done;
} mproc__future_home;

struct mproc__pool_core {
    mproc__pool_view view;
    _Atomic uint32_t references;
    uint64_t incarnation;
    char *name; /* owned; NULL */
    char thread_name[16];
    mproc__limits limits; /* of each worker */
    mproc__crew crew;     /* initializer_args are a copy */
    bool finish_at_exit;
    uint64_t exit_id;           /* of mproc_at_exit, which has a reference of its own; 0: none */
    bool fork_checked;          /* forked by default: only without other threads, its successors too */
    pthread_mutex_t renew_lock; /* taken before `lock`; the next five */
    pid_t supervisor;
    int pidfd;         /* of it; -1: none, or reaped */
    unsigned renewals; /* since */
    int64_t renewals_since_ns;
    char renewal_text[160];
    mproc__pool_thread *threads; /* instead: one a desk; `lock` where they are started */
    size_t tasks_limit, bytes_limit;
    _Atomic bool ended; /* written under `lock`: nothing will run any more */
    mproc__service_host service;
    mproc__future_store store;
    mproc__future_home home; /* of its futures */

    pthread_mutex_t lock; /* all that follows */
    bool finishing;       /* `finisher` stops it, or has */
    pthread_t finisher;
    mproc__pool_core *next_finished;
    bool stopping;          /* a thread is in stop */
    bool refusing;          /* no new work */
    mproc_future **futures; /* by slot; NULL: free, or its future was closed */
    bool *busy;             /* by slot */
    uint32_t *free_slots;   /* a stack */
    uint32_t free_count, given_count, cursor;
    uint32_t fresh_until; /* given_count: no slots are looked at to be used again before */
    uint64_t next_number;
    uint64_t queued_bytes; /* of arguments in blocks */
    const char *full_of;   /* what there was no room for, after a -EAGAIN of mproc__slots_put */
    uint64_t accepted, failed, cancelled; /* the last two: of those whose end has been seen */
    uint32_t burials_seen;
    uint32_t function_count;
    mproc_fn *functions[MPROC__POOL_FUNCTIONS];
    mproc__region region;
    mproc_future *maps[MPROC__POOL_MAPS];
    uint32_t head_reserved[MPROC__POOL_MAPS]; /* bytes */
    mproc__lender lender;
    mproc__lease *leases; /* by slot: of its arguments; NULL: no task has had handles there */
    mproc__edges edges;
};

struct mproc_pool {
    mproc__handle handle;
    mproc__pool_core *core;
};

void mproc__core_keep(mproc__pool_core *core);
void mproc__core_release(mproc__pool_core *core);
/* 0; -ECHILD: this is a fork child of the process that made the pool. */
int mproc__core_check(const mproc__pool_core *core);
/* The failure that broke the pool, as this thread's story. */
int mproc__core_breakage(const mproc__pool_core *core);
/* Ends the pool by the deadline. 0; -EBUSY: threads that do not look at mproc_call_stopping go on. */
int mproc__core_stop(mproc__pool_core *core, bool drain, mproc_deadline deadline, size_t *ret_dropped);

unsigned mproc__pool_workers_default(void);

/* ---- worker_threads.c; with core->lock held, or before others have the pool ---- */
/* As many as are wanted; those there already stay. */
int mproc__threads_start(mproc__pool_core *core);
/* The state is QUIT: waits for them. Lock not held. 0; -EBUSY: some go on. */
int mproc__threads_end(mproc__pool_core *core, mproc_deadline deadline);

/* Whether the calling thread is a worker of this pool, and its desk. */
mproc__worker_shared *mproc__core_own_desk(mproc__pool_core *core);
/* The calling thread is about to sleep for the pool's work, without a deadline. -EDEADLK: it is a worker, and all others sleep
 * so, too: no work will ever be done. 0: not; mproc__threads_unblock afterwards. */
int mproc__threads_block(mproc__pool_core *core, uint32_t ticket);
void mproc__threads_unblock(mproc__pool_core *core);

/* ---- finish.c ---- */
/* What happens to the pool at the program's end, unless it was closed. */
int mproc__core_exit_arm(mproc__pool_core *core);
/* Lets go of those that have finished meanwhile. */
void mproc__finished_collect(void);
/* It ends otherwise. False: it is at that. */
bool mproc__core_exit_disarm(mproc__pool_core *core);

/* ---- renew.c ---- */
/* Replaces a supervisor that has died; a few loads when it lives. In every call, before it relies on work being done. */
void mproc__core_guard(mproc__pool_core *core);
/* The same; until when a sleep may last at most: one that has not joined yet is to be looked at. */
mproc_deadline mproc__core_watch(mproc__pool_core *core, mproc_deadline deadline);
/* The same, and mproc__segment_wait on `done`, for whoever waits for work to end. -EDEADLK: as mproc__threads_block. */
int mproc__core_wait(mproc__pool_core *core, uint32_t ticket, mproc_deadline deadline);
/* The state is QUIT or KILL: waits until it has ended, and kills it if need be. */
void mproc__core_supervisor_end(mproc__pool_core *core, mproc_deadline deadline);

/* The pool is gone: what is left of its supervisor, if that has not been reaped, is reaped by a later call. Takes the descriptor;
 * -1: nothing is left. */
void mproc__supervisor_leave(int pidfd);
/* Reaps those that have ended meanwhile. */
void mproc__supervisors_collect(void);

/* A task as its submitter describes it. */
typedef struct mproc__order {
    mproc_fn *fn;
    const char *name; /* instead of fn: registered */
    mproc_variant args;
    const mproc_task_options *options; /* NULL: the defaults */
    const mproc__batch_plan *plan;     /* instead of args: a batch, */
    mproc__batch *batch;               /* and what is to come of it */
} mproc__order;

/* What becomes of the options in the task's slot, where the fields are explained. */
typedef struct mproc__task_terms {
    uint64_t number;
    int64_t begin_by_ns;
    uint32_t priority, function, time_limit_ms, grace_ms, max_attempts, even_if_failed;
} mproc__task_terms;

/* ---- slots.c; with core->lock held ---- */
int mproc__core_function(mproc__pool_core *core, mproc_fn *fn, uint32_t *ret_number);
/* A registered function; one that only the workers know is theirs to find. */
int mproc__core_function_name(mproc__pool_core *core, const char *name, uint32_t *ret_number);
/* Publishes a task in a slot. -EAGAIN: no room now. */
int mproc__slots_put(mproc__pool_core *core, const mproc__order *order, const mproc__task_terms *terms,
                     mproc_future *future);
/* The outcome of a final slot goes to its future; the slot is free again. */
void mproc__slot_harvest(mproc__pool_core *core, uint32_t slot);
/* All that are final. */
void mproc__slots_harvest(mproc__pool_core *core);
/* And all maps that have ended: what they had lent comes back. Futures that nobody looks at keep it. */
void mproc__core_harvest(mproc__pool_core *core);
/* Where a worker with a large result waits for a block: takes what has ended out of the arena. Without the lock; by whoever
 * is about to sleep until something is done, after it has prepared for that. */
void mproc__slots_make_room(mproc__pool_core *core);
/* Cancels what is ready (and what runs); returns how many will not end as done. */
size_t mproc__slots_cancel(mproc__pool_core *core, bool even_if_running);
uint32_t mproc__slots_busy(const mproc__pool_core *core);

/* ---- submit.c ---- */
int mproc__core_submit(mproc__pool_core *core, const mproc__order *order, mproc_future **ret_future);

#endif
