/* SPDX-License-Identifier: BSD-2-Clause */
/* LIFO and priority queues: killed at every state of put, get, take, done and give back, with somebody parked.
 *
 * Items are numbers, put in that order; half of them have the smaller priority, so there are ties. Before the call there
 * are `preload` of them. Whatever was killed, what is left comes out in the order of the rule, each once. In the states
 * named `stale` an earlier death has left heap and count wrong: the call makes them anew, and is killed in that as well. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "channel/heap.h"
#include "kill/queue_scene.h"

enum { BUDGET = 4096, BYTES = 8, ITEMS_MOST = 16, NOTHING = -1000 };

typedef enum parked { PARKED_JOINER, PARKED_GETTER, PARKED_PUTTER } parked;

typedef struct start {
    mproc_order order;
    unsigned preload, max_items;
    parked parked;
    bool redeliver, closed, stale;
    int expected; /* of the victim's put */
} start;

typedef struct shared_notes {
    _Atomic int victim_got, parked_got;
} shared_notes;

typedef struct scene {
    mproc_queue *queue;
    const start *start;
    shared_notes *notes;
    mproc_loan loan;
} scene;

#define LIFO     .order = MPROC_ORDER_LIFO
#define PRIORITY .order = MPROC_ORDER_PRIORITY

static const char *const put_states[] = {"lifo-empty",    "lifo-several", "empty",  "ties",  "acknowledged",
                                         "one-slot-free", "full",         "closed", "stale", NULL};
static const start put_starts[] = {
    {LIFO, .parked = PARKED_GETTER},
    {LIFO, .preload = 3},
    {PRIORITY, .parked = PARKED_GETTER},
    {PRIORITY, .preload = 6},
    {PRIORITY, .parked = PARKED_GETTER, .redeliver = true},
    {PRIORITY, .preload = 2, .max_items = 3},
    {PRIORITY, .preload = 3, .max_items = 3, .expected = -ETIMEDOUT},
    {PRIORITY, .preload = 2, .closed = true, .expected = MPROC_ECLOSED},
    {PRIORITY, .preload = 5, .stale = true},
};

static const char *const get_states[] = {"lifo-one", "lifo-several", "one",   "ties", "acknowledged",
                                         "full",     "closed",       "stale", NULL};
static const start get_starts[] = {
    {LIFO, .preload = 1},
    {LIFO, .preload = 3},
    {PRIORITY, .preload = 1},
    {PRIORITY, .preload = 6},
    {PRIORITY, .preload = 3, .redeliver = true},
    {PRIORITY, .preload = 3, .max_items = 3, .parked = PARKED_PUTTER},
    {PRIORITY, .preload = 1, .closed = true},
    {LIFO, .preload = 5, .stale = true},
};

static const char *const loan_states[] = {"lifo", "ties", "stale", NULL};
static const start loan_starts[] = {
    {LIFO, .preload = 3, .redeliver = true},
    {PRIORITY, .preload = 4, .redeliver = true},
    {PRIORITY, .preload = 3, .redeliver = true, .stale = true},
};

/* ---- items ---- */

static int32_t priority_of(const scene *s, int number)
{
    return s->start->order == MPROC_ORDER_PRIORITY && number % 2 == 0 ? 1 : 0;
}

static bool comes_before(const scene *s, int a, int b)
{
    if (s->start->order == MPROC_ORDER_LIFO)
        return a > b;
    int32_t of_a = priority_of(s, a), of_b = priority_of(s, b);
    return of_a != of_b ? of_a < of_b : a < b;
}

static int put_number(const scene *s, int number, mproc_deadline deadline)
{
    uint64_t item = (uint64_t)number * UINT64_C(0x0001000100010001);
    return mproc_queue_put_priority(s->queue, &item, sizeof item, priority_of(s, number), deadline);
}

static int number_of(const void *data, size_t size_bytes)
{
    uint64_t item;
    if (size_bytes != sizeof item)
        return -1;
    memcpy(&item, data, sizeof item);
    return item == (item & 0xffff) * UINT64_C(0x0001000100010001) ? (int)(item & 0xffff) : -1;
}

/* The number, -1 when it is not whole, or an error below that. */
static int get_number(const scene *s, mproc_deadline deadline)
{
    uint64_t item;
    size_t size = 0;
    int rc = mproc_queue_get(s->queue, &item, sizeof item, deadline, &size);
    return rc < 0 ? rc : number_of(&item, size);
}

/* ---- the scene ---- */

/* As a death between two steps leaves them: half moved entries, an old count. */
static void scene_spoil(const scene *s)
{
    mproc__queue_shared *shared = s->queue->shared;
    mproc__entry_shared *entries = (void *)s->queue->ring.bytes;
    shared->order.stale = 1;
    entries[0] = entries[1];
    shared->tail = mproc__position_advance(shared->tail, sizeof *entries, 1);
}

static int scene_make(const start *from, void **ret_context)
{
    scene *s = calloc(1, sizeof *s);
    *ret_context = s;
    s->start = from;
    s->loan = (mproc_loan)MPROC_LOAN_INIT;
    s->notes = mmap(NULL, sizeof *s->notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->notes == MAP_FAILED)
        return 4;
    s->notes->victim_got = s->notes->parked_got = NOTHING;
    s->queue = queue_make(MPROC__HOME_HOST,
                          MPROC_WITH(mproc_queue_options, .max_items = from->max_items, .max_bytes = BUDGET,
                                     .redeliver = from->redeliver, .order = from->order));
    if (!s->queue)
        return 1;
    for (unsigned i = 0; i < from->preload; i++)
        if (put_number(s, (int)i, queue_hard()) < 0)
            return 2;
    if (from->closed && mproc_queue_shutdown(s->queue, false) < 0)
        return 3;
    if (from->stale)
        scene_spoil(s);
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

static int loan_setup(unsigned state, void **ret_context)
{
    return scene_make(&loan_starts[state], ret_context);
}

static void scene_teardown(void *context)
{
    scene *s = context;
    mproc_queue_close(&s->queue);
    munmap(s->notes, sizeof *s->notes);
    free(s);
}

static int scene_wait(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (s->start->parked == PARKED_GETTER) {
        s->notes->parked_got = get_number(s, MPROC_FOREVER);
        return s->notes->parked_got == 0 || s->notes->parked_got == SCENE_SURVIVOR ? 0 : 1;
    }
    if (s->start->parked == PARKED_PUTTER)
        return put_number(s, SCENE_PARKED, MPROC_FOREVER) < 0;
    return mproc_queue_join(s->queue, MPROC_FOREVER) < 0;
}

/* ---- the survivor ---- */

typedef struct drained {
    int numbers[ITEMS_MOST];
    unsigned count;
    bool parked; /* its item came, too; wherever it came */
} drained;

/* Takes all there is: 0, or what is wrong: an item not whole, or one before another that should have come first. */
static int scene_drain(const scene *s, drained *ret)
{
    *ret = (drained){.count = 0};
    bool expects = s->start->parked == PARKED_PUTTER;
    for (;;) {
        int number = get_number(s, expects && !ret->parked ? queue_hard() : MPROC_NOW);
        if (number == -ETIMEDOUT || number == MPROC_EEND)
            return expects && !ret->parked ? 30 : 0;
        if (number == SCENE_PARKED)
            ret->parked = true;
        else if (number < 0 || ret->count >= ITEMS_MOST)
            return 31;
        else if (ret->count > 0 && !comes_before(s, ret->numbers[ret->count - 1], number))
            return 32;
        else
            ret->numbers[ret->count++] = number;
    }
}

static bool has(const drained *all, int number)
{
    for (unsigned i = 0; i < all->count; i++)
        if (all->numbers[i] == number)
            return true;
    return false;
}

/* The survivor's own item, there and back, and nothing left. */
static int scene_use(const scene *s)
{
    if (!s->start->closed &&
        (put_number(s, SCENE_SURVIVOR, queue_hard()) < 0 || get_number(s, queue_hard()) != SCENE_SURVIVOR))
        return 20;
    if (get_number(s, MPROC_NOW) != (s->start->closed ? MPROC_EEND : -ETIMEDOUT))
        return 21;
    if (mproc_queue_join(s->queue, queue_hard()) < 0)
        return 22;
    return queue_verify(s->queue, 0) ? 23 : 0;
}

/* ---- put ---- */

static int put_call(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    mproc_deadline deadline = s->start->expected == -ETIMEDOUT ? MPROC_NOW : MPROC_FOREVER;
    return put_number(s, (int)s->start->preload, deadline) != s->start->expected;
}

static int put_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return s->start->parked == PARKED_GETTER && mproc__order_items(s->queue) > 0 ? 0 : 1;
}

/* Of the victim's item, if there is one, and ours the parked one gets one and we get the other. */
static int put_check_parked(const scene *s, bool returned)
{
    drained all;
    if (put_number(s, SCENE_SURVIVOR, queue_hard()) < 0)
        return 11;
    mproc_deadline deadline = queue_hard();
    while (s->notes->parked_got == NOTHING && !mproc__deadline_past(deadline))
        usleep(200);
    int got = s->notes->parked_got;
    int rc = scene_drain(s, &all);
    if (rc != 0)
        return rc;
    bool ours = got == SCENE_SURVIVOR || has(&all, SCENE_SURVIVOR), victims = got == 0 || has(&all, 0);
    if (!ours || (returned && !victims) || all.count != (unsigned)victims)
        return 12;
    return scene_use(s);
}

static int put_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    drained all;
    (void)state;
    if (!kill_swept(s->queue->segment))
        return 15;
    if (s->start->parked == PARKED_GETTER)
        return put_check_parked(s, returned);
    int rc = scene_drain(s, &all);
    if (rc != 0)
        return rc;
    unsigned preload = s->start->preload, committed = all.count - preload;
    bool allowed = s->start->expected == 0;
    if (all.count < preload || committed > allowed || (returned && allowed && committed == 0))
        return 10;
    return scene_use(s);
}

/* ---- get ---- */

/* What the victim gets: the first of all. */
static int first_number(const scene *s)
{
    int first = 0;
    for (int i = 1; i < (int)s->start->preload; i++)
        if (comes_before(s, i, first))
            first = i;
    return first;
}

static int get_call(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    s->notes->victim_got = get_number(s, MPROC_FOREVER);
    return s->notes->victim_got != first_number(s);
}

static int get_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    size_t items = mproc__order_items(s->queue);
    if (s->start->parked == PARKED_PUTTER)
        return items < s->start->max_items ? 0 : 1;
    /* A joiner: of an acknowledged queue it waits for the item that comes back. */
    return !s->start->redeliver && items == 0 ? 0 : 1;
}

/* All but what the victim took; an acknowledged queue gives it again unless the victim was through with it. */
static int get_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    drained all;
    (void)state;
    if (!kill_swept(s->queue->segment))
        return 15;
    int rc = scene_drain(s, &all);
    if (rc != 0)
        return rc;
    for (int i = 0; i < (int)s->start->preload; i++)
        if (!has(&all, i) && i != first_number(s))
            return 10;
    if (returned && has(&all, first_number(s)))
        return 11;
    return scene_use(s);
}

/* ---- loans ---- */

static int take(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_take(s->queue, MPROC_FOREVER, &s->loan) < 0;
}

/* Takes, and where the state is to be stale, has it be so again. */
static int loan_prepare(void *context, unsigned state)
{
    scene *s = context;
    if (take(context, state) != 0)
        return 1;
    if (s->start->stale)
        scene_spoil(s);
    return 0;
}

static int done(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_done(s->queue, &s->loan) < 0;
}

static int give_back(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_give_back(s->queue, &s->loan) < 0;
}

static int reserve(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    uint64_t item = s->start->preload * UINT64_C(0x0001000100010001);
    if (mproc_queue_reserve(s->queue, sizeof item, MPROC_FOREVER, &s->loan) < 0)
        return 1;
    memcpy(s->loan.data, &item, sizeof item);
    s->loan.priority = priority_of(s, (int)s->start->preload);
    return 0;
}

static int commit(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_commit(s->queue, &s->loan) < 0;
}

/* Takes and confirms everything in the rule's order; 0, or what is wrong. How often the first was delivered: 0 when it
 * was not there. */
static int loan_drain(const scene *s, int first, drained *ret, unsigned *ret_delivery)
{
    *ret = (drained){.count = 0};
    *ret_delivery = 0;
    for (;;) {
        mproc_loan loan = MPROC_LOAN_INIT;
        int rc = mproc_queue_take(s->queue, MPROC_NOW, &loan);
        if (rc == -ETIMEDOUT)
            return 0;
        if (rc < 0 || ret->count >= ITEMS_MOST)
            return 41;
        int number = number_of(loan.data, loan.data_bytes);
        if (number < 0 || loan.priority != priority_of(s, number))
            return 42;
        if (ret->count > 0 && !comes_before(s, ret->numbers[ret->count - 1], number))
            return 43;
        if (number == first)
            *ret_delivery = loan.delivery;
        else if (loan.delivery != 1)
            return 44;
        ret->numbers[ret->count++] = number;
        if (mproc_queue_done(s->queue, &loan) < 0)
            return 45;
    }
}

/* The first of the preload, delivered at least and at most so often (0: may be gone), and all others. */
static int loan_check(const scene *s, unsigned least, unsigned most)
{
    drained all;
    unsigned delivery;
    if (!kill_swept(s->queue->segment))
        return 15;
    int rc = loan_drain(s, first_number(s), &all, &delivery);
    if (rc != 0)
        return rc;
    if (delivery < least || delivery > most || all.count != s->start->preload - (delivery == 0))
        return 10;
    return scene_use(s);
}

static int take_check(void *context, unsigned state, bool returned)
{
    (void)state;
    return loan_check(context, returned ? 2 : 1, 2);
}

static int done_check(void *context, unsigned state, bool returned)
{
    (void)state;
    return loan_check(context, 0, returned ? 0 : 2);
}

static int give_back_check(void *context, unsigned state, bool returned)
{
    (void)state;
    (void)returned;
    return loan_check(context, 2, 2);
}

static int commit_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    drained all;
    unsigned delivery;
    (void)state;
    if (!kill_swept(s->queue->segment))
        return 15;
    int rc = loan_drain(s, first_number(s), &all, &delivery);
    if (rc != 0)
        return rc;
    unsigned committed = all.count - s->start->preload;
    return committed > 1 || (returned && committed == 0) ? 10 : scene_use(s);
}

#define ORDER(name, list, making)                                                                            \
    .operation = (name), .states = (list), .every_state = true, .setup = (making),                           \
    .teardown = scene_teardown, .recover = queue_scene_recover, .meanwhile = queue_scene_meanwhile

const kill_case killsweep_order_put = {ORDER("queue order put", put_states, put_setup),
                                       .prepare = queue_scene_enter,
                                       .call = put_call,
                                       .wait = scene_wait,
                                       .wakes = put_wakes,
                                       .check = put_check};
const kill_case killsweep_order_get = {ORDER("queue order get", get_states, get_setup),
                                       .prepare = queue_scene_enter,
                                       .call = get_call,
                                       .wait = scene_wait,
                                       .wakes = get_wakes,
                                       .check = get_check};
const kill_case killsweep_order_commit = {ORDER("queue order commit", loan_states, loan_setup),
                                          .prepare = reserve, .call = commit, .check = commit_check};
const kill_case killsweep_order_take = {ORDER("queue order take", loan_states, loan_setup),
                                        .prepare = queue_scene_enter, .call = take, .check = take_check};
const kill_case killsweep_order_done = {ORDER("queue order done", loan_states, loan_setup),
                                        .prepare = loan_prepare, .call = done, .check = done_check};
const kill_case killsweep_order_give_back = {ORDER("queue order give back", loan_states, loan_setup),
                                             .prepare = loan_prepare, .call = give_back,
                                             .check = give_back_check};
