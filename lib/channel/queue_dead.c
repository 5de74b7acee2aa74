/* SPDX-License-Identifier: BSD-2-Clause */
/* Dead letters: what was taken max_deliveries times and never done, kept where it is.
 *
 * A dead letter is a block in a state of its own, so that one compare-and-swap makes it one: it cannot be lost or doubled
 * between two queues. Rejected: a second queue to put it into; every process that may drop an item would have to have that
 * too, and a kill between put there and free here would double it. The price is that dead letters are room of this queue. */
#include "platform/base.h"

#include "channel/queue.h"

enum { DELIVERY_MOST = 254 }; /* counted in a byte; 255 means something else in a loan's id */

typedef struct dead_search {
    mproc_queue *queue;
    uint64_t now; /* in what positions count: the head's bytes; ordered: arrival number * 8 */
    uint64_t age;
    size_t dead;
    size_t leased, returned; /* may yet become one */
    mproc__queue_item item;
} dead_search;

static void dead_consider(dead_search *search, uint32_t block, mproc__block_state state)
{
    mproc__block_shared *at = mproc__queue_block(search->queue, block);
    if (!at)
        return;
    uint64_t size_bytes = at->size_bytes;
    uint64_t age = (search->now - at->position) & ((UINT64_C(1) << 40) - 1);
    if (!mproc__queue_block_holds(search->queue, block, size_bytes) ||
        (search->item.block != MPROC__NO_BLOCK && age <= search->age))
        return;
    search->age = age;
    search->item =
        (mproc__queue_item){.data = mproc__block_bytes(at),
                            .size_bytes = size_bytes,
                            .kind = at->kind,
                            .block = block,
                            .delivery = state.number < DELIVERY_MOST ? state.number + 1u : DELIVERY_MOST,
                            .priority = at->priority,
                            .returned = true,
                            .position = at->position,
                            .state = state};
}

static bool dead_each(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    (void)arena;
    dead_search *search = context;
    if (state.state == MPROC__BLOCK_DEAD) {
        search->dead++;
        dead_consider(search, block, state);
    }
    search->leased += state.state == MPROC__BLOCK_LEASED && !mproc__queue_was_dead(search->queue, state);
    search->returned += state.state == MPROC__BLOCK_RETURNED;
    return true;
}

static dead_search dead_find(mproc_queue *queue)
{
    const mproc__queue_shared *shared = queue->shared;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_acquire);
    uint64_t next = atomic_load_explicit(&shared->order.next, memory_order_relaxed);
    dead_search search = {.queue = queue,
                          .now = queue->order == MPROC_ORDER_FIFO ? mproc__position_bytes(head) : next << 3,
                          .item = {.block = MPROC__NO_BLOCK}};
    mproc__arena_each(&queue->arena, dead_each, &search);
    return search;
}

/* Whether nobody will put any more, for now or for good. */
static bool dead_closed(mproc_queue *queue)
{
    return atomic_load_explicit(&queue->shared->state, memory_order_acquire) != MPROC__QUEUE_OPEN ||
           mproc__queue_over(queue, &queue->shared->items) != -EAGAIN;
}

int mproc__queue_dead_peek(mproc_queue *queue, mproc__queue_item *ret_item)
{
    const mproc__queue_shared *shared = queue->shared;
    bool closed = dead_closed(queue); /* before the look at what is there */
    /* For an item that a dead producer left queued and not counted. */
    int rc = queue->order != MPROC_ORDER_FIFO ? mproc__order_ready(queue) : 0;
    if (rc < 0)
        return rc;
    bool discarded = atomic_load_explicit(&shared->state, memory_order_acquire) == MPROC__QUEUE_DISCARDED;
    bool empty = discarded || atomic_load_explicit(&shared->head, memory_order_acquire) ==
                                  atomic_load_explicit(&shared->tail, memory_order_acquire);
    dead_search search = dead_find(queue);
    if (search.item.block != MPROC__NO_BLOCK) {
        *ret_item = search.item;
        return 0;
    }
    size_t open = search.leased + (discarded ? 0 : search.returned); /* those nobody takes any more */
    return closed && empty && open == 0 ? MPROC_EEND : -EAGAIN;
}

int mproc__queue_dead_accept(mproc_queue *queue, int row, const mproc__queue_item *item)
{
    mproc__block_state leased = item->state;
    leased.state = MPROC__BLOCK_LEASED;
    leased.number = (uint8_t)item->delivery;
    leased.owner = (uint8_t)row;
    mproc__queue_stamps(queue, row);
    return mproc__arena_swap(&queue->arena, item->block, item->state, leased) ? 0 : MPROC_ECORRUPT;
}

int mproc_queue_count_dead(const mproc_queue *queue, size_t *ret_kept, size_t *ret_dropped)
{
    int rc = mproc__handle_check(queue, MPROC_TYPE_QUEUE);
    if (rc == 0)
        rc = mproc__segment_check(queue->segment);
    if (rc < 0)
        return rc;
    if (ret_kept)
        *ret_kept = queue->keep_dead ? dead_find((mproc_queue *)(uintptr_t)queue).dead : 0;
    if (ret_dropped)
        *ret_dropped = atomic_load_explicit(&queue->shared->dropped, memory_order_relaxed);
    return 0;
}
