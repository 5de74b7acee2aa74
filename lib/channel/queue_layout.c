/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <string.h>

#include "channel/heap.h"
#include "channel/queue.h"

enum {
    BYTES_DEFAULT = 1 << 20,
    ITEM_BYTES_DEFAULT = 64, /* a bound on items alone makes room for this much each */
    GRANULE_LEAST = 64,      /* header and a small message: two of these */
    GRANULE_MOST = 4096,
    GRANULES_MOST = (1 << 24) - 1,
    GRANULES_AIM = 16384, /* a look at every block of the default queue takes about 10 us */
    DELIVERIES_DEFAULT = 5,
    DELIVERIES_MOST = 250 /* counted in a byte of the block's word */
};
#define BYTES_MOST (UINT64_C(1) << 35)

/* Where every item is a block, not larger than the average one: else max_items of them would not find a granule each. */
static uint64_t layout_granule(const mproc__queue_layout_shared *layout, bool by_block)
{
    uint64_t granule = GRANULE_LEAST, most = GRANULE_MOST;
    if (by_block && layout->max_items > 0)
        most = layout->max_bytes / layout->max_items;
    while (granule < GRANULE_MOST && granule * 2 <= most && layout->max_bytes / granule > GRANULES_AIM)
        granule *= 2;
    return granule;
}

/* Blocks: the budget, and what their headers and the rounding to granules may cost each of max_items. */
static int plan_blocks(mproc__queue_layout_shared *layout, bool by_block)
{
    uint64_t granule = layout_granule(layout, by_block);
    uint64_t count = mproc__round_up(layout->max_bytes, granule) / granule;
    uint64_t extra = layout->max_items > 0 && layout->max_items < count ? layout->max_items : count;
    layout->granule_bytes = granule;
    layout->granule_count = count + 1;
    if (layout->max_items > 0)
        layout->granule_count = count + extra;
    if (layout->max_items > 0 && by_block)
        layout->granule_count += mproc__round_up(extra * sizeof(mproc__block_shared), granule) / granule;
    return layout->granule_count <= GRANULES_MOST
               ? 0
               : mproc__fail(-EINVAL, "max_items %u: too many for an acknowledged or ordered queue",
                             layout->max_items);
}

static int plan_limits(const mproc_queue_options *options, mproc__queue_layout_shared *layout)
{
    if (options->max_items > MPROC__RING_ITEMS_MOST)
        return mproc__fail(-EINVAL, "max_items %zu: at most %u", options->max_items, MPROC__RING_ITEMS_MOST);
    if ((unsigned)options->exclusive > MPROC_ROLE_BOTH)
        return mproc__fail(-EINVAL, "exclusive %d: bits of mproc_role", (int)options->exclusive);
    if (options->exclusive && options->order != MPROC_ORDER_FIFO)
        return mproc__fail(-EINVAL, "an ordered queue has no exclusive sides: both use one lock");
    if (options->max_bytes > BYTES_MOST)
        return mproc__fail(-EINVAL, "max_bytes %zu: at most 32 GiB", options->max_bytes);
    if (options->max_deliveries > DELIVERIES_MOST)
        return mproc__fail(-EINVAL, "max_deliveries %u: at most %d", options->max_deliveries,
                           DELIVERIES_MOST);
    if (options->order < MPROC_ORDER_FIFO || options->order > MPROC_ORDER_PRIORITY)
        return mproc__fail(-EINVAL, "order %d: no such", (int)options->order);
    uint64_t for_items = (uint64_t)options->max_items * ITEM_BYTES_DEFAULT;
    layout->max_items = (uint32_t)options->max_items;
    layout->max_bytes = options->max_bytes          ? options->max_bytes
                        : for_items > BYTES_DEFAULT ? for_items
                                                    : BYTES_DEFAULT;
    layout->redeliver = options->redeliver;
    layout->keep_dead = options->keep_dead;
    layout->order = (uint32_t)options->order;
    layout->exclusive = (uint32_t)options->exclusive;
    layout->max_deliveries = options->max_deliveries ? options->max_deliveries : DELIVERIES_DEFAULT;
    if (options->name)
        strncpy(layout->name, options->name, sizeof layout->name - 1);
    return 0;
}

int mproc__queue_plan_make(const mproc_queue_options *options, mproc__queue_plan *ret_plan)
{
    static const mproc_queue_options defaults = {.size = sizeof defaults};
    mproc__queue_plan plan = {0};
    mproc__queue_layout_shared *layout = &plan.layout;
    int rc = plan_limits(options ? options : &defaults, layout);
    if (rc < 0)
        return rc;
    plan.pollable = options && options->pollable;
    bool by_block = layout->redeliver || layout->order != MPROC_ORDER_FIFO;
    rc = plan_blocks(layout, by_block);
    if (rc < 0)
        return rc;
    /* Records: the messages themselves, or a descriptor, or an entry of the heap, for each block there can be. */
    uint64_t each = layout->order != MPROC_ORDER_FIFO ? sizeof(mproc__entry_shared)
                                                      : mproc__record_bytes(sizeof(mproc__descriptor_shared));
    layout->ring_bytes = by_block ? mproc__ring_size((layout->granule_count + 1) * each, 0)
                                  : mproc__ring_size(layout->max_bytes, layout->max_items);
    layout->ring_offset = mproc__round_up(sizeof(mproc__queue_shared), MPROC__LINE);
    layout->arena_offset = layout->ring_offset + layout->ring_bytes;
    plan.size_bytes = layout->arena_offset + mproc__arena_bytes(layout->granule_bytes, layout->granule_count);
    *ret_plan = plan;
    return 0;
}

int mproc__queue_layout_init(mproc__segment *segment, const mproc__queue_plan *plan)
{
    mproc__queue_shared *shared = mproc__segment_root(segment);
    bool process_shared = mproc__segment_shared(segment);
    shared->layout = plan->layout;
    shared->bell.pollable = plan->pollable;
    mproc__robust_init(&shared->put.lock, process_shared);
    mproc__robust_init(&shared->get.lock, process_shared);
    mproc__robust_init(&shared->reader.lock, process_shared);
    mproc__robust_init(&shared->writer.lock, process_shared);
    return mproc__arena_init(segment, plan->layout.arena_offset, plan->layout.granule_bytes,
                             plan->layout.granule_count);
}

/* Checks a private copy of the numbers: what a peer writes there later changes nothing here. */
static int layout_read(mproc__segment *segment, mproc__queue_layout_shared *ret_layout)
{
    const mproc__queue_shared *shared = mproc__segment_root(segment);
    uint64_t size = mproc__segment_size(segment);
    if (size < sizeof *shared)
        return mproc__fail(MPROC_ECORRUPT, "a queue of %zu bytes is impossible", (size_t)size);
    memcpy(ret_layout, &shared->layout, sizeof *ret_layout);
    const mproc__queue_layout_shared *layout = ret_layout;
    uint64_t ring = layout->ring_bytes, granules = layout->granule_count, granule = layout->granule_bytes;
    bool good = ring >= MPROC__RING_BYTES_LEAST && ring <= MPROC__RING_BYTES_MOST &&
                (ring & (ring - 1)) == 0 &&
                layout->ring_offset == mproc__round_up(sizeof *shared, MPROC__LINE) && ring <= size &&
                layout->arena_offset == layout->ring_offset + ring && layout->arena_offset <= size &&
                granule >= GRANULE_LEAST && granule <= GRANULE_MOST && (granule & (granule - 1)) == 0 &&
                granules > 0 && granules < (1u << 24) && granule * granules > sizeof(mproc__block_shared) &&
                layout->max_items <= MPROC__RING_ITEMS_MOST && layout->max_deliveries > 0 &&
                layout->max_deliveries <= DELIVERIES_MOST && layout->max_bytes <= BYTES_MOST &&
                layout->order <= MPROC_ORDER_PRIORITY && layout->exclusive <= MPROC_ROLE_BOTH &&
                (layout->exclusive == 0 || layout->order == MPROC_ORDER_FIFO) &&
                memchr(layout->name, 0, sizeof layout->name);
    return good ? 0 : mproc__fail(MPROC_ECORRUPT, "the queue's layout does not fit its segment");
}

int mproc__queue_view(mproc_queue *queue, mproc__segment *segment)
{
    mproc__queue_layout_shared layout;
    int rc = layout_read(segment, &layout);
    if (rc == 0)
        rc = mproc__arena_open(segment, layout.arena_offset, &queue->arena);
    if (rc < 0)
        return rc;
    if (queue->arena.granule_bytes != layout.granule_bytes ||
        queue->arena.granule_count != layout.granule_count)
        return mproc__fail(MPROC_ECORRUPT, "the queue's layout and its arena's differ");
    queue->segment = segment;
    queue->shared = mproc__segment_root(segment);
    queue->ring.bytes = (uint8_t *)queue->shared + layout.ring_offset;
    queue->ring.size_bytes = layout.ring_bytes;
    queue->ring.max_items = layout.max_items > 0 ? layout.max_items : MPROC__RING_ITEMS_MOST;
    queue->process_shared = mproc__segment_shared(segment);
    queue->max_items = layout.max_items;
    queue->redeliver = layout.redeliver != 0;
    queue->keep_dead = layout.keep_dead != 0;
    queue->order = (mproc_order)layout.order;
    queue->by_block = queue->redeliver || queue->order != MPROC_ORDER_FIFO;
    queue->exclusive = layout.exclusive;
    queue->max_deliveries = layout.max_deliveries;
    queue->max_bytes = layout.max_bytes;
    queue->block_bytes = layout.granule_bytes * layout.granule_count - sizeof(mproc__block_shared);
    memcpy(queue->name, layout.name, sizeof queue->name);
    return 0;
}
