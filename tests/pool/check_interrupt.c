/* SPDX-License-Identifier: BSD-2-Clause */
/* Ctrl-C, a SIGINT to the whole process group: a pool is kept, whole, by a program that handles it, and ends, whole, with one
 * that does not; started processes get it as the program does, by every method; a blocked program comes to hear of it. */
#include "platform/base.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "pool/pool_common.h"
#include "process/launch.h"

enum { WORKERS = 3, TASKS = 12, LIMIT_MS = 10000 };

static volatile sig_atomic_t interrupts;
static int interrupt_fd = -1;

static void on_interrupt(int number)
{
    int error = errno;
    (void)number;
    interrupts++;
    if (interrupt_fd >= 0)
        (void)eventfd_write(interrupt_fd, 1);
    errno = error;
}

static void handle_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
}

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

/* What is tested is a program of its own, in a group of its own; it says that it is ready, and how it found things by its exit
 * code. */
typedef struct program {
    mproc_start method;
    int say_fd, go_fd;
} program;

static int ready(const program *self)
{
    return write(self->say_fd, "r", 1) == 1 ? 0 : 1;
}

typedef struct scene {
    program program;
    pid_t pid;
    int said_fd, go_fd;
} scene;

static scene begin(support_fn *fn, mproc_start method)
{
    int said[2], go[2];
    char byte;
    scene of = {.program = {.method = method}};
    ck_assert_int_eq(pipe(said), 0);
    ck_assert_int_eq(pipe(go), 0);
    of.program.say_fd = said[1];
    of.program.go_fd = go[0];
    of.said_fd = said[0];
    of.go_fd = go[1];
    of.pid = support_fork(fn, &of.program);
    ck_assert_int_eq(mproc__fd_read_all(of.said_fd, &byte, 1, soon()), 0);
    return of;
}

static bool nobody_is_left(void *unused)
{
    (void)unused;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

static void end(scene *of)
{
    ck_assert(support_until(nobody_is_left, NULL, 1000));
    close(of->said_fd);
    close(of->go_fd);
    close(of->program.say_fd);
    close(of->program.go_fd);
}

/* ---- a pool ---- */

static int sleeps_a_little(mproc_call *call)
{
    poll(NULL, 0, 20);
    return mproc_call_return(call, mproc_int(mproc_call_int(call, 0)));
}

static int begin_pool(const program *self, mproc_pool **ret_pool, mproc_future *futures[TASKS])
{
    if (setpgid(0, 0) < 0 ||
        mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = self->method, .workers = WORKERS),
                          ret_pool) < 0)
        return 1;
    for (int i = 0; i < TASKS; i++)
        if (mproc_pool_submit(*ret_pool, sleeps_a_little, MPROC_ARGS(i), NULL, &futures[i]) < 0)
            return 2;
    return ready(self);
}

static int stat(mproc_pool *pool, const char *key)
{
    mproc_variant all;
    int64_t number = -1;
    if (mproc_pool_stats(pool, &all) == 0) {
        (void)mproc_variant_get_int(mproc_variant_find(all, key), &number);
        mproc_variant_clear(&all);
    }
    return (int)number;
}

static int keeps_its_pool(void *context)
{
    const program *self = context;
    mproc_pool *pool;
    mproc_future *futures[TASKS];
    char byte;
    handle_interrupts();
    if (begin_pool(self, &pool, futures) != 0)
        return 1;
    while (read(self->go_fd, &byte, 1) != 1)
        ;
    for (int i = 0; i < TASKS; i++) {
        mproc_variant value;
        if (mproc_future_result(futures[i], soon(), &value) != 0 || value.number != i)
            return 2;
        mproc_future_close(&futures[i]);
    }
    if (stat(pool, "died") != 0 || stat(pool, "restarted") != 0 || stat(pool, "workers") != WORKERS)
        return 3;
    mproc_pool_close(&pool);
    return interrupts >= 1 ? 0 : 4;
}

/* shows: START-E */
START_TEST(a_program_that_handles_the_interrupt_keeps_its_pool_whole)
{
    scene of = begin(keeps_its_pool, METHOD);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(kill(-of.pid, SIGINT), 0);
    ck_assert_int_eq(write(of.go_fd, "g", 1), 1);
    ck_assert_int_eq(support_reap(of.pid, LIMIT_MS), 0);
    end(&of);
}
END_TEST

static int has_a_pool(void *context)
{
    const program *self = context;
    mproc_pool *pool;
    mproc_future *futures[TASKS];
    if (begin_pool(self, &pool, futures) != 0)
        return 1;
    for (;;)
        pause();
}

/* shows: START-E DEATH-9 */
START_TEST(a_program_that_dies_of_the_interrupt_takes_its_pool_along)
{
    scene of = begin(has_a_pool, METHOD);
    ck_assert_int_eq(kill(-of.pid, SIGINT), 0);
    ck_assert_int_eq(support_reap(of.pid, LIMIT_MS), 256 + SIGINT);
    end(&of);
}
END_TEST

/* ---- processes ---- */

static int sleeps_on(mproc_call *call)
{
    while (!mproc_call_stopping(call))
        poll(NULL, 0, 20);
    return 0;
}

static int start(const program *self, mproc_fn *fn, mproc_process **ret_process)
{
    return mproc_process_start(fn, MPROC_NONE, MPROC_WITH(mproc_process_options, .start = self->method),
                               ret_process);
}

static int returns_5(mproc_call *call)
{
    (void)call;
    return 5;
}

/* All its children die of it, and the nursery does not: the next start works, by any method. */
static int has_children(void *context)
{
    const program *self = context;
    mproc_process *children[WORKERS], *next;
    int exit_code = 99, expected = self->method == MPROC_START_THREAD ? 0 : -SIGINT;
    handle_interrupts();
    if (setpgid(0, 0) < 0)
        return 1;
    for (int i = 0; i < WORKERS; i++)
        if (start(self, sleeps_on, &children[i]) != 0)
            return 2;
    if (ready(self) != 0)
        return 3;
    while (interrupts == 0)
        poll(NULL, 0, 20);
    for (int i = 0; i < WORKERS; i++) {
        if (self->method == MPROC_START_THREAD && mproc_process_stop(children[i], soon()) != 0)
            return 4;
        if (mproc_process_join(children[i], soon(), &exit_code) != 0 || exit_code != expected)
            return 5;
        mproc_process_close(&children[i]);
    }
    if (start(self, returns_5, &next) != 0 || mproc_process_join(next, soon(), &exit_code) != 0 ||
        exit_code != 5)
        return 6;
    mproc_process_close(&next);
    return 0;
}

/* shows: START-E START-17 */
START_TEST(started_processes_get_the_interrupt_as_the_program_does_and_the_next_start_works)
{
    scene of = begin(has_children, METHOD);
    ck_assert_int_eq(kill(-of.pid, SIGINT), 0);
    ck_assert_int_eq(support_reap(of.pid, LIMIT_MS), 0);
    end(&of);
}
END_TEST

/* ---- blocked calls ---- */

/* Blocked for ever, in a wait for a child that does not end, until the handler writes. Then it ends the child. */
static int waits_for_child_or_interrupt(void *context)
{
    const program *self = context;
    mproc_process *child;
    int exit_code = 99;
    interrupt_fd = eventfd(0, EFD_CLOEXEC);
    handle_interrupts();
    if (interrupt_fd < 0 || start(self, sleeps_on, &child) != 0 || ready(self) != 0)
        return 1;
    mproc_wait_item items[] = {{.handle = child}, {.fd = interrupt_fd, .events = POLLIN}};
    if (mproc_wait(items, 2, MPROC_WAIT_ANY, MPROC_FOREVER, NULL) != 0 || items[0].ready || !items[1].ready)
        return 2;
    if (mproc_process_stop(child, soon()) != 0 || mproc_process_join(child, MPROC_NOW, &exit_code) != 0)
        return 3;
    mproc_process_close(&child);
    close(interrupt_fd);
    return exit_code == 0 || exit_code == -SIGTERM ? 0 : 4;
}

/* shows: START-E */
START_TEST(a_wait_for_a_child_ends_when_the_handler_of_a_signal_says_so)
{
    scene of = begin(waits_for_child_or_interrupt, METHOD);
    ck_assert(support_until_asleep(of.pid, LIMIT_MS));
    ck_assert_int_eq(kill(of.pid, SIGINT), 0);
    ck_assert_int_eq(support_reap(of.pid, LIMIT_MS), 0);
    end(&of);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("interrupt");
    TCase *pool = support_case(suite, "pool");
    tcase_add_loop_test(pool, a_program_that_handles_the_interrupt_keeps_its_pool_whole, METHODS_FIRST,
                        METHODS);
    tcase_add_loop_test(pool, a_program_that_dies_of_the_interrupt_takes_its_pool_along, METHODS_FIRST,
                        METHODS);
    TCase *processes = support_case(suite, "processes");
    tcase_add_loop_test(processes,
                        started_processes_get_the_interrupt_as_the_program_does_and_the_next_start_works,
                        METHODS_FIRST, METHODS);
    tcase_add_loop_test(processes, a_wait_for_a_child_ends_when_the_handler_of_a_signal_says_so,
                        METHODS_FIRST, METHODS);
    return support_run(suite, argc, argv);
}
