/* SPDX-License-Identifier: BSD-2-Clause */
/* Semaphores by name, shared with a program that knows only <semaphore.h> (posix_peer.c). */
#include "platform/base.h"

#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/parcel.h"
#include "platform/platform.h"
#include "semaphore_common.h"

static char name[64];
static char peer_path[4096];

static int peer_exec(void *arguments)
{
    char **argv = arguments;
    execv(peer_path, argv);
    return 99;
}

static pid_t peer_start(const char *verb, const char *number)
{
    char *argv[] = {peer_path, name, (char *)(uintptr_t)verb, (char *)(uintptr_t)number, NULL};
    return support_fork(peer_exec, argv);
}

static int peer(const char *verb, const char *number)
{
    return support_reap(peer_start(verb, number), LONG_MS);
}

static void posix_make(int64_t value)
{
    snprintf(name, sizeof(name), "/mproc-check-%d", (int)getpid());
    sem_unlink(name);
    ck_assert_int_eq(mproc_semaphore_create(NULL, value,
                                            MPROC_WITH(mproc_semaphore_options, .name = name, .posix = true),
                                            &semaphore),
                     0);
}

static void posix_drop(void)
{
    semaphore_drop();
    sem_unlink(name);
}

START_TEST(a_program_that_knows_only_semaphore_h_counts_the_same)
{
    posix_make(2);
    ck_assert_int_eq(peer("value", NULL), 2);
    ck_assert_int_eq(peer("wait", NULL), 0);
    ck_assert_uint_eq(free_permits(), 1);
    ck_assert_int_eq(take_now(NULL), 0);
    ck_assert_int_eq(peer("try", NULL), 1);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(peer("post", "3"), 0);
    ck_assert_uint_eq(free_permits(), 3);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 2), 0);
    ck_assert_int_eq(peer("value", NULL), 5);
    posix_drop();
}
END_TEST

START_TEST(each_wakes_the_other)
{
    sleeper waiter;
    posix_make(0);
    sleeper_start(_i == 0, take_soon, &waiter);
    ck_assert_int_eq(peer("post", "1"), 0);
    ck_assert_int_eq(sleeper_end(&waiter), 0);
    pid_t other = peer_start("wait", NULL);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, mproc_after_ms(50)), -ETIMEDOUT);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
    ck_assert_int_eq(support_reap(other, LONG_MS), 0);
    posix_drop();
}
END_TEST

START_TEST(one_that_the_other_made_is_opened_by_its_name)
{
    mproc_semaphore *none = NULL;
    posix_make(0);
    posix_drop();
    ck_assert_int_eq(mproc_semaphore_open_posix(name, &none), -ENOENT);
    ck_assert_int_eq(peer("create", "3"), 0);
    ck_assert_int_eq(mproc_semaphore_open_posix(name, &semaphore), 0);
    ck_assert_uint_eq(free_permits(), 3);
    const mproc_semaphore_options *again = MPROC_WITH(mproc_semaphore_options, .name = name, .posix = true);
    ck_assert_int_eq(mproc_semaphore_create(NULL, 1, again, &none), -EEXIST);
    again = MPROC_WITH(mproc_semaphore_options, .name = name, .posix = true, .and_open = true);
    ck_assert_int_eq(mproc_semaphore_create(NULL, 1, again, &none), 0);
    ck_assert_int_eq(mproc_semaphore_acquire(none, MPROC_NOW), 0);
    mproc_semaphore_close(&none);
    ck_assert_uint_eq(free_permits(), 2);
    ck_assert_int_eq(peer("unlink", NULL), 0);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0); /* the name is gone, the semaphore is not */
    ck_assert_uint_eq(free_permits(), 3);
    posix_drop();
}
END_TEST

static void interrupt(int number)
{
    (void)number;
}

static int interrupted(void *unused)
{
    (void)unused;
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = interrupt}, NULL);
    int64_t start = mproc__now_ns();
    if (mproc_semaphore_acquire(semaphore, mproc_after_ms(150)) != -ETIMEDOUT)
        return 1;
    return since_ms(start) < 150 ? 2 : take_soon(NULL);
}

START_TEST(signals_and_deadlines_are_as_with_the_other_kinds)
{
    posix_make(0);
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, mproc_after_ms(30)), -ETIMEDOUT);
    ck_assert_int_ge(since_ms(start), 30);
    ck_assert_int_lt(since_ms(start), 30 + support_ms(PROMPT_MS));
    pid_t child = support_fork(interrupted, NULL);
    ck_assert(support_until_asleep(child, LONG_MS));
    kill(child, SIGUSR1);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, mproc_after_ms(200)), -ETIMEDOUT);
    ck_assert(support_until_asleep(child, LONG_MS));
    kill(child, SIGUSR1);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
    ck_assert_int_eq(support_reap(child, LONG_MS), 0);
    posix_drop();
}
END_TEST

START_TEST(a_permit_of_the_dead_stays_taken)
{
    int one = 1;
    posix_make(1);
    ck_assert_int_eq(in_child(take_and_die, &one), 256 + SIGKILL);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(in_child(give_one, NULL), 0);
    ck_assert_uint_eq(free_permits(), 1);
    posix_drop();
}
END_TEST

START_TEST(a_release_above_the_maximum_is_refused_without_effect)
{
    posix_make(2147483645);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 3), -EOVERFLOW);
    ck_assert_uint_eq(free_permits(), 2147483645);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 2), 0);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), -EOVERFLOW);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 0), -EINVAL);
    ck_assert_uint_eq(free_permits(), 2147483647);
    posix_drop();
}
END_TEST

static int created(const char *with, bool bounded, mproc_place *where)
{
    mproc_semaphore *none = NULL;
    int code = mproc_semaphore_create(
        where, 1, MPROC_WITH(mproc_semaphore_options, .name = with, .posix = true, .bounded = bounded),
        &none);
    ck_assert_ptr_null(none);
    return code;
}

START_TEST(bad_names_and_options_are_refused_each_by_its_own_error)
{
    char long_name[300];
    mproc_semaphore *none = NULL;
    memset(long_name, 'x', sizeof(long_name));
    long_name[0] = '/';
    long_name[sizeof(long_name) - 1] = '\0';
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    ck_assert_int_eq(created(NULL, false, NULL), -EINVAL);
    ck_assert_int_eq(created("", false, NULL), -EINVAL);
    ck_assert_int_eq(created("/", false, NULL), -EINVAL);
    ck_assert_int_eq(created("name", false, NULL), -EINVAL);
    ck_assert_int_eq(created("/a/b", false, NULL), -EINVAL);
    ck_assert_int_eq(created(long_name, false, NULL), -ENAMETOOLONG);
    ck_assert_int_eq(created("/good", true, NULL), -EINVAL);
    ck_assert_int_eq(created("/good", false, place), MPROC_EPLACE);
    ck_assert_int_eq(mproc_semaphore_open_posix(long_name, &none), -ENAMETOOLONG);
    ck_assert_int_eq(mproc_semaphore_open_posix("/good", NULL), -EINVAL);
    ck_assert_int_eq(mproc_semaphore_open_posix(NULL, &none), -EINVAL);
    ck_assert_ptr_null(none);
    mproc_place_close(&place);
}
END_TEST

START_TEST(the_longest_name_works)
{
    mproc_semaphore *longest = NULL;
    char long_name[252];
    memset(long_name, 'x', sizeof(long_name));
    long_name[0] = '/';
    long_name[sizeof(long_name) - 1] = '\0';
    sem_unlink(long_name);
    const mproc_semaphore_options *options =
        MPROC_WITH(mproc_semaphore_options, .name = long_name, .posix = true);
    ck_assert_int_eq(mproc_semaphore_create(NULL, 1, options, &longest), 0);
    mproc_semaphore_close(&longest);
    ck_assert_int_eq(sem_unlink(long_name), 0);
}
END_TEST

START_TEST(it_is_described_and_does_not_cross)
{
    char text[200];
    posix_make(4);
    mproc_describe(semaphore, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "posix semaphore /mproc-check-"));
    ck_assert_ptr_nonnull(strstr(text, ", 4 free"));
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(semaphore)), MPROC_ECANNOTCROSS);
    mproc__parcel_clear(&parcel, false);
    posix_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("semaphore_posix");
    TCase *shared = support_case(suite, "shared");
    const char *end = strrchr(argv[0], '/'); /* libtool runs programs from .libs */
    const char *libs = strstr(argv[0], "/.libs/");
    snprintf(peer_path, sizeof(peer_path), "%.*s/posix_peer", (int)((libs ? libs : end) - argv[0]), argv[0]);
    tcase_add_test(shared, a_program_that_knows_only_semaphore_h_counts_the_same);
    tcase_add_loop_test(shared, each_wakes_the_other, 0, 2);
    tcase_add_test(shared, one_that_the_other_made_is_opened_by_its_name);
    tcase_add_test(shared, signals_and_deadlines_are_as_with_the_other_kinds);
    tcase_add_test(shared, a_permit_of_the_dead_stays_taken);
    TCase *input = support_case(suite, "input");
    tcase_add_test(input, a_release_above_the_maximum_is_refused_without_effect);
    tcase_add_test(input, bad_names_and_options_are_refused_each_by_its_own_error);
    tcase_add_test(input, the_longest_name_works);
    tcase_add_test(input, it_is_described_and_does_not_cross);
    return support_run(suite, argc, argv);
}
