/* SPDX-License-Identifier: BSD-2-Clause */
/* Tasks that begin when others have ended. L6.
 *
 * Between a task and each one that it comes after is an edge: it says how that one ended, once it has. A task is ready when
 * all its edges say so, which anybody can see by looking; nothing is counted, so nothing is lost or counted twice by who
 * dies. Whoever ends a task (its worker, who buries that, the owner who cancels) writes so into the edges that begin there
 * and looks at the tasks at their other ends. That may be repeated, half done or done by several at once:
 *
 *     killed before it             the burier of the worker does it again, as the desk still names the task
 *     killed after an edge says    the same; who finds the edge written looks at the task behind it all the same
 *     killed between WAITING to    every burial asks for a search for ready tasks
 *       READY and the ready cell
 *     the owner harvests first     it does it before the slot is another task's. Who comes late finds edges that name another
 *                                  task, or another use of the slot, and stops
 *
 * The owner alone makes edges and takes them back, when both ends are over: who follows the edges of a task that was not
 * harvested yet walks on firm ground. Nothing can wait in a circle, as a task can only name what was there before it.
 *
 * A task whose predecessor failed becomes ready, too: the worker that takes it finds out and fails it without a call. So what
 * comes after that learns of it in the same way, and no chain of failures needs to be followed by one process. */
#ifndef MPROC__POOL_AFTER_H
#define MPROC__POOL_AFTER_H

#include <mproc/pool.h>
#include "pool/layout.h"
#include "pool/task.h"

enum { MPROC__EDGES_A_SLOT = 4 }; /* addresses for so many, on average */

typedef enum mproc__edge_end {
    MPROC__EDGE_OPEN,
    MPROC__EDGE_DONE,
    MPROC__EDGE_FAILED /* it returned a failure, died, was cancelled or was too late */
} mproc__edge_end;

typedef struct mproc__edge_shared {
    /* Which use of which slot has to end, and how it did (mproc__edge_end). The owner before the edge is in a list; then OPEN
     * to one of the others by a swap, by whoever finds that task ended: all would write the same. */
    _Atomic uint64_t first;
    /* Which use of which slot comes after it. The owner; as the next two. Who reads it after the edge was taken back sees
     * another task or another use, at which looking is harmless. */
    _Atomic uint64_t then;
    _Atomic uint32_t next_first; /* + 1: the next that the same task comes after */
    _Atomic uint32_t next_then;  /* + 1: the next that comes after the same task */
} mproc__edge_shared;

/* ---- after.c: any process ---- */

/* The task of this slot ended, which `ended` says: tells those that come after it. `done`: without a failure. */
void mproc__after_tell(mproc__pool_view *view, uint32_t slot, mproc__task_word ended, bool done);
/* By who finds it ended: the same, if it is so. */
void mproc__after_tell_again(mproc__pool_view *view, uint32_t slot);
/* The task of this slot is READY from here on, if it waits for nothing any more. */
void mproc__after_look(mproc__pool_view *view, uint32_t slot);
/* Its first edge that failed, + 1; 0: none. By its worker, or by the owner when it has ended. */
uint32_t mproc__after_failed(const mproc__pool_view *view, uint32_t slot);
/* NULL: the number is none. */
mproc__edge_shared *mproc__edge_at(const mproc__pool_view *view, uint32_t number);

static inline uint64_t mproc__edge_name(uint32_t slot, unsigned serial)
{
    return (uint64_t)serial << 32 | slot;
}
static inline uint64_t mproc__edge_first(uint64_t name, mproc__edge_end end)
{
    return name | (uint64_t)end << 56;
}
static inline mproc__edge_end mproc__edge_end_of(uint64_t first)
{
    return (mproc__edge_end)(first >> 56);
}
static inline uint64_t mproc__edge_name_of(uint64_t first)
{
    return first & ~(UINT64_C(0xff) << 56);
}

/* ---- after_owner.c: the owner's side; with core->lock held ---- */

typedef struct mproc__pool_core mproc__pool_core;

/* What the owner alone knows of an edge. */
typedef struct mproc__edge_note {
    char *story; /* owned; of the end of what it comes after, when that failed and was harvested; or NULL */
    uint32_t next_free;
    bool first_over, then_over;
} mproc__edge_note;

typedef struct mproc__edges {
    mproc__edge_note *notes;
    uint32_t room;           /* of notes */
    uint32_t given;          /* edges beyond were never used */
    uint32_t free;           /* + 1: the first of those taken back */
    uint32_t used;           /* now */
    uint64_t bytes_reserved; /* of the table */
} mproc__edges;

/* Without the lock: these are futures of tasks of this pool. -EINVAL; -ECHILD; MPROC_EPLACE: of another pool, or of a map, or
 * nobody's. */
int mproc__after_check(const mproc__pool_core *core, const mproc_task_options *options);
/* There is room for the edges of such a task. -EAGAIN: not now; MPROC_ELIMIT: never; -ENOMEM. */
int mproc__after_reserve(mproc__pool_core *core, const mproc_task_options *options);
/* Makes them; the task is about to be published in that slot as this serial. False: it waits for nothing. */
bool mproc__after_link(mproc__pool_core *core, uint32_t slot, unsigned serial,
                       const mproc_task_options *options);
/* A final slot, before its outcome is taken: if it was not begun because of another, its story says which. */
void mproc__after_explain(mproc__pool_core *core, uint32_t slot);
/* The slot is to be another task's: those that come after it are told, its edges taken back. */
void mproc__after_clear(mproc__pool_core *core, uint32_t slot, mproc__task_word ended);
void mproc__after_end(mproc__edges *edges);

#endif
