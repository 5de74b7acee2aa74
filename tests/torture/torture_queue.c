/* SPDX-License-Identifier: BSD-2-Clause */
/* Three producers and three consumers on one queue, of two threads each, and a ledger of every message (torture_ledger.h).
 * Messages of 0 bytes to 1.6 KB, or to 8 MiB; put, reserve and commit, put_many; get, take and done, give_back, get_many.
 *
 * Plain: a message whose put returned is taken once, or was taken by a consumer that was killed inside its get.
 * Acknowledged: none is lost; one that comes twice says so, none comes after it was done, and what was delivered too often
 * is found among the dead letters. */
#include "platform/base.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <mproc.h>

#include "torture/torture_ledger.h"

enum {
    SMALL_BYTES = 1600, /* inline records and blocks */
    SMALL_BUDGET = 1 << 16,
    LARGE_BYTES = 8 << 20,
    LARGE_BUDGET = 32 << 20,
    BATCH = 4,
    BATCH_BYTES = 64,
    DELIVERIES = 3,
    WAIT_MS = 50,
    DRAIN_MS = 300,
    BUSY_US = 200
};

/* What a queue is made of. */
typedef struct queue_kind {
    const char *name;
    size_t budget_bytes, message_bytes; /* the largest */
    bool acknowledged;
    mproc_order order;
    mproc_role exclusive;
} queue_kind;

typedef struct scene {
    const queue_kind *kind;
    mproc_queue *queue;
    ledger_shared *ledger;
    unsigned excused;        /* what consumers had that were killed while taking */
    ledger_message *message; /* the judge's */
} scene;

/* One thread of a worker. */
typedef struct hand {
    scene *s;
    unsigned worker, thread;
    unsigned random;
    ledger_message *message;
    int fault;
} hand;

static int queue_setup_as(const queue_kind *kind, void **ret_context)
{
    scene *s = calloc(1, sizeof(*s));
    if (!s)
        return -1;
    s->kind = kind;
    s->ledger = mmap(NULL, sizeof(*s->ledger), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    s->message = malloc(kind->message_bytes);
    *ret_context = s;
    if (s->ledger == MAP_FAILED || !s->message)
        return -1;
    return mproc_queue_create(NULL,
                              MPROC_WITH(mproc_queue_options, .max_bytes = kind->budget_bytes,
                                         .redeliver = kind->acknowledged, .keep_dead = kind->acknowledged,
                                         .max_deliveries = DELIVERIES, .order = kind->order,
                                         .exclusive = kind->exclusive),
                              &s->queue);
}

static torture_shared *queue_shared(void *context)
{
    return &((scene *)context)->ledger->begin;
}

static bool stopped(const scene *s)
{
    return atomic_load(&s->ledger->begin.stop) != 0;
}

/* Another thread or process is the queue's one user of this side: its death makes room. */
static bool busy(int result)
{
    if (result == -EBUSY)
        nanosleep(&(struct timespec){.tv_nsec = BUSY_US * 1000L}, NULL);
    return result == -EBUSY;
}

/* ---- producers ---- */

/* One in eight is of each order of magnitude in turn, and now and then as large as there may be. */
static size_t large_of(uint32_t number)
{
    static const size_t most[] = {4 << 10, 64 << 10, 1 << 20, LARGE_BYTES};
    size_t bytes = most[number / 8 % MPROC__COUNT(most)] - sizeof(ledger_message);
    return sizeof(ledger_message) + (number / 32 % 4 == 0 ? bytes : number * UINT64_C(2654435761) % bytes);
}

static size_t size_of(const scene *s, uint32_t number)
{
    if (s->kind->message_bytes > SMALL_BYTES && number % 8 == 0)
        return large_of(number);
    size_t most = SMALL_BYTES - sizeof(ledger_message);
    return sizeof(ledger_message) + number * UINT64_C(2654435761) % most;
}

static int put_by_loan(const hand *h, uint32_t number, size_t size_bytes)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int result = mproc_queue_reserve(h->s->queue, size_bytes, mproc_after_ms(WAIT_MS), &loan);
    if (result < 0)
        return result;
    ledger_make(loan.data, number, size_bytes);
    result = mproc_queue_commit(h->s->queue, &loan);
    return result < 0 ? FAULT_PUT : 0;
}

static int put_by_copy(const hand *h, uint32_t number, size_t size_bytes)
{
    int32_t priority = h->s->kind->order == MPROC_ORDER_PRIORITY ? (int32_t)(number % 3) - 1 : 0;
    ledger_make(h->message, number, size_bytes);
    return mproc_queue_put_priority(h->s->queue, h->message, size_bytes, priority, mproc_after_ms(WAIT_MS));
}

/* Until it is in, or all is over. */
static int produce_one(const hand *h)
{
    ledger_shared *ledger = h->s->ledger;
    uint32_t number = atomic_fetch_add(&ledger->next, 1);
    if (number >= LEDGER_MESSAGES)
        return FAULT_PUT;
    size_t size_bytes = size_of(h->s, number);
    atomic_store(&ledger->entries[number].put, PUTTING);
    int result;
    do
        result = number % 4 == 0 ? put_by_loan(h, number, size_bytes) : put_by_copy(h, number, size_bytes);
    while ((busy(result) || result == -ETIMEDOUT) && !stopped(h->s));
    atomic_store(&ledger->entries[number].put, result == 0 ? PUT : NEVER);
    return result == 0 || result == -ETIMEDOUT || result == -EBUSY ? 0 : FAULT_PUT;
}

static int produce_empty(const hand *h)
{
    atomic_fetch_add(&h->s->ledger->empty_putting, 1);
    int result = mproc_queue_put(h->s->queue, NULL, 0, mproc_after_ms(WAIT_MS));
    if (result == 0)
        atomic_fetch_add(&h->s->ledger->empty_put, 1);
    else
        atomic_fetch_sub(&h->s->ledger->empty_putting, 1);
    return result == 0 || result == -ETIMEDOUT || busy(result) ? 0 : FAULT_PUT;
}

static int produce_batch(const hand *h)
{
    ledger_shared *ledger = h->s->ledger;
    uint32_t number = atomic_fetch_add(&ledger->next, BATCH);
    uint8_t items[BATCH * BATCH_BYTES] __attribute__((aligned(8)));
    if (number >= LEDGER_MESSAGES - BATCH)
        return FAULT_PUT;
    for (unsigned i = 0; i < BATCH; i++) {
        ledger_make((void *)(items + (size_t)i * BATCH_BYTES), number + i, BATCH_BYTES);
        atomic_store(&ledger->entries[number + i].put, PUTTING);
    }
    size_t count = 0;
    int result =
        mproc_queue_put_many(h->s->queue, items, BATCH_BYTES, BATCH, mproc_after_ms(WAIT_MS), &count);
    for (unsigned i = 0; i < BATCH; i++)
        atomic_store(&ledger->entries[number + i].put, result == 0 && i < count ? PUT : NEVER);
    return result == 0 || result == -ETIMEDOUT || busy(result) ? 0 : FAULT_PUT;
}

static int produce(hand *h)
{
    switch (rand_r(&h->random) % 16) {
    case 0:
        return produce_empty(h);
    case 1:
    case 2:
        return produce_batch(h);
    default:
        return produce_one(h);
    }
}

/* ---- consumers ---- */

static bool nothing(int result)
{
    return result == -ETIMEDOUT || busy(result);
}

static int consume_copy(scene *s, ledger_message *m, int wait_ms, bool *ret_got)
{
    size_t size_bytes;
    int result = mproc_queue_get(s->queue, m, s->kind->message_bytes, mproc_after_ms(wait_ms), &size_bytes);
    *ret_got = result == 0;
    if (nothing(result))
        return 0;
    return result == 0 ? ledger_enter(s->ledger, m, size_bytes, 1) : FAULT_GET;
}

/* Those of the one size, if they are next. */
static int consume_batch(scene *s, bool *ret_got)
{
    uint8_t items[BATCH * BATCH_BYTES] __attribute__((aligned(8)));
    size_t count = 0;
    int result = mproc_queue_get_many(s->queue, items, BATCH_BYTES, BATCH, MPROC_NOW, &count);
    int fault = 0;
    *ret_got = result == 0;
    if (nothing(result) || result == MPROC_ETOOSMALL || result == MPROC_EARGUMENT)
        return 0;
    for (size_t i = 0; fault == 0 && result == 0 && i < count; i++)
        fault = ledger_enter(s->ledger, (void *)(items + i * BATCH_BYTES), BATCH_BYTES, 1);
    return result == 0 ? fault : FAULT_GET;
}

static int consume_loan(scene *s, bool give_back, int wait_ms, bool *ret_got)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int result = mproc_queue_take(s->queue, mproc_after_ms(wait_ms), &loan);
    *ret_got = result == 0;
    if (nothing(result))
        return 0;
    if (result < 0)
        return FAULT_GET;
    int fault = ledger_enter(s->ledger, loan.data, loan.data_bytes, loan.delivery);
    uint32_t number = loan.data_bytes > 0 ? ((const ledger_message *)loan.data)->number : 0;
    bool numbered = loan.data_bytes > 0;
    result = give_back ? mproc_queue_give_back(s->queue, &loan) : mproc_queue_done(s->queue, &loan);
    if (fault == 0 && result == 0 && numbered && !give_back)
        ledger_done(s->ledger, number);
    return fault != 0 ? fault : result == 0 ? 0 : FAULT_GET;
}

static int consume_dead(scene *s, bool *ret_got)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int result = mproc_queue_take_dead(s->queue, MPROC_NOW, &loan);
    *ret_got = result == 0;
    if (nothing(result))
        return 0;
    int fault = result == 0 ? ledger_dead(s->ledger, loan.data, loan.data_bytes) : FAULT_GET;
    return fault == 0 && mproc_queue_done(s->queue, &loan) < 0 ? FAULT_GET : fault;
}

static int consume(hand *h, bool *ret_got)
{
    scene *s = h->s;
    unsigned which = (unsigned)rand_r(&h->random) % 16;
    _Atomic uint32_t *taking = &s->ledger->taking[h->worker][h->thread];
    int fault;
    if (s->kind->acknowledged)
        return which == 0 ? consume_dead(s, ret_got) : consume_loan(s, which == 1, WAIT_MS, ret_got);
    bool batch = which < 4;
    atomic_store(taking, batch ? BATCH : 1);
    if (batch)
        fault = consume_batch(s, ret_got);
    else if (which < 8)
        fault = consume_loan(s, false, WAIT_MS, ret_got);
    else
        fault = consume_copy(s, h->message, WAIT_MS, ret_got);
    atomic_store(taking, 0);
    return fault;
}

/* ---- workers ---- */

static void *hand_work(void *argument)
{
    hand *h = argument;
    bool got = false;
    while (h->fault == 0 && !stopped(h->s)) {
        h->fault = h->worker % 2 == 0 ? produce(h) : consume(h, &got);
        if (got)
            atomic_fetch_add(&h->s->ledger->begin.progress, 1);
    }
    return NULL;
}

static int queue_work(void *context, unsigned worker)
{
    hand hands[LEDGER_THREADS];
    pthread_t second;
    for (unsigned i = 0; i < LEDGER_THREADS; i++) {
        hands[i] = (hand){.s = context, .worker = worker, .thread = i, .random = worker * 977u + i};
        hands[i].random += atomic_load(&hands[i].s->ledger->next);
        hands[i].message = malloc(hands[i].s->kind->message_bytes);
        if (!hands[i].message)
            return FAULT_MEMORY;
    }
    if (pthread_create(&second, NULL, hand_work, &hands[1]) != 0)
        return FAULT_MEMORY;
    hand_work(&hands[0]);
    pthread_join(second, NULL);
    free(hands[0].message);
    free(hands[1].message);
    return hands[0].fault ? hands[0].fault : hands[1].fault;
}

static void queue_killed(void *context, unsigned worker)
{
    scene *s = context;
    for (unsigned i = 0; i < LEDGER_THREADS; i++)
        s->excused += atomic_exchange(&s->ledger->taking[worker][i], 0);
}

static unsigned queue_judge(void *context)
{
    scene *s = context;
    bool got = true;
    int fault = 0;
    while (got && fault == 0)
        fault = s->kind->acknowledged ? consume_loan(s, false, DRAIN_MS, &got)
                                      : consume_copy(s, s->message, DRAIN_MS, &got);
    for (got = s->kind->acknowledged; got && fault == 0;)
        fault = consume_dead(s, &got);
    return (fault != 0) + ledger_judge(s->ledger, s->kind->name, s->kind->acknowledged, s->excused);
}

static void queue_teardown(void *context)
{
    scene *s = context;
    mproc_queue_close(&s->queue);
    munmap(s->ledger, sizeof(*s->ledger));
    free(s->message);
    free(s);
}

/* ---- the kinds ---- */

/* One case: its name in the program, its kills (10,000 together), and the kind. */
#define QUEUE_CASE(what, how_many, title, ...)                                                               \
    static const queue_kind what##_is = {.name = (title), __VA_ARGS__};                                      \
    static int what##_setup(void **ret_context)                                                              \
    {                                                                                                        \
        return queue_setup_as(&what##_is, ret_context);                                                      \
    }                                                                                                        \
    const torture_case torture_##what = {.name = (title),                                                    \
                                         .kills = (how_many),                                                \
                                         .setup = what##_setup,                                              \
                                         .shared = queue_shared,                                             \
                                         .work = queue_work,                                                 \
                                         .killed = queue_killed,                                             \
                                         .judge = queue_judge,                                               \
                                         .teardown = queue_teardown}
#define SMALL .budget_bytes = SMALL_BUDGET, .message_bytes = SMALL_BYTES
#define LARGE .budget_bytes = LARGE_BUDGET, .message_bytes = LARGE_BYTES

QUEUE_CASE(queue, 3000, "queue", SMALL);
QUEUE_CASE(queue_acknowledged, 3000, "queue acknowledged", SMALL, .acknowledged = true);
QUEUE_CASE(queue_large, 500, "queue large", LARGE);
QUEUE_CASE(queue_large_acknowledged, 500, "queue large acknowledged", LARGE, .acknowledged = true);
QUEUE_CASE(queue_exclusive, 1000, "queue exclusive", SMALL, .exclusive = MPROC_ROLE_BOTH);
QUEUE_CASE(queue_lifo, 1000, "queue lifo", SMALL, .order = MPROC_ORDER_LIFO);
QUEUE_CASE(queue_priority, 1000, "queue priority", SMALL, .acknowledged = true,
           .order = MPROC_ORDER_PRIORITY);
