/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed on the way into the sleep of an acquire, asleep, and on the way out with the lock. Somebody holds the lock from before
 * until the post; a waiter sleeps behind the victim and must get it in any case. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mproc/sync.h>
#include "kill/killsweep.h"
#include "platform/platform.h"
#include "support/support.h"

enum { PLAIN, RECURSIVE, POISON, HOLDER_DIES };

static const char *const states[] = {"plain", "recursive", "poison", "holder dies", NULL};

/* Beside the lock, in memory that all roles share. */
typedef struct notes {
    _Atomic uint32_t holder; /* 1: holds; 2: shall release; 3: has */
    _Atomic int waiter_code;
    _Atomic int recoverer_got; /* what its acquire answered, + 1 */
} notes;

typedef struct lock_context {
    mproc_lock *lock;
    mproc_lock *other; /* to get lazy set-up out of the way */
    notes *notes;
    pid_t holder;
} lock_context;

static mproc_deadline hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

static void holder_says(lock_context *c, uint32_t what)
{
    atomic_store(&c->notes->holder, what);
    mproc__futex_wake(&c->notes->holder, INT32_MAX, true);
}

static void until_holder(lock_context *c, uint32_t what)
{
    for (uint32_t now; (now = atomic_load(&c->notes->holder)) < what;)
        mproc__futex_wait(&c->notes->holder, now, true, hard());
}

static int hold(void *context)
{
    lock_context *c = context;
    if (mproc_lock_acquire(c->lock, MPROC_NOW) != 0)
        return 1;
    holder_says(c, 1);
    until_holder(c, 2);
    if (mproc_lock_release(c->lock) != 0)
        return 2;
    holder_says(c, 3);
    for (;;)
        pause();
}

static int lock_setup(unsigned state, void **ret_context)
{
    lock_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    c->notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->notes == MAP_FAILED)
        return 1;
    if (mproc_lock_create(
            NULL, MPROC_WITH(mproc_lock_options, .recursive = state == RECURSIVE, .poison = state == POISON),
            &c->lock) ||
        mproc_lock_create(NULL, NULL, &c->other))
        return 2;
    c->holder = support_fork(hold, c);
    until_holder(c, 1);
    return 0;
}

static void lock_teardown(void *context)
{
    lock_context *c = context;
    if (c->holder)
        support_kill(c->holder);
    mproc_lock_close(&c->lock);
    mproc_lock_close(&c->other);
    munmap(c->notes, 4096);
    free(c);
}

static int blocked_prepare(void *context, unsigned state)
{
    lock_context *c = context;
    (void)state;
    return mproc_lock_acquire(c->other, MPROC_NOW) || mproc_lock_release(c->other);
}

static int blocked_call(void *context, unsigned state)
{
    lock_context *c = context;
    int code = mproc_lock_acquire(c->lock, MPROC_FOREVER);
    return code == (state == HOLDER_DIES ? MPROC_RECOVERED : 0) ? 0 : 1;
}

static int blocked_post(void *context, unsigned state)
{
    lock_context *c = context;
    if (state == HOLDER_DIES)
        return kill(c->holder, SIGKILL);
    holder_says(c, 2);
    until_holder(c, 3);
    return atomic_load(&c->notes->holder) == 3 ? 0 : 1;
}

static int use(lock_context *c, int code)
{
    int rest = code == MPROC_EPOISONED ? mproc_lock_repair(c->lock) : code;
    return rest < 0 || (code != MPROC_EPOISONED && mproc_lock_release(c->lock) != 0);
}

static int blocked_wait(void *context, unsigned state)
{
    lock_context *c = context;
    (void)state;
    c->notes->waiter_code = mproc_lock_acquire(c->lock, MPROC_FOREVER);
    return use(c, c->notes->waiter_code);
}

/* Comes with the holder still there: has the lock only if the holder's end was the post. */
static int blocked_recover(void *context, unsigned state)
{
    lock_context *c = context;
    (void)state;
    int code = mproc_lock_acquire(c->lock, MPROC_NOW);
    atomic_store(&c->notes->recoverer_got, code + 1);
    return code >= 0 || code == -ETIMEDOUT || code == MPROC_EPOISONED ? 0 : 1;
}

static int blocked_meanwhile(void *context, unsigned state)
{
    lock_context *c = context;
    int code = mproc_lock_acquire(c->lock, mproc_after_ms(KILL_SHORT_MS));
    if (state == HOLDER_DIES && code == MPROC_RECOVERED)
        return 0; /* this death is to be heard of; dies with it, so that the victim hears of one, too */
    if (code == 0)
        return mproc_lock_release(c->lock) != 0;
    return code == -ETIMEDOUT ? 0 : 2;
}

/* The waiter has had the lock. If the victim had it, or the holder died with it, somebody has heard. */
static int blocked_check(void *context, unsigned state, bool returned)
{
    lock_context *c = context;
    int code = mproc_lock_acquire(c->lock, hard());
    if ((code < 0 && code != MPROC_EPOISONED) || use(c, code))
        return 10;
    bool heard = code != 0 || c->notes->waiter_code != 0 || c->notes->recoverer_got > 1;
    if ((returned || state == HOLDER_DIES) && !heard)
        return 11;
    code = mproc_lock_acquire(c->lock, hard());
    return code != 0 || use(c, code) ? 12 : 0;
}

const kill_case killsweep_lock_blocked = {.operation = "lock acquire, blocked",
                                          .states = states,
                                          .setup = lock_setup,
                                          .teardown = lock_teardown,
                                          .prepare = blocked_prepare,
                                          .call = blocked_call,
                                          .post = blocked_post,
                                          .wait = blocked_wait,
                                          .recover = blocked_recover,
                                          .meanwhile = blocked_meanwhile,
                                          .check = blocked_check};
