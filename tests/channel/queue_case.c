/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <string.h>

#include "channel/queue.h"
#include "channel/queue_case.h"

enum { SMALL = 40, LARGE = 1500, MANY = 4 };

static int create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_queue_create(
        place, MPROC_WITH(mproc_queue_options, .name = name, .max_bytes = 8192, .redeliver = true),
        (mproc_queue **)ret_object);
}

static int create_priority(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_queue_create(place,
                              MPROC_WITH(mproc_queue_options, .name = name, .max_bytes = 8192,
                                         .redeliver = true, .order = MPROC_ORDER_PRIORITY),
                              (mproc_queue **)ret_object);
}

static int open_named(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_queue_open(place, name, (mproc_queue **)ret_object);
}

/* One in, one out. A queue is first in first out, so what a failed call left behind would come out here. */
static int pass(mproc_queue *queue, size_t size_bytes)
{
    static uint8_t in[LARGE], out[LARGE];
    size_t got = 0;
    memset(in, (int)size_bytes, size_bytes);
    int rc = mproc_queue_put(queue, in, size_bytes, MPROC_NOW);
    if (rc == 0)
        rc = mproc_queue_get(queue, out, sizeof(out), MPROC_NOW, &got);
    if (rc == 0 && (got != size_bytes || memcmp(in, out, size_bytes) != 0))
        rc = -EIO;
    return rc;
}

/* When `use` failed between a put and its get, the item is still there: rightly. */
static int drain(mproc_queue *queue)
{
    uint8_t buffer[LARGE];
    int rc = 0;
    while (rc == 0)
        rc = mproc_queue_get(queue, buffer, sizeof(buffer), MPROC_NOW, NULL);
    return rc == -ETIMEDOUT ? 0 : rc;
}

static int use(void *object)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    size_t items = 1;
    int rc = drain(object);
    if (rc == 0)
        rc = pass(object, SMALL);
    if (rc == 0)
        rc = pass(object, LARGE);
    if (rc == 0)
        rc = mproc_queue_reserve(object, LARGE, MPROC_NOW, &loan);
    if (rc == 0)
        rc = mproc_queue_drop(object, &loan);
    if (rc == 0)
        rc = mproc_queue_counts(object, &items, NULL, NULL);
    return rc == 0 && items > 0 ? -EIO : rc;
}

static int block(void *object, mproc_deadline deadline)
{
    uint8_t buffer[SMALL];
    return mproc_queue_get(object, buffer, sizeof(buffer), deadline, NULL);
}

static void loans(mproc_queue *queue, mproc_deadline deadline)
{
    mproc_loan written = MPROC_LOAN_INIT, taken = MPROC_LOAN_INIT;
    mproc_variant item;
    if (mproc_queue_reserve(queue, LARGE, deadline, &written) == 0) {
        memset(written.data, 1, written.data_bytes);
        if (mproc_queue_commit(queue, &written) < 0)
            noun_any(mproc_queue_drop(queue, &written));
    }
    if (mproc_queue_take(queue, deadline, &taken) == 0) {
        noun_any(mproc_queue_loan_variant(&taken, &item));
        if (mproc_queue_give_back(queue, &taken) < 0)
            noun_any(mproc_queue_done(queue, &taken));
    }
    if (mproc_queue_take(queue, deadline, &taken) == 0)
        noun_any(mproc_queue_done(queue, &taken));
}

static void everything(void *object, mproc_deadline deadline)
{
    static uint8_t buffer[MANY * LARGE];
    size_t count;
    mproc_variant item;
    noun_any(mproc_queue_put(object, buffer, SMALL, deadline));
    noun_any(mproc_queue_put(object, buffer, LARGE, deadline));
    noun_any(mproc_queue_put_variant(object, mproc_int(7), deadline));
    noun_any(mproc_queue_put_priority(object, buffer, SMALL, -3, deadline));
    noun_any(mproc_queue_put_priority_variant(object, mproc_int(8), 3, deadline));
    noun_any(mproc_queue_put_many(object, buffer, SMALL, MANY, deadline, &count));
    noun_any(mproc_queue_get(object, buffer, sizeof(buffer), deadline, &count));
    if (mproc_queue_get_variant(object, deadline, &item) == 0)
        mproc_variant_clear(&item);
    noun_any(mproc_queue_get_many(object, buffer, SMALL, MANY, deadline, &count));
    loans(object, deadline);
    noun_any(mproc_queue_counts(object, &count, &count, &count));
    noun_any(mproc_queue_join(object, deadline));
    noun_any(mproc_queue_shutdown(object, false));
    noun_any(mproc_queue_get(object, buffer, sizeof(buffer), deadline, &count));
}

const noun_case queue_case = {
    .name = "queue",
    .type = MPROC_TYPE_QUEUE,
    .create = create,
    .open = open_named,
    .unpack = mproc__noun_unpack,
    .use = use,
    .block = block,
    .everything = everything,
};

const noun_case queue_priority_case = {
    .name = "priority queue",
    .type = MPROC_TYPE_QUEUE,
    .create = create_priority,
    .open = open_named,
    .unpack = mproc__noun_unpack,
    .use = use,
    .block = block,
    .everything = everything,
};
