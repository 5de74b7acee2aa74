/* SPDX-License-Identifier: BSD-2-Clause */
/* What explain tells of a queue. */
#include "platform/base.h"

#include <linux/futex.h>
#include <stdio.h>

#include "channel/queue.h"

/* A side is had for an instant at a time: whoever is seen inside has been stopped, or died there just now. (A role is held
 * from the first call on.) */
static void holder_explain(pid_t thread, const char *as, mproc__report *report)
{
    if (thread)
        mproc__report_holder(report, 0, thread, as);
}

static pid_t role_thread(const mproc__robust_shared *lock)
{
    return (pid_t)(atomic_load_explicit(mproc__robust_word(lock), memory_order_relaxed) & FUTEX_TID_MASK);
}

static const char *order_explain(const mproc__queue_shared *shared)
{
    switch (shared->layout.order) {
    case MPROC_ORDER_FIFO:
        return "";
    case MPROC_ORDER_LIFO:
        return ", last in first out";
    default:
        return ", by priority";
    }
}

/* Who is still there, and, when readers wait, for whom. */
static void roles_explain(const mproc__queue_shared *shared, mproc__report *report)
{
    mproc__role_census census = {0};
    char expected[32] = "";
    if (!atomic_load_explicit(&shared->counting, memory_order_relaxed))
        return;
    for (unsigned row = 0; row < MPROC__ROWS; row++)
        mproc__queue_role_count(&census,
                                atomic_load_explicit(&shared->roles.rows[row], memory_order_relaxed));
    if (shared->roles.expected_writers > 0)
        snprintf(expected, sizeof expected, " of %u expected", shared->roles.expected_writers);
    mproc__report_state(report, "read by %u, written by %u; %llu writers%s came", census.readers,
                        census.writers, (unsigned long long)census.came, expected);
    if (census.pending > 0 || census.lost > 0)
        mproc__report_state(report, "announced and still to come: %u; never came: %llu", census.pending,
                            (unsigned long long)census.lost);
}

void mproc__queue_explain(const void *root, size_t size_bytes, mproc__report *report)
{
    static const char *const states[] = {"open", "closed for puts", "closed, and what was in it is gone"};
    const mproc__queue_shared *shared = root;
    if (size_bytes < sizeof(*shared))
        return;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&shared->tail, memory_order_relaxed);
    uint32_t state = atomic_load_explicit(&shared->state, memory_order_relaxed);
    mproc__report_state(report, "%s, %u items in %llu of %llu bytes%s%s",
                        state < MPROC__COUNT(states) ? states[state] : "damaged",
                        mproc__ring_items(head, tail), (unsigned long long)mproc__ring_used_bytes(head, tail),
                        (unsigned long long)shared->layout.ring_bytes,
                        shared->layout.redeliver ? ", acknowledged" : "", order_explain(shared));
    if (shared->layout.max_items > 0)
        mproc__report_state(report, "at most %u items", shared->layout.max_items);
    roles_explain(shared, report);
    holder_explain(mproc__side_thread(&shared->put.side), "in a put", report);
    holder_explain(mproc__side_thread(&shared->get.side), "in a get", report);
    holder_explain(role_thread(&shared->writer.lock), "the only producer", report);
    holder_explain(role_thread(&shared->reader.lock), "the only consumer", report);
}
