/* SPDX-License-Identifier: BSD-2-Clause */
/* The wall clock is stepped by a day while processes are started, joined, stopped and waited for: nothing comes of it.
 *
 * Each case runs in a program of its own (`check_start_clock step CASE METHOD STEP`) whose clock is another's. */
#include "platform/base.h"

#include <poll.h>
#include <signal.h>

#include <mproc/program.h>
#include <mproc/wait.h>
#include "process/process_support.h"
#include "support/wall_clock.h"

/* LATE_MS: a step that counted would make a wait later by a day; a loaded machine makes it so by a good second. */
enum { WAIT_MS = 200, LATE_MS = 4000, GRACE_MS = 150 };

static const char *const steps[] = {"+86400", "-86400"};

/* ---- the program under the false clock ---- */

typedef struct scene {
    mproc_start method;
    const char *step;
    pid_t waiter;
} scene;

/* Once the waiter sleeps. */
static int step_clock(void *context)
{
    const scene *s = context;
    return support_until_asleep(s->waiter, 5000) && wall_clock_set(s->step) == 0 ? 0 : 1;
}

typedef int blocking(mproc_process *process);

/* While the clock makes its step: 0, or which check failed. */
static int block_through_step(const scene *s, blocking *call, mproc_process *process, int expected,
                              int least_ms)
{
    time_t before = time(NULL);
    pid_t stepper = support_fork(step_clock, (void *)(uintptr_t)s);
    int64_t began_ns = mproc__now_ns();
    int rc = call(process);
    int64_t took_ms = (mproc__now_ns() - began_ns) / 1000000;
    if (support_reap(stepper, 5000) != 0 || !wall_clock_stepped(before))
        return 10;
    if (rc != expected)
        return 11;
    return took_ms < least_ms || took_ms > least_ms + support_ms(LATE_MS) ? 12 : 0;
}

static int sleeps_on(mproc_call *call)
{
    signal(SIGTERM, SIG_IGN);
    if (gate_say(call, 0) != 0)
        return 1;
    while (!mproc_call_stopping(call) || mproc_call_bool(call, 1))
        poll(NULL, 0, 10);
    return 0;
}

/* NULL: it could not be started, and why has been printed. */
static mproc_process *sleeper(const scene *s, bool stubborn)
{
    mproc_process *process = NULL;
    int said[2];
    char byte;
    if (pipe(said) < 0)
        return NULL;
    int rc = mproc_process_start(sleeps_on, MPROC_ARGS(mproc_fd(said[1]), mproc_bool(stubborn)),
                                 MPROC_WITH(mproc_process_options, .start = s->method, .grace_ms = GRACE_MS),
                                 &process);
    if (rc < 0)
        fprintf(stderr, "start: %s\n", mproc_error_text(mproc_last_error()));
    else if ((rc = mproc__fd_read_all(said[0], &byte, 1, mproc_after_ms(LIMIT_MS))) < 0)
        fprintf(stderr, "hearing from the child: %s\n", mproc_strerror(rc));
    close(said[0]);
    close(said[1]);
    return rc == 0 ? process : NULL;
}

static int blocks_in_join(mproc_process *process)
{
    return mproc_process_join(process, mproc_after_ms(WAIT_MS), NULL);
}

static int blocks_in_wait(mproc_process *process)
{
    mproc_wait_item item = {.handle = process};
    return mproc_wait(&item, 1, MPROC_WAIT_ANY, mproc_after_ms(WAIT_MS), NULL);
}

static int blocks_in_stop(mproc_process *process)
{
    return mproc_process_stop(process, mproc_after_ms(LIMIT_MS));
}

static int in_vain(const scene *s, blocking *call)
{
    mproc_process *process = sleeper(s, false);
    int rc = process ? block_through_step(s, call, process, -ETIMEDOUT, WAIT_MS) : 1;
    if (process && s->method == MPROC_START_THREAD &&
        mproc_process_stop(process, mproc_after_ms(LIMIT_MS)) != 0)
        return 2;
    return rc;
}

static int joins(const scene *s)
{
    return in_vain(s, blocks_in_join);
}

static int waits(const scene *s)
{
    return in_vain(s, blocks_in_wait);
}

/* SIGTERM is ignored: SIGKILL comes when the grace is over, not a day later and not at once. */
static int stops(const scene *s)
{
    if (s->method == MPROC_START_THREAD)
        return 0;
    mproc_process *process = sleeper(s, true);
    int exit_code = 99;
    int rc = process ? block_through_step(s, blocks_in_stop, process, 0, GRACE_MS) : 1;
    if (rc == 0 && (mproc_process_join(process, MPROC_NOW, &exit_code) != 0 || exit_code != -SIGKILL))
        rc = 2;
    return rc;
}

static int blocks_in_run(mproc_process *unused)
{
    mproc_process *done = unused;
    return mproc_run((const char *const[]){"sleep", "1000", NULL},
                     MPROC_WITH(mproc_program_options, .capture = true), NULL, mproc_after_ms(WAIT_MS),
                     &done);
}

static int runs(const scene *s)
{
    return s->method == MPROC_START_FORK ? block_through_step(s, blocks_in_run, NULL, -ETIMEDOUT, WAIT_MS)
                                         : 0;
}

static int returns_7(mproc_call *call)
{
    (void)call;
    return 7;
}

/* Before, at and after a step: by a nursery from before it, too. */
static int starts(const scene *s)
{
    for (int i = 0; i < 6; i++) {
        mproc_process *process;
        int exit_code = 99;
        if (i % 2 == 1 && wall_clock_set(i == 1 ? s->step : "+0") != 0)
            return 1;
        if (mproc_process_start(returns_7, MPROC_NONE, MPROC_WITH(mproc_process_options, .start = s->method),
                                &process) != 0 ||
            mproc_process_join(process, mproc_after_ms(LIMIT_MS), &exit_code) != 0 || exit_code != 7)
            return 2;
        mproc_process_close(&process);
    }
    return 0;
}

static int (*const cases[])(const scene *) = {joins, waits, stops, runs, starts};

/* The sleepers would be joined at its end. */
static int step_main(char **argv)
{
    scene s = {.method = (mproc_start)atoi(argv[3]), .step = argv[4], .waiter = getpid()};
    int code = cases[atoi(argv[2])](&s);
    support_children_kill();
    return code;
}

/* ---- the test ---- */

typedef struct choice {
    unsigned which, method, step;
} choice;

static int become_stepped(void *context)
{
    const choice *c = context;
    char which[16], method[16], program[] = "check_start_clock", step[] = "step", by[16];
    snprintf(which, sizeof which, "%u", c->which);
    snprintf(method, sizeof method, "%u", c->method);
    snprintf(by, sizeof by, "%s", steps[c->step]);
    wall_clock_exec((char *[]){program, step, which, method, by, NULL});
    return 127;
}

/* shows: TIME-1 */
START_TEST(a_day_forward_or_back_moves_no_start_join_wait_or_stop)
{
    unsigned index = (unsigned)_i, methods = ALL_METHODS - FIRST_METHOD;
    choice c = {
        .step = index % 2, .method = FIRST_METHOD + index / 2 % methods, .which = index / 2 / methods};
    ck_assert_int_eq(wall_clock_begin(support_directory()), 0);
    int status = support_reap(support_fork(become_stepped, &c), 15000);
    ck_assert_msg(status == 0, "case %u, method %u, %s s: %d", c.which, c.method, steps[c.step], status);
    support_children_kill();
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    if (argc == 5 && strcmp(argv[1], "step") == 0)
        return step_main(argv);
    if (!wall_clock_usable())
        return WALL_CLOCK_SKIPPED;
    Suite *suite = suite_create("start clock");
    TCase *all = support_case(suite, "steps");
    tcase_add_loop_test(all, a_day_forward_or_back_moves_no_start_join_wait_or_stop, 0,
                        2 * (ALL_METHODS - FIRST_METHOD) * (int)MPROC__COUNT(cases));
    return support_run(suite, argc, argv);
}
