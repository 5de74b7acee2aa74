/* SPDX-License-Identifier: BSD-2-Clause */
/* What is kept of a task that may be tried again, beside its slot: its deaths, and its last checkpoint. L6.
 *
 * A table apart, with memory for as many slots as have been used for such tasks, so that others do not pay for it. */
#ifndef MPROC__POOL_EXTRA_H
#define MPROC__POOL_EXTRA_H

#include <mproc/variant.h>
#include "pool/layout.h"
#include "pool/task.h"

/* One death. */
typedef struct mproc__death_shared {
    /* Which attempt, of which use of the slot, ended with which worker's life. Buriers, by a swap from what stood there while
     * the slot's word still named that worker: a burier that comes late changes nothing. */
    _Atomic uint64_t who;
    /* The supervisor, when the kernel told it: exit code, pid, and again which worker and life. 0, or another's: not known. */
    _Atomic uint64_t how;
} mproc__death_shared;

typedef struct mproc__extra_shared {
    mproc__death_shared deaths[MPROC__POOL_DEATHS]; /* of attempt n at (n - 1) % MPROC__POOL_DEATHS */
    /* Two blocks in turn, + 1; 0: none. The running worker writes the one that `checkpoint` does not name, then `checkpoint`:
     * a death leaves the last whole one. The submitter frees both when the task's outcome is taken. */
    _Atomic uint32_t blocks[2];
    _Atomic uint64_t checkpoint; /* (bytes + 1) << 1 | which block; 0: none */
} mproc__extra_shared;

/* One death, as read. */
typedef struct mproc__death {
    unsigned attempt, worker, life;
    bool known; /* the next two */
    int exit_code;
    pid_t pid;
} mproc__death;

/* Submitter: there is memory for the extra of this slot, and it is empty. */
int mproc__extra_prepare(mproc__pool_view *view, uint32_t slot);
/* NULL: the task is not tried again. */
mproc__extra_shared *mproc__extra_of(const mproc__pool_view *view, uint32_t slot);
/* Submitter: its blocks are free again. */
void mproc__extra_clear(mproc__pool_view *view, uint32_t slot);
/* A block that an extra names, which a dead worker made. */
bool mproc__extra_names(const mproc__pool_view *view, uint32_t slot, uint32_t block);

/* Burier: before the task's word says so. */
void mproc__extra_note_death(mproc__pool_view *view, uint32_t slot, unsigned worker, unsigned life);
/* Supervisor: how the worker ended that was at this slot. */
void mproc__extra_note_end(mproc__pool_view *view, uint32_t slot, unsigned worker, unsigned life, pid_t pid,
                           int exit_code);
/* The deaths of this use of the slot, oldest first, the last MPROC__POOL_DEATHS of them; how many. */
unsigned mproc__extra_deaths(const mproc__pool_view *view, uint32_t slot, mproc__task_word word,
                             mproc__death ret_deaths[MPROC__POOL_DEATHS]);

/* Running worker. `mine`: blocks that this very worker made, which it may free; others are left to the submitter. 0; -ENOMEM:
 * no room for it now; else what encoding answers. What was kept before stands until this is whole. */
int mproc__checkpoint_keep(mproc__pool_view *view, uint32_t slot, mproc_variant state, uint32_t mine[2]);
/* Owned; null: none. */
int mproc__checkpoint_load(mproc__pool_view *view, uint32_t slot, mproc_variant *ret_state);

#endif
