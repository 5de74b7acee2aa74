/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of lib/process/process.h, states of a process by events, walked cell by cell under all four methods. */
#include "platform/base.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "data/handle.h"
#include "process/family.h"
#include "process/process_support.h"

typedef enum state { RUNS, ENDED, COLLECTED, STATES } state;

static const char *const state_names[] = {"runs", "ended", "collected"};

/* One process in one state, made anew for each cell. */
typedef struct subject {
    int method;
    mproc_process *process; /* the program's handle; NULL once closed */
    mproc_process *kept;    /* the test's own */
    gate hold;
} subject;

static int waits_for_the_gate(mproc_call *call)
{
    return gate_pass(call, 0) == 0 ? 7 : 1;
}

static bool is_ended(void *process)
{
    return mproc__process_ended(process);
}

static state state_of(mproc_process *process)
{
    if (atomic_load(&process->collected))
        return COLLECTED;
    return mproc__process_ended(process) ? ENDED : RUNS;
}

static void subject_make(int method, state wanted, subject *ret_subject)
{
    *ret_subject = (subject){.method = method, .hold = gate_make()};
    mproc_process *process =
        start(method, waits_for_the_gate, MPROC_ARGS(mproc_fd(ret_subject->hold.read_fd)));
    ret_subject->process = ret_subject->kept = process;
    mproc__handle_keep(&process->handle);
    if (wanted != RUNS) {
        gate_open(&ret_subject->hold);
        ck_assert(support_until(is_ended, process, LIMIT_MS));
    }
    if (wanted == COLLECTED)
        ck_assert_int_eq(join(process), 7);
    ck_assert_int_eq(state_of(process), wanted);
}

/* Whatever state it is in. */
static void subject_end(subject *of)
{
    gate_open(&of->hold);
    ck_assert_int_eq(mproc__process_wait(of->kept, mproc_after_ms(support_ms(LIMIT_MS))), 0);
    mproc__process_collect(of->kept);
    mproc_process_close(&of->process);
    mproc__handle_release(&of->kept->handle);
    gate_destroy(&of->hold);
}

/* ---- events: each answers one number ---- */

static int event_join(subject *of)
{
    int exit_code = -1000;
    int rc = mproc_process_join(of->process, MPROC_NOW, &exit_code);
    return rc == 0 ? exit_code : rc;
}

static int event_is_alive(subject *of)
{
    return mproc_process_is_alive(of->process);
}

/* To a thread: the stopping flag, which this one does not look at. */
static int event_signal(subject *of)
{
    return mproc_process_signal(of->process, of->method == MPROC_START_THREAD ? SIGTERM : SIGCONT);
}

static int event_stop(subject *of)
{
    bool thread = of->method == MPROC_START_THREAD;
    return mproc_process_stop(of->process, mproc_after_ms(thread ? 1 : support_ms(LIMIT_MS)));
}

static int event_children(subject *of)
{
    mproc_variant list = mproc_null();
    (void)of;
    int rc = mproc_process_children(&list);
    int count = (int)mproc_variant_count(list);
    mproc_variant_clear(&list);
    return rc < 0 ? rc : count;
}

static int event_start(subject *of)
{
    return run(of->method, nothing, MPROC_NONE);
}

static int event_close(subject *of)
{
    mproc_process_close(&of->process);
    return of->process != NULL;
}

static int event_nursery_killed(subject *of)
{
    mproc__nursery *nursery = mproc__nursery_present();
    if (!nursery)
        return of->method == MPROC_START_THREAD ? 0 : 1;
    bool killed = kill(nursery->pid, SIGKILL) == 0 &&
                  mproc__fd_poll(nursery->pidfd, POLLIN, mproc_after_ms(support_ms(LIMIT_MS))) == 0;
    mproc__nursery_release(nursery);
    if (of->method == MPROC_START_FORKSERVER)
        (void)support_until(is_ended, of->kept, LIMIT_MS);
    return killed ? 0 : 2;
}

/* ---- the table ---- */

typedef struct cell {
    int answer;
    state next;
} cell;

typedef struct row {
    const char *name;
    int (*event)(subject *of);
    cell cells[STATES];
    cell thread_runs, served_runs; /* where they differ; answer UNSAID: they do not */
} row;

enum { UNSAID = 12345 };
#define AS_ALL .thread_runs = {UNSAID, RUNS}, .served_runs = {UNSAID, RUNS}

static const row table[] = {
    {"join", event_join, {{-ETIMEDOUT, RUNS}, {7, COLLECTED}, {7, COLLECTED}}, AS_ALL},
    {"is_alive", event_is_alive, {{true, RUNS}, {false, ENDED}, {false, COLLECTED}}, AS_ALL},
    {"signal", event_signal, {{0, RUNS}, {0, ENDED}, {0, COLLECTED}}, AS_ALL},
    {"stop",
     event_stop,
     {{0, COLLECTED}, {0, COLLECTED}, {0, COLLECTED}},
     .thread_runs = {-EBUSY, RUNS},
     .served_runs = {UNSAID, RUNS}},
    {"children", event_children, {{1, RUNS}, {0, COLLECTED}, {0, COLLECTED}}, AS_ALL},
    {"another start", event_start, {{0, RUNS}, {0, COLLECTED}, {0, COLLECTED}}, AS_ALL},
    {"close", event_close, {{0, RUNS}, {0, COLLECTED}, {0, COLLECTED}}, AS_ALL},
    {"the nursery is killed",
     event_nursery_killed,
     {{0, RUNS}, {0, ENDED}, {0, COLLECTED}},
     .thread_runs = {UNSAID, RUNS},
     .served_runs = {0, ENDED}},
};

static const cell *cell_of(const row *of, state now, int method)
{
    const cell *special = method == MPROC_START_THREAD       ? &of->thread_runs
                          : method == MPROC_START_FORKSERVER ? &of->served_runs
                                                             : NULL;
    return now == RUNS && special && special->answer != UNSAID ? special : &of->cells[now];
}

START_TEST(every_event_in_every_state_answers_and_leads_as_the_table_says)
{
    const row *of = &table[_i];
    warm();
    for (int method = FIRST_METHOD; method < ALL_METHODS; method++)
        for (int now = RUNS; now < STATES; now++) {
            const cell *want = cell_of(of, (state)now, method);
            subject one;
            subject_make(method, (state)now, &one);
            int answer = of->event(&one);
            state next = state_of(one.kept);
            ck_assert_msg(answer == want->answer && next == want->next,
                          "%s of one that %s, method %d: %d and then %s, not %d and %s", of->name,
                          state_names[now], method, answer, state_names[next], want->answer,
                          state_names[want->next]);
            subject_end(&one);
        }
    if (of->event == event_nursery_killed) {
        ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
        support_leaks_begin(); /* another nursery */
    }
}
END_TEST

/* ---- the last column ---- */

static int asks_for_its_parents(void *context)
{
    subject *of = context;
    if (event_join(of) != -ECHILD)
        return 1;
    if (mproc_process_is_alive(of->process))
        return 2;
    if (event_signal(of) != -ECHILD)
        return 3;
    if (event_stop(of) != -ECHILD)
        return 4;
    if (event_children(of) != 0)
        return 5;
    return event_close(of) == 0 ? 0 : 6;
}

START_TEST(a_fork_child_gets_no_answer_and_the_owner_goes_on)
{
    warm();
    for (int now = RUNS; now < STATES; now++) {
        subject one;
        subject_make(_i, (state)now, &one);
        ck_assert_int_eq(support_reap(support_fork(asks_for_its_parents, &one), LIMIT_MS), 0);
        ck_assert_int_eq(state_of(one.kept), now);
        subject_end(&one);
    }
}
END_TEST

/* ---- no state at all ---- */

START_TEST(a_start_that_fails_has_no_handle_and_lists_nobody)
{
    static mproc_process untouched, *process = &untouched;
    int cpu = 8191;
    subject none = {0};
    warm();
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE,
                                         MPROC_WITH(mproc_process_options, .start = (mproc_start)_i,
                                                    .limits = {.cpus = &cpu, .cpu_count = 1}),
                                         &process),
                     -EINVAL);
    ck_assert_ptr_eq(process, &untouched);
    ck_assert_int_eq(event_children(&none), 0);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("states");
    TCase *cells = support_case(suite, "cells");
    tcase_add_loop_test(cells, every_event_in_every_state_answers_and_leads_as_the_table_says, 0,
                        (int)MPROC__COUNT(table));
    tcase_add_loop_test(cells, a_fork_child_gets_no_answer_and_the_owner_goes_on, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(cells, a_start_that_fails_has_no_handle_and_lists_nobody, FIRST_METHOD, ALL_METHODS);
    return support_run(suite, argc, argv);
}
