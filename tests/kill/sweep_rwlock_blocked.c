/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed on the way into the sleep of an acquire of a reader-writer lock, asleep, and on the way out with it. Somebody holds
 * it from before until the post; a waiter sleeps behind the victim and must get it in any case. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kill/killsweep.h"
#include "platform/platform.h"
#include "support/support.h"
#include "sync/rwlock_inside.h"

/* What the victim wants, what holds, what waits behind. The first two make pairs: a reader goes out through all that there is
 * (a death, the sweep, the dead one's gate, the grant), a writer through the readers' leaving. The others end in what the
 * calls that do not sleep have pairs for (sweep_rwlock.c): a granted reader dies as one that reads before a waiting writer,
 * and what the next writer finds in the gate it finds without having slept, too. */
enum {
    READ_DEATH_READ,
    WRITE_READ_WRITE,
    READ_WRITE_READ,
    READ_WRITE_WRITE,
    WRITE_WRITE_WRITE,
    WRITE_DEATH_WRITE
};

static const char *const paired_states[] = {"reads, behind a writer that dies", "writes, behind a reader",
                                            NULL};
static const char *const other_states[] = {"reads, behind a writer", "reads, behind a writer, before one",
                                           "writes, behind a writer", "writes, behind a writer that dies",
                                           NULL};

/* Beside the lock, in memory that all roles share. */
typedef struct notes {
    _Atomic uint32_t holder; /* 1: holds; 2: shall release; 3: has */
    _Atomic int waiter_code, recoverer_came;
} notes;

typedef struct rwlock_context {
    mproc_rwlock *rwlock, *other; /* other: to get lazy set-up out of the way */
    notes *notes;
    pid_t holder;
    unsigned state;
} rwlock_context;

static mproc_deadline hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

static int get(rwlock_context *c, bool write, mproc_deadline deadline)
{
    return write ? mproc_rwlock_acquire_write(c->rwlock, deadline)
                 : mproc_rwlock_acquire_read(c->rwlock, deadline);
}

static bool holder_dies(const rwlock_context *c)
{
    return c->state == READ_DEATH_READ || c->state == WRITE_DEATH_WRITE;
}

static bool victim_writes(const rwlock_context *c)
{
    return c->state == WRITE_READ_WRITE || c->state >= WRITE_WRITE_WRITE;
}

static void holder_says(rwlock_context *c, uint32_t what)
{
    atomic_store(&c->notes->holder, what);
    mproc__futex_wake(&c->notes->holder, INT32_MAX, true);
}

static void until_holder(rwlock_context *c, uint32_t what)
{
    for (uint32_t now; (now = atomic_load(&c->notes->holder)) < what;)
        mproc__futex_wait(&c->notes->holder, now, true, hard());
}

static int hold(void *context)
{
    rwlock_context *c = context;
    if (get(c, c->state != WRITE_READ_WRITE, MPROC_NOW) != 0)
        return 1;
    holder_says(c, 1);
    until_holder(c, 2);
    if (mproc_rwlock_release(c->rwlock) != 0)
        return 2;
    holder_says(c, 3);
    for (;;)
        pause();
}

static int paired_setup(unsigned state, void **ret_context)
{
    rwlock_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    c->state = state;
    c->notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->notes == MAP_FAILED || mproc_rwlock_create(NULL, NULL, &c->rwlock) ||
        mproc_rwlock_create(NULL, NULL, &c->other))
        return 1;
    c->holder = support_fork(hold, c);
    until_holder(c, 1);
    return 0;
}

static int other_setup(unsigned state, void **ret_context)
{
    return paired_setup(READ_WRITE_READ + state, ret_context);
}

static void blocked_teardown(void *context)
{
    rwlock_context *c = context;
    if (c->holder)
        support_kill(c->holder);
    mproc_rwlock_close(&c->rwlock);
    mproc_rwlock_close(&c->other);
    munmap(c->notes, 4096);
    free(c);
}

static int blocked_prepare(void *context, unsigned state)
{
    rwlock_context *c = context;
    (void)state;
    return mproc_rwlock_acquire_read(c->other, MPROC_NOW) || mproc_rwlock_release(c->other) ||
           mproc_rwlock_acquire_write(c->other, MPROC_NOW) || mproc_rwlock_release(c->other) ||
           mproc__segment_join(c->rwlock->segment) < 0;
}

/* A death is told to the victim, unless the waiter's writing has ended the news before. */
static int blocked_call(void *context, unsigned state)
{
    rwlock_context *c = context;
    (void)state;
    int code = get(c, victim_writes(c), MPROC_FOREVER);
    return code == 0 || (code == MPROC_RECOVERED && holder_dies(c)) ? 0 : 1;
}

static int blocked_post(void *context, unsigned state)
{
    rwlock_context *c = context;
    (void)state;
    if (holder_dies(c))
        return kill(c->holder, SIGKILL);
    holder_says(c, 2);
    until_holder(c, 3);
    return atomic_load(&c->notes->holder) == 3 ? 0 : 1;
}

static int blocked_wait(void *context, unsigned state)
{
    rwlock_context *c = context;
    (void)state;
    c->notes->waiter_code = get(c, victim_writes(c) || c->state == READ_WRITE_WRITE, MPROC_FOREVER);
    return c->notes->waiter_code < 0 || mproc_rwlock_release(c->rwlock) != 0;
}

/* Comes with the holder still there: has the lock only if the holder's end was the post. */
static int blocked_recover(void *context, unsigned state)
{
    rwlock_context *c = context;
    (void)state;
    c->notes->recoverer_came = 1;
    int code = get(c, false, MPROC_NOW);
    return code >= 0 || code == -ETIMEDOUT ? 0 : 1;
}

static int blocked_meanwhile(void *context, unsigned state)
{
    rwlock_context *c = context;
    (void)state;
    int code = get(c, false, mproc_after_ms(KILL_SHORT_MS));
    if (code == -ETIMEDOUT)
        return 0;
    return code < 0 || (code > 0 && !holder_dies(c)) || mproc_rwlock_release(c->rwlock) != 0;
}

/* The waiter has had the lock. What there is to tell is told to a writer, once. */
static int blocked_check(void *context, unsigned state, bool returned)
{
    rwlock_context *c = context;
    unsigned readers = 9;
    bool news = holder_dies(c) || victim_writes(c);
    (void)state;
    int code = get(c, true, hard());
    if (code < 0 || (code > 0 && !news) || mproc_rwlock_release(c->rwlock) != 0)
        return 10;
    if (returned && victim_writes(c) && code == 0 && c->notes->waiter_code == 0)
        return 11;
    for (int i = 0; i < 3; i++)
        if (get(c, i % 2, hard()) != 0 || mproc_rwlock_release(c->rwlock) != 0)
            return 12 + i;
    return mproc_rwlock_holders(c->rwlock, &readers, NULL, NULL) != 0 || readers ? 20 : 0;
}

const kill_case killsweep_rwlock_blocked = {.operation = "rwlock acquire, blocked",
                                            .states = paired_states,
                                            .setup = paired_setup,
                                            .teardown = blocked_teardown,
                                            .prepare = blocked_prepare,
                                            .call = blocked_call,
                                            .post = blocked_post,
                                            .wait = blocked_wait,
                                            .recover = blocked_recover,
                                            .meanwhile = blocked_meanwhile,
                                            .check = blocked_check};

const kill_case killsweep_rwlock_blocked_other = {.operation = "rwlock acquire, blocked otherwise",
                                                  .states = other_states,
                                                  .setup = other_setup,
                                                  .teardown = blocked_teardown,
                                                  .prepare = blocked_prepare,
                                                  .call = blocked_call,
                                                  .post = blocked_post,
                                                  .wait = blocked_wait,
                                                  .meanwhile = blocked_meanwhile,
                                                  .check = blocked_check};
