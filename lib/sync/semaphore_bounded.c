/* SPDX-License-Identifier: BSD-2-Clause */
/* Bounded semaphores: a ledger of who holds how many permits, which is all there is.
 *
 * Free is what the ledger leaves of the bound. Rejected: a count beside it, which saves adding up (a load for each row ever
 * used) and costs a repair after each death between the two stores, and one for each death of the repairer. */
#include "platform/base.h"

#include <stdio.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "sync/semaphore.h"

/* `taking` is held for less than a microsecond; longer means that its holder lost its CPU, and a try waits for that. */
enum { TAKING_MS = 20 };

static uint64_t word_of(uint32_t permits)
{
    return permits ? (uint64_t)(uint32_t)mproc__pid() << 32 | permits : 0;
}

uint64_t mproc__semaphore_held(const mproc__semaphore_shared *shared, unsigned rows)
{
    uint64_t sum = 0;
    for (unsigned row = 0; row < rows; row++)
        sum += atomic_load(&shared->held[row]) & UINT32_MAX;
    return sum;
}

static bool any_free(const mproc__local_semaphore *semaphore)
{
    return mproc__semaphore_held(semaphore->shared, mproc__segment_rows(semaphore->segment)) <
           semaphore->shared->bound;
}

/* ---- acquire ---- */

static int taking_acquire(mproc__local_semaphore *semaphore, mproc_deadline deadline)
{
    int code = mproc__robust_acquire(&semaphore->shared->taking, MPROC_NOW);
    if (MPROC__LIKELY(code != -ETIMEDOUT))
        return code;
    mproc_deadline patience = mproc_after_ms(TAKING_MS);
    return mproc__robust_acquire(&semaphore->shared->taking, patience.ns > deadline.ns ? patience : deadline);
}

/* Under `taking`, so nobody else takes; those who give meanwhile make it more. The swap is the commit. */
static int take_one(mproc__local_semaphore *semaphore, unsigned row)
{
    _Atomic uint64_t *held = &semaphore->shared->held[row];
    if (!any_free(semaphore))
        return -EAGAIN;
    atomic_store_explicit(&semaphore->acquirer, mproc__incarnation(), memory_order_relaxed);
    uint64_t seen = atomic_load(held);
    while (!atomic_compare_exchange_weak(held, &seen, word_of((uint32_t)seen + 1)))
        ;
    return 0;
}

/* A death that nobody noticed yet may have left permits: so none is free only after a look. */
static int bounded_try(mproc__local_semaphore *semaphore, mproc_deadline deadline)
{
    if (!any_free(semaphore) && !mproc__segment_sweep(semaphore->segment))
        return -EAGAIN;
    int row = mproc__segment_join(semaphore->segment);
    if (row < 0)
        return mproc__semaphore_story(semaphore, row);
    int code = taking_acquire(semaphore, deadline);
    if (code < 0)
        return mproc__semaphore_story(semaphore, code);
    code = take_one(semaphore, (unsigned)row);
    mproc__robust_release(&semaphore->shared->taking);
    return code;
}

static int bounded_acquire(mproc_semaphore *base, mproc_deadline deadline)
{
    return mproc__semaphore_wait(mproc__semaphore_local(base), bounded_try, deadline);
}

/* ---- release ---- */

static int refuse(mproc__local_semaphore *semaphore, unsigned count, uint32_t mine)
{
    uint64_t held = mproc__semaphore_held(semaphore->shared, mproc__segment_rows(semaphore->segment));
    if (count > held)
        return mproc__handle_fail(&semaphore->base.handle, -ERANGE,
                                  "%u permits more than the %llu in use would be above the bound of %u",
                                  count, (unsigned long long)held, (unsigned)semaphore->shared->bound);
    return mproc__handle_fail(&semaphore->base.handle, -EPERM, "this process holds %u permits, not %u",
                              (unsigned)mine, count);
}

/* Waits for nobody: only this process takes from its row, and what it takes makes nobody's sum wrong. */
static int bounded_release(mproc_semaphore *base, unsigned count)
{
    mproc__local_semaphore *semaphore = mproc__semaphore_local(base);
    int code = mproc__semaphore_check(semaphore);
    if (code < 0)
        return code;
    int row = mproc__segment_join(semaphore->segment);
    if (row < 0)
        return mproc__semaphore_story(semaphore, row);
    _Atomic uint64_t *held = &semaphore->shared->held[row];
    uint64_t seen = atomic_load(held);
    do {
        if ((uint32_t)seen < count)
            return refuse(semaphore, count, (uint32_t)seen);
    } while (!atomic_compare_exchange_weak(held, &seen, word_of((uint32_t)seen - count)));
    mproc__semaphore_freed(semaphore);
    return 0;
}

/* ---- what the dead held, and those who left ---- */

/* Burying wakes all sleepers after this: they look again. */
static int bounded_sweep(mproc__segment *segment, unsigned row, void *context)
{
    mproc__semaphore_shared *shared = mproc__segment_root(segment);
    (void)context;
    atomic_store(&shared->held[row], 0);
    return 0;
}

void mproc__semaphore_bounded_attach(mproc__local_semaphore *semaphore)
{
    mproc__segment_on_sweep(semaphore->segment, bounded_sweep, NULL);
}

void mproc__semaphore_bounded_settle(mproc__local_semaphore *semaphore)
{
    if (atomic_load_explicit(&semaphore->acquirer, memory_order_relaxed) != mproc__incarnation())
        return;
    int row = mproc__segment_join(semaphore->segment);
    uint64_t held = row < 0 ? 0 : atomic_exchange(&semaphore->shared->held[row], 0);
    if (held)
        mproc__semaphore_freed(semaphore);
}

/* ---- the rest ---- */

static unsigned free_now(const mproc__local_semaphore *semaphore)
{
    uint64_t held = mproc__semaphore_held(semaphore->shared, mproc__segment_rows(semaphore->segment));
    return held < semaphore->shared->bound ? semaphore->shared->bound - (unsigned)held : 0;
}

static int bounded_value(mproc_semaphore *base, unsigned *ret_value)
{
    mproc__local_semaphore *semaphore = mproc__semaphore_local(base);
    int code = mproc__semaphore_check(semaphore);
    if (code < 0)
        return code;
    mproc__segment_sweep(semaphore->segment);
    *ret_value = free_now(semaphore);
    return 0;
}

static int bounded_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc__local_semaphore *semaphore = MPROC__CONTAINER(handle, mproc__local_semaphore, base.handle);
    const char *name = mproc__segment_name(semaphore->segment);
    return snprintf(buffer, size_bytes, "bounded semaphore%s%s on %s, %u of %u free", *name ? " " : "", name,
                    mproc__noun_home_text(semaphore->segment), free_now(semaphore),
                    (unsigned)semaphore->shared->bound);
}

const mproc__semaphore_ops mproc__semaphore_bounded_ops = {
    .handle = {.type = MPROC_TYPE_SEMAPHORE,
               .noun = "semaphore",
               .destroy = mproc__semaphore_destroy,
               .describe = bounded_describe,
               .pack = mproc__semaphore_pack},
    .acquire = bounded_acquire,
    .release = bounded_release,
    .value = bounded_value,
};
