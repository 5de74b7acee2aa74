/* SPDX-License-Identifier: BSD-2-Clause */
/* Conditions: made, found, their locks, given away, closed, described.
 * Loop tests run once for each home: 0 host, 1 thread, 2 shm. A sleeper counts as one from the moment its slot says so, which
 * it does with the lock held: so who then gets the lock finds it waiting. */
#include "platform/base.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <mproc/array.h>
#include <mproc/call.h>
#include "condition_common.h"
#include "data/parcel.h"
#include "sync/nouns.h"

enum { SHORT_MS = 30 };

/* ---- locks ---- */

/* shows: SYNC-24 */
START_TEST(conditions_work_on_a_given_lock_and_share_it)
{
    crew them;
    mproc_lock *given;
    mproc_condition *other;
    mproc_place *thread_place = NULL;
    bool recursive = _i >= 2;
    int home = _i % 2;
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &thread_place), 0);
    ck_assert_int_eq(
        mproc_lock_create(thread_place, MPROC_WITH(mproc_lock_options, .recursive = recursive), &given), 0);
    condition_make(home, MPROC_WITH(mproc_condition_options, .lock = given));
    ck_assert_ptr_eq(lock, given);
    ck_assert_int_eq(
        mproc_condition_create(place, MPROC_WITH(mproc_condition_options, .lock = given), &other), 0);
    mproc_lock_close(&given); /* they keep it */
    crew_start(&them, home, 4, MPROC_FOREVER);
    lock_now();
    ck_assert_int_eq(mproc_condition_notify(other, UINT_MAX), 0);
    ck_assert_uint_eq(waiting(), 4);
    unlock_now();
    notify_and_leave(UINT_MAX, 0);
    crew_end(&them);
    mproc_condition_close(&other);
    condition_drop();
    mproc_place_close(&thread_place);
}
END_TEST

START_TEST(a_lock_of_another_home_or_none_at_all_is_refused)
{
    mproc_place *threads, *files;
    mproc_lock *here, *host, *file;
    mproc_condition *none = NULL;
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &threads), 0);
    ck_assert_int_eq(mproc_lock_create(threads, NULL, &here), 0);
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &host), 0);
    ck_assert_int_eq(mproc_condition_create(NULL, MPROC_WITH(mproc_condition_options, .lock = here), &none),
                     -EINVAL);
    ck_assert_int_eq(
        mproc_condition_create(threads, MPROC_WITH(mproc_condition_options, .lock = host), &none), -EINVAL);
    ck_assert_int_eq(mproc_condition_create(
                         NULL, MPROC_WITH(mproc_condition_options, .lock = (mproc_lock *)threads), &none),
                     -EINVAL);
    ck_assert_int_eq(mproc__place_shm("shm:/check-condition", NULL, &files), 0);
    ck_assert_int_eq(mproc_condition_create(files, MPROC_WITH(mproc_condition_options, .lock = host), &none),
                     -EINVAL);
    ck_assert_int_eq(mproc_lock_create(files, NULL, &file), 0);
    ck_assert_int_eq(mproc_condition_create(files, MPROC_WITH(mproc_condition_options, .lock = file), &none),
                     -EINVAL);
    ck_assert_ptr_null(none);
    mproc_lock_close(&here);
    mproc_lock_close(&host);
    mproc_lock_close(&file);
    mproc_place_close(&threads);
    mproc_place_close(&files);
}
END_TEST

/* shows: SYNC-09 */
START_TEST(a_scope_holds_the_conditions_lock_and_releases_it_on_every_way_out)
{
    int runs = 0;
    condition_make(_i, NULL);
    for (int i = 0; i < 2; i++)
        MPROC_WITH_LOCK(mproc_condition_lock(condition), MPROC_FOREVER)
        {
            runs++;
            ck_assert_int_eq(mproc_condition_wait(condition, MPROC_NOW), -ETIMEDOUT);
            if (i == 1)
                break;
        }
    ck_assert_int_eq(runs, 2);
    ck_assert(!mproc_lock_is_held(lock));
    condition_drop();
}
END_TEST

/* ---- given away ---- */

/* As another process would get it. */
static int cross(mproc_condition *source, size_t fds, mproc_variant *ret_received)
{
    mproc__parcel parcel = {0};
    mproc_variant item = mproc_handle(source);
    mproc__nouns_register();
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_items(&item, 1)), 0);
    ck_assert_uint_ge(parcel.fd_count, fds);
    parcel.fd_count = fds ? fds : parcel.fd_count;
    for (size_t i = 0; i < parcel.fd_count; i++)
        parcel.fds[i] = dup(parcel.fds[i]);
    int code = mproc__parcel_unpack(&parcel, ret_received);
    mproc__parcel_clear(&parcel, true);
    return code;
}

static mproc_condition *crossed(mproc_condition *source)
{
    mproc_variant received;
    ck_assert_int_eq(cross(source, 0, &received), 0);
    mproc_condition *copy = mproc_variant_get_handle(mproc_variant_at(received, 0), MPROC_TYPE_CONDITION);
    ck_assert_ptr_nonnull(mproc_keep(copy));
    mproc_variant_clear(&received);
    return copy;
}

/* What is notified through one handle waits through the other, and holds the same lock. */
static void works_through(mproc_condition *other)
{
    crew them;
    mproc_lock *its = mproc_condition_lock(other);
    ck_assert_ptr_ne(its, lock);
    crew_start(&them, 0, 2, MPROC_FOREVER);
    ck_assert_int_eq(mproc_lock_acquire(its, MPROC_FOREVER), 0);
    ck_assert(mproc__lock_is_mine(lock));
    ck_assert_int_eq(mproc_condition_notify(other, 2), 0);
    ck_assert_uint_eq(waiting(), 0);
    ck_assert_int_eq(mproc_lock_release(its), 0);
    crew_end(&them);
}

typedef struct giver {
    mproc_lock *lock; /* to be given; NULL: none */
    mproc_array *array;
    mproc_condition *condition;
} giver;

/* 0: none; 1: a lock; 2: an array's own; 3: that of another condition; 4: one in a file. */
static void giver_make(giver *from, int kind)
{
    *from = (giver){.lock = NULL};
    if (kind == 1) {
        ck_assert_int_eq(mproc_lock_create(NULL, NULL, &from->lock), 0);
    } else if (kind == 2) {
        ck_assert_int_eq(mproc_array_create(NULL, MPROC_ITEM_INT8, 1, NULL, &from->array), 0);
        from->lock = mproc_array_lock(from->array);
    } else if (kind == 3) {
        ck_assert_int_eq(mproc_condition_create(NULL, NULL, &from->condition), 0);
        from->lock = mproc_condition_lock(from->condition);
    } else if (kind == 4) {
        mproc_place *files;
        ck_assert_int_eq(mproc__place_shm("shm:/check-condition", NULL, &files), 0);
        ck_assert_int_eq(mproc_lock_create(files, NULL, &from->lock), 0);
        mproc_place_close(&files);
    }
}

/* The condition keeps what it was given. */
static void giver_drop(giver *from)
{
    if (!from->array && !from->condition)
        mproc_lock_close(&from->lock);
    mproc_array_close(&from->array);
    mproc_condition_close(&from->condition);
}

START_TEST(a_condition_crosses_with_its_lock_wherever_that_is)
{
    giver from;
    giver_make(&from, _i);
    condition_make(0, MPROC_WITH(mproc_condition_options, .lock = from.lock));
    giver_drop(&from);
    mproc_condition *other = crossed(condition);
    works_through(other);
    mproc_condition *third = crossed(other);
    mproc_condition_close(&other);
    works_through(third);
    mproc_condition_close(&third);
    condition_drop();
}
END_TEST

/* Whatever a packed condition is made of, it is opened or refused, and nothing stays open. */
START_TEST(a_parcel_with_a_part_missing_is_refused)
{
    giver from;
    mproc_variant received;
    giver_make(&from, 1);
    condition_make(0, MPROC_WITH(mproc_condition_options, .lock = from.lock));
    ck_assert_int_eq(cross(condition, 1, &received), MPROC_EPROTOCOL);
    mproc_condition *next;
    ck_assert_int_eq(mproc_condition_create(NULL, NULL, &next), 0);
    ck_assert_ptr_ne(mproc_condition_lock(next), from.lock);
    mproc_condition_close(&next);
    giver_drop(&from);
    condition_drop();
}
END_TEST

START_TEST(a_condition_of_threads_cannot_cross)
{
    mproc__parcel parcel = {0};
    mproc_lock *given = NULL;
    mproc_place *threads = NULL;
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &threads), 0);
    if (_i == 1)
        ck_assert_int_eq(mproc_lock_create(threads, NULL, &given), 0);
    condition_make(1, MPROC_WITH(mproc_condition_options, .lock = given));
    mproc_variant item = mproc_handle(condition);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_items(&item, 1)), MPROC_ECANNOTCROSS);
    mproc__parcel_clear(&parcel, false);
    mproc_lock_close(&given);
    condition_drop();
    mproc_place_close(&threads);
}
END_TEST

/* ---- the rest ---- */

START_TEST(bad_input_is_refused_without_effect)
{
    mproc_condition *none = NULL;
    ck_assert_int_eq(mproc_condition_create(NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_condition_create((mproc_place *)&none, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_condition_create(NULL, &(mproc_condition_options){.size = 3}, &none), -EINVAL);
    ck_assert_int_eq(mproc_condition_open(NULL, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_condition_open(NULL, "nobody", &none), -ENOENT);
    ck_assert_ptr_null(none);
    ck_assert_ptr_null(mproc_condition_lock(NULL));
    ck_assert_int_eq(mproc_condition_wait(NULL, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_condition_wait_for(NULL, always, NULL, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_condition_notify(NULL, 1), -EINVAL);
    mproc_condition_close(&none);
    mproc_condition_close(NULL);
    condition_make(_i, NULL);
    ck_assert_int_eq(mproc_condition_wait((mproc_condition *)lock, MPROC_NOW), -EINVAL);
    lock_now();
    ck_assert_int_eq(mproc_condition_wait_for(condition, NULL, NULL, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_condition_notify(condition, 0), 0);
    unlock_now();
    condition_drop();
}
END_TEST

START_TEST(a_named_one_is_found_with_its_given_lock)
{
    mproc_lock *given;
    mproc_condition *found;
    mproc_condition *again = NULL;
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &given), 0);
    condition_make(0, MPROC_WITH(mproc_condition_options, .name = "filled", .lock = given));
    ck_assert_int_eq(mproc_condition_open(NULL, "filled", &found), 0);
    ck_assert_ptr_eq(mproc_condition_lock(found), given);
    ck_assert_int_eq(
        mproc_condition_create(NULL, MPROC_WITH(mproc_condition_options, .name = "filled"), &again), -EEXIST);
    ck_assert_int_eq(
        mproc_condition_create(NULL, MPROC_WITH(mproc_condition_options, .name = "filled", .and_open = true),
                               &again),
        0);
    mproc_condition_close(&again);
    mproc_condition_close(&found);
    mproc_lock_close(&given);
    condition_drop();
}
END_TEST

START_TEST(a_description_counts_the_waits)
{
    char text[200];
    crew them;
    condition_make(_i, MPROC_WITH(mproc_condition_options, .name = "filled"));
    crew_start(&them, _i, 3, MPROC_FOREVER);
    ck_assert_int_gt(mproc_describe(condition, text, sizeof(text)), 0);
    ck_assert_ptr_nonnull(strstr(text, "filled"));
    ck_assert_ptr_nonnull(strstr(text, "3 waiting"));
    notify_and_leave(UINT_MAX, 0);
    crew_end(&them);
    condition_drop();
}
END_TEST

START_TEST(a_full_table_is_an_error_of_its_own_and_holds_the_lock)
{
    int slots[MPROC__CONDITION_SLOTS];
    condition_make(_i, NULL);
    lock_now();
    for (int i = 0; i < MPROC__CONDITION_SLOTS; i++)
        slots[i] = mproc__condition_enter(condition);
    ck_assert_int_eq(slots[MPROC__CONDITION_SLOTS - 1], MPROC__CONDITION_SLOTS - 1);
    ck_assert_int_eq(mproc_condition_wait(condition, MPROC_FOREVER), MPROC_ELIMIT);
    ck_assert(mproc__lock_is_mine(lock));
    ck_assert_int_eq(mproc_condition_notify(condition, 7), 0);
    for (int i = 0; i < MPROC__CONDITION_SLOTS; i++)
        ck_assert_int_eq(mproc__condition_leave(condition, (unsigned)slots[i]), i < 7);
    ck_assert_int_eq(mproc_condition_wait(condition, MPROC_NOW), -ETIMEDOUT);
    unlock_now();
    condition_drop();
}
END_TEST

static int all_answer_child(void *unused)
{
    (void)unused;
    if (mproc_condition_wait(condition, MPROC_NOW) != -ECHILD ||
        mproc_condition_wait_for(condition, always, NULL, MPROC_NOW) != -ECHILD)
        return 1;
    return mproc_condition_notify(condition, 1) == -ECHILD ? 0 : 2;
}

static int refused_while_parent_holds(void *unused)
{
    (void)unused;
    return mproc_condition_wait(condition, MPROC_NOW) == -EPERM &&
                   mproc_condition_notify(condition, 1) == -EPERM
               ? 0
               : 1;
}

START_TEST(a_fork_child_does_not_hold_what_its_parent_holds)
{
    condition_make(_i, NULL);
    lock_now();
    pid_t child = support_fork(_i == 1 ? all_answer_child : refused_while_parent_holds, NULL);
    ck_assert_int_eq(support_reap(child, CREW_LIMIT_MS), 0);
    unlock_now();
    condition_drop();
}
END_TEST

static void *closes(void *unused)
{
    unsigned one = 1;
    mproc_condition *mine = condition;
    (void)unused;
    if (!support_until(waiting_are, &one, CREW_LIMIT_MS) || mproc_lock_acquire(lock, MPROC_FOREVER) != 0)
        return page;
    if (mproc_condition_notify(mine, 1) != 0 || mproc_lock_release(lock) != 0)
        return page;
    mproc_condition_close(&condition);
    return NULL;
}

/* The handle lives until the wait is over, and with it the lock. */
START_TEST(closing_it_while_another_thread_waits_does_no_harm)
{
    pthread_t thread;
    void *failed;
    condition_make(_i, NULL);
    mproc_lock *held = lock;
    mproc__handle_keep(&held->handle);
    lock_now();
    ck_assert_int_eq(pthread_create(&thread, NULL, closes, NULL), 0);
    ck_assert_int_eq(mproc_condition_wait(condition, MPROC_FOREVER), 0);
    ck_assert_int_eq(mproc_lock_release(held), 0);
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    mproc_lock_close(&held);
    condition_drop();
}
END_TEST
int main(int argc, char **argv)
{
    Suite *suite = suite_create("condition");
    TCase *locks = support_case(suite, "locks");
    tcase_add_loop_test(locks, conditions_work_on_a_given_lock_and_share_it, 0, 4);
    tcase_add_test(locks, a_lock_of_another_home_or_none_at_all_is_refused);
    tcase_add_loop_test(locks, a_scope_holds_the_conditions_lock_and_releases_it_on_every_way_out, 0, HOMES);
    TCase *crossing = support_case(suite, "given away");
    tcase_add_loop_test(crossing, a_condition_crosses_with_its_lock_wherever_that_is, 0, 5);
    tcase_add_test(crossing, a_parcel_with_a_part_missing_is_refused);
    tcase_add_loop_test(crossing, a_condition_of_threads_cannot_cross, 0, 2);
    TCase *rest = support_case(suite, "the rest");
    tcase_add_loop_test(rest, bad_input_is_refused_without_effect, 0, HOMES);
    tcase_add_test(rest, a_named_one_is_found_with_its_given_lock);
    tcase_add_loop_test(rest, a_description_counts_the_waits, 0, HOMES);
    tcase_add_loop_test(rest, a_full_table_is_an_error_of_its_own_and_holds_the_lock, 0, HOMES);
    tcase_add_loop_test(rest, a_fork_child_does_not_hold_what_its_parent_holds, 0, HOMES);
    tcase_add_loop_test(rest, closing_it_while_another_thread_waits_does_no_harm, 0, HOMES);
    return support_run(suite, argc, argv);
}
