/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is stopped is not dead: a stopped parent keeps its children, a stopped child dies with its parent all the same, and a
 * stopped nursery makes only that wait which only it can do, and ends its children as soon as it goes on. */
#include "platform/base.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "process/program_support.h"

enum { LIVE_MS = 250, QUIET_MS = 100, BY_PROGRAM = ALL_METHODS };

/* The gates of one test: `life` ends when no child holds it any more. */
typedef struct scene {
    int method;
    bool stop_children;
    gate life, go;
    int nursery_fd; /* the parent writes the nursery's pid there */
} scene;

static int stays(mproc_call *call)
{
    if (gate_say(call, 0) != 0)
        return 1;
    while (!mproc_call_stopping(call))
        pause();
    return 0;
}

static mproc_process *begin(const scene *of)
{
    char script[80];
    int fd = of->life.write_fd;
    if (of->method != BY_PROGRAM)
        return start(of->method, stays, MPROC_ARGS(mproc_fd(fd)));
    snprintf(script, sizeof script, "printf s >/proc/self/fd/%d; exec sleep 1000", fd);
    return launch(SHELL(script), OPTIONS(.fds = &fd, .fd_count = 1));
}

/* The parent of a program is the nursery. */
static pid_t nursery_pid(void)
{
    char path[64];
    int nursery = 0;
    mproc_process *process = launch(ARGV("sleep", "1000"), NULL);
    snprintf(path, sizeof path, "/proc/%d/stat", mproc_process_pid(process));
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%*d (%*[^)]) %*c %d", &nursery) != 1)
        nursery = 0;
    if (file)
        fclose(file);
    if (mproc_process_stop(process, limit()) < 0)
        nursery = 0;
    mproc_process_close(&process);
    return nursery;
}

/* Starts one, tells the nursery, and starts another each time it is told to. */
static int parent(void *context)
{
    const scene *of = context;
    char byte;
    pid_t nursery = nursery_pid();
    mproc_process *process = begin(of);
    if (of->stop_children &&
        (read(of->life.read_fd, &byte, 1) != 1 || mproc_process_signal(process, SIGSTOP) < 0))
        return 1;
    if (write(of->nursery_fd, &nursery, sizeof nursery) != sizeof nursery)
        return 2;
    while (read(of->go.read_fd, &byte, 1) == 1)
        (void)begin(of);
    return 3;
}

static pid_t family_make(scene *of, pid_t *ret_nursery)
{
    gate told = gate_make();
    of->life = gate_make();
    of->go = gate_make();
    of->nursery_fd = told.write_fd;
    pid_t pid = support_fork(parent, of);
    ck_assert_int_eq(mproc__fd_read_all(told.read_fd, ret_nursery, sizeof *ret_nursery, limit()), 0);
    ck_assert_int_gt(*ret_nursery, 0);
    close(of->life.write_fd);
    of->life.write_fd = -1;
    close(of->go.read_fd);
    if (!of->stop_children)
        gate_await(&of->life);
    gate_destroy(&told);
    return pid;
}

static void family_is_gone(scene *of)
{
    char byte;
    ck_assert_msg(support_until(nobody_is_left, NULL, LIVE_MS), "a process is left");
    ck_assert_int_eq(read(of->life.read_fd, &byte, 1), 0);
    close(of->life.read_fd);
    close(of->go.write_fd);
}

static void parent_kill(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* Nothing is said and nobody ends for a while: what a wrong guess would do, it would do at once. */
static void family_is_quiet(const scene *of)
{
    ck_assert_int_eq(mproc__fd_poll(of->life.read_fd, POLLIN, mproc_after_ms(QUIET_MS)), -ETIMEDOUT);
}

/* shows: DEATH-11 */
START_TEST(a_stopped_parent_is_not_dead_and_goes_on_as_it_was)
{
    scene of = {.method = _i};
    pid_t nursery, pid = family_make(&of, &nursery);
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(pid, NULL, WUNTRACED), pid);
    family_is_quiet(&of);
    ck_assert_int_eq(kill(pid, SIGCONT), 0);
    gate_open(&of.go);
    gate_await(&of.life);
    parent_kill(pid);
    family_is_gone(&of);
}
END_TEST

START_TEST(a_parent_killed_while_it_is_stopped_leaves_nobody)
{
    scene of = {.method = _i};
    pid_t nursery, pid = family_make(&of, &nursery);
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(pid, NULL, WUNTRACED), pid);
    parent_kill(pid);
    family_is_gone(&of);
}
END_TEST

START_TEST(stopped_children_end_with_their_parent)
{
    scene of = {.method = _i, .stop_children = true};
    pid_t nursery, pid = family_make(&of, &nursery);
    parent_kill(pid);
    family_is_gone(&of);
}
END_TEST

/* Only it may say that the parent is dead to those that it has forked: a stopped one makes that wait, and nothing else. The
 * parent's own children hang on leashes, too. */
START_TEST(a_stopped_nursery_ends_its_children_as_soon_as_it_goes_on)
{
    scene of = {.method = _i};
    pid_t nursery, pid = family_make(&of, &nursery);
    ck_assert_int_eq(kill(nursery, SIGSTOP), 0);
    parent_kill(pid);
    if (_i == MPROC_START_FORK || _i == MPROC_START_SPAWN)
        ck_assert_int_eq(mproc__fd_poll(of.life.read_fd, POLLIN, mproc_after_ms(support_ms(LIVE_MS))), 0);
    else
        family_is_quiet(&of);
    ck_assert_int_eq(kill(nursery, SIGCONT), 0);
    family_is_gone(&of);
}
END_TEST

/* shows: DEATH-11 */
START_TEST(beside_a_stopped_nursery_fork_and_spawn_start_and_all_deadlines_hold)
{
    pid_t nursery = nursery_pid();
    support_leaks_begin(); /* which lives as long as the program */
    mproc_process *process = start(_i, nothing, MPROC_NONE);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    gate life = gate_make();
    process = start(_i, stays, MPROC_ARGS(mproc_fd(life.write_fd)));
    gate_await(&life);
    ck_assert_int_eq(kill(nursery, SIGSTOP), 0);
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(20), NULL), -ETIMEDOUT);
    ck_assert(mproc_process_is_alive(process));
    if (_i ==
        MPROC_START_FORKSERVER) { /* who collects it is stopped; that it has ended is known all the same */
        ck_assert_int_eq(mproc_process_signal(process, SIGKILL), 0);
        ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(20), NULL), -ETIMEDOUT);
    } else {
        mproc_process *other = start(_i, nothing, MPROC_NONE);
        ck_assert_int_eq(join(other), 0);
        mproc_process_close(&other);
        ck_assert_int_eq(mproc_process_stop(process, limit()), 0);
    }
    ck_assert_int_eq(kill(nursery, SIGCONT), 0);
    if (_i == MPROC_START_FORKSERVER)
        ck_assert_int_eq(join(process), -SIGKILL);
    mproc_process_close(&process);
    gate_destroy(&life);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("stopped");
    TCase *stopped = support_case(suite, "stopped");
    const int end = ALL_METHODS + 1;
    for (int method = FIRST_METHOD; method < end; method++) {
        if (method == MPROC_START_THREAD) /* shares its process's fate */
            continue;
        tcase_add_loop_test(stopped, a_stopped_parent_is_not_dead_and_goes_on_as_it_was, method, method + 1);
        tcase_add_loop_test(stopped, a_parent_killed_while_it_is_stopped_leaves_nobody, method, method + 1);
        tcase_add_loop_test(stopped, stopped_children_end_with_their_parent, method, method + 1);
        tcase_add_loop_test(stopped, a_stopped_nursery_ends_its_children_as_soon_as_it_goes_on, method,
                            method + 1);
    }
    tcase_add_loop_test(stopped, beside_a_stopped_nursery_fork_and_spawn_start_and_all_deadlines_hold,
                        FIRST_METHOD, PROCESS_METHODS);
    return support_run(suite, argc, argv);
}
