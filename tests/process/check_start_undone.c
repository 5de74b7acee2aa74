/* SPDX-License-Identifier: BSD-2-Clause */
/* Starts that fail half-way are undone, and what undoes them meets nobody else. */
#include "platform/base.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "process/boot.h"
#include "process/process.h"
#include "process/program_support.h"
#include "process/spares_support.h"

/* ---- descriptors closed twice ---- */

/* In this process, the library's among them: the number may be another thread's by the second time. */
static atomic_uint closed_twice;

int close(int fd)
{
    int rc = (int)syscall(SYS_close, fd);
    closed_twice += rc < 0 && errno == EBADF;
    return rc;
}

/* ---- a slot's next child ---- */

enum { UNDO_ROUNDS = 60, UNDO_TEXT_BYTES = 200000, UNDO_EXIT_CODE = 7, FIRST_STARTS = 5 };

static int lives_for_a_moment(mproc_call *call)
{
    (void)call;
    usleep(2000);
    return UNDO_EXIT_CODE;
}

/* A forkserver child that says what fails in its first steps, and goes. */
static int fail_to_start(void)
{
    static char text[UNDO_TEXT_BYTES];
    mproc_process *process = NULL;
    memset(text, 'a', sizeof text - 1);
    return mproc_process_start(
        lives_for_a_moment, MPROC_ARGS(text),
        MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER, .limits.memory_bytes = 1),
        &process);
}

/* shows: START-27 */
START_TEST(what_undoes_a_failed_start_never_meets_the_next_child_of_its_slot)
{
    warm_spares(0);
    for (unsigned spares = 0; spares <= 2; spares += 2) {
        ck_assert_int_eq(mproc_set_spares(spares), 0);
        for (int i = 0; i < (_i == MPROC_START_SPAWN ? UNDO_ROUNDS / 4 : UNDO_ROUNDS); i++) {
            ck_assert_int_lt(fail_to_start(), 0);
            ck_assert_int_eq(run(_i, lives_for_a_moment, MPROC_NONE), UNDO_EXIT_CODE);
        }
    }
}
END_TEST

/* shows: START-27 */
START_TEST(a_start_that_fails_with_and_without_a_spare_closes_each_descriptor_once)
{
    warm_spares((unsigned)_i);
    closed_twice = 0;
    for (int i = 0; i < 3; i++) {
        await_spares(_i);
        ck_assert_int_lt(fail_to_start(), 0);
    }
    ck_assert_uint_eq(closed_twice, 0);
}
END_TEST

static void *fails_to_start(void *unused)
{
    int started = 0;
    (void)unused;
    for (int i = 0; i < UNDO_ROUNDS; i++)
        started += fail_to_start() == 0;
    return started ? strdup("one that was to fail was started") : NULL;
}

/* Null, or what was wrong with one, which the caller frees. */
static void *starts_well(void *unused)
{
    char *wrong = NULL;
    (void)unused;
    for (int i = 0; !wrong && i < UNDO_ROUNDS; i++) {
        mproc_process *process = NULL;
        int exit_code = 0;
        int rc =
            mproc_process_start(lives_for_a_moment, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER), &process);
        if (rc == 0)
            rc = mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code);
        if ((rc < 0 || exit_code != UNDO_EXIT_CODE) &&
            asprintf(&wrong, "round %d: %d %s, exit code %d", i, rc,
                     rc < 0 ? mproc_error_text(mproc_last_error()) : "", exit_code) < 0)
            wrong = strdup("no memory");
        mproc_process_close(&process);
    }
    return wrong;
}

START_TEST(failing_and_good_starts_of_many_threads_do_not_meet_in_a_slot)
{
    pthread_t threads[4];
    warm_spares((unsigned)_i);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i < 2 ? fails_to_start : starts_well, NULL), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong = NULL;
        ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
        ck_assert_msg(!wrong, "%s", (char *)wrong);
    }
}
END_TEST

/* ---- a nursery on its way, or without descriptors ---- */

/* The load of a forkserver start finds the system without memory, when the nursery has its command already. */
static bool load_refused;

ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
    const struct iovec *first = message->msg_iov;
    if (load_refused && first->iov_len == sizeof(mproc__boot) &&
        ((const mproc__boot *)first->iov_base)->served) {
        load_refused = false;
        errno = ENOMEM;
        return -1;
    }
    return syscall(SYS_sendmsg, socket, message, flags);
}

/* On one CPU who is woken by an answer runs before who gave it goes on, as a rule. */
static void on_one_cpu(void)
{
    cpu_set_t all, one;
    CPU_ZERO(&one);
    ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
}

/* The nursery has said that it begins, and has not got its row: what kills the failed start's child comes to it together with
 * the next start. */
START_TEST(a_first_start_that_fails_leaves_its_slot_only_when_the_nursery_is_done_with_it)
{
    mproc_process *process;
    on_one_cpu();
    ck_assert_int_eq(mproc_set_spares(0), 0);
    load_refused = true;
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE,
                                         MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER),
                                         &process),
                     -ENOMEM);
    ck_assert(!load_refused);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(run(MPROC_START_FORKSERVER, lives_for_a_moment, MPROC_NONE), UNDO_EXIT_CODE);
    support_leaks_begin(); /* the nursery stays */
}
END_TEST

static void nursery_limit(rlim_t soft, rlim_t hard)
{
    const struct rlimit limit = {soft, hard};
    ck_assert_int_eq(prlimit(nursery_pid(), RLIMIT_NOFILE, &limit, NULL), 0);
}

/* shows: START-27 */
START_TEST(a_nursery_without_room_for_descriptors_is_given_more_or_says_so)
{
    struct rlimit ours;
    mproc_process *process;
    warm_spares(0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &ours), 0);
    nursery_limit(0, ours.rlim_max);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, lives_for_a_moment, MPROC_NONE), UNDO_EXIT_CODE);
    nursery_limit(0, 0);
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE,
                                         MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER),
                                         &process),
                     -EMFILE);
    kill(nursery_pid(), SIGKILL); /* its limit cannot be raised again */
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
    support_leaks_begin(); /* the next one stays */
}
END_TEST

static bool nursery_has(rlim_t fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)nursery_pid(), (int)fd);
    return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Room for one descriptor: the socket of a request, but not what comes over it. */
static void nursery_limit_to_one_more(rlim_t hard)
{
    rlim_t lowest = 0;
    while (nursery_has(lowest))
        lowest++;
    nursery_limit(lowest + 1, hard);
}

/* shows: START-27 */
START_TEST(a_program_that_the_nursery_has_refused_for_its_limit_is_started_with_more)
{
    struct rlimit ours;
    on_one_cpu();
    warm_spares(0);
    ck_assert_int_eq(setpriority(PRIO_PROCESS, (id_t)nursery_pid(), 19), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &ours), 0);
    for (int i = 0; i < UNDO_ROUNDS; i++) {
        nursery_limit_to_one_more(ours.rlim_max);
        mproc_process *process = launch(ARGV("true"), OPTIONS(.capture = true));
        ck_assert_int_eq(join(process), 0);
        mproc_process_close(&process);
    }
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("start undone");
    TCase *undone = support_case(suite, "undone");
    tcase_add_loop_test(undone, what_undoes_a_failed_start_never_meets_the_next_child_of_its_slot,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(undone, a_start_that_fails_with_and_without_a_spare_closes_each_descriptor_once, 0,
                        2);
    tcase_add_loop_test(undone, failing_and_good_starts_of_many_threads_do_not_meet_in_a_slot, 0, 3);
    TCase *nursery = support_case(suite, "nursery");
    tcase_add_loop_test(nursery,
                        a_first_start_that_fails_leaves_its_slot_only_when_the_nursery_is_done_with_it, 0,
                        FIRST_STARTS);
    tcase_add_test(nursery, a_nursery_without_room_for_descriptors_is_given_more_or_says_so);
    tcase_add_test(nursery, a_program_that_the_nursery_has_refused_for_its_limit_is_started_with_more);
    return support_run(suite, argc, argv);
}
