/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "pool/after_common.h"

/* ---- tasks ---- */

/* (array, whether it is this process's own, and is kept) */
static int board_take(mproc_call *call)
{
    static mproc_array *kept;
    mproc_array *array = mproc_call_array(call, 0);
    if (mproc_call_bool(call, 1))
        kept = mproc_keep(array);
    if (array)
        mproc_call_set_self(call, mproc_array_data(kept ? kept : array));
    return mproc_call_check(call);
}

static board *begin(mproc_call *call, int64_t *ret_number)
{
    board *b = mproc_call_self(call);
    *ret_number = mproc_call_int(call, 0);
    atomic_store(&b->begun[*ret_number], atomic_fetch_add(&b->clock, 1) + 1);
    return b;
}

static int end(mproc_call *call, board *b, int64_t number)
{
    atomic_store(&b->ended[number], atomic_fetch_add(&b->clock, 1) + 1);
    return mproc_call_return(call, mproc_int(number));
}

int turn(mproc_call *call)
{
    int64_t number;
    board *b = begin(call, &number);
    return end(call, b, number);
}

int turn_at_gate(mproc_call *call)
{
    int64_t number;
    board *b = begin(call, &number);
    while (!atomic_load(&b->open[number]) && !mproc_call_stopping(call))
        usleep(300);
    return end(call, b, number);
}

int turn_fail(mproc_call *call)
{
    int64_t number;
    board *b = begin(call, &number);
    (void)end(call, b, number);
    return mproc_call_fail(call, -ERANGE, "too big");
}

int turn_die(mproc_call *call)
{
    int64_t number;
    (void)begin(call, &number);
    raise(SIGKILL);
    return 0;
}

int turn_die_once(mproc_call *call)
{
    return mproc_call_attempt(call) == 1 ? turn_die(call) : turn(call);
}

/* ---- the pool ---- */

void scene_make(scene *s, mproc_pool_options options)
{
    *s = (scene){.pool = NULL};
    int rc = mproc_array_create(NULL, MPROC_ITEM_INT64, sizeof(board) / sizeof(int64_t), NULL, &s->array);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    s->board = mproc_array_data(s->array);
    options.size = sizeof options;
    options.initializer = board_take;
    options.initializer_args = MPROC_ARGS(s->array, options.start != MPROC_START_THREAD);
    options.restarts_per_minute = 10000;
    rc = mproc_pool_create(&options, &s->pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
}

void scene_end(scene *s)
{
    if (s->pool)
        pool_end(&s->pool);
    mproc_array_close(&s->array);
}

mproc_future *turn_submit_with(scene *s, mproc_fn *fn, int number, const mproc_task_options *options)
{
    mproc_future *future = NULL;
    int rc = mproc_pool_submit(s->pool, fn, MPROC_ARGS(number), options, &future);
    ck_assert_msg(rc == 0, "%s: %s", mproc_errname(rc), mproc_error_text(mproc_last_error()));
    return future;
}

mproc_future *turn_submit(scene *s, mproc_fn *fn, int number, mproc_future *const *after, size_t count)
{
    return turn_submit_with(s, fn, number,
                            MPROC_WITH(mproc_task_options, .after = after, .after_count = count));
}

void gate_open(scene *s, int number)
{
    atomic_store(&s->board->open[number], 1);
}

void order_check(const scene *s, int first, int second)
{
    int64_t ended = atomic_load(&s->board->ended[first]), begun = atomic_load(&s->board->begun[second]);
    ck_assert_msg(ended > 0 && begun > ended, "%d ended at %d, %d began at %d", first, (int)ended, second,
                  (int)begun);
}

void failure_check(mproc_future **future, int code, const char *says, const char *says_too)
{
    ck_assert_int_eq(result_code(*future), code);
    const char *story = mproc_error_text(mproc_error_of(*future));
    ck_assert_msg((!says || strstr(story, says)) && (!says_too || strstr(story, says_too)),
                  "'%s' and '%s' are not in: %s", says ? says : "", says_too ? says_too : "", story);
    mproc_future_close(future);
}
