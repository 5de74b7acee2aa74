/* SPDX-License-Identifier: BSD-2-Clause */
/* Dicts, lists and locks through their handles, over a server in another process. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc/data.h>
#include <mproc/sync.h>
#include "data/parcel.h"
#include "manager/proxy.h"
#include "manager/manager_common.h"
#include "platform/platform.h"
#include "support/support.h"

static pid_t server;
static mproc_place *place;

static void begin(void)
{
    server = common_serve("s", NULL);
    place = common_open("s");
}

static void end(void)
{
    mproc_place_close(&place);
    if (server > 0)
        common_stop(server);
    server = 0;
}

static mproc_dict *dict_new(const char *name)
{
    mproc_dict *dict = NULL;
    const mproc_data_options options = {.size = sizeof options, .name = name};
    ck_assert_int_eq(mproc_dict_create(place, &options, &dict), 0);
    return dict;
}

static int64_t dict_int(mproc_dict *dict, const char *key)
{
    mproc_variant item = mproc_null();
    int64_t value = -1;
    ck_assert_int_eq(mproc_dict_get(dict, mproc_text(key), &item), 0);
    ck_assert_int_eq(mproc_variant_get_int(item, &value), 0);
    mproc_variant_clear(&item);
    return value;
}

/* ---- dict ---- */

/* shows: MGR-08 */
START_TEST(a_dict_gives_back_what_was_set)
{
    mproc_dict *dict = dict_new(NULL);
    mproc_variant item = mproc_null();
    size_t count = 9;
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("one"), mproc_int(1)), 0);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_int(7), mproc_text("seven")), 0);
    ck_assert_int_eq(dict_int(dict, "one"), 1);
    ck_assert_int_eq(mproc_dict_get(dict, mproc_int(7), &item), 0);
    ck_assert_str_eq(mproc_variant_get_text(item), "seven");
    mproc_variant_clear(&item);
    ck_assert_int_eq(mproc_dict_get(dict, mproc_text("7"), &item), MPROC_EKEY);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(dict)), "7"));
    ck_assert_int_eq(mproc_dict_remove(dict, mproc_text("one"), &item), 0);
    ck_assert_int_eq(item.number, 1);
    ck_assert_int_eq(mproc_dict_remove(dict, mproc_text("one"), NULL), MPROC_EKEY);
    ck_assert_int_eq(mproc_dict_count(dict, &count), 0);
    ck_assert_uint_eq(count, 1);
    mproc_dict_close(&dict);
    ck_assert_ptr_null(dict);
}
END_TEST

/* shows: PROXY-08 */
START_TEST(a_copy_has_the_oldest_first)
{
    mproc_dict *dict = dict_new(NULL);
    mproc_variant pairs = mproc_null();
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(mproc_dict_set(dict, mproc_int(i * 37 % 100), mproc_int(i)), 0);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(mproc_dict_remove(dict, mproc_int(i * 37 % 100), NULL), 0);
    ck_assert_int_eq(mproc_dict_copy(dict, &pairs), 0);
    ck_assert_uint_eq(mproc_variant_count(pairs), 50);
    for (size_t i = 0; i < 50; i++) {
        mproc_variant pair = mproc_variant_at(pairs, i);
        ck_assert_int_eq(mproc_variant_at(pair, 0).number, (int64_t)(i + 50) * 37 % 100);
        ck_assert_int_eq(mproc_variant_at(pair, 1).number, (int64_t)i + 50);
    }
    mproc_variant_clear(&pairs);
    mproc_dict_close(&dict);
}
END_TEST

START_TEST(an_update_is_whole_or_not_at_all)
{
    mproc_dict *dict = dict_new(NULL);
    size_t count = 0;
    const mproc_variant good[] = {MPROC_ARGS("a", 1), MPROC_ARGS("b", 2), MPROC_ARGS("a", 3)};
    const mproc_variant bad[] = {MPROC_ARGS("c", 1), MPROC_ARGS(mproc_null(), 2)};
    ck_assert_int_eq(mproc_dict_update(dict, mproc_items(good, 3)), 0);
    ck_assert_int_eq(mproc_dict_update(dict, mproc_items(bad, 2)), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_dict_count(dict, &count), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(dict_int(dict, "a"), 3);
    mproc_variant words = mproc_null();
    ck_assert_int_eq(mproc_variant_set(&words, "d", mproc_int(4)), 0);
    ck_assert_int_eq(mproc_dict_update(dict, words), 0);
    ck_assert_int_eq(dict_int(dict, "d"), 4);
    mproc_variant_clear(&words);
    mproc_dict_close(&dict);
}
END_TEST

START_TEST(add_and_compare_set_are_one_step)
{
    mproc_dict *dict = dict_new(NULL);
    mproc_variant sum = mproc_null();
    bool set = false;
    ck_assert_int_eq(mproc_dict_add(dict, mproc_text("n"), mproc_int(5), &sum), 0);
    ck_assert_int_eq(mproc_dict_add(dict, mproc_text("n"), mproc_int(-2), &sum), 0);
    ck_assert_int_eq(sum.number, 3);
    ck_assert_int_eq(mproc_dict_add(dict, mproc_text("n"), mproc_double(0.5), &sum), 0);
    ck_assert(sum.kind == MPROC_KIND_DOUBLE && sum.real == 3.5);
    ck_assert_int_eq(mproc_dict_add(dict, mproc_text("n"), mproc_text("x"), NULL), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("n"), mproc_int(INT64_MAX)), 0);
    ck_assert_int_eq(mproc_dict_add(dict, mproc_text("n"), mproc_int(1), NULL), -EOVERFLOW);
    ck_assert_int_eq(mproc_dict_compare_set(dict, mproc_text("m"), mproc_null(), mproc_int(1), &set), 0);
    ck_assert(set);
    ck_assert_int_eq(mproc_dict_compare_set(dict, mproc_text("m"), mproc_int(2), mproc_int(3), &set), 0);
    ck_assert(!set);
    ck_assert_int_eq(dict_int(dict, "m"), 1);
    mproc_dict_close(&dict);
}
END_TEST

/* shows: MGR-23 */
START_TEST(a_fetched_list_is_a_copy)
{
    mproc_dict *dict = dict_new(NULL);
    mproc_variant inner = mproc_null(), again = mproc_null();
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("l"), MPROC_ARGS(1, 2)), 0);
    ck_assert_int_eq(mproc_dict_get(dict, mproc_text("l"), &inner), 0);
    ck_assert_int_eq(mproc_variant_append(&inner, mproc_int(3)), 0);
    ck_assert_int_eq(mproc_dict_get(dict, mproc_text("l"), &again), 0);
    ck_assert_uint_eq(mproc_variant_count(again), 2);
    mproc_variant_clear(&inner);
    mproc_variant_clear(&again);
    mproc_dict_close(&dict);
}
END_TEST

/* shows: WORK-4 */
START_TEST(a_value_that_cannot_be_carried_fails_alone)
{
    mproc_dict *dict = dict_new(NULL);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("h"), mproc_handle(dict)), MPROC_ECANNOTCROSS);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("p"), mproc_pointer(&server)), MPROC_ECANNOTCROSS);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("\xff"), mproc_int(1)), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_null(), mproc_int(1)), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("ok"), mproc_int(1)), 0);
    mproc_dict_close(&dict);
}
END_TEST

START_TEST(containers_live_on_servers_only)
{
    mproc_dict *dict = NULL;
    mproc_list *list = NULL;
    mproc_place *threads = NULL;
    ck_assert_int_eq(mproc_place_open("thread:", NULL, &threads), 0);
    ck_assert_int_eq(mproc_dict_create(NULL, NULL, &dict), MPROC_EPLACE);
    ck_assert_int_eq(mproc_list_create(threads, NULL, &list), MPROC_EPLACE);
    ck_assert_int_eq(mproc_dict_get(NULL, mproc_int(1), NULL), -EINVAL);
    mproc_place_close(&threads);
}
END_TEST

/* ---- list ---- */

static int64_t list_int(mproc_list *list, int64_t index)
{
    mproc_variant item = mproc_null();
    ck_assert_int_eq(mproc_list_get(list, index, &item), 0);
    ck_assert_int_eq(item.kind, MPROC_KIND_INT);
    return item.number;
}

static void list_is(mproc_list *list, const char *expected)
{
    char text[200];
    mproc_variant all = mproc_null();
    ck_assert_int_eq(mproc_list_slice(list, 0, INT64_MAX, &all), 0);
    mproc_variant_print(all, text, sizeof text);
    ck_assert_str_eq(text, expected);
    mproc_variant_clear(&all);
}

START_TEST(a_list_is_read_and_written_by_index)
{
    mproc_list *list = NULL;
    mproc_variant item = mproc_null();
    const mproc_data_options options = {.size = sizeof options, .initial = MPROC_ARGS(10, 20, 30)};
    size_t count = 0;
    ck_assert_int_eq(mproc_list_create(place, &options, &list), 0);
    ck_assert_int_eq(list_int(list, 0), 10);
    ck_assert_int_eq(list_int(list, -1), 30);
    ck_assert_int_eq(mproc_list_get(list, 3, &item), MPROC_EKEY);
    ck_assert_int_eq(mproc_list_get(list, -4, &item), MPROC_EKEY);
    ck_assert_int_eq(mproc_list_set(list, -1, mproc_int(31)), 0);
    ck_assert_int_eq(mproc_list_append(list, mproc_int(40)), 0);
    ck_assert_int_eq(mproc_list_insert(list, 0, mproc_int(5)), 0);
    ck_assert_int_eq(mproc_list_insert(list, -100, mproc_int(4)), 0);
    ck_assert_int_eq(mproc_list_insert(list, 100, mproc_int(50)), 0);
    list_is(list, "[4, 5, 10, 20, 31, 40, 50]");
    ck_assert_int_eq(mproc_list_remove(list, 1, &item), 0);
    ck_assert_int_eq(item.number, 5);
    ck_assert_int_eq(mproc_list_remove(list, 99, NULL), MPROC_EKEY);
    ck_assert_int_eq(mproc_list_count(list, &count), 0);
    ck_assert_uint_eq(count, 6);
    mproc_list_close(&list);
}
END_TEST

/* shows: PROXY-02 */
START_TEST(slices_are_clipped_and_splices_change_the_length)
{
    mproc_list *list = NULL;
    mproc_variant part = mproc_null();
    ck_assert_int_eq(mproc_list_create(place, NULL, &list), 0);
    ck_assert_int_eq(mproc_list_splice(list, 0, 0, MPROC_ARGS(0, 1, 2, 3, 4, 5)), 0);
    ck_assert_int_eq(mproc_list_slice(list, -2, 100, &part), 0);
    ck_assert_uint_eq(mproc_variant_count(part), 2);
    mproc_variant_clear(&part);
    ck_assert_int_eq(mproc_list_slice(list, 4, 2, &part), 0);
    ck_assert_uint_eq(mproc_variant_count(part), 0);
    mproc_variant_clear(&part);
    ck_assert_int_eq(mproc_list_splice(list, 1, 3, MPROC_ARGS("a", "b", "c")), 0);
    list_is(list, "[0, \"a\", \"b\", \"c\", 3, 4, 5]");
    ck_assert_int_eq(mproc_list_splice(list, 1, -1, mproc_items(NULL, 0)), 0);
    list_is(list, "[0, 5]");
    ck_assert_int_eq(mproc_list_splice(list, 9, 9, MPROC_ARGS(6)), 0);
    list_is(list, "[0, 5, 6]");
    ck_assert_int_eq(mproc_list_splice(list, 0, 1, mproc_int(1)), MPROC_EARGUMENT);
    mproc_list_close(&list);
}
END_TEST

/* ---- names ---- */

START_TEST(named_objects_are_found_counted_and_unlinked)
{
    mproc_dict *dict = dict_new("counts"), *same = NULL;
    mproc_list *wrong = NULL;
    mproc_variant names = mproc_null();
    const mproc_data_options again = {.size = sizeof again, .name = "counts"};
    const mproc_data_options open = {.size = sizeof open, .name = "counts", .and_open = true};
    ck_assert_int_eq(mproc_dict_create(place, &again, &same), -EEXIST);
    ck_assert_int_eq(mproc_dict_create(place, &open, &same), 0);
    ck_assert_int_eq(mproc_list_open(place, "counts", &wrong), -EINVAL);
    ck_assert_int_eq(mproc_dict_set(same, mproc_text("x"), mproc_int(1)), 0);
    ck_assert_int_eq(dict_int(dict, "x"), 1);
    ck_assert_int_eq(mproc_place_names(place, &names), 0);
    ck_assert_uint_eq(mproc_variant_count(names), 1);
    mproc_variant row = mproc_variant_at(names, 0);
    ck_assert_str_eq(mproc_variant_get_text(mproc_variant_find(row, "name")), "counts");
    ck_assert_str_eq(mproc_variant_get_text(mproc_variant_find(row, "type")), "dict");
    ck_assert_int_eq(mproc_variant_find(row, "holders").number, 2);
    mproc_variant_clear(&names);
    mproc_dict_close(&same);
    ck_assert_int_eq(mproc_place_unlink(place, "counts"), 0);
    ck_assert_int_eq(mproc_place_unlink(place, "counts"), -ENOENT);
    ck_assert_int_eq(mproc_dict_open(place, "counts", &same), -ENOENT);
    ck_assert_int_eq(dict_int(dict, "x"), 1);
    mproc_dict_close(&dict);
    ck_assert_int_eq(mproc_place_names(place, &names), 0);
    ck_assert_uint_eq(mproc_variant_count(names), 0);
    mproc_variant_clear(&names);
}
END_TEST

START_TEST(a_named_object_outlives_its_handles)
{
    mproc_dict *dict = dict_new("kept");
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("x"), mproc_int(8)), 0);
    mproc_dict_close(&dict);
    ck_assert_int_eq(mproc_dict_open(place, "kept", &dict), 0);
    ck_assert_int_eq(dict_int(dict, "x"), 8);
    mproc_dict_close(&dict);
}
END_TEST

/* ---- lock ---- */

static mproc_lock *lock_new(const char *name, bool recursive, bool poison)
{
    mproc_lock *lock = NULL;
    const mproc_lock_options options = {
        .size = sizeof options, .name = name, .recursive = recursive, .poison = poison};
    ck_assert_int_eq(mproc_lock_create(place, &options, &lock), 0);
    return lock;
}

START_TEST(a_lock_is_acquired_and_released)
{
    mproc_lock *lock = lock_new(NULL, false, false);
    uint64_t first = 0, second = 0;
    ck_assert(!mproc_lock_is_held(lock));
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_FOREVER), 0);
    ck_assert(mproc_lock_is_held(lock));
    ck_assert_int_eq(mproc_lock_token(lock, &first), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), -EDEADLK);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(mproc_lock_release(lock), -EPERM);
    ck_assert_int_eq(mproc_lock_token(lock, &first), -EPERM);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_token(lock, &second), 0);
    ck_assert_uint_gt(second, first);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(mproc_lock_repair(lock), MPROC_ESTATE);
    mproc_lock_close(&lock);
}
END_TEST

START_TEST(a_recursive_lock_counts)
{
    mproc_lock *lock = lock_new(NULL, true, false);
    uint64_t token = 0;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(mproc_lock_token(lock, &token), 0);
        ck_assert_int_eq(mproc_lock_release(lock), 0);
    }
    ck_assert_int_eq(mproc_lock_token(lock, &token), -EPERM);
    ck_assert_int_eq(mproc_lock_release(lock), -EPERM);
    mproc_lock_close(&lock);
}
END_TEST

static int child_holds(void *context)
{
    mproc_lock *lock = NULL;
    int *fds = context;
    if (mproc_lock_open(place, "shared", &lock) < 0 || mproc_lock_acquire(lock, MPROC_NOW) < 0)
        return 1;
    if (write(fds[1], "x", 1) != 1)
        return 2;
    char byte;
    return read(fds[2], &byte, 1) < 0 ? 3 : 0;
}

/* A child that holds the lock "shared" and sleeps. */
static pid_t holder_start(int fds[4])
{
    char byte;
    ck_assert_int_eq(pipe(fds) | pipe(fds + 2), 0);
    pid_t child = support_fork(child_holds, fds);
    ck_assert_int_eq(mproc__fd_read_all(fds[0], &byte, 1, mproc_after_ms(support_ms(5000))), 0);
    return child;
}

static void holder_close(int fds[4])
{
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

/* shows: REMOTE-1 DEATH-3 MGR-18 */
START_TEST(a_killed_clients_lock_is_recovered_at_once)
{
    mproc_lock *lock = lock_new("shared", false, false);
    int fds[4];
    pid_t child = holder_start(fds);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(20)), -ETIMEDOUT);
    support_kill(child);
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_FOREVER), MPROC_RECOVERED);
    ck_assert_int_lt(mproc__now_ns() - start, support_ms(250) * INT64_C(1000000));
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    holder_close(fds);
    mproc_lock_close(&lock);
}
END_TEST

/* shows: DEATH-3 */
START_TEST(a_poisoned_lock_waits_for_repair)
{
    mproc_lock *lock = lock_new("shared", false, true);
    int fds[4];
    pid_t child = holder_start(fds);
    support_kill(child);
    ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(support_ms(2000))), MPROC_EPOISONED);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), MPROC_EPOISONED);
    ck_assert_int_eq(mproc_lock_repair(lock), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    holder_close(fds);
    mproc_lock_close(&lock);
}
END_TEST

static int child_adds(void *context)
{
    mproc_lock *lock = NULL;
    mproc_dict *dict = context;
    mproc_variant item;
    if (mproc_lock_open(place, "shared", &lock) < 0)
        return 1;
    for (int i = 0; i < 200; i++) {
        if (mproc_lock_acquire(lock, mproc_after_ms(support_ms(10000))) != 0)
            return 2;
        if (mproc_dict_get(dict, mproc_text("n"), &item) < 0 ||
            mproc_dict_set(dict, mproc_text("n"), mproc_int(item.number + 1)) < 0)
            return 3;
        if (mproc_lock_release(lock) < 0)
            return 4;
    }
    mproc_lock_close(&lock);
    return 0;
}

/* shows: SYNC-03 MGR-20 */
START_TEST(two_processes_exclude_each_other)
{
    mproc_lock *lock = lock_new("shared", false, false);
    mproc_dict *dict = dict_new(NULL);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("n"), mproc_int(0)), 0);
    pid_t a = support_fork(child_adds, dict), b = support_fork(child_adds, dict);
    ck_assert_int_eq(support_reap(a, 15000), 0);
    ck_assert_int_eq(support_reap(b, 15000), 0);
    ck_assert_int_eq(dict_int(dict, "n"), 400);
    mproc_dict_close(&dict);
    mproc_lock_close(&lock);
}
END_TEST

/* ---- threads ---- */

static void *thread_adds(void *context)
{
    mproc_dict *dict = context;
    for (int i = 0; i < 300; i++)
        if (mproc_dict_add(dict, mproc_text("n"), mproc_int(1), NULL) < 0)
            return context;
    return NULL;
}

/* shows: MGR-20 */
START_TEST(threads_share_one_connection)
{
    mproc_dict *dict = dict_new(NULL);
    pthread_t threads[4];
    void *failed = NULL;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, thread_adds, dict), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    ck_assert_int_eq(dict_int(dict, "n"), 1200);
    mproc_dict_close(&dict);
}
END_TEST

static void *thread_acquires(void *lock)
{
    int rc = mproc_lock_acquire(lock, mproc_after_ms(support_ms(10000)));
    return rc == 0 && mproc_lock_release(lock) == 0 ? NULL : lock;
}

/* shows: REMOTE-6 MGR-20 MGR-21 */
START_TEST(a_waiting_acquire_holds_up_nobody)
{
    mproc_lock *lock = lock_new(NULL, false, false);
    mproc_dict *dict = dict_new(NULL);
    pthread_t thread;
    void *failed = NULL;
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, thread_acquires, lock), 0);
    for (int i = 0; i < 50; i++) {
        int64_t start = mproc__now_ns();
        ck_assert_int_eq(mproc_dict_add(dict, mproc_text("n"), mproc_int(1), NULL), 0);
        ck_assert_int_lt(mproc__now_ns() - start, support_ms(100) * INT64_C(1000000));
    }
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    mproc_dict_close(&dict);
    mproc_lock_close(&lock);
}
END_TEST

/* ---- crossing ---- */

static int child_unpacks(void *context)
{
    mproc__parcel *parcel = context;
    mproc_variant got = mproc_null();
    if (mproc_set_key(TEST_KEY, sizeof TEST_KEY - 1) < 0 || mproc__parcel_unpack(parcel, &got) < 0)
        return 1;
    mproc_dict *dict = mproc_variant_get_handle(mproc_variant_at(got, 0), MPROC_TYPE_DICT);
    mproc_lock *lock = mproc_variant_get_handle(mproc_variant_at(got, 1), MPROC_TYPE_LOCK);
    mproc_place *there = mproc_variant_get_handle(mproc_variant_at(got, 2), MPROC_TYPE_PLACE);
    if (!dict || !lock || !there)
        return 2;
    if (mproc_lock_acquire(lock, MPROC_NOW) != 0 ||
        mproc_dict_set(dict, mproc_text("child"), mproc_int(1)) != 0 || mproc_lock_release(lock) != 0 ||
        mproc_place_ping(there, mproc_after_ms(support_ms(2000))) != 0)
        return 3;
    mproc_variant_clear(&got);
    return 0;
}

START_TEST(handles_cross_as_addresses)
{
    mproc_lock *lock = lock_new(NULL, false, false);
    mproc_dict *dict = dict_new(NULL);
    mproc__parcel parcel;
    const mproc_variant items[] = {mproc_handle(dict), mproc_handle(lock), mproc_handle(place)};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, false, mproc_items(items, 3)), 0);
    ck_assert_int_eq(support_reap(support_fork(child_unpacks, &parcel), 5000), 0);
    mproc__parcel_clear(&parcel, false);
    ck_assert_int_eq(dict_int(dict, "child"), 1);
    mproc_dict_close(&dict);
    mproc_lock_close(&lock);
}
END_TEST

/* ---- a server that goes ---- */

/* shows: MGR-24 REMOTE-3 */
START_TEST(a_killed_server_ends_every_call_with_a_story)
{
    mproc_dict *dict = dict_new("d");
    mproc_variant item;
    support_kill(server);
    server = 0;
    int rc = mproc_dict_set(dict, mproc_text("x"), mproc_int(1));
    ck_assert(rc == MPROC_EUNKNOWN || rc == -ECONNREFUSED);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(dict)), common_address("s")));
    ck_assert_int_eq(mproc_dict_get(dict, mproc_text("x"), &item), -ECONNREFUSED);
    mproc_dict_close(&dict);
}
END_TEST

static void *thread_waits(void *lock)
{
    return mproc_lock_acquire(lock, MPROC_FOREVER) == -ECONNRESET ? NULL : lock;
}

/* shows: REMOTE-3 */
START_TEST(a_waiting_acquire_ends_when_the_server_is_killed)
{
    mproc_lock *lock = lock_new(NULL, false, false);
    pthread_t thread;
    void *failed = NULL;
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, thread_waits, lock), 0);
    ck_assert(mproc_lock_is_held(lock));
    support_kill(server);
    server = 0;
    pthread_join(thread, &failed);
    (void)failed; /* it may also have come after the end, and then found nobody */
    mproc_lock_close(&lock);
}
END_TEST

/* The acquire's own clock ends it, the cancel reaches the server later, and undoes the grant it made
 * meanwhile. */
START_TEST(a_stopped_server_keeps_no_acquire_beyond_its_deadline)
{
    mproc_lock *lock = lock_new(NULL, false, false);
    kill(server, SIGSTOP);
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(50)), -ETIMEDOUT);
    ck_assert_int_lt(mproc__now_ns() - start, support_ms(250) * INT64_C(1000000));
    kill(server, SIGCONT);
    ck_assert(!mproc_lock_is_held(lock));
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    mproc_lock_close(&lock);
}
END_TEST

static void *thread_acquires_late(void *lock)
{
    return mproc_lock_acquire(lock, mproc_after_ms(50)) == -ETIMEDOUT ? NULL : (char *)lock;
}

/* A fork child has to connect first. Its threads wait for each other's attempts no longer than for their own. */
START_TEST(a_stopped_server_keeps_no_connecting_thread_beyond_its_deadline)
{
    mproc_lock *lock = lock_new(NULL, false, false);
    int status = -1;
    kill(server, SIGSTOP);
    pid_t child = fork();
    if (child == 0) {
        pthread_t threads[4];
        void *wrong = NULL;
        int failures = 0;
        int64_t start = mproc__now_ns();
        for (int i = 0; i < 4; i++)
            failures += pthread_create(&threads[i], NULL, thread_acquires_late, lock) != 0;
        for (int i = 0; i < 4; i++)
            failures += pthread_join(threads[i], &wrong) != 0 || wrong;
        _exit(failures > 0 ? 1 : mproc__now_ns() - start < support_ms(400) * INT64_C(1000000) ? 0 : 2);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    kill(server, SIGCONT);
    ck_assert_int_eq(status, 0);
    mproc_lock_close(&lock);
}
END_TEST

/* shows: REMOTE-3 */
START_TEST(a_lost_answer_is_told_apart_from_a_refusal)
{
    mproc_place *quick = NULL;
    mproc_dict *dict = NULL;
    mproc_variant item;
    ck_assert_int_eq(mproc_place_open(common_address("s"),
                                      MPROC_WITH(mproc_place_options, .key = TEST_KEY,
                                                 .key_bytes = sizeof TEST_KEY - 1, .call_ms = 50),
                                      &quick),
                     0);
    int rc;
    while ((rc = mproc_dict_create(quick, NULL, &dict)) < 0)
        ck_assert(rc == MPROC_EUNKNOWN || rc == -ETIMEDOUT); /* a slow machine: connecting counts too */
    kill(server, SIGSTOP);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_int(1), mproc_int(2)), MPROC_EUNKNOWN);
    ck_assert_int_eq(mproc_dict_get(dict, mproc_int(1), &item), -ETIMEDOUT);
    mproc_place_close(&quick);
    quick = common_open("s");
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_place_ping(quick, mproc_after_ms(50)),
                     -ETIMEDOUT); /* connecting takes no longer either */
    ck_assert_int_lt(mproc__now_ns() - start, support_ms(250) * INT64_C(1000000));
    kill(server, SIGCONT);
    mproc_dict_close(&dict);
    mproc_place_close(&quick);
}
END_TEST

/* Each call with the n-th allocation failing: an error, nothing left behind, and the handle still works. */
START_TEST(a_client_without_memory_fails_cleanly)
{
    mproc_dict *dict = dict_new(NULL);
    mproc_variant pairs = mproc_null();
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        mproc_dict *other = NULL;
        mproc_place *there = NULL;
        support_fail_allocation(n);
        int rc = mproc_place_open(
            common_address("s"),
            MPROC_WITH(mproc_place_options, .key = TEST_KEY, .key_bytes = sizeof TEST_KEY - 1), &there);
        if (rc == 0)
            rc = mproc_dict_create(
                there, MPROC_WITH(mproc_data_options, .initial = MPROC_ARGS(MPROC_ARGS(1, "x"))), &other);
        if (rc == 0)
            rc = mproc_dict_copy(other, &pairs);
        failed = support_allocation_failed();
        support_fail_allocation(0);
        ck_assert(failed || rc == 0);
        mproc_variant_clear(&pairs);
        mproc_dict_close(&other);
        mproc_place_close(&there);
        ck_assert_int_eq(mproc_dict_add(dict, mproc_text("n"), mproc_int(1), NULL), 0);
    }
    mproc_dict_close(&dict);
}
END_TEST

/* shows: REMOTE-2 */
START_TEST(a_token_grows_over_a_restart)
{
    mproc_lock *lock = lock_new(NULL, false, false), *next = NULL;
    uint64_t before = 0, after = 0;
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
        ck_assert_int_eq(mproc_lock_token(lock, &before), 0);
        ck_assert_int_eq(mproc_lock_release(lock), 0);
    }
    support_kill(server);
    server = common_serve("s", NULL);
    next = lock_new(NULL, false, false);
    ck_assert_int_eq(mproc_lock_acquire(next, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_token(next, &after), 0);
    ck_assert_uint_gt(after, before);
    ck_assert_int_eq(mproc_lock_release(next), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), MPROC_ESTALE);
    mproc_lock_close(&lock);
    mproc_lock_close(&next);
}
END_TEST

/* shows: REMOTE-3 MGR-14 */
START_TEST(a_handle_from_before_a_restart_is_stale)
{
    mproc_dict *dict = dict_new("d"), *fresh = NULL;
    mproc_variant item;
    support_kill(server);
    server = common_serve("s", NULL);
    ck_assert_int_eq(mproc_dict_create(place, MPROC_WITH(mproc_data_options, .name = "d"), &fresh), 0);
    ck_assert_int_eq(mproc_dict_set(fresh, mproc_text("x"), mproc_int(1)), 0);
    ck_assert_int_eq(mproc_dict_get(dict, mproc_text("x"), &item), MPROC_ESTALE);
    ck_assert_int_eq(dict_int(fresh, "x"), 1);
    mproc_dict_close(&dict);
    mproc_dict_close(&fresh);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("proxy");
    TCase *dict = support_case(suite, "dict");
    tcase_add_checked_fixture(dict, begin, end);
    tcase_add_test(dict, a_dict_gives_back_what_was_set);
    tcase_add_test(dict, a_copy_has_the_oldest_first);
    tcase_add_test(dict, an_update_is_whole_or_not_at_all);
    tcase_add_test(dict, add_and_compare_set_are_one_step);
    tcase_add_test(dict, a_fetched_list_is_a_copy);
    tcase_add_test(dict, a_value_that_cannot_be_carried_fails_alone);
    tcase_add_test(dict, containers_live_on_servers_only);
    TCase *list = support_case(suite, "list");
    tcase_add_checked_fixture(list, begin, end);
    tcase_add_test(list, a_list_is_read_and_written_by_index);
    tcase_add_test(list, slices_are_clipped_and_splices_change_the_length);
    tcase_add_test(list, named_objects_are_found_counted_and_unlinked);
    tcase_add_test(list, a_named_object_outlives_its_handles);
    TCase *lock = support_case(suite, "lock");
    tcase_add_checked_fixture(lock, begin, end);
    tcase_add_test(lock, a_lock_is_acquired_and_released);
    tcase_add_test(lock, a_recursive_lock_counts);
    tcase_add_test(lock, a_killed_clients_lock_is_recovered_at_once);
    tcase_add_test(lock, a_poisoned_lock_waits_for_repair);
    tcase_add_test(lock, two_processes_exclude_each_other);
    TCase *many = support_case(suite, "many");
    tcase_add_checked_fixture(many, begin, end);
    tcase_add_test(many, threads_share_one_connection);
    tcase_add_test(many, a_waiting_acquire_holds_up_nobody);
    tcase_add_test(many, handles_cross_as_addresses);
    tcase_add_test(many, a_killed_server_ends_every_call_with_a_story);
    tcase_add_test(many, a_waiting_acquire_ends_when_the_server_is_killed);
    tcase_add_test(many, a_stopped_server_keeps_no_acquire_beyond_its_deadline);
    tcase_add_test(many, a_stopped_server_keeps_no_connecting_thread_beyond_its_deadline);
    tcase_add_test(many, a_lost_answer_is_told_apart_from_a_refusal);
    tcase_add_test(many, a_client_without_memory_fails_cleanly);
    tcase_add_test(many, a_token_grows_over_a_restart);
    tcase_add_test(many, a_handle_from_before_a_restart_is_stale);
    return support_run(suite, argc, argv);
}
