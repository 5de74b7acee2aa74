/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue's other calls, killed at every state: batches, variants, the end, and calls that block.
 *
 * Items are numbers in their first eight bytes: 0 and up are there before the call or put by it, the survivor's is SURVIVOR.
 * The parked waiter says so when it has come back, so that nobody takes its part away. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "channel/queue_common.h"
#include "kill/killsweep.h"

enum { BLOCK_BYTES = 1100, BUDGET = 8192, BATCH = 3, SURVIVOR = 100, PARKED = 200 };

/* Shared by all processes of a round. */
typedef struct notes {
    _Atomic uint32_t parked, back; /* the waiter; there is none beside a blocked victim that is stopped */
} notes;

typedef struct start {
    size_t size_bytes;
    unsigned preload;
    unsigned max_items;
    bool redeliver;
    bool discard;
} start;

typedef struct scene {
    mproc_queue *queue;
    const start *start;
    notes *notes;
    mproc_loan taken, reserved; /* the victim's */
    uint32_t head_items, tail_items;
} scene;

static mproc_deadline hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

typedef union item {
    uint64_t number;
    uint8_t bytes[BLOCK_BYTES + 4];
} item;

static int put(const scene *s, uint64_t number, mproc_deadline deadline)
{
    static item put_item;
    put_item.number = number;
    return mproc_queue_put(s->queue, put_item.bytes, s->start->size_bytes, deadline);
}

/* The number; below 0: an error. */
static int get(const scene *s, mproc_deadline deadline)
{
    static item got;
    size_t size_bytes = 0;
    int code = mproc_queue_get(s->queue, got.bytes, sizeof(got.bytes), deadline, &size_bytes);
    if (code == 0 && size_bytes != s->start->size_bytes)
        return MPROC_ECORRUPT;
    return code == 0 ? (int)got.number : code;
}

static int scene_make(const start *from, void **ret_context)
{
    scene *s = calloc(1, sizeof(*s));
    *ret_context = s;
    s->start = from;
    s->taken = s->reserved = (mproc_loan)MPROC_LOAN_INIT;
    s->notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->notes == MAP_FAILED)
        return 1;
    s->queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_items = from->max_items,
                                                       .max_bytes = BUDGET, .redeliver = from->redeliver));
    if (!s->queue)
        return 2;
    for (unsigned i = 0; i < from->preload; i++)
        if (put(s, i, hard()) < 0)
            return 3;
    s->head_items = mproc__position_items(s->queue->shared->head);
    s->tail_items = mproc__position_items(s->queue->shared->tail);
    return 0;
}

static void scene_teardown(void *context)
{
    scene *s = context;
    mproc_queue_close(&s->queue);
    munmap(s->notes, 4096);
    free(s);
}

static int scene_enter(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return mproc__queue_enter(s->queue) < 0;
}

static int scene_recover(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    mproc__segment_sweep(s->queue->segment);
    return 0;
}

static int scene_meanwhile(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (mproc__segment_sweep(s->queue->segment) != 0)
        return 1;
    int code = mproc_queue_join(s->queue, mproc_after_ms(KILL_SHORT_MS));
    return code == 0 || code == -ETIMEDOUT ? 0 : 2;
}

static unsigned puts_since(const scene *s)
{
    return (mproc__position_items(s->queue->shared->tail) - s->tail_items) & 0xffffff;
}

static unsigned gets_since(const scene *s)
{
    return (mproc__position_items(s->queue->shared->head) - s->head_items) & 0xffffff;
}

/* The parked one gets any item of the round, or puts its own; and says that it is back. */
static int back(const scene *s, int code)
{
    atomic_store(&s->notes->back, 1);
    mproc__futex_wake(&s->notes->back, 1, true);
    return code < 0;
}

static int wait_get(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    atomic_store(&s->notes->parked, 1);
    return back(context, get(context, MPROC_FOREVER));
}

static int wait_put(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    atomic_store(&s->notes->parked, 1);
    return back(context, put(context, PARKED, MPROC_FOREVER));
}

static int wait_end(void *context, unsigned state)
{
    (void)state;
    return back(context, get(context, MPROC_FOREVER) == MPROC_EEND ? 0 : -1);
}

static bool waiter_is_back(const scene *s)
{
    mproc_deadline until = hard();
    while (!atomic_load(&s->notes->back) && !mproc__deadline_past(until))
        mproc__futex_wait(&s->notes->back, 0, true, until);
    return atomic_load(&s->notes->back) != 0;
}

/* What is there comes in order, the survivor's last: -1 when not, else how many. */
static int drain(const scene *s)
{
    int count = 0, last = -1, number;
    while ((number = get(s, MPROC_NOW)) >= 0) {
        if (number <= last)
            return -1;
        last = number;
        count++;
    }
    return number == -ETIMEDOUT ? count : -1;
}

/* Empty and of use: one there and back, nothing left behind. */
static int scene_use(const scene *s)
{
    if (put(s, SURVIVOR, hard()) < 0 || get(s, hard()) != SURVIVOR)
        return 20;
    if (get(s, MPROC_NOW) != -ETIMEDOUT || mproc_queue_join(s->queue, hard()) < 0)
        return 21;
    return queue_verify(s->queue, 0) ? 22 : 0;
}

/* ---- put many ---- */

static const char *const put_many_states[] = {"records", "blocks", "acknowledged", "room-for-one", NULL};
static const start put_many_starts[] = {{.size_bytes = 8},
                                        {.size_bytes = BLOCK_BYTES},
                                        {.size_bytes = 8, .redeliver = true},
                                        {.size_bytes = 8, .max_items = 1}};

static int put_many_setup(unsigned state, void **ret_context)
{
    return scene_make(&put_many_starts[state], ret_context);
}

static int put_many_call(void *context, unsigned state)
{
    static uint8_t items[BATCH * BLOCK_BYTES] __attribute__((aligned(8)));
    const scene *s = context;
    size_t size_bytes = s->start->size_bytes, count = 0;
    for (uint64_t i = 0; i < BATCH; i++)
        memcpy(items + i * size_bytes, &i, sizeof(i));
    (void)state;
    return mproc_queue_put_many(s->queue, items, size_bytes, BATCH, MPROC_FOREVER, &count) < 0 || count == 0;
}

static int put_many_wakes(void *context, unsigned state)
{
    (void)state;
    return puts_since(context) > 0 ? 0 : 1;
}

/* Records become visible by one store; blocks and what has no room come one by one. */
static int put_many_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    unsigned committed = puts_since(s);
    bool whole = state == 0 && committed != 0 && committed != BATCH;
    if (committed > BATCH || whole || (returned && committed == 0) || !kill_swept(s->queue->segment))
        return 10;
    if (committed == 0 && put(s, SURVIVOR, hard()) < 0)
        return 11;
    if (!waiter_is_back(s))
        return 12;
    /* A victim that went on after a stop may have found room for more. */
    int left = drain(s);
    return left < 0 || left + 1 < (int)committed ? 13 : scene_use(s);
}

/* ---- get many ---- */

static const char *const get_many_states[] = {"records", "blocks", "acknowledged", NULL};
static const start get_many_starts[] = {{.size_bytes = 8, .preload = BATCH + 1},
                                        {.size_bytes = BLOCK_BYTES, .preload = BATCH + 1},
                                        {.size_bytes = 8, .preload = BATCH + 1, .redeliver = true}};

static int get_many_setup(unsigned state, void **ret_context)
{
    return scene_make(&get_many_starts[state], ret_context);
}

static int get_many_call(void *context, unsigned state)
{
    static uint8_t items[BATCH * BLOCK_BYTES];
    const scene *s = context;
    size_t count = 0;
    (void)state;
    int code = mproc_queue_get_many(s->queue, items, s->start->size_bytes, BATCH, MPROC_FOREVER, &count);
    return code < 0 || count != BATCH;
}

/* What comes is the end of what there was: all that was not taken, and of an acknowledged queue what was not done. */
static int get_many_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    unsigned taken = gets_since(s);
    if (taken > BATCH || (state == 0 && taken != 0 && taken != BATCH) || (returned && taken != BATCH) ||
        !kill_swept(s->queue->segment))
        return 10;
    unsigned left = s->start->preload - taken;
    int first = get(s, hard());
    if (first != (int)taken && !(s->start->redeliver && taken > 0 && first == (int)taken - 1))
        return 11;
    int rest = drain(s);
    if (rest < 0 || (unsigned)rest + (first == (int)taken) != left)
        return 12;
    return scene_use(s);
}

/* ---- variants ---- */

static const char *const variant_states[] = {"plain", "acknowledged", NULL};
static const start variant_starts[] = {{.size_bytes = 8}, {.size_bytes = 8, .redeliver = true}};

static int variant_setup(unsigned state, void **ret_context)
{
    return scene_make(&variant_starts[state], ret_context);
}

static int variant_put(const scene *s)
{
    return mproc_queue_put_variant(s->queue, mproc_text("one of us"), hard()) < 0;
}

/* 1: it is there and whole. */
static int variant_get(const scene *s)
{
    mproc_variant got = mproc_null();
    int code = mproc_queue_get_variant(s->queue, MPROC_NOW, &got);
    bool whole = code == 0 && got.kind == MPROC_KIND_TEXT && strcmp(got.data, "one of us") == 0;
    mproc_variant_clear(&got);
    return whole ? 1 : code == -ETIMEDOUT ? 0 : -1;
}

static int variant_put_call(void *context, unsigned state)
{
    (void)state;
    return variant_put(context);
}

static int variant_put_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    if (!kill_swept(s->queue->segment))
        return 10;
    int there = variant_get(s);
    return there < 0 || (returned && there == 0) || (unsigned)there != puts_since(s) ? 11 : scene_use(s);
}

static int variant_full_setup(unsigned state, void **ret_context)
{
    int code = variant_setup(state, ret_context);
    return code ? code : variant_put(*ret_context);
}

static int variant_get_call(void *context, unsigned state)
{
    (void)state;
    return variant_get(context) != 1;
}

static int variant_get_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    bool taken = gets_since(s) > 0;
    if (!kill_swept(s->queue->segment))
        return 10;
    int there = variant_get(s);
    if (there < 0 || (returned && there) || (!taken && !there))
        return 11;
    return scene_use(s);
}

/* ---- shutdown ---- */

static const char *const end_states[] = {"empty", "discard", NULL};
static const start end_starts[] = {{.size_bytes = 8}, {.size_bytes = 8, .discard = true}};

static int end_setup(unsigned state, void **ret_context)
{
    return scene_make(&end_starts[state], ret_context);
}

static int end_call(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return mproc_queue_shutdown(s->queue, s->start->discard) < 0;
}

static int end_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return s->queue->shared->state != MPROC__QUEUE_OPEN ? 0 : 1;
}

static int end_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    bool ended = s->queue->shared->state != MPROC__QUEUE_OPEN;
    if (returned && !ended)
        return 10;
    if (mproc_queue_shutdown(s->queue, s->start->discard) < 0 || !waiter_is_back(s))
        return 11;
    if (put(s, SURVIVOR, hard()) != MPROC_ECLOSED || get(s, hard()) != MPROC_EEND)
        return 12;
    return mproc_queue_join(s->queue, hard()) < 0 ? 13 : 0;
}

/* ---- drop and close ---- */

static const char *const close_states[] = {"records", "blocks", NULL};
static const start close_starts[] = {{.size_bytes = 8, .preload = 1, .redeliver = true},
                                     {.size_bytes = BLOCK_BYTES, .preload = 1, .redeliver = true}};

static int close_setup(unsigned state, void **ret_context)
{
    return scene_make(&close_starts[state], ret_context);
}

static int close_prepare(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_take(s->queue, hard(), &s->taken) < 0 ||
           mproc_queue_reserve(s->queue, 8, hard(), &s->reserved) < 0;
}

static int close_call(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    mproc_queue_close(&s->queue);
    return 0;
}

static int drop_call(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_drop(s->queue, &s->reserved) < 0;
}

/* Whether closed or dead: the item comes again, and the unfinished one is gone. */
static int close_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    mproc_loan again = MPROC_LOAN_INIT;
    (void)state;
    (void)returned;
    if (!kill_swept(s->queue->segment))
        return 10;
    if (mproc_queue_take(s->queue, hard(), &again) < 0 || again.delivery != 2 ||
        again.data_bytes != s->start->size_bytes)
        return 11;
    return mproc_queue_done(s->queue, &again) < 0 ? 12 : scene_use(s);
}

/* ---- calls that block ---- */

static bool waiter_is_back_or_none(const scene *s)
{
    return !atomic_load(&s->notes->parked) || waiter_is_back(s);
}

/* The poster, who has ended with its handle open, is found dead, and nobody else. */
static int blocked_meanwhile(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (mproc__segment_sweep(s->queue->segment) > 1)
        return 1;
    int code = mproc_queue_join(s->queue, mproc_after_ms(KILL_SHORT_MS));
    return code == 0 || code == -ETIMEDOUT ? 0 : 2;
}

static const char *const blocked_get_states[] = {"records", "acknowledged", NULL};
static const start blocked_put_start = {.size_bytes = 8, .preload = 1, .max_items = 1};
static const char *const blocked_put_states[] = {"full", NULL};

static int blocked_put_setup(unsigned state, void **ret_context)
{
    (void)state;
    return scene_make(&blocked_put_start, ret_context);
}

static int blocked_get_call(void *context, unsigned state)
{
    (void)state;
    return get(context, MPROC_FOREVER) < 0;
}

static int blocked_get_post(void *context, unsigned state)
{
    (void)state;
    return put(context, 0, hard()) < 0;
}

/* The item is there and was taken by nobody: then the one behind must wake. */
static int blocked_get_wakes(void *context, unsigned state)
{
    (void)state;
    return puts_since(context) == 1 && gets_since(context) == 0 ? 0 : 1;
}

/* One item for the victim or the one behind it; the survivor's for whom there was none. */
static int blocked_get_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    (void)returned;
    if (puts_since(s) != 1 || !kill_swept(s->queue->segment) || put(s, SURVIVOR, hard()) < 0 ||
        !waiter_is_back_or_none(s))
        return 10;
    return drain(s) < 0 ? 11 : scene_use(s);
}

static int blocked_put_call(void *context, unsigned state)
{
    (void)state;
    return put(context, 1, MPROC_FOREVER) < 0;
}

static int blocked_put_post(void *context, unsigned state)
{
    (void)state;
    return get(context, hard()) != 0;
}

static int blocked_put_wakes(void *context, unsigned state)
{
    (void)state;
    return gets_since(context) == 1 && puts_since(context) == 0 ? 0 : 1;
}

/* The victim's item, if it is in, then the parked one's. */
static int blocked_put_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    if (!kill_swept(s->queue->segment))
        return 10;
    int number = get(s, hard());
    bool came = number == 1;
    if ((returned && !came && number != PARKED) || (number != 1 && number != PARKED))
        return 11;
    if (came && atomic_load(&s->notes->parked) && get(s, hard()) != PARKED)
        return 12;
    if (!waiter_is_back_or_none(s))
        return 13;
    return drain(s) < 0 ? 14 : scene_use(s);
}

#define CALL(title, names, making, calling, checking)                                                        \
    .operation = (title), .states = (names), .setup = (making), .teardown = scene_teardown,                  \
    .prepare = scene_enter, .call = (calling), .check = (checking), .recover = scene_recover,                \
    .meanwhile = scene_meanwhile

const kill_case killsweep_queue_put_many = {
    CALL("queue put many", put_many_states, put_many_setup, put_many_call, put_many_check), .wait = wait_get,
    .wakes = put_many_wakes};
const kill_case killsweep_queue_get_many = {
    CALL("queue get many", get_many_states, get_many_setup, get_many_call, get_many_check)};
const kill_case killsweep_queue_put_variant = {
    CALL("queue put variant", variant_states, variant_setup, variant_put_call, variant_put_check)};
const kill_case killsweep_queue_get_variant = {
    CALL("queue get variant", variant_states, variant_full_setup, variant_get_call, variant_get_check)};
const kill_case killsweep_queue_shutdown = {
    CALL("queue shutdown", end_states, end_setup, end_call, end_check), .wait = wait_end, .wakes = end_wakes};
#define BLOCKED(title, names, making, calling, checking)                                                     \
    .operation = (title), .states = (names), .setup = (making), .teardown = scene_teardown,                  \
    .prepare = scene_enter, .call = (calling), .check = (checking), .recover = scene_recover,                \
    .meanwhile = blocked_meanwhile

const kill_case killsweep_queue_get_blocked = {
    BLOCKED("queue get blocked", blocked_get_states, variant_setup, blocked_get_call, blocked_get_check),
    .post = blocked_get_post, .wait = wait_get, .wakes = blocked_get_wakes};
const kill_case killsweep_queue_put_blocked = {
    BLOCKED("queue put blocked", blocked_put_states, blocked_put_setup, blocked_put_call, blocked_put_check),
    .post = blocked_put_post, .wait = wait_put, .wakes = blocked_put_wakes};
const kill_case killsweep_queue_close = {.operation = "queue close",
                                         .states = close_states,
                                         .setup = close_setup,
                                         .teardown = scene_teardown,
                                         .prepare = close_prepare,
                                         .call = close_call,
                                         .recover = scene_recover,
                                         .check = close_check};
const kill_case killsweep_queue_drop = {.operation = "queue drop",
                                        .states = close_states,
                                        .setup = close_setup,
                                        .teardown = scene_teardown,
                                        .prepare = close_prepare,
                                        .call = drop_call,
                                        .recover = scene_recover,
                                        .check = close_check};
