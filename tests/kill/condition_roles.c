/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kill/condition_roles.h"

/* ---- set-up ---- */

static int make_all(bool given, roles *r)
{
    mproc_lock *lock = NULL;
    r->notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r->notes == MAP_FAILED || (given && mproc_lock_create(NULL, NULL, &lock)))
        return 1;
    int code = mproc_condition_create(NULL, MPROC_WITH(mproc_condition_options, .lock = lock), &r->condition);
    mproc_lock_close(&lock);
    if (code != 0 || mproc_condition_create(NULL, NULL, &r->other))
        return 2;
    r->lock = mproc_condition_lock(r->condition);
    return 0;
}

int roles_setup(bool given, roles **ret_roles)
{
    roles *r = calloc(1, sizeof(*r));
    *ret_roles = r;
    return r ? make_all(given, r) : 9;
}

void roles_teardown(void *context)
{
    roles *r = context;
    for (unsigned i = 0; i < r->extra_count; i++)
        support_kill(r->extras[i]);
    mproc_condition_close(&r->condition);
    mproc_condition_close(&r->other);
    munmap(r->notes, 4096);
    free(r);
}

static int once(mproc_condition *condition, mproc_lock *lock)
{
    if (mproc_lock_acquire(lock, MPROC_NOW) != 0)
        return 1;
    if (mproc_condition_wait(condition, MPROC_NOW) != -ETIMEDOUT || mproc_condition_notify(condition, 1) != 0)
        return 2;
    return mproc_lock_release(lock) == 0 ? 0 : 3;
}

int roles_warm_up(roles *r, bool join)
{
    int code = once(r->other, mproc_condition_lock(r->other));
    if (code == 0 && join && mproc__segment_join(r->condition->segment) < 0)
        code = 4;
    return code;
}

/* ---- what all do ---- */

static int noted(roles *r, int code)
{
    if (code == MPROC_RECOVERED)
        atomic_fetch_add(&r->notes->told, 1);
    return code < 0 ? code : 0;
}

int roles_take(roles *r)
{
    return noted(r, mproc_lock_acquire(r->lock, roles_hard()));
}

int roles_wait(roles *r, unsigned bit)
{
    if (roles_take(r) < 0)
        return 1;
    if (noted(r, mproc_condition_wait(r->condition, MPROC_FOREVER)) < 0)
        return 2;
    if (mproc_lock_release(r->lock) != 0)
        return 3;
    atomic_fetch_or(&r->notes->woken, bit);
    return 0;
}

static int extra_main(void *context)
{
    roles *r = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (roles_wait(r, 1u << r->extra_count) != 0)
        return 1;
    for (;;)
        pause();
}

typedef struct expected {
    roles *r;
    unsigned count;
} expected;

static bool are_waiting(void *context)
{
    expected *e = context;
    return roles_waiting(e->r) == e->count;
}

int roles_extra(roles *r)
{
    pid_t child = support_fork(extra_main, r);
    r->extras[r->extra_count++] = child;
    expected e = {r, r->extra_count};
    if (!support_until(are_waiting, &e, KILL_HARD_MS))
        return 7;
    return support_until_asleep(child, KILL_HARD_MS) ? 0 : 8;
}

unsigned roles_waiting(const roles *r)
{
    return mproc__condition_waiting(r->condition->shared);
}

unsigned roles_taken(const roles *r)
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < MPROC__CONDITION_SLOTS; slot++)
        count += atomic_load(&r->condition->shared->slots[slot].word) != 0;
    return count;
}

static bool all_woke(void *context)
{
    expected *e = context;
    return (atomic_load(&e->r->notes->woken) & e->count) == e->count;
}

bool roles_until_woken(roles *r, unsigned bits)
{
    expected e = {r, bits};
    return support_until(all_woke, &e, KILL_HARD_MS) && atomic_load(&r->notes->woken) == bits;
}

static int notify_all(roles *r)
{
    if (roles_take(r) < 0 || mproc_condition_notify(r->condition, UINT_MAX) != 0)
        return 1;
    return mproc_lock_release(r->lock);
}

/* ---- its whole use ---- */

static void *notifier(void *context)
{
    return notify_all(context) == 0 ? NULL : context;
}

/* Another thread of this process notifies. */
static int wait_notified(roles *r)
{
    pthread_t thread;
    void *failed;
    if (mproc_lock_acquire(r->lock, roles_hard()) != 0)
        return 21;
    if (mproc_condition_wait(r->condition, MPROC_NOW) != -ETIMEDOUT)
        return 22;
    if (pthread_create(&thread, NULL, notifier, r) != 0)
        return 23;
    int code = mproc_condition_wait(r->condition, roles_hard());
    if (mproc_lock_release(r->lock) != 0)
        return 24;
    pthread_join(thread, &failed);
    return code == 0 && !failed ? 0 : 25;
}

int roles_use(roles *r, unsigned bits)
{
    if (notify_all(r) != 0)
        return 26;
    if (!roles_until_woken(r, bits))
        return 27;
    mproc__segment_sweep(r->condition->segment);
    if (roles_taken(r) != 0)
        return 28;
    return wait_notified(r);
}

int roles_meanwhile(void *context, unsigned state)
{
    roles *r = context;
    (void)state;
    int code = mproc_lock_acquire(r->lock, mproc_after_ms(KILL_SHORT_MS));
    if (code != 0)
        return code == -ETIMEDOUT ? 0 : 2;
    code = mproc_condition_wait(r->condition, mproc_after_ms(KILL_SHORT_MS));
    if (mproc_lock_release(r->lock) != 0)
        return 3;
    return code == -ETIMEDOUT ? 0 : 4;
}

int roles_recover(void *context, unsigned state)
{
    roles *r = context;
    (void)state;
    (void)mproc__segment_sweep(r->condition->segment);
    return 0;
}
