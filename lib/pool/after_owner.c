/* SPDX-License-Identifier: BSD-2-Clause */
/* Edges as the owner makes them and takes them back. An edge stays until both its ends are over: one whose latter end was
 * cancelled is in the list of the former still, which others may be following. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/story.h"
#include "pool/after.h"
#include "pool/future.h"
#include "pool/payload.h"
#include "pool/pool.h"

enum { RESERVE_STEP = 64 * 1024, NOTES_FIRST = 64 };

/* ---- what may be named ---- */

static int future_check(const mproc__pool_core *core, const mproc_future *future, size_t position)
{
    int rc = mproc__future_check(future);
    if (rc < 0)
        return mproc__fail(rc, "mproc_task_options.after[%zu]: no open future of this process", position);
    if (future->kind == &mproc__future_task && future->core == core)
        return 0;
    rc = mproc__fail(MPROC_EPLACE,
                     "mproc_task_options.after[%zu] is no task of this pool: submit from a callback of it",
                     position);
    mproc__fail_number(MPROC_ERROR_ARGUMENT, (int64_t)position);
    return rc;
}

int mproc__after_check(const mproc__pool_core *core, const mproc_task_options *options)
{
    int rc = 0;
    size_t count = options ? options->after_count : 0;
    if (count > 0 && !options->after)
        return mproc__fail(-EINVAL, "mproc_task_options.after: NULL, and after_count is %zu", count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = future_check(core, options->after[i], i);
    return rc;
}

/* ---- room ---- */

/* One that ended well need not be waited for. */
static bool edge_needed(mproc_future *future, const mproc_task_options *options)
{
    if (!atomic_load(&future->settled))
        future->kind->look(future);
    return !atomic_load(&future->settled) || (future->code != 0 && !options->even_if_failed);
}

static int table_reserve(mproc__pool_core *core, uint32_t edges)
{
    const mproc__pool_plan_shared *plan = &core->view.shared->plan;
    uint64_t *mark = &core->edges.bytes_reserved, end = edges * sizeof(mproc__edge_shared);
    uint64_t whole = plan->edge_count * sizeof(mproc__edge_shared);
    if (end <= *mark)
        return 0;
    end = mproc__round_up(end, RESERVE_STEP);
    end = end < whole ? end : whole;
    int rc = mproc__segment_reserve(core->view.segment, plan->edges + *mark, end - *mark);
    if (rc == 0)
        *mark = end;
    return rc;
}

static int notes_reserve(mproc__edges *edges, uint32_t count)
{
    uint32_t room = edges->room ? edges->room : NOTES_FIRST;
    while (room < count)
        room *= 2;
    if (room == edges->room)
        return 0;
    mproc__edge_note *notes = realloc(edges->notes, room * sizeof *notes);
    if (!notes)
        return mproc__fail(-ENOMEM, "no memory for what a task comes after");
    edges->notes = notes;
    edges->room = room;
    return 0;
}

int mproc__after_reserve(mproc__pool_core *core, const mproc_task_options *options)
{
    size_t needed = 0, most = core->view.shared->plan.edge_count;
    for (size_t i = 0; i < options->after_count; i++)
        needed += edge_needed(options->after[i], options);
    if (needed > most)
        return mproc__fail(MPROC_ELIMIT, "a task after %zu others; in this pool %zu are the most", needed,
                           most);
    if (core->edges.used + needed > most)
        return -EAGAIN;
    uint32_t count = core->edges.used + (uint32_t)needed;
    int rc = table_reserve(core, count);
    return rc < 0 ? rc : notes_reserve(&core->edges, count);
}

/* ---- stories ---- */

static char *story_make(uint64_t number, const char *label, const char *why)
{
    char *story = NULL;
    if (asprintf(&story, "task %llu%s%.60s%s, which it comes after, has failed: %s",
                 (unsigned long long)number, label ? " (" : "", label ? label : "", label ? ")" : "",
                 why) < 0)
        return NULL;
    return story;
}

/* Of a final slot that was not harvested. */
static char *story_of_slot(const mproc__pool_core *core, uint32_t slot, mproc__task_word ended)
{
    char why[MPROC__POOL_INLINE + 64];
    const mproc__task_shared *task = &core->view.slots[slot];
    const char *label = core->futures[slot] ? core->futures[slot]->label : NULL;
    int code = ended.state == MPROC__TASK_DONE        ? task->code
               : ended.state == MPROC__TASK_DIED      ? MPROC_EDIED
               : ended.state == MPROC__TASK_CANCELLED ? -ECANCELED
                                                      : -ETIME;
    bool told =
        ended.state == MPROC__TASK_DONE && task->result.kind == MPROC__PAYLOAD_STORY && task->result.bytes[0];
    snprintf(why, sizeof why, "%s: %.*s", mproc_errname(code), (int)MPROC__POOL_INLINE,
             told ? (const char *)task->result.bytes : mproc_strerror(code));
    return story_make(task->number, label, why);
}

static char *story_of_edge(const mproc__pool_core *core, uint32_t number)
{
    const mproc__edge_note *note = &core->edges.notes[number - 1];
    uint64_t name = mproc__edge_name_of(atomic_load(&mproc__edge_at(&core->view, number)->first));
    if (note->first_over)
        return note->story ? strdup(note->story) : NULL;
    return story_of_slot(core, (uint32_t)name, mproc__task_load(&core->view.slots[(uint32_t)name].word));
}

void mproc__after_explain(mproc__pool_core *core, uint32_t slot)
{
    mproc__task_shared *task = &core->view.slots[slot];
    bool refused = mproc__task_load(&task->word).state == MPROC__TASK_DONE && task->code == MPROC_EAFTER &&
                   !task->even_if_failed;
    uint32_t number = refused ? mproc__after_failed(&core->view, slot) : 0;
    char *story = number ? story_of_edge(core, number) : NULL;
    if (story)
        mproc__payload_store_text(&task->result, story);
    free(story);
}

/* ---- made ---- */

static uint32_t edge_take(mproc__edges *edges)
{
    uint32_t number = edges->free;
    if (number)
        edges->free = edges->notes[number - 1].next_free;
    else
        number = ++edges->given;
    edges->used++;
    edges->notes[number - 1] = (mproc__edge_note){.story = NULL};
    return number;
}

/* It has failed, and nobody will tell of it any more. */
static void edge_to_past(mproc__pool_core *core, uint32_t number, const mproc_future *future)
{
    mproc__edge_note *note = &core->edges.notes[number - 1];
    mproc__edge_shared *edge = mproc__edge_at(&core->view, number);
    atomic_store(&edge->first,
                 mproc__edge_first(mproc__edge_name(future->slot, future->serial), MPROC__EDGE_FAILED));
    note->first_over = true;
    note->story = story_make(future->number, future->label, mproc_error_text(mproc_error_of(future)));
}

/* It goes on, or has ended just now, and its end is told again. */
static void edge_to_present(mproc__pool_core *core, uint32_t number, const mproc_future *future)
{
    mproc__task_shared *first = &core->view.slots[future->slot];
    mproc__edge_shared *edge = mproc__edge_at(&core->view, number);
    atomic_store(&edge->first,
                 mproc__edge_first(mproc__edge_name(future->slot, future->serial), MPROC__EDGE_OPEN));
    atomic_store(&edge->next_then, atomic_load(&first->edges_then));
    atomic_store(&first->edges_then, number);
    mproc__after_tell_again(&core->view, future->slot);
}

bool mproc__after_link(mproc__pool_core *core, uint32_t slot, unsigned serial,
                       const mproc_task_options *options)
{
    uint32_t head = 0;
    for (size_t i = options->after_count; i-- > 0;) {
        mproc_future *future = options->after[i];
        if (!edge_needed(future, options))
            continue;
        uint32_t number = edge_take(&core->edges);
        mproc__edge_shared *edge = mproc__edge_at(&core->view, number);
        atomic_store(&edge->then, mproc__edge_name(slot, serial));
        atomic_store(&edge->next_first, head);
        head = number;
        if (atomic_load(&future->settled))
            edge_to_past(core, number, future);
        else
            edge_to_present(core, number, future);
    }
    atomic_store(&core->view.slots[slot].edges_ended, 0);
    atomic_store(&core->view.slots[slot].edges_first, head);
    return head != 0;
}

/* ---- taken back ---- */

static void edge_over(mproc__edges *edges, uint32_t number)
{
    mproc__edge_note *note = &edges->notes[number - 1];
    if (!note->first_over || !note->then_over)
        return;
    free(note->story);
    note->story = NULL;
    note->next_free = edges->free;
    edges->free = number;
    edges->used--;
}

/* Those that come after it: what they will have to tell of it is kept. */
static void edges_then_drop(mproc__pool_core *core, uint32_t slot, mproc__task_word ended)
{
    mproc__task_shared *task = &core->view.slots[slot];
    bool failed = ended.state != MPROC__TASK_DONE || task->code != 0;
    uint32_t next, number = atomic_load(&task->edges_then);
    for (; number; number = next) {
        const mproc__edge_shared *edge = mproc__edge_at(&core->view, number);
        mproc__edge_note *note = &core->edges.notes[number - 1];
        next = atomic_load(&edge->next_then);
        note->first_over = true;
        if (failed && !note->then_over &&
            !core->view.slots[(uint32_t)atomic_load(&edge->then)].even_if_failed)
            note->story = story_of_slot(core, slot, ended);
        edge_over(&core->edges, number);
    }
    atomic_store(&task->edges_then, 0);
}

static void edges_first_drop(mproc__pool_core *core, uint32_t slot)
{
    mproc__task_shared *task = &core->view.slots[slot];
    uint32_t next, number = atomic_load(&task->edges_first);
    for (; number; number = next) {
        next = atomic_load(&mproc__edge_at(&core->view, number)->next_first);
        core->edges.notes[number - 1].then_over = true;
        edge_over(&core->edges, number);
    }
    atomic_store(&task->edges_first, 0);
}

void mproc__after_clear(mproc__pool_core *core, uint32_t slot, mproc__task_word ended)
{
    const mproc__task_shared *task = &core->view.slots[slot];
    if (atomic_load(&task->edges_then)) {
        mproc__after_tell(&core->view, slot, ended, ended.state == MPROC__TASK_DONE && task->code == 0);
        edges_then_drop(core, slot, ended);
    }
    if (atomic_load(&task->edges_first))
        edges_first_drop(core, slot);
}

void mproc__after_end(mproc__edges *edges)
{
    for (uint32_t i = 0; i < edges->given; i++)
        free(edges->notes[i].story);
    free(edges->notes);
}
