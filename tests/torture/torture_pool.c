/* SPDX-License-Identifier: BSD-2-Clause */
/* A pool under load whose workers are killed at random moments: in a task, in an item of a map, between two, in their first
 * steps, while they are started. What must balance:
 *
 *     a task        its answer is the letter that was sent, or it died with a pid that was killed, each pid once at most;
 *                   one that may be tried again has the answer. It began no more often than it was charged with deaths, + 1,
 *                   and was charged with each attempt that began and did not end.
 *     an item       the same, by its status
 *     all           charged with no more deaths than there were kills, and the pool counted no more
 *     the pool      within 2 s of a kill has all its workers again: so many tasks meet
 *     its memory    is small: a lost block would end the run */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "platform/platform.h"
#include "support/support.h"
#include "torture/pool_ledger.h"
#include "torture/torture.h"

enum {
    KILLS = 10000,
    WORKERS = 4,
    WINDOW = 48,
    RUN_US_MOST = 300,
    PAUSE_US_MOST = 2000,
    MEETING_EVERY = 50,
    FULL_MS = 2000,
    HANG_MS = 20000,
    RETRIES = 1000,
    ITEMS = 3000,
    ITEM_RETRIES = 62,
    PID_MOST = 1 << 22
};

typedef struct open_task {
    mproc_future *future; /* NULL: none */
    uint32_t number, run_us;
    unsigned retries;
} open_task;

typedef struct pool_kills {
    mproc_shm *shm;
    pool_ledger_shared *ledger;
    mproc_pool *pool;
    pid_t supervisor;
    unsigned *seed;
    open_task open[WINDOW];
    uint32_t next;
    unsigned kills;
    uint32_t *killed_at, *charged_at; /* by pid: the number of the kill, from 1 */
    _Atomic unsigned charged, failures;
    unsigned unnamed; /* deaths whose reason the pool no longer knew */
    uint64_t tasks_done;
    int64_t slowest_ms;
    _Atomic bool ending;
    pthread_t mapper;
    _Atomic uint64_t maps_done;
} pool_kills;

__attribute__((format(printf, 2, 3))) static void blame(pool_kills *k, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (atomic_fetch_add(&k->failures, 1) < 20)
        fprintf(stderr, "torture: pool: %s\n", text);
}

/* ---- maps, by a thread of their own ---- */

static int item_double(mproc_call *call, const void *in, void *out)
{
    (void)call;
    uint32_t number;
    memcpy(&number, in, sizeof(number));
    for (int64_t until = mproc__now_ns() + 2000; mproc__now_ns() < until;)
        ;
    number = 2 * number + 1;
    memcpy(out, &number, sizeof(number));
    return 0;
}

static void map_judge(pool_kills *k, int rc, const uint32_t *out, const int *status, bool retried)
{
    unsigned wrong = 0, died = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        died += status[i] == MPROC_EDIED;
        wrong += status[i] == 0 ? out[i] != 2 * i + 1 : status[i] != MPROC_EDIED;
    }
    atomic_fetch_add(&k->charged, died);
    if (wrong > 0 || (retried && died > 0) || rc != (died ? MPROC_EDIED : 0))
        blame(k, "map answers %d (%s), %u items died, %u are wrong", rc, mproc_error_text(mproc_last_error()),
              died, wrong);
}

static void *map_on_and_on(void *context)
{
    pool_kills *k = context;
    static uint32_t in[ITEMS], out[ITEMS];
    static int status[ITEMS];
    for (uint32_t i = 0; i < ITEMS; i++)
        in[i] = i;
    for (unsigned turn = 0; !atomic_load(&k->ending) && atomic_load(&k->failures) == 0; turn++) {
        bool retried = turn % 2;
        memset(out, 0, sizeof(out));
        int rc = mproc_pool_map(k->pool, item_double, in, sizeof(*in), out, sizeof(*out), ITEMS,
                                MPROC_WITH(mproc_map_options, .retries = retried ? ITEM_RETRIES : 0,
                                           .status = status, .chunk = turn % 3 ? 0 : 7));
        map_judge(k, rc, out, status, retried);
        atomic_fetch_add(&k->maps_done, 1);
    }
    return NULL;
}

/* ---- tasks ---- */

static void task_send(pool_kills *k, open_task *task)
{
    pool_letter letter;
    *task = (open_task){.number = k->next++, .run_us = (uint32_t)rand_r(k->seed) % RUN_US_MOST};
    task->retries = task->number / 2 % 2 ? RETRIES : 0;
    pool_letter_write(&letter, task->number, task->run_us);
    (void)pool_ledger_enter(k->ledger, task->number);
    int rc = pool_letter_send(k->pool, pool_task_echo, &letter,
                              MPROC_WITH(mproc_task_options, .retries = task->retries,
                                         .submit_deadline = mproc_after_ms(support_ms(HANG_MS))),
                              &task->future);
    if (rc < 0)
        blame(k, "task %u is not taken: %s: %s", task->number, mproc_errname(rc),
              mproc_error_text(mproc_last_error()));
}

/* The pid that the story names: one that was killed, and no other task was charged with. */
static void pid_charge(pool_kills *k, const open_task *task)
{
    int64_t pid = 0, number = 0;
    const mproc_error *story = mproc_error_of(task->future);
    if (mproc_error_number(story, MPROC_ERROR_PID, &pid) < 0) {
        k->unnamed++;
        return;
    }
    if (mproc_error_number(story, MPROC_ERROR_SIGNAL, &number) < 0 || number != SIGKILL)
        blame(k, "task %u died of something else: %s", task->number, mproc_error_text(story));
    if (pid <= 0 || pid >= PID_MOST || k->killed_at[pid] <= k->charged_at[pid])
        blame(k, "task %u is charged with a death that was not its: %s", task->number,
              mproc_error_text(story));
    else
        k->charged_at[pid] = k->killed_at[pid];
}

static void deaths_judge(pool_kills *k, const open_task *task, unsigned deaths, bool answered)
{
    const pool_ledger_entry_shared *entry = &k->ledger->entries[task->number % POOL_LEDGER_ENTRIES];
    uint32_t begun = atomic_load(&entry->begun), ended = atomic_load(&entry->ended);
    atomic_fetch_add(&k->charged, deaths);
    if (begun > deaths + answered || (answered && ended == 0) || begun - ended > deaths)
        blame(k, "task %u began %u times, ended %u times, with %u deaths%s", task->number, begun, ended,
              deaths, answered ? " and an answer" : "");
}

static void task_judge(pool_kills *k, const open_task *task)
{
    mproc_variant answer = mproc_null();
    int64_t attempt = 0;
    int rc = mproc_future_result(task->future, mproc_after_ms(support_ms(HANG_MS)), &answer);
    if (rc == 0) {
        attempt = pool_letter_read(answer, task->number, task->run_us);
        if (attempt == 0)
            blame(k, "task %u has a wrong answer", task->number);
        else
            deaths_judge(k, task, (unsigned)attempt - 1, true);
    } else if (rc == MPROC_EDIED && task->retries == 0) {
        (void)mproc_error_number(mproc_error_of(task->future), MPROC_ERROR_ATTEMPT, &attempt);
        if (attempt != 1)
            blame(k, "task %u, never tried again, died in attempt %d", task->number, (int)attempt);
        pid_charge(k, task);
        deaths_judge(k, task, 1, false);
    } else {
        blame(k, "task %u ends with %s: %s", task->number, mproc_errname(rc),
              mproc_error_text(mproc_last_error()));
    }
}

static void task_take(pool_kills *k, open_task *task)
{
    task_judge(k, task);
    mproc_future_close(&task->future);
    k->tasks_done++;
}

/* Takes what has ended, and keeps the window full. */
static void tasks_turn(pool_kills *k)
{
    for (unsigned i = 0; i < WINDOW && atomic_load(&k->failures) == 0; i++) {
        open_task *task = &k->open[i];
        if (task->future && mproc_future_wait(task->future, MPROC_NOW) < 0)
            continue;
        if (task->future)
            task_take(k, task);
        task_send(k, task);
    }
}

static void tasks_end(pool_kills *k)
{
    for (unsigned i = 0; i < WINDOW; i++)
        if (k->open[i].future)
            task_take(k, &k->open[i]);
}

/* ---- kills ---- */

static bool kill_one(pool_kills *k)
{
    pid_t workers[WORKERS * 2];
    unsigned count = pool_children(k->supervisor, workers, WORKERS * 2);
    if (count == 0)
        return false;
    pid_t pid = workers[(unsigned)rand_r(k->seed) % count];
    /* Dead already, and not yet reaped; but numbers come again. */
    if (k->killed_at[pid] > 0 && k->kills - k->killed_at[pid] < 2 * WORKERS)
        return false;
    k->killed_at[pid] = ++k->kills;
    return kill(pid, SIGKILL) == 0;
}

static void workers_meet(pool_kills *k)
{
    int64_t from = mproc__now_ns();
    int rc = pool_meet(k->pool, k->ledger, WORKERS, support_ms(FULL_MS));
    if (rc < 0)
        blame(k, "the pool is not at its full size %d ms after a kill: %s", FULL_MS, mproc_errname(rc));
    int64_t took_ms = (mproc__now_ns() - from) / 1000000;
    k->slowest_ms = took_ms > k->slowest_ms ? took_ms : k->slowest_ms;
}

static void kills_run(pool_kills *k, unsigned kills)
{
    unsigned last = k->kills;
    for (unsigned wanted = k->kills + kills; k->kills < wanted && atomic_load(&k->failures) == 0;) {
        tasks_turn(k);
        nanosleep(&(struct timespec){.tv_nsec = (rand_r(k->seed) % PAUSE_US_MOST) * 1000L}, NULL);
        if (kill_one(k) && k->kills - last >= MEETING_EVERY) {
            last = k->kills;
            workers_meet(k);
        }
    }
    workers_meet(k);
}

/* ---- one pool after the other ---- */

static void balance(pool_kills *k, unsigned kills, unsigned charged_before, const char *name)
{
    mproc_variant stats = mproc_null();
    int64_t died = -1;
    unsigned charged = atomic_load(&k->charged) - charged_before;
    if (mproc_pool_stats(k->pool, &stats) < 0 ||
        mproc_variant_get_int(mproc_variant_find(stats, "died"), &died) < 0)
        blame(k, "no statistics");
    mproc_variant_clear(&stats);
    if (charged > kills || died > (int64_t)kills)
        blame(k, "%u kills, and %u deaths charged, %d counted", kills, charged, (int)died);
    fprintf(stderr,
            "torture: pool of %s: %u workers killed, %u of them at work (%u without a reason), %d counted; "
            "%llu tasks, %llu maps; full again after %d ms at most\n",
            name, kills, charged, k->unnamed, (int)died, (unsigned long long)k->tasks_done,
            (unsigned long long)atomic_load(&k->maps_done), (int)k->slowest_ms);
}

static void pool_torture(pool_kills *k, mproc_start start, unsigned kills, const char *name)
{
    pid_t before[POOL_LEDGER_PEOPLE];
    unsigned count = pool_children(getpid(), before, POOL_LEDGER_PEOPLE);
    unsigned charged_before = atomic_load(&k->charged), kills_before = k->kills;
    mproc_pool_options options = {.workers = WORKERS,
                                  .restarts_per_minute = 65536,
                                  .max_queued_tasks = WINDOW,
                                  .max_queued_bytes = 128 << 10};
    k->ending = false;
    k->tasks_done = k->maps_done = 0;
    k->slowest_ms = 0;
    k->unnamed = 0;
    if (pool_ledger_pool(k->shm, start, &options, &k->pool) < 0) {
        blame(k, "no pool of %s: %s", name, mproc_error_text(mproc_last_error()));
        return;
    }
    k->supervisor = pool_supervisor(before, count);
    bool mapping = pthread_create(&k->mapper, NULL, map_on_and_on, k) == 0;
    kills_run(k, kills);
    tasks_end(k);
    atomic_store(&k->ending, true);
    if (mapping)
        pthread_join(k->mapper, NULL);
    balance(k, k->kills - kills_before, charged_before, name);
    int rc = mproc_pool_stop(k->pool, true, mproc_after_ms(support_ms(HANG_MS)), NULL);
    if (rc < 0)
        blame(k, "the pool does not stop: %s", mproc_errname(rc));
    mproc_pool_close(&k->pool);
}

static unsigned kills_all(pool_kills *k, unsigned kills)
{
    pool_torture(k, MPROC_START_FORK, kills - kills / 2, "fork");
    if (kills >= 4 && atomic_load(&k->failures) == 0)
        pool_torture(k, MPROC_START_FORKSERVER, kills / 4, "forkserver");
    if (kills >= 4 && atomic_load(&k->failures) == 0)
        pool_torture(k, MPROC_START_SPAWN, kills / 4, "spawn");
    return atomic_load(&k->failures);
}

static unsigned pool_run(unsigned kills, unsigned *seed)
{
    static pool_kills k;
    k = (pool_kills){.seed = seed};
    k.killed_at = calloc(PID_MOST, sizeof(*k.killed_at));
    k.charged_at = calloc(PID_MOST, sizeof(*k.charged_at));
    unsigned failures = 1;
    if (k.killed_at && k.charged_at && pool_ledger_make(&k.shm, &k.ledger) == 0) {
        failures = kills_all(&k, kills);
        mproc_shm_close(&k.shm);
    }
    free(k.killed_at);
    free(k.charged_at);
    return failures;
}

const torture_case torture_pool = {.name = "pool", .kills = KILLS, .run = pool_run};
