/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue's private side: what lies in shared memory, and what its files share. L4.
 *
 *   queue.c         life, put and get of bytes, shutdown, join, counts
 *   queue_item.c    one item in, one item out, under the ring's locks; waiting
 *   queue_block.c   blocks: states, give back, sweep of the dead
 *   side.c          a side's lock, and the thread that has it without (side.h)
 *   queue_quick.h   the way of nearly all messages
 *   queue_exclusive.c  sides with one user
 *   queue_check.c   whether what is queued can be true
 *   queue_loan.c    loans
 *   queue_dead.c    dead letters
 *   queue_order.c   LIFO and priority
 *   queue_poll.c    the descriptor of a pollable one
 *   queue_batch.c   many of one size
 *   queue_variant.c variants
 *   queue_role.c    who reads and who writes, and what follows when nobody does
 *   queue_expect.c  writers that are announced
 *   queue_grow.c    more memory for the ring, and less
 *   queue_layout.c  where things lie in the segment, and whether they can be true
 *
 * A killed process between any two instructions leaves this: the tail store makes an item visible, the head store takes
 * it, both after everything they promise; a block's word says whose it is, and a block that a record between head and
 * tail names belongs to the ring whatever its word says. So a lock whose owner died needs no repair, only blocks that no
 * record names need a look, and that is what the sweep does. */
#ifndef MPROC__CHANNEL_QUEUE_H
#define MPROC__CHANNEL_QUEUE_H

#include <mproc/queue.h>
#include "channel/queue_role.h"
#include "channel/ring.h"
#include "channel/side.h"
#include "data/handle.h"
#include "data/parcel.h"
#include "platform/platform.h"
#include "platform/robust.h"
#include "shm/arena.h"
#include "shm/bell.h"
#include "shm/explain.h"
#include "shm/noun.h"
#include "shm/segment.h"

enum {
    MPROC__ITEM_BYTES = MPROC__RECORD_LINK + 1, /* kinds of records and of blocks */
    MPROC__ITEM_VARIANT,
    MPROC__ITEM_BLOCK /* a record that is a mproc__descriptor_shared */
};

enum {
    MPROC__QUEUE_OPEN = 0,
    MPROC__QUEUE_CLOSED = 1,   /* no more puts; what is there may be got */
    MPROC__QUEUE_DISCARDED = 2 /* what the ring holds is no longer there */
};

/* What a block's word says it is; see queue_block.c for who changes it. */
enum {
    MPROC__BLOCK_PRIVATE = 0, /* its owner fills it */
    MPROC__BLOCK_QUEUED,      /* its owner puts it into the ring, or has */
    MPROC__BLOCK_ORPHAN,      /* in the ring; its owner is dead */
    MPROC__BLOCK_LEASED,      /* taken by its owner; or about to be, when the ring still names it */
    MPROC__BLOCK_RETURNED,    /* to be taken again, before anything in the ring */
    MPROC__BLOCK_DEAD         /* delivered too often, and kept; nobody's, whatever owner it names */
};

/* Written by the creator before the segment can be seen by anyone else, then constant: no reader can find it half done.
 * An attacher checks every number against the segment's size. */
typedef struct mproc__queue_layout_shared {
    uint64_t ring_offset, ring_bytes; /* bytes of the last of the row of rings: the others follow from that */
    uint64_t arena_offset;            /* behind all rings */
    uint64_t granule_bytes, granule_count;
    uint64_t max_bytes; /* of one message */
    uint32_t max_items;
    uint32_t max_deliveries;
    uint32_t redeliver;
    uint32_t order;     /* mproc_order; not FIFO: the ring's bytes are a heap of entries (heap.h) */
    uint32_t exclusive; /* MPROC_ROLE_* bits */
    uint32_t keep_dead; /* what was delivered too often stays */
    char name[64];      /* for describe; cut */
} mproc__queue_layout_shared;

/* One side's lock and what only its holder reads and writes. Stale or torn values cannot arise (each is one word) and old
 * ones are safe: an old head makes the ring look fuller, an old tail emptier, and both are read again before "no". */
typedef struct mproc__queue_put_shared {
    mproc__side_shared side;       /* seen: the head */
    _Atomic int64_t grow_after_ns; /* there was no memory for the next ring; any value is harmless */
} mproc__queue_put_shared;

typedef struct mproc__queue_get_shared {
    mproc__side_shared side;     /* seen: the tail */
    _Atomic uint64_t marks_seen; /* returned_marks at a look that left no RETURNED block behind */
    _Atomic uint32_t streak;     /* polls in a row that found something at once */
    _Atomic uint32_t pauses;     /* back-off while streaming */
} mproc__queue_get_shared;

/* What orders a queue other than FIFO; inside the consumers' side. */
typedef struct mproc__queue_order_shared {
    _Atomic uint64_t
        next; /* arrival number of the next item. Who dies after counting it leaves a gap, which is harmless */
    /* 1 from before a block becomes or ceases to be queued until heap and count say the same. Who dies in between leaves
     * it set, and the next holder makes both again from the blocks. */
    _Atomic uint32_t stale;
} mproc__queue_order_shared;
/* Of an exclusive side (queue_exclusive.c): its user holds `lock` from its first call to its end, and takes no other. The
 * kernel takes it from a thread that ends and from a process that dies, so a role is never anybody's but a living thread's. */
typedef struct mproc__queue_exclusive_shared {
    mproc__robust_shared lock;
} mproc__queue_exclusive_shared;

/* Each group on its own lines: what one side writes all the time, the other does not touch unless it must. */
typedef struct mproc__queue_shared {
    mproc__queue_layout_shared layout;
    uint32_t
        salt; /* in the ids of its loans: those of other queues mean nothing here; written as the layout is */
    /* producers, inside the producers' side */
    _Alignas(MPROC__LINE) mproc__queue_put_shared put;
    /* Written inside the producers' side with release; anyone may read. A producer dies before it: no item. After it: a
     * whole one. */
    _Alignas(MPROC__LINE) _Atomic uint64_t tail;
    /* consumers, inside the consumers' side */
    _Alignas(MPROC__LINE) mproc__queue_get_shared get;
    /* Written inside the consumers' side with release; anyone may read. A consumer dies before it: the item is still there.
     * After: it was taken by the dead. */
    _Alignas(MPROC__LINE) _Atomic uint64_t head;
    /* Seldom written: every call reads these, so the line stays in all caches. */
    _Alignas(MPROC__LINE) _Atomic uint32_t state; /* MPROC__QUEUE_*; grows, under both locks */
    _Atomic uint32_t counting; /* roles are counted; 0 to 1 by whoever needs it, and never back */
    _Atomic uint32_t dropped;  /* items above max_deliveries; a count for people, a kill may lose one */
    _Atomic uint64_t
        returned_marks; /* counts up after each RETURNED; a giver killed in between is swept, and that
                                           marks again */
    mproc__eventcount_shared items; /* posted by producers and givers: consumers sleep here */
    mproc__eventcount_shared room;  /* posted by consumers and whoever frees a block: producers sleep here */
    mproc__eventcount_shared done;  /* posted when the last item may be done: joiners sleep here */
    mproc__eventcount_shared dead;  /* posted with each dead letter, and when there may be no more of them */
    mproc__bell_shared bell;        /* rung when `items` is posted and somebody slept there or polls */
    _Alignas(MPROC__LINE) mproc__queue_order_shared order;
    _Alignas(MPROC__LINE) mproc__queue_roles_shared roles;
    /* Written at a first call and at the end of a user; read by each call of that side. */
    _Alignas(MPROC__LINE) mproc__queue_exclusive_shared reader, writer;
} mproc__queue_shared;

/* The whole of an item in a block's record. Written and read as a record of the ring. */
typedef struct mproc__descriptor_shared {
    uint32_t block;
    uint32_t unused;
    uint64_t size_bytes; /* as in the block */
} mproc__descriptor_shared;

/* The first bytes of a block. Written by its owner while it is PRIVATE, `position` also by whoever takes it from the ring
 * inside the consumers' side before it is LEASED; in an ordered queue by its owner, inside it too, before it is QUEUED.
 * Who dies here leaves a block that is freed unread, or taken again. */
typedef struct mproc__block_shared {
    uint64_t size_bytes;
    uint64_t
        position; /* in the ring, once taken: which item, and which is older; ordered: arrival number * 8 */
    int32_t priority; /* of a priority queue's item; else 0 */
    uint32_t unused;
    uint32_t magic; /* MPROC__BLOCK_MAGIC: the eight bytes before any loan's data say what it is */
    uint32_t kind;  /* MPROC__ITEM_BYTES or _VARIANT */
} mproc__block_shared;

#define MPROC__BLOCK_MAGIC 0x626c6f63u /* "bloc" */
#define MPROC__COPY_MAGIC  0x636f7079u /* "copy" */
#define MPROC__NO_BLOCK    UINT32_MAX

/* A private copy of a taken item: inline records, and encoded variants. Belongs to the handle until done. */
typedef struct mproc__queue_copy {
    struct mproc__queue_copy *next;
    uint64_t id;
    uint64_t position;
    uint64_t size_bytes;
    mproc_variant decoded; /* made by the first loan_variant; null before */
    uint32_t delivery;
    uint32_t unused;
    uint32_t magic; /* MPROC__COPY_MAGIC; these two lie right before the data, as in a block */
    uint32_t kind;
    uint8_t data[];
} mproc__queue_copy;

struct mproc_queue {
    mproc__handle handle;
    mproc__segment *segment;
    mproc__queue_shared *shared;
    mproc__arena arena;
    mproc__ring ring;     /* the first of the row */
    mproc__ring put_ring; /* where this handle last met the tail; inside the producers' side */
    mproc__ring get_ring; /* and the head; inside the consumers' side */
    mproc__bell bell;
    bool process_shared;
    bool redeliver, keep_dead;
    bool by_block; /* small messages, too: acknowledged or ordered */
    mproc_order order;
    uint32_t exclusive;             /* as in the layout */
    size_t quick_end;               /* messages below this are records, and within the budget */
    const _Atomic uint64_t *joined; /* the incarnation for which *row is right; of a thread home: */
    const unsigned *row;
    _Atomic uint64_t home_joined;
    unsigned home_row;
    uint32_t max_deliveries;
    uint64_t max_bytes;
    uint64_t block_bytes;                /* the largest message that fits a block */
    _Atomic uint32_t get_spin, put_spin; /* adaptive budgets; any value is right */
    _Atomic uint32_t rings_shed;         /* so many have been given back, as far as this handle knows */
    _Atomic bool shed_due;               /* the head was met in another ring */
    _Atomic uint64_t
        stamper; /* the incarnation that last stamped a block with stamp_row: what close settles */
    _Atomic int stamp_row;
    uint32_t max_items; /* as in the layout; so is the name */
    char name[64];
    uint32_t salt;              /* as in shared memory */
    mproc__queue_copy *copies;  /* this and changes of the next are guarded in queue_loan.c */
    _Atomic uint32_t copy_open; /* in the list */
};

/* ---- queue_layout.c ---- */
typedef struct mproc__queue_plan {
    mproc__queue_layout_shared layout;
    bool pollable;
    size_t size_bytes;    /* of the root */
    size_t reserve_bytes; /* of it at once, beside what the arena reserves for itself; 0: all */
} mproc__queue_plan;
/* Sizes for options (checked here: -EINVAL). */
int mproc__queue_plan_make(const mproc_queue_options *options, mproc__queue_plan *ret_plan);
int mproc__queue_layout_init(mproc__segment *segment, const mproc__queue_plan *plan);
/* Fills the handle's view of a segment, by anybody's hand: 0, or MPROC_ECORRUPT when its numbers do not fit. */
int mproc__queue_view(mproc_queue *queue, mproc__segment *segment);

/* ---- queue.c ---- */
/* The first line of a call: this process's row, or an error. Every caller is a participant: one that dies between its commit
 * and its wake is noticed by its life word. */
int mproc__queue_enter_slow(mproc_queue *queue);
static inline int mproc__queue_enter(mproc_queue *queue)
{
    const mproc__me *me = &mproc__me_now;
    if (MPROC__LIKELY(queue && queue->handle.magic == MPROC__HANDLE_MAGIC &&
                      queue->handle.type == MPROC_TYPE_QUEUE && mproc__me_is_true(me) &&
                      atomic_load_explicit(queue->joined, memory_order_acquire) == me->incarnation))
        return (int)*queue->row;
    return mproc__queue_enter_slow(queue);
}
/* Remembers that blocks carry this row, for close. */
static inline void mproc__queue_stamps(mproc_queue *queue, int row)
{
    atomic_store_explicit(&queue->stamp_row, row, memory_order_relaxed);
    atomic_store_explicit(&queue->stamper, mproc__incarnation(), memory_order_relaxed);
}
/* The last line: gives a failure its story, unless it is one that happens as a matter of course. */
int mproc__queue_answer(mproc_queue *queue, int rc);
/* -EMSGSIZE above the budget, with a story. */
int mproc__queue_too_large(mproc_queue *queue, size_t size_bytes);
static inline int mproc__queue_fits(mproc_queue *queue, size_t size_bytes)
{
    bool fits = size_bytes <= queue->max_bytes && size_bytes <= queue->block_bytes;
    return MPROC__LIKELY(fits) ? 0 : mproc__queue_too_large(queue, size_bytes);
}
/* Whether messages of this size are records; else blocks. */
static inline bool mproc__queue_is_inline(const mproc_queue *queue, size_t size_bytes)
{
    return size_bytes <= MPROC__RECORD_BYTES && !queue->by_block;
}
extern const mproc__noun mproc__queue_noun;
/* Before the first thing a call does as reader or writer: 0, or -EPERM. */
static inline int mproc__queue_use(mproc_queue *queue, int row, mproc_role role)
{
    const mproc__queue_shared *shared = queue->shared;
    if (MPROC__LIKELY(!atomic_load_explicit(&shared->counting, memory_order_relaxed)) ||
        (atomic_load_explicit(&shared->roles.rows[row], memory_order_relaxed) & role))
        return 0;
    return mproc__queue_role_claim(queue, row, role);
}

/* ---- queue_exclusive.c ---- */
/* The calling thread has the role, or gets it now: 0; -EBUSY: somebody else has it (with a story); MPROC_ECORRUPT. */
int mproc__queue_exclusive_take(mproc_queue *queue, mproc_role side);
static inline int mproc__queue_exclusive_have(mproc_queue *queue, mproc_role side)
{
    const mproc__queue_shared *shared = queue->shared;
    const mproc__robust_shared *lock = side == MPROC_ROLE_WRITE ? &shared->writer.lock : &shared->reader.lock;
    return MPROC__LIKELY(mproc__robust_is_held(lock)) ? 0 : mproc__queue_exclusive_take(queue, side);
}
/* Gives back what the calling thread has of these sides. False: another thread of this process has one, so that the segment
 * must stay mapped. */
bool mproc__queue_exclusive_leave(mproc_queue *queue, unsigned sides);

/* ---- queue_grow.c ---- */
/* mproc__ring_write on put_ring failed; with a head just read, inside the producers' side: again, in the ring that the tail
 * is in, or if that is full in the next one. -EAGAIN: it is full by count, the last one, or there is no memory. */
int mproc__queue_write_on(mproc_queue *queue, uint64_t head, uint64_t tail, unsigned kind, const void *data,
                          size_t size_bytes, uint64_t *ret_tail);
int mproc__queue_read_on(mproc_queue *queue, uint64_t head, uint64_t tail, mproc__ring_view *ret_view);
/* The record at head, in whichever ring; inside the consumers' side. As mproc__ring_read. */
static inline int mproc__queue_read(mproc_queue *queue, uint64_t head, uint64_t tail,
                                    mproc__ring_view *ret_view)
{
    int rc = mproc__ring_read(&queue->get_ring, head, tail, ret_view);
    return MPROC__LIKELY(rc != MPROC_ECORRUPT) ? rc : mproc__queue_read_on(queue, head, tail, ret_view);
}
/* Gives back the rings that lie behind the head; after the unlock. */
void mproc__queue_shed(mproc_queue *queue);

/* ---- queue_item.c ---- */
/* How long to wait for a lock that is held for an instant: to the deadline, and a little even for a try. */
mproc_deadline mproc__queue_patience(mproc_deadline deadline);
/* The way in of who has not been given the side: its lock, and in a queue where it is exclusive the role. 0; -ETIMEDOUT;
 * -EBUSY: another thread has the role; MPROC_ECORRUPT. */
int mproc__queue_side_lock(mproc_queue *queue, mproc_role role, mproc_deadline deadline);
void mproc__queue_side_unlock(mproc_queue *queue, mproc_role role);
/* Says "I may sleep" and gives the ticket: every commit from here on looks at it, every earlier one is seen. */
static inline uint32_t mproc__queue_prepare(mproc_queue *queue, mproc__eventcount_shared *event)
{
    mproc__side_shared *put = &queue->shared->put.side, *get = &queue->shared->get.side;
    uint32_t ticket = mproc__eventcount_prepare(event);
    if (mproc__side_has_owner(put) || mproc__side_has_owner(get))
        mproc__side_fence(queue->segment, put, get);
    return ticket;
}
/* The slow half of the next. */
void mproc__queue_wake(const mproc_queue *queue, mproc__eventcount_shared *event);
/* Wakes who sleeps; after the unlock. The commit must be visible before the look at the sleep bit: on x86 the release of
 * the mutex between the two, a locked instruction, has seen to that, and leaving the fence out gains a sixth; elsewhere it is
 * needed. (Who owns its side leaves it to the sleeper: mproc__queue_prepare.) */
static inline void mproc__queue_post(const mproc_queue *queue, mproc__eventcount_shared *event)
{
#if defined(__x86_64__)
    atomic_signal_fence(memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
    if (MPROC__UNLIKELY(atomic_load_explicit(&event->word, memory_order_relaxed) & 1u))
        mproc__queue_wake(queue, event);
}
/* Around everything that one side does with the ring. *ret_slot: how it was entered, for the end. */
static inline int mproc__queue_put_begin(mproc_queue *queue, mproc_deadline deadline,
                                         mproc__side_slot_shared **ret_slot)
{
    *ret_slot = mproc__side_enter(&queue->shared->put.side);
    return MPROC__LIKELY(*ret_slot) ? 0 : mproc__queue_side_lock(queue, MPROC_ROLE_WRITE, deadline);
}
static inline void mproc__queue_put_end(mproc_queue *queue, mproc__side_slot_shared *slot)
{
    if (MPROC__LIKELY(slot))
        mproc__side_leave(slot);
    else
        mproc__queue_side_unlock(queue, MPROC_ROLE_WRITE);
}
/* One record into the ring and a wake. 0, -EAGAIN: no room, MPROC_ECLOSED, -ETIMEDOUT: of the lock, MPROC_ECORRUPT. */
int mproc__queue_push(mproc_queue *queue, unsigned kind, const void *data, size_t size_bytes,
                      mproc_deadline deadline);
/* By a block. `priority` is the block's, checked. */
int mproc__queue_put_block(mproc_queue *queue, int row, unsigned kind, const void *data, size_t size_bytes,
                           int32_t priority, mproc_deadline deadline);
/* By a block, or when there was no room for a record. */
int mproc__queue_put_slow(mproc_queue *queue, int row, unsigned kind, const void *data, size_t size_bytes,
                          mproc_deadline deadline);
static inline int mproc__queue_put_item(mproc_queue *queue, int row, unsigned kind, const void *data,
                                        size_t size_bytes, mproc_deadline deadline)
{
    if (MPROC__LIKELY(mproc__queue_is_inline(queue, size_bytes))) {
        int rc = mproc__queue_push(queue, kind, data, size_bytes, deadline);
        if (MPROC__LIKELY(rc != -EAGAIN))
            return rc;
    }
    return mproc__queue_put_slow(queue, row, kind, data, size_bytes, deadline);
}
/* The same with a priority that was checked. */
static inline int mproc__queue_put_ranked(mproc_queue *queue, int row, unsigned kind, const void *data,
                                          size_t size_bytes, int32_t priority, mproc_deadline deadline)
{
    return priority == 0 ? mproc__queue_put_item(queue, row, kind, data, size_bytes, deadline)
                         : mproc__queue_put_block(queue, row, kind, data, size_bytes, priority, deadline);
}

/* What would be got next; between get_begin and get_end, as peek and accept. */
typedef struct mproc__queue_item {
    const void *data; /* in the ring or in the block */
    size_t size_bytes;
    unsigned kind;     /* MPROC__ITEM_BYTES or _VARIANT */
    uint32_t block;    /* MPROC__NO_BLOCK: a record */
    uint32_t delivery; /* from 1 */
    int32_t priority;
    bool returned; /* not in the ring */
    uint64_t position;
    uint64_t next;            /* the head after it */
    mproc__block_state state; /* the block's */
} mproc__queue_item;
static inline int mproc__queue_get_begin(mproc_queue *queue, mproc_deadline deadline,
                                         mproc__side_slot_shared **ret_slot)
{
    *ret_slot = mproc__side_enter(&queue->shared->get.side);
    return MPROC__LIKELY(*ret_slot) ? 0 : mproc__queue_side_lock(queue, MPROC_ROLE_READ, deadline);
}
static inline void mproc__queue_get_end(mproc_queue *queue, mproc__side_slot_shared *slot)
{
    if (MPROC__LIKELY(slot))
        mproc__side_leave(slot);
    else
        mproc__queue_side_unlock(queue, MPROC_ROLE_READ);
}
/* 0; -EAGAIN: nothing; MPROC_EEND; MPROC_ECORRUPT. Waits a little for more while streaming. */
int mproc__queue_peek(mproc_queue *queue, mproc__queue_item *ret_item);
/* rc is the end, and somebody has died whom nobody had buried: look again, what it had taken is there. Outside of the side. */
bool mproc__queue_end_doubted(mproc_queue *queue, int rc);
/* Takes what peek found: a block becomes LEASED by row, then the head moves. MPROC_ECORRUPT. */
int mproc__queue_accept(mproc_queue *queue, int row, const mproc__queue_item *item);
/* After the end: wakes who waits for room, or, `last`, for the end. */
static inline void mproc__queue_taken(mproc_queue *queue, bool last)
{
    mproc__queue_shared *shared = queue->shared;
    mproc__queue_post(queue, &shared->room);
    /* Joiners of a plain queue wait until it is drained; those of an acknowledged one for `done`. */
    if (last && !queue->redeliver) {
        mproc__queue_post(queue, &shared->done);
        if (queue->keep_dead) /* a record's end is no block's, and may be the end of all */
            mproc__queue_post(queue, &shared->dead);
    }
    if (MPROC__UNLIKELY(atomic_load_explicit(&queue->shed_due, memory_order_relaxed)))
        mproc__queue_shed(queue);
}
void mproc__queue_accepted(mproc_queue *queue, const mproc__queue_item *item);

/* Spins for as long as that has paid lately; whether it saw something. With `inside`, from between get_begin, which gave
 * `slot`, and get_end: whoever waits for the side ends the spin. */
bool mproc__queue_spin(mproc_queue *queue, const mproc__eventcount_shared *event, bool inside,
                       const mproc__side_slot_shared *slot);
/* Calls `attempt` until it answers other than -EAGAIN; spins, then sleeps on `event` in between. */
typedef int mproc__queue_attempt_fn(mproc_queue *queue, void *context, mproc_deadline deadline);
int mproc__queue_until(mproc_queue *queue, mproc__eventcount_shared *event, mproc_deadline deadline,
                       mproc__queue_attempt_fn *attempt, void *context);

/* ---- queue_explain.c ---- */
void mproc__queue_explain(const void *root, size_t size_bytes, mproc__report *report);

/* ---- queue_block.c ---- */
mproc__block_shared *mproc__queue_block(mproc_queue *queue, uint32_t block); /* NULL: no such, or damaged */
/* For a size that a peer may be writing at this very moment: read it once, ask this, use what was read. */
bool mproc__queue_block_holds(const mproc_queue *queue, uint32_t block, uint64_t size_bytes);
static inline void *mproc__block_bytes(mproc__block_shared *block)
{
    return block + 1;
}
/* A PRIVATE block with its header filled in, now or never: -EAGAIN. The deadline is the lock's: -ETIMEDOUT. */
int mproc__queue_block_make(mproc_queue *queue, size_t size_bytes, unsigned kind, mproc_deadline deadline,
                            uint32_t *ret_block);
/* The same for a put: waits for room; MPROC_ECLOSED. */
int mproc__queue_block_claim(mproc_queue *queue, size_t size_bytes, unsigned kind, mproc_deadline deadline,
                             uint32_t *ret_block);
/* From one state of this row's to QUEUED and into the ring; waits for room. On failure the block is PRIVATE again. */
int mproc__queue_block_put(mproc_queue *queue, int row, uint32_t block, mproc_deadline deadline);
/* The oldest RETURNED block; inside the consumers' side. False: none. */
bool mproc__queue_block_returned(mproc_queue *queue, mproc__queue_item *ret_item);
/* Frees a block whose word still is `from`; MPROC_ESTATE when somebody was first. */
int mproc__queue_block_finish(mproc_queue *queue, uint32_t block, mproc__block_state from);
/* LEASED to RETURNED, or, when delivered too often, DEAD or freed; MPROC_ESTATE. */
int mproc__queue_block_return(mproc_queue *queue, uint32_t block, mproc__block_state from);
/* Puts back, in a block, what was taken as a record: -ENOSPC. */
int mproc__queue_bytes_return(mproc_queue *queue, int row, unsigned kind, const void *data, size_t size_bytes,
                              uint64_t position);
/* How many blocks are LEASED or RETURNED and not named by the ring; inside the consumers' side, and the ring empty or
 * discarded. */
void mproc__queue_block_count(mproc_queue *queue, size_t *ret_leased, size_t *ret_returned);
int mproc__queue_sweep(mproc__segment *segment, unsigned row, void *context);

#include "channel/queue_parts.h"

#endif
