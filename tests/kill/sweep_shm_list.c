/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed inside a set of a shareable list: the slot holds the old value or the new one, its neighbours what they held. */
#include "platform/base.h"

#include <stdlib.h>

#include <sys/mman.h>

#include <mproc/sync.h>
#include "kill/killsweep.h"

static const char *const set_states[] = {"number by number", "number by text", "text by longer text", NULL};

typedef struct list_context {
    mproc_shm_list *list;
    _Atomic int *recoverer_came; /* in memory that all roles share */
} list_context;

/* Slots 0 and 2 are the neighbours. */
static mproc_variant old_value(unsigned state)
{
    return state < 2 ? mproc_int(-1) : mproc_text("old text");
}

static mproc_variant new_value(unsigned state)
{
    return state == 0   ? mproc_int(INT64_C(0x0102030405060708))
           : state == 1 ? mproc_text("new text")
                        : mproc_text("a new and longer text");
}

static int set_setup(unsigned state, void **ret_context)
{
    list_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    if (!c)
        return 1;
    c->recoverer_came = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->recoverer_came == MAP_FAILED)
        return 4;
    mproc_variant room = state == 2 ? mproc_text("room for a longer text.") : mproc_int(0);
    mproc_variant values = MPROC_ARGS("left", room, "right");
    if (mproc_shm_list_create(NULL, values, NULL, &c->list) < 0)
        return 2;
    return mproc_shm_list_set(c->list, 1, old_value(state), MPROC_NOW) == 0 ? 0 : 3;
}

static void set_teardown(void *context)
{
    list_context *c = context;
    mproc_shm_list_close(&c->list);
    munmap(c->recoverer_came, 4096);
    free(c);
}

static int set_prepare(void *context, unsigned state)
{
    list_context *c = context;
    return mproc_shm_list_set(c->list, 1, old_value(state), MPROC_NOW) == 0 ? 0 : 1;
}

static int set_call(void *context, unsigned state)
{
    list_context *c = context;
    return mproc_shm_list_set(c->list, 1, new_value(state), MPROC_NOW) == 0 ? 0 : 1;
}

static bool holds(list_context *c, int64_t index, mproc_variant value)
{
    mproc_variant seen;
    if (mproc_shm_list_get(c->list, index, &seen) < 0)
        return false;
    bool equal = mproc_variant_equal(seen, value);
    mproc_variant_clear(&seen);
    return equal;
}

/* The next writer, in the same slot. */
static int set_recover(void *context, unsigned state)
{
    list_context *c = context;
    (void)state;
    *c->recoverer_came = 1;
    return mproc_shm_list_set(c->list, 1, mproc_bool(true), mproc_after_ms(KILL_HARD_MS)) == 0 ? 0 : 1;
}

/* Readers wait for nobody; writers have their turn or keep their deadline. */
static int set_meanwhile(void *context, unsigned state)
{
    list_context *c = context;
    if (!holds(c, 1, old_value(state)) && !holds(c, 1, new_value(state)))
        return 1;
    int code = mproc_shm_list_set(c->list, 2, mproc_text("right"), mproc_after_ms(KILL_SHORT_MS));
    return (code == 0 || code == -ETIMEDOUT) && holds(c, 2, mproc_text("right")) ? 0 : 2;
}

static int set_check(void *context, unsigned state, bool returned)
{
    list_context *c = context;
    if (!holds(c, 0, mproc_text("left")) || !holds(c, 2, mproc_text("right")))
        return 1;
    bool recovered = *c->recoverer_came && holds(c, 1, mproc_bool(true));
    if (!recovered && !holds(c, 1, new_value(state)) && (returned || !holds(c, 1, old_value(state))))
        return 2;
    for (int64_t round = 0; round < 3; round++)
        if (mproc_shm_list_set(c->list, 1, mproc_int(round), mproc_after_ms(KILL_HARD_MS)) != 0 ||
            !holds(c, 1, mproc_int(round)))
            return 3;
    return holds(c, 0, mproc_text("left")) && holds(c, 2, mproc_text("right")) ? 0 : 4;
}

const kill_case killsweep_shm_list_set = {.operation = "shm_list set",
                                          .states = set_states,
                                          .setup = set_setup,
                                          .teardown = set_teardown,
                                          .prepare = set_prepare,
                                          .call = set_call,
                                          .recover = set_recover,
                                          .meanwhile = set_meanwhile,
                                          .check = set_check};
