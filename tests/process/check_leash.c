/* SPDX-License-Identifier: BSD-2-Clause */
/* The leash: nobody outlives an owner that dies together with its nursery, and nothing else pulls at it. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "process/process.h"
#include "process/process_support.h"

enum { LIVE_MS = 250, QUIET_MS = 30, CHILDREN = 3 };

static int sleeps(mproc_call *call)
{
    while (!mproc_call_stopping(call))
        pause();
    return 0;
}

typedef struct owner {
    int method;
    bool forks; /* has made a copy of itself meanwhile, which ends first */
} owner;

/* No call between the two deaths. */
static int dies_behind_its_nursery(void *context)
{
    const owner *me = context;
    mproc_process *children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++)
        if (mproc_process_start(sleeps, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)me->method),
                                &children[i]) < 0)
            return 1;
    if (me->forks) {
        pid_t copy = fork();
        if (copy == 0)
            _exit(0);
        if (waitpid(copy, NULL, 0) != copy)
            return 2;
    }
    for (int i = 0; i < CHILDREN; i++)
        if (!mproc_process_is_alive(children[i]))
            return 3;
    mproc__nursery *nursery = children[0]->nursery;
    if (kill(nursery->pid, SIGKILL) < 0 ||
        mproc__fd_poll(nursery->pidfd, POLLIN, mproc_after_ms(support_ms(LIMIT_MS))) < 0)
        return 4;
    return kill(getpid(), SIGKILL);
}

/* shows: DEATH-9 */
START_TEST(nobody_outlives_an_owner_that_is_killed_right_after_its_nursery)
{
    owner me = {MPROC_START_FORK + _i / 2, _i % 2};
    pid_t pid = support_fork(dies_behind_its_nursery, &me);
    ck_assert_int_eq(support_reap(pid, LIMIT_MS), 256 + SIGKILL);
    ck_assert(support_until(nobody_is_left, NULL, LIVE_MS));
}
END_TEST

static void *starts_one(void *context)
{
    *(mproc_process **)context = start(MPROC_START_FORK, sleeps, MPROC_NONE);
    return NULL;
}

/* A thread's end, a copy of the program, the other's collecting, the nursery's death. */
START_TEST(as_long_as_the_owner_lives_nothing_kills_a_child_by_its_leash)
{
    pthread_t thread;
    mproc_process *child = NULL;
    warm();
    ck_assert_int_eq(pthread_create(&thread, NULL, starts_one, &child), 0);
    pthread_join(thread, NULL);
    ck_assert_int_ge(child->leash[1], 0);
    ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
    ck_assert_int_eq(run(MPROC_START_SPAWN, nothing, MPROC_NONE), 0);
    pid_t copy = fork();
    if (copy == 0)
        _exit(0);
    ck_assert_int_eq(support_reap(copy, LIMIT_MS), 0);
    ck_assert_int_eq(kill(child->nursery->pid, SIGKILL), 0);
    ck_assert_int_eq(mproc__fd_poll(child->pidfd, POLLIN, mproc_after_ms(QUIET_MS)), -ETIMEDOUT);
    ck_assert_int_eq(mproc_process_stop(child, mproc_after_ms(support_ms(LIMIT_MS))), 0);
    ck_assert_int_eq(child->leash[0], -1);
    mproc_process_close(&child);
    support_leaks_begin(); /* another nursery */
}
END_TEST

/* What a program has for itself is not taken. */
START_TEST(a_start_that_finds_few_descriptors_does_without_a_leash)
{
    struct rlimit limit;
    warm();
    mproc_process *with = start(MPROC_START_FORK, sleeps, MPROC_NONE);
    ck_assert_int_ge(with->leash[0], 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)with->leash[1] + 8;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    mproc_process *without = start(MPROC_START_FORK, sleeps, MPROC_NONE);
    ck_assert_int_eq(without->leash[0], -1);
    ck_assert_int_eq(without->leash[1], -1);
    mproc_process *both[] = {with, without};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(mproc_process_stop(both[i], mproc_after_ms(support_ms(LIMIT_MS))), 0);
        mproc_process_close(&both[i]);
    }
}
END_TEST

/* ---- nothing goes through it ---- */

enum { SOCKETS_MOST = 64 };
static struct {
    ino_t numbers[SOCKETS_MOST];
    size_t count;
} at_fork;

static ino_t socket_number(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

static void note_sockets(void)
{
    at_fork.count = 0;
    for (int fd = 3; fd < 256 && at_fork.count < SOCKETS_MOST; fd++)
        if ((at_fork.numbers[at_fork.count] = socket_number(fd)) != 0)
            at_fork.count++;
}

/* Who has read a message may ask for signals of the socket before its sender is told of them by the kernel, and a child that
 * says "ready" would be killed by that: once in thousands of starts. So it must not have had an end. */
START_TEST(no_word_of_a_child_went_through_its_leash)
{
    warm();
    ck_assert_int_eq(pthread_atfork(note_sockets, NULL, NULL), 0);
    mproc_process *child = start(MPROC_START_FORK, sleeps, MPROC_NONE);
    ck_assert_uint_ge(at_fork.count, 2); /* the conversation's */
    for (int i = 0; i < 2; i++) {
        ino_t number = socket_number(child->leash[i]);
        ck_assert_uint_ne(number, 0);
        for (size_t k = 0; k < at_fork.count; k++)
            ck_assert_uint_ne(number, at_fork.numbers[k]);
    }
    ck_assert_int_eq(mproc_process_stop(child, mproc_after_ms(support_ms(LIMIT_MS))), 0);
    mproc_process_close(&child);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("leash");
    TCase *leash = support_case(suite, "leash");
    tcase_add_loop_test(leash, nobody_outlives_an_owner_that_is_killed_right_after_its_nursery, 0, 4);
    tcase_add_test(leash, as_long_as_the_owner_lives_nothing_kills_a_child_by_its_leash);
    tcase_add_test(leash, a_start_that_finds_few_descriptors_does_without_a_leash);
    tcase_add_test(leash, no_word_of_a_child_went_through_its_leash);
    return support_run(suite, argc, argv);
}
