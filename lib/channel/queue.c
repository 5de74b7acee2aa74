/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue's life, bytes in and out, its end. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/queue.h"
#include "channel/queue_quick.h"
#include "shm/place.h"

enum {
    /* The ring's locks are held for microseconds; longer means a stopped holder, or a put that makes it grow by gigabytes */
    SHUTDOWN_LOCK_MS = 5000
};

/* ---- life ---- */

/* What an orderly close leaves behind is what a death would: open loans go back, half-made blocks are freed, and blocks in
 * the ring stop answering to this row, which the next process may get. Not for a fork child that never called: the row is
 * its parent's. */
static void queue_settle(mproc_queue *queue)
{
    if (!queue->process_shared || atomic_load(&queue->stamper) != mproc__incarnation())
        return;
    mproc__side_give_up(&queue->shared->put.side);
    mproc__side_give_up(&queue->shared->get.side);
    if (mproc__queue_sweep(queue->segment, (unsigned)atomic_load(&queue->stamp_row), &queue->bell) < 0)
        mproc__segment_leave_unburied(queue->segment);
}

static void queue_destroy(mproc__handle *handle)
{
    mproc_queue *queue = (mproc_queue *)handle;
    mproc__names_remove(handle);
    queue_settle(queue);
    mproc__queue_copies_free(queue);
    mproc__bell_close(&queue->bell);
    if (mproc__queue_exclusive_leave(queue, MPROC_ROLE_BOTH))
        mproc__segment_release(queue->segment);
    mproc__handle_fini(handle);
    free(queue);
}

static int queue_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_queue *queue = (const mproc_queue *)handle;
    size_t items = 0, taken = 0;
    (void)mproc_queue_counts(queue, &items, &taken, NULL);
    char limit[32] = "";
    if (queue->max_items > 0)
        snprintf(limit, sizeof limit, "/%u", queue->max_items);
    return snprintf(buffer, size_bytes, "queue%s%s %zu%s%s on %s", queue->name[0] ? " " : "", queue->name,
                    items, limit, atomic_load(&queue->shared->state) == MPROC__QUEUE_OPEN ? "" : " closed",
                    mproc__noun_home_text(queue->segment));
}

static int queue_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    mproc_queue *queue = (mproc_queue *)handle;
    int rc = mproc__noun_pack(queue->segment, parcel);
    return rc == 0 ? mproc__bell_pack(&queue->bell, parcel) : rc;
}

static const mproc__handle_ops queue_ops = {
    .type = MPROC_TYPE_QUEUE,
    .noun = "queue",
    .destroy = queue_destroy,
    .describe = queue_describe,
    .pack = queue_pack,
    .wait_fd = mproc__queue_wait_fd,
    .ready = mproc__queue_ready,
};

static int queue_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    int rc = mproc__queue_copies_begin();
    if (rc < 0)
        return rc;
    mproc_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return mproc__fail(-ENOMEM, "no memory for a queue's handle");
    rc = mproc__queue_view(queue, segment);
    if (rc == 0)
        rc = mproc__bell_open(&queue->bell, &queue->shared->bell, segment);
    if (rc < 0) {
        mproc__bell_close(&queue->bell);
        free(queue);
        return rc;
    }
    /* Denied here: who sleeps, or wants a side, cannot well order an owner's stores. */
    if (mproc__barrier() < 0) {
        atomic_store_explicit(&queue->shared->put.side.never, 1, memory_order_seq_cst);
        atomic_store_explicit(&queue->shared->get.side.never, 1, memory_order_seq_cst);
    }
    mproc__handle_init(&queue->handle, &queue_ops);
    mproc__segment_on_sweep(segment, mproc__queue_sweep, &queue->bell);
    *ret_handle = &queue->handle;
    return 0;
}

static int queue_unpack(mproc__parcel *parcel, const void *blob, size_t blob_bytes,
                        mproc__handle **ret_handle)
{
    mproc__handle *handle;
    int rc = mproc__noun_unpack(parcel, blob, blob_bytes, &handle);
    if (rc < 0)
        return rc;
    rc = mproc__bell_unpack(&((mproc_queue *)handle)->bell, parcel);
    if (rc == 0)
        *ret_handle = handle;
    else
        mproc__handle_release(handle);
    return rc;
}

const mproc__noun mproc__queue_noun = {
    .type = MPROC_TYPE_QUEUE,
    .word = "queue",
    .least_bytes = sizeof(mproc__queue_shared),
    .attach = queue_attach,
    .explain = mproc__queue_explain,
    .unpack = queue_unpack,
};

typedef struct queue_how {
    mproc__queue_plan plan;
    const mproc_queue_options *options; /* or NULL */
} queue_how;

static int queue_build(mproc__segment *segment, const void *context)
{
    const queue_how *how = context;
    mproc__queue_roles_init(segment, how->options);
    return mproc__queue_layout_init(segment, &how->plan);
}

static int place_check(mproc_place *place, bool pollable, const void *output)
{
    mproc__home home = MPROC__HOME_HOST;
    int rc = mproc__place_home(place, &home);
    if (rc == 0 && home == MPROC__HOME_SERVER)
        rc = mproc__fail(MPROC_EPLACE, "no queues at %s yet: thread:, host: and shm: have them",
                         place->address);
    if (rc == 0 && home == MPROC__HOME_SHM && pollable)
        rc = mproc__fail(MPROC_EPLACE, "who opens a queue by its name cannot get a descriptor to poll");
    return rc == 0 && !output ? mproc__fail(-EINVAL, "nowhere to put the queue") : rc;
}

int mproc_queue_open(mproc_place *place, const char *name, mproc_queue **ret_queue)
{
    mproc__handle *handle;
    int rc = place_check(place, false, ret_queue);
    if (rc == 0)
        rc = mproc__noun_open(&mproc__queue_noun, place, name, &handle);
    if (rc == 0)
        *ret_queue = (mproc_queue *)handle;
    return rc;
}

int mproc_queue_create(mproc_place *place, const mproc_queue_options *options, mproc_queue **ret_queue)
{
    queue_how how = {.options = options};
    mproc__handle *handle;
    int rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_queue_options");
    if (rc == 0)
        rc = place_check(place, options && options->pollable, ret_queue);
    if (rc == 0)
        rc = mproc__queue_plan_make(options, &how.plan);
    if (rc == 0 && options && options->role)
        rc = mproc__queue_role_check(options->role);
    if (rc < 0)
        return rc;
    const mproc__making making = {.noun = &mproc__queue_noun,
                                  .place = place,
                                  .name = options ? options->name : NULL,
                                  .and_open = options && options->and_open,
                                  .size_bytes = how.plan.size_bytes,
                                  .reserve_bytes = how.plan.reserve_bytes,
                                  .build = queue_build,
                                  .how = &how};
    rc = mproc__noun_create(&making, &handle);
    mproc_queue *queue = rc == 0 ? (mproc_queue *)handle : NULL;
    if (queue && options && options->role)
        rc = mproc_queue_role(queue, options->role);
    if (rc == 0)
        *ret_queue = queue;
    else
        mproc_queue_close(&queue);
    return rc;
}

void mproc_queue_close(mproc_queue **queue)
{
    mproc__handle_close((void **)queue, MPROC_TYPE_QUEUE);
}

/* ---- doors ---- */

int mproc__queue_enter_slow(mproc_queue *queue)
{
    int rc = mproc__handle_check(queue, MPROC_TYPE_QUEUE);
    if (rc == 0 && !queue->process_shared)
        rc = mproc__segment_check(queue->segment);
    if (rc == 0 && !mproc__me_is_true(&mproc__me_now))
        (void)mproc__me_look();
    return rc == 0 ? mproc__segment_join(queue->segment) : rc;
}

int mproc__queue_answer(mproc_queue *queue, int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case -ETIMEDOUT:
    case MPROC_EEND:
    case MPROC_ENEVER:
    case MPROC_ECLOSED:
    case MPROC_ETOOSMALL:
        return mproc__fail_plain(rc);
    case MPROC_ECORRUPT:
        return mproc__handle_fail(&queue->handle, rc, "a position, record or block that cannot be true");
    case MPROC_ESTATE:
        return mproc__handle_fail(&queue->handle, rc, "not an open loan of this queue, or over already");
    default:
        return mproc__handle_story(&queue->handle, rc);
    }
}

int mproc__queue_too_large(mproc_queue *queue, size_t size_bytes)
{
    return mproc__handle_fail(&queue->handle, -EMSGSIZE, "a message of %zu bytes; the queue holds %zu",
                              size_bytes, (size_t)queue->max_bytes);
}

/* ---- bytes ---- */

/* What mproc_queue_put does of itself. */
static int put_any(mproc_queue *queue, int row, const void *data, size_t size_bytes, mproc_deadline deadline)
{
    if (!data && size_bytes > 0)
        return mproc__handle_fail(&queue->handle, -EINVAL, "no data");
    int rc = mproc__queue_fits(queue, size_bytes);
    if (MPROC__LIKELY(rc == 0))
        rc = mproc__queue_use(queue, row, MPROC_ROLE_WRITE);
    if (MPROC__LIKELY(rc == 0))
        rc = mproc__queue_put_item(queue, row, MPROC__ITEM_BYTES, data, size_bytes, deadline);
    return mproc__queue_answer(queue, rc);
}

int mproc_queue_put(mproc_queue *queue, const void *data, size_t size_bytes, mproc_deadline deadline)
{
    int row = mproc__queue_enter(queue);
    if (MPROC__UNLIKELY(row < 0))
        return row;
    mproc__queue_shared *shared = queue->shared;
    mproc__side_slot_shared *slot;
    if (MPROC__UNLIKELY(!data || size_bytes >= queue->quick_end || !mproc__quick_is_plain(shared) ||
                        !(slot = mproc__side_enter(&shared->put.side))))
        return put_any(queue, row, data, size_bytes, deadline);
    bool done = mproc__quick_put(queue, MPROC__ITEM_BYTES, data, size_bytes);
    mproc__side_leave(slot);
    if (MPROC__UNLIKELY(!done))
        return put_any(queue, row, data, size_bytes, deadline);
    mproc__queue_post(queue, &shared->items);
    return 0;
}

typedef struct queue_get {
    int row;
    void *buffer;
    size_t capacity_bytes;
    size_t size_bytes;
} queue_get;

/* Inside the consumers' side. A record is copied here, a block after the end. */
static int get_inside(mproc_queue *queue, queue_get *get, mproc__queue_item *item)
{
    int rc = mproc__queue_peek(queue, item);
    if (rc < 0)
        return rc;
    if (item->kind != MPROC__ITEM_BYTES)
        return mproc__fail(MPROC_EARGUMENT,
                           "the next message is a variant: mproc_queue_get_variant takes it");
    get->size_bytes = item->size_bytes;
    if (item->size_bytes > get->capacity_bytes)
        return MPROC_ETOOSMALL;
    if (item->block == MPROC__NO_BLOCK && item->size_bytes > 0)
        memcpy(get->buffer, item->data, item->size_bytes);
    return mproc__queue_accept(queue, get->row, item);
}

static int get_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    queue_get *get = context;
    mproc__queue_item item;
    mproc__side_slot_shared *slot;
    int rc = mproc__queue_get_begin(queue, deadline, &slot);
    if (rc < 0)
        return rc;
    rc = get_inside(queue, get, &item);
    /* Spinning with the lock saves a lock and an unlock between the arrival and the reading of a message: a seventh of a
     * hot round trip. */
    if (rc == -EAGAIN && deadline.ns > 0 &&
        queue->order == MPROC_ORDER_FIFO && /* else the lock is the producers', too */
        mproc__queue_spin(queue, &queue->shared->items, true, slot))
        rc = get_inside(queue, get, &item);
    mproc__queue_get_end(queue, slot);
    if (rc < 0)
        return rc;
    mproc__queue_accepted(queue, &item);
    if (item.block == MPROC__NO_BLOCK)
        return 0;
    if (item.size_bytes > 0)
        memcpy(get->buffer, item.data, item.size_bytes);
    mproc__block_state state;
    if (!mproc__arena_get(&queue->arena, item.block, &state))
        return MPROC_ECORRUPT;
    return mproc__queue_block_finish(queue, item.block, state);
}

static int get_any(mproc_queue *queue, int row, void *buffer, size_t capacity_bytes, mproc_deadline deadline,
                   size_t *ret_size_bytes)
{
    queue_get get = {.row = row, .buffer = buffer, .capacity_bytes = capacity_bytes};
    if (!buffer && capacity_bytes > 0)
        return mproc__handle_fail(&queue->handle, -EINVAL, "no buffer");
    int rc = mproc__queue_use(queue, get.row, MPROC_ROLE_READ);
    if (MPROC__LIKELY(rc == 0))
        rc = get_attempt(queue, &get, deadline);
    if (rc == -EAGAIN)
        rc = mproc__queue_until(queue, &queue->shared->items, deadline, get_attempt, &get);
    if (mproc__queue_end_doubted(queue, rc))
        rc = get_attempt(queue, &get, deadline);
    if (ret_size_bytes && (rc == 0 || rc == MPROC_ETOOSMALL))
        *ret_size_bytes = get.size_bytes;
    return mproc__queue_answer(queue, rc);
}

int mproc_queue_get(mproc_queue *queue, void *buffer, size_t capacity_bytes, mproc_deadline deadline,
                    size_t *ret_size_bytes)
{
    int row = mproc__queue_enter(queue);
    if (MPROC__UNLIKELY(row < 0))
        return row;
    mproc__queue_shared *shared = queue->shared;
    mproc__side_slot_shared *slot;
    if (MPROC__UNLIKELY(!buffer || !mproc__quick_is_plain(shared) ||
                        !(slot = mproc__side_enter(&shared->get.side))))
        return get_any(queue, row, buffer, capacity_bytes, deadline, ret_size_bytes);
    size_t size_bytes;
    bool last, done = mproc__quick_get(queue, buffer, capacity_bytes, &size_bytes, &last);
    mproc__side_leave(slot);
    if (MPROC__UNLIKELY(!done))
        return get_any(queue, row, buffer, capacity_bytes, deadline, ret_size_bytes);
    mproc__queue_taken(queue, last);
    if (ret_size_bytes)
        *ret_size_bytes = size_bytes;
    return 0;
}

/* ---- the end ---- */

int mproc_queue_shutdown(mproc_queue *queue, bool discard)
{
    int row = mproc__queue_enter(queue);
    if (row < 0)
        return row;
    mproc__queue_shared *shared = queue->shared;
    mproc_deadline deadline = mproc_after_ms(SHUTDOWN_LOCK_MS);
    uint32_t state = discard ? MPROC__QUEUE_DISCARDED : MPROC__QUEUE_CLOSED;
    /* Both sides: no put that began before ends after, and no get that began before takes what is discarded. One store. */
    int rc = mproc__queue_lock_checked(queue, &shared->put.side, deadline);
    if (rc < 0)
        return mproc__queue_answer(queue, rc);
    rc = mproc__queue_lock_checked(queue, &shared->get.side, deadline);
    if (rc == 0) {
        if (atomic_load_explicit(&shared->state, memory_order_relaxed) < state)
            atomic_store_explicit(&shared->state, state, memory_order_release);
        mproc__side_release(&shared->get.side);
    }
    mproc__side_release(&shared->put.side);
    mproc__queue_post(queue, &shared->items);
    mproc__queue_post(queue, &shared->room);
    mproc__queue_post(queue, &shared->done);
    mproc__queue_post(queue, &shared->dead);
    return mproc__queue_answer(queue, rc);
}

/* Head first: it never passes the tail, so equal means that the ring was empty when the tail was read. */
static bool queue_drained(const mproc__queue_shared *shared)
{
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_acquire);
    return head == atomic_load_explicit(&shared->tail, memory_order_acquire);
}

static bool queue_has_marks(const mproc__queue_shared *shared)
{
    return atomic_load_explicit(&shared->returned_marks, memory_order_acquire) !=
           atomic_load_explicit(&shared->get.marks_seen, memory_order_relaxed);
}

/* Inside the consumers' side, so nothing is taken meanwhile: what is neither in the ring nor a block somebody has is done.
 * There is no count of unfinished items that a kill could make wrong. */
static int join_inside(mproc_queue *queue)
{
    bool discarded =
        atomic_load_explicit(&queue->shared->state, memory_order_acquire) == MPROC__QUEUE_DISCARDED;
    int rc = queue->order != MPROC_ORDER_FIFO ? mproc__order_ready(queue) : 0;
    if (rc < 0)
        return rc;
    if (!discarded && !queue_drained(queue->shared))
        return -EAGAIN;
    size_t leased, returned;
    mproc__queue_block_count(queue, &leased, &returned);
    size_t open = (queue->redeliver ? leased : 0) + (discarded ? 0 : returned);
    return open > 0 ? -EAGAIN : 0;
}

static int join_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    (void)context;
    mproc__queue_shared *shared = queue->shared;
    bool discarded = atomic_load_explicit(&shared->state, memory_order_acquire) == MPROC__QUEUE_DISCARDED;
    if (!discarded && !queue_drained(shared))
        return -EAGAIN;
    if (!queue->redeliver && (discarded || !queue_has_marks(shared)))
        return 0;
    int rc = mproc__side_lock(queue->segment, &shared->get.side, deadline);
    if (rc < 0)
        return rc;
    rc = join_inside(queue);
    mproc__side_release(&shared->get.side);
    return rc;
}

int mproc_queue_join(mproc_queue *queue, mproc_deadline deadline)
{
    int row = mproc__queue_enter(queue);
    if (row < 0)
        return row;
    int rc = join_attempt(queue, NULL, deadline);
    if (rc == -EAGAIN)
        rc = mproc__queue_until(queue, &queue->shared->done, deadline, join_attempt, NULL);
    return mproc__queue_answer(queue, rc);
}

int mproc_queue_counts(const mproc_queue *queue, size_t *ret_items, size_t *ret_taken, size_t *ret_max_items)
{
    int rc = mproc__handle_check(queue, MPROC_TYPE_QUEUE);
    if (rc == 0)
        rc = mproc__segment_check(queue->segment);
    if (rc < 0)
        return rc;
    const mproc__queue_shared *shared = queue->shared;
    size_t leased = 0, returned = 0;
    if (queue->redeliver || queue_has_marks(shared))
        mproc__queue_block_count((mproc_queue *)(uintptr_t)queue, &leased, &returned);
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&shared->tail, memory_order_acquire);
    size_t in_ring = mproc__ring_items(head, tail);
    size_t items = queue->order == MPROC_ORDER_FIFO ? in_ring + returned : mproc__order_items(queue);
    bool discarded = atomic_load_explicit(&shared->state, memory_order_relaxed) == MPROC__QUEUE_DISCARDED;
    if (ret_items)
        *ret_items = discarded ? 0 : items;
    if (ret_taken)
        *ret_taken = queue->redeliver ? leased : 0;
    if (ret_max_items)
        *ret_max_items = queue->max_items;
    return 0;
}
