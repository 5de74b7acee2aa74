/* SPDX-License-Identifier: BSD-2-Clause */
/* A future's private side. L6.
 *
 * What all futures share is here: an outcome, waiting for it, callbacks, a descriptor. Whose outcome it is and how it
 * comes about is the kind's: a task, a map, one that its user ends.
 *
 *     settled   the outcome is known; written once, under the lock, by whoever sees it first
 *     held      callbacks stand between the outcome and those who wait: for all but the service thread, on which they
 *               run, the future ends when the last of them has returned */
#ifndef MPROC__POOL_FUTURE_H
#define MPROC__POOL_FUTURE_H

#include "platform/story.h"
#include "pool/pool.h"

/* Of a map's future: where the caller's arrays are. */
typedef struct mproc__map_job {
    unsigned index;          /* in shared->maps */
    uint64_t offset, length; /* of its range in the region; length 0: none */
    mproc__lease lease;      /* what its arguments and arrays name */
    uint64_t final;          /* of mproc__map_complete */
    void *out;
    int *status;
    mproc_variant args; /* threads: the copy that workers borrow */
} mproc__map_job;

typedef struct mproc__future_kind {
    const char *noun; /* "task" */
    /* Without the lock: not settled, and nothing to be done for it yet. */
    bool (*goes_on)(const mproc_future *future);
    /* The rest with the lock held. Settles it if it is over. */
    void (*look)(mproc_future *future);
    mproc_future_state (*state)(const mproc_future *future); /* of one that is not settled */
    void (*progress)(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total);
    /* 0: it will not be done, and whom to tell is told; -EBUSY: runs; -EALREADY: it is over. */
    int (*cancel)(mproc_future *future, bool even_if_running);
    /* Without the lock: the last handle goes before it is settled; callbacks may have to be called all the same. */
    void (*abandon)(mproc_future *future, bool callbacks);
} mproc__future_kind;

/* Asked to be called at its end. */
typedef struct mproc__callback mproc__callback;
struct mproc__callback {
    mproc__callback *next;
    mproc_future_fn *fn;
    void *context;
};

/* Of one that is nobody's but this process's. */
typedef struct mproc__future_own {
    mproc__future_home home;
    pthread_mutex_t lock;
    mproc__eventcount_shared done;
} mproc__future_own;

/* In the order in which they are met: of a task that was submitted, ended and closed without more ado, the beginning. */
struct mproc_future {
    mproc__handle handle;
    const mproc__future_kind *kind;
    const mproc__future_home *home;
    uint64_t incarnation;
    mproc__pool_core *core; /* NULL: not a pool's */

    _Atomic bool
        settled; /* what is known of the end is final, but for the story of a death whose reason comes later */
    _Atomic bool held;        /* written under the lock */
    bool why_open;            /* under the lock: died, and the kernel has not said why */
    bool cared;               /* under the lock: the service thread has been, or will be, told of it; stays */
    mproc_future_state state; /* under the lock until settled, as those below that say "end" */
    int code;                 /* end */
    int fd;                   /* under the lock: readable from the end on; -1: nobody has asked */
    mproc_variant result;     /* end */
    uint32_t slot;            /* of a task that is not settled */
    unsigned serial;
    uint64_t number; /* counted by the pool, tasks and maps alike */

    unsigned worker, life;                  /* end: who died */
    unsigned attempt;                       /* end */
    uint64_t progress_done, progress_total; /* end */
    int64_t begin_by_ns;                    /* of a task; 0: any time */
    mproc__batch *batch;            /* NULL, or where what comes of a batch goes; outlives the future */
    char *label;                    /* owned; NULL */
    struct mproc__reports *reports; /* end; owned; of attempts that died; NULL: none */

    mproc__map_job *map;    /* owned; NULL: no map */
    mproc__future_own *own; /* owned; NULL: the home is the pool's */

    /* under the lock */
    mproc__callback *callbacks, **callbacks_end; /* in order of adding; the end of one at least */
    bool served;                                 /* the service thread will see to its end */

    /* under the service's lock */
    bool watched; /* the service has it; it frees what has become an orphan */
    bool orphan;  /* the last handle is gone */
    bool
        closing; /* it is, its callbacks run, and who closed it has not come to say so: the service holds it until then */
    mproc_future *served_next;
};

/* Of a pool, whose core stays as long. */
int mproc__future_new(mproc__pool_core *core, const char *label, mproc_future **ret_future);
/* All that kinds have in common; `home` outlives the future. */
int mproc__future_make(const mproc__future_kind *kind, const mproc__future_home *home,
                       mproc_future **ret_future);
/* Settled now? Looks at what it is about, and takes what came of it. */
bool mproc__future_look(mproc_future *future);
/* Ended now, as the calling thread sees it. */
bool mproc__future_ended(mproc_future *future);
/* The end, as the calling thread sees it; of the other, the outcome, whatever callbacks do. */
int mproc__future_await(mproc_future *future, mproc_deadline deadline);
bool mproc__future_await_outcome(mproc_future *future, mproc_deadline deadline);
/* 0; -EINVAL: no future; -ECHILD. */
int mproc__future_check(const mproc_future *future);
void mproc__future_post(const mproc_future *future);

/* With the lock held. The story of a failure is this thread's, and is put on the handle. */
void mproc__future_settle(mproc_future *future, mproc_future_state state, int code);

/* ---- future_pool.c: tasks and maps ---- */
extern const mproc__future_kind mproc__future_task;
extern const mproc__future_kind mproc__future_map;
/* From a final task word and its slot. */
void mproc__future_settle_task(mproc_future *future, mproc__task_shared *task, mproc__task_word word);
/* Nothing will come any more: the pool ended or broke. */
void mproc__future_settle_lost(mproc_future *future);
/* Died, and the reason has come meanwhile (or was known): the story is complete. Takes the lock. */
bool mproc__future_why(mproc_future *future);

/* ---- future_callback.c ---- */
/* Calls all, in order, on the service thread, and lets go of those who wait. False: this is a fork child now. */
bool mproc__callbacks_run(mproc_future *future);
void mproc__callbacks_free(mproc_future *future);

/* ---- map_end.c; with core->lock held ---- */
/* Settles the future if its map is over and nobody is in it any more. */
void mproc__map_look(mproc_future *future);
/* -EBUSY: runs. */
int mproc__map_cancel(mproc_future *future, bool even_if_running);
bool mproc__map_started(const mproc_future *future);
void mproc__map_progress(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total);
/* The last handle of a map goes: it is cancelled, and waited for where its arrays are the caller's. Lock not held. */
void mproc__map_abandon(mproc_future *future);

#endif
