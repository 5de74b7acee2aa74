/* SPDX-License-Identifier: BSD-2-Clause */
/* Tasks begin when those that they come after have ended, not before, whoever dies. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/after_common.h"

enum { WIDE = 400 };

static void closed_all(mproc_future **futures, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mproc_future_close(&futures[i]);
}

/* One at a gate, two after it, one after those two, with workers that have nothing else to do. */
START_TEST(a_task_begins_when_all_those_before_it_have_ended)
{
    scene s;
    mproc_future *futures[4];
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2});
    futures[0] = turn_submit(&s, turn_at_gate, 0, NULL, 0);
    futures[1] = turn_submit(&s, turn, 1, futures, 1);
    futures[2] = turn_submit(&s, turn, 2, futures, 1);
    futures[3] = turn_submit(&s, turn, 3, futures + 1, 2);
    ck_assert(support_until(is_running, futures[0], 5000));
    ck_assert_int_eq(result_int(submit(s.pool, task_square, MPROC_ARGS(5))), 25); /* others go by */
    for (int i = 1; i < 4; i++)
        ck_assert_int_eq(mproc_future_get_state(futures[i]), MPROC_FUTURE_PENDING);
    ck_assert_int_eq(stat_of(s.pool, "queued"), 3);
    gate_open(&s, 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(result_int(futures[i]), i);
    order_check(&s, 0, 1);
    order_check(&s, 0, 2);
    order_check(&s, 1, 3);
    order_check(&s, 2, 3);
    scene_end(&s);
}
END_TEST

START_TEST(many_come_after_one_and_one_after_many)
{
    scene s;
    mproc_future *futures[WIDE + 2];
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 3});
    futures[0] = turn_submit(&s, turn_at_gate, 0, NULL, 0);
    for (int i = 1; i <= WIDE; i++)
        futures[i] = turn_submit(&s, turn, i, futures, 1);
    futures[WIDE + 1] = turn_submit(&s, turn, WIDE + 1, futures, WIDE + 1);
    gate_open(&s, 0);
    ck_assert_int_eq(result_int(futures[WIDE + 1]), WIDE + 1);
    for (int i = 1; i <= WIDE; i++) {
        order_check(&s, 0, i);
        order_check(&s, i, WIDE + 1);
    }
    closed_all(futures, WIDE + 1);
    scene_end(&s);
}
END_TEST

/* Nobody looks at the first ones until the last has ended: their workers alone hand on. */
START_TEST(a_chain_needs_nobody_who_waits_for_its_links)
{
    scene s;
    mproc_future *futures[WIDE];
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2, .max_queued_tasks = WIDE});
    for (int i = 0; i < WIDE; i++)
        futures[i] = turn_submit(&s, i ? turn : turn_at_gate, i, i ? &futures[i - 1] : NULL, i > 0);
    gate_open(&s, 0);
    ck_assert_int_eq(result_int(futures[WIDE - 1]), WIDE - 1);
    for (int i = 1; i < WIDE; i++)
        order_check(&s, i - 1, i);
    closed_all(futures, WIDE - 1);
    scene_end(&s);
}
END_TEST

/* Each of TURNS tasks after up to four earlier ones, which may have ended, or be another's slot by now. */
typedef struct web {
    mproc_future *futures[TURNS];
    int before[TURNS][4], count[TURNS];
} web;

static void web_submit(scene *s, web *w, unsigned retries, bool dies)
{
    unsigned seed = 7;
    for (int i = 0; i < TURNS; i++) {
        mproc_future *after[4];
        w->count[i] = i ? (int)(rand_r(&seed) % 5) : 0;
        for (int k = 0; k < w->count[i]; k++) {
            int back = 1 + (int)((unsigned)rand_r(&seed) % (k == 0 ? 3 : 60));
            w->before[i][k] = back > i ? 0 : i - back;
            after[k] = w->futures[w->before[i][k]];
        }
        w->futures[i] = turn_submit_with(s, dies && i % 16 == 5 ? turn_die_once : turn, i,
                                         MPROC_WITH(mproc_task_options, .after = after, .retries = retries,
                                                    .after_count = (size_t)w->count[i]));
    }
}

static void web_check(scene *s, web *w)
{
    for (int i = 0; i < TURNS; i++)
        ck_assert_int_eq(result_int(w->futures[i]), i);
    for (int i = 0; i < TURNS; i++)
        for (int k = 0; k < w->count[i]; k++)
            order_check(s, w->before[i][k], i);
}

START_TEST(a_web_of_tasks_keeps_its_order)
{
    scene s;
    web w;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 3});
    web_submit(&s, &w, 0, false);
    web_check(&s, &w);
    scene_end(&s);
}
END_TEST

/* A death is no end where the task is tried again.
 * shows: DEATH-6 WORK-2 */
START_TEST(a_web_of_tasks_keeps_its_order_when_some_die)
{
    scene s;
    web w;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 3});
    web_submit(&s, &w, 3, true);
    web_check(&s, &w);
    scene_end(&s);
}
END_TEST

typedef struct killer {
    scene *s;
    _Atomic bool ends;
    unsigned kills;
    pthread_t thread;
} killer;

static void *killer_run(void *context)
{
    killer *k = context;
    while (!atomic_load(&k->ends)) {
        mproc_variant stats;
        int64_t pid = 0;
        ck_assert_int_eq(mproc_pool_stats(k->s->pool, &stats), 0);
        mproc_variant each = mproc_variant_find(stats, "each");
        if (mproc_variant_count(each))
            (void)mproc_variant_get_int(mproc_variant_find(mproc_variant_at(each, k->kills % 3), "pid"),
                                        &pid);
        mproc_variant_clear(&stats);
        if (pid > 0 && kill((pid_t)pid, SIGKILL) == 0)
            k->kills++;
        usleep(3000);
    }
    return NULL;
}

/* At any instruction of whatever they are at.
 * shows: DEATH-1 DEATH-6 DEATH-8 */
START_TEST(a_web_of_tasks_survives_workers_killed_at_any_time)
{
    scene s;
    web w;
    killer k = {.s = &s};
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 3});
    ck_assert_int_eq(pthread_create(&k.thread, NULL, killer_run, &k), 0);
    web_submit(&s, &w, 1000, false);
    web_check(&s, &w);
    atomic_store(&k.ends, true);
    pthread_join(k.thread, NULL);
    ck_assert_uint_gt(k.kills, 0);
    scene_end(&s);
}
END_TEST

/* Of two that are ready at the same time the higher priority begins first; one that waits stands in nobody's way. */
START_TEST(priority_counts_from_when_it_is_ready)
{
    scene s;
    mproc_future *futures[4];
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 1});
    futures[0] = turn_submit(&s, turn_at_gate, 0, NULL, 0);
    futures[1] = turn_submit(&s, turn_at_gate, 1, NULL, 0);
    futures[2] = turn_submit_with(
        &s, turn, 2, MPROC_WITH(mproc_task_options, .priority = 7, .after = futures + 1, .after_count = 1));
    futures[3] = turn_submit(&s, turn, 3, NULL, 0);
    gate_open(&s, 0);
    gate_open(&s, 1);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(result_int(futures[i]), i);
    order_check(&s, 1, 2);
    order_check(&s, 2, 3);
    scene_end(&s);
}
END_TEST

/* A task waits in a place of the queue. */
START_TEST(those_that_wait_count_as_queued)
{
    scene s;
    mproc_future *futures[4], *more = NULL;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2, .max_queued_tasks = 4});
    futures[0] = turn_submit(&s, turn_at_gate, 0, NULL, 0);
    for (int i = 1; i < 4; i++)
        futures[i] = turn_submit(&s, turn, i, futures, 1);
    ck_assert_int_eq(mproc_pool_submit(s.pool, turn, MPROC_ARGS(4),
                                       MPROC_WITH(mproc_task_options, .submit_deadline = mproc_after_ms(5)),
                                       &more),
                     -ETIMEDOUT);
    gate_open(&s, 0);
    more = turn_submit(&s, turn, 4, futures, 4);
    ck_assert_int_eq(result_int(more), 4);
    closed_all(futures, 4);
    scene_end(&s);
}
END_TEST

/* So do what it comes after: 64 in so small a pool. */
START_TEST(what_tasks_come_after_has_a_bound)
{
    scene s;
    mproc_future *futures[65], *last = NULL;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2, .max_queued_tasks = 4});
    futures[0] = turn_submit(&s, turn_at_gate, 0, NULL, 0);
    for (int i = 1; i < 65; i++)
        futures[i] = futures[0];
    mproc_task_options options = {
        .size = sizeof options, .after = futures, .after_count = 65, .submit_deadline = mproc_after_ms(5)};
    ck_assert_int_eq(mproc_pool_submit(s.pool, turn, MPROC_ARGS(1), &options, &last), MPROC_ELIMIT);
    mproc_future *full = turn_submit(&s, turn, 1, futures, 64);
    options.after_count = 1;
    ck_assert_int_eq(mproc_pool_submit(s.pool, turn, MPROC_ARGS(2), &options, &last), -ETIMEDOUT);
    gate_open(&s, 0);
    options.submit_deadline = MPROC_FOREVER;
    last = turn_submit_with(&s, turn, 2, &options);
    ck_assert_int_eq(result_int(last), 2);
    ck_assert_int_eq(result_int(full), 1);
    options.after_count = 65; /* of those that have ended there may be any number */
    ck_assert_int_eq(result_int(turn_submit_with(&s, turn, 3, &options)), 3);
    mproc_future_close(&futures[0]);
    scene_end(&s);
}
END_TEST

static void refused(scene *s, int code, mproc_future *const *after, size_t count)
{
    mproc_future *future = NULL;
    int rc = mproc_pool_submit(s->pool, turn, MPROC_ARGS(1),
                               MPROC_WITH(mproc_task_options, .after = after, .after_count = count), &future);
    ck_assert_msg(rc == code, "%s, not %s", mproc_errname(rc), mproc_errname(code));
    ck_assert_ptr_null(future);
}

static int item_nothing(mproc_call *call, const void *in, void *out)
{
    (void)call, (void)in, (void)out;
    return 0;
}

/* shows: WORK-4 */
START_TEST(what_is_no_task_of_the_pool_is_refused_by_its_place)
{
    scene s;
    int64_t position = -1, in[2] = {0};
    mproc_future *good, *map, *made, *other;
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 1);
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 1});
    good = turn_submit(&s, turn, 0, NULL, 0);
    other = submit(pool, task_square, MPROC_ARGS(2));
    ck_assert_int_eq(mproc_future_create(&made), 0);
    ck_assert_int_eq(mproc_pool_map_start(s.pool, item_nothing, in, 8, NULL, 0, 2, NULL, &map), 0);
    mproc_future *const wrong[] = {other, map, made};
    for (int i = 0; i < 3; i++) {
        refused(&s, MPROC_EPLACE, (mproc_future *const[]){good, wrong[i]}, 2);
        ck_assert_int_eq(mproc_error_number(mproc_last_error(), MPROC_ERROR_ARGUMENT, &position), 0);
        ck_assert_int_eq(position, 1);
    }
    refused(&s, -EINVAL, NULL, 1);
    refused(&s, -EINVAL, (mproc_future *const[]){good, NULL}, 2);
    refused(&s, -EINVAL, (mproc_future *const[]){(mproc_future *)s.pool}, 1);
    ck_assert_int_eq(result_int(turn_submit(&s, turn, 2, (mproc_future *const[]){NULL}, 0)), 2);
    ck_assert_int_eq(stat_of(s.pool, "accepted"), 2);
    closed_all((mproc_future *[]){good, map, made, other}, 4);
    pool_end(&pool);
    scene_end(&s);
}
END_TEST

/* The way for others: what the callback submits comes after. */
typedef struct relay {
    scene *s;
    mproc_future *next;
} relay;

static int relay_run(mproc_future *future, void *context)
{
    relay *r = context;
    (void)future;
    r->next = turn_submit(r->s, turn, 1, NULL, 0);
    return 0;
}

START_TEST(after_work_of_another_pool_a_callback_submits)
{
    scene s;
    relay r = {.s = &s};
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 1);
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 1});
    mproc_future *other = submit(pool, task_square, MPROC_ARGS(3));
    ck_assert_int_eq(mproc_future_on_done(other, relay_run, &r), 0);
    ck_assert_int_eq(mproc_future_wait(other, mproc_after_ms(support_ms(5000))), 0);
    ck_assert_int_eq(result_int(r.next), 1);
    mproc_future_close(&other);
    pool_end(&pool);
    scene_end(&s);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_task_begins_when_all_those_before_it_have_ended, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, many_come_after_one_and_one_after_many, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_chain_needs_nobody_who_waits_for_its_links, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_web_of_tasks_keeps_its_order, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_web_of_tasks_keeps_its_order_when_some_die, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_web_of_tasks_survives_workers_killed_at_any_time, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, priority_counts_from_when_it_is_ready, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, those_that_wait_count_as_queued, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, what_tasks_come_after_has_a_bound, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, what_is_no_task_of_the_pool_is_refused_by_its_place, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, after_work_of_another_pool_a_callback_submits, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "after", add);
}
