/* SPDX-License-Identifier: BSD-2-Clause */
/* What no program means to pass to a queue: each its own error, and nothing happens. Loop index: order and home. */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mproc/sync.h>
#include "channel/queue_common.h"
#include "support/support.h"

enum { LIMIT_MS = 5000, BUDGET = 10000, READERS = 100, HOMES = 2, ORDERS = 3 };

static const mproc__home homes[HOMES] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

/* Loop index: 2 homes x 3 orders. */
static mproc_queue *make(int index, size_t max_items, bool redeliver)
{
    mproc_queue *queue = queue_make(
        homes[index % HOMES], MPROC_WITH(mproc_queue_options, .max_items = max_items, .max_bytes = BUDGET,
                                         .order = (mproc_order)(index / HOMES), .redeliver = redeliver));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

static void counts(mproc_queue *queue, size_t items, size_t taken)
{
    size_t is_items = 99, is_taken = 99;
    ck_assert_int_eq(mproc_queue_counts(queue, &is_items, &is_taken, NULL), 0);
    ck_assert_uint_eq(is_items, items);
    ck_assert_uint_eq(is_taken, taken);
}

/* ---- every call, with good arguments ---- */

static char bytes[64];
static size_t size;
static mproc_variant value;
static mproc_loan loan = MPROC_LOAN_INIT;

#define CALL(name, ...)                                                                                      \
    static int name(mproc_queue *queue)                                                                      \
    {                                                                                                        \
        return __VA_ARGS__;                                                                                  \
    }

CALL(put, mproc_queue_put(queue, bytes, 1, MPROC_NOW))
CALL(get, mproc_queue_get(queue, bytes, 1, MPROC_NOW, &size))
CALL(put_variant, mproc_queue_put_variant(queue, mproc_int(1), MPROC_NOW))
CALL(get_variant, mproc_queue_get_variant(queue, MPROC_NOW, &value))
CALL(put_many, mproc_queue_put_many(queue, bytes, 1, 4, MPROC_NOW, &size))
CALL(get_many, mproc_queue_get_many(queue, bytes, 1, 4, MPROC_NOW, &size))
CALL(put_priority, mproc_queue_put_priority(queue, bytes, 1, 0, MPROC_NOW))
CALL(put_priority_variant, mproc_queue_put_priority_variant(queue, mproc_int(1), 0, MPROC_NOW))
CALL(reserve, mproc_queue_reserve(queue, 1, MPROC_NOW, &loan))
CALL(commit, mproc_queue_commit(queue, &loan))
CALL(drop, mproc_queue_drop(queue, &loan))
CALL(take, mproc_queue_take(queue, MPROC_NOW, &loan))
CALL(done, mproc_queue_done(queue, &loan))
CALL(give_back, mproc_queue_give_back(queue, &loan))
CALL(join, mproc_queue_join(queue, MPROC_NOW))
CALL(shut_down, mproc_queue_shutdown(queue, false))
CALL(role, mproc_queue_role(queue, MPROC_ROLE_BOTH))
CALL(count, mproc_queue_counts(queue, &size, &size, &size))

typedef struct row {
    const char *name;
    int (*call)(mproc_queue *queue);
} row;

#define ROW(call)                                                                                            \
    {                                                                                                        \
#call, call                                                                                          \
    }
static const row rows[] = {
    ROW(put),          ROW(get),      ROW(put_variant),
    ROW(get_variant),  ROW(put_many), ROW(get_many),
    ROW(put_priority), ROW(reserve),  ROW(commit),
    ROW(drop),         ROW(take),     ROW(done),
    ROW(give_back),    ROW(join),     ROW(shut_down),
    ROW(role),         ROW(count),    ROW(put_priority_variant),
};

static const uint64_t zeros[64]; /* as a closed one may look */

START_TEST(no_call_takes_nothing_or_another_object_for_a_queue)
{
    const row *r = &rows[_i];
    mproc_lock *lock = NULL;
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    void *none[] = {NULL, lock, (void *)(uintptr_t)zeros};
    for (unsigned i = 0; i < MPROC__COUNT(none); i++)
        ck_assert_msg(r->call(none[i]) == -EINVAL, "%s with the wrong object %u", r->name, i);
    ck_assert(!mproc_lock_is_held(lock));
    mproc_lock_close(&lock);
}
END_TEST

typedef struct child_call {
    const row *row;
    mproc_queue *queue;
} child_call;

static int call_in_child(void *context)
{
    const child_call *c = context;
    return c->row->call(c->queue) != -ECHILD;
}

START_TEST(what_threads_share_is_refused_in_a_fork_child)
{
    child_call c = {&rows[_i], make(1, 0, true)};
    ck_assert_int_eq(mproc_queue_put(c.queue, bytes, 1, MPROC_NOW), 0);
    ck_assert_msg(support_reap(support_fork(call_in_child, &c), LIMIT_MS) == 0, "%s", c.row->name);
    counts(c.queue, 1, 0);
    mproc_queue_close(&c.queue);
}
END_TEST

/* ---- nowhere to put the answer, nothing to take it from, absurd sizes ---- */

CALL(put_nothing, mproc_queue_put(queue, NULL, 1, MPROC_NOW))
CALL(put_priority_nothing, mproc_queue_put_priority(queue, NULL, 1, 0, MPROC_NOW))
CALL(get_nowhere, mproc_queue_get(queue, NULL, 1, MPROC_NOW, &size))
CALL(get_variant_nowhere, mproc_queue_get_variant(queue, MPROC_NOW, NULL))
CALL(put_many_nothing, mproc_queue_put_many(queue, NULL, 1, 1, MPROC_NOW, &size))
CALL(put_many_none, mproc_queue_put_many(queue, bytes, 1, 0, MPROC_NOW, &size))
CALL(put_many_uncounted, mproc_queue_put_many(queue, bytes, 1, 1, MPROC_NOW, NULL))
CALL(put_many_beyond, mproc_queue_put_many(queue, bytes, 64, SIZE_MAX / 8, MPROC_NOW, &size))
CALL(get_many_nowhere, mproc_queue_get_many(queue, NULL, 1, 1, MPROC_NOW, &size))
CALL(get_many_none, mproc_queue_get_many(queue, bytes, 1, 0, MPROC_NOW, &size))
CALL(get_many_uncounted, mproc_queue_get_many(queue, bytes, 1, 1, MPROC_NOW, NULL))
CALL(get_many_beyond, mproc_queue_get_many(queue, bytes, 64, SIZE_MAX / 8, MPROC_NOW, &size))
CALL(reserve_nowhere, mproc_queue_reserve(queue, 1, MPROC_NOW, NULL))
CALL(reserve_unmade, mproc_queue_reserve(queue, 1, MPROC_NOW, &(mproc_loan){.size = 0}))
CALL(take_nowhere, mproc_queue_take(queue, MPROC_NOW, NULL))
CALL(take_unmade, mproc_queue_take(queue, MPROC_NOW, &(mproc_loan){.size = 1}))
CALL(commit_nothing, mproc_queue_commit(queue, NULL))
CALL(drop_nothing, mproc_queue_drop(queue, NULL))
CALL(done_nothing, mproc_queue_done(queue, NULL))
CALL(give_back_nothing, mproc_queue_give_back(queue, NULL))
CALL(loan_variant_nothing, (void)queue, mproc_queue_loan_variant(NULL, &value))
CALL(loan_variant_empty, (void)queue, mproc_queue_loan_variant(&(mproc_loan)MPROC_LOAN_INIT, &value))
CALL(role_unknown, mproc_queue_role(queue, (mproc_role)77))
CALL(expect_nobody, mproc_queue_expect(queue, -1))

static const row wrong[] = {
    ROW(put_nothing),          ROW(put_priority_nothing), ROW(get_nowhere),        ROW(get_variant_nowhere),
    ROW(put_many_nothing),     ROW(put_many_none),        ROW(put_many_uncounted), ROW(put_many_beyond),
    ROW(get_many_nowhere),     ROW(get_many_none),        ROW(get_many_uncounted), ROW(get_many_beyond),
    ROW(reserve_nowhere),      ROW(reserve_unmade),       ROW(take_nowhere),       ROW(take_unmade),
    ROW(commit_nothing),       ROW(drop_nothing),         ROW(done_nothing),       ROW(give_back_nothing),
    ROW(loan_variant_nothing), ROW(loan_variant_empty),   ROW(role_unknown),       ROW(expect_nobody),
};

START_TEST(arguments_that_cannot_be_are_refused_and_change_nothing)
{
    mproc_queue *queue = make(_i, 0, false);
    ck_assert_int_eq(mproc_queue_put(queue, "x", 1, MPROC_NOW), 0);
    for (size_t i = 0; i < MPROC__COUNT(wrong); i++) {
        bool placeless = wrong[i].call == expect_nobody && _i % HOMES == 1; /* no processes there */
        int rc = wrong[i].call(queue);
        ck_assert_msg(rc == -EINVAL || (placeless && rc == MPROC_EPLACE), "%s: %d", wrong[i].name, rc);
    }
    counts(queue, 1, 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

/* shows: WORK-3 WORK-8 */
START_TEST(messages_above_the_budget_are_refused_before_the_first_byte)
{
    static const size_t sizes[] = {BUDGET + 1, (size_t)5 << 32, SIZE_MAX / 2, SIZE_MAX - 64, SIZE_MAX};
    mproc_queue *queue = make(_i, 0, _i % 2);
    mproc_loan in = MPROC_LOAN_INIT;
    for (size_t i = 0; i < MPROC__COUNT(sizes); i++) {
        ck_assert_int_eq(mproc_queue_put(queue, bytes, sizes[i], soon()), -EMSGSIZE);
        ck_assert_int_eq(mproc_queue_put_priority(queue, bytes, sizes[i], 0, soon()), -EMSGSIZE);
        mproc_variant item = mproc_bytes(bytes, sizes[i]); /* none of more than INT64_MAX */
        ck_assert_int_eq(mproc_queue_put_variant(queue, item, soon()),
                         item.kind == MPROC_KIND_BYTES ? -EMSGSIZE : MPROC_EARGUMENT);
        ck_assert_int_eq(mproc_queue_put_many(queue, bytes, sizes[i], 1, soon(), &size), -EMSGSIZE);
        ck_assert_int_eq(mproc_queue_reserve(queue, sizes[i], soon(), &in), -EMSGSIZE);
        ck_assert_uint_eq(in.id, 0);
    }
    char *text = malloc(BUDGET + 1);
    memset(text, 'a', BUDGET);
    text[BUDGET] = '\0';
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_text(text), soon()), -EMSGSIZE);
    free(text);
    counts(queue, 0, 0);
    ck_assert_int_eq(put(queue), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- options ---- */

START_TEST(options_out_of_range_make_no_queue)
{
    static const mproc_queue_options options[] = {
        {.size = 0},
        {.size = 8},
        {.size = SIZE_MAX},
        {.size = sizeof options[0], .max_items = SIZE_MAX},
        {.size = sizeof options[0], .max_items = (size_t)1 << 24},
        {.size = sizeof options[0], .max_items = (size_t)1 << 24, .redeliver = true},
        {.size = sizeof options[0], .max_bytes = SIZE_MAX},
        {.size = sizeof options[0], .max_bytes = ((size_t)32 << 30) + 1},
        {.size = sizeof options[0], .max_deliveries = 251},
        {.size = sizeof options[0], .max_deliveries = UINT32_MAX},
        {.size = sizeof options[0], .order = (mproc_order)3},
        {.size = sizeof options[0], .order = (mproc_order)-1},
        {.size = sizeof options[0], .exclusive = (mproc_role)4},
        {.size = sizeof options[0], .role = (mproc_role)9},
        {.size = sizeof options[0], .exclusive = MPROC_ROLE_READ, .order = MPROC_ORDER_LIFO},
    };
    mproc_queue *queue = NULL;
    for (size_t i = 0; i < MPROC__COUNT(options); i++) {
        int rc = mproc_queue_create(NULL, &options[i], &queue);
        ck_assert_msg(rc == -EINVAL, "options %zu: %d", i, rc);
        ck_assert_ptr_null(queue);
        ck_assert_int_eq(mproc_error_code(mproc_last_error()), -EINVAL);
    }
    ck_assert_int_eq(mproc_queue_create(NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_queue_open(NULL, NULL, &queue), -EINVAL);
    ck_assert_int_eq(mproc_queue_open(NULL, "absent", NULL), -EINVAL);
    ck_assert_int_eq(mproc_queue_open(NULL, "absent", &queue), -ENOENT);
    ck_assert_ptr_null(queue);
    mproc_queue_close(&queue);
    mproc_queue_close(NULL);
}
END_TEST

/* ---- loans that are none ---- */

static void refused(mproc_queue *queue, mproc_loan not_ours)
{
    mproc_loan before = not_ours;
    ck_assert_int_eq(mproc_queue_commit(queue, &not_ours), MPROC_ESTATE);
    ck_assert_int_eq(mproc_queue_drop(queue, &not_ours), MPROC_ESTATE);
    ck_assert_int_eq(mproc_queue_done(queue, &not_ours), MPROC_ESTATE);
    ck_assert_int_eq(mproc_queue_give_back(queue, &not_ours), MPROC_ESTATE);
    ck_assert_uint_eq(not_ours.id, before.id);
}

/* Two queues in the same state: the same block, position and delivery; small ones are private copies where FIFO. */
START_TEST(the_loans_of_one_queue_mean_nothing_to_another)
{
    for (int redeliver = 0; redeliver < 2; redeliver++) {
        mproc_queue *ours = make(_i, 0, redeliver), *theirs = make(_i, 0, redeliver);
        mproc_loan in = MPROC_LOAN_INIT, out = MPROC_LOAN_INIT, other = MPROC_LOAN_INIT;
        ck_assert_int_eq(mproc_queue_reserve(ours, 8, soon(), &in), 0);
        ck_assert_int_eq(mproc_queue_reserve(theirs, 8, soon(), &other), 0);
        refused(theirs, in);
        ck_assert_int_eq(mproc_queue_drop(ours, &in), 0);
        ck_assert_int_eq(mproc_queue_drop(theirs, &other), 0);
        for (size_t bytes_each = 8; bytes_each <= 2000; bytes_each += 1992) {
            uint8_t item[2000] = {0};
            ck_assert_int_eq(mproc_queue_put(ours, item, bytes_each, soon()), 0);
            ck_assert_int_eq(mproc_queue_put(theirs, item, bytes_each, soon()), 0);
            ck_assert_int_eq(mproc_queue_take(ours, soon(), &out), 0);
            ck_assert_int_eq(mproc_queue_take(theirs, soon(), &other), 0);
            refused(theirs, out);
            ck_assert_int_eq(mproc_queue_done(ours, &out), 0);
            ck_assert_int_eq(mproc_queue_done(theirs, &other), 0);
        }
        ck_assert_ptr_null(queue_verify(ours, 0));
        ck_assert_ptr_null(queue_verify(theirs, 0));
        mproc_queue_close(&ours);
        mproc_queue_close(&theirs);
    }
}
END_TEST

START_TEST(a_loan_is_taken_or_reserved_and_not_both)
{
    mproc_queue *queue = make(_i, 0, true);
    mproc_loan in = MPROC_LOAN_INIT, out = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_reserve(queue, 8, soon(), &in), 0);
    ck_assert_int_eq(mproc_queue_done(queue, &in), MPROC_ESTATE);
    ck_assert_int_eq(mproc_queue_give_back(queue, &in), MPROC_ESTATE);
    ck_assert_int_eq(mproc_queue_loan_variant(&in, &value), -EINVAL);
    in.data_bytes = 9;
    ck_assert_int_eq(mproc_queue_commit(queue, &in), -EINVAL);
    in.data_bytes = SIZE_MAX;
    ck_assert_int_eq(mproc_queue_commit(queue, &in), -EINVAL);
    in.data_bytes = 0;
    ck_assert_int_eq(mproc_queue_commit(queue, &in), 0);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &out), 0);
    ck_assert_uint_eq(out.data_bytes, 0);
    ck_assert_int_eq(mproc_queue_commit(queue, &out), MPROC_ESTATE);
    ck_assert_int_eq(mproc_queue_drop(queue, &out), MPROC_ESTATE);
    counts(queue, 0, 1);
    for (int bit = 0; bit < 64; bit++) {
        mproc_loan forged = out;
        forged.id ^= UINT64_C(1) << bit;
        refused(queue, forged);
    }
    ck_assert_int_eq(mproc_queue_done(queue, &out), 0);
    refused(queue, out);
    counts(queue, 0, 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

/* ---- items that cannot be carried ---- */

/* The only slot is free again each time.
 * shows: QUEUE-15 QUEUE-19 */
START_TEST(an_item_that_cannot_be_encoded_is_refused_and_takes_no_slot)
{
    mproc_queue *queue = make(_i, 1, false);
    mproc_lock *lock = NULL;
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    mproc_variant invalid = mproc_int(1), good = mproc_int(7), got = mproc_null();
    invalid.kind = (mproc_kind)99;
    const struct {
        mproc_variant item;
        int code;
    } bad[] = {{invalid, MPROC_EARGUMENT},
               {mproc_pointer(bytes), MPROC_ECANNOTCROSS},
               {mproc_handle(lock), MPROC_ECANNOTCROSS},
               {mproc_handle(queue), MPROC_ECANNOTCROSS},
               {mproc_items(&invalid, 1), MPROC_EARGUMENT}};
    for (size_t i = 0; i < MPROC__COUNT(bad); i++) {
        int rc = mproc_queue_put_variant(queue, bad[i].item, MPROC_NOW);
        ck_assert_msg(rc == bad[i].code, "item %zu: %d", i, rc);
        rc = mproc_queue_put_priority_variant(queue, bad[i].item, 0, MPROC_NOW);
        ck_assert_msg(rc == bad[i].code, "item %zu with a priority: %d", i, rc);
        counts(queue, 0, 0);
        ck_assert_int_eq(mproc_queue_put_variant(queue, good, MPROC_NOW), 0);
        ck_assert_int_eq(mproc_queue_get_variant(queue, MPROC_NOW, &got), 0);
        ck_assert_int_eq(got.number, 7);
        mproc_variant_clear(&got);
    }
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_lock_close(&lock);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- bounds ---- */

static off_t segment_bytes(mproc_queue *queue)
{
    struct stat status = {0};
    ck_assert_int_eq(fstat(mproc__segment_fd(queue->segment), &status), 0);
    return status.st_blocks;
}

static int reader(void *context)
{
    char byte;
    int rc = mproc_queue_get(context, &byte, 1, soon(), NULL);
    return rc == MPROC_EEND ? 0 : rc == 0 ? 1 : 2;
}

/* Three of the items go to readers, whoever they are; nobody hangs, and the memory is what it was.
 * shows: WORK-3 */
START_TEST(a_hundred_readers_and_a_shutdown)
{
    mproc_queue *queue = make(_i * HOMES, 0, false);
    static pid_t readers[READERS];
    int got = 0;
    ck_assert_int_eq(put(queue), 0);
    ck_assert_int_eq(get(queue), 0);
    off_t before = segment_bytes(queue);
    for (int i = 0; i < READERS; i++)
        readers[i] = support_fork(reader, queue);
    for (int i = 0; i < READERS; i++)
        ck_assert(support_until_asleep(readers[i], LIMIT_MS));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mproc_queue_put(queue, "x", 1, soon()), 0);
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
    for (int i = 0; i < READERS; i++) {
        int status = support_reap(readers[i], LIMIT_MS);
        ck_assert_msg(status == 0 || status == 1, "reader %d: %d", i, status);
        got += status;
    }
    ck_assert_int_eq(got, 3);
    ck_assert_int_eq(put(queue), MPROC_ECLOSED);
    ck_assert_int_eq(get(queue), MPROC_EEND);
    ck_assert_int_eq(join(queue), 0);
    ck_assert_int_eq((int)segment_bytes(queue), (int)before);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

/* ---- damage ---- */

typedef struct committer {
    mproc_queue *queue;
    mproc_loan loan;
    int rc;
} committer;

static void *commit_it(void *context)
{
    committer *c = context;
    c->rc = mproc_queue_commit(c->queue, &c->loan);
    return NULL;
}

/* Positions that could be true of a ring full of items that it does not have: nobody will ever make room.
 * shows: MEM-2 */
START_TEST(commit_ends_in_a_queue_that_damage_has_made_look_full)
{
    committer c = {.queue = make(_i, 3, true), .loan = MPROC_LOAN_INIT};
    mproc__queue_shared *shared = c.queue->shared;
    ck_assert_int_eq(mproc_queue_put(c.queue, "x", 1, soon()), 0);
    ck_assert_int_eq(mproc_queue_reserve(c.queue, 8, soon(), &c.loan), 0);
    uint64_t tail = shared->tail;
    shared->tail = mproc__position_advance(shared->head, 96, 3);
    shared->put.side.seen = shared->head;
    int64_t begin = mproc__now_ns();
    commit_it(&c);
    ck_assert_int_lt((int)((mproc__now_ns() - begin) / 1000000), support_ms(1000));
    if (c.queue->order == MPROC_ORDER_FIFO) {
        ck_assert_int_eq(c.rc, MPROC_ECORRUPT);
        shared->tail = tail;
        ck_assert_int_eq(mproc_queue_commit(c.queue, &c.loan), 0); /* it was still ours */
    } else {
        ck_assert_int_eq(c.rc, 0); /* the blocks are the truth */
    }
    counts(c.queue, 2, 0);
    ck_assert_ptr_null(queue_verify(c.queue, 0));
    mproc_queue_close(&c.queue);
}
END_TEST

/* A lock that says to be held by a process that never used the queue: by deadlines as ever, and calls without one end, too.
 * shows: MEM-2 */
START_TEST(a_lock_that_names_a_stranger_keeps_no_call_for_ever)
{
    committer c = {.queue = make(_i, 0, true), .loan = MPROC_LOAN_INIT};
    bool ordered = c.queue->order != MPROC_ORDER_FIFO;
    ck_assert_int_eq(mproc_queue_reserve(c.queue, 8, soon(), &c.loan), 0);
    _Atomic uint32_t *word =
        mproc__robust_word(ordered ? &c.queue->shared->get.side.lock : &c.queue->shared->put.side.lock);
    atomic_store(word, (uint32_t)getppid());
    ck_assert_int_eq(mproc_queue_put(c.queue, "x", 1, mproc_after_ms(10)), -ETIMEDOUT);
    int64_t begin = mproc__now_ns();
    ck_assert_int_eq(mproc_queue_commit(c.queue, &c.loan), MPROC_ECORRUPT);
    ck_assert_int_eq(mproc_queue_shutdown(c.queue, false), MPROC_ECORRUPT);
    ck_assert_int_lt((int)((mproc__now_ns() - begin) / 1000000), 2 * support_ms(1000));
    atomic_store(word, 0);
    ck_assert_int_eq(mproc_queue_commit(c.queue, &c.loan), 0);
    counts(c.queue, 1, 0);
    mproc_queue_close(&c.queue);
}
END_TEST

/* Truly full, for longer than it takes to ask whether that can be. */
START_TEST(commit_waits_as_long_as_the_queue_is_full)
{
    committer c = {.queue = make(_i, 2, false), .loan = MPROC_LOAN_INIT};
    pthread_t thread;
    ck_assert_int_eq(mproc_queue_reserve(c.queue, 2000, soon(), &c.loan), 0);
    ck_assert_int_eq(mproc_queue_put(c.queue, "x", 1, soon()), 0);
    ck_assert_int_eq(mproc_queue_put(c.queue, bytes, sizeof bytes, soon()), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, commit_it, &c), 0);
    ck_assert_int_eq(mproc_queue_join(c.queue, mproc_after_ms(1300)), -ETIMEDOUT);
    counts(c.queue, 2, 0);
    ck_assert_int_eq(mproc_queue_get(c.queue, bytes, sizeof bytes, soon(), NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(c.rc, 0);
    counts(c.queue, 2, 0);
    mproc_queue_close(&c.queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue_bad_input");
    TCase *calls = support_case(suite, "calls");
    tcase_add_loop_test(calls, no_call_takes_nothing_or_another_object_for_a_queue, 0, MPROC__COUNT(rows));
    tcase_add_loop_test(calls, what_threads_share_is_refused_in_a_fork_child, 0, MPROC__COUNT(rows));
    tcase_add_test(calls, options_out_of_range_make_no_queue);
    TCase *queues = support_case(suite, "queues");
    tcase_add_loop_test(queues, arguments_that_cannot_be_are_refused_and_change_nothing, 0, HOMES * ORDERS);
    tcase_add_loop_test(queues, messages_above_the_budget_are_refused_before_the_first_byte, 0,
                        HOMES * ORDERS);
    tcase_add_loop_test(queues, the_loans_of_one_queue_mean_nothing_to_another, 0, HOMES * ORDERS);
    tcase_add_loop_test(queues, a_loan_is_taken_or_reserved_and_not_both, 0, HOMES * ORDERS);
    tcase_add_loop_test(queues, an_item_that_cannot_be_encoded_is_refused_and_takes_no_slot, 0,
                        HOMES * ORDERS);
    tcase_add_loop_test(queues, commit_ends_in_a_queue_that_damage_has_made_look_full, 0, HOMES * ORDERS);
    tcase_add_loop_test(queues, a_lock_that_names_a_stranger_keeps_no_call_for_ever, 0, HOMES * ORDERS);
    tcase_add_loop_test(queues, commit_waits_as_long_as_the_queue_is_full, 0, HOMES * ORDERS);
    TCase *crowd = support_case(suite, "crowd");
    tcase_add_loop_test(crowd, a_hundred_readers_and_a_shutdown, 0, ORDERS);
    return support_run(suite, argc, argv);
}
