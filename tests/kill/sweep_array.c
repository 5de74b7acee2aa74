/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed inside the calls of an array that take no lock: a number item is the old one or the new one and its neighbours are
 * what they were; of a slice or a text each item, of a struct each byte. A source is whole whatever became of its copy. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <mproc/sync.h>
#include "kill/killsweep.h"

enum { ITEMS = 4, AT = 1, OLD = 1, NEW = 100, BYTES = 40 };

static const char *const item_states[] = {"int64", "int8", "uint32", "double", "float", NULL};
static const mproc_item items_of[] = {MPROC_ITEM_INT64, MPROC_ITEM_INT8, MPROC_ITEM_UINT32, MPROC_ITEM_DOUBLE,
                                      MPROC_ITEM_FLOAT};

/* Beside the array, in memory that all roles share. */
typedef struct notes {
    _Atomic int recoverer_came;
} notes;

typedef struct array_context {
    mproc_array *array;
    mproc_array *other; /* to get lazy set-up out of the way */
    mproc_lock *lock;
    notes *notes;
} array_context;

static void array_teardown(void *context)
{
    array_context *c = context;
    mproc_array_close(&c->array);
    mproc_array_close(&c->other);
    mproc_lock_close(&c->lock);
    munmap(c->notes, 4096);
    free(c);
}

static array_context *context_make(void **ret_context)
{
    array_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    if (c)
        c->notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return c && c->notes != MAP_FAILED ? c : NULL;
}

/* ---- single items ---- */

static bool is_real(unsigned state)
{
    return items_of[state] >= MPROC_ITEM_FLOAT;
}

static int put(mproc_array *array, unsigned state, size_t index, int value)
{
    return is_real(state) ? mproc_array_set(array, index, value) : mproc_array_set_int(array, index, value);
}

static int add(mproc_array *array, unsigned state, size_t index, int delta)
{
    return is_real(state) ? mproc_array_add(array, index, delta, NULL)
                          : mproc_array_add_int(array, index, delta, NULL);
}

/* -1: no number that the sweep has stored. */
static int seen(mproc_array *array, unsigned state, size_t index)
{
    double real = -1;
    int64_t integer = -1;
    if (!is_real(state))
        return mproc_array_get_int(array, index, &integer) == 0 && integer > 0 && integer <= NEW + OLD
                   ? (int)integer
                   : -1;
    if (mproc_array_get(array, index, &real) < 0 || real < 0 || real > NEW + OLD)
        return -1;
    return (double)(int)real == real ? (int)real : -1;
}

static int item_setup(unsigned state, void **ret_context)
{
    array_context *c = context_make(ret_context);
    if (!c)
        return 1;
    if (mproc_array_create(NULL, items_of[state], ITEMS, NULL, &c->array) ||
        mproc_array_create(NULL, items_of[state], ITEMS, NULL, &c->other))
        return 2;
    for (size_t i = 0; i < ITEMS; i++)
        if (put(c->array, state, i, OLD) || put(c->other, state, i, OLD))
            return 3;
    return 0;
}

static int set_in(mproc_array *array, unsigned state)
{
    return put(array, state, AT, NEW);
}

static int add_in(mproc_array *array, unsigned state)
{
    return add(array, state, AT, NEW - OLD);
}

static int compare_set_in(mproc_array *array, unsigned state)
{
    bool set = false;
    int code = is_real(state) ? mproc_array_compare_set(array, AT, OLD, NEW, &set)
                              : mproc_array_compare_set_int(array, AT, OLD, NEW, &set);
    return code == 0 && set ? 0 : 1;
}

static int set_prepare(void *context, unsigned state)
{
    return set_in(((array_context *)context)->other, state);
}

static int set_call(void *context, unsigned state)
{
    return set_in(((array_context *)context)->array, state);
}

static int add_prepare(void *context, unsigned state)
{
    return add_in(((array_context *)context)->other, state);
}

static int add_call(void *context, unsigned state)
{
    return add_in(((array_context *)context)->array, state);
}

static int compare_set_prepare(void *context, unsigned state)
{
    return compare_set_in(((array_context *)context)->other, state);
}

static int compare_set_call(void *context, unsigned state)
{
    return compare_set_in(((array_context *)context)->array, state);
}

/* The next to use the item, who counts one on top of whatever is there. */
static int item_recover(void *context, unsigned state)
{
    array_context *c = context;
    c->notes->recoverer_came = 1;
    return add(c->array, state, AT, 1) == 0 ? 0 : 1;
}

static int item_meanwhile(void *context, unsigned state)
{
    array_context *c = context;
    int now = seen(c->array, state, AT);
    if ((now != OLD && now != NEW) || add(c->array, state, 0, 3) || add(c->array, state, 0, -3))
        return 1;
    return seen(c->array, state, 0) == OLD ? 0 : 2;
}

static int item_check(void *context, unsigned state, bool returned)
{
    array_context *c = context;
    int now = seen(c->array, state, AT);
    if (c->notes->recoverer_came && (now == OLD + 1 || now == NEW + 1))
        now--;
    if (now != NEW && (returned || now != OLD))
        return 10;
    for (size_t i = 0; i < ITEMS; i++)
        if (i != AT && seen(c->array, state, i) != OLD)
            return 11;
    for (int i = 0; i < 3; i++)
        if (put(c->array, state, AT, i) || add(c->array, state, AT, 2) || seen(c->array, state, AT) != i + 2)
            return 12;
    return 0;
}

#define ITEM_CASE(verb, name)                                                                                \
    const kill_case killsweep_array_##verb = {.operation = name,                                             \
                                              .states = item_states,                                         \
                                              .setup = item_setup,                                           \
                                              .teardown = array_teardown,                                    \
                                              .prepare = verb##_prepare,                                     \
                                              .call = verb##_call,                                           \
                                              .recover = item_recover,                                       \
                                              .meanwhile = item_meanwhile,                                   \
                                              .check = item_check}
ITEM_CASE(set, "array set");
ITEM_CASE(add, "array add");
ITEM_CASE(compare_set, "array compare_set");

/* ---- slices without a lock ---- */

enum slice_state { NUMBERS, STRUCTS, TEXT };
static const char *const slice_states[] = {"numbers", "structs", "text", NULL};

static int slice_make(unsigned state, mproc_array **ret_array)
{
    const mproc_item items[] = {MPROC_ITEM_INT64, MPROC_ITEM_BYTES, MPROC_ITEM_UINT8};
    const size_t bytes[] = {8, BYTES / 2, 1};
    int code = mproc_array_create(
        NULL, items[state], BYTES / bytes[state],
        MPROC_WITH(mproc_array_options, .item_bytes = bytes[state], .unlocked = true), ret_array);
    if (code == 0)
        memset(mproc_array_data(*ret_array), 'o', BYTES);
    return code;
}

static int slice_setup(unsigned state, void **ret_context)
{
    array_context *c = context_make(ret_context);
    return c && slice_make(state, &c->array) == 0 && slice_make(state, &c->other) == 0 ? 0 : 1;
}

static int write_in(mproc_array *array, unsigned state)
{
    char all[BYTES + 1];
    memset(all, 'n', BYTES);
    all[BYTES] = '\0';
    return state == TEXT ? mproc_array_set_text(array, all)
                         : mproc_array_write(array, 0, mproc_array_count(array), all);
}

static int write_prepare(void *context, unsigned state)
{
    return write_in(((array_context *)context)->other, state);
}

static int write_call(void *context, unsigned state)
{
    return write_in(((array_context *)context)->array, state);
}

/* How many units are new, a unit being what is whole: a number, a byte; -1: one is neither. */
static int new_units(mproc_array *array, unsigned state)
{
    char now[BYTES];
    size_t unit = state == NUMBERS ? 8 : 1;
    int count = 0;
    if (mproc_array_read(array, 0, mproc_array_count(array), now) < 0)
        return -1;
    for (size_t i = 0; i < BYTES; i++) {
        if ((now[i] != 'o' && now[i] != 'n') || now[i] != now[i / unit * unit])
            return -1;
        count += i % unit == 0 && now[i] == 'n';
    }
    return count;
}

static int write_meanwhile(void *context, unsigned state)
{
    return new_units(((array_context *)context)->array, state) < 0;
}

static int write_check(void *context, unsigned state, bool returned)
{
    array_context *c = context;
    int all = state == NUMBERS ? BYTES / 8 : BYTES, now = new_units(c->array, state);
    if (now < 0 || (returned && now != all))
        return 10;
    return write_in(c->array, state) == 0 && new_units(c->array, state) == all ? 0 : 11;
}

const kill_case killsweep_array_write = {.operation = "array write, no lock",
                                         .states = slice_states,
                                         .setup = slice_setup,
                                         .teardown = array_teardown,
                                         .prepare = write_prepare,
                                         .call = write_call,
                                         .meanwhile = write_meanwhile,
                                         .check = write_check};

/* ---- copies, and a lock given afterwards ---- */

enum copy_state { OWN, GIVEN };
static const char *const copy_states[] = {"own lock", "given lock", NULL};

static int copy_setup(unsigned state, void **ret_context)
{
    array_context *c = context_make(ret_context);
    if (!c || slice_make(NUMBERS, &c->array))
        return 1;
    return state == GIVEN ? mproc_lock_create(NULL, NULL, &c->lock) : 0;
}

static int copy_call(void *context, unsigned state)
{
    array_context *c = context;
    (void)state;
    return mproc_array_copy(c->array, NULL, MPROC_WITH(mproc_array_options, .lock = c->lock), &c->other);
}

static int copy_prepare(void *context, unsigned state)
{
    array_context *c = context;
    int code = copy_call(c, state);
    mproc_array_close(&c->other);
    return code;
}

static int copy_meanwhile(void *context, unsigned state)
{
    array_context *c = context;
    if (state == GIVEN && mproc_lock_acquire(c->lock, mproc_after_ms(KILL_SHORT_MS)))
        return 1;
    if (state == GIVEN && mproc_lock_release(c->lock))
        return 2;
    return new_units(c->array, NUMBERS) != 0;
}

static int copy_check(void *context, unsigned state, bool returned)
{
    array_context *c = context;
    (void)returned;
    if (new_units(c->array, NUMBERS) != 0 || write_in(c->array, NUMBERS))
        return 10;
    if (copy_call(c, state) || new_units(c->other, NUMBERS) != BYTES / 8)
        return 11;
    return mproc_lock_acquire(mproc_array_lock(c->other), mproc_after_ms(KILL_HARD_MS)) == 0 ? 0 : 12;
}

const kill_case killsweep_array_copy = {.operation = "array copy",
                                        .states = copy_states,
                                        .setup = copy_setup,
                                        .teardown = array_teardown,
                                        .prepare = copy_prepare,
                                        .call = copy_call,
                                        .meanwhile = copy_meanwhile,
                                        .check = copy_check};

static const char *const set_lock_states[] = {"unlocked", NULL};

static int set_lock_prepare(void *context, unsigned state)
{
    (void)state;
    return mproc_array_set_lock(((array_context *)context)->other, NULL);
}

static int set_lock_call(void *context, unsigned state)
{
    (void)state;
    return mproc_array_set_lock(((array_context *)context)->array, NULL);
}

static int set_lock_recover(void *context, unsigned state)
{
    int code = set_lock_call(context, state);
    return code == 0 || code == MPROC_ESTATE ? 0 : 1;
}

/* It has none or the one, and in the end the one. */
static int set_lock_check(void *context, unsigned state, bool returned)
{
    array_context *c = context;
    if (returned && !mproc_array_lock(c->array))
        return 10;
    if (set_lock_recover(context, state) || set_lock_call(context, state) != MPROC_ESTATE)
        return 11;
    for (int i = 0; i < 2; i++)
        if (mproc_lock_acquire(mproc_array_lock(c->array), mproc_after_ms(KILL_HARD_MS)))
            return 12;
    return new_units(c->array, NUMBERS) == 0 ? 0 : 13;
}

const kill_case killsweep_array_set_lock = {.operation = "array set_lock",
                                            .states = set_lock_states,
                                            .setup = slice_setup,
                                            .teardown = array_teardown,
                                            .prepare = set_lock_prepare,
                                            .call = set_lock_call,
                                            .recover = set_lock_recover,
                                            .check = set_lock_check};
