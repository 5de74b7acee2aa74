/* SPDX-License-Identifier: BSD-2-Clause */
/* Loans. A producer's is a block it fills in place; a consumer's is a block it reads in place, or, where the item was a
 * record or an encoded variant, a private copy: no loan ever holds a lock or a part of the ring. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "channel/queue.h"
#include "data/variant.h"

/* An id: which item (32 bits: position in the ring, or a count; with the queue's salt), delivery (8), block (24). */
enum {
    ID_RESERVED = 0, /* deliveries that cannot be: a producer's loan, */
    ID_COPY = 255,   /* and a private copy of a record */
    ID_BLOCK_MASK = 0xffffff
};

static uint64_t id_make(const mproc_queue *queue, uint32_t block, uint32_t delivery, uint32_t which)
{
    return (uint64_t)(which ^ queue->salt) << 32 | (uint64_t)(delivery & 255u) << 24 |
           (block & ID_BLOCK_MASK);
}

static uint32_t id_block(uint64_t id)
{
    return (uint32_t)id & ID_BLOCK_MASK;
}

static uint32_t id_delivery(uint64_t id)
{
    return (uint32_t)(id >> 24) & 255u;
}

/* What a block of ours, PRIVATE or LEASED, is called. */
static uint64_t loan_id(const mproc_queue *queue, uint32_t block, uint32_t delivery, uint64_t position)
{
    return id_make(queue, block, delivery, (uint32_t)(position >> 3));
}

/* ---- private copies ---- */

/* One guard for the lists of all queues, held for some ten instructions: fork must find it free, or a child of a threaded
 * process would hang in its first loan, and a handler can be told of one mutex, not of each queue's. */
MPROC__FORK_DATA static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
/* Of all queues: two handles of one must not give the same numbers. The first under the guard. */
static uint32_t copy_count;
static _Atomic uint32_t reserve_count;
static int guard_code;

MPROC__FORK_TEXT static void guard_lock(void)
{
    pthread_mutex_lock(&guard);
}

MPROC__FORK_TEXT static void guard_unlock(void)
{
    pthread_mutex_unlock(&guard);
}

/* At the program's start: at the first use it might come while another thread forks, too late for that child. */
__attribute__((constructor(101))) static void guard_start(void)
{
    guard_code = -pthread_atfork(guard_lock, guard_unlock, guard_unlock);
}

int mproc__queue_copies_begin(void)
{
    return guard_code < 0 ? mproc__fail(guard_code, "cannot watch for forks") : 0;
}

/* The guard is held. */
static void copy_link(mproc_queue *queue, mproc__queue_copy *copy)
{
    copy->next = queue->copies;
    queue->copies = copy;
    atomic_fetch_add_explicit(&queue->copy_open, 1, memory_order_relaxed);
}

static mproc__queue_copy *copy_new(mproc_queue *queue, const mproc__queue_item *item)
{
    mproc__queue_copy *copy = malloc(sizeof *copy + item->size_bytes);
    if (!copy)
        return NULL;
    memset(copy, 0, sizeof *copy);
    copy->position = item->position;
    copy->size_bytes = item->size_bytes;
    copy->decoded = mproc_null();
    copy->delivery = item->delivery;
    copy->magic = MPROC__COPY_MAGIC;
    copy->kind = item->kind;
    guard_lock();
    copy->id = item->block == MPROC__NO_BLOCK ? id_make(queue, ID_BLOCK_MASK, ID_COPY, ++copy_count)
                                              : loan_id(queue, item->block, item->delivery, item->position);
    copy_link(queue, copy);
    guard_unlock();
    return copy;
}

/* Whoever may ask has the loan, and so has seen its copy linked. */
static mproc__queue_copy *copy_unlink(mproc_queue *queue, uint64_t id)
{
    if (MPROC__LIKELY(atomic_load_explicit(&queue->copy_open, memory_order_relaxed) == 0))
        return NULL;
    guard_lock();
    mproc__queue_copy **at = &queue->copies;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    mproc__queue_copy *copy = *at;
    if (copy) {
        *at = copy->next;
        atomic_fetch_sub_explicit(&queue->copy_open, 1, memory_order_relaxed);
    }
    guard_unlock();
    return copy;
}

static void copy_free(mproc__queue_copy *copy)
{
    if (!copy)
        return;
    mproc_variant_clear(&copy->decoded);
    copy->magic = 0;
    free(copy);
}

void mproc__queue_copies_free(mproc_queue *queue)
{
    while (queue->copies) {
        mproc__queue_copy *copy = queue->copies;
        queue->copies = copy->next;
        copy_free(copy);
    }
}

/* ---- the door ---- */

static int loan_enter(mproc_queue *queue, const mproc_loan *loan)
{
    int row = mproc__queue_enter(queue);
    if (row >= 0 && (!loan || loan->size < sizeof *loan))
        return mproc__fail(-EINVAL, "a loan begins as MPROC_LOAN_INIT");
    return row;
}

static void loan_over(mproc_loan *loan)
{
    *loan = (mproc_loan)MPROC_LOAN_INIT;
}

/* The word of the block that an id means, if it still is what the id says. */
static bool loan_state(mproc_queue *queue, uint64_t id, unsigned state, mproc__block_state *ret_state)
{
    const mproc__block_shared *at = mproc__queue_block(queue, id_block(id));
    return at && mproc__arena_get(&queue->arena, id_block(id), ret_state) && ret_state->state == state &&
           ret_state->number == id_delivery(id) &&
           loan_id(queue, id_block(id), ret_state->number, at->position) == id;
}

/* ---- the producer's ---- */

/* Not the one that would make an id 0, which is no loan's. */
static uint64_t reserve_position(const mproc_queue *queue)
{
    uint32_t count = atomic_fetch_add_explicit(&reserve_count, 1, memory_order_relaxed) + 1;
    if (count == queue->salt)
        count = atomic_fetch_add_explicit(&reserve_count, 1, memory_order_relaxed) + 1;
    return (uint64_t)count << 3;
}

int mproc_queue_reserve(mproc_queue *queue, size_t size_bytes, mproc_deadline deadline, mproc_loan *ret_loan)
{
    int row = loan_enter(queue, ret_loan);
    if (row < 0)
        return row;
    uint32_t block = MPROC__NO_BLOCK;
    int rc = mproc__queue_fits(queue, size_bytes);
    if (rc == 0)
        rc = mproc__queue_use(queue, row, MPROC_ROLE_WRITE);
    if (rc == 0 && (queue->exclusive & MPROC_ROLE_WRITE))
        rc = mproc__queue_exclusive_have(queue, MPROC_ROLE_WRITE);
    if (rc == 0)
        rc = mproc__queue_block_claim(queue, size_bytes, MPROC__ITEM_BYTES, deadline, &block);
    if (rc < 0)
        return mproc__queue_answer(queue, rc);
    mproc__block_shared *at = mproc__queue_block(queue, block);
    if (!at)
        return mproc__queue_answer(queue, MPROC_ECORRUPT);
    at->position = reserve_position(queue);
    *ret_loan = (mproc_loan){.size = sizeof *ret_loan,
                             .id = loan_id(queue, block, ID_RESERVED, at->position),
                             .data = mproc__block_bytes(at),
                             .data_bytes = size_bytes};
    return 0;
}

/* It has no deadline of its own, and a queue that damage has made look full would keep it for ever. */
static int commit_block(mproc_queue *queue, int row, uint32_t block)
{
    for (;;) {
        int rc = mproc__queue_block_put(queue, row, block, mproc_after_ms(MPROC__QUEUE_CHECK_MS));
        if (rc == -ETIMEDOUT)
            rc = mproc__queue_check(queue) < 0 ? MPROC_ECORRUPT : -EAGAIN;
        if (rc != -EAGAIN)
            return rc;
    }
}

int mproc_queue_commit(mproc_queue *queue, mproc_loan *loan)
{
    int row = loan_enter(queue, loan);
    if (row < 0)
        return row;
    mproc__block_state state;
    if (loan->id == 0 || !loan_state(queue, loan->id, MPROC__BLOCK_PRIVATE, &state) || state.owner != row)
        return mproc__queue_answer(queue, MPROC_ESTATE);
    mproc__block_shared *at = mproc__queue_block(queue, id_block(loan->id));
    if (!at)
        return mproc__queue_answer(queue, MPROC_ECORRUPT);
    uint64_t reserved = at->size_bytes;
    if (loan->data_bytes > reserved)
        return mproc__handle_fail(&queue->handle, -EINVAL, "%zu bytes committed of a loan of %zu",
                                  loan->data_bytes, (size_t)reserved);
    int rc = mproc__order_check(queue, loan->priority);
    if (rc < 0)
        return rc;
    at->size_bytes = loan->data_bytes;
    at->priority = loan->priority;
    rc = commit_block(queue, row, id_block(loan->id));
    if (rc < 0)
        at->size_bytes = reserved;
    else
        loan_over(loan);
    return mproc__queue_answer(queue, rc);
}

int mproc_queue_drop(mproc_queue *queue, mproc_loan *loan)
{
    int row = loan_enter(queue, loan);
    if (row < 0)
        return row;
    mproc__block_state state;
    if (loan->id == 0 || !loan_state(queue, loan->id, MPROC__BLOCK_PRIVATE, &state) || state.owner != row)
        return mproc__queue_answer(queue, MPROC_ESTATE);
    int rc = mproc__queue_block_finish(queue, id_block(loan->id), state);
    if (rc == 0)
        loan_over(loan);
    return mproc__queue_answer(queue, rc);
}

/* ---- the consumer's ---- */

typedef struct loan_take {
    int row;
    bool dead; /* a dead letter */
    mproc__queue_item item;
    mproc__queue_copy *copy; /* NULL: read in place */
} loan_take;

/* inside the consumers' side. Memory first, so that a failure changes nothing. */
static int take_inside(mproc_queue *queue, loan_take *take)
{
    int rc = take->dead ? mproc__queue_dead_peek(queue, &take->item) : mproc__queue_peek(queue, &take->item);
    if (rc < 0)
        return rc;
    bool is_record = take->item.block == MPROC__NO_BLOCK;
    if (is_record || take->item.kind == MPROC__ITEM_VARIANT) {
        take->copy = copy_new(queue, &take->item);
        if (!take->copy)
            return mproc__fail(-ENOMEM, "no memory for a loan of %zu bytes", take->item.size_bytes);
    }
    if (is_record && take->item.size_bytes > 0)
        memcpy(take->copy->data, take->item.data, take->item.size_bytes);
    return take->dead ? mproc__queue_dead_accept(queue, take->row, &take->item)
                      : mproc__queue_accept(queue, take->row, &take->item);
}

static void take_undo(mproc_queue *queue, loan_take *take)
{
    if (take->copy)
        copy_free(copy_unlink(queue, take->copy->id));
    take->copy = NULL;
}

/* What was taken is copied after the unlock, where it has to be. */
static int take_settle(mproc_queue *queue, loan_take *take, int rc)
{
    if (rc < 0)
        take_undo(queue, take);
    else if (take->copy && take->item.block != MPROC__NO_BLOCK && take->item.size_bytes > 0)
        memcpy(take->copy->data, take->item.data, take->item.size_bytes);
    return rc;
}

static int take_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    loan_take *take = context;
    mproc__side_slot_shared *slot;
    int rc = mproc__queue_get_begin(queue, deadline, &slot);
    if (rc < 0)
        return rc;
    rc = take_inside(queue, take);
    mproc__queue_get_end(queue, slot);
    if (rc == 0)
        mproc__queue_accepted(queue, &take->item);
    return take_settle(queue, take, rc);
}

/* The dead are nobody's, also where the reader is somebody. */
static int take_dead_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    loan_take *take = context;
    mproc__side_shared *side = &queue->shared->get.side;
    int rc = mproc__side_lock(queue->segment, side, deadline);
    if (rc < 0)
        return rc;
    rc = take_inside(queue, take);
    mproc__side_release(side);
    return take_settle(queue, take, rc);
}

static int take_lend(mproc_queue *queue, const loan_take *take, int rc, mproc_loan *ret_loan)
{
    if (rc < 0)
        return mproc__queue_answer(queue, rc);
    const mproc__queue_item *item = &take->item;
    *ret_loan = (mproc_loan){.size = sizeof *ret_loan,
                             .id = take->copy ? take->copy->id
                                              : loan_id(queue, item->block, item->delivery, item->position),
                             .delivery = item->delivery,
                             .priority = item->priority,
                             .data = take->copy ? take->copy->data : (void *)(uintptr_t)item->data,
                             .data_bytes = item->size_bytes};
    return 0;
}

int mproc_queue_take(mproc_queue *queue, mproc_deadline deadline, mproc_loan *ret_loan)
{
    int row = loan_enter(queue, ret_loan);
    if (row < 0)
        return row;
    loan_take take = {.row = row};
    int rc = mproc__queue_use(queue, row, MPROC_ROLE_READ);
    if (rc == 0)
        rc = take_attempt(queue, &take, deadline);
    if (rc == -EAGAIN)
        rc = mproc__queue_until(queue, &queue->shared->items, deadline, take_attempt, &take);
    if (mproc__queue_end_doubted(queue, rc))
        rc = take_attempt(queue, &take, deadline);
    return take_lend(queue, &take, rc, ret_loan);
}

int mproc_queue_take_dead(mproc_queue *queue, mproc_deadline deadline, mproc_loan *ret_loan)
{
    int row = loan_enter(queue, ret_loan);
    if (row < 0)
        return row;
    if (!queue->keep_dead)
        return mproc__handle_fail(&queue->handle, -EINVAL, "a queue made without keep_dead drops them");
    loan_take take = {.row = row, .dead = true};
    int rc = take_dead_attempt(queue, &take, deadline);
    if (rc == -EAGAIN)
        rc = mproc__queue_until(queue, &queue->shared->dead, deadline, take_dead_attempt, &take);
    return take_lend(queue, &take, rc, ret_loan);
}

int mproc_queue_done(mproc_queue *queue, mproc_loan *loan)
{
    int row = loan_enter(queue, loan);
    if (row < 0)
        return row;
    mproc__block_state state;
    mproc__queue_copy *copy = copy_unlink(queue, loan->id);
    int rc = copy ? 0 : MPROC_ESTATE;
    if (loan->id != 0 && id_delivery(loan->id) != ID_COPY && id_delivery(loan->id) != ID_RESERVED)
        rc = loan_state(queue, loan->id, MPROC__BLOCK_LEASED, &state)
                 ? mproc__queue_block_finish(queue, id_block(loan->id), state)
                 : MPROC_ESTATE;
    copy_free(copy);
    if (rc == 0)
        loan_over(loan);
    return mproc__queue_answer(queue, rc);
}

int mproc_queue_give_back(mproc_queue *queue, mproc_loan *loan)
{
    int row = loan_enter(queue, loan);
    if (row < 0)
        return row;
    mproc__block_state state;
    int rc = MPROC_ESTATE;
    mproc__queue_copy *copy = copy_unlink(queue, loan->id);
    if (copy && id_delivery(loan->id) == ID_COPY)
        rc = mproc__queue_bytes_return(queue, row, copy->kind, copy->data, copy->size_bytes, copy->position);
    else if (loan->id != 0 && id_delivery(loan->id) != ID_RESERVED &&
             loan_state(queue, loan->id, MPROC__BLOCK_LEASED, &state))
        rc = mproc__queue_block_return(queue, id_block(loan->id), state);
    if (rc == -ENOSPC) { /* nothing changed: the loan stays */
        guard_lock();
        copy_link(queue, copy);
        guard_unlock();
        return mproc__queue_answer(queue, rc);
    }
    copy_free(copy);
    if (rc == 0)
        loan_over(loan);
    return mproc__queue_answer(queue, rc);
}

int mproc_queue_loan_variant(const mproc_loan *loan, mproc_variant *ret_item)
{
    if (!loan || loan->size < sizeof *loan || !loan->data || loan->delivery == 0 || !ret_item)
        return mproc__fail(-EINVAL, "not a taken loan");
    /* A block's and a copy's headers end alike, right before the data. */
    uint32_t what[2];
    memcpy(what, (const uint8_t *)loan->data - sizeof what, sizeof what);
    if (what[0] != MPROC__COPY_MAGIC && what[0] != MPROC__BLOCK_MAGIC)
        return mproc__fail(-EINVAL, "not a taken loan");
    if (what[1] == MPROC__ITEM_BYTES || what[0] == MPROC__BLOCK_MAGIC) {
        *ret_item = mproc_bytes(loan->data, loan->data_bytes);
        return 0;
    }
    mproc__queue_copy *copy = MPROC__CONTAINER(loan->data, mproc__queue_copy, data);
    if (copy->decoded.kind == MPROC_KIND_NULL) {
        int rc = mproc__queue_decode(copy->kind, copy->data, copy->size_bytes, &copy->decoded);
        if (rc < 0)
            return rc;
    }
    *ret_item = copy->decoded;
    ret_item->flags &= ~(uint32_t)MPROC__VARIANT_OWNED; /* borrowed: done clears it */
    return 0;
}
