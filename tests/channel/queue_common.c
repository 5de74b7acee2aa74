/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "channel/heap.h"
#include "channel/queue_common.h"

mproc_queue *queue_make(mproc__home home, const mproc_queue_options *options)
{
    mproc_place *place = NULL;
    mproc_queue *queue = NULL;
    if (mproc__place_local(home, &place) < 0)
        return NULL;
    mproc_queue_options ordered = options ? *options : (mproc_queue_options){.size = sizeof ordered};
    if (ordered.order == MPROC_ORDER_FIFO)
        ordered.order = QUEUE_ORDER;
    if (mproc_queue_create(place, &ordered, &queue) < 0)
        queue = NULL;
    mproc_place_close(&place);
    return queue;
}

typedef struct survey {
    mproc_queue *queue;
    uint8_t *named; /* a flag a granule */
    size_t private_blocks;
    const char *wrong;
} survey;

static bool survey_block(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    survey *s = context;
    (void)arena;
    if (s->named[block])
        return true;
    if (state.state == MPROC__BLOCK_PRIVATE)
        s->private_blocks++;
    else if (state.state != MPROC__BLOCK_LEASED && state.state != MPROC__BLOCK_RETURNED &&
             state.state != MPROC__BLOCK_DEAD)
        s->wrong = "a block that nobody names, takes or has given back";
    return true;
}

static void survey_ring(survey *s)
{
    mproc_queue *queue = s->queue;
    uint64_t head = queue->shared->head, tail = queue->shared->tail;
    mproc__ring_view view;
    for (; !s->wrong && head != tail; head = view.next) {
        if (mproc__queue_read(queue, head, tail, &view) < 0) {
            s->wrong = "an unreadable record";
        } else if (view.kind == MPROC__ITEM_BLOCK) {
            mproc__descriptor_shared descriptor;
            memcpy(&descriptor, view.data, sizeof descriptor);
            if (!mproc__queue_block(queue, descriptor.block))
                s->wrong = "a record that names no block";
            else if (s->named[descriptor.block]++)
                s->wrong = "a block named twice";
        }
    }
}

/* The heap of an ordered queue: made true first, as the next call would. */
static void survey_heap(survey *s)
{
    mproc_queue *queue = s->queue;
    const mproc__entry_shared *entries = (const void *)queue->ring.bytes;
    size_t items = mproc__order_items(queue);
    if (mproc__side_lock(queue->segment, &queue->shared->get.side, mproc_after_ms(1000)) < 0)
        s->wrong = "a lock that is not to be had";
    else if (mproc__order_ready(queue) < 0)
        s->wrong = "blocks that make no order";
    else
        mproc__side_release(&queue->shared->get.side);
    size_t count = mproc__ring_items(queue->shared->head, queue->shared->tail);
    if (!s->wrong && items != count)
        s->wrong = "a count that the blocks contradict";
    for (size_t i = 0; !s->wrong && i < count; i++) {
        mproc__block_state state;
        if (!mproc__queue_block(queue, entries[i].block) ||
            !mproc__arena_get(&queue->arena, entries[i].block, &state) ||
            (state.state != MPROC__BLOCK_QUEUED && state.state != MPROC__BLOCK_RETURNED))
            s->wrong = "an entry whose block is not queued";
        else if (s->named[entries[i].block]++)
            s->wrong = "a block entered twice";
        else if (i > 0 && mproc__entry_before(&entries[i], &entries[(i - 1) / 4]))
            s->wrong = "an entry above an earlier one";
    }
}

const char *queue_verify(mproc_queue *queue, size_t open_blocks)
{
    survey s = {.queue = queue, .named = calloc(queue->shared->layout.granule_count, 1)};
    if (!s.named)
        return "no memory";
    if (queue->order != MPROC_ORDER_FIFO)
        survey_heap(&s);
    else
        survey_ring(&s);
    if (!s.wrong)
        mproc__arena_each(&queue->arena, survey_block, &s);
    if (!s.wrong && s.private_blocks != open_blocks)
        s.wrong = "a private block too many or too few";
    free(s.named);
    return s.wrong;
}
