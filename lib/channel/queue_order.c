/* SPDX-License-Identifier: BSD-2-Clause */
/* LIFO and priority queues: every item a block, and a heap of the queued ones where a FIFO queue has its ring.
 *
 * The blocks are the truth. Each carries its priority and the number of its arrival; an item is there from the moment its
 * word says QUEUED (or RETURNED) until it says LEASED, one compare-and-swap each. The heap and the count (tail less
 * head) are only copies, kept under one lock, the consumers' side's; the producers' is left to shutdown.
 *
 *   put, get     stale := 1 | the block's word (commit) | heap, count | stale := 0
 *   give back    as put; without the lock, should it not be to be had: the block's word (commit), returned_marks + 1
 *   a sweep      the latter, for what the dead had taken
 *
 * Whoever gets the lock and finds stale set, or marks that nobody has looked at, makes heap and count again from the
 * blocks: one look at each, after a death as a rule. If it is killed in that, stale is still set. That the lock
 * came from a dead owner says less: the one who learnt that may be dead by now, too. */
#include "platform/base.h"

#include "channel/heap.h"
#include "channel/queue.h"

enum {
    ENTRY_STEP = sizeof(mproc__entry_shared) /* of a position, for each item */
};

static mproc__entry_shared *order_entries(const mproc_queue *queue)
{
    return (mproc__entry_shared *)(void *)queue->ring.bytes;
}

static size_t order_room(const mproc_queue *queue)
{
    return queue->ring.first_bytes / sizeof(mproc__entry_shared);
}

/* The sign bit turned: INT32_MIN ranks before all others. */
static mproc__entry_shared entry_of(const mproc_queue *queue, uint32_t block, const mproc__block_shared *at)
{
    uint64_t sequence = at->position >> 3;
    bool lifo = queue->order == MPROC_ORDER_LIFO;
    return (mproc__entry_shared){.order = lifo ? ~sequence : sequence,
                                 .rank = lifo ? 0 : (uint32_t)at->priority ^ UINT32_C(0x80000000),
                                 .block = block};
}

static void stale_set(mproc__queue_shared *shared)
{
    atomic_store_explicit(&shared->order.stale, 1, memory_order_relaxed);
    atomic_signal_fence(
        memory_order_seq_cst); /* a death cuts between two instructions, not between two caches */
}

static void stale_clear(mproc__queue_shared *shared)
{
    atomic_store_explicit(&shared->order.stale, 0, memory_order_release);
}

static bool is_queued(mproc__block_state state)
{
    return state.state == MPROC__BLOCK_QUEUED || state.state == MPROC__BLOCK_RETURNED;
}

/* ---- from the blocks ---- */

typedef struct order_census {
    mproc_queue *queue;
    size_t count;
    int rc;
} order_census;

static bool census_enter(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    (void)arena;
    order_census *census = context;
    if (!is_queued(state))
        return true;
    const mproc__block_shared *at = mproc__queue_block(census->queue, block);
    if (!at || census->count >= order_room(census->queue)) {
        census->rc = MPROC_ECORRUPT;
        return false;
    }
    order_entries(census->queue)[census->count++] = entry_of(census->queue, block, at);
    return true;
}

/* Marks are read before the blocks: one that comes meanwhile is looked at again. */
static int order_rebuild(mproc_queue *queue)
{
    mproc__queue_shared *shared = queue->shared;
    uint64_t marks = atomic_load_explicit(&shared->returned_marks, memory_order_acquire);
    order_census census = {.queue = queue};
    stale_set(shared);
    mproc__arena_each(&queue->arena, census_enter, &census);
    if (census.rc < 0)
        return census.rc;
    mproc__heap_make(order_entries(queue), census.count);
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_relaxed);
    uint64_t tail = mproc__position_advance(head, census.count * ENTRY_STEP, (uint32_t)census.count);
    atomic_store_explicit(&shared->tail, tail, memory_order_release);
    atomic_store_explicit(&shared->get.marks_seen, marks, memory_order_relaxed);
    stale_clear(shared);
    return 0;
}

/* Whether heap and count are what the blocks say. */
static bool order_is_true(const mproc__queue_shared *shared)
{
    return !atomic_load_explicit(&shared->order.stale, memory_order_relaxed) &&
           atomic_load_explicit(&shared->returned_marks, memory_order_acquire) ==
               atomic_load_explicit(&shared->get.marks_seen, memory_order_relaxed);
}

int mproc__order_ready(mproc_queue *queue)
{
    return MPROC__LIKELY(order_is_true(queue->shared)) ? 0 : order_rebuild(queue);
}

void mproc__order_doubt(mproc_queue *queue)
{
    stale_set(queue->shared);
}

/* inside the consumers' side, and ready. */
static int order_count(const mproc_queue *queue, size_t *ret_count)
{
    uint64_t head = atomic_load_explicit(&queue->shared->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&queue->shared->tail, memory_order_relaxed);
    *ret_count = mproc__ring_items(head, tail);
    return MPROC__LIKELY(*ret_count <= order_room(queue)) ? 0 : MPROC_ECORRUPT;
}

static bool census_count(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    (void)arena;
    (void)block;
    *(size_t *)context += is_queued(state);
    return true;
}

size_t mproc__order_items(const mproc_queue *queue)
{
    size_t count = 0;
    const mproc__queue_shared *shared = queue->shared;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_acquire);
    if (order_is_true(shared))
        return mproc__ring_items(head, atomic_load_explicit(&shared->tail, memory_order_acquire));
    mproc__arena_each(&queue->arena, census_count, &count);
    return count;
}

/* ---- put ---- */

int mproc__order_check(mproc_queue *queue, int32_t priority)
{
    if (priority == 0 || queue->order == MPROC_ORDER_PRIORITY)
        return 0;
    return mproc__handle_fail(&queue->handle, -EINVAL, "priority %d in a queue that has none", (int)priority);
}

int mproc_queue_put_priority(mproc_queue *queue, const void *data, size_t size_bytes, int32_t priority,
                             mproc_deadline deadline)
{
    int row = mproc__queue_enter(queue);
    if (row < 0)
        return row;
    if (!data && size_bytes > 0)
        return mproc__handle_fail(&queue->handle, -EINVAL, "no data");
    int rc = mproc__order_check(queue, priority);
    if (rc < 0)
        return rc;
    rc = mproc__queue_fits(queue, size_bytes);
    if (rc == 0)
        rc = mproc__queue_use(queue, row, MPROC_ROLE_WRITE);
    if (rc == 0)
        rc = mproc__queue_put_ranked(queue, row, MPROC__ITEM_BYTES, data, size_bytes, priority, deadline);
    return mproc__queue_answer(queue, rc);
}

/* One more beside `count` others. */
static void order_enter(mproc_queue *queue, size_t count, mproc__entry_shared entry)
{
    mproc__queue_shared *shared = queue->shared;
    uint64_t tail = atomic_load_explicit(&shared->tail, memory_order_relaxed);
    mproc__heap_push(order_entries(queue), count, entry);
    atomic_store_explicit(&shared->tail, mproc__position_advance(tail, ENTRY_STEP, 1), memory_order_release);
}

static int put_locked(mproc_queue *queue, uint32_t block)
{
    mproc__queue_shared *shared = queue->shared;
    size_t count = 0;
    if (atomic_load_explicit(&shared->state, memory_order_relaxed) != MPROC__QUEUE_OPEN)
        return MPROC_ECLOSED;
    int rc = mproc__order_ready(queue);
    if (rc == 0)
        rc = order_count(queue, &count);
    if (rc < 0)
        return rc;
    if (count >= queue->ring.max_items || count >= order_room(queue))
        return -EAGAIN;
    mproc__block_state from;
    mproc__block_shared *at = mproc__queue_block(queue, block);
    if (!at || !mproc__arena_get(&queue->arena, block, &from) || from.state != MPROC__BLOCK_PRIVATE)
        return MPROC_ECORRUPT;
    mproc__block_state queued = from;
    queued.state = MPROC__BLOCK_QUEUED;
    uint64_t sequence = atomic_load_explicit(&shared->order.next, memory_order_relaxed);
    atomic_store_explicit(&shared->order.next, sequence + 1, memory_order_relaxed);
    at->position = sequence << 3;
    stale_set(shared);
    if (!mproc__arena_swap(&queue->arena, block, from, queued))
        return MPROC_ECORRUPT;
    order_enter(queue, count, entry_of(queue, block, at));
    stale_clear(shared);
    return 0;
}

static int put_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    mproc__side_shared *side = &queue->shared->get.side;
    int rc = mproc__side_lock(queue->segment, side, deadline);
    if (rc < 0)
        return rc;
    rc = put_locked(queue, *(const uint32_t *)context);
    mproc__side_release(side);
    if (rc == 0)
        mproc__queue_post(queue, &queue->shared->items);
    return rc;
}

int mproc__order_put(mproc_queue *queue, uint32_t block, mproc_deadline deadline)
{
    int rc = put_attempt(queue, &block, deadline);
    return rc != -EAGAIN ? rc
                         : mproc__queue_until(queue, &queue->shared->room, deadline, put_attempt, &block);
}

/* ---- give back ---- */

static int return_locked(mproc_queue *queue, uint32_t block, mproc__block_state from)
{
    size_t count = 0;
    const mproc__block_shared *at = mproc__queue_block(queue, block);
    int rc = at ? mproc__order_ready(queue) : MPROC_ECORRUPT;
    if (rc == 0)
        rc = order_count(queue, &count);
    if (rc == 0 && count >= order_room(queue))
        rc = MPROC_ECORRUPT; /* there is an entry for every block */
    if (rc < 0)
        return rc;
    mproc__block_state returned = from;
    returned.state = MPROC__BLOCK_RETURNED;
    stale_set(queue->shared);
    if (mproc__arena_swap(&queue->arena, block, from, returned))
        order_enter(queue, count, entry_of(queue, block, at));
    else
        rc = MPROC_ESTATE;
    stale_clear(queue->shared);
    return rc;
}

int mproc__order_return(mproc_queue *queue, uint32_t block, mproc__block_state from)
{
    mproc__side_shared *side = &queue->shared->get.side;
    if (mproc__robust_is_mine(&side->lock) || mproc__side_lock(queue->segment, side, MPROC_NOW) < 0)
        return -EAGAIN;
    int rc = return_locked(queue, block, from);
    mproc__side_release(side);
    if (rc == 0)
        mproc__queue_post(queue, &queue->shared->items);
    return rc;
}

/* ---- get ---- */

int mproc__order_peek(mproc_queue *queue, mproc__queue_item *ret_item)
{
    mproc__queue_shared *shared = queue->shared;
    size_t count = 0;
    int rc = mproc__order_ready(queue);
    if (rc == 0)
        rc = order_count(queue, &count);
    if (rc < 0)
        return rc;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&shared->tail, memory_order_relaxed);
    atomic_store_explicit(&shared->get.side.seen, tail, memory_order_relaxed);
    if (count == 0)
        return -EAGAIN;
    mproc__entry_shared first = order_entries(queue)[0];
    mproc__block_state state;
    mproc__block_shared *at = mproc__queue_block(queue, first.block);
    if (!at || !mproc__arena_get(&queue->arena, first.block, &state) || !is_queued(state))
        return MPROC_ECORRUPT;
    uint64_t size_bytes = at->size_bytes;
    if (!mproc__queue_block_holds(queue, first.block, size_bytes))
        return MPROC_ECORRUPT;
    *ret_item = (mproc__queue_item){.data = mproc__block_bytes(at),
                                    .size_bytes = size_bytes,
                                    .kind = at->kind,
                                    .block = first.block,
                                    .delivery = state.number + 1u,
                                    .priority = at->priority,
                                    .position = at->position,
                                    .next = mproc__position_advance(head, ENTRY_STEP, 1),
                                    .state = state};
    return 0;
}

int mproc__order_accept(mproc_queue *queue, const mproc__queue_item *item, mproc__block_state leased)
{
    mproc__queue_shared *shared = queue->shared;
    size_t count = 0;
    int rc = order_count(queue, &count);
    if (rc < 0 || count == 0)
        return MPROC_ECORRUPT;
    stale_set(shared);
    if (!mproc__arena_swap(&queue->arena, item->block, item->state, leased))
        return MPROC_ECORRUPT;
    mproc__heap_pop(order_entries(queue), count);
    atomic_store_explicit(&shared->head, item->next, memory_order_release);
    stale_clear(shared);
    return 0;
}
