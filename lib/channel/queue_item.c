/* SPDX-License-Identifier: BSD-2-Clause */
/* One item in, one item out, under the ring's locks; and waiting for the moment when that can be. */
#include "platform/base.h"

#include <string.h>

#include "channel/queue.h"
#include "channel/queue_quick.h"

enum {
    /* Back-off while streaming, measured on two CPUs: it doubles the throughput, because the consumer then touches the
     * producer's lines once for several items. Only after polls that found something at once, so that a round trip
     * never pays for it. */
    STREAK_BEGINS = 32,
    PAUSES_FIRST = 12,
    PAUSES_MOST = 32,
    ENOUGH_ITEMS = 4,
    /* A producer that spins before a full ring goes on when an eighth is free, or 8 KiB, or one message after so many
     * pauses: else it takes the head's line from the consumer for each message. 1.1 to 1.3 times the throughput of a
     * ring that is mostly full; the consumer never runs dry by it. */
    ROOM_SHARE = 8,
    ROOM_BYTES = 8192,
    ROOM_PATIENCE = 64,
    /* An unlucky waiter still spins for a sixteenth of the budget, to notice better times. */
    SPIN_SHARE_LEAST = 16
};

mproc_deadline mproc__queue_patience(mproc_deadline deadline)
{
    mproc_deadline patience = mproc_after_ms(MPROC__SIDE_PATIENCE_MS);
    return deadline.ns > patience.ns ? deadline : patience;
}

static mproc__side_shared *side_of(mproc_queue *queue, mproc_role role)
{
    return role == MPROC_ROLE_WRITE ? &queue->shared->put.side : &queue->shared->get.side;
}

int mproc__queue_side_lock(mproc_queue *queue, mproc_role role, mproc_deadline deadline)
{
    int rc = queue->exclusive & role ? mproc__queue_exclusive_have(queue, role) : 0;
    return rc == 0 ? mproc__side_lock(queue->segment, side_of(queue, role), deadline) : rc;
}

void mproc__queue_side_unlock(mproc_queue *queue, mproc_role role)
{
    int row = mproc__side_unlock(queue->segment, side_of(queue, role), (queue->exclusive & role) != 0);
    if (MPROC__UNLIKELY(row >= 0))
        mproc__queue_stamps(queue, row); /* for close */
}

/* Inside the producers' side. */
static int item_write(mproc_queue *queue, unsigned kind, const void *data, size_t size_bytes)
{
    mproc__queue_shared *shared = queue->shared;
    if (MPROC__UNLIKELY(atomic_load_explicit(&shared->state, memory_order_relaxed) != MPROC__QUEUE_OPEN))
        return MPROC_ECLOSED;
    uint64_t tail = atomic_load_explicit(&shared->tail, memory_order_relaxed), next = 0;
    uint64_t head = atomic_load_explicit(&shared->put.side.seen, memory_order_relaxed);
    int rc = mproc__ring_write(&queue->put_ring, head, tail, kind, data, size_bytes, &next);
    if (rc < 0) {
        head = atomic_load_explicit(&shared->head, memory_order_acquire);
        atomic_store_explicit(&shared->put.side.seen, head, memory_order_relaxed);
        rc = mproc__queue_write_on(queue, head, tail, kind, data, size_bytes, &next);
    }
    if (MPROC__LIKELY(rc == 0)) {
        atomic_store_explicit(&shared->tail, next, memory_order_release);
        mproc__quick_prefetch(&queue->put_ring, next);
    }
    return rc;
}

int mproc__queue_push(mproc_queue *queue, unsigned kind, const void *data, size_t size_bytes,
                      mproc_deadline deadline)
{
    /* The consumer read this line last; asking for it before the lock hides a part of the way. Only a hint. */
    uint64_t tail = atomic_load_explicit(&queue->shared->tail, memory_order_relaxed);
    __builtin_prefetch(mproc__ring_hint(&queue->ring, tail), 1);
    mproc__side_slot_shared *slot;
    int rc = mproc__queue_put_begin(queue, deadline, &slot);
    if (rc < 0)
        return rc;
    rc = item_write(queue, kind, data, size_bytes);
    mproc__queue_put_end(queue, slot);
    if (rc == 0)
        mproc__queue_post(queue, &queue->shared->items);
    return rc;
}

typedef struct item_put {
    unsigned kind;
    const void *data;
    size_t size_bytes;
} item_put;

static int put_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    const item_put *put = context;
    return mproc__queue_push(queue, put->kind, put->data, put->size_bytes, deadline);
}

int mproc__queue_put_block(mproc_queue *queue, int row, unsigned kind, const void *data, size_t size_bytes,
                           int32_t priority, mproc_deadline deadline)
{
    uint32_t block;
    /* Before the wait for room: who may not put is told so at once. */
    int rc = queue->exclusive & MPROC_ROLE_WRITE ? mproc__queue_exclusive_have(queue, MPROC_ROLE_WRITE) : 0;
    if (rc == 0)
        rc = mproc__queue_block_claim(queue, size_bytes, kind, deadline, &block);
    if (rc < 0)
        return rc;
    mproc__block_shared *at = mproc__queue_block(queue, block);
    if (!at)
        return MPROC_ECORRUPT;
    at->priority = priority;
    if (size_bytes > 0)
        memcpy(mproc__block_bytes(at), data, size_bytes);
    rc = mproc__queue_block_put(queue, row, block, deadline);
    if (rc < 0) {
        mproc__arena_free(&queue->arena, block);
        /* With its full fence: no unlock stands between the free and the look at the sleep bit. */
        mproc__eventcount_post(&queue->shared->room, queue->process_shared);
    }
    return rc;
}

int mproc__queue_put_slow(mproc_queue *queue, int row, unsigned kind, const void *data, size_t size_bytes,
                          mproc_deadline deadline)
{
    if (!mproc__queue_is_inline(queue, size_bytes))
        return mproc__queue_put_block(queue, row, kind, data, size_bytes, 0, deadline);
    item_put put = {kind, data, size_bytes};
    return mproc__queue_until(queue, &queue->shared->room, deadline, put_attempt, &put);
}

/* The tail, freshly read: what arrived at once decides how long the next poll waits for company. */
static uint64_t peek_streaming(mproc__queue_shared *shared, uint64_t head, uint64_t tail)
{
    uint32_t pauses = atomic_load_explicit(&shared->get.pauses, memory_order_relaxed);
    if (pauses < PAUSES_FIRST / 4 || pauses > PAUSES_MOST) /* more is nothing of ours, and could be minutes */
        pauses = PAUSES_FIRST;
    for (uint32_t i = 0; i < pauses; i++)
        mproc__pause();
    tail = atomic_load_explicit(&shared->tail, memory_order_acquire);
    uint32_t items = mproc__ring_items(head, tail);
    if (items >= ENOUGH_ITEMS)
        pauses = pauses * 2 < PAUSES_MOST ? pauses * 2 : PAUSES_MOST;
    else if (items <= 1)
        pauses /= 2;
    atomic_store_explicit(&shared->get.pauses, pauses, memory_order_relaxed);
    return tail;
}

/* The tail to believe: the one seen earlier while it has something, else a fresh one. */
static uint64_t peek_tail(mproc__queue_shared *shared, uint64_t head)
{
    uint64_t tail = atomic_load_explicit(&shared->get.side.seen, memory_order_relaxed);
    if (MPROC__LIKELY(tail != head))
        return tail;
    tail = atomic_load_explicit(&shared->tail, memory_order_acquire);
    uint32_t streak = atomic_load_explicit(&shared->get.streak, memory_order_relaxed);
    if (tail == head) {
        streak = 0;
    } else if (streak < STREAK_BEGINS) {
        streak++;
    } else if (mproc__ring_items(head, tail) < ENOUGH_ITEMS && mproc__spin_budget() > 0) {
        tail = peek_streaming(shared, head, tail);
    }
    atomic_store_explicit(&shared->get.streak, streak, memory_order_relaxed);
    atomic_store_explicit(&shared->get.side.seen, tail, memory_order_relaxed);
    return tail;
}

/* A record of the ring as an item: itself, or the block that it names. */
static int peek_record(mproc_queue *queue, const mproc__ring_view *view, mproc__queue_item *ret_item)
{
    *ret_item = (mproc__queue_item){.data = view->data,
                                    .size_bytes = view->size_bytes,
                                    .kind = view->kind,
                                    .block = MPROC__NO_BLOCK,
                                    .delivery = 1,
                                    .position = view->position,
                                    .next = view->next};
    if (view->kind == MPROC__ITEM_BYTES || view->kind == MPROC__ITEM_VARIANT)
        return 0;
    mproc__descriptor_shared descriptor;
    if (view->kind != MPROC__ITEM_BLOCK || view->size_bytes != sizeof descriptor)
        return MPROC_ECORRUPT;
    memcpy(&descriptor, view->data, sizeof descriptor);
    mproc__block_shared *block = mproc__queue_block(queue, descriptor.block);
    if (!block || block->size_bytes != descriptor.size_bytes ||
        !mproc__queue_block_holds(queue, descriptor.block, descriptor.size_bytes) ||
        !mproc__arena_get(&queue->arena, descriptor.block, &ret_item->state))
        return MPROC_ECORRUPT;
    ret_item->data = mproc__block_bytes(block);
    ret_item->size_bytes = descriptor.size_bytes;
    ret_item->kind = block->kind;
    ret_item->block = descriptor.block;
    return 0;
}

/* A RETURNED block, if there is one; inside the consumers' side. Having looked is remembered only when none is left: who dies
 * before that makes the next consumer look once more. */
static bool peek_returned(mproc_queue *queue, mproc__queue_item *ret_item)
{
    mproc__queue_shared *shared = queue->shared;
    uint64_t marks = atomic_load_explicit(&shared->returned_marks, memory_order_acquire);
    if (MPROC__LIKELY(marks == atomic_load_explicit(&shared->get.marks_seen, memory_order_relaxed)))
        return false;
    if (mproc__queue_block_returned(queue, ret_item))
        return true;
    atomic_store_explicit(&shared->get.marks_seen, marks, memory_order_relaxed);
    return false;
}

/* The oldest in the ring. */
static int peek_ring(mproc_queue *queue, mproc__queue_item *ret_item)
{
    mproc__queue_shared *shared = queue->shared;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_relaxed);
    uint64_t tail = peek_tail(shared, head);
    mproc__ring_view view;
    int rc = mproc__queue_read(queue, head, tail, &view);
    return rc == 0 ? peek_record(queue, &view, ret_item) : rc;
}

int mproc__queue_peek(mproc_queue *queue, mproc__queue_item *ret_item)
{
    mproc__queue_shared *shared = queue->shared;
    /* Read before the tail: nothing is put after it, so "closed" and "empty" together are the end. */
    uint32_t state = atomic_load_explicit(&shared->state, memory_order_acquire);
    if (MPROC__UNLIKELY(state == MPROC__QUEUE_DISCARDED))
        return MPROC_EEND;
    int rc;
    if (MPROC__UNLIKELY(queue->order != MPROC_ORDER_FIFO))
        rc = mproc__order_peek(queue, ret_item);
    else if (peek_returned(queue, ret_item))
        rc = 0;
    else
        rc = peek_ring(queue, ret_item);
    return rc == -EAGAIN && state != MPROC__QUEUE_OPEN ? MPROC_EEND : rc;
}

bool mproc__queue_end_doubted(mproc_queue *queue, int rc)
{
    return MPROC__UNLIKELY(rc == MPROC_EEND) && queue->redeliver && mproc__segment_sweep(queue->segment) > 0;
}

int mproc__queue_accept(mproc_queue *queue, int row, const mproc__queue_item *item)
{
    if (item->block != MPROC__NO_BLOCK) {
        mproc__block_state leased = item->state;
        leased.state = MPROC__BLOCK_LEASED;
        leased.number = (uint8_t)item->delivery;
        leased.owner = (uint8_t)row;
        mproc__block_shared *block = mproc__queue_block(queue, item->block);
        if (!block)
            return MPROC_ECORRUPT;
        mproc__queue_stamps(queue, row);
        if (queue->order != MPROC_ORDER_FIFO)
            return mproc__order_accept(queue, item, leased);
        if (!item->returned)
            block->position = item->position;
        if (!mproc__arena_swap(&queue->arena, item->block, item->state, leased))
            return MPROC_ECORRUPT;
    }
    if (!item->returned)
        atomic_store_explicit(&queue->shared->head, item->next, memory_order_release);
    return 0;
}

void mproc__queue_accepted(mproc_queue *queue, const mproc__queue_item *item)
{
    mproc__queue_taken(queue, item->next ==
                                  atomic_load_explicit(&queue->shared->get.side.seen, memory_order_relaxed));
}

/* There is room since `start`: the consumer runs. Waits, not for long, until there is so much that the next look at the head
 * is some puts away. */
static void spin_for_more_room(const mproc_queue *queue, uint64_t start)
{
    uint64_t enough = (queue->ring.first_bytes << queue->ring.last) / ROOM_SHARE;
    if (enough > ROOM_BYTES)
        enough = ROOM_BYTES;
    for (uint32_t i = 0; i < ROOM_PATIENCE; i++) {
        uint64_t head = atomic_load_explicit(&queue->shared->head, memory_order_relaxed);
        if (mproc__ring_used_bytes(start, head) >= enough ||
            mproc__ring_items(start, head) > queue->ring.max_items / ROOM_SHARE)
            return;
        mproc__pause();
    }
}

/* Whether waiting on `event`, since the head was `start`, may be over; a look without the lock, so only a hint. */
static bool until_hint(const mproc_queue *queue, const mproc__eventcount_shared *event, uint64_t start)
{
    const mproc__queue_shared *shared = queue->shared;
    if (atomic_load_explicit(&shared->state, memory_order_relaxed) != MPROC__QUEUE_OPEN)
        return true;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_relaxed);
    if (event == &shared->room)
        return head != start;
    return atomic_load_explicit(&shared->tail, memory_order_relaxed) != head ||
           atomic_load_explicit(&shared->returned_marks, memory_order_relaxed) !=
               atomic_load_explicit(&shared->get.marks_seen, memory_order_relaxed);
}

/* Joiners do not spin: they wait for whole jobs. */
bool mproc__queue_spin(mproc_queue *queue, const mproc__eventcount_shared *event, bool inside,
                       const mproc__side_slot_shared *slot)
{
    unsigned budget = mproc__spin_budget();
    if (budget == 0 || event == &queue->shared->done || event == &queue->shared->dead)
        return false;
    _Atomic uint32_t *adaptive = event == &queue->shared->items ? &queue->get_spin : &queue->put_spin;
    uint32_t least = budget / SPIN_SHARE_LEAST + 1;
    uint32_t limit = atomic_load_explicit(adaptive, memory_order_relaxed);
    if (limit < least || limit > budget)
        limit = budget;
    uint64_t start = atomic_load_explicit(&queue->shared->head, memory_order_relaxed);
    for (uint32_t i = 0; i < limit; i++) {
        if (until_hint(queue, event, start)) {
            if (event == &queue->shared->room)
                spin_for_more_room(queue, start);
            atomic_store_explicit(adaptive, limit * 2 < budget ? limit * 2 : budget, memory_order_relaxed);
            return true;
        }
        if (inside && mproc__side_is_wanted(&queue->shared->get.side, slot))
            return false;
        mproc__pause();
    }
    atomic_store_explicit(adaptive, limit / 2 > least ? limit / 2 : least, memory_order_relaxed);
    return false;
}

typedef struct queue_wait {
    mproc__eventcount_shared *event;
    mproc_deadline deadline;
    mproc__queue_attempt_fn *attempt;
    void *context;
    bool told; /* explain knows that this thread waits, in: */
    int slot;
} queue_wait;

/* Nobody may be left for whom to wait. That is believed when one more look, for what the last one did before it went, finds
 * nothing either. */
static int until_over(mproc_queue *queue, const queue_wait *until)
{
    int over = mproc__queue_over(queue, until->event);
    if (MPROC__LIKELY(over == -EAGAIN))
        return over;
    int rc = until->attempt(queue, until->context, until->deadline);
    return rc == -EAGAIN ? over : rc;
}

/* Who only ever tries never sleeps, so no death wakes it: before it says no it looks for what the dead have left. */
static int until_too_late(mproc_queue *queue, const queue_wait *until)
{
    int rc = -EAGAIN;
    if (mproc__segment_sweep(queue->segment) > 0)
        rc = until->attempt(queue, until->context, until->deadline);
    if (rc == -EAGAIN)
        rc = until_over(queue, until);
    return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

static void until_tell(mproc_queue *queue, queue_wait *until)
{
    if (until->told)
        return;
    mproc__wait_kind kind = until->event == &queue->shared->items  ? MPROC__WAIT_ITEM
                            : until->event == &queue->shared->room ? MPROC__WAIT_ROOM
                                                                   : MPROC__WAIT_DONE;
    until->slot = mproc__waiting_begin(queue->segment, kind);
    until->told = true;
}

static int until_once(mproc_queue *queue, queue_wait *until)
{
    if (!mproc__queue_spin(queue, until->event, false, NULL)) {
        /* The sleep bit costs the next poster a system call: only who is about to sleep sets it. */
        uint32_t ticket = mproc__queue_prepare(queue, until->event);
        int rc = until->attempt(queue, until->context, until->deadline);
        if (rc == -EAGAIN)
            rc = until_over(queue, until);
        if (rc != -EAGAIN)
            return rc;
        until_tell(queue, until);
        rc = mproc__segment_wait(queue->segment, until->event, ticket, until->deadline);
        if (rc < 0 && rc != -ETIMEDOUT)
            return rc;
    }
    return until->attempt(queue, until->context, until->deadline);
}

int mproc__queue_until(mproc_queue *queue, mproc__eventcount_shared *event, mproc_deadline deadline,
                       mproc__queue_attempt_fn *attempt, void *context)
{
    queue_wait until = {.event = event, .deadline = deadline, .attempt = attempt, .context = context};
    int rc = -EAGAIN;
    while (rc == -EAGAIN && !mproc__deadline_past(deadline))
        rc = until_once(queue, &until);
    if (until.told)
        mproc__waiting_end(queue->segment, until.slot);
    if (rc == -EAGAIN && event == &queue->shared->items)
        rc = mproc__queue_quiet(queue, attempt, context, deadline);
    return rc == -EAGAIN ? until_too_late(queue, &until) : rc;
}
