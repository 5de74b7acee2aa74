/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"
#include "torture/pool_ledger.h"

/* ---- controller ---- */

int pool_ledger_make(mproc_shm **ret_shm, pool_ledger_shared **ret_ledger)
{
    int rc = mproc_shm_create(NULL, sizeof(pool_ledger_shared), NULL, ret_shm);
    if (rc == 0)
        *ret_ledger = mproc_shm_data(*ret_shm);
    return rc;
}

int pool_ledger_pool(mproc_shm *shm, mproc_start start, mproc_pool_options *options, mproc_pool **ret_pool)
{
    options->size = sizeof(*options);
    options->start = start;
    options->initializer = pool_ledger_open;
    options->initializer_args = MPROC_ARGS(shm);
    return mproc_pool_create(options, ret_pool);
}

void pool_letter_write(pool_letter *letter, uint32_t number, uint32_t run_us)
{
    uint32_t size = number % 2 ? POOL_LEDGER_LARGE : POOL_LEDGER_SMALL;
    *letter = (pool_letter){.number = number, .run_us = run_us, .size_bytes = size};
    for (uint32_t i = 0; i < size; i++)
        letter->bytes[i] = (uint8_t)(number * 7 + i);
}

pool_ledger_entry_shared *pool_ledger_enter(pool_ledger_shared *ledger, uint32_t number)
{
    pool_ledger_entry_shared *entry = &ledger->entries[number % POOL_LEDGER_ENTRIES];
    atomic_store(&entry->begun, 0);
    atomic_store(&entry->ended, 0);
    return entry;
}

static size_t letter_bytes(const pool_letter *letter)
{
    return offsetof(pool_letter, bytes) + letter->size_bytes;
}

int pool_letter_send(mproc_pool *pool, mproc_fn *fn, const pool_letter *letter,
                     const mproc_task_options *options, mproc_future **ret_future)
{
    return mproc_pool_submit(pool, fn, MPROC_ARGS(mproc_bytes(letter, letter_bytes(letter))), options,
                             ret_future);
}

unsigned pool_letter_read(mproc_variant answer, uint32_t number, uint32_t run_us)
{
    size_t size = 0;
    pool_letter got, sent;
    const void *bytes = mproc_variant_get_bytes(answer, &size);
    pool_letter_write(&sent, number, run_us);
    if (!bytes || size != letter_bytes(&sent))
        return 0;
    memcpy(&got, bytes, size);
    sent.attempt = got.attempt;
    return memcmp(&got, &sent, size) == 0 ? got.attempt : 0;
}

/* As many as there are workers, or nobody leaves. */
static int task_meet(mproc_call *call)
{
    pool_ledger_shared *ledger = mproc_call_self(call);
    uint32_t all = (uint32_t)mproc_call_int(call, 0);
    mproc_deadline limit = mproc_after_ms((uint64_t)mproc_call_int(call, 1));
    if (mproc_call_attempt(call) == 1)
        atomic_fetch_add(&ledger->met, 1);
    while (atomic_load(&ledger->met) < all) {
        if (mproc_left_ms(limit) == 0)
            return -ETIMEDOUT;
        usleep(200);
    }
    return 0;
}

int pool_meet(mproc_pool *pool, pool_ledger_shared *ledger, unsigned workers, int limit_ms)
{
    enum { GUESTS_MOST = 16, RETRIES = 20, HANG_MS = 10000 };
    mproc_future *guests[GUESTS_MOST] = {NULL};
    int64_t all = atomic_load(&ledger->met) + workers;
    int rc = workers <= GUESTS_MOST ? 0 : -EINVAL;
    for (unsigned i = 0; i < workers && rc == 0; i++)
        rc = mproc_pool_submit(pool, task_meet, MPROC_ARGS(all, limit_ms),
                               MPROC_WITH(mproc_task_options, .retries = RETRIES), &guests[i]);
    for (unsigned i = 0; i < workers && i < GUESTS_MOST && guests[i]; i++) {
        int came = mproc_future_result(guests[i], mproc_after_ms((uint64_t)limit_ms + HANG_MS), NULL);
        rc = rc == 0 ? came : rc;
        mproc_future_close(&guests[i]);
    }
    return rc;
}

unsigned pool_children(pid_t parent, pid_t *ret_pids, unsigned most)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *list = fopen(path, "re");
    for (int pid; list && count < most && fscanf(list, "%d", &pid) == 1;)
        ret_pids[count++] = pid;
    if (list)
        fclose(list);
    return count;
}

pid_t pool_supervisor(const pid_t *before, unsigned before_count)
{
    pid_t now[POOL_LEDGER_PEOPLE], worker;
    unsigned count = pool_children(getpid(), now, POOL_LEDGER_PEOPLE);
    for (unsigned i = 0; i < count; i++) {
        bool known = false;
        for (unsigned k = 0; k < before_count; k++)
            known |= before[k] == now[i];
        if (!known && pool_children(now[i], &worker, 1) > 0)
            return now[i];
    }
    return 0;
}

/* ---- tasks ---- */

int pool_ledger_open(mproc_call *call)
{
    mproc_shm *shm = mproc_call_shm(call, 0);
    int rc = mproc_call_check(call);
    if (rc == 0)
        mproc_call_set_self(call, mproc_shm_data(mproc_keep(shm)));
    return rc;
}

/* The letter, and its line in the ledger; NULL: it is none. */
static pool_ledger_entry_shared *letter_open(mproc_call *call, pool_letter *letter)
{
    size_t size = 0;
    pool_ledger_shared *ledger = mproc_call_self(call);
    const void *bytes = mproc_call_bytes(call, 0, &size);
    if (!ledger || !bytes || size > sizeof(*letter))
        return NULL;
    memcpy(letter, bytes, size);
    pool_ledger_entry_shared *entry = &ledger->entries[letter->number % POOL_LEDGER_ENTRIES];
    atomic_fetch_add(&entry->begun, 1);
    return entry;
}

static int letter_answer(mproc_call *call, pool_ledger_entry_shared *entry, pool_letter *letter)
{
    letter->attempt = mproc_call_attempt(call);
    int rc = mproc_call_return(call, mproc_bytes(letter, letter_bytes(letter)));
    atomic_fetch_add(&entry->ended, 1);
    return rc;
}

static bool never(const mproc_call *call)
{
    (void)call;
    return false;
}

/* Busy for a short time; asleep now and then for a longer one. */
static int letter_work(mproc_call *call, bool (*enough)(const mproc_call *call))
{
    enum { BUSY_US = 500 };
    pool_letter letter;
    pool_ledger_entry_shared *entry = letter_open(call, &letter);
    if (!entry)
        return mproc_call_fail(call, -EINVAL, "no letter");
    int64_t until = mproc__now_ns() + (int64_t)letter.run_us * 1000;
    while (!enough(call) && mproc__now_ns() < until)
        if (letter.run_us > BUSY_US)
            usleep(BUSY_US);
    return letter_answer(call, entry, &letter);
}

int pool_task_echo(mproc_call *call)
{
    return letter_work(call, never);
}

int pool_task_looks(mproc_call *call)
{
    return letter_work(call, mproc_call_stopping);
}
