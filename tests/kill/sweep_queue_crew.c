/* SPDX-License-Identifier: BSD-2-Clause */
/* Put and get of items from 0 bytes to 8 MiB from each start state, killed at every state: among two producers and two
 * consumers beside the victim, all of them users of the queue.
 *
 * Where the queue is empty the consumers are parked in it before the call, where it is full the producers; the others sleep
 * until the survivor has them go on. Then all put and get at once until the survivor shuts the queue down, and the notes say
 * that each item came once. Pairs are tried with one producer and one consumer: what a recovery does is the same. */
#include "platform/base.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "kill/queue_sizes.h"

enum {
    PRODUCERS = 2,
    CONSUMERS = 2,
    FROM = 10,
    TO = 20 /* items of the first producer; then the second one's */
};

/* Shared by all processes of a round. */
typedef struct notes {
    _Atomic uint32_t go;
    _Atomic uint32_t put, got;           /* by producers; by consumers, so often they are through with one */
    _Atomic uint32_t produced, consumed; /* so many of them have ended */
    _Atomic uint32_t fault;
    _Atomic uint32_t came[SCENE_SURVIVOR]; /* so often did the item */
} notes;

typedef struct scene {
    queue_scene base;
    const queue_start *start;
    notes *notes;
    bool puts; /* the victim */
} scene;

static int scene_make(bool puts, unsigned state, void **ret_context)
{
    scene *s = calloc(1, sizeof *s);
    *ret_context = s;
    s->puts = puts;
    s->start = puts ? queue_put_start(state) : queue_get_start(state);
    s->notes = mmap(NULL, sizeof *s->notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return s->notes == MAP_FAILED ? 6 : queue_sizes_make(&s->base, puts, state);
}

static int put_setup(unsigned state, void **ret_context)
{
    return scene_make(true, state, ret_context);
}

static int get_setup(unsigned state, void **ret_context)
{
    return scene_make(false, state, ret_context);
}

static void scene_teardown(void *context)
{
    scene *s = context;
    munmap(s->notes, sizeof *s->notes);
    queue_scene_teardown(s);
}

static void count(_Atomic uint32_t *word)
{
    atomic_fetch_add(word, 1);
    mproc__futex_wake(word, 1, true);
}

static bool comes(_Atomic uint32_t *word, uint32_t least, mproc_deadline deadline)
{
    uint32_t now;
    while ((now = atomic_load(word)) < least)
        if (mproc__futex_wait(word, now, true, deadline) == -ETIMEDOUT)
            return false;
    return true;
}

/* ---- beside the victim ---- */

static bool is_empty(const scene *s)
{
    return s->start->preload == 0;
}

static bool is_full(const scene *s)
{
    return s->start->bounded && s->start->preload > 1;
}

/* How many items a producer puts: of those that take long one. */
static unsigned each(const scene *s)
{
    return s->base.size_bytes > SCENE_COPY_BYTES ? 1 : 2;
}

static void produce(const scene *s, unsigned producer)
{
    for (unsigned i = 0; i < each(s); i++) {
        int rc = queue_put_number(&s->base, (producer == 0 ? FROM : TO) + i, MPROC_FOREVER);
        if (rc != (s->start->closed ? MPROC_ECLOSED : 0))
            atomic_store(&s->notes->fault, 31);
        count(&s->notes->put);
    }
    count(&s->notes->produced);
}

/* One of the two without a copy, or both. */
static int consume_one(const scene *s, unsigned consumer)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    if (consumer == 0)
        return queue_get_number(&s->base, MPROC_FOREVER);
    int rc = mproc_queue_take(s->base.queue, MPROC_FOREVER, &loan);
    if (rc < 0)
        return rc;
    int number = queue_item_number(&s->base, loan.data, loan.data_bytes);
    return mproc_queue_done(s->base.queue, &loan) < 0 ? -1 : number;
}

/* What one of them gets of a producer it gets in the order put; and that is all that the numbers say, so in all. */
static void consume(const scene *s, unsigned consumer)
{
    int number, last[PRODUCERS] = {-1, -1};
    while ((number = consume_one(s, consumer)) >= 0 && number < SCENE_SURVIVOR) {
        int *of = &last[number >= TO];
        if (number >= FROM && number <= *of)
            atomic_store(&s->notes->fault, 32);
        *of = number >= FROM ? number : *of;
        atomic_fetch_add(&s->notes->came[number], 1);
        count(&s->notes->got);
    }
    if (number != MPROC_EEND)
        atomic_store(&s->notes->fault, 33);
    count(&s->notes->consumed);
}

static void beside(void *context, unsigned state, unsigned number)
{
    const scene *s = context;
    bool is_producer = number < PRODUCERS;
    (void)state;
    if (mproc__queue_enter(s->base.queue) < 0)
        atomic_store(&s->notes->fault, 34);
    if (is_producer ? !is_full(s) : !is_empty(s))
        comes(&s->notes->go, 1, MPROC_FOREVER);
    if (is_producer)
        produce(s, number);
    else
        consume(s, number - PRODUCERS);
}

/* ---- the victim, and after it ---- */

static int call(void *context, unsigned state)
{
    const scene *s = context;
    return s->puts ? queue_sizes_put(&s->base, state) : queue_sizes_get(&s->base, state);
}

/* Each once, less what the victim took, and its own if it was put. */
static bool all_came(const scene *s, unsigned done)
{
    unsigned all = 0, wrong = 0, wanted_of_all = 0;
    for (unsigned i = 0; i < SCENE_SURVIVOR; i++) {
        unsigned preload = s->start->preload + (s->puts ? done : 0);
        bool theirs =
            !s->start->closed && ((i >= FROM && i < FROM + each(s)) || (i >= TO && i < TO + each(s)));
        unsigned wanted = theirs || (i < preload && (s->puts || i >= done));
        unsigned came = atomic_load(&s->notes->came[i]);
        wanted_of_all += wanted;
        all += came;
        wrong += came != wanted;
    }
    return all == wanted_of_all && (wrong == 0 || s->base.size_bytes == 0);
}

static int everybody_goes_on(const scene *s)
{
    notes *n = s->notes;
    atomic_store(&n->go, 1);
    mproc__futex_wake(&n->go, INT32_MAX, true);
    if (!comes(&n->produced, PRODUCERS, queue_hard()))
        return 13;
    if (mproc_queue_shutdown(s->base.queue, false) < 0)
        return 14;
    if (!comes(&n->consumed, CONSUMERS, queue_hard()))
        return 15;
    return (int)atomic_load(&n->fault);
}

static int check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    unsigned done = s->puts ? queue_puts_since(&s->base) : queue_gets_since(&s->base);
    bool may = s->start->expected == 0;
    (void)state;
    if (done > may || (returned && may && done == 0))
        return 10;
    /* Who was parked goes on by itself. */
    if (s->puts && done && is_empty(s) && !comes(&s->notes->got, 1, queue_hard()))
        return 11;
    if (!s->puts && done && is_full(s) && !comes(&s->notes->put, 1, queue_hard()))
        return 12;
    int fault = everybody_goes_on(s);
    if (fault != 0)
        return fault;
    if (!kill_swept(s->base.queue->segment))
        return 16;
    return all_came(s, done) ? queue_scene_use(&s->base, true) : 17;
}

#define CREW(title, making)                                                                                  \
    .operation = (title), .states = queue_sizes_states, .copies = true, .setup = (making),                   \
    .teardown = scene_teardown, .beside = beside, .beside_count = PRODUCERS + CONSUMERS,                     \
    .prepare = queue_scene_enter, .call = call, .meanwhile = queue_scene_meanwhile, .check = check

const kill_case killsweep_queue_put_crew = {CREW("queue put among many", put_setup)};
const kill_case killsweep_queue_get_crew = {CREW("queue get among many", get_setup)};
