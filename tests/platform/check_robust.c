/* SPDX-License-Identifier: BSD-2-Clause */
/* The robust mutex: dead owners, deadlines, the caller's own mistakes, exclusion. */
#include "platform/base.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/robust.h"
#include "support/support.h"

enum { ROUNDS = 2000, WRITERS = 3 };

typedef struct room_shared {
    mproc__robust_shared lock;
    long counter;
    _Atomic uint32_t held;
} room_shared;

static room_shared *room;

static void room_open(void)
{
    room = mmap(NULL, sizeof(*room), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(room, MAP_FAILED);
    mproc__robust_init(&room->lock, true);
}

static void room_close(void)
{
    munmap(room, sizeof(*room));
}

static int hold_for_ever(void *context)
{
    (void)context;
    if (mproc__robust_acquire(&room->lock, MPROC_FOREVER) != 0)
        return 1;
    atomic_store(&room->held, 1);
    while (pause() != 0) {
    }
    return 0;
}

static bool is_held(void *context)
{
    (void)context;
    return atomic_load(&room->held) == 1;
}

static pid_t start_holder(void)
{
    pid_t child = support_fork(hold_for_ever, NULL);

    ck_assert(support_until(is_held, NULL, 5000));
    return child;
}

START_TEST(a_free_lock_is_taken_and_given_back)
{
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, MPROC_NOW), 0);
    ck_assert(mproc__robust_is_mine(&room->lock));
    ck_assert_uint_eq(atomic_load(mproc__robust_word(&room->lock)) & FUTEX_TID_MASK, (uint32_t)mproc__tid());
    ck_assert_int_eq(mproc__robust_release(&room->lock), 0);
    ck_assert(!mproc__robust_is_mine(&room->lock));
    ck_assert_int_eq(mproc__robust_release(&room->lock), -EPERM);
}
END_TEST

START_TEST(taking_ones_own_lock_again_is_a_deadlock_told)
{
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, MPROC_FOREVER), -EDEADLK);
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, MPROC_NOW), -EDEADLK);
    ck_assert_int_eq(mproc__robust_release(&room->lock), 0);
}
END_TEST

/* shows: SYNC-05 */
START_TEST(anothers_lock_is_waited_for_until_the_deadline)
{
    pid_t holder = start_holder();
    mproc_deadline deadline = mproc_after_ms(30);

    ck_assert_int_eq(mproc__robust_acquire(&room->lock, MPROC_NOW), -ETIMEDOUT);
    ck_assert(!mproc__deadline_past(deadline));
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, deadline), -ETIMEDOUT);
    ck_assert(mproc__deadline_past(deadline));
    ck_assert_int_eq(mproc__robust_release(&room->lock), -EPERM);
    support_kill(holder);
}
END_TEST

/* shows: DEATH-1 DEATH-3 */
START_TEST(a_dead_owners_lock_goes_to_the_next_who_is_told_once)
{
    support_kill(start_holder());
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, mproc_after_ms(5000)), MPROC_RECOVERED);
    ck_assert_int_eq(mproc__robust_release(&room->lock), 0);
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc__robust_release(&room->lock), 0);
}
END_TEST

static int recover_and_die(void *context)
{
    (void)context;
    if (mproc__robust_acquire(&room->lock, mproc_after_ms(10000)) == MPROC_RECOVERED)
        raise(SIGKILL);
    return 1;
}

/* shows: DEATH-8 */
START_TEST(a_recoverer_that_dies_is_recovered_from)
{
    support_kill(start_holder());
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(support_reap(support_fork(recover_and_die, NULL), 5000), 256 + SIGKILL);
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, mproc_after_ms(5000)), MPROC_RECOVERED);
    ck_assert_int_eq(mproc__robust_release(&room->lock), 0);
}
END_TEST

static int recover(void *context)
{
    int code = mproc__robust_acquire(&room->lock, mproc_after_ms(10000));

    (void)context;
    mproc__robust_release(&room->lock);
    return code == MPROC_RECOVERED ? 0 : 1;
}

/* shows: DEATH-1 DEATH-3 */
START_TEST(a_sleeper_is_woken_by_the_owners_death)
{
    pid_t holder = start_holder(), sleeper = support_fork(recover, NULL);

    ck_assert(support_until_asleep(sleeper, 5000));
    support_kill(holder);
    ck_assert_int_eq(support_reap(sleeper, 5000), 0);
}
END_TEST

static int count_up(void *context)
{
    (void)context;
    for (int i = 0; i < ROUNDS; i++) {
        if (mproc__robust_acquire(&room->lock, mproc_after_ms(20000)) != 0)
            return 1;
        room->counter++;
        if (mproc__robust_release(&room->lock) != 0)
            return 2;
    }
    return 0;
}

/* shows: SYNC-03 */
START_TEST(processes_exclude_each_other)
{
    pid_t children[WRITERS];

    for (int i = 0; i < WRITERS; i++)
        children[i] = support_fork(count_up, NULL);
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(support_reap(children[i], 15000), 0);
    ck_assert_int_eq(room->counter, (long)WRITERS * ROUNDS);
}
END_TEST

static void *count_up_thread(void *context)
{
    return (void *)(intptr_t)count_up(context);
}

/* shows: SYNC-03 */
START_TEST(threads_exclude_each_other)
{
    pthread_t threads[WRITERS];
    void *result;

    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up_thread, NULL), 0);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], &result);
        ck_assert_ptr_null(result);
    }
    ck_assert_int_eq(room->counter, (long)WRITERS * ROUNDS);
}
END_TEST

/* ---- the list, which libc and the short way share ---- */

enum { MANY = 5 };

static mproc__robust_shared *many_open(void)
{
    mproc__robust_shared *many =
        mmap(NULL, sizeof(*many) * MANY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(many, MAP_FAILED);
    for (int i = 0; i < MANY; i++)
        mproc__robust_init(&many[i], true);
    return many;
}

static int take_by(mproc__robust_shared *robust, bool by_libc)
{
    return by_libc ? -pthread_mutex_lock(&robust->mutex) : mproc__robust_acquire(robust, MPROC_FOREVER);
}

static int give_by(mproc__robust_shared *robust, bool by_libc)
{
    return by_libc ? -pthread_mutex_unlock(&robust->mutex) : mproc__robust_release(robust);
}

/* Every second one is taken by libc; three are given back, not in the order of taking, by whoever did not take them. */
static int take_many_and_die(void *context)
{
    mproc__robust_shared *many = context;
    const int given[] = {0, 3, 4};
    for (int i = 0; i < MANY; i++)
        if (take_by(&many[i], i % 2) != 0)
            return 1;
    for (size_t i = 0; i < MPROC__COUNT(given); i++)
        if (give_by(&many[given[i]], given[i] % 2 == 0) != 0)
            return 2;
    if (take_by(&many[3], false) != 0)
        return 3;
    raise(SIGKILL);
    return 4;
}

/* shows: DEATH-1 DEATH-3 */
START_TEST(libc_and_we_keep_one_list_that_the_kernel_can_walk)
{
    mproc__robust_shared *many = many_open();
    const int expected[MANY] = {0, MPROC_RECOVERED, MPROC_RECOVERED, MPROC_RECOVERED, 0};
    ck_assert_int_eq(support_reap(support_fork(take_many_and_die, many), 5000), 256 + SIGKILL);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(mproc__robust_acquire(&many[i], MPROC_NOW), expected[i]);
        ck_assert_int_eq(mproc__robust_release(&many[i]), 0);
    }
    munmap(many, sizeof(*many) * MANY);
}
END_TEST

START_TEST(a_free_lock_is_not_left_to_libc)
{
#if MPROC__ROBUST_LIST
    ck_assert(mproc__me_look());
    ck_assert(mproc__me_is_true(&mproc__me_now));
    ck_assert(mproc__robust_take(&room->lock));
    ck_assert_int_eq(pthread_mutex_trylock(&room->lock.mutex), EBUSY);
    ck_assert(mproc__robust_give(&room->lock));
    ck_assert(!mproc__robust_give(&room->lock));
#else
    ck_assert(!mproc__me_look());
    ck_assert(!mproc__robust_take(&room->lock));
#endif
}
END_TEST

static int parent_holds(void *context)
{
    (void)context;
    if (mproc__robust_is_mine(&room->lock) || mproc__robust_release(&room->lock) != -EPERM)
        return 1;
    return mproc__robust_acquire(&room->lock, MPROC_NOW) == -ETIMEDOUT ? 0 : 2;
}

START_TEST(a_fork_child_is_not_the_thread_that_forked_it)
{
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, MPROC_NOW), 0);
    ck_assert_int_eq(support_reap(support_fork(parent_holds, NULL), 5000), 0);
    ck_assert_int_eq(mproc__robust_release(&room->lock), 0);
}
END_TEST

START_TEST(a_lock_is_linked_through_the_mapping_it_was_taken_by)
{
#if MPROC__ROBUST_LIST
    int fd = mproc__memfd_create("robust", sizeof(*room));
    ck_assert_int_ge(fd, 0);
    room_shared *maps[2];
    for (int i = 0; i < 2; i++) {
        maps[i] = mmap(NULL, sizeof(*room), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(maps[i], MAP_FAILED);
    }
    mproc__robust_init(&maps[0]->lock, true);
    ck_assert(!mproc__robust_is_linked(&maps[0]->lock));
    ck_assert_int_eq(mproc__robust_acquire(&maps[0]->lock, MPROC_NOW), 0);
    ck_assert(mproc__robust_is_linked(&maps[0]->lock));
    ck_assert(mproc__robust_is_mine(&maps[1]->lock));
    ck_assert(!mproc__robust_is_linked(&maps[1]->lock));
    ck_assert_int_eq(mproc__robust_acquire(&maps[1]->lock, MPROC_NOW), -EDEADLK);
    ck_assert_int_eq(mproc__robust_release(&maps[1]->lock), 0);
    ck_assert(!mproc__robust_is_linked(&maps[0]->lock));
    for (int i = 0; i < 2; i++)
        munmap(maps[i], sizeof(*room));
    close(fd);
#endif
}
END_TEST

START_TEST(the_halves_of_an_acquire_are_the_whole)
{
    pid_t holder = start_holder();
    mproc_deadline deadline = mproc_after_ms(20);
    ck_assert_int_eq(mproc__robust_acquire_awake(&room->lock, deadline), -EBUSY);
    ck_assert_int_eq(mproc__robust_acquire_asleep(&room->lock, deadline), -ETIMEDOUT);
    support_kill(holder);
    ck_assert_int_eq(mproc__robust_acquire_awake(&room->lock, mproc_after_ms(5000)), MPROC_RECOVERED);
    ck_assert_int_eq(mproc__robust_acquire_awake(&room->lock, mproc_after_ms(5000)), -EDEADLK);
    ck_assert_int_eq(mproc__robust_release(&room->lock), 0);
}
END_TEST

START_TEST(a_lock_made_unusable_by_others_is_corrupt)
{
    support_kill(start_holder());
    /* Someone without our library: takes the dead owner's mutex and lets it go without making it consistent. */
    ck_assert_int_eq(pthread_mutex_lock(&room->lock.mutex), EOWNERDEAD);
    pthread_mutex_unlock(&room->lock.mutex);
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, MPROC_FOREVER), MPROC_ECORRUPT);
}
END_TEST

static int finds_it_corrupt(void *unused)
{
    (void)unused;
    return mproc__robust_acquire(&room->lock, MPROC_FOREVER) == MPROC_ECORRUPT ? 0 : 1;
}

/* What libc decides by is overwritten while it sleeps in libc: it must not be asked again. */
START_TEST(a_lock_overwritten_while_somebody_sleeps_for_it_is_corrupt)
{
    pid_t holder = start_holder(), sleeper = support_fork(finds_it_corrupt, NULL);
    ck_assert(support_until_asleep(sleeper, 5000));
    room->lock.mutex.__data.__kind = 128; /* a plain one, shared between processes */
    ck_assert_int_eq(support_reap(sleeper, 5000), 0);
    support_kill(holder);
}
END_TEST

/* Its word is overwritten so that nobody would ever wake the sleeper. */
START_TEST(a_lock_that_waits_for_nobody_is_corrupt)
{
    atomic_store(mproc__robust_word(&room->lock), FUTEX_WAITERS);
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, mproc_after_ms(5000)), MPROC_ECORRUPT);
}
END_TEST

static const int kinds[] = {0, 3, 17, 32, 64, 80, 127, 128, 256, 512, -1, INT32_MAX, INT32_MIN};

/* Its word and its kind are overwritten while it is held: libc would elide, inherit or restore priorities, or assert. */
START_TEST(a_lock_overwritten_while_it_is_held_is_not_given_to_libc)
{
    ck_assert_int_eq(mproc__robust_acquire(&room->lock, MPROC_NOW), 0);
    room->lock.mutex.__data.__kind = kinds[_i];
    atomic_store(mproc__robust_word(&room->lock), (uint32_t)_i % 2 ? 0 : 1);
    ck_assert_int_eq(mproc__robust_release(&room->lock), -EPERM);
    ck_assert_int_ne(mproc__robust_acquire(&room->lock, MPROC_NOW), -EDEADLK);
}
END_TEST

/* The memory of such a lock may go, and the locks taken before and after it are none the worse. */
START_TEST(an_overwritten_lock_does_not_stay_on_the_list)
{
#if MPROC__ROBUST_LIST
    mproc__robust_shared *many = many_open(), *gone = mmap(NULL, sizeof(*gone), PROT_READ | PROT_WRITE,
                                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mproc__robust_init(gone, true);
    ck_assert_int_eq(mproc__robust_acquire(&many[0], MPROC_NOW), 0);
    ck_assert_int_eq(mproc__robust_acquire(gone, MPROC_NOW), 0);
    ck_assert_int_eq(mproc__robust_acquire(&many[1], MPROC_NOW), 0);
    atomic_store(mproc__robust_word(gone), _i ? FUTEX_WAITERS | 1u : 0);
    ck_assert(mproc__robust_is_linked(gone));
    ck_assert_int_eq(mproc__robust_release(gone), -EPERM);
    ck_assert(!mproc__robust_is_linked(gone));
    ck_assert_int_eq(mprotect(gone, sizeof(*gone), PROT_NONE), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mproc__robust_acquire(&many[i], MPROC_NOW), i < 2 ? -EDEADLK : 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mproc__robust_release(&many[i]), 0);
    munmap(gone, sizeof(*gone));
    munmap(many, sizeof(*many) * MANY);
#endif
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("robust");
    TCase *all = support_case(suite, "robust");

    tcase_add_checked_fixture(all, room_open, room_close);
    tcase_add_test(all, a_free_lock_is_taken_and_given_back);
    tcase_add_test(all, taking_ones_own_lock_again_is_a_deadlock_told);
    tcase_add_test(all, anothers_lock_is_waited_for_until_the_deadline);
    tcase_add_test(all, a_dead_owners_lock_goes_to_the_next_who_is_told_once);
    tcase_add_test(all, a_recoverer_that_dies_is_recovered_from);
    tcase_add_test(all, a_sleeper_is_woken_by_the_owners_death);
    tcase_add_test(all, processes_exclude_each_other);
    tcase_add_test(all, threads_exclude_each_other);
    tcase_add_test(all, libc_and_we_keep_one_list_that_the_kernel_can_walk);
    tcase_add_test(all, a_free_lock_is_not_left_to_libc);
    tcase_add_test(all, a_fork_child_is_not_the_thread_that_forked_it);
    tcase_add_test(all, a_lock_is_linked_through_the_mapping_it_was_taken_by);
    tcase_add_test(all, the_halves_of_an_acquire_are_the_whole);
    tcase_add_test(all, a_lock_made_unusable_by_others_is_corrupt);
    tcase_add_test(all, a_lock_overwritten_while_somebody_sleeps_for_it_is_corrupt);
    tcase_add_test(all, a_lock_that_waits_for_nobody_is_corrupt);
    tcase_add_loop_test(all, a_lock_overwritten_while_it_is_held_is_not_given_to_libc, 0,
                        (int)MPROC__COUNT(kinds));
    tcase_add_loop_test(all, an_overwritten_lock_does_not_stay_on_the_list, 0, 2);
    return support_run(suite, argc, argv);
}
