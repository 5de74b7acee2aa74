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
/* Blocks up to this are there from the beginning, of more at first a quarter of it: as of the ring. */
#define ARENA_WHOLE_BYTES MPROC__RING_WHOLE_BYTES
#define ARENA_FIRST_BYTES MPROC__RING_FIRST_BYTES

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
    if (layout->granule_count > GRANULES_MOST &&
        !by_block) /* of the largest budgets, for the sake of some headers */
        layout->granule_count = GRANULES_MOST;
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

/* The row of rings of a layout, at `bytes`. A heap is no row. */
static mproc__ring layout_ring(const mproc__queue_layout_shared *layout, uint8_t *bytes)
{
    return mproc__ring_first(bytes, layout->ring_bytes,
                             layout->max_items > 0 ? layout->max_items : MPROC__RING_ITEMS_MOST,
                             layout->order == MPROC_ORDER_FIFO);
}

static uint64_t layout_first_granules(const mproc__queue_layout_shared *layout)
{
    bool whole = layout->granule_count * layout->granule_bytes <= 2 * ARENA_WHOLE_BYTES;
    return whole ? layout->granule_count : ARENA_FIRST_BYTES / layout->granule_bytes;
}

/* Records: the messages themselves, or a descriptor, or an entry of the heap, for each block there can be. */
static uint64_t plan_ring(const mproc__queue_layout_shared *layout)
{
    if (layout->order != MPROC_ORDER_FIFO)
        return mproc__ring_size((layout->granule_count + 1) * sizeof(mproc__entry_shared), 0);
    if (!layout->redeliver)
        return mproc__ring_size(layout->max_bytes, layout->max_items);
    uint64_t each = mproc__record_bytes(sizeof(mproc__descriptor_shared));
    uint64_t bytes = (layout->granule_count + 1) * each;
    return mproc__ring_size(bytes > MPROC__RING_WHOLE_BYTES ? bytes + MPROC__RINGS_MOST * 2 * each : bytes,
                            0);
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
    layout->ring_bytes = plan_ring(layout);
    layout->ring_offset = mproc__round_up(sizeof(mproc__queue_shared), MPROC__LINE);
    const mproc__ring ring = layout_ring(layout, NULL);
    layout->arena_offset = layout->ring_offset + mproc__ring_begin(&ring, ring.last + 1);
    plan.size_bytes = layout->arena_offset + mproc__arena_bytes(layout->granule_bytes, layout->granule_count);
    if (ring.last > 0 || layout_first_granules(layout) < layout->granule_count)
        plan.reserve_bytes = layout->ring_offset + ring.first_bytes;
    *ret_plan = plan;
    return 0;
}

/* Another one for each queue of this machine, as far as 32 bits go. */
static uint32_t layout_salt(void)
{
    static _Atomic uint32_t made;
    uint64_t x =
        (uint64_t)mproc__now_ns() ^ (uint64_t)mproc__pid() << 40 ^ (uint64_t)atomic_fetch_add(&made, 1) << 20;
    return (uint32_t)((x * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

int mproc__queue_layout_init(mproc__segment *segment, const mproc__queue_plan *plan)
{
    const mproc__queue_layout_shared *layout = &plan->layout;
    mproc__queue_shared *shared = mproc__segment_root(segment);
    bool process_shared = mproc__segment_shared(segment);
    shared->layout = *layout;
    shared->salt = layout_salt();
    shared->bell.pollable = plan->pollable;
    /* Of an ordered queue, both sides use one lock. */
    mproc__side_init(&shared->put.side, process_shared, layout->order == MPROC_ORDER_FIFO);
    mproc__side_init(&shared->get.side, process_shared, layout->order == MPROC_ORDER_FIFO);
    mproc__robust_init(&shared->reader.lock, process_shared);
    mproc__robust_init(&shared->writer.lock, process_shared);
    if (plan->reserve_bytes == 0)
        return mproc__arena_init(segment, layout->arena_offset, layout->granule_bytes, layout->granule_count);
    return mproc__arena_init_growing(segment, layout->arena_offset, layout->granule_bytes,
                                     layout->granule_count, layout_first_granules(layout));
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
    const mproc__ring rings = layout_ring(layout, NULL);
    bool good = ring >= MPROC__RING_BYTES_LEAST && ring <= MPROC__RING_BYTES_MOST &&
                (ring & (ring - 1)) == 0 &&
                layout->ring_offset == mproc__round_up(sizeof *shared, MPROC__LINE) && ring <= size &&
                layout->arena_offset == layout->ring_offset + mproc__ring_begin(&rings, rings.last + 1) &&
                layout->arena_offset <= size && granule >= GRANULE_LEAST && granule <= GRANULE_MOST &&
                (granule & (granule - 1)) == 0 && granules > 0 && granules < (1u << 24) &&
                granule * granules > sizeof(mproc__block_shared) &&
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
    queue->ring = layout_ring(&layout, (uint8_t *)queue->shared + layout.ring_offset);
    queue->put_ring = queue->ring;
    queue->get_ring = queue->ring;
    queue->process_shared = mproc__segment_shared(segment);
    queue->joined = &queue->home_joined;
    queue->row = &queue->home_row;
    atomic_store_explicit(&queue->home_joined, mproc__incarnation(), memory_order_relaxed);
    if (queue->process_shared)
        mproc__segment_seat(segment, &queue->joined, &queue->row);
    queue->max_items = layout.max_items;
    queue->redeliver = layout.redeliver != 0;
    queue->keep_dead = layout.keep_dead != 0;
    queue->order = (mproc_order)layout.order;
    queue->by_block = queue->redeliver || queue->order != MPROC_ORDER_FIFO;
    queue->exclusive = layout.exclusive;
    queue->max_deliveries = layout.max_deliveries;
    queue->max_bytes = layout.max_bytes;
    size_t record_bytes = layout.max_bytes < MPROC__RECORD_BYTES ? layout.max_bytes : MPROC__RECORD_BYTES;
    queue->quick_end = queue->by_block ? 0 : record_bytes + 1;
    queue->block_bytes = layout.granule_bytes * layout.granule_count - sizeof(mproc__block_shared);
    memcpy(queue->name, layout.name, sizeof queue->name);
    queue->salt = queue->shared->salt;
    return 0;
}
