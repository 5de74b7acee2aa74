/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed inside acquire and release of a semaphore that nobody waits for. What a bounded one gave to the victim must be free
 * again; of a plain one the call happened, or it did not. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kill/sweep_semaphore.h"
#include "platform/platform.h"
#include "support/support.h"
#include "sync/semaphore.h"

enum { FEW = 16 /* more permits than that are not drained one after the other */ };

/* ---- a scene ---- */

int semaphore_acquire_many(mproc_semaphore *semaphore, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (mproc_semaphore_acquire(semaphore, hard()) != 0)
            return 1;
    return 0;
}

static int die_holding(void *context)
{
    semaphore_scene *s = context;
    if (semaphore_acquire_many(s->semaphore, s->start->dead))
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

static int scene_fill(semaphore_scene *s)
{
    const semaphore_start *start = s->start;
    s->notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->notes == MAP_FAILED)
        return 1;
    const mproc_semaphore_options *options = MPROC_WITH(mproc_semaphore_options, .bounded = start->bounded);
    if (mproc_semaphore_create(NULL, start->permits, options, &s->semaphore) ||
        mproc_semaphore_create(NULL, 1, options, &s->other))
        return 2;
    if (semaphore_acquire_many(s->semaphore, start->others))
        return 3;
    if (start->dead && support_reap(support_fork(die_holding, s), KILL_HARD_MS) != 256 + SIGKILL)
        return 4;
    return 0;
}

int semaphore_scene_make(const semaphore_start *start, void **ret_context)
{
    semaphore_scene *s = calloc(1, sizeof(*s));
    *ret_context = s;
    if (!s)
        return 9;
    s->start = start;
    return scene_fill(s);
}

void semaphore_teardown(void *context)
{
    semaphore_scene *s = context;
    if (s->holder)
        support_kill(s->holder);
    mproc_semaphore_close(&s->semaphore);
    mproc_semaphore_close(&s->other);
    munmap(s->notes, 4096);
    free(s);
}

void semaphore_tell(_Atomic uint32_t *note, uint32_t value)
{
    atomic_store(note, value);
    mproc__futex_wake(note, INT32_MAX, true);
}

int semaphore_await(_Atomic uint32_t *note, uint32_t value)
{
    mproc_deadline deadline = hard();
    for (uint32_t now; (now = atomic_load(note)) < value;)
        if (mproc__futex_wait(note, now, true, deadline) == -ETIMEDOUT)
            return 1;
    return 0;
}

/* ---- the roles ---- */

int semaphore_prepare(void *context, unsigned state)
{
    semaphore_scene *s = context;
    (void)state;
    if (mproc_semaphore_acquire(s->other, MPROC_NOW) || mproc_semaphore_release(s->other, 1))
        return 1;
    if (!s->start->newcomer && mproc__segment_join(mproc__semaphore_local(s->semaphore)->segment) < 0)
        return 2;
    return semaphore_acquire_many(s->semaphore, s->start->victim) ? 3 : 0;
}

int semaphore_call(void *context, unsigned state)
{
    semaphore_scene *s = context;
    (void)state;
    int code = s->start->count ? mproc_semaphore_release(s->semaphore, s->start->count)
                               : mproc_semaphore_acquire(s->semaphore, MPROC_NOW);
    return code == s->start->wanted ? 0 : 1;
}

int semaphore_recover(void *context, unsigned state)
{
    semaphore_scene *s = context;
    (void)state;
    if (!s->start->bounded) {
        mproc__segment_sweep(mproc__semaphore_local(s->semaphore)->segment);
        return 0;
    }
    int code = mproc_semaphore_acquire(s->semaphore, MPROC_NOW);
    return code == 0 || code == -ETIMEDOUT ? 0 : 1;
}

/* The most that others may have while the victim is stopped: what it held and does not give back stays its own. */
static unsigned not_the_victims(const semaphore_start *start)
{
    unsigned kept = start->wanted == 0 && start->count ? start->victim - start->count : start->victim;
    return start->permits - start->others - kept;
}

int semaphore_meanwhile(void *context, unsigned state)
{
    semaphore_scene *s = context;
    unsigned value;
    (void)state;
    int code = mproc_semaphore_acquire(s->semaphore, mproc_after_ms(KILL_SHORT_MS));
    if (code == 0 && mproc_semaphore_release(s->semaphore, 1) != 0)
        return 1;
    if (code != 0 && code != -ETIMEDOUT)
        return 2;
    if (mproc_semaphore_value(s->semaphore, &value) != 0)
        return 3;
    return s->start->bounded && value > not_the_victims(s->start) ? 4 : 0;
}

/* ---- afterwards ---- */

static int drain(semaphore_scene *s, unsigned count)
{
    if (semaphore_acquire_many(s->semaphore, count))
        return 31;
    if (mproc_semaphore_acquire(s->semaphore, MPROC_NOW) != -ETIMEDOUT)
        return 32;
    if (s->start->bounded && mproc_semaphore_release(s->semaphore, count + 1) >= 0)
        return 33;
    return count && mproc_semaphore_release(s->semaphore, count) ? 34 : 0;
}

int semaphore_use_all(semaphore_scene *s, unsigned expected)
{
    unsigned value;
    if (mproc_semaphore_value(s->semaphore, &value) || value != expected)
        return 30;
    int fault = expected <= FEW ? drain(s, expected) : 0;
    if (fault == 0 && (mproc_semaphore_value(s->semaphore, &value) || value != expected))
        fault = 35;
    return fault;
}

/* Before the call `before` were free; it may have happened. */
static int plain_check(semaphore_scene *s, bool returned)
{
    const semaphore_start *start = s->start;
    unsigned before = start->permits - start->others - start->victim, value;
    unsigned after = start->wanted ? before : start->count ? before + start->count : before - 1;
    if (mproc_semaphore_value(s->semaphore, &value))
        return 10;
    if (value != after && (returned || value != before))
        return 11;
    return semaphore_use_all(s, value);
}

static int call_check(void *context, unsigned state, bool returned)
{
    semaphore_scene *s = context;
    (void)state;
    return s->start->bounded ? semaphore_use_all(s, s->start->permits - s->start->others)
                             : plain_check(s, returned);
}

/* ---- acquire ---- */

static const char *const acquire_states[] = {"plain",
                                             "plain, newcomer",
                                             "plain, the last",
                                             "plain, none",
                                             "bounded",
                                             "bounded, newcomer",
                                             "bounded, the last",
                                             "bounded, none",
                                             "bounded, none, newcomer",
                                             "bounded, holds two",
                                             "bounded, the dead hold all",
                                             "bounded, the dead hold all, newcomer",
                                             NULL};
static const semaphore_start acquire_starts[] = {
    {.permits = 2},
    {.permits = 2, .newcomer = true},
    {.permits = 1},
    {.permits = 0, .wanted = -ETIMEDOUT},
    {.bounded = true, .permits = 3},
    {.bounded = true, .permits = 3, .newcomer = true},
    {.bounded = true, .permits = 3, .others = 2},
    {.bounded = true, .permits = 3, .others = 3, .wanted = -ETIMEDOUT},
    {.bounded = true, .permits = 3, .others = 3, .wanted = -ETIMEDOUT, .newcomer = true},
    {.bounded = true, .permits = 4, .others = 1, .victim = 2},
    {.bounded = true, .permits = 3, .others = 1, .dead = 2},
    {.bounded = true, .permits = 3, .others = 1, .dead = 2, .newcomer = true},
};
_Static_assert(MPROC__COUNT(acquire_states) == MPROC__COUNT(acquire_starts) + 1, "a line a state");

static int acquire_setup(unsigned state, void **ret_context)
{
    return semaphore_scene_make(&acquire_starts[state], ret_context);
}

/* ---- release ---- */

static const char *const release_states[] = {"plain",
                                             "plain, newcomer",
                                             "plain, three",
                                             "plain, too many",
                                             "bounded",
                                             "bounded, the last",
                                             "bounded, two of three",
                                             "bounded, all of three",
                                             "bounded, above the bound",
                                             "bounded, newcomer above the bound",
                                             "bounded, more than it holds",
                                             NULL};
static const semaphore_start release_starts[] = {
    {.permits = 1, .count = 1},
    {.permits = 1, .count = 1, .newcomer = true},
    {.permits = 2, .count = 3, .victim = 1},
    {.permits = MPROC_SEMAPHORE_MAX, .count = 1, .wanted = -EOVERFLOW},
    {.bounded = true, .permits = 4, .others = 1, .victim = 1, .count = 1},
    {.bounded = true, .permits = 1, .victim = 1, .count = 1},
    {.bounded = true, .permits = 4, .others = 1, .victim = 3, .count = 2},
    {.bounded = true, .permits = 4, .others = 1, .victim = 3, .count = 3},
    {.bounded = true, .permits = 3, .count = 1, .wanted = -ERANGE},
    {.bounded = true, .permits = 3, .count = 1, .wanted = -ERANGE, .newcomer = true},
    {.bounded = true, .permits = 3, .others = 2, .victim = 1, .count = 2, .wanted = -EPERM},
};
_Static_assert(MPROC__COUNT(release_states) == MPROC__COUNT(release_starts) + 1, "a line a state");

static int release_setup(unsigned state, void **ret_context)
{
    return semaphore_scene_make(&release_starts[state], ret_context);
}

const kill_case killsweep_semaphore_acquire = {.operation = "semaphore acquire",
                                               .states = acquire_states,
                                               .setup = acquire_setup,
                                               .teardown = semaphore_teardown,
                                               .prepare = semaphore_prepare,
                                               .call = semaphore_call,
                                               .recover = semaphore_recover,
                                               .meanwhile = semaphore_meanwhile,
                                               .check = call_check};

const kill_case killsweep_semaphore_release = {.operation = "semaphore release",
                                               .states = release_states,
                                               .setup = release_setup,
                                               .teardown = semaphore_teardown,
                                               .prepare = semaphore_prepare,
                                               .call = semaphore_call,
                                               .recover = semaphore_recover,
                                               .meanwhile = semaphore_meanwhile,
                                               .check = call_check};
