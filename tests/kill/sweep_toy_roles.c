/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations with a hole each that only one of the harness's roles can find: a recovery that is cut off, a wake that goes to
 * one who dies of it, a judgement by the clock. And one of each that has none. */
#include "platform/base.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kill/killsweep.h"

typedef struct toy_shared {
    _Atomic uint32_t left, right; /* equal, unless `dirty` says that somebody is at it */
    _Atomic uint32_t dirty;
    _Atomic uint32_t permits; /* and the word that takers sleep on */
    _Atomic uint32_t owner;
} toy_shared;

static const char *const toy_states[] = {"fresh", NULL};

static int toy_setup(unsigned state, void **ret_context)
{
    (void)state;
    *ret_context = mmap(NULL, sizeof(toy_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return *ret_context == MAP_FAILED;
}

static void toy_teardown(void *context)
{
    munmap(context, sizeof(toy_shared));
}

/* ---- a pair of numbers, mended by whoever comes after a death ---- */

static int pair_add(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    atomic_store(&toy->dirty, 1);
    atomic_fetch_add(&toy->left, 1);
    atomic_fetch_add(&toy->right, 1);
    atomic_store(&toy->dirty, 0);
    return 0;
}

static int pair_mend(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    if (atomic_load(&toy->dirty)) {
        atomic_store(&toy->right, atomic_load(&toy->left));
        atomic_store(&toy->dirty, 0);
    }
    return 0;
}

/* Says that it is done before it is. */
static int pair_mend_hastily(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    if (atomic_exchange(&toy->dirty, 0))
        atomic_store(&toy->right, atomic_load(&toy->left));
    return 0;
}

static int pair_check(void *context, unsigned state, bool returned)
{
    toy_shared *toy = context;
    pair_mend(context, state);
    if (atomic_load(&toy->left) != atomic_load(&toy->right))
        return 1;
    return returned && atomic_load(&toy->left) != 1 ? 2 : 0;
}

/* ---- permits: a plain futex gives a wake to one, and if that one dies it is gone ---- */

static bool permit_try(toy_shared *toy)
{
    uint32_t permits = atomic_load(&toy->permits);
    while (permits > 0)
        if (atomic_compare_exchange_weak(&toy->permits, &permits, permits - 1))
            return true;
    return false;
}

static int permit_take(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    while (!permit_try(toy))
        syscall(SYS_futex, &toy->permits, FUTEX_WAIT, 0, NULL, NULL, 0);
    return 0;
}

static int permit_give_to(toy_shared *toy, int sleepers)
{
    atomic_fetch_add(&toy->permits, 1);
    syscall(SYS_futex, &toy->permits, FUTEX_WAKE, sleepers, NULL, NULL, 0);
    return 0;
}

static int permit_give(void *context, unsigned state)
{
    (void)state;
    return permit_give_to(context, 1);
}

static int permit_give_loudly(void *context, unsigned state)
{
    (void)state;
    return permit_give_to(context, INT32_MAX);
}

static int permit_wakes(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    return atomic_load(&toy->permits) > 0 ? 0 : 1;
}

static int permit_check(void *context, unsigned state, bool returned)
{
    (void)returned;
    return permit_give_loudly(context, state);
}

/* ---- an owner's word ---- */

static int owner_work(void *context, unsigned state)
{
    toy_shared *toy = context;
    uint32_t me = (uint32_t)getpid(), was = me;
    (void)state;
    atomic_store(&toy->owner, me);
    return atomic_compare_exchange_strong(&toy->owner, &was, 0) ? 0 : 1;
}

static int owner_wait(toy_shared *toy)
{
    for (int ms = 0; ms < KILL_SHORT_MS && atomic_load(&toy->owner); ms++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return atomic_load(&toy->owner) ? 1 : 0;
}

static int owner_respect(void *context, unsigned state)
{
    (void)state;
    (void)owner_wait(context); /* a timeout is no news */
    return 0;
}

/* Who does not answer for so long must be dead. */
static int owner_presume_dead(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    if (owner_wait(toy) != 0)
        atomic_store(&toy->owner, 0);
    return 0;
}

static int owner_check(void *context, unsigned state, bool returned)
{
    toy_shared *toy = context;
    (void)state;
    return returned && atomic_load(&toy->owner) != 0;
}

#define TOY(name)                                                                                            \
    .operation = (name), .states = toy_states, .on_request = true, .setup = toy_setup,                       \
    .teardown = toy_teardown

const kill_case killsweep_toy_mended = {TOY("toy mended"), .call = pair_add, .recover = pair_mend,
                                        .check = pair_check};
const kill_case killsweep_toy_hasty = {TOY("toy hasty"), .call = pair_add, .recover = pair_mend_hastily,
                                       .check = pair_check};
const kill_case killsweep_toy_loud = {TOY("toy loud"),     .call = permit_take,   .post = permit_give_loudly,
                                      .wait = permit_take, .wakes = permit_wakes, .check = permit_check};
const kill_case killsweep_toy_quiet = {TOY("toy quiet"),    .call = permit_take,   .post = permit_give,
                                       .wait = permit_take, .wakes = permit_wakes, .check = permit_check};
const kill_case killsweep_toy_patient = {TOY("toy patient"), .call = owner_work, .meanwhile = owner_respect,
                                         .check = owner_check};
const kill_case killsweep_toy_rash = {TOY("toy rash"), .call = owner_work, .meanwhile = owner_presume_dead,
                                      .check = owner_check};
