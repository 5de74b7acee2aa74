/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed inside acquire and release of a lock. The waiter of a release is asleep on the lock before the victim lets go. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mproc/sync.h>
#include "kill/killsweep.h"
#include "platform/platform.h"
#include "sync/lock.h"
#include "support/support.h"

enum lock_state { PLAIN, RECURSIVE, AGAIN, POISON, AFTER_DEATH, ACQUIRE_STATES, POISONED = ACQUIRE_STATES };

static const char *const acquire_states[] = {
    "free", "recursive", "held already", "poison", "after a death", "poisoned", NULL};
static const char *const release_states[] = {"last", "recursive last", "recursive inner", "poison", NULL};

/* Beside the lock, in memory that all roles share. */
typedef struct notes {
    _Atomic uint32_t victim_holds;
    _Atomic uint32_t waiter_tries;
    _Atomic int waiter_pid;
    _Atomic int waiter_code;
    _Atomic int victim_pid;
    _Atomic int before_pid; /* who died in set-up */
    _Atomic int recoverer_pid;
    uint64_t token; /* of the last hold before the victim's call */
} notes;

typedef struct lock_context {
    mproc_lock *lock;
    mproc_lock *other; /* to get lazy set-up out of the way */
    notes *notes;
} lock_context;

static mproc_deadline hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

static int die_holding(void *context)
{
    lock_context *c = context;
    if (mproc_lock_acquire(c->lock, hard()) < 0)
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

static int hold_and_note(lock_context *c)
{
    int code = mproc_lock_acquire(c->lock, hard());
    if (code < 0)
        return code;
    code = mproc_lock_token(c->lock, &c->notes->token);
    return code < 0 ? code : mproc_lock_release(c->lock);
}

static int set_up(unsigned state, lock_context *c)
{
    bool recursive = state == RECURSIVE || state == AGAIN;
    bool poison = state == POISON || state == POISONED;
    c->notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->notes == MAP_FAILED)
        return 1;
    if (mproc_lock_create(NULL, MPROC_WITH(mproc_lock_options, .recursive = recursive, .poison = poison),
                          &c->lock))
        return 2;
    if (mproc_lock_create(NULL, NULL, &c->other) || hold_and_note(c))
        return 3;
    if (state < AFTER_DEATH)
        return 0;
    pid_t dead = support_fork(die_holding, c);
    c->notes->before_pid = dead;
    if (support_reap(dead, KILL_HARD_MS) != 256 + SIGKILL)
        return 4;
    return state == POISONED && mproc_lock_acquire(c->lock, hard()) != MPROC_EPOISONED ? 5 : 0;
}

static int lock_setup(unsigned state, void **ret_context)
{
    lock_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    return c ? set_up(state, c) : 9;
}

static void lock_teardown(void *context)
{
    lock_context *c = context;
    mproc_lock_close(&c->lock);
    mproc_lock_close(&c->other);
    munmap(c->notes, 4096);
    free(c);
}

static int warm_up(lock_context *c)
{
    c->notes->victim_pid = getpid();
    int code = mproc_lock_acquire(c->other, MPROC_NOW);
    return code ? code : mproc_lock_release(c->other);
}

/* ---- acquire ---- */

static int acquire_prepare(void *context, unsigned state)
{
    lock_context *c = context;
    if (warm_up(c))
        return 1;
    return state == AGAIN ? mproc_lock_acquire(c->lock, MPROC_NOW) : 0;
}

static int acquire_call(void *context, unsigned state)
{
    lock_context *c = context;
    int code = mproc_lock_acquire(c->lock, MPROC_NOW);
    int wanted = state == AFTER_DEATH ? MPROC_RECOVERED : state == POISONED ? MPROC_EPOISONED : 0;
    return code == wanted ? 0 : 1;
}

/* The pid that the story names must be that of somebody who died with the lock; none is allowed. */
static bool told_rightly(const lock_context *c)
{
    int64_t pid;
    if (mproc_error_number(mproc_error_of(c->lock), MPROC_ERROR_PID, &pid) < 0)
        return true;
    return pid == c->notes->victim_pid || pid == c->notes->before_pid || pid == c->notes->recoverer_pid;
}

/* Gets the lock and dies with it, if it comes so far. */
static int lock_recover(void *context, unsigned state)
{
    lock_context *c = context;
    (void)state;
    c->notes->recoverer_pid = getpid();
    int code = mproc_lock_acquire(c->lock, hard());
    return code >= 0 || code == MPROC_EPOISONED ? 0 : 1;
}

/* Beside a stopped victim. What died in set-up is left for the victim to hear of. */
static int lock_meanwhile(void *context, unsigned state)
{
    lock_context *c = context;
    if (state == AFTER_DEATH)
        return mproc__segment_sweep(mproc__lock_segment(c->lock)) != 0; /* a lock has no rows of the dead */
    int code = mproc_lock_acquire(c->lock, mproc_after_ms(KILL_SHORT_MS));
    if (code == 0)
        return mproc_lock_release(c->lock) != 0;
    return code == -ETIMEDOUT || (code == MPROC_EPOISONED && state == POISONED) ? 0 : 2;
}

static int use_twice(lock_context *c)
{
    uint64_t token;
    for (int i = 0; i < 2; i++) {
        if (mproc_lock_acquire(c->lock, hard()) != 0)
            return 20;
        if (mproc_lock_token(c->lock, &token) < 0 || token <= c->notes->token)
            return 21;
        c->notes->token = token;
        if (mproc_lock_release(c->lock) != 0)
            return 22;
    }
    return mproc_lock_is_held(c->lock) ? 23 : 0;
}

/* Gets the lock once as a survivor does and says whether there was a death to hear of: 0 no, 1 yes, above: a failure. */
static int get_once(lock_context *c)
{
    int code = mproc_lock_acquire(c->lock, hard());
    if (code > 0 || code == MPROC_EPOISONED) {
        if (!told_rightly(c))
            return 10;
        int rest = code == MPROC_EPOISONED ? mproc_lock_repair(c->lock) : mproc_lock_release(c->lock);
        return rest == 0 ? 1 : 11;
    }
    return code < 0 ? 12 : mproc_lock_release(c->lock) == 0 ? 0 : 13;
}

static int acquire_check(void *context, unsigned state, bool returned)
{
    lock_context *c = context;
    int told = get_once(c);
    bool must_tell = returned || state == AGAIN || state >= AFTER_DEATH;
    if (told > 1)
        return told;
    return must_tell && told != 1 ? 14 : use_twice(c);
}

/* ---- release ---- */

static void note_set(_Atomic uint32_t *word)
{
    atomic_store(word, 1);
    mproc__futex_wake(word, 1, true);
}

static bool waiter_came(void *context)
{
    lock_context *c = context;
    return atomic_load(&c->notes->waiter_tries) != 0;
}

static int release_prepare(void *context, unsigned state)
{
    lock_context *c = context;
    if (warm_up(c) || mproc_lock_acquire(c->lock, MPROC_NOW) != 0)
        return 1;
    if (state == AGAIN && mproc_lock_acquire(c->lock, MPROC_NOW) != 0)
        return 2;
    note_set(&c->notes->victim_holds);
    if (!support_until(waiter_came, c, KILL_HARD_MS))
        return 3;
    return support_until_asleep(c->notes->waiter_pid, KILL_HARD_MS) ? 0 : 4;
}

static int release_call(void *context, unsigned state)
{
    lock_context *c = context;
    (void)state;
    return mproc_lock_release(c->lock) == 0 ? 0 : 1;
}

static int release_wait(void *context, unsigned state)
{
    lock_context *c = context;
    (void)state;
    c->notes->waiter_pid = getpid();
    while (!atomic_load(&c->notes->victim_holds))
        mproc__futex_wait(&c->notes->victim_holds, 0, true, MPROC_FOREVER);
    atomic_store(&c->notes->waiter_tries, 1);
    int code = mproc_lock_acquire(c->lock, MPROC_FOREVER);
    c->notes->waiter_code = code;
    if (code == MPROC_EPOISONED)
        return 0;
    return code < 0 ? 1 : mproc_lock_release(c->lock) == 0 ? 0 : 2;
}

/* Who released is not a death to hear of; who was killed holding is, and the waiter or this survivor hears it. */
static int release_check(void *context, unsigned state, bool returned)
{
    lock_context *c = context;
    int told = get_once(c);
    if (told > 1)
        return told;
    bool heard = told == 1 || c->notes->waiter_code != 0;
    if (state == AGAIN && !heard)
        return 15;
    return state != AGAIN && returned && heard && !c->notes->recoverer_pid ? 16 : use_twice(c);
}

const kill_case killsweep_lock_acquire = {.operation = "lock acquire",
                                          .states = acquire_states,
                                          .every_state = true,
                                          .setup = lock_setup,
                                          .teardown = lock_teardown,
                                          .prepare = acquire_prepare,
                                          .call = acquire_call,
                                          .recover = lock_recover,
                                          .meanwhile = lock_meanwhile,
                                          .check = acquire_check};

const kill_case killsweep_lock_release = {.operation = "lock release",
                                          .states = release_states,
                                          .every_state = true,
                                          .setup = lock_setup,
                                          .teardown = lock_teardown,
                                          .prepare = release_prepare,
                                          .call = release_call,
                                          .wait = release_wait,
                                          .recover = lock_recover,
                                          .meanwhile = lock_meanwhile,
                                          .check = release_check};
