/* SPDX-License-Identifier: BSD-2-Clause */
/* Handles of events: made, named, given away, closed, refused. Loop tests run once for each home: 0 host, 1 thread. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <mproc/wait.h>
#include "data/parcel.h"
#include "event_common.h"
#include "shm/report.h"

static int all_answer_echild(void *unused)
{
    (void)unused;
    if (mproc_event_set(event) != -ECHILD || mproc_event_clear(event) != -ECHILD)
        return 1;
    if (mproc_event_wait(event, MPROC_NOW) != -ECHILD || mproc_wait_fd(event) != -ECHILD)
        return 2;
    mproc_event_close(&event);
    return 0;
}

START_TEST(a_thread_event_answers_echild_in_a_fork_child)
{
    event_make(1, MPROC_WITH(mproc_event_options, .pollable = true));
    ck_assert_int_eq(in_child(all_answer_echild), 0);
    event_drop();
}
END_TEST

START_TEST(a_thread_event_cannot_cross)
{
    event_make(1, NULL);
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(event)), MPROC_ECANNOTCROSS);
    mproc__parcel_clear(&parcel, false);
    event_drop();
}
END_TEST

static int closes_while_others_wait(void *unused)
{
    (void)unused;
    if (mproc_event_clear(event) != 0)
        return 1;
    mproc_event_close(&event);
    return 0;
}

START_TEST(closing_while_others_wait_leaves_them_waiting)
{
    sleeper other;
    event_make(0, NULL);
    sleeper_start(0, &other);
    ck_assert_int_eq(in_child(closes_while_others_wait), 0);
    ck_assert(support_until_asleep(other.pid, LONG_MS));
    ck_assert_int_eq(mproc_event_set(event), 0);
    ck_assert_int_eq(sleeper_end(&other), 0);
    event_drop();
}
END_TEST

START_TEST(a_named_event_is_found_while_it_exists)
{
    mproc_event *again = NULL;
    event_make(_i, MPROC_WITH(mproc_event_options, .name = "door"));
    ck_assert_int_eq(mproc_event_open(place, "door", &again), 0);
    ck_assert_int_eq(mproc_event_set(again), 0);
    ck_assert(mproc_event_is_set(event));
    mproc_event_close(&again);
    ck_assert_int_eq(mproc_event_create(place, MPROC_WITH(mproc_event_options, .name = "door"), &again),
                     -EEXIST);
    ck_assert_int_eq(
        mproc_event_create(place, MPROC_WITH(mproc_event_options, .name = "door", .and_open = true), &again),
        0);
    ck_assert(mproc_event_is_set(again));
    mproc_event_close(&again);
    ck_assert_int_eq(mproc_event_open(place, "window", &again), -ENOENT);
    ck_assert_ptr_null(again);
    event_drop();
}
END_TEST

START_TEST(no_memory_for_an_event_is_an_error_that_leaves_nothing)
{
    mproc_event *other = NULL;
    event_make(_i, NULL);
    for (unsigned n = 1;; n++) {
        support_fail_allocation(n);
        int code =
            mproc_event_create(place, MPROC_WITH(mproc_event_options, .name = "n", .pollable = true), &other);
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
    mproc_event_close(&other);
    event_drop();
}
END_TEST

START_TEST(no_descriptor_for_an_event_is_an_error_that_leaves_nothing)
{
    struct rlimit limit, none;
    mproc_event *other = NULL;
    event_make(0, NULL);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int next = dup(0);
    close(next);
    for (int room = 0; room < 2; room++) { /* the segment's, then the second one */
        none = (struct rlimit){.rlim_cur = (rlim_t)(next + room), .rlim_max = limit.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        int code = mproc_event_create(NULL, MPROC_WITH(mproc_event_options, .pollable = true), &other);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_int_eq(code, -EMFILE);
        ck_assert_ptr_null(other);
    }
    event_drop();
}
END_TEST

START_TEST(what_is_no_event_is_refused)
{
    mproc_lock *lock;
    mproc_event *none = NULL;
    event_make(_i, NULL);
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    ck_assert_int_eq(mproc_event_set(NULL), -EINVAL);
    ck_assert_int_eq(mproc_event_clear(NULL), -EINVAL);
    ck_assert_int_eq(mproc_event_wait(NULL, MPROC_NOW), -EINVAL);
    ck_assert(!mproc_event_is_set(NULL));
    ck_assert_int_eq(mproc_event_set((mproc_event *)(void *)lock), -EINVAL);
    ck_assert_int_eq(mproc_wait_fd(lock), MPROC_EPLACE);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(lock)), "lock"));
    ck_assert_int_eq(mproc_wait_fd(event), -EINVAL);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(event)), "pollable"));
    ck_assert_int_eq(mproc_wait_fd(NULL), -EINVAL);
    ck_assert_int_eq(mproc_event_create(place, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_event_create((mproc_place *)(void *)lock, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_event_create(place, &(mproc_event_options){.set = true}, &none), -EINVAL);
    ck_assert_int_eq(mproc_event_open(place, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_event_open(place, "door", NULL), -EINVAL);
    ck_assert_ptr_null(none);
    mproc_event_close(NULL);
    mproc_event_close(&none);
    mproc_lock_close(&lock);
    event_drop();
}
END_TEST

START_TEST(an_explanation_tells_set_or_unset)
{
    struct mproc__report *report = malloc(sizeof(*report));
    uint64_t root[64] = {0};
    mproc__report_clear(report);
    mproc__event_noun.explain(root, sizeof(root), report);
    ck_assert_str_eq(report->state, "not set");
    mproc__report_clear(report);
    memset(root, 0xff, sizeof(root));
    mproc__event_noun.explain(root, sizeof(root), report);
    ck_assert_str_eq(report->state, "set");
    free(report);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("event handle");
    TCase *handle = support_case(suite, "handle");
    tcase_add_test(handle, a_thread_event_answers_echild_in_a_fork_child);
    tcase_add_test(handle, a_thread_event_cannot_cross);
    tcase_add_test(handle, closing_while_others_wait_leaves_them_waiting);
    tcase_add_loop_test(handle, a_named_event_is_found_while_it_exists, 0, 2);
    tcase_add_loop_test(handle, no_memory_for_an_event_is_an_error_that_leaves_nothing, 0, 2);
    tcase_add_test(handle, no_descriptor_for_an_event_is_an_error_that_leaves_nothing);
    tcase_add_loop_test(handle, what_is_no_event_is_refused, 0, 2);
    tcase_add_test(handle, an_explanation_tells_set_or_unset);
    return support_run(suite, argc, argv);
}
