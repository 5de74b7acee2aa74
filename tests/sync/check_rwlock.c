/* SPDX-License-Identifier: BSD-2-Clause */
/* Reader-writer locks of the homes thread and host: whose turn it is, and who holds. Loop tests run once for each: 0 host,
 * 1 thread. */
#include "platform/base.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "data/parcel.h"
#include "sync/nouns.h"
#include "sync/rwlock_common.h"
#include "sync/rwlock_inside.h"

enum { ROUNDS = 2000, WORKERS = 4 };

/* ---- turns ---- */

START_TEST(readers_share_and_a_writer_is_alone)
{
    rwlock_make(_i, NULL);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), 0);
    ck_assert_int_eq(elsewhere(_i, try_read), GOT);
    ck_assert_int_eq(elsewhere(_i, try_write), REFUSED);
    ck_assert_int_eq(elsewhere(_i, try_read), GOT); /* the refused writer left the gate open */
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, MPROC_NOW), 0);
    ck_assert_int_eq(elsewhere(_i, try_read), REFUSED);
    ck_assert_int_eq(elsewhere(_i, try_write), REFUSED);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(elsewhere(_i, try_write), GOT);
    rwlock_drop();
}
END_TEST

/* Every fourth round writes; a reader that sees a half change says so. */
static int look_and_change(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        bool writes = i % 4 == 0;
        mproc_deadline deadline = mproc_after_ms(support_ms(LONG_MS));
        if ((writes ? mproc_rwlock_acquire_write(rwlock, deadline)
                    : mproc_rwlock_acquire_read(rwlock, deadline)) != 0)
            return 1;
        if (notes->one != notes->two)
            return 2;
        if (writes) {
            notes->one++;
            mproc__pause();
            notes->two++;
        }
        if (mproc_rwlock_release(rwlock) != 0)
            return 3;
    }
    return 0;
}

START_TEST(no_reader_sees_half_a_change_between_processes)
{
    pid_t children[WORKERS];
    rwlock_make(0, NULL);
    for (int i = 0; i < WORKERS; i++)
        children[i] = support_fork(look_and_change, NULL);
    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(support_reap(children[i], LONG_MS), 0);
    ck_assert_int_eq(notes->one, WORKERS * ROUNDS / 4);
    rwlock_drop();
}
END_TEST

START_TEST(no_reader_sees_half_a_change_between_threads)
{
    pthread_t threads[WORKERS];
    errand errands[WORKERS];
    rwlock_make(_i, NULL);
    for (int i = 0; i < WORKERS; i++) {
        errands[i] = (errand){look_and_change, -1, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, errand_run, &errands[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(errands[i].status, 0);
    }
    ck_assert_int_eq(notes->one, WORKERS * ROUNDS / 4);
    rwlock_drop();
}
END_TEST

START_TEST(a_waiting_writer_stops_readers_that_come_later)
{
    other writer;
    rwlock_make(_i, NULL);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), 0);
    other_start(&writer, _i, wait_write);
    ck_assert_int_eq(elsewhere(_i, try_read), REFUSED);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), 0); /* but not one that reads */
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(atomic_load(&notes->writer_at), 0);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(other_end(&writer), GOT);
    rwlock_drop();
}
END_TEST

START_TEST(readers_that_wait_go_in_before_the_next_writer)
{
    other reader, writer;
    rwlock_make(_i % 2, NULL);
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, MPROC_NOW), 0);
    if (_i < 2)
        other_start(&writer, _i % 2, wait_write);
    other_start(&reader, _i % 2, wait_read);
    if (_i >= 2)
        other_start(&writer, _i % 2, wait_write);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(other_end(&reader), GOT);
    ck_assert_int_eq(other_end(&writer), GOT);
    ck_assert_int_eq(atomic_load(&notes->reader_at), 1);
    ck_assert_int_eq(atomic_load(&notes->writer_at), 2);
    rwlock_drop();
}
END_TEST

static int waits_end_in_time(void *unused)
{
    (void)unused;
    for (int i = 0; i < 4; i++) {
        mproc_deadline deadline = mproc_after_ms(i < 2 ? 30 : -30);
        int64_t start_ns = mproc__now_ns();
        int code = i % 2 ? mproc_rwlock_acquire_read(rwlock, deadline)
                         : mproc_rwlock_acquire_write(rwlock, deadline);
        int64_t took_ns = mproc__now_ns() - start_ns;
        if (code != -ETIMEDOUT || took_ns > (int64_t)support_ms(LIVE_MS) * 1000000)
            return 1 + i;
        if (i < 2 && took_ns < INT64_C(29000000))
            return 5 + i;
    }
    return 0;
}

START_TEST(a_wait_ends_at_its_deadline_and_leaves_nothing)
{
    unsigned readers;
    rwlock_make(_i, NULL);
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, MPROC_NOW), 0);
    ck_assert_int_eq(elsewhere(_i, waits_end_in_time), 0);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(mproc_rwlock_holders(rwlock, &readers, NULL, NULL), 0);
    ck_assert_uint_eq(readers, 0);
    ck_assert_int_eq(elsewhere(_i, try_write), GOT);
    rwlock_drop();
}
END_TEST

static int write_in_30_ms(void *unused)
{
    (void)unused;
    return status_of(mproc_rwlock_acquire_write(rwlock, mproc_after_ms(30)));
}

START_TEST(a_writer_that_gives_up_lets_the_waiting_readers_in)
{
    other writer;
    rwlock_make(_i, NULL);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), 0);
    other_start(&writer, _i, write_in_30_ms);
    ck_assert_int_eq(elsewhere(_i, wait_read), GOT); /* while this thread reads on */
    ck_assert_int_eq(other_end(&writer), REFUSED);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    rwlock_drop();
}
END_TEST

/* ---- who holds ---- */

static int release_is_refused(void *unused)
{
    (void)unused;
    return mproc_rwlock_release(rwlock) == -EPERM ? 0 : 1;
}

START_TEST(only_a_holder_can_release)
{
    rwlock_make(_i, NULL);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), -EPERM);
    for (int write = 0; write < 2; write++) {
        ck_assert_int_eq(write ? mproc_rwlock_acquire_write(rwlock, MPROC_NOW)
                               : mproc_rwlock_acquire_read(rwlock, MPROC_NOW),
                         0);
        ck_assert_int_eq(elsewhere(_i, release_is_refused), 0);
        ck_assert_int_eq(elsewhere(_i, try_write), REFUSED);
        ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
        ck_assert_int_eq(mproc_rwlock_release(rwlock), -EPERM);
        ck_assert_int_eq(elsewhere(_i, try_write), GOT);
    }
    rwlock_drop();
}
END_TEST

START_TEST(reading_counts_and_does_not_turn_into_writing)
{
    rwlock_make(_i, NULL);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, MPROC_FOREVER), -EDEADLK);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(elsewhere(_i, try_write), REFUSED);
        ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    }
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, MPROC_FOREVER), 0);
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, MPROC_FOREVER), -EDEADLK);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_FOREVER), -EDEADLK);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    rwlock_drop();
}
END_TEST

static mproc_rwlock *second_handle(mproc_variant *ret_owner)
{
    mproc_variant list = mproc_null();
    mproc__nouns_register();
    ck_assert_int_eq(mproc_variant_append(&list, mproc_handle(rwlock)), 0);
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, list), 0);
    parcel.fds[0] = dup(parcel.fds[0]); /* as a socket would */
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, ret_owner), 0);
    mproc_variant_clear(&list);
    mproc__parcel_clear(&parcel, true);
    return mproc_variant_get_handle(mproc_variant_at(*ret_owner, 0), MPROC_TYPE_RWLOCK);
}

START_TEST(two_handles_of_one_lock_are_one_lock)
{
    mproc_variant owner;
    rwlock_make(0, NULL);
    mproc_rwlock *second = second_handle(&owner);
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_ne(second, rwlock);
    ck_assert_int_eq(mproc_rwlock_acquire_read(second, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, MPROC_FOREVER), -EDEADLK);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(in_child(try_write), REFUSED);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(in_child(try_write), GOT);
    ck_assert_int_eq(mproc_rwlock_acquire_write(second, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_FOREVER), -EDEADLK);
    mproc_variant_clear(&owner); /* closes it: what was acquired through it is given back */
    ck_assert_int_eq(mproc_rwlock_release(rwlock), -EPERM);
    ck_assert_int_eq(in_child(try_write), GOT);
    rwlock_drop();
}
END_TEST

START_TEST(closing_gives_back_what_this_thread_holds)
{
    mproc_rwlock *again;
    for (int write = 0; write < 2; write++) {
        rwlock_make(0, MPROC_WITH(mproc_rwlock_options, .name = "door"));
        mproc_variant owner;
        mproc_rwlock *keeps_the_segment = second_handle(&owner);
        ck_assert_int_eq(write ? mproc_rwlock_acquire_write(rwlock, MPROC_NOW)
                               : mproc_rwlock_acquire_read(rwlock, MPROC_NOW),
                         0);
        again = keeps_the_segment;
        mproc_rwlock_close(&rwlock);
        ck_assert_int_eq(mproc_rwlock_acquire_write(again, MPROC_NOW), 0);
        ck_assert_int_eq(mproc_rwlock_release(again), 0);
        mproc_variant_clear(&owner);
    }
}
END_TEST

/* The mapping goes with the handle, though this thread writes through another one. */
START_TEST(closing_one_handle_while_writing_through_another_leaves_nothing)
{
    mproc_variant owner;
    rwlock_make(0, NULL);
    mproc_rwlock *second = second_handle(&owner);
    int fd = mproc__segment_fd(rwlock->segment);
    ck_assert_int_eq(mproc_rwlock_acquire_write(second, MPROC_NOW), 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD), -1);
    mproc_rwlock_close(&rwlock);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    ck_assert_int_eq(mproc_rwlock_release(second), 0);
    mproc_variant_clear(&owner);
}
END_TEST

/* The others of this process are counted in its row only. */
START_TEST(one_reader_too_many_is_refused_and_not_counted)
{
    other writer;
    rwlock_make(0, NULL);
    ck_assert_int_eq(try_read(NULL), GOT);
    _Atomic mproc__readers *row = &rwlock->shared->rows[(uint32_t)atomic_load(&rwlock->seat) - 1].word;
    mproc__readers before = atomic_load(row);
    atomic_fetch_add(row, INT16_MAX * MPROC__READING);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), -EAGAIN);
    other_start(&writer, 0, wait_write); /* it closes the gate */
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, mproc_after_ms(LONG_MS)), -EAGAIN);
    ck_assert_uint_eq(atomic_load(row), before + INT16_MAX * MPROC__READING);
    atomic_fetch_sub(row, (INT16_MAX - 1) * MPROC__READING);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), -ETIMEDOUT);
    mproc__rwlock_leave(
        rwlock, (mproc__seat){(uint32_t)atomic_load(&rwlock->seat) - 1, mproc__readers_generation(before)});
    ck_assert_int_eq(other_end(&writer), GOT);
    rwlock_drop();
}
END_TEST

START_TEST(a_wait_that_ends_by_its_deadline_leaves_no_older_story)
{
    rwlock_make(0, NULL);
    pid_t holder = start_holder(_i ? write_until_killed : read_until_killed);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), -EPERM);
    ck_assert_int_eq(_i ? mproc_rwlock_acquire_read(rwlock, mproc_after_ms(30))
                        : mproc_rwlock_acquire_write(rwlock, mproc_after_ms(30)),
                     -ETIMEDOUT);
    ck_assert_int_eq(mproc_error_code(mproc_last_error()), -ETIMEDOUT);
    support_kill(holder);
    rwlock_drop();
}
END_TEST

static int child_reads_beside_its_parent(void *unused)
{
    (void)unused;
    if (mproc_rwlock_release(rwlock) != -EPERM)
        return 1;
    return mproc_rwlock_acquire_write(rwlock, MPROC_NOW) == -ETIMEDOUT ? try_read(NULL) : 2;
}

static int all_answer_child(void *unused)
{
    (void)unused;
    if (mproc_rwlock_acquire_read(rwlock, MPROC_NOW) != -ECHILD ||
        mproc_rwlock_acquire_write(rwlock, MPROC_NOW) != -ECHILD)
        return 1;
    return mproc_rwlock_release(rwlock) == -ECHILD && mproc_rwlock_repair(rwlock) == -ECHILD &&
                   mproc_rwlock_holders(rwlock, NULL, NULL, NULL) == -ECHILD
               ? 0
               : 2;
}

START_TEST(a_fork_child_does_not_hold_what_its_parent_holds)
{
    rwlock_make(_i, NULL);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), 0);
    ck_assert_int_eq(in_child(_i == 0 ? child_reads_beside_its_parent : all_answer_child), 0);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    rwlock_drop();
}
END_TEST

static int describes_as(const char *wanted)
{
    char text[200];
    mproc_describe(rwlock, text, sizeof(text));
    return strstr(text, wanted) ? 0 : 1;
}

static int other_describes_written(void *unused)
{
    (void)unused;
    return describes_as("written by process");
}

START_TEST(it_can_be_asked_who_holds_it)
{
    unsigned readers = 9;
    int pid = -1, tid = -1;
    rwlock_make(_i, MPROC_WITH(mproc_rwlock_options, .name = "door"));
    ck_assert_int_eq(describes_as("rwlock door on"), 0);
    ck_assert_int_eq(describes_as("free"), 0);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_rwlock_holders(rwlock, &readers, &pid, &tid), 0);
    ck_assert_uint_eq(readers, 1);
    ck_assert(pid == 0 && tid == 0);
    ck_assert_int_eq(describes_as("read by 1, this thread among them"), 0);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_rwlock_holders(rwlock, &readers, &pid, &tid), 0);
    ck_assert_uint_eq(readers, 0);
    ck_assert(pid == getpid() && tid == mproc__tid());
    ck_assert_int_eq(describes_as("written by this thread"), 0);
    ck_assert_int_eq(elsewhere(_i, other_describes_written), 0);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    rwlock_drop();
}
END_TEST

START_TEST(what_is_no_rwlock_is_refused)
{
    mproc_rwlock *none = NULL;
    mproc_lock *lock;
    ck_assert_int_eq(mproc_lock_create(NULL, MPROC_WITH(mproc_lock_options, .name = "lock"), &lock), 0);
    mproc_rwlock *wrong = (mproc_rwlock *)(void *)lock;
    ck_assert_int_eq(mproc_rwlock_acquire_read(none, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_rwlock_acquire_write(wrong, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_rwlock_release(none), -EINVAL);
    ck_assert_int_eq(mproc_rwlock_holders(wrong, NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_rwlock_repair(none), -EINVAL);
    ck_assert_int_eq(mproc_rwlock_create(NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_rwlock_create(NULL, &(mproc_rwlock_options){.size = 4}, &none), -EINVAL);
    ck_assert_int_eq(mproc_rwlock_open(NULL, "lock", &none), -EINVAL);
    ck_assert_int_eq(mproc_rwlock_open(NULL, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_rwlock_open(NULL, "no such", &none), -ENOENT);
    mproc_rwlock_close(&none);
    mproc_lock_close(&lock);
    rwlock_make(0, NULL);
    ck_assert_int_eq(mproc_rwlock_repair(rwlock), MPROC_ESTATE);
    rwlock_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("rwlock");
    TCase *turns = support_case(suite, "turns");
    tcase_add_checked_fixture(turns, notes_open, notes_close);
    tcase_add_loop_test(turns, readers_share_and_a_writer_is_alone, 0, 2);
    tcase_add_test(turns, no_reader_sees_half_a_change_between_processes);
    tcase_add_loop_test(turns, no_reader_sees_half_a_change_between_threads, 0, 2);
    tcase_add_loop_test(turns, a_waiting_writer_stops_readers_that_come_later, 0, 2);
    tcase_add_loop_test(turns, readers_that_wait_go_in_before_the_next_writer, 0, 4);
    tcase_add_loop_test(turns, a_wait_ends_at_its_deadline_and_leaves_nothing, 0, 2);
    tcase_add_loop_test(turns, a_writer_that_gives_up_lets_the_waiting_readers_in, 0, 2);
    TCase *holders = support_case(suite, "holders");
    tcase_add_checked_fixture(holders, notes_open, notes_close);
    tcase_add_loop_test(holders, only_a_holder_can_release, 0, 2);
    tcase_add_loop_test(holders, reading_counts_and_does_not_turn_into_writing, 0, 2);
    tcase_add_test(holders, two_handles_of_one_lock_are_one_lock);
    tcase_add_test(holders, closing_gives_back_what_this_thread_holds);
    tcase_add_test(holders, closing_one_handle_while_writing_through_another_leaves_nothing);
    tcase_add_test(holders, one_reader_too_many_is_refused_and_not_counted);
    tcase_add_loop_test(holders, a_wait_that_ends_by_its_deadline_leaves_no_older_story, 0, 2);
    tcase_add_loop_test(holders, a_fork_child_does_not_hold_what_its_parent_holds, 0, 2);
    tcase_add_loop_test(holders, it_can_be_asked_who_holds_it, 0, 2);
    tcase_add_test(holders, what_is_no_rwlock_is_refused);
    return support_run(suite, argc, argv);
}
