/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleeping on words: one and many, across processes, with deadlines and signals. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "platform/platform.h"
#include "support/support.h"

enum { WORDS = 4 };

static _Atomic uint32_t *words_map(void)
{
    void *words =
        mmap(NULL, WORDS * sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(words, MAP_FAILED);
    return words;
}

static void words_unmap(_Atomic uint32_t *words)
{
    munmap((void *)words, WORDS * sizeof(uint32_t));
}

START_TEST(a_changed_word_does_not_sleep)
{
    _Atomic uint32_t word = 5;

    ck_assert_int_eq(mproc__futex_wait(&word, 4, false, MPROC_FOREVER), 0);
    ck_assert_int_eq(mproc__futex_wait(&word, 4, false, MPROC_NOW), 0);
}
END_TEST

START_TEST(a_passed_deadline_ends_the_sleep)
{
    _Atomic uint32_t word = 5;
    mproc_deadline deadline = mproc_after_ms(20);

    ck_assert_int_eq(mproc__futex_wait(&word, 5, false, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc__futex_wait(&word, 5, true, deadline), -ETIMEDOUT);
    ck_assert(mproc__deadline_past(deadline));
}
END_TEST

static int wait_for_one(void *context)
{
    _Atomic uint32_t *words = context;

    while (atomic_load(&words[0]) == 0)
        if (mproc__futex_wait(&words[0], 0, true, mproc_after_ms(10000)) != 0)
            return 1;
    return 0;
}

START_TEST(a_wake_reaches_another_process)
{
    _Atomic uint32_t *words = words_map();
    pid_t child = support_fork(wait_for_one, (void *)words);

    ck_assert(support_until_asleep(child, 5000));
    atomic_store(&words[0], 1);
    mproc__futex_wake(&words[0], UINT32_MAX, true);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    words_unmap(words);
}
END_TEST

static int wait_for_any(void *context)
{
    _Atomic uint32_t *words = context;
    mproc__futex_word list[WORDS];

    for (unsigned i = 0; i < WORDS; i++)
        list[i] = (mproc__futex_word){&words[i], 0};
    int index = mproc__futex_waitv(list, WORDS, mproc_after_ms(10000));
    return index < 0 ? 100 : index;
}

START_TEST(a_wait_for_many_tells_which_word_woke_it)
{
    _Atomic uint32_t *words = words_map();
    pid_t child = support_fork(wait_for_any, (void *)words);

    ck_assert(support_until_asleep(child, 5000));
    atomic_store(&words[2], 1);
    mproc__futex_wake(&words[2], 1, true);
    ck_assert_int_eq(support_reap(child, 5000), 2);
    words_unmap(words);
}
END_TEST

START_TEST(a_wait_for_many_looks_before_it_sleeps)
{
    _Atomic uint32_t words[2] = {0, 7};
    mproc__futex_word list[2] = {{&words[0], 0}, {&words[1], 0}};

    ck_assert_int_eq(mproc__futex_waitv(list, 2, MPROC_FOREVER), -EAGAIN);
    list[1].expected = 7;
    ck_assert_int_eq(mproc__futex_waitv(list, 2, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc__futex_waitv(list, 2, mproc_after_ms(10)), -ETIMEDOUT);
}
END_TEST

static void ignore_signal(int number)
{
    (void)number;
}

static int wait_once_with_handler(void *context)
{
    _Atomic uint32_t *words = context;
    mproc__futex_word one = {&words[0], 0};
    struct sigaction action = {.sa_handler = ignore_signal};

    sigaction(SIGUSR1, &action, NULL);
    atomic_store(&words[1], 1);
    if (mproc__futex_wait(&words[0], 0, true, mproc_after_ms(10000)) != 0)
        return 1;
    atomic_store(&words[1], 2);
    return mproc__futex_waitv(&one, 1, mproc_after_ms(10000)) == -EAGAIN ? 0 : 2;
}

static bool second_word_is_two(void *context)
{
    return atomic_load((_Atomic uint32_t *)context + 1) == 2;
}

START_TEST(a_signal_makes_the_sleeper_look_again)
{
    _Atomic uint32_t *words = words_map();
    pid_t child = support_fork(wait_once_with_handler, (void *)words);

    ck_assert(support_until_asleep(child, 5000));
    kill(child, SIGUSR1);
    ck_assert(support_until(second_word_is_two, (void *)words, 5000));
    ck_assert(support_until_asleep(child, 5000));
    kill(child, SIGUSR1);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    words_unmap(words);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("futex");
    TCase *all = support_case(suite, "futex");

    tcase_add_test(all, a_changed_word_does_not_sleep);
    tcase_add_test(all, a_passed_deadline_ends_the_sleep);
    tcase_add_test(all, a_wake_reaches_another_process);
    tcase_add_test(all, a_wait_for_many_tells_which_word_woke_it);
    tcase_add_test(all, a_wait_for_many_looks_before_it_sleeps);
    tcase_add_test(all, a_signal_makes_the_sleeper_look_again);
    return support_run(suite, argc, argv);
}
