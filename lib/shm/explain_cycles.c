/* SPDX-License-Identifier: BSD-2-Clause */
/* Wait cycles: a thread waits for an object that is held by a thread that waits for one that ... the first holds.
 *
 * Objects are read one after the other, so what the first look puts together may never have been true at once. A second
 * look at each object of a cycle settles it: a thread that waits there since the same time has waited all the time in
 * between, and has not let go of what it holds. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/story.h"
#include "shm/explain_inside.h"

enum { CYCLES_MAX = 100 }; /* more are not looked at: damaged segments may pretend any number */

/* ---- notes ---- */

/* Room for one more. */
static void *rope_push(mproc__rope *rope, size_t item_bytes)
{
    if (rope->count == rope->capacity) {
        size_t capacity = rope->capacity ? 2 * rope->capacity : 32;
        void *items = realloc(rope->items, capacity * item_bytes);
        if (!items)
            return NULL;
        rope->items = items;
        rope->capacity = capacity;
    }
    return (unsigned char *)rope->items + rope->count++ * item_bytes;
}

/* Others sleep until something happens, which nobody in particular owes them. */
static bool waits_for_holder(const mproc__waiter_seen *seen)
{
    return seen->kind == MPROC__WAIT_ACQUIRE || seen->kind == MPROC__WAIT_READ;
}

static int waits_note(mproc__explaining *explaining, size_t object)
{
    for (unsigned slot = 0; slot < MPROC__WAITERS; slot++) {
        mproc__process_view view;
        mproc__waiter_seen seen = mproc__snapshot_waiter(&explaining->snapshot, slot);
        if (!waits_for_holder(&seen) || !mproc__explain_waits(explaining, &seen, &view))
            continue;
        mproc__wait *wait = rope_push(&explaining->graph.waits, sizeof(*wait));
        if (!wait)
            return -ENOMEM;
        *wait = (mproc__wait){.tid = seen.tid, .object = object, .since_ns = seen.since_ns};
    }
    return 0;
}

static int holds_note(mproc__explaining *explaining, mproc__object *object)
{
    const mproc__report *report = &explaining->report;
    object->first_hold = explaining->graph.holds.count;
    for (unsigned i = 0; i < mproc__report_told(report); i++) {
        pid_t tid = mproc__explain_holder_tid(explaining, &report->holders[i], report->holder_count == 1);
        if (!tid)
            continue;
        pid_t *hold = rope_push(&explaining->graph.holds, sizeof(*hold));
        if (!hold)
            return -ENOMEM;
        *hold = tid;
    }
    object->holds = explaining->graph.holds.count - object->first_hold;
    return 0;
}

int mproc__graph_add(mproc__explaining *explaining, size_t sight, unsigned number, const char *title)
{
    mproc__graph *graph = &explaining->graph;
    size_t waits = graph->waits.count;
    int code = waits_note(explaining, graph->objects.count);
    if (code == 0 && graph->waits.count > waits) {
        mproc__object *object = rope_push(&graph->objects, sizeof(*object));
        if (object) {
            *object = (mproc__object){.sight = sight, .number = number, .title = strdup(title)};
            code = object->title ? holds_note(explaining, object) : -ENOMEM;
        } else {
            code = -ENOMEM;
        }
    }
    return code < 0 ? mproc__fail(code, "no memory to note who waits for whom") : 0;
}

void mproc__graph_free(mproc__graph *graph)
{
    mproc__object *objects = graph->objects.items;
    for (size_t i = 0; i < graph->objects.count; i++)
        free(objects[i].title);
    free(graph->objects.items);
    free(graph->waits.items);
    free(graph->holds.items);
}

/* ---- the second look ---- */

static bool still_waits(const mproc__explaining *explaining, const mproc__wait *wait)
{
    for (unsigned slot = 0; slot < MPROC__WAITERS; slot++) {
        mproc__waiter_seen seen = mproc__snapshot_waiter(&explaining->snapshot, slot);
        if (seen.tid == wait->tid && seen.since_ns == wait->since_ns && waits_for_holder(&seen))
            return true;
    }
    return false;
}

static bool still_held(mproc__explaining *explaining, pid_t tid)
{
    const mproc__report *report = &explaining->report;
    for (unsigned i = 0; i < mproc__report_told(report); i++)
        if (mproc__explain_holder_tid(explaining, &report->holders[i], report->holder_count == 1) == tid)
            return true;
    return false;
}

/* ---- the search: depth first, over waits ordered by thread ---- */

typedef struct step {
    size_t wait;
    size_t hold; /* the next to follow, of its object's */
    size_t next; /* the next wait of that holder to follow */
} step;

typedef struct cycle_search {
    mproc__explaining *explaining;
    const mproc__object *objects;
    const mproc__wait *waits;
    const pid_t *holds;
    size_t count;  /* of waits */
    size_t *depth; /* of each wait on the path, from 1; 0: not on it */
    bool *seen;    /* each wait is walked from once */
    step *path;
    size_t length;
    unsigned found; /* cycles, also those that did not stand a second look */
} cycle_search;

static int wait_compare(const void *left, const void *right)
{
    const mproc__wait *a = left, *b = right;
    if (a->tid != b->tid)
        return a->tid < b->tid ? -1 : 1;
    return (a->object > b->object) - (a->object < b->object);
}

/* The first wait of a thread, or of the next one. */
static size_t waits_of(const cycle_search *search, pid_t tid)
{
    size_t low = 0, high = search->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (search->waits[middle].tid < tid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const mproc__wait *wait_at(const cycle_search *search, size_t place)
{
    return &search->waits[search->path[place].wait];
}

/* The thread that wait number `place` of the cycle waits for: that of the next one. */
static pid_t next_tid(const cycle_search *search, size_t first, size_t place)
{
    return wait_at(search, place + 1 < search->length ? place + 1 : first)->tid;
}

static bool cycle_stands(const cycle_search *search, size_t first)
{
    mproc__explaining *explaining = search->explaining;
    bool shown = false;
    for (size_t place = first; place < search->length; place++) {
        const mproc__wait *wait = wait_at(search, place);
        if (mproc__explain_read(explaining, search->objects[wait->object].sight) != MPROC__IS_SEGMENT ||
            !still_waits(explaining, wait) || !still_held(explaining, next_tid(search, first, place)))
            return false;
        shown |= search->objects[wait->object].number != 0;
    }
    return shown;
}

static void thread_print(mproc__explaining *explaining, pid_t tid)
{
    mproc__process_view view;
    bool known = mproc__explain_view(explaining, tid, &view);
    fputs("      ", explaining->stream);
    mproc__explain_name(explaining, known ? view.pid : tid);
    fprintf(explaining->stream, ", thread %d", (int)tid);
}

/* Path from `first` on. */
static void cycle_print(const cycle_search *search, size_t first)
{
    mproc__explaining *explaining = search->explaining;
    explaining->counts.cycles++;
    fputs("wait cycle:\n", explaining->stream);
    for (size_t place = first; place < search->length; place++) {
        const mproc__wait *wait = wait_at(search, place);
        const mproc__object *object = &search->objects[wait->object];
        thread_print(explaining, wait->tid);
        fprintf(explaining->stream, ", waits %.1f s for ", mproc__explain_seconds(wait->since_ns));
        if (object->number)
            fprintf(explaining->stream, "[%u] ", object->number);
        fprintf(explaining->stream, "%s, held by\n", object->title);
    }
    thread_print(explaining, wait_at(search, first)->tid);
    fputc('\n', explaining->stream);
}

static void path_push(cycle_search *search, size_t wait)
{
    search->seen[wait] = true;
    search->path[search->length++] = (step){.wait = wait, .next = SIZE_MAX};
    search->depth[wait] = search->length;
}

/* The next wait that the last one of the path waits for; count: no more. */
static size_t path_next(cycle_search *search)
{
    step *last = &search->path[search->length - 1];
    const mproc__object *object = &search->objects[search->waits[last->wait].object];
    for (; last->hold < object->holds; last->hold++, last->next = SIZE_MAX) {
        pid_t tid = search->holds[object->first_hold + last->hold];
        size_t wait = last->next == SIZE_MAX ? waits_of(search, tid) : last->next;
        if (wait < search->count && search->waits[wait].tid == tid) {
            last->next = wait + 1;
            return wait;
        }
    }
    return search->count;
}

static void search_from(cycle_search *search, size_t wait)
{
    path_push(search, wait);
    while (search->length > 0) {
        size_t next = path_next(search);
        if (next == search->count) {
            search->depth[search->path[--search->length].wait] = 0;
        } else if (!search->seen[next]) {
            path_push(search, next);
        } else if (search->depth[next] && search->found < CYCLES_MAX) {
            search->found++;
            if (cycle_stands(search, search->depth[next] - 1))
                cycle_print(search, search->depth[next] - 1);
        }
    }
}

int mproc__graph_cycles(mproc__explaining *explaining)
{
    mproc__graph *graph = &explaining->graph;
    cycle_search search = {.explaining = explaining,
                           .objects = graph->objects.items,
                           .waits = graph->waits.items,
                           .holds = graph->holds.items,
                           .count = graph->waits.count};
    if (search.count == 0)
        return 0;
    qsort(graph->waits.items, search.count, sizeof(mproc__wait), wait_compare);
    search.depth = calloc(search.count, sizeof(*search.depth));
    search.seen = calloc(search.count, sizeof(*search.seen));
    search.path = calloc(search.count, sizeof(*search.path));
    bool good = search.depth && search.seen && search.path;
    for (size_t wait = 0; good && wait < search.count; wait++)
        if (!search.seen[wait])
            search_from(&search, wait);
    free(search.depth);
    free(search.seen);
    free(search.path);
    return good ? 0 : mproc__fail(-ENOMEM, "no memory to look for wait cycles");
}
