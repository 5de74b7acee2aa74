/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue's put and get, killed at every state, with somebody parked on the other side.
 *
 * Items are numbered, and every byte tells which item it is of. Before the call there are `preload` of them, 0 and up;
 * the victim puts the next one or gets number 0; the survivor's and the parked putter's have numbers of their own. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "channel/queue_common.h"
#include "kill/killsweep.h"

enum {
    BYTES_MOST = 1100, /* a block */
    GOT_BYTES = 16,
    BUDGET = 4096,
    SURVIVOR = 100, /* its item */
    PARKED = 200    /* and the parked putter's */
};

typedef enum parked { PARKED_GETTER, PARKED_PUTTER, PARKED_JOINER } parked;

typedef struct start {
    size_t size_bytes;
    unsigned preload;
    unsigned max_items;
    parked parked;
    bool redeliver;
    bool wrap; /* the next record does not fit before the ring's end */
    bool closed;
    int expected; /* of the victim's call */
} start;

typedef struct scene {
    mproc_queue *queue;
    const start *start;
    uint32_t head_items, tail_items; /* before the call */
    uint8_t *got;                    /* the victim's buffer, which outlives it */
} scene;

static const char *const put_states[] = {
    "empty-1", "empty-8",     "empty-200", "empty-block", "acknowledged", "one-item", "one-slot-free",
    "full",    "wrap-around", "closed",    NULL};
static const start put_starts[] = {
    {.size_bytes = 1, .parked = PARKED_GETTER},
    {.size_bytes = 8, .parked = PARKED_GETTER},
    {.size_bytes = 200, .parked = PARKED_GETTER},
    {.size_bytes = BYTES_MOST, .parked = PARKED_GETTER},
    {.size_bytes = 8, .parked = PARKED_GETTER, .redeliver = true},
    {.size_bytes = 8, .preload = 1, .parked = PARKED_JOINER},
    {.size_bytes = 8, .preload = 1, .max_items = 2, .parked = PARKED_JOINER},
    {.size_bytes = 8, .preload = 2, .max_items = 2, .parked = PARKED_JOINER, .expected = -ETIMEDOUT},
    {.size_bytes = 200, .parked = PARKED_GETTER, .wrap = true},
    {.size_bytes = 8, .preload = 1, .parked = PARKED_JOINER, .closed = true, .expected = MPROC_ECLOSED},
};

static const char *const get_states[] = {"one-1",     "one-8", "one-200",     "one-block", "acknowledged",
                                         "two-items", "full",  "wrap-around", "closed",    NULL};
static const start get_starts[] = {
    {.size_bytes = 1, .preload = 1, .parked = PARKED_JOINER},
    {.size_bytes = 8, .preload = 1, .parked = PARKED_JOINER},
    {.size_bytes = 200, .preload = 1, .parked = PARKED_JOINER},
    {.size_bytes = BYTES_MOST, .preload = 1, .parked = PARKED_JOINER},
    {.size_bytes = 8, .preload = 1, .parked = PARKED_JOINER, .redeliver = true},
    {.size_bytes = 8, .preload = 2, .parked = PARKED_JOINER},
    {.size_bytes = 8, .preload = 2, .max_items = 2, .parked = PARKED_PUTTER},
    {.size_bytes = 200, .preload = 1, .parked = PARKED_JOINER, .wrap = true},
    {.size_bytes = 8, .preload = 1, .parked = PARKED_JOINER, .closed = true},
};

/* A counting pattern: item n is a piece of it from n on. Made beforehand, so that the swept call is the library's alone. */
static uint8_t pattern[BYTES_MOST + UINT8_MAX];

static int put_number(const scene *s, unsigned number, mproc_deadline deadline)
{
    return mproc_queue_put(s->queue, pattern + number, s->start->size_bytes, deadline);
}

/* The number, -1 when it is not whole, or an error (below -1). */
static int get_number(const scene *s, mproc_deadline deadline)
{
    uint8_t message[BYTES_MOST];
    size_t size = 0;
    int rc = mproc_queue_get(s->queue, message, sizeof message, deadline, &size);
    if (rc < 0)
        return rc;
    return size == s->start->size_bytes && memcmp(message, pattern + message[0], size) == 0 ? message[0] : -1;
}

static mproc_deadline hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

/* Turns the ring until less than a record is left before its end. */
static int scene_turn(const scene *s)
{
    const mproc__ring *ring = &s->queue->ring;
    uint64_t need = mproc__record_bytes(s->start->size_bytes);
    for (;;) {
        uint64_t offset = mproc__position_bytes(s->queue->shared->tail) & (ring->size_bytes - 1);
        if (ring->size_bytes - offset < need)
            return 0;
        if (put_number(s, 0, hard()) < 0 || get_number(s, hard()) < 0)
            return 1;
    }
}

static int scene_make(const start *from, void **ret_context)
{
    scene *s = calloc(1, sizeof *s);
    *ret_context = s;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)i;
    s->start = from;
    s->got = mmap(NULL, GOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->got == MAP_FAILED)
        return 4;
    s->queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_items = from->max_items,
                                                       .max_bytes = BUDGET, .redeliver = from->redeliver));
    if (!s->queue || (from->wrap && scene_turn(s) != 0))
        return 1;
    for (unsigned i = 0; i < from->preload; i++)
        if (put_number(s, i, hard()) < 0)
            return 2;
    if (from->closed && mproc_queue_shutdown(s->queue, false) < 0)
        return 3;
    s->head_items = mproc__position_items(s->queue->shared->head);
    s->tail_items = mproc__position_items(s->queue->shared->tail);
    return 0;
}

static int put_setup(unsigned state, void **ret_context)
{
    return scene_make(&put_starts[state], ret_context);
}

static int get_setup(unsigned state, void **ret_context)
{
    return scene_make(&get_starts[state], ret_context);
}

static void scene_teardown(void *context)
{
    scene *s = context;
    mproc_queue_close(&s->queue);
    munmap(s->got, GOT_BYTES);
    free(s);
}

static int scene_prepare(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return mproc__queue_enter(s->queue) < 0;
}

static int scene_wait(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    switch (s->start->parked) {
    case PARKED_GETTER: {
        int number = get_number(s, MPROC_FOREVER);
        return number == 0 || number == SURVIVOR ? 0 : 1;
    }
    case PARKED_PUTTER:
        return put_number(s, PARKED, MPROC_FOREVER) < 0;
    default:
        return mproc_queue_join(s->queue, MPROC_FOREVER) < 0;
    }
}

static unsigned puts_since(const scene *s)
{
    return (mproc__position_items(s->queue->shared->tail) - s->tail_items) & 0xffffff;
}

static unsigned gets_since(const scene *s)
{
    return (mproc__position_items(s->queue->shared->head) - s->head_items) & 0xffffff;
}

/* The survivor's own item, there and back, and nothing left. */
static int scene_use(const scene *s)
{
    if (!s->start->closed && (put_number(s, SURVIVOR, hard()) < 0 || get_number(s, hard()) != SURVIVOR))
        return 20;
    if (get_number(s, MPROC_NOW) != (s->start->closed ? MPROC_EEND : -ETIMEDOUT))
        return 21;
    if (mproc_queue_join(s->queue, hard()) < 0)
        return 22;
    return queue_verify(s->queue, 0) ? 23 : 0;
}

static int scene_recover(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    mproc__segment_sweep(s->queue->segment);
    return 0;
}

/* Beside a stopped victim: nobody is dead, and a call that changes nothing keeps its deadline. */
static int scene_meanwhile(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (mproc__segment_sweep(s->queue->segment) != 0)
        return 1;
    int code = mproc_queue_join(s->queue, mproc_after_ms(KILL_SHORT_MS));
    return code == 0 || code == -ETIMEDOUT ? 0 : 2;
}

/* ---- put ---- */

static int put_call(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    mproc_deadline deadline = s->start->expected == -ETIMEDOUT ? MPROC_NOW : MPROC_FOREVER;
    return put_number(s, s->start->preload, deadline) != s->start->expected;
}

static int put_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return s->start->parked == PARKED_GETTER && puts_since(s) > 0 ? 0 : 1;
}

static int put_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    unsigned committed = puts_since(s);
    unsigned wanted = s->start->expected == 0 && returned ? 1 : 0;
    if (committed > 1 || committed < wanted || (committed && s->start->expected != 0))
        return 10;
    if (!kill_swept(s->queue->segment))
        return 15;
    if (s->start->parked == PARKED_GETTER) {
        /* Of the victim's item and ours the parked one gets one and we get the other. */
        if (put_number(s, SURVIVOR, hard()) < 0)
            return 11;
        int number = committed ? get_number(s, hard()) : SURVIVOR;
        if (number != 0 && number != SURVIVOR)
            return 12;
        /* The parked one has its item when the ring is empty. */
        if (mproc_queue_join(s->queue, hard()) < 0)
            return 13;
    } else {
        for (unsigned i = 0; i < s->start->preload + committed; i++)
            if (get_number(s, hard()) != (int)i)
                return 14;
    }
    return scene_use(s);
}

/* ---- get ---- */

static int get_call(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (s->start->redeliver)
        return mproc_queue_get(s->queue, s->got, GOT_BYTES, MPROC_FOREVER, NULL) < 0;
    return get_number(s, MPROC_FOREVER) != 0;
}

static int get_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (s->start->parked == PARKED_PUTTER)
        return gets_since(s) > 0 ? 0 : 1;
    /* A joiner: a plain queue is joined when it is empty; an acknowledged one may yet get its item back. */
    return !s->start->redeliver && s->queue->shared->head == s->queue->shared->tail ? 0 : 1;
}

static int get_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    unsigned taken = gets_since(s);
    if (taken > 1 || (returned && taken == 0))
        return 10;
    if (!kill_swept(s->queue->segment))
        return 15;
    unsigned next = taken;
    int number = get_number(s, MPROC_NOW);
    if (taken && s->start->redeliver && !returned) {
        if (number == 0) /* given back by the victim's death */
            number = get_number(s, MPROC_NOW);
        else if (memcmp(s->got, pattern, s->start->size_bytes) != 0)
            return 13; /* neither given back nor had */
    }
    for (; number == (int)next; next++)
        number = get_number(s, MPROC_NOW);
    if (next != s->start->preload)
        return 11;
    if (s->start->parked == PARKED_PUTTER && number == -ETIMEDOUT)
        number = get_number(s, hard());
    int last = s->start->parked == PARKED_PUTTER ? PARKED : s->start->closed ? MPROC_EEND : -ETIMEDOUT;
    return number != last ? 12 : scene_use(s);
}

const kill_case killsweep_queue_put = {.operation = "queue put",
                                       .states = put_states,
                                       .every_state = true,
                                       .setup = put_setup,
                                       .teardown = scene_teardown,
                                       .prepare = scene_prepare,
                                       .call = put_call,
                                       .recover = scene_recover,
                                       .meanwhile = scene_meanwhile,
                                       .wait = scene_wait,
                                       .wakes = put_wakes,
                                       .check = put_check};

const kill_case killsweep_queue_get = {.operation = "queue get",
                                       .states = get_states,
                                       .every_state = true,
                                       .setup = get_setup,
                                       .teardown = scene_teardown,
                                       .prepare = scene_prepare,
                                       .call = get_call,
                                       .recover = scene_recover,
                                       .meanwhile = scene_meanwhile,
                                       .wait = scene_wait,
                                       .wakes = get_wakes,
                                       .check = get_check};
