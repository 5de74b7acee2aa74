/* SPDX-License-Identifier: BSD-2-Clause */
/* Running tasks are cancelled at random moments, beside tasks that nobody cancels. What must hold:
 *
 *     cancelled     a cancel that returned 0: the task ends as cancelled, and is not begun again however often it might be
 *                   tried; one that came too late: the task has its answer
 *     the others    have their answers, begun once and ended once: a signal that came late would be their end
 *     the pool      counts no death, so that its limit (the default, 60 a minute) is not touched */
#include "platform/base.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "platform/platform.h"
#include "support/support.h"
#include "torture/pool_ledger.h"
#include "torture/torture.h"

enum {
    CANCELS = 100000,
    WORKERS = 3,
    BESIDE = 4, /* tasks that are not cancelled, at a time */
    BESIDE_RUN_US_MOST = 150,
    DELAY_US_MOST = 200,
    LONG_US = 20000000,
    GRACE_MS = 2, /* SIGTERM after 1 ms, SIGKILL after 2 */
    RETRIES = 3,
    HANG_MS = 20000
};

typedef struct pool_cancels {
    mproc_shm *shm;
    pool_ledger_shared *ledger;
    mproc_pool *pool;
    unsigned *seed;
    bool threads;
    uint32_t next;
    struct {
        mproc_future *future;
        uint32_t number, run_us;
    } beside[BESIDE];
    unsigned cancels, late, failures;
    uint64_t beside_done;
} pool_cancels;

static void blame(pool_cancels *c, uint32_t number, const char *what, int rc)
{
    if (c->failures++ < 20)
        fprintf(stderr, "torture: pool cancel: task %u %s: %s: %s\n", number, what, mproc_errname(rc),
                mproc_error_text(mproc_last_error()));
}

static mproc_future *task_send(pool_cancels *c, mproc_fn *fn, uint32_t number, uint32_t run_us)
{
    pool_letter letter;
    mproc_future *future = NULL;
    pool_letter_write(&letter, number, run_us);
    (void)pool_ledger_enter(c->ledger, number);
    int rc =
        pool_letter_send(c->pool, fn, &letter,
                         MPROC_WITH(mproc_task_options, .grace_ms = GRACE_MS, .retries = RETRIES), &future);
    if (rc < 0)
        blame(c, number, "is not taken", rc);
    return future;
}

/* ---- the others ---- */

static void beside_judge(pool_cancels *c, unsigned i)
{
    mproc_variant answer = mproc_null();
    uint32_t number = c->beside[i].number;
    const pool_ledger_entry_shared *entry = &c->ledger->entries[number % POOL_LEDGER_ENTRIES];
    int rc = mproc_future_result(c->beside[i].future, mproc_after_ms(support_ms(HANG_MS)), &answer);
    if (rc < 0)
        blame(c, number, "that nobody cancelled ends", rc);
    else if (pool_letter_read(answer, number, c->beside[i].run_us) != 1)
        blame(c, number, "that nobody cancelled has a wrong answer, or has been tried again", rc);
    else if (atomic_load(&entry->begun) != 1 || atomic_load(&entry->ended) != 1)
        blame(c, number, "that nobody cancelled was run twice", rc);
    mproc_future_close(&c->beside[i].future);
    c->beside_done++;
}

static void beside_turn(pool_cancels *c)
{
    for (unsigned i = 0; i < BESIDE; i++) {
        if (c->beside[i].future && mproc_future_wait(c->beside[i].future, MPROC_NOW) < 0)
            continue;
        if (c->beside[i].future)
            beside_judge(c, i);
        c->beside[i].number = c->next++;
        c->beside[i].run_us = (uint32_t)rand_r(c->seed) % BESIDE_RUN_US_MOST;
        c->beside[i].future = task_send(c, pool_task_echo, c->beside[i].number, c->beside[i].run_us);
    }
}

/* ---- the one ---- */

/* Until it has begun and, without a pause, for a random time after that. */
static void moment_await(pool_cancels *c, mproc_future *future, const pool_ledger_entry_shared *entry)
{
    mproc_deadline limit = mproc_after_ms((uint64_t)support_ms(HANG_MS));
    while (atomic_load(&entry->begun) == 0 && mproc_future_get_state(future) <= MPROC_FUTURE_RUNNING &&
           mproc_left_ms(limit) > 0)
        sched_yield();
    int64_t until = mproc__now_ns() + (int64_t)(rand_r(c->seed) % DELAY_US_MOST) * 1000;
    while (mproc__now_ns() < until)
        ;
}

static void victim_judge(pool_cancels *c, uint32_t number, uint32_t run_us, mproc_future *future,
                         int cancelled)
{
    mproc_variant answer = mproc_null();
    const pool_ledger_entry_shared *entry = &c->ledger->entries[number % POOL_LEDGER_ENTRIES];
    int rc = mproc_future_result(future, mproc_after_ms(support_ms(HANG_MS)), &answer);
    if (cancelled == 0 && rc != -ECANCELED)
        blame(c, number, "was cancelled and ends otherwise", rc);
    else if (cancelled < 0 && (cancelled != MPROC_ESTATE || rc != 0))
        blame(c, number, "could not be cancelled and has no answer", rc);
    else if (rc == 0 && pool_letter_read(answer, number, run_us) != 1)
        blame(c, number, "has a wrong answer", rc);
    else if (atomic_load(&entry->begun) > 1)
        blame(c, number, "was begun again", rc);
}

/* It looks, it ends about then by itself, or it must be killed. */
static void victim_run(pool_cancels *c)
{
    unsigned kind = (unsigned)rand_r(c->seed) % 8;
    uint32_t run_us = kind < 4 ? LONG_US : (uint32_t)rand_r(c->seed) % DELAY_US_MOST;
    bool hangs = kind == 0 && !c->threads;
    uint32_t number = c->next++;
    mproc_future *future =
        task_send(c, kind < 4 && !hangs ? pool_task_looks : pool_task_echo, number, run_us);
    if (!future)
        return;
    moment_await(c, future, &c->ledger->entries[number % POOL_LEDGER_ENTRIES]);
    int cancelled = mproc_future_cancel(future, true);
    victim_judge(c, number, run_us, future, cancelled);
    mproc_future_close(&future);
    c->cancels += cancelled == 0;
    c->late += cancelled < 0;
}

/* ---- one pool after the other ---- */

static void balance(pool_cancels *c, const char *name, unsigned cancels)
{
    mproc_variant stats = mproc_null();
    int64_t died = -1, restarted = -1;
    if (mproc_pool_stats(c->pool, &stats) == 0) {
        (void)mproc_variant_get_int(mproc_variant_find(stats, "died"), &died);
        (void)mproc_variant_get_int(mproc_variant_find(stats, "restarted"), &restarted);
    }
    mproc_variant_clear(&stats);
    if (died != 0)
        blame(c, (uint32_t)died, "is the number of deaths, and nobody died unplanned", 0);
    fprintf(stderr,
            "torture: pool of %s: %u running tasks cancelled, %u too late, %d workers replaced; %llu tasks "
            "beside\n",
            name, cancels, c->late, (int)restarted, (unsigned long long)c->beside_done);
}

static void cancel_torture(pool_cancels *c, mproc_start start, unsigned cancels, const char *name)
{
    mproc_pool_options options = {
        .workers = WORKERS, .max_queued_tasks = 2 * BESIDE, .max_queued_bytes = 128 << 10};
    c->threads = start == MPROC_START_THREAD;
    c->late = 0;
    c->beside_done = 0;
    int rc = pool_ledger_pool(c->shm, start, &options, &c->pool);
    if (rc < 0) {
        blame(c, 0, "has no pool", rc);
        return;
    }
    unsigned begin = c->cancels;
    while (c->cancels - begin < cancels && c->failures == 0) {
        beside_turn(c);
        victim_run(c);
    }
    for (unsigned i = 0; i < BESIDE; i++)
        if (c->beside[i].future)
            beside_judge(c, i);
    balance(c, name, c->cancels - begin);
    rc = mproc_pool_stop(c->pool, true, mproc_after_ms(support_ms(HANG_MS)), NULL);
    if (rc < 0)
        blame(c, 0, "the pool does not stop", rc);
    mproc_pool_close(&c->pool);
}

/* A worker whose task was stopped is replaced: by fork in a millisecond, by exec in ten. */
static unsigned cancel_run(unsigned cancels, unsigned *seed)
{
    static const struct {
        mproc_start start;
        unsigned parts; /* of twenty */
        const char *name;
    } plan[] = {{MPROC_START_FORK, 12, "fork"},
                {MPROC_START_FORKSERVER, 3, "forkserver"},
                {MPROC_START_SPAWN, 1, "spawn"},
                {MPROC_START_THREAD, 4, "threads"}};
    static pool_cancels c;
    c = (pool_cancels){.seed = seed};
    if (pool_ledger_make(&c.shm, &c.ledger) < 0)
        return 1;
    for (size_t i = 0; i < MPROC__COUNT(plan) && c.failures == 0; i++)
        cancel_torture(&c, plan[i].start, (cancels * plan[i].parts + 19) / 20, plan[i].name);
    mproc_shm_close(&c.shm);
    return c.failures;
}

const torture_case torture_pool_cancel = {.name = "pool cancel", .kills = CANCELS, .run = cancel_run};
