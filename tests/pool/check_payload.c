/* SPDX-License-Identifier: BSD-2-Clause */
/* Arguments and results that cannot be carried: each costs its own task, on whichever side it is found, and nothing else. */
#include "platform/base.h"

#include <string.h>

#include "pool/after_common.h"
#include "pool/payload.h"
#include "pool/pool.h"

enum { LARGE = 5000 };

/* The first slot in that state, or, for FREE, in any other. */
static mproc__task_shared *slot_in(mproc_pool *pool, mproc__task_state wanted)
{
    mproc__task_shared *slots = pool->core->view.slots;
    for (uint32_t i = 0; i < pool->core->given_count; i++) {
        mproc__task_state state = mproc__task_load(&slots[i].word).state;
        if (wanted == MPROC__TASK_FREE ? state != wanted : state == wanted)
            return &slots[i];
    }
    ck_abort_msg("no slot is in state %d", (int)wanted);
}

static void damage(mproc_pool *pool, mproc__payload_shared *payload)
{
    uint8_t *bytes = mproc__payload_bytes(&pool->core->view, payload);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 0xff, payload->size_bytes < 64 ? payload->size_bytes : 64);
}

static bool is_done(void *word)
{
    return mproc__task_load(word).state == MPROC__TASK_DONE;
}

static mproc_variant some(size_t bytes)
{
    static char ballast[LARGE];
    return mproc_bytes(ballast, bytes);
}

static void serves_on(scene *s)
{
    for (int64_t i = 0; i < 5; i++)
        ck_assert_int_eq(result_int(submit(s->pool, task_square, MPROC_ARGS(i))), i * i);
    ck_assert_int_eq(stat_of(s->pool, "died"), 0);
}

/* It waits for another while its arguments are damaged; 0 is small, LARGE is in a block. */
static void bad_arguments(scene *s, size_t bytes)
{
    atomic_store(&s->board->open[0], 0);
    mproc_future *gate = turn_submit(s, turn_at_gate, 0, NULL, 0), *bad = NULL;
    ck_assert_int_eq(mproc_pool_submit(s->pool, task_echo, MPROC_ARGS(some(bytes)),
                                       MPROC_WITH(mproc_task_options, .after = &gate, .after_count = 1),
                                       &bad),
                     0);
    mproc_future *good = submit(s->pool, task_square, MPROC_ARGS(3));
    damage(s->pool, &slot_in(s->pool, MPROC__TASK_WAITING)->args);
    gate_open(s, 0);
    failure_check(&bad, MPROC_EPROTOCOL, "task", NULL);
    ck_assert_int_eq(result_int(good), 9);
    mproc_future_close(&gate);
    serves_on(s);
}

/* It has ended, and is looked at when its result is damaged. */
static void bad_result(scene *s, size_t bytes)
{
    mproc_future *bad = submit(s->pool, task_echo, MPROC_ARGS(some(bytes)));
    mproc__task_shared *slot = slot_in(s->pool, MPROC__TASK_FREE);
    ck_assert(support_until(is_done, &slot->word, 5000));
    damage(s->pool, &slot->result);
    failure_check(&bad, MPROC_EPROTOCOL, NULL, NULL);
    serves_on(s);
}

/* What cannot be encoded is refused by the call, or is the task's failure. */
static int task_pointer(mproc_call *call)
{
    return mproc_call_return(call, mproc_pointer(call));
}

static void cannot_be_encoded(scene *s)
{
    mproc_future *none = NULL, *good = submit(s->pool, task_square, MPROC_ARGS(4));
    mproc_future *bad = submit(s->pool, task_pointer, MPROC_NONE);
    ck_assert_int_eq(mproc_pool_submit(s->pool, task_echo, MPROC_ARGS(mproc_pointer(s)), NULL, &none),
                     MPROC_ECANNOTCROSS);
    ck_assert_ptr_null(none);
    failure_check(&bad, MPROC_ECANNOTCROSS, "pointer", NULL);
    ck_assert_int_eq(result_int(good), 16);
    serves_on(s);
}

/* shows: EXEC-25 WORK-4 */
START_TEST(what_cannot_be_encoded_or_decoded_fails_alone)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 1});
    cannot_be_encoded(&s);
    for (size_t bytes = 0; bytes <= LARGE; bytes += LARGE) {
        bad_arguments(&s, bytes);
        bad_result(&s, bytes);
    }
    scene_end(&s);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, what_cannot_be_encoded_or_decoded_fails_alone, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "payload", add);
}
