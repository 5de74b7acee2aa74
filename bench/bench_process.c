/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting processes: to the first instruction, and to the collected end, from parents of 0, 1 and 4 GiB. */
#include "platform/base.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"
#include "bench_process.h"

enum {
    STARTS = 101,     /* in one round: 20 to 100 ms */
    SLOW_STARTS = 31, /* of those that take milliseconds */
    COPIES = 5        /* forks of a parent of 1 or 4 GiB: 25 and 90 ms, and as long to end them */
};

/* ---- subjects ---- */

typedef struct subject {
    int ask, answer; /* pipes; 0: not there yet */
} subject;

static const unsigned sizes_gib[BENCH_SUBJECTS] = {0, 1, 4};
static subject subjects[BENCH_SUBJECTS];

/* The pipes' other ends are the subject's standard streams; it ends at the end of its input, with this program. */
static int subject_exec(unsigned gib, int input, int output)
{
    char number[8], self[] = "bench", option[] = "--subject";
    char *argv[] = {self, option, number, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    snprintf(number, sizeof number, "%u", gib);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    int error = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static int subject_start(subject *s, unsigned gib)
{
    int asks[2], answers[2];
    if (pipe2(asks, O_CLOEXEC) != 0)
        return -1;
    if (pipe2(answers, O_CLOEXEC) != 0) {
        close(asks[0]);
        close(asks[1]);
        return -1;
    }
    int error = subject_exec(gib, asks[0], answers[1]);
    close(asks[0]);
    close(answers[1]);
    *s = (subject){.ask = asks[1], .answer = answers[0]};
    return error == 0 ? 0 : -1;
}

double bench_subject_measure(unsigned which, bench_start start, unsigned count)
{
    subject *s = &subjects[which];
    uint32_t question[2] = {start, count};
    double figure = -1;
    if (s->ask == 0 && subject_start(s, sizes_gib[which]) < 0)
        return -1;
    if (write(s->ask, question, sizeof question) != sizeof question ||
        read(s->answer, &figure, sizeof figure) != sizeof figure)
        fprintf(stderr, "bench: the process of %u GiB is not there: no memory?\n", sizes_gib[which]);
    return figure;
}

/* ---- one function a figure ---- */

#define FIGURE(name, subject, start, count)                                                                  \
    static double name(void)                                                                                 \
    {                                                                                                        \
        return bench_subject_measure(BENCH_SUBJECT_##subject, BENCH_##start, count);                         \
    }
FIGURE(first_spare, 0, FIRST_SPARE, STARTS)
FIGURE(first_spare_1, 1_GIB, FIRST_SPARE, STARTS)
FIGURE(first_spare_4, 4_GIB, FIRST_SPARE, STARTS)
FIGURE(first_spare_paused, 0, FIRST_SPARE_PAUSED, STARTS)
FIGURE(first_posix_spawn, 0, FIRST_POSIX_SPAWN, STARTS)
FIGURE(first_posix_spawn_4, 4_GIB, FIRST_POSIX_SPAWN, STARTS)
FIGURE(first_posix_spawn_paused, 0, FIRST_POSIX_SPAWN_PAUSED, STARTS)
FIGURE(first_fork_1, 1_GIB, FIRST_BARE_FORK, COPIES)
FIGURE(first_fork_4, 4_GIB, FIRST_BARE_FORK, COPIES)
FIGURE(spare, 0, JOIN_SPARE, STARTS)
FIGURE(spare_1, 1_GIB, JOIN_SPARE, STARTS)
FIGURE(spare_4, 4_GIB, JOIN_SPARE, STARTS)
FIGURE(spare_paused, 0, JOIN_SPARE_PAUSED, STARTS)
FIGURE(forkserver, 0, JOIN_FORKSERVER, STARTS)
FIGURE(forkserver_1, 1_GIB, JOIN_FORKSERVER, STARTS)
FIGURE(forkserver_4, 4_GIB, JOIN_FORKSERVER, STARTS)
FIGURE(by_fork, 0, JOIN_FORK, STARTS)
FIGURE(by_fork_1, 1_GIB, JOIN_FORK, COPIES)
FIGURE(by_fork_4, 4_GIB, JOIN_FORK, COPIES)
FIGURE(by_spawn, 0, JOIN_SPAWN, SLOW_STARTS)
FIGURE(by_thread, 0, JOIN_THREAD, STARTS)
FIGURE(program, 0, JOIN_PROGRAM, STARTS)
FIGURE(posix_spawn_true, 0, JOIN_POSIX_SPAWN, STARTS)
FIGURE(posix_spawn_paused, 0, JOIN_POSIX_SPAWN_PAUSED, STARTS)
FIGURE(bare_fork, 0, JOIN_BARE_FORK, STARTS)
FIGURE(bare_fork_1, 1_GIB, JOIN_BARE_FORK, COPIES)
FIGURE(bare_fork_4, 4_GIB, JOIN_BARE_FORK, COPIES)
FIGURE(bare_pthread, 0, JOIN_PTHREAD, STARTS)
#undef FIGURE

/* ---- the table ---- */

#define PANEL_FIRST "To the target's first instruction (not pinned)"
#define PANEL_JOIN  "Start and join (not pinned)"
#define PANEL_SIZE  "Start and join from a parent of 0, 1 and 4 GiB (not pinned)"

#define GROUP(group_name, group_panel, group_label, of, ...)                                                 \
    const bench_group group_name = {.panel = group_panel,                                                    \
                                    .label = group_label,                                                    \
                                    .unit = "us",                                                            \
                                    .sense = BENCH_MAX,                                                      \
                                    .ours = of,                                                              \
                                    .rows = (const bench_row[]){__VA_ARGS__, {0}}};

GROUP(bench_process_first, PANEL_FIRST, "libmproc, spare", first_spare,
      {"process-first-spare", "posix_spawn to main", 0.1, 0.2, first_posix_spawn, NULL})
GROUP(bench_process_first_paused, PANEL_FIRST, "libmproc, spare, paused", first_spare_paused,
      {"process-first-spare-paused", "posix_spawn to main, paused", 0.1, 0.2, first_posix_spawn_paused, NULL})
GROUP(bench_process_first_4, PANEL_FIRST, "libmproc, spare, 4 GiB", first_spare_4,
      {"process-first-spare-4GiB", "fork, 4 GiB", 0.001, 0.0025, first_fork_4, NULL},
      {"process-first-spare-4GiB-posix-spawn", "posix_spawn to main, 4 GiB", 0, 0, first_posix_spawn_4, NULL})
GROUP(bench_process_first_1, PANEL_FIRST, "libmproc, spare, 1 GiB", first_spare_1,
      {"process-first-spare-1GiB", "fork, 1 GiB", 0, 0, first_fork_1, NULL})
GROUP(bench_process_join_spare, PANEL_JOIN, "libmproc, spare", spare,
      {"process-join-spare", "posix_spawn+wait of true", 0.25, 0.5, posix_spawn_true, NULL},
      {"process-python", "python forkserver", 0.02, 0.05, NULL, "python_forkserver 30"})
GROUP(bench_process_join_paused, PANEL_JOIN, "libmproc, spare, paused", spare_paused,
      {"process-join-spare-paused", "posix_spawn+wait of true, paused", 0.25, 0.5, posix_spawn_paused, NULL})
GROUP(bench_process_join, PANEL_JOIN, "libmproc, forkserver", forkserver,
      {"process-join", "posix_spawn+wait of true", 1.0 / 3, 2.0 / 3, posix_spawn_true, NULL})
GROUP(bench_process_fork, PANEL_JOIN, "libmproc, fork", by_fork,
      {"process-fork", "fork+_exit+wait", 1.3, 1.5, bare_fork, NULL})
GROUP(bench_process_spawn, PANEL_JOIN, "libmproc, spawn", by_spawn,
      {"process-spawn", "posix_spawn+wait of true", 0, 0, posix_spawn_true, NULL})
GROUP(bench_process_thread, PANEL_JOIN, "libmproc, thread", by_thread,
      {"process-thread", "pthread_create+join", 0, 0, bare_pthread, NULL})
GROUP(bench_process_program, PANEL_JOIN, "libmproc, program", program,
      {"process-program", "posix_spawn+wait of true", 0, 0, posix_spawn_true, NULL})
GROUP(bench_process_size_spare, PANEL_SIZE, "libmproc, spare, 4 GiB", spare_4,
      {"process-size-spare", "libmproc, spare, 0 GiB", 1.15, 1.4, spare, NULL})
GROUP(bench_process_size_spare_1, PANEL_SIZE, "libmproc, spare, 1 GiB", spare_1,
      {"process-size-spare-1GiB", "libmproc, spare, 0 GiB", 0, 0, spare, NULL})
GROUP(bench_process_size, PANEL_SIZE, "libmproc, forkserver, 4 GiB", forkserver_4,
      {"process-size", "libmproc, forkserver, 0 GiB", 1.15, 1.4, forkserver, NULL})
GROUP(bench_process_size_1, PANEL_SIZE, "libmproc, forkserver, 1 GiB", forkserver_1,
      {"process-size-1GiB", "libmproc, forkserver, 0 GiB", 0, 0, forkserver, NULL})
GROUP(bench_process_fork_1, PANEL_SIZE, "libmproc, fork, 1 GiB", by_fork_1,
      {"process-fork-1GiB", "fork+_exit+wait, 1 GiB", 0, 0, bare_fork_1, NULL})
GROUP(bench_process_fork_4, PANEL_SIZE, "libmproc, fork, 4 GiB", by_fork_4,
      {"process-fork-4GiB", "fork+_exit+wait, 4 GiB", 0, 0, bare_fork_4, NULL})
