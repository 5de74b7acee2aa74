/* SPDX-License-Identifier: BSD-2-Clause */
/* Three producers and three consumers on one queue, and a ledger of every message.
 *
 * Plain: a message whose put returned is taken once, or was taken by a consumer that was killed inside its get.
 * Acknowledged: none is lost, and one that comes twice says so. Every message is whole: its bytes tell its number. */
#include "platform/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <mproc.h>

#include "torture/torture.h"

enum {
    MESSAGES_MOST = 1 << 25,
    BYTES_MOST = 1600, /* inline records and blocks */
    QUEUE_BYTES = 1 << 16,
    WAIT_MS = 50,
    DRAIN_MS = 300,
    FAULT_PUT = 2,
    FAULT_GET,
    FAULT_TORN,
    FAULT_TWICE
};

/* PUTTING: written before the put; PUT: after it returned. A message that is PUTTING for ever may be there or not. */
typedef enum put_state { NEVER, PUTTING, PUT } put_state;

typedef struct entry_shared {
    _Atomic uint8_t put;   /* by its producer */
    _Atomic uint8_t taken; /* counted by consumers */
} entry_shared;

typedef struct ledger_shared {
    torture_shared begin;
    _Atomic uint32_t next;               /* number of the next message */
    _Atomic int taking[TORTURE_WORKERS]; /* 1: between the begin of a get and the entry in the ledger */
    entry_shared entries[MESSAGES_MOST];
} ledger_shared;

typedef struct scene {
    mproc_queue *queue;
    ledger_shared *ledger;
    bool acknowledged;
    mproc_order order;
    unsigned excused; /* consumers killed while taking */
} scene;

typedef struct message {
    uint32_t number;
    uint8_t bytes[BYTES_MOST];
} message;

static size_t message_bytes(uint32_t number)
{
    return sizeof(uint32_t) + (number * 37u) % BYTES_MOST;
}

static void message_make(message *m, uint32_t number)
{
    m->number = number;
    memset(m->bytes, (int)(number & 255), message_bytes(number) - sizeof(uint32_t));
}

static bool message_whole(const message *m, size_t size_bytes)
{
    if (size_bytes < sizeof(uint32_t) || m->number >= MESSAGES_MOST || size_bytes != message_bytes(m->number))
        return false;
    for (size_t i = 0; i < size_bytes - sizeof(uint32_t); i++)
        if (m->bytes[i] != (uint8_t)m->number)
            return false;
    return true;
}

static int queue_setup_as(bool acknowledged, mproc_order order, void **ret_context)
{
    scene *s = calloc(1, sizeof(*s));
    if (!s)
        return -1;
    s->acknowledged = acknowledged;
    s->order = order;
    s->ledger = mmap(NULL, sizeof(*s->ledger), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *ret_context = s;
    if (s->ledger == MAP_FAILED)
        return -1;
    return mproc_queue_create(NULL,
                              MPROC_WITH(mproc_queue_options, .max_bytes = QUEUE_BYTES,
                                         .redeliver = acknowledged, .max_deliveries = 200, .order = order),
                              &s->queue);
}

static int queue_setup(void **ret_context)
{
    return queue_setup_as(false, MPROC_ORDER_FIFO, ret_context);
}

static int queue_setup_acknowledged(void **ret_context)
{
    return queue_setup_as(true, MPROC_ORDER_FIFO, ret_context);
}

static int queue_setup_lifo(void **ret_context)
{
    return queue_setup_as(false, MPROC_ORDER_LIFO, ret_context);
}

static int queue_setup_priority(void **ret_context)
{
    return queue_setup_as(true, MPROC_ORDER_PRIORITY, ret_context);
}

static torture_shared *queue_shared(void *context)
{
    return &((scene *)context)->ledger->begin;
}

static int produce(scene *s)
{
    message m;
    uint32_t number = atomic_fetch_add(&s->ledger->next, 1);
    if (number >= MESSAGES_MOST)
        return FAULT_PUT;
    message_make(&m, number);
    atomic_store(&s->ledger->entries[number].put, PUTTING);
    int32_t priority = s->order == MPROC_ORDER_PRIORITY ? (int32_t)(number % 3) - 1 : 0;
    int result;
    do
        result =
            mproc_queue_put_priority(s->queue, &m, message_bytes(number), priority, mproc_after_ms(WAIT_MS));
    while (result == -ETIMEDOUT && !atomic_load(&s->ledger->begin.stop));
    if (result == 0)
        atomic_store(&s->ledger->entries[number].put, PUT);
    return result == 0 || result == -ETIMEDOUT ? 0 : FAULT_PUT;
}

static int enter(scene *s, const message *m, size_t size_bytes, uint32_t delivery)
{
    if (!message_whole(m, size_bytes))
        return FAULT_TORN;
    uint8_t before = atomic_fetch_add(&s->ledger->entries[m->number].taken, 1);
    return before > 0 && delivery == 1 ? FAULT_TWICE : 0;
}

static int consume_plain(scene *s, int wait_ms, bool *ret_got)
{
    message m;
    size_t size_bytes;
    int result = mproc_queue_get(s->queue, &m, sizeof(m), mproc_after_ms(wait_ms), &size_bytes);
    *ret_got = result == 0;
    if (result == -ETIMEDOUT)
        return 0;
    return result == 0 ? enter(s, &m, size_bytes, 1) : FAULT_GET;
}

static int consume_acknowledged(scene *s, int wait_ms, bool *ret_got)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int result = mproc_queue_take(s->queue, mproc_after_ms(wait_ms), &loan);
    *ret_got = result == 0;
    if (result == -ETIMEDOUT)
        return 0;
    int fault = result == 0 ? enter(s, loan.data, loan.data_bytes, loan.delivery) : FAULT_GET;
    return fault == 0 && mproc_queue_done(s->queue, &loan) != 0 ? FAULT_GET : fault;
}

static int consume(scene *s, int wait_ms, bool *ret_got)
{
    return s->acknowledged ? consume_acknowledged(s, wait_ms, ret_got) : consume_plain(s, wait_ms, ret_got);
}

static int queue_work(void *context, unsigned worker)
{
    scene *s = context;
    int fault = 0;
    bool got;
    while (fault == 0 && !atomic_load(&s->ledger->begin.stop)) {
        if (worker % 2 == 0) {
            fault = produce(s);
        } else {
            atomic_store(&s->ledger->taking[worker], 1);
            fault = consume(s, WAIT_MS, &got);
            atomic_store(&s->ledger->taking[worker], 0);
            if (got)
                atomic_fetch_add(&s->ledger->begin.progress, 1);
        }
    }
    return fault;
}

static void queue_killed(void *context, unsigned worker)
{
    scene *s = context;
    s->excused += (unsigned)atomic_exchange(&s->ledger->taking[worker], 0);
}

static unsigned queue_judge(void *context)
{
    scene *s = context;
    bool got = true;
    int fault = 0;
    unsigned lost = 0, twice = 0;
    while (got && fault == 0)
        fault = consume(s, DRAIN_MS, &got);
    uint32_t messages = atomic_load(&s->ledger->next);
    for (uint32_t i = 0; i < messages && i < MESSAGES_MOST; i++) {
        lost +=
            atomic_load(&s->ledger->entries[i].put) == PUT && atomic_load(&s->ledger->entries[i].taken) == 0;
        twice += atomic_load(&s->ledger->entries[i].taken) > 1;
    }
    fprintf(stderr,
            "torture: %u messages, %u without a taker (%u takers killed in the act), %u twice, fault %d\n",
            messages, lost, s->excused, twice, fault);
    if (s->acknowledged)
        return (fault != 0) + (lost > 0);
    return (fault != 0) + (twice > 0) + (lost > s->excused);
}

static void queue_teardown(void *context)
{
    scene *s = context;
    mproc_queue_close(&s->queue);
    munmap(s->ledger, sizeof(*s->ledger));
    free(s);
}

const torture_case torture_queue = {.name = "queue",
                                    .setup = queue_setup,
                                    .shared = queue_shared,
                                    .work = queue_work,
                                    .killed = queue_killed,
                                    .judge = queue_judge,
                                    .teardown = queue_teardown};

const torture_case torture_queue_acknowledged = {.name = "queue acknowledged",
                                                 .setup = queue_setup_acknowledged,
                                                 .shared = queue_shared,
                                                 .work = queue_work,
                                                 .killed = queue_killed,
                                                 .judge = queue_judge,
                                                 .teardown = queue_teardown};

const torture_case torture_queue_lifo = {.name = "queue lifo",
                                         .setup = queue_setup_lifo,
                                         .shared = queue_shared,
                                         .work = queue_work,
                                         .killed = queue_killed,
                                         .judge = queue_judge,
                                         .teardown = queue_teardown};

const torture_case torture_queue_priority = {.name = "queue priority",
                                             .setup = queue_setup_priority,
                                             .shared = queue_shared,
                                             .work = queue_work,
                                             .killed = queue_killed,
                                             .judge = queue_judge,
                                             .teardown = queue_teardown};
