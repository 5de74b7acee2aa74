/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed while taking an array's lock, and with it held inside a slice: whoever is next is told, and who is not told sees all
 * of the slice or nothing. The waiter sleeps on the lock before the slice is begun. */
#include "platform/base.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mproc/sync.h>
#include "kill/killsweep.h"
#include "platform/platform.h"
#include "support/support.h"

enum { ITEMS = 5, OLD = 1, NEW = 2 };
enum lock_state { OWN, GIVEN };
static const char *const states[] = {"own lock", "given lock", NULL};

/* Beside the array, in memory that all roles share. */
typedef struct notes {
    _Atomic uint32_t victim_holds;
    _Atomic uint32_t waiter_tries;
    _Atomic int waiter_pid;
    _Atomic int heard; /* that somebody died with the lock */
} notes;

typedef struct array_context {
    mproc_array *array;
    mproc_array *other; /* to get lazy set-up out of the way */
    mproc_lock *lock;
    notes *notes;
} array_context;

static mproc_deadline hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

static int array_setup(unsigned state, void **ret_context)
{
    const double initial[ITEMS] = {OLD, OLD, OLD, OLD, OLD};
    array_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    c->notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->notes == MAP_FAILED || (state == GIVEN && mproc_lock_create(NULL, NULL, &c->lock)))
        return 1;
    if (mproc_array_create(NULL, MPROC_ITEM_DOUBLE, ITEMS,
                           MPROC_WITH(mproc_array_options, .initial = initial, .lock = c->lock), &c->array))
        return 2;
    return mproc_array_create(NULL, MPROC_ITEM_DOUBLE, ITEMS, NULL, &c->other) == 0 ? 0 : 3;
}

static void array_teardown(void *context)
{
    array_context *c = context;
    mproc_array_close(&c->array);
    mproc_array_close(&c->other);
    mproc_lock_close(&c->lock);
    munmap(c->notes, 4096);
    free(c);
}

static int take(mproc_array *array, mproc_deadline deadline)
{
    return mproc_lock_acquire(mproc_array_lock(array), deadline);
}

static int give(mproc_array *array)
{
    return mproc_lock_release(mproc_array_lock(array));
}

static int fill(mproc_array *array, double value)
{
    const double all[ITEMS] = {value, value, value, value, value};
    return mproc_array_write(array, 0, ITEMS, all);
}

/* How many items are new; -1: one is neither. */
static int new_items(mproc_array *array)
{
    double all[ITEMS];
    int count = 0;
    if (mproc_array_read(array, 0, ITEMS, all) < 0)
        return -1;
    for (int i = 0; i < ITEMS; i++) {
        if (all[i] != OLD && all[i] != NEW)
            return -1;
        count += all[i] == NEW;
    }
    return count;
}

/* What everyone does who gets the lock: told of a death, it puts the slice right; else it finds it right. 0, or a code. */
static int look_under_lock(array_context *c)
{
    int code = take(c->array, hard());
    int now = code < 0 ? -1 : new_items(c->array);
    if (now < 0)
        return 20;
    if (code == MPROC_RECOVERED && fill(c->array, now == ITEMS ? NEW : OLD))
        return 21;
    if (code == MPROC_RECOVERED)
        c->notes->heard = 1; /* after the repair: one who dies before it leaves the news to the next */
    if (code == 0 && now != 0 && now != ITEMS)
        return 22;
    return give(c->array) == 0 ? 0 : 23;
}

static int warm_up(array_context *c)
{
    return take(c->other, MPROC_NOW) || fill(c->other, NEW) || give(c->other);
}

/* Gets the lock and dies with it, if it comes so far. */
static int lock_recover(void *context, unsigned state)
{
    array_context *c = context;
    (void)state;
    int code = take(c->array, hard());
    return code >= 0 && new_items(c->array) >= 0 ? 0 : 1;
}

static int lock_meanwhile(void *context, unsigned state)
{
    array_context *c = context;
    (void)state;
    int code = take(c->array, mproc_after_ms(KILL_SHORT_MS));
    if (code == -ETIMEDOUT)
        return new_items(c->array) < 0; /* reading needs no lock */
    if (code != 0)
        return 1;
    int now = new_items(c->array);
    return give(c->array) != 0 || (now != 0 && now != ITEMS);
}

static int use(array_context *c)
{
    for (int i = 0; i < 2; i++) {
        int wanted = i == 0 ? NEW : OLD;
        if (take(c->array, hard()) != 0 || fill(c->array, wanted))
            return 30;
        if (new_items(c->array) != (i == 0 ? ITEMS : 0) || give(c->array))
            return 31;
    }
    return 0;
}

/* ---- the lock is taken ---- */

static int acquire_prepare(void *context, unsigned state)
{
    (void)state;
    return warm_up(context);
}

static int acquire_call(void *context, unsigned state)
{
    array_context *c = context;
    (void)state;
    return take(c->array, MPROC_NOW) == 0 ? 0 : 1;
}

static int acquire_check(void *context, unsigned state, bool returned)
{
    array_context *c = context;
    (void)state;
    int code = look_under_lock(c);
    if (code)
        return code;
    return returned && !c->notes->heard ? 10 : use(c);
}

const kill_case killsweep_array_acquire = {.operation = "array lock acquire",
                                           .states = states,
                                           .setup = array_setup,
                                           .teardown = array_teardown,
                                           .prepare = acquire_prepare,
                                           .call = acquire_call,
                                           .recover = lock_recover,
                                           .meanwhile = lock_meanwhile,
                                           .check = acquire_check};

/* ---- a slice is written with the lock held, which is then given back ---- */

static bool waiter_came(void *context)
{
    return atomic_load(&((array_context *)context)->notes->waiter_tries) != 0;
}

static int slice_prepare(void *context, unsigned state)
{
    array_context *c = context;
    (void)state;
    if (warm_up(c) || take(c->array, MPROC_NOW))
        return 1;
    atomic_store(&c->notes->victim_holds, 1);
    mproc__futex_wake(&c->notes->victim_holds, 1, true);
    if (!support_until(waiter_came, c, KILL_HARD_MS))
        return 2;
    return support_until_asleep(c->notes->waiter_pid, KILL_HARD_MS) ? 0 : 3;
}

static int slice_call(void *context, unsigned state)
{
    array_context *c = context;
    (void)state;
    return fill(c->array, NEW) || give(c->array);
}

static int slice_wait(void *context, unsigned state)
{
    array_context *c = context;
    (void)state;
    c->notes->waiter_pid = getpid();
    while (!atomic_load(&c->notes->victim_holds))
        mproc__futex_wait(&c->notes->victim_holds, 0, true, MPROC_FOREVER);
    atomic_store(&c->notes->waiter_tries, 1);
    return look_under_lock(c);
}

static int slice_check(void *context, unsigned state, bool returned)
{
    array_context *c = context;
    (void)state;
    int code = look_under_lock(c);
    if (code)
        return code;
    if (returned && new_items(c->array) != ITEMS)
        return 10;
    return new_items(c->array) == 0 && !c->notes->heard ? 11 : use(c);
}

const kill_case killsweep_array_slice = {.operation = "array write, under the lock",
                                         .states = states,
                                         .setup = array_setup,
                                         .teardown = array_teardown,
                                         .prepare = slice_prepare,
                                         .call = slice_call,
                                         .wait = slice_wait,
                                         .recover = lock_recover,
                                         .meanwhile = lock_meanwhile,
                                         .check = slice_check};
