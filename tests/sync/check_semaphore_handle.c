/* SPDX-License-Identifier: BSD-2-Clause */
/* Semaphores of all kinds as handles: scopes, descriptions, names, closing, crossing. Loop tests: 0 host, 1 thread, 2 shm. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mproc/sync.h>
#include "data/parcel.h"
#include "platform/platform.h"
#include "semaphore_common.h"
#include "shm/report.h"
#include "sync/nouns.h"

/* ---- scopes, descriptions ---- */

static int leave_by_return(void)
{
    MPROC_WITH_SEMAPHORE(semaphore, MPROC_FOREVER)
    return (int)free_permits();
    return -1;
}

/* shows: SYNC-09 */
START_TEST(a_scope_releases_on_every_way_out)
{
    int runs = 0;
    semaphore_make(_i % 2, 1, MPROC_WITH(mproc_semaphore_options, .bounded = _i >= 2));
    MPROC_WITH_SEMAPHORE(semaphore, MPROC_FOREVER)
    runs++;
    ck_assert_uint_eq(free_permits(), 1);
    for (int i = 0; i < 2; i++)
        MPROC_WITH_SEMAPHORE(semaphore, MPROC_FOREVER)
        {
            runs++;
            break;
        }
    ck_assert_uint_eq(free_permits(), 1);
    ck_assert_int_eq(leave_by_return(), 0);
    ck_assert_uint_eq(free_permits(), 1);
    ck_assert_int_eq(runs, 3);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), 0);
    MPROC_WITH_SEMAPHORE(semaphore, MPROC_NOW)
    runs++;
    ck_assert_int_eq(runs, 3); /* not got: not run, and not released */
    ck_assert_uint_eq(free_permits(), 0);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
    semaphore_drop();
}
END_TEST

START_TEST(description_and_explanation_say_how_many_are_free)
{
    char text[200];
    struct mproc__report *report = malloc(sizeof(*report));
    semaphore_make(_i, 3, MPROC_WITH(mproc_semaphore_options, .name = "slots"));
    mproc_describe(semaphore, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "semaphore slots on "));
    ck_assert_ptr_nonnull(strstr(text, ", 3 free"));
    mproc__report_clear(report);
    mproc__semaphore_noun.explain(mproc__semaphore_local(semaphore)->shared, sizeof(mproc__semaphore_shared),
                                  report);
    ck_assert_str_eq(report->state, "3 permits free");
    ck_assert_uint_eq(report->holder_count, 0);
    unsigned char garbage[sizeof(mproc__semaphore_shared)];
    memset(garbage, 0xee, sizeof(garbage));
    mproc__report_clear(report);
    mproc__semaphore_noun.explain(garbage, sizeof(garbage), report);
    ck_assert_str_eq(report->state, "damaged");
    free(report);
    semaphore_drop();
}
END_TEST

/* ---- handles ---- */

static int all_answer_echild(void *unused)
{
    (void)unused;
    unsigned value;
    if (mproc_semaphore_acquire(semaphore, MPROC_NOW) != -ECHILD ||
        mproc_semaphore_release(semaphore, 1) != -ECHILD ||
        mproc_semaphore_value(semaphore, &value) != -ECHILD)
        return 1;
    mproc_semaphore_close(&semaphore);
    return 0;
}

START_TEST(a_thread_semaphore_answers_echild_in_a_fork_child)
{
    semaphore_make(1, 1, MPROC_WITH(mproc_semaphore_options, .bounded = _i == 1));
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), 0);
    ck_assert_int_eq(in_child(all_answer_echild, NULL), 0);
    ck_assert_uint_eq(free_permits(), 0);
    semaphore_drop();
}
END_TEST

START_TEST(a_thread_semaphore_cannot_cross)
{
    semaphore_make(1, 1, NULL);
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(semaphore)), MPROC_ECANNOTCROSS);
    mproc__parcel_clear(&parcel, false);
    semaphore_drop();
}
END_TEST

static int takes_part_and_closes(void *unused)
{
    (void)unused;
    if (mproc_semaphore_acquire(semaphore, mproc_after_ms(5)) != -ETIMEDOUT)
        return 1;
    mproc_semaphore_close(&semaphore);
    return 0;
}

START_TEST(closing_while_others_wait_leaves_them_waiting)
{
    sleeper waiter;
    semaphore_make(0, 0, NULL);
    sleeper_start(true, take_soon, &waiter);
    ck_assert_int_eq(in_child(takes_part_and_closes, NULL), 0);
    ck_assert(support_until_asleep(waiter.pid, LONG_MS));
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
    ck_assert_int_eq(sleeper_end(&waiter), 0);
    semaphore_drop();
}
END_TEST

START_TEST(a_named_semaphore_is_found_while_it_exists)
{
    mproc_semaphore *again = NULL;
    semaphore_make(_i, 1, MPROC_WITH(mproc_semaphore_options, .name = "slots"));
    ck_assert_int_eq(mproc_semaphore_open(place, "slots", &again), 0);
    ck_assert_int_eq(mproc_semaphore_release(again, 4), 0);
    ck_assert_uint_eq(free_permits(), 5);
    mproc_semaphore_close(&again);
    ck_assert_int_eq(
        mproc_semaphore_create(place, 1, MPROC_WITH(mproc_semaphore_options, .name = "slots"), &again),
        -EEXIST);
    ck_assert_int_eq(
        mproc_semaphore_create(
            place, 1, MPROC_WITH(mproc_semaphore_options, .name = "slots", .and_open = true), &again),
        0);
    ck_assert_uint_eq(free_permits(), 5);
    mproc_semaphore_close(&again);
    ck_assert_int_eq(mproc_semaphore_open(place, "other", &again), -ENOENT);
    ck_assert_ptr_null(again);
    semaphore_drop();
}
END_TEST

START_TEST(no_memory_for_a_semaphore_is_an_error_that_leaves_nothing)
{
    mproc_semaphore *other = NULL;
    semaphore_make(_i, 1, NULL);
    for (unsigned n = 1;; n++) {
        support_fail_allocation(n);
        int code = mproc_semaphore_create(place, 1, MPROC_WITH(mproc_semaphore_options, .name = "n"), &other);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        if (!failed) {
            ck_assert_int_eq(code, 0);
            ck_assert_uint_gt(n, 1);
            break;
        }
        ck_assert_int_eq(code, -ENOMEM);
        ck_assert_ptr_null(other);
    }
    mproc_semaphore_close(&other);
    semaphore_drop();
}
END_TEST

START_TEST(what_is_no_semaphore_is_refused)
{
    mproc_lock *lock;
    mproc_semaphore *none = NULL;
    unsigned value;
    semaphore_make(_i, 1, NULL);
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    ck_assert_int_eq(mproc_semaphore_acquire(NULL, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_semaphore_release(NULL, 1), -EINVAL);
    ck_assert_int_eq(mproc_semaphore_value(NULL, &value), -EINVAL);
    ck_assert_int_eq(mproc_semaphore_value(semaphore, NULL), -EINVAL);
    ck_assert_int_eq(mproc_semaphore_acquire((mproc_semaphore *)(void *)lock, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_semaphore_create(place, 1, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_semaphore_create((mproc_place *)(void *)lock, 1, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_semaphore_create(place, 1, &(mproc_semaphore_options){.bounded = true}, &none),
                     -EINVAL);
    ck_assert_int_eq(mproc_semaphore_open(place, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_semaphore_open(place, "x", NULL), -EINVAL);
    ck_assert_ptr_null(none);
    mproc_semaphore_close(NULL);
    mproc_semaphore_close(&none);
    mproc_lock_close(&lock);
    semaphore_drop();
}
END_TEST

START_TEST(a_damaged_semaphore_is_found_when_it_is_attached)
{
    mproc_variant received;
    mproc__nouns_register();
    semaphore_make(0, 1, MPROC_WITH(mproc_semaphore_options, .bounded = true));
    mproc__semaphore_shared *shared = mproc__semaphore_local(semaphore)->shared;
    for (int i = 0; i < 2; i++) {
        uint32_t *damaged = i == 0 ? &shared->kind : &shared->bound;
        uint32_t right = *damaged;
        mproc__parcel parcel = {0};
        *damaged = UINT32_MAX - 1;
        ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(semaphore)), 0);
        parcel.fds[0] = dup(parcel.fds[0]);
        ck_assert_int_eq(mproc__parcel_unpack(&parcel, &received), MPROC_ECORRUPT);
        mproc__parcel_clear(&parcel, true);
        *damaged = right;
    }
    semaphore_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("semaphore_handle");
    TCase *handle = support_case(suite, "handle");
    tcase_add_loop_test(handle, a_scope_releases_on_every_way_out, 0, 4);
    tcase_add_loop_test(handle, description_and_explanation_say_how_many_are_free, 0, 3);
    tcase_add_loop_test(handle, a_thread_semaphore_answers_echild_in_a_fork_child, 0, 2);
    tcase_add_test(handle, a_thread_semaphore_cannot_cross);
    tcase_add_test(handle, closing_while_others_wait_leaves_them_waiting);
    tcase_add_loop_test(handle, a_named_semaphore_is_found_while_it_exists, 0, 3);
    tcase_add_loop_test(handle, no_memory_for_a_semaphore_is_an_error_that_leaves_nothing, 0, 3);
    tcase_add_loop_test(handle, what_is_no_semaphore_is_refused, 0, 3);
    tcase_add_test(handle, a_damaged_semaphore_is_found_when_it_is_attached);
    return support_run(suite, argc, argv);
}
