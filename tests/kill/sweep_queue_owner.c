/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls that take no lock, killed at every state: a side's only user's, the first of which takes the role and the side and
 * later ones nothing; those of the owner of a side that has other users, the one that makes it the owner, and the one of
 * somebody else that takes the side back. The survivor is that side's next user.
 *
 * Items are numbered, and every byte tells which item it is of. Before the call there are `preload` of them, 0 and up; the
 * victim puts the next ones or gets the first; the survivor's and the parked putter's have numbers of their own. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "channel/queue_common.h"
#include "kill/killsweep.h"

enum {
    BYTES_MOST = 1100, /* a block */
    BUDGET = 4096,
    BATCH = 3,
    SURVIVOR = 100, /* its item */
    PARKED = 200    /* and the parked putter's */
};

typedef enum act { ACT_PUT, ACT_PUT_MANY, ACT_LOAN, ACT_GET, ACT_GET_MANY, ACT_TAKE, ACT_LEAVE } act;

typedef struct start {
    act act;
    size_t size_bytes;
    unsigned preload;
    unsigned max_items;
    bool first;   /* the role is not had yet */
    bool waiting; /* somebody of the other side is parked; else one in join */
    bool redeliver;
    bool closed;
    enum { ALONE, OWNS, BECOMES_OWNER, TAKES_BACK } as; /* the victim: a side's only user, or another */
    int expected;                                       /* of the victim's call */
} start;

typedef struct scene {
    mproc_queue *queue;
    const start *start;
    uint32_t head_items, tail_items; /* before the call */
} scene;

static const char *const put_states[] = {"first",
                                         "small",
                                         "block",
                                         "acknowledged",
                                         "beside-another",
                                         "full",
                                         "last-place",
                                         "many",
                                         "loan",
                                         "closed",
                                         "leave",
                                         "owner",
                                         "owner-beside-another",
                                         "owner-full",
                                         "owner-many",
                                         "becomes-owner",
                                         "takes-back",
                                         "takes-back-full",
                                         NULL};
static const start put_starts[] = {
    {.act = ACT_PUT, .size_bytes = 8, .waiting = true, .first = true},
    {.act = ACT_PUT, .size_bytes = 8, .waiting = true},
    {.act = ACT_PUT, .size_bytes = BYTES_MOST, .waiting = true},
    {.act = ACT_PUT, .size_bytes = 8, .waiting = true, .redeliver = true},
    {.act = ACT_PUT, .size_bytes = 8, .preload = 1},
    {.act = ACT_PUT, .size_bytes = 8, .preload = 2, .max_items = 2, .expected = -ETIMEDOUT},
    {.act = ACT_PUT, .size_bytes = 8, .preload = 1, .max_items = 2},
    {.act = ACT_PUT_MANY, .size_bytes = 8, .preload = 1},
    {.act = ACT_LOAN, .size_bytes = 200, .preload = 1},
    {.act = ACT_PUT, .size_bytes = 8, .preload = 1, .closed = true, .expected = MPROC_ECLOSED},
    {.act = ACT_LEAVE, .size_bytes = 8, .preload = 1},
    {.act = ACT_PUT, .size_bytes = 8, .waiting = true, .as = OWNS},
    {.act = ACT_PUT, .size_bytes = 8, .preload = 1, .as = OWNS},
    {.act = ACT_PUT, .size_bytes = 8, .preload = 2, .max_items = 2, .expected = -ETIMEDOUT, .as = OWNS},
    {.act = ACT_PUT_MANY, .size_bytes = 8, .preload = 1, .as = OWNS},
    {.act = ACT_PUT, .size_bytes = 8, .waiting = true, .as = BECOMES_OWNER},
    {.act = ACT_PUT, .size_bytes = 8, .waiting = true, .as = TAKES_BACK},
    {.act = ACT_PUT, .size_bytes = 8, .preload = 2, .max_items = 2, .expected = -ETIMEDOUT, .as = TAKES_BACK},
};

static const char *const get_states[] = {"first",
                                         "small",
                                         "block",
                                         "acknowledged",
                                         "one-of-two",
                                         "full",
                                         "many",
                                         "taken",
                                         "leave",
                                         "owner",
                                         "owner-full",
                                         "owner-many",
                                         "owner-acknowledged",
                                         "becomes-owner",
                                         "takes-back",
                                         NULL};
static const start get_starts[] = {
    {.act = ACT_GET, .size_bytes = 8, .preload = 1, .first = true},
    {.act = ACT_GET, .size_bytes = 8, .preload = 1},
    {.act = ACT_GET, .size_bytes = BYTES_MOST, .preload = 1},
    {.act = ACT_GET, .size_bytes = 8, .preload = 1, .redeliver = true},
    {.act = ACT_GET, .size_bytes = 8, .preload = 2},
    {.act = ACT_GET, .size_bytes = 8, .preload = 2, .max_items = 2, .waiting = true},
    {.act = ACT_GET_MANY, .size_bytes = 8, .preload = BATCH},
    {.act = ACT_TAKE, .size_bytes = BYTES_MOST, .preload = 1, .redeliver = true},
    {.act = ACT_LEAVE, .size_bytes = 8, .preload = 1},
    {.act = ACT_GET, .size_bytes = 8, .preload = 1, .as = OWNS},
    {.act = ACT_GET, .size_bytes = 8, .preload = 2, .max_items = 2, .waiting = true, .as = OWNS},
    {.act = ACT_GET_MANY, .size_bytes = 8, .preload = BATCH, .as = OWNS},
    {.act = ACT_GET, .size_bytes = 8, .preload = 1, .redeliver = true, .as = OWNS},
    {.act = ACT_GET, .size_bytes = 8, .preload = 1, .as = BECOMES_OWNER},
    {.act = ACT_GET, .size_bytes = 8, .preload = 2, .as = TAKES_BACK},
};

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

static mproc__side_shared *side_shared(const scene *s, mproc_role role)
{
    return role == MPROC_ROLE_WRITE ? &s->queue->shared->put.side : &s->queue->shared->get.side;
}

static bool owns(const scene *s, mproc_role role)
{
    return (atomic_load(&side_shared(s, role)->owner) ^ mproc__me_now.id) < MPROC__SIDE_SLOTS;
}

/* By calls that do nothing; the first may have to join the barrier. */
static int become_owner(const scene *s, mproc_role role)
{
    if (mproc__queue_enter(s->queue) < 0)
        return 2;
    for (int i = 0; i < 3 && !owns(s, role); i++) {
        mproc__side_slot_shared *slot;
        int rc = role == MPROC_ROLE_WRITE ? mproc__queue_put_begin(s->queue, hard(), &slot)
                                          : mproc__queue_get_begin(s->queue, hard(), &slot);
        if (rc < 0)
            return rc;
        if (role == MPROC_ROLE_WRITE)
            mproc__queue_put_end(s->queue, slot);
        else
            mproc__queue_get_end(s->queue, slot);
    }
    return owns(s, role) ? 0 : 1;
}

/* Beside an owner that lives, or none. */
static int share(const scene *s, mproc_role role)
{
    for (int i = 0; i < 2; i++)
        mproc__side_give_up(i == 0 ? &s->queue->shared->put.side : &s->queue->shared->get.side);
    atomic_store(&side_shared(s, role)->needed, 0);
    return s->start->as == TAKES_BACK ? become_owner(s, role) : 0;
}

static int scene_make(const start *from, mproc_role side, void **ret_context)
{
    scene *s = calloc(1, sizeof *s);
    *ret_context = s;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)i;
    s->start = from;
    s->queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_items = from->max_items,
                                                       .max_bytes = BUDGET, .redeliver = from->redeliver,
                                                       .exclusive = from->as == ALONE ? side : 0));
    if (!s->queue)
        return 1;
    for (unsigned i = 0; i < from->preload; i++)
        if (put_number(s, i, hard()) < 0)
            return 2;
    if (from->closed && mproc_queue_shutdown(s->queue, false) < 0)
        return 3;
    if (!mproc__queue_exclusive_leave(s->queue, MPROC_ROLE_BOTH))
        return 4;
    if (from->as != ALONE && share(s, side) != 0)
        return 5;
    s->head_items = mproc__position_items(s->queue->shared->head);
    s->tail_items = mproc__position_items(s->queue->shared->tail);
    return 0;
}

static int put_setup(unsigned state, void **ret_context)
{
    return scene_make(&put_starts[state], MPROC_ROLE_WRITE, ret_context);
}

static int get_setup(unsigned state, void **ret_context)
{
    return scene_make(&get_starts[state], MPROC_ROLE_READ, ret_context);
}

static void scene_teardown(void *context)
{
    scene *s = context;
    mproc_queue_close(&s->queue);
    free(s);
}

static bool is_put(const scene *s)
{
    return s->start >= put_starts && s->start < put_starts + MPROC__COUNT(put_starts);
}

static mproc_role side_of(const scene *s)
{
    return is_put(s) ? MPROC_ROLE_WRITE : MPROC_ROLE_READ;
}

static int scene_prepare(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (mproc__queue_enter(s->queue) < 0)
        return 1;
    if (mproc__barrier_join() < 0)
        return 2;
    bool owner = s->start->as == OWNS || (s->start->as == ALONE && !s->start->first);
    return owner ? become_owner(s, side_of(s)) : 0;
}

static int scene_wait(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (!s->start->waiting)
        return mproc_queue_join(s->queue, MPROC_FOREVER) < 0;
    if (!is_put(s))
        return put_number(s, PARKED, MPROC_FOREVER) < 0;
    int number = get_number(s, MPROC_FOREVER);
    return number == 0 || number == SURVIVOR ? 0 : 1;
}

static unsigned puts_since(const scene *s)
{
    return (mproc__position_items(s->queue->shared->tail) - s->tail_items) & 0xffffff;
}

static unsigned gets_since(const scene *s)
{
    return (mproc__position_items(s->queue->shared->head) - s->head_items) & 0xffffff;
}

static int act_loan(const scene *s)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc = mproc_queue_reserve(s->queue, s->start->size_bytes, MPROC_FOREVER, &loan);
    if (rc < 0)
        return rc;
    memcpy(loan.data, pattern + s->start->preload, s->start->size_bytes);
    return mproc_queue_commit(s->queue, &loan);
}

static int act_take(const scene *s)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc = mproc_queue_take(s->queue, MPROC_FOREVER, &loan);
    return rc < 0 ? rc : mproc_queue_done(s->queue, &loan);
}

static int act_many(const scene *s)
{
    uint8_t items[BATCH][8];
    size_t count = 0;
    for (unsigned i = 0; i < BATCH; i++)
        memcpy(items[i], pattern + s->start->preload + i, sizeof items[i]);
    int rc = s->start->act == ACT_PUT_MANY
                 ? mproc_queue_put_many(s->queue, items, sizeof items[0], BATCH, MPROC_FOREVER, &count)
                 : mproc_queue_get_many(s->queue, items, sizeof items[0], BATCH, MPROC_FOREVER, &count);
    return rc < 0 || count == BATCH ? rc : 1;
}

static int scene_call(void *context, unsigned state)
{
    const scene *s = context;
    mproc_deadline deadline = s->start->expected == -ETIMEDOUT ? MPROC_NOW : MPROC_FOREVER;
    int rc = 0;
    (void)state;
    switch (s->start->act) {
    case ACT_PUT:
        rc = put_number(s, s->start->preload, deadline);
        break;
    case ACT_GET:
        rc = get_number(s, deadline);
        break;
    case ACT_LOAN:
        rc = act_loan(s);
        break;
    case ACT_TAKE:
        rc = act_take(s);
        break;
    case ACT_LEAVE:
        return !mproc__queue_exclusive_leave(s->queue, side_of(s));
    default:
        rc = act_many(s);
    }
    return rc != s->start->expected;
}

static int scene_recover(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    mproc__segment_sweep(s->queue->segment);
    return 0;
}

/* Beside a stopped victim: nobody is dead, its role is its own, and a call that changes nothing keeps its deadline. */
static int scene_meanwhile(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (mproc__segment_sweep(s->queue->segment) != 0)
        return 1;
    int code = mproc_queue_join(s->queue, mproc_after_ms(KILL_SHORT_MS));
    if (code != 0 && code != -ETIMEDOUT)
        return 2;
    if (s->start->first || s->start->act == ACT_LEAVE || s->start->as != ALONE)
        return 0;
    return mproc__queue_exclusive_take(s->queue, side_of(s)) == -EBUSY ? 0 : 3;
}

static int scene_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (s->start->waiting)
        return (is_put(s) ? puts_since(s) : gets_since(s)) > 0 ? 0 : 1;
    bool drained = s->queue->shared->head == s->queue->shared->tail;
    return !s->start->redeliver && drained ? 0 : 1;
}

/* The survivor's own item, there and back, and nothing left. */
static int scene_use(const scene *s)
{
    if (!s->start->closed && (put_number(s, SURVIVOR, hard()) < 0 || get_number(s, hard()) != SURVIVOR))
        return 20;
    if (get_number(s, MPROC_NOW) != (s->start->closed ? MPROC_EEND : -ETIMEDOUT))
        return 21;
    if (s->start->closed && put_number(s, SURVIVOR, MPROC_NOW) != MPROC_ECLOSED)
        return 22;
    if (mproc_queue_join(s->queue, hard()) < 0)
        return 23;
    return queue_verify(s->queue, 0) ? 24 : 0;
}

static unsigned act_items(const scene *s)
{
    bool many = s->start->act == ACT_PUT_MANY || s->start->act == ACT_GET_MANY;
    return s->start->expected != 0 || s->start->act == ACT_LEAVE ? 0 : many ? BATCH : 1;
}

static int put_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    unsigned committed = puts_since(s);
    (void)state;
    if (committed != 0 && committed != act_items(s))
        return 10;
    if (returned && committed != act_items(s))
        return 11;
    if (!kill_swept(s->queue->segment))
        return 15;
    if (s->start->waiting) {
        /* Of the victim's item and ours the parked one gets one and we get the other. */
        if (put_number(s, SURVIVOR, hard()) < 0)
            return 12;
        int number = committed ? get_number(s, hard()) : SURVIVOR;
        if ((number != 0 && number != SURVIVOR) || mproc_queue_join(s->queue, hard()) < 0)
            return 13;
    }
    for (unsigned i = 0; !s->start->waiting && i < s->start->preload + committed; i++)
        if (get_number(s, hard()) != (int)i)
            return 14;
    return scene_use(s);
}

static int get_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    unsigned taken = gets_since(s), next = taken;
    (void)state;
    if ((taken != 0 && taken != act_items(s)) || (returned && taken != act_items(s)))
        return 10;
    if (!kill_swept(s->queue->segment))
        return 15;
    int number = get_number(s, MPROC_NOW);
    if (taken && s->start->redeliver && number == 0) { /* given back by the victim's death */
        if (returned)
            return 11;
        number = get_number(s, MPROC_NOW);
    }
    for (; number == (int)next; next++)
        number = get_number(s, MPROC_NOW);
    if (next != s->start->preload)
        return 12;
    bool putter = s->start->waiting;
    if (putter && number == -ETIMEDOUT)
        number = get_number(s, hard());
    int last = putter ? PARKED : s->start->closed ? MPROC_EEND : -ETIMEDOUT;
    return number != last ? 13 : scene_use(s);
}

const kill_case killsweep_queue_owner_put = {.operation = "queue owner put",
                                             .states = put_states,
                                             .setup = put_setup,
                                             .teardown = scene_teardown,
                                             .prepare = scene_prepare,
                                             .call = scene_call,
                                             .recover = scene_recover,
                                             .meanwhile = scene_meanwhile,
                                             .wait = scene_wait,
                                             .wakes = scene_wakes,
                                             .check = put_check};

const kill_case killsweep_queue_owner_get = {.operation = "queue owner get",
                                             .states = get_states,
                                             .setup = get_setup,
                                             .teardown = scene_teardown,
                                             .prepare = scene_prepare,
                                             .call = scene_call,
                                             .recover = scene_recover,
                                             .meanwhile = scene_meanwhile,
                                             .wait = scene_wait,
                                             .wakes = scene_wakes,
                                             .check = get_check};
