/* SPDX-License-Identifier: BSD-2-Clause */
/* The state machine of a task slot: bits and compare-and-swaps only, no memory but the word. */
#include "platform/base.h"

#include "pool/task.h"

enum { AT_REASON = 4, AT_ATTEMPT = 6, AT_WORKER = 16, AT_LIFE = 24, AT_SERIAL = 40 };

uint64_t mproc__task_pack(mproc__task_word task)
{
    return (uint64_t)task.state | (uint64_t)task.reason << AT_REASON | (uint64_t)task.attempt << AT_ATTEMPT |
           (uint64_t)task.worker << AT_WORKER | (uint64_t)task.life << AT_LIFE |
           (uint64_t)task.serial << AT_SERIAL;
}

mproc__task_word mproc__task_unpack(uint64_t word)
{
    return (mproc__task_word){
        .state = (mproc__task_state)(word & 0xf),
        .reason = (mproc__task_reason)(word >> AT_REASON & 0x3),
        .attempt = (unsigned)(word >> AT_ATTEMPT & 0x3ff),
        .worker = (unsigned)(word >> AT_WORKER & 0xff),
        .life = (unsigned)(word >> AT_LIFE & 0xffff),
        .serial = (unsigned)(word >> AT_SERIAL & 0xffffff),
    };
}

mproc__task_word mproc__task_load(const _Atomic uint64_t *word)
{
    return mproc__task_unpack(atomic_load_explicit(word, memory_order_acquire));
}

/* In one order with what others do with the edges of a task that ends (after.c). */
static bool task_swap(_Atomic uint64_t *word, mproc__task_word from, mproc__task_word to)
{
    uint64_t expected = mproc__task_pack(from);
    return atomic_compare_exchange_strong(word, &expected, mproc__task_pack(to));
}

unsigned mproc__task_serial(const _Atomic uint64_t *word)
{
    return (mproc__task_load(word).serial + 1) % MPROC__TASK_SERIALS;
}

unsigned mproc__task_publish(_Atomic uint64_t *word, bool waits)
{
    mproc__task_word task = mproc__task_load(word);
    task.state = waits ? MPROC__TASK_WAITING : MPROC__TASK_READY;
    task.attempt = 1;
    task.serial = mproc__task_serial(word);
    atomic_store_explicit(word, mproc__task_pack(task), memory_order_release);
    if (waits)
        atomic_thread_fence(memory_order_seq_cst);
    return task.serial;
}

bool mproc__task_release(_Atomic uint64_t *word, mproc__task_word waiting)
{
    mproc__task_word ready = waiting;
    ready.state = MPROC__TASK_READY;
    return waiting.state == MPROC__TASK_WAITING && task_swap(word, waiting, ready);
}

bool mproc__task_claim(_Atomic uint64_t *word, unsigned worker, unsigned life, mproc__task_word *ret_claimed)
{
    mproc__task_word ready = mproc__task_load(word);
    if (ready.state != MPROC__TASK_READY)
        return false;
    mproc__task_word claimed = ready;
    claimed.state = MPROC__TASK_RUNNING;
    claimed.worker = worker;
    claimed.life = life & 0xffff;
    *ret_claimed = claimed;
    return task_swap(word, ready, claimed);
}

bool mproc__task_finish(_Atomic uint64_t *word, mproc__task_word claimed)
{
    mproc__task_word done = claimed;
    done.state = MPROC__TASK_DONE;
    return task_swap(word, claimed, done);
}

static bool task_is_queued(mproc__task_state state)
{
    return state == MPROC__TASK_READY || state == MPROC__TASK_WAITING;
}

int mproc__task_cancel(_Atomic uint64_t *word, unsigned serial, bool even_if_running)
{
    for (;;) {
        mproc__task_word task = mproc__task_load(word), next = task;
        if (task.serial != serial || mproc__task_final(task.state) || task.state == MPROC__TASK_FREE)
            return -EALREADY;
        if (task.state == MPROC__TASK_STOPPING)
            return 0;
        if (task.state == MPROC__TASK_RUNNING && !even_if_running)
            return -EBUSY;
        next.state = task_is_queued(task.state) ? MPROC__TASK_CANCELLED : MPROC__TASK_STOPPING;
        next.reason = MPROC__TASK_BY_CANCEL;
        if (task_swap(word, task, next))
            return 0;
    }
}

bool mproc__task_forgo(_Atomic uint64_t *word, unsigned serial)
{
    mproc__task_word queued = mproc__task_load(word), expired = queued;
    expired.state = MPROC__TASK_EXPIRED;
    return task_is_queued(queued.state) && queued.attempt == 1 && queued.serial == serial &&
           task_swap(word, queued, expired);
}

bool mproc__task_expire(_Atomic uint64_t *word, mproc__task_word running)
{
    mproc__task_word stopping = running;
    stopping.state = MPROC__TASK_STOPPING;
    stopping.reason = MPROC__TASK_BY_LIMIT;
    return running.state == MPROC__TASK_RUNNING && task_swap(word, running, stopping);
}

static mproc__task_word task_after_death(mproc__task_word task, unsigned max_attempts)
{
    if (task.state == MPROC__TASK_STOPPING) {
        task.state = task.reason == MPROC__TASK_BY_LIMIT ? MPROC__TASK_EXPIRED : MPROC__TASK_CANCELLED;
    } else if (task.attempt < max_attempts) {
        task.state = MPROC__TASK_READY;
        task.attempt++;
    } else {
        task.state = MPROC__TASK_DIED;
    }
    return task;
}

mproc__task_state mproc__task_bury(_Atomic uint64_t *word, unsigned worker, unsigned life,
                                   unsigned max_attempts)
{
    for (;;) {
        mproc__task_word task = mproc__task_load(word);
        bool runs = task.state == MPROC__TASK_RUNNING || task.state == MPROC__TASK_STOPPING;
        if (!runs || task.worker != worker || task.life != (life & 0xffff))
            return MPROC__TASK_FREE;
        mproc__task_word next = task_after_death(task, max_attempts);
        if (task_swap(word, task, next))
            return next.state;
    }
}

void mproc__task_clear(_Atomic uint64_t *word)
{
    mproc__task_word task = mproc__task_load(word);
    task.state = MPROC__TASK_FREE;
    task.reason = MPROC__TASK_NOT_STOPPED;
    atomic_store_explicit(word, mproc__task_pack(task), memory_order_release);
}
