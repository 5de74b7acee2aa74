/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks: what is too large for a record, every item of an acknowledged queue, and every loan.
 *
 *   state      from        who                                       if that process dies here
 *   PRIVATE    -           a producer claims it                      the sweep frees it
 *   QUEUED     PRIVATE     its owner, before the tail store          named by a record: ORPHAN; else freed
 *                          (ordered queue: in consumers' side)       stays: this was the commit (queue_order.c)
 *   ORPHAN     any named   its owner's sweep, in consumers' side     stays: any consumer takes it
 *   LEASED     any named   a consumer inside its side, before the    named (head not stored): ORPHAN; else RETURNED when
 *                          head store; or from RETURNED              acknowledged, freed when not
 *   DEAD       LEASED                    the same, when it was delivered too often     stays
 *   RETURNED   LEASED      the taker gives back, or its sweep        stays; the sweep marks again, should the mark be missing
 *   (free)     LEASED,     the taker is done, or the producer drops  stays
 *              PRIVATE
 *
 * Each change is one compare-and-swap of the block's word, which also carries the owner, so two that want the same block
 * cannot both have it. */
#include "platform/base.h"

#include <string.h>

#include "channel/queue.h"

bool mproc__queue_block_holds(const mproc_queue *queue, uint32_t block, uint64_t size_bytes)
{
    size_t room = mproc__arena_block_bytes(&queue->arena, block);
    return room >= sizeof(mproc__block_shared) && size_bytes <= room - sizeof(mproc__block_shared);
}

mproc__block_shared *mproc__queue_block(mproc_queue *queue, uint32_t block)
{
    mproc__block_shared *at = mproc__arena_data(&queue->arena, block);
    if (!at || at->magic != MPROC__BLOCK_MAGIC || !mproc__queue_block_holds(queue, block, at->size_bytes) ||
        (at->kind != MPROC__ITEM_BYTES && at->kind != MPROC__ITEM_VARIANT))
        return NULL;
    return at;
}

int mproc__queue_block_make(mproc_queue *queue, size_t size_bytes, unsigned kind, mproc_deadline deadline,
                            uint32_t *ret_block)
{
    size_t whole = sizeof(mproc__block_shared) + size_bytes;
    int rc = mproc__arena_alloc(queue->segment, &queue->arena, whole, MPROC_NOW, ret_block);
    if (MPROC__UNLIKELY(rc == -ETIMEDOUT)) /* the clock is looked at only now */
        rc = mproc__arena_alloc(queue->segment, &queue->arena, whole, mproc__queue_patience(deadline),
                                ret_block);
    if (rc < 0)
        return rc == -ENOSPC ? -EAGAIN : rc;
    mproc__block_shared *at = mproc__arena_data(&queue->arena, *ret_block);
    mproc__block_state state;
    if (!at || !mproc__arena_get(&queue->arena, *ret_block, &state))
        return MPROC_ECORRUPT;
    mproc__queue_stamps(queue, state.owner);
    *at = (mproc__block_shared){.size_bytes = size_bytes, .magic = MPROC__BLOCK_MAGIC, .kind = kind};
    return 0;
}

typedef struct block_claim {
    size_t size_bytes;
    unsigned kind;
    uint32_t *ret_block;
} block_claim;

static int claim_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    const block_claim *claim = context;
    if (atomic_load_explicit(&queue->shared->state, memory_order_relaxed) != MPROC__QUEUE_OPEN)
        return MPROC_ECLOSED;
    return mproc__queue_block_make(queue, claim->size_bytes, claim->kind, deadline, claim->ret_block);
}

int mproc__queue_block_claim(mproc_queue *queue, size_t size_bytes, unsigned kind, mproc_deadline deadline,
                             uint32_t *ret_block)
{
    block_claim claim = {size_bytes, kind, ret_block};
    int rc = claim_attempt(queue, &claim, deadline);
    return rc != -EAGAIN ? rc
                         : mproc__queue_until(queue, &queue->shared->room, deadline, claim_attempt, &claim);
}

static int put_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    return mproc__queue_push(queue, MPROC__ITEM_BLOCK, context, sizeof(mproc__descriptor_shared), deadline);
}

int mproc__queue_block_put(mproc_queue *queue, int row, uint32_t block, mproc_deadline deadline)
{
    mproc__block_state from;
    mproc__block_shared *at = mproc__queue_block(queue, block);
    if (!at || !mproc__arena_get(&queue->arena, block, &from) || from.state != MPROC__BLOCK_PRIVATE ||
        from.owner != row)
        return MPROC_ESTATE;
    if (queue->order != MPROC_ORDER_FIFO)
        return mproc__order_put(queue, block, deadline);
    mproc__block_state queued = from;
    queued.state = MPROC__BLOCK_QUEUED;
    if (!mproc__arena_swap(&queue->arena, block, from, queued))
        return MPROC_ESTATE;
    mproc__descriptor_shared descriptor = {.block = block, .size_bytes = at->size_bytes};
    int rc = put_attempt(queue, &descriptor, deadline);
    if (rc == -EAGAIN)
        rc = mproc__queue_until(queue, &queue->shared->room, deadline, put_attempt, &descriptor);
    if (rc < 0)
        (void)mproc__arena_swap(&queue->arena, block, queued,
                                from); /* not in the ring: nobody else touches it */
    return rc;
}

/* A block is freed, or nobody's any more, by a swap of its word. The fence, which on x86 that swap has been, also keeps the
 * look at head and tail behind it: the last of the done ones sees the ring empty. Whether anybody waits for the last comes
 * first, since the tail's line is the producers'. */
static void block_settled(mproc_queue *queue)
{
    mproc__queue_shared *shared = queue->shared;
#if defined(__x86_64__)
    atomic_signal_fence(memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
    mproc__queue_post(queue, &shared->room);
    uint32_t awaited = atomic_load_explicit(&shared->done.word, memory_order_relaxed) |
                       atomic_load_explicit(&shared->dead.word, memory_order_relaxed);
    if (MPROC__LIKELY(!(awaited & 1u)))
        return;
    if (atomic_load_explicit(&shared->head, memory_order_relaxed) ==
            atomic_load_explicit(&shared->tail, memory_order_relaxed) ||
        atomic_load_explicit(&shared->state, memory_order_relaxed) == MPROC__QUEUE_DISCARDED) {
        mproc__queue_post(queue, &shared->done);
        mproc__queue_post(queue, &shared->dead);
    }
}

int mproc__queue_block_finish(mproc_queue *queue, uint32_t block, mproc__block_state from)
{
    if (!mproc__arena_release(&queue->arena, block, from))
        return MPROC_ESTATE;
    block_settled(queue);
    return 0;
}

static int block_die(mproc_queue *queue, uint32_t block, mproc__block_state from)
{
    mproc__block_state dead = from;
    dead.state = MPROC__BLOCK_DEAD;
    if (!mproc__arena_swap(&queue->arena, block, from, dead))
        return MPROC_ESTATE;
    block_settled(queue);
    mproc__queue_post(queue, &queue->shared->dead);
    return 0;
}

int mproc__queue_block_return(mproc_queue *queue, uint32_t block, mproc__block_state from)
{
    mproc__queue_shared *shared = queue->shared;
    bool dead = from.number >= queue->max_deliveries;
    if ((dead && !queue->keep_dead) ||
        (atomic_load_explicit(&shared->state, memory_order_acquire) == MPROC__QUEUE_DISCARDED &&
         !mproc__queue_was_dead(queue, from))) {
        atomic_fetch_add_explicit(&shared->dropped, 1, memory_order_relaxed);
        return mproc__queue_block_finish(queue, block, from);
    }
    if (dead)
        return block_die(queue, block, from);
    int rc = queue->order != MPROC_ORDER_FIFO ? mproc__order_return(queue, block, from) : -EAGAIN;
    if (rc != -EAGAIN)
        return rc;
    mproc__block_state returned = from;
    returned.state = MPROC__BLOCK_RETURNED;
    if (!mproc__arena_swap(&queue->arena, block, from, returned))
        return MPROC_ESTATE;
    atomic_fetch_add_explicit(&shared->returned_marks, 1, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    mproc__queue_post(queue, &shared->items);
    return 0;
}

int mproc__queue_bytes_return(mproc_queue *queue, int row, unsigned kind, const void *data, size_t size_bytes,
                              uint64_t position)
{
    uint32_t block;
    int rc = mproc__queue_block_make(queue, size_bytes, kind, MPROC_NOW, &block);
    if (rc < 0)
        return rc == -EAGAIN || rc == -ETIMEDOUT
                   ? mproc__fail(-ENOSPC, "no room to give %zu bytes back now", size_bytes)
                   : rc;
    mproc__block_shared *at = mproc__arena_data(&queue->arena, block);
    if (!at)
        return MPROC_ECORRUPT;
    at->position = position;
    if (size_bytes > 0)
        memcpy(mproc__block_bytes(at), data, size_bytes);
    mproc__block_state from;
    if (!mproc__arena_get(&queue->arena, block, &from) || from.owner != row)
        return MPROC_ECORRUPT;
    mproc__block_state leased = from;
    leased.state = MPROC__BLOCK_LEASED; /* once delivered, by this process */
    leased.number = 1;
    return mproc__arena_swap(&queue->arena, block, from, leased)
               ? mproc__queue_block_return(queue, block, leased)
               : MPROC_ECORRUPT;
}

typedef struct block_oldest {
    mproc_queue *queue;
    uint64_t now; /* the head's byte position: ages count back from here, so that wrapping does no harm */
    uint64_t age;
    uint32_t block;
    mproc__block_state state;
} block_oldest;

static bool oldest_each(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    (void)arena;
    block_oldest *oldest = context;
    if (state.state != MPROC__BLOCK_RETURNED)
        return true;
    const mproc__block_shared *at = mproc__queue_block(oldest->queue, block);
    if (!at)
        return true;
    uint64_t age = mproc__bytes_between(at->position, oldest->now);
    if (oldest->block == MPROC__NO_BLOCK || age > oldest->age) {
        oldest->age = age;
        oldest->block = block;
        oldest->state = state;
    }
    return true;
}

bool mproc__queue_block_returned(mproc_queue *queue, mproc__queue_item *ret_item)
{
    uint64_t head = atomic_load_explicit(&queue->shared->head, memory_order_relaxed);
    block_oldest oldest = {.queue = queue, .now = mproc__position_bytes(head), .block = MPROC__NO_BLOCK};
    mproc__arena_each(&queue->arena, oldest_each, &oldest);
    if (oldest.block == MPROC__NO_BLOCK)
        return false;
    mproc__block_shared *at = mproc__queue_block(queue, oldest.block);
    if (!at)
        return false;
    uint64_t size_bytes = at->size_bytes;
    if (!mproc__queue_block_holds(queue, oldest.block, size_bytes))
        return false;
    *ret_item = (mproc__queue_item){.data = mproc__block_bytes(at),
                                    .size_bytes = size_bytes,
                                    .kind = at->kind,
                                    .block = oldest.block,
                                    .delivery = oldest.state.number + 1u,
                                    .returned = true,
                                    .position = at->position,
                                    .next = head,
                                    .state = oldest.state};
    return true;
}

typedef struct block_count {
    const mproc_queue *queue;
    size_t leased, returned;
} block_count;

static bool count_each(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    (void)arena;
    (void)block;
    block_count *count = context;
    count->leased += state.state == MPROC__BLOCK_LEASED && !mproc__queue_was_dead(count->queue, state);
    count->returned += state.state == MPROC__BLOCK_RETURNED;
    return true;
}

void mproc__queue_block_count(mproc_queue *queue, size_t *ret_leased, size_t *ret_returned)
{
    block_count count = {queue, 0, 0};
    mproc__arena_each(&queue->arena, count_each, &count);
    *ret_leased = count.leased;
    *ret_returned = count.returned;
}

/* ---- the sweep ---- */

/* Marks the dead row's blocks that the ring names, so that the second look leaves them alone. Inside the consumers' side;
 * the dead one puts no more. */
static void sweep_ring(mproc_queue *queue, unsigned row)
{
    uint64_t head = atomic_load_explicit(&queue->shared->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&queue->shared->tail, memory_order_acquire);
    mproc__ring_view view;
    for (; head != tail && mproc__queue_read(queue, head, tail, &view) == 0; head = view.next) {
        mproc__descriptor_shared descriptor;
        mproc__block_state state;
        if (view.kind != MPROC__ITEM_BLOCK || view.size_bytes != sizeof descriptor)
            continue;
        memcpy(&descriptor, view.data, sizeof descriptor);
        if (!mproc__arena_get(&queue->arena, descriptor.block, &state) || state.owner != row)
            continue;
        mproc__block_state orphan = state;
        orphan.state = MPROC__BLOCK_ORPHAN;
        (void)mproc__arena_swap(&queue->arena, descriptor.block, state, orphan);
    }
}

typedef struct block_sweep {
    mproc_queue *queue;
    unsigned row;
} block_sweep;

static bool sweep_each(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    (void)arena;
    block_sweep *sweep = context;
    mproc_queue *queue = sweep->queue;
    if (state.state == MPROC__BLOCK_RETURNED) {
        /* Whoever gave it back, and that is not always its owner, may have died before the mark. */
        atomic_fetch_add_explicit(&queue->shared->returned_marks, 1, memory_order_release);
        return true;
    }
    if (state.owner != sweep->row || (state.state == MPROC__BLOCK_QUEUED && queue->order != MPROC_ORDER_FIFO))
        return true;
    if (state.state == MPROC__BLOCK_LEASED && (queue->redeliver || mproc__queue_was_dead(queue, state)))
        (void)mproc__queue_block_return(queue, block, state);
    else if (state.state != MPROC__BLOCK_ORPHAN && state.state != MPROC__BLOCK_DEAD)
        /* By a swap: a loan that travelled may be done with by another process at this very moment, and the next owner
         * of its granules is not ours to free. */
        (void)mproc__queue_block_finish(queue, block, state);
    return true;
}

/* Inside the consumers' side. */
static void sweep_inside(mproc_queue *queue, unsigned row)
{
    bool ordered = queue->order != MPROC_ORDER_FIFO;
    bool there = atomic_load_explicit(&queue->shared->state, memory_order_relaxed) != MPROC__QUEUE_DISCARDED;
    if (!ordered && there)
        sweep_ring(queue, row);
    block_sweep sweep = {queue, row};
    mproc__arena_each(&queue->arena, sweep_each, &sweep);
    if (ordered)
        (void)mproc__order_ready(queue); /* damage: the next call says so */
}

/* Gives back what the process of a dead row left. May run twice, and half: each step is one swap, and what is settled no
 * longer answers to the row. When the consumers' lock is not to be had (its holder is stopped), the row is kept and
 * swept again. The wake-ups that the dead one owed are paid all the same, once: one who begins to sleep after this no longer
 * finds a death to look at. */
int mproc__queue_sweep(mproc__segment *segment, unsigned row, void *context)
{
    mproc_queue view = {0}; /* with a silent bell */
    if (mproc__queue_view(&view, segment) < 0)
        return 0; /* nothing to find in what cannot be true */
    mproc_deadline soon = mproc_after_ms(MPROC__SWEEP_MS);
    int rc = mproc__side_bury(segment, &view.shared->get.side, row, soon);
    if (rc >= 0)
        rc = mproc__side_lock_by(segment, &view.shared->get.side, soon);
    if (rc >= 0) {
        sweep_inside(&view, row);
        mproc__side_release(&view.shared->get.side);
        rc = mproc__side_bury(segment, &view.shared->put.side, row, soon);
    }
    if (rc == -EDEADLK) /* this thread is in a call: not now */
        rc = -ETIMEDOUT;
    if (rc == -ETIMEDOUT && mproc__segment_row_told(segment, row))
        return rc;
    if (rc != -ETIMEDOUT)
        mproc__queue_role_clear(&view, row);
    mproc__eventcount_post(&view.shared->items, view.process_shared);
    if (context)
        mproc__bell_ring_now(context);
    mproc__eventcount_post(&view.shared->room, view.process_shared);
    mproc__eventcount_post(&view.shared->done, view.process_shared);
    mproc__eventcount_post(&view.shared->dead, view.process_shared);
    return rc == -ETIMEDOUT ? rc : 0;
}
