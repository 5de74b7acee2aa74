/* SPDX-License-Identifier: BSD-2-Clause */
/* Names and their cleaning beside others: forks at any moment, children that live on, several cleaners at once. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/named_common.h"
#include "shm/shm.h"
#include "support/support.h"

enum { LIMIT_MS = 10000, LEFT = 40, CLEANERS = 3, FORKS = 60 };

static mproc_place *place;
static mproc_shm *shm;

static bool begin(void)
{
    bool own = named_own_directory(NULL);
    mproc__noun_register(&mproc__shm_noun);
    ck_assert_int_eq(mproc__place_shm("shm:/check", NULL, &place), 0);
    if (!own)
        named_skipped("needs a /dev/shm of its own");
    return own;
}

static void end(void)
{
    mproc_shm_close(&shm);
    mproc_place_close(&place);
    ck_assert_uint_eq(named_count("check%"), 0);
}

static int leaves_many(void *unused)
{
    (void)unused;
    mproc_shm *made;
    for (int i = 0; i < LEFT; i++)
        if (mproc_shm_create(place, 100, NULL, &made) < 0)
            return 1;
    raise(SIGKILL);
    return 2;
}

/* Answers how many names it has taken away. */
static int cleans(void *gate)
{
    unsigned removed = 0;
    char byte;
    if (read(*(int *)gate, &byte, 1) != 1 || mproc_cleanup(&removed) < 0)
        return 255;
    return (int)removed;
}

/* Each finds names that were there when it listed them and are gone when it comes to them.
 * shows: TRACK-02 */
START_TEST(cleaners_that_meet_take_each_name_once_and_go_on_where_one_is_gone)
{
    pid_t children[CLEANERS];
    int gate[2], sum = 0;
    if (!begin())
        return;
    for (int round = 0; round < 10; round++) {
        ck_assert_int_eq(support_reap(support_fork(leaves_many, NULL), LIMIT_MS), 256 + SIGKILL);
        ck_assert_uint_eq(named_count("check%"), LEFT);
        ck_assert_int_eq(pipe(gate), 0);
        for (int i = 0; i < CLEANERS; i++)
            children[i] = support_fork(cleans, &gate[0]);
        ck_assert_int_eq(write(gate[1], "ooo", CLEANERS), CLEANERS);
        for (int i = 0; i < CLEANERS; i++) {
            int removed = support_reap(children[i], LIMIT_MS);
            ck_assert_int_le(removed, LEFT);
            sum += removed;
        }
        close(gate[0]);
        close(gate[1]);
        ck_assert_int_eq(sum, (round + 1) * LEFT);
        ck_assert_uint_eq(named_count("check%"), 0);
    }
    /* Who asks for one that is gone is told so, by name and number. */
    ck_assert_int_eq(mproc_place_unlink(place, "gone"), -ENOENT);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "gone"));
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "ENOENT"));
    end();
}
END_TEST

static atomic_bool stop;

/* Holds every lock of this layer in turn, so that a fork finds each of them held now and then. */
static void *works_on(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        mproc_shm *mine, *again;
        mproc_variant list;
        if (mproc_shm_create(place, 100, NULL, &mine) < 0 ||
            mproc_shm_open(place, mproc_shm_name(mine), &again) < 0 || mproc_cleanup(NULL) < 0 ||
            mproc_place_names(place, &list) < 0)
            return place;
        mproc_variant_clear(&list);
        mproc_shm_close(&again);
        mproc_shm_close(&mine);
    }
    return NULL;
}

static int works_once(void *unused)
{
    (void)unused;
    mproc_shm *mine = NULL, *again = NULL;
    if (mproc_shm_create(place, 100, NULL, &mine) < 0 ||
        mproc_shm_open(place, mproc_shm_name(mine), &again) < 0)
        return 1;
    mproc_shm_close(&again);
    mproc_shm_close(&mine);
    if (mproc_shm_create(NULL, 100, NULL, &mine) < 0 || mproc_cleanup(NULL) < 0)
        return 2;
    mproc_shm_close(&mine);
    return 0;
}

static int sleeps(void *unused)
{
    (void)unused;
    return pause();
}

/* Raw forks, not the library's.
 * shows: TRACK-10 */
START_TEST(a_lock_held_at_a_fork_blocks_no_child_and_a_child_that_lives_on_no_cleaning)
{
    pthread_t threads[2];
    void *failed;
    (void)begin();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, works_on, NULL), 0);
    for (int i = 0; i < FORKS; i++)
        ck_assert_int_eq(support_reap(support_fork(works_once, NULL), LIMIT_MS), 0);
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    ck_assert_int_eq(mproc_shm_create(place, 100, NULL, &shm), 0);
    pid_t child = support_fork(sleeps, NULL);
    int64_t before = mproc__now_ns();
    mproc_shm_close(&shm);
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    ck_assert_int_lt((mproc__now_ns() - before) / 1000000, support_ms(1000));
    ck_assert_uint_eq(named_count("check%"), 1); /* the child's by now */
    support_kill(child);
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    end();
}
END_TEST

/* Not with the address sanitizer: compilers of 2023 and before do not hold its allocator over a fork, and a child of a
 * program with threads may wait in malloc for ever. */
#ifdef __SANITIZE_ADDRESS__
enum { CHILDREN_OF_THREADS_MAY_ALLOCATE = 0 };
#else
enum { CHILDREN_OF_THREADS_MAY_ALLOCATE = 1 };
#endif

int main(int argc, char **argv)
{
    Suite *suite = suite_create("cleanup_beside");
    TCase *beside = support_case(suite, "beside others");
    tcase_add_test(beside, cleaners_that_meet_take_each_name_once_and_go_on_where_one_is_gone);
    if (CHILDREN_OF_THREADS_MAY_ALLOCATE)
        tcase_add_test(beside, a_lock_held_at_a_fork_blocks_no_child_and_a_child_that_lives_on_no_cleaning);
    return support_run(suite, argc, argv);
}
