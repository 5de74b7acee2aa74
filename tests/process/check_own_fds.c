/* SPDX-License-Identifier: BSD-2-Clause */
/* What children by fork do not inherit: descriptors of the library's own, of finished starts and of those that other
 * threads are in the midst of. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <mproc/program.h>
#include <mproc/wait.h>
#include "process/own_fds.h"
#include "process/process_support.h"

/* What the program has open itself, before any start. */
static struct {
    bool open[1024];
} mine;

static void mine_note(void)
{
    for (int fd = 0; fd < (int)MPROC__COUNT(mine.open); fd++)
        mine.open[fd] = fcntl(fd, F_GETFD) >= 0;
}

/* Its own and nothing else, an empty mask, default dispositions. */
static int has_what_it_was_given(mproc_call *call)
{
    sigset_t mask;
    (void)call;
    for (int fd = 0; fd < (int)MPROC__COUNT(mine.open); fd++)
        if ((fcntl(fd, F_GETFD) >= 0) != mine.open[fd])
            return mine.open[fd] ? 2 : 1;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (!sigisemptyset(&mask))
        return 3;
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
#ifdef __SANITIZE_ADDRESS__
        if (number == SIGSEGV || number == SIGBUS || number == SIGFPE)
            continue; /* the sanitizer's own, set in every program before main */
#endif
        if (number != 32 && number != 33 && /* libc's own two */
            sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            return 4;
    }
    return 0;
}

static void on_signal(int number)
{
    (void)number;
}

enum { STARTERS = 8, EACH = 13 };

typedef struct starter {
    pthread_t thread;
    int method;
    int failures[6]; /* by exit code; [5]: no start */
} starter;

/* Two threads in three start by fork, the third by what is looped over; all are checked. */
static void *starts_many(void *context)
{
    starter *of = context;
    for (int i = 0; i < EACH; i++) {
        mproc_process *process;
        int exit_code = 5;
        if (mproc_process_start(of->method == MPROC_START_FORK ? has_what_it_was_given : nothing, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)of->method),
                                &process) != 0 ||
            mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code) != 0)
            exit_code = 5;
        else
            mproc_process_close(&process);
        of->failures[exit_code >= 0 && exit_code < 6 ? exit_code : 5]++;
    }
    return NULL;
}

/* shows: START-B */
START_TEST(a_hundred_fork_children_of_eight_threads_have_the_programs_own_descriptors_only)
{
    struct sigaction action = {.sa_handler = on_signal}, before;
    starter starters[STARTERS] = {0};
    mine_note();
    warm();
    sigaction(SIGUSR1, &action, &before);
    for (int i = 0; i < STARTERS; i++) {
        starters[i].method = i % 3 == 2 ? _i : MPROC_START_FORK;
        ck_assert_int_eq(pthread_create(&starters[i].thread, NULL, starts_many, &starters[i]), 0);
    }
    for (int i = 0; i < STARTERS; i++) {
        pthread_join(starters[i].thread, NULL);
        ck_assert_msg(starters[i].failures[0] == EACH,
                      "thread %d: %d children had more, %d less, %d a mask, %d dispositions, %d none", i,
                      starters[i].failures[1], starters[i].failures[2], starters[i].failures[3],
                      starters[i].failures[4], starters[i].failures[5]);
    }
    sigaction(SIGUSR1, &before, NULL);
}
END_TEST

/* ---- the program's own forks ---- */

static int looks(void *unused)
{
    (void)unused;
    for (int fd = 0; fd < (int)MPROC__COUNT(mine.open); fd++)
        if (!mine.open[fd] && fcntl(fd, F_GETFD) >= 0)
            return 1;
    return 0;
}

static _Atomic bool starts_stop;

static void *starts_on(void *context)
{
    static const char *const argv[] = {"cat", NULL};
    int method = *(int *)context;
    while (!atomic_load(&starts_stop)) {
        mproc_process *process;
        int rc = method ? mproc_process_start(nothing, MPROC_NONE,
                                              MPROC_WITH(mproc_process_options, .start = (mproc_start)method),
                                              &process)
                        : mproc_process_start_program(argv,
                                                      MPROC_WITH(mproc_program_options, .capture = true,
                                                                 .input.kind = MPROC_STREAM_PIPE),
                                                      &process);
        if (rc < 0 || (!method && mproc_process_pipe_close(process, 0) < 0) ||
            mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), NULL) < 0)
            return context;
        mproc_process_close(&process);
    }
    return NULL;
}

/* Also of a program's pipes: a copy of the writing end of its input would keep it from ever seeing the end. */
/* shows: START-B */
START_TEST(the_programs_own_forks_inherit_nothing_of_a_start_that_another_thread_is_in)
{
    enum { FORKS = 150 };
    pthread_t threads[2];
    void *failed;
    mine_note();
    warm();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, starts_on, &_i), 0);
    for (int i = 0; i < FORKS; i++)
        ck_assert_int_eq(support_reap(support_fork(looks, NULL), LIMIT_MS), 0);
    atomic_store(&starts_stop, true);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

/* ---- the notes ---- */

static int sees(void *context)
{
    const int *fds = context;
    return (fcntl(fds[0], F_GETFD) >= 0) + 2 * (fcntl(fds[1], F_GETFD) >= 0);
}

START_TEST(a_noted_descriptor_is_closed_in_a_fork_child_until_it_is_released)
{
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    mproc__own_fds_begin();
    mproc__own_fd_note(fds[0]);
    mproc__own_fd_note(-1);
    mproc__own_fds_end();
    ck_assert_int_eq(support_reap(support_fork(sees, fds), LIMIT_MS), 2);
    mproc__own_fd_keep(fds[0], NULL, 0);
    ck_assert_int_eq(support_reap(support_fork(sees, fds), LIMIT_MS), 3);
    mproc__own_fd_keep(fds[1], fds, 1);
    ck_assert_int_eq(support_reap(support_fork(sees, fds), LIMIT_MS), 3);
    mproc__own_fd_keep(-1, NULL, 0);
    ck_assert_int_eq(support_reap(support_fork(sees, fds), LIMIT_MS), 2);
    mproc__own_fd_release(fds[0]);
    ck_assert_int_eq(support_reap(support_fork(sees, fds), LIMIT_MS), 3);
    mproc__own_fd_close(fds[0]);
    mproc__own_fd_close(fds[1]); /* never noted */
    ck_assert_int_eq(fcntl(fds[0], F_GETFD), -1);
    ck_assert_int_eq(fcntl(fds[1], F_GETFD), -1);
}
END_TEST

/* ---- what the program's hooks open ---- */

enum { OPENED = 40 };
static struct {
    bool now;
    int fds[OPENED];
} opens;

/* In a fork child, before the hooks of the library that are registered at the first start. */
static void opens_some(void)
{
    for (int i = 0; opens.now && i < OPENED; i++)
        opens.fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

enum { THREAD = PROCESS_METHODS, ENDED, PROGRAM, HANDLES };

static int has_what_was_opened(void *context)
{
    mproc_process **processes = context;
    for (int i = 0; i < HANDLES; i++)
        mproc_process_close(&processes[i]);
    mproc_variant list;
    if (mproc_process_children(&list) != 0) /* lets go of what was the parent's */
        return 2;
    mproc_variant_clear(&list);
    for (int i = 0; i < OPENED; i++)
        if (opens.fds[i] < 0 || fcntl(opens.fds[i], F_GETFD) < 0)
            return 1;
    return 0;
}

static int waits(mproc_call *call)
{
    while (!mproc_call_stopping(call))
        poll(NULL, 0, 1);
    return 0;
}

START_TEST(what_the_programs_own_hooks_open_in_a_fork_child_stays_open)
{
    static const char *const argv[] = {"cat", NULL};
    mproc_process *processes[HANDLES] = {0};
    warm();
    for (int method = FIRST_METHOD; method < PROCESS_METHODS; method++)
        processes[method] = start(method, waits, MPROC_NONE);
    processes[THREAD] = start(MPROC_START_THREAD, waits, MPROC_NONE);
    ck_assert_int_ge(mproc_wait_fd(processes[THREAD]), 0);
    processes[ENDED] = start(MPROC_START_FORK, nothing, MPROC_NONE);
    ck_assert_int_eq(join(processes[ENDED]), 0);
    ck_assert_int_eq(mproc_process_start_program(
                         argv,
                         MPROC_WITH(mproc_program_options, .capture = true, .input.kind = MPROC_STREAM_PIPE),
                         &processes[PROGRAM]),
                     0);
    opens.now = true;
    pid_t pid = support_fork(has_what_was_opened, processes);
    opens.now = false;
    ck_assert_int_eq(support_reap(pid, LIMIT_MS), 0);
    for (int i = FIRST_METHOD; i < HANDLES; i++) {
        ck_assert_int_eq(mproc_process_stop(processes[i], mproc_after_ms(support_ms(LIMIT_MS))), 0);
        mproc_process_close(&processes[i]);
    }
}
END_TEST

/* ---- descriptors of questions ---- */

static int is_closed(void *context)
{
    return fcntl(*(int *)context, F_GETFD) < 0 ? 0 : 1;
}

START_TEST(the_descriptor_of_a_threads_end_is_closed_in_a_fork_child)
{
    warm();
    mproc_process *thread = start(MPROC_START_THREAD, waits, MPROC_NONE);
    int fd = mproc_wait_fd(thread);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(support_reap(support_fork(is_closed, &fd), LIMIT_MS), 0);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    ck_assert_int_eq(mproc_process_stop(thread, mproc_after_ms(support_ms(LIMIT_MS))), 0);
    mproc_process_close(&thread);
}
END_TEST

static int forks_beside_the_parents(mproc_call *call)
{
    int fd = mproc_wait_fd(mproc_process_parent()), status = -1;
    (void)call;
    if (fd < 0)
        return 2;
    pid_t pid = fork();
    if (pid == 0)
        _exit(is_closed(&fd));
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

START_TEST(so_is_that_of_a_parents_end)
{
    warm();
    ck_assert_int_eq(run(_i, forks_beside_the_parents, MPROC_NONE), 0);
}
END_TEST

/* With sanitizers: their allocators keep a lock over a fork that another thread held. */
#ifdef MPROC__SANITIZED
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

int main(int argc, char **argv)
{
    pthread_atfork(NULL, NULL, opens_some);
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("own descriptors");
    TCase *own = support_case(suite, "own");
    tcase_add_test(own, a_noted_descriptor_is_closed_in_a_fork_child_until_it_is_released);
    tcase_add_test(own, what_the_programs_own_hooks_open_in_a_fork_child_stays_open);
    tcase_add_test(own, the_descriptor_of_a_threads_end_is_closed_in_a_fork_child);
    tcase_add_loop_test(own, so_is_that_of_a_parents_end, FIRST_METHOD, PROCESS_METHODS);
    if (!SANITIZED) {
        tcase_add_loop_test(own,
                            a_hundred_fork_children_of_eight_threads_have_the_programs_own_descriptors_only,
                            FIRST_METHOD, ALL_METHODS);
        tcase_add_loop_test(own, the_programs_own_forks_inherit_nothing_of_a_start_that_another_thread_is_in,
                            0, ALL_METHODS);
    }
    return support_run(suite, argc, argv);
}
