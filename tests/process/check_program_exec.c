/* SPDX-License-Identifier: BSD-2-Clause */
/* External programs: what they find when they begin, and how they end with others. The nursery is this program anew. */
#include "platform/base.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <mproc/base.h>
#include "process/program_support.h"

enum { TEXT_BYTES = 4096 };
static char text[TEXT_BYTES];

static char *file_named(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", support_directory(), name);
    return path;
}

static const char *file_contents(const char *path)
{
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

/* ---- descriptors and signals ---- */

/* The numbers that are open in it, in order. It reads its input by then, and its loader has closed what it had opened. */
static size_t fds_of(const mproc_process *process, int *ret_numbers, size_t capacity)
{
    char path[64];
    struct dirent **entries;
    size_t count = 0;
    ck_assert(support_until_asleep(mproc_process_pid(process), LIMIT_MS));
    snprintf(path, sizeof path, "/proc/%d/fd", mproc_process_pid(process));
    int found = scandir(path, &entries, NULL, versionsort);
    ck_assert_int_ge(found, 2);
    for (int i = 0; i < found; i++) {
        if (entries[i]->d_name[0] != '.' && count < capacity)
            ret_numbers[count++] = atoi(entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return count;
}

START_TEST(only_given_descriptors_are_open)
{
    int found[10];
    warm();
    int stray = open("/dev/null", O_RDONLY), low = open("/dev/null", O_RDONLY);
    int high = fcntl(low, F_DUPFD, 200);
    const int given[] = {high, low, high};
    ck_assert_int_ge(stray, 0);
    ck_assert_int_eq(high, 200);
    mproc_process *process =
        launch(ARGV("cat"), OPTIONS(.input = {MPROC_STREAM_PIPE}, .fds = given, .fd_count = 3));
    ck_assert_uint_eq(fds_of(process, found, 10), 5);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(found[i], i);
    ck_assert_int_eq(found[3], low);
    ck_assert_int_eq(found[4], 200);
    ck_done(mproc_process_stop(process, limit()));
    mproc_process_close(&process);
    close(stray);
    close(low);
    close(high);
}
END_TEST

START_TEST(given_descriptors_may_have_any_numbers)
{
    int all[MPROC_PROGRAM_FDS], found[2 * MPROC_PROGRAM_FDS];
    warm();
    for (int i = 0; i < MPROC_PROGRAM_FDS; i++) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        all[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3 + i * 2);
        close(fd);
    }
    mproc_process *process =
        launch(ARGV("cat"), OPTIONS(.input = {MPROC_STREAM_PIPE}, .fds = all, .fd_count = MPROC_PROGRAM_FDS));
    ck_assert_uint_eq(fds_of(process, found, MPROC__COUNT(found)), MPROC_PROGRAM_FDS + 3);
    for (int i = 0; i < MPROC_PROGRAM_FDS; i++)
        ck_assert_int_eq(found[3 + i], all[i]);
    ck_done(mproc_process_stop(process, limit()));
    mproc_process_close(&process);
    for (int i = 0; i < MPROC_PROGRAM_FDS; i++)
        close(all[i]);
}
END_TEST

START_TEST(signals_are_as_a_program_expects_them)
{
    sigset_t all;
    warm();
    sigfillset(&all);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    sigprocmask(SIG_BLOCK, &all, NULL);
    capture(ARGV("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"), OPTIONS(.name = "grep"), text,
            sizeof text);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
    signal(SIGINT, SIG_DFL);
    unsigned long long blocked = 1, ignored = 1;
    ck_assert_int_eq(sscanf(text, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    ck_assert_uint_eq(blocked, 0);
    ck_assert_uint_eq(ignored & 0x7fffffff, 0); /* 32 and 33 are libc's, which lets nobody change them */
}
END_TEST

/* ---- streams ---- */

START_TEST(streams_are_files_null_or_descriptors)
{
    warm();
    char *path = file_named("file");
    ck_done(mproc_run(ARGV("echo", "one"), OPTIONS(.output = {.kind = MPROC_STREAM_FILE, .path = path}), NULL,
                      limit(), NULL));
    ck_done(mproc_run(
        SHELL("echo two; echo three >&2"),
        OPTIONS(.output = {.kind = MPROC_STREAM_APPEND, .path = path}, .error = {MPROC_STREAM_OUTPUT}), NULL,
        limit(), NULL));
    ck_assert_str_eq(file_contents(path), "one\ntwo\nthree\n");
    capture(ARGV("cat"), OPTIONS(.input = {.kind = MPROC_STREAM_FILE, .path = path}), text, sizeof text);
    ck_assert_str_eq(text, "one\ntwo\nthree\n");
    capture(ARGV("cat"), OPTIONS(.input = {MPROC_STREAM_NULL}), text, sizeof text);
    ck_assert_str_eq(text, "");
    ck_done(mproc_run(SHELL("echo nothing; echo nothing >&2"),
                      OPTIONS(.output = {MPROC_STREAM_NULL}, .error = {MPROC_STREAM_NULL}), NULL, limit(),
                      NULL));
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    ck_done(mproc_run(ARGV("echo", "fd"), OPTIONS(.output = {.kind = MPROC_STREAM_FD, .fd = fd}), NULL,
                      limit(), NULL));
    ck_assert_int_eq(write(fd, "ours\n", 5), 5); /* it stays open here, and they share its position */
    close(fd);
    ck_assert_str_eq(file_contents(path), "fd\nours\n");
}
END_TEST

START_TEST(output_and_error_may_share_a_pipe)
{
    warm();
    mproc_process *process = launch(SHELL("echo 1; echo 2 >&2; echo 3"),
                                    OPTIONS(.output = {MPROC_STREAM_PIPE}, .error = {MPROC_STREAM_OUTPUT}));
    ck_done(mproc_process_communicate(process, NULL, limit()));
    ck_assert_str_eq(output_of(process, 1), "1\n2\n3\n");
    ck_assert_str_eq(output_of(process, 2), "");
    ck_assert_int_eq(mproc_process_pipe(process, 2), -ENOENT);
    mproc_process_close(&process);
}
END_TEST

/* In a process of its own: closes the streams of `mask`, and runs a program with pipes. */
static int with_closed_streams(void *context)
{
    unsigned mask = *(unsigned *)context;
    mproc_process *process;
    mproc_output output;
    int code = -1;
    for (int i = 0; i < 3; i++)
        if (mask & 1u << i)
            close(i);
    int rc = mproc_run(SHELL("cat; echo err >&2"), OPTIONS(.capture = true),
                       TALK(.input = "in", .input_bytes = 2), limit(), &process);
    if (rc < 0)
        return 1;
    for (int i = 0; i < 3; i++)
        if ((mask & 1u << i) && fcntl(i, F_GETFD) >= 0)
            return 2;
    if (mproc_process_join(process, MPROC_NOW, &code) < 0 || code != 0)
        return 3;
    if (mproc_process_output(process, 1, &output) < 0 || strcmp(output.data, "in") != 0)
        return 4;
    if (mproc_process_output(process, 2, &output) < 0 || strcmp(output.data, "err\n") != 0)
        return 5;
    mproc_process_close(&process);
    if (mproc_run(SHELL("test -e /proc/$$/fd/0 || exit 9; exit 8"), NULL, NULL, limit(), &process) < 0)
        return 6;
    if (mproc_process_join(process, MPROC_NOW, &code) < 0 || code != (mask & 1 ? 9 : 8))
        return 7;
    mproc_process_close(&process);
    return 0;
}

START_TEST(closed_streams_of_the_caller_change_nothing)
{
    for (unsigned mask = 0; mask < 8; mask++)
        ck_assert_int_eq(support_reap(support_fork(with_closed_streams, &mask), LIMIT_MS), 0);
    support_children_kill(); /* their nurseries, orphans now, end by themselves */
}
END_TEST

/* ---- groups ---- */

START_TEST(a_program_has_the_group_that_was_asked_for)
{
    int pid, group, session;
    const char *const argv[] = {"/bin/sh", "-c", "read a b c d e f g </proc/self/stat; echo $a $e $f", NULL};
    warm();
    for (int kind = MPROC_GROUP_SAME; kind <= MPROC_GROUP_SESSION; kind++) {
        mproc_process *process = launch(argv, OPTIONS(.capture = true, .group = (mproc_program_group)kind));
        ck_done(mproc_process_communicate(process, NULL, limit()));
        ck_assert_int_eq(sscanf(output_of(process, 1), "%d %d %d", &pid, &group, &session), 3);
        ck_assert_int_eq(pid, mproc_process_pid(process));
        ck_assert_int_eq(group == pid, kind != MPROC_GROUP_SAME);
        ck_assert_int_eq(session == pid, kind == MPROC_GROUP_SESSION);
        mproc_process_close(&process);
    }
}
END_TEST

/* The end of a pipe that a program and all it starts hold: readable when the last of them is gone. */
static void gone_await(const gate *life)
{
    char byte;
    ck_assert_int_eq(mproc__fd_poll(life->read_fd, POLLIN, limit()), 0);
    ck_assert_int_eq(read(life->read_fd, &byte, 1), 0);
}

START_TEST(stop_reaches_the_whole_group)
{
    warm();
    for (int kind = MPROC_GROUP_OWN; kind <= MPROC_GROUP_SESSION; kind++) {
        gate life = gate_make();
        mproc_process *process =
            launch(SHELL("trap '' TERM; (trap '' TERM; sleep 100; sleep 100) & echo up; wait; sleep 100"),
                   OPTIONS(.output = {MPROC_STREAM_PIPE}, .fds = &life.write_fd, .fd_count = 1,
                           .grace_ms = 50, .group = (mproc_program_group)kind));
        close(life.write_fd);
        ck_assert_int_eq(mproc__fd_poll(mproc_process_pipe(process, 1), POLLIN, limit()), 0);
        ck_done(mproc_process_stop(process, limit()));
        ck_assert_int_eq(join(process), -SIGKILL);
        gone_await(&life);
        mproc_process_close(&process);
        close(life.read_fd);
    }
}
END_TEST

START_TEST(stop_reaches_what_an_ended_program_left_in_its_group)
{
    warm();
    gate life = gate_make();
    mproc_process *process = launch(SHELL("sleep 100 & exit 4"),
                                    OPTIONS(.fds = &life.write_fd, .fd_count = 1, .group = MPROC_GROUP_OWN));
    close(life.write_fd);
    ck_assert_int_eq(join(process), 4);
    ck_done(mproc_process_stop(process, limit()));
    gone_await(&life);
    ck_assert_int_eq(join(process), 4);
    mproc_process_close(&process);
    close(life.read_fd);
}
END_TEST

/* ---- deaths ---- */

typedef struct doomed {
    gate life, up;
} doomed;

/* Starts a program with children, one of them in a session of its own, and waits to be killed. */
static int caller_waits(void *context)
{
    doomed *of = context;
    mproc_process *process;
    const int given[] = {of->life.write_fd, of->up.write_fd};
    char say[20], script[200];
    snprintf(say, sizeof say, "%d", of->up.write_fd);
    snprintf(script, sizeof script,
             "sleep 100 & setsid sleep 100 & (setsid sh -c 'sleep 100 & sleep 100' &) ; echo u "
             ">/proc/self/fd/%s; wait",
             say);
    if (mproc_process_start_program(SHELL(script), OPTIONS(.fds = given, .fd_count = 2), &process) < 0)
        return 1;
    close(of->life.write_fd);
    pause();
    return 0;
}

START_TEST(a_killed_caller_takes_the_program_and_its_descendants_along)
{
    doomed of = {gate_make(), gate_make()};
    pid_t caller = support_fork(caller_waits, &of);
    close(of.life.write_fd);
    gate_await(&of.up);
    support_kill(caller);
    gone_await(&of.life);
    close(of.life.read_fd);
    gate_destroy(&of.up);
    support_children_kill(); /* the nursery, an orphan now, ends by itself */
}
END_TEST

static pid_t parent_of(pid_t pid)
{
    char path[64];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d (%*[^)]) %*c %d", &parent), 1);
    fclose(file);
    return parent;
}

START_TEST(a_killed_nursery_takes_the_program_along_and_the_next_start_works)
{
    int code = 0;
    warm();
    mproc_process *process = launch(ARGV("sleep", "100"), NULL);
    pid_t nursery = parent_of(mproc_process_pid(process));
    ck_assert_int_ne(nursery, getpid());
    ck_assert_int_eq(kill(nursery, SIGKILL), 0);
    int rc = mproc_process_join(process, limit(), &code);
    ck_assert(rc == MPROC_EUNKNOWN || (rc == 0 && code == -SIGKILL));
    ck_assert(!mproc_process_is_alive(process));
    mproc_process_close(&process);
    ck_assert_int_eq(capture(ARGV("echo", "next"), OPTIONS(.name = "next"), text, sizeof text), 0);
    ck_assert_str_eq(text, "next\n");
    ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    support_leaks_begin(); /* another nursery than the one excused */
}
END_TEST

START_TEST(a_caller_that_ignores_sigchld_gets_the_exit_code)
{
    warm();
    signal(SIGCHLD, SIG_IGN);
    mproc_process *process = launch(SHELL("exit 5"), NULL);
    ck_assert_int_eq(join(process), 5);
    mproc_process_close(&process);
    signal(SIGCHLD, SIG_DFL);
}
END_TEST

/* ---- many ---- */

enum { THREADS = 8, EACH = 5 };

static void *thread_starts(void *context)
{
    static char in_run[] = "run", in_code[] = "code", in_output[] = "output";
    (void)context;
    for (int i = 0; i < EACH; i++) {
        mproc_process *process;
        mproc_output output;
        int code;
        if (mproc_run(SHELL("cat; exit 6"), OPTIONS(.capture = true), TALK(.input = "many", .input_bytes = 4),
                      limit(), &process) < 0)
            return in_run;
        if (mproc_process_join(process, MPROC_NOW, &code) < 0 || code != 6)
            return in_code;
        if (mproc_process_output(process, 1, &output) < 0 || strcmp(output.data, "many") != 0)
            return in_output;
        mproc_process_close(&process);
    }
    return NULL;
}

START_TEST(programs_start_from_many_threads_at_once)
{
    pthread_t threads[THREADS];
    void *failed;
    warm();
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, thread_starts, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_msg(!failed, "%s", (const char *)failed);
    }
}
END_TEST

int main(int argc, char **argv)
{
    if (mproc__process_main(&argc, &argv) < 0)
        return 1;
    Suite *suite = suite_create("program exec");
    TCase *found = support_case(suite, "what a program finds");
    tcase_add_test(found, only_given_descriptors_are_open);
    tcase_add_test(found, given_descriptors_may_have_any_numbers);
    tcase_add_test(found, signals_are_as_a_program_expects_them);
    tcase_add_test(found, streams_are_files_null_or_descriptors);
    tcase_add_test(found, output_and_error_may_share_a_pipe);
    tcase_add_test(found, closed_streams_of_the_caller_change_nothing);
    TCase *groups = support_case(suite, "groups");
    tcase_add_test(groups, a_program_has_the_group_that_was_asked_for);
    tcase_add_test(groups, stop_reaches_the_whole_group);
    tcase_add_test(groups, stop_reaches_what_an_ended_program_left_in_its_group);
    TCase *deaths = support_case(suite, "deaths");
    tcase_add_test(deaths, a_killed_caller_takes_the_program_and_its_descendants_along);
    tcase_add_test(deaths, a_killed_nursery_takes_the_program_along_and_the_next_start_works);
    tcase_add_test(deaths, a_caller_that_ignores_sigchld_gets_the_exit_code);
    TCase *many = support_case(suite, "many");
    tcase_add_test(many, programs_start_from_many_threads_at_once);
    return support_run(suite, argc, argv);
}
