/* SPDX-License-Identifier: BSD-2-Clause */
/* Edges as any process sees them. All of it may be done again, and by several at once. */
#include "platform/base.h"

#include "pool/after.h"

/* A damaged segment may have a circle of edges: nobody follows more than there can be. */
mproc__edge_shared *mproc__edge_at(const mproc__pool_view *view, uint32_t number)
{
    const mproc__pool_plan_shared *plan = &view->shared->plan;
    if (number == 0 || number > plan->edge_count)
        return NULL;
    return (mproc__edge_shared *)mproc__view_at(view, plan->edges) + (number - 1);
}

/* ---- a task that waits ---- */

/* How far the edges of this use of the slot were found ended: hints, so that a task after n others costs n looks in all. A
 * hint of another use is not believed. */
static uint32_t edge_resume(mproc__task_shared *task, unsigned serial)
{
    uint64_t hint = atomic_load(&task->edges_ended);
    if (hint >> 32 == serial && (uint32_t)hint)
        return (uint32_t)hint;
    return atomic_load(&task->edges_first);
}

/* False: one is open; or this is another use of the slot by now. */
static bool edges_ended(const mproc__pool_view *view, uint32_t slot, unsigned serial)
{
    mproc__task_shared *task = &view->slots[slot];
    uint64_t name = mproc__edge_name(slot, serial);
    uint32_t number = edge_resume(task, serial), begin = number;
    for (uint32_t steps = 0; number && steps < view->shared->plan.edge_count; steps++) {
        const mproc__edge_shared *edge = mproc__edge_at(view, number);
        if (!edge || atomic_load(&edge->then) != name)
            return false;
        if (mproc__edge_end_of(atomic_load(&edge->first)) == MPROC__EDGE_OPEN)
            break;
        number = atomic_load(&edge->next_first);
    }
    if (number && number != begin)
        atomic_store(&task->edges_ended, (uint64_t)serial << 32 | number);
    return number == 0;
}

void mproc__after_look(mproc__pool_view *view, uint32_t slot)
{
    if (slot >= view->shared->plan.slot_count)
        return;
    _Atomic uint64_t *word = &view->slots[slot].word;
    mproc__task_word waiting = mproc__task_unpack(atomic_load(word));
    if (waiting.state != MPROC__TASK_WAITING || !edges_ended(view, slot, waiting.serial) ||
        !mproc__task_release(word, waiting))
        return;
    mproc__ready_return(view, slot);
    mproc__pool_post(view, &view->shared->work);
}

uint32_t mproc__after_failed(const mproc__pool_view *view, uint32_t slot)
{
    uint32_t number = atomic_load(&view->slots[slot].edges_first);
    for (uint32_t steps = 0; number && steps < view->shared->plan.edge_count; steps++) {
        const mproc__edge_shared *edge = mproc__edge_at(view, number);
        if (!edge)
            return 0;
        if (mproc__edge_end_of(atomic_load(&edge->first)) == MPROC__EDGE_FAILED)
            return number;
        number = atomic_load(&edge->next_first);
    }
    return 0;
}

/* ---- a task that ended ---- */

/* The swap that ended the task and this load of its list, and the owner's store of an edge there and its load of the task's
 * word, are in one order: who comes second sees the first. The same goes for edge and task that waits. */
void mproc__after_tell(mproc__pool_view *view, uint32_t slot, mproc__task_word ended, bool done)
{
    uint64_t name = mproc__edge_name(slot, ended.serial), open = mproc__edge_first(name, MPROC__EDGE_OPEN);
    uint64_t end = mproc__edge_first(name, done ? MPROC__EDGE_DONE : MPROC__EDGE_FAILED);
    uint32_t number = atomic_load(&view->slots[slot].edges_then);
    for (uint32_t steps = 0; number && steps < view->shared->plan.edge_count; steps++) {
        mproc__edge_shared *edge = mproc__edge_at(view, number);
        uint64_t seen = open;
        if (!edge ||
            (!atomic_compare_exchange_strong(&edge->first, &seen, end) && mproc__edge_name_of(seen) != name))
            return;
        mproc__after_look(view, (uint32_t)atomic_load(&edge->then));
        number = atomic_load(&edge->next_then);
    }
}

void mproc__after_tell_again(mproc__pool_view *view, uint32_t slot)
{
    const mproc__task_shared *task = &view->slots[slot];
    mproc__task_word ended = mproc__task_unpack(atomic_load(&task->word));
    if (mproc__task_final(ended.state) && atomic_load(&task->edges_then))
        mproc__after_tell(view, slot, ended, ended.state == MPROC__TASK_DONE && task->code == 0);
}
