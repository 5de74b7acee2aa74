/* SPDX-License-Identifier: BSD-2-Clause */
/* External programs: what is written to them and read of them. */
#include "platform/base.h"

#include <poll.h>
#include <signal.h>

#include "process/program_support.h"

#define ALL_PIPES .capture = true, .input = {.kind = MPROC_STREAM_PIPE}

START_TEST(input_goes_in_and_both_outputs_come_out)
{
    warm();
    mproc_process *process = launch(SHELL("cat; echo wrong >&2; exit 3"), OPTIONS(ALL_PIPES));
    ck_done(mproc_process_communicate(process, TALK(.input = "a\nb\n", .input_bytes = 4), limit()));
    ck_assert_str_eq(output_of(process, 1), "a\nb\n");
    ck_assert_str_eq(output_of(process, 2), "wrong\n");
    ck_assert_int_eq(join(process), 3);
    ck_done(mproc_process_communicate(process, TALK(.input = "a\nb\n", .input_bytes = 4),
                                      limit())); /* again: no harm */
    ck_assert_str_eq(output_of(process, 1), "a\nb\n");
    ck_assert_int_eq(mproc_process_pipe(process, 1), -ENOENT);
    mproc_process_close(&process);
}
END_TEST

START_TEST(bytes_are_bytes)
{
    static const char bytes[] = {0, 1, '\n', (char)0xff, 0, '\r', '\n'};
    mproc_output output;
    warm();
    mproc_process *process = launch(ARGV("cat"), OPTIONS(ALL_PIPES));
    ck_done(mproc_process_communicate(process, TALK(.input = bytes, .input_bytes = sizeof bytes), limit()));
    ck_done(mproc_process_output(process, 1, &output));
    ck_assert_uint_eq(output.size_bytes, sizeof bytes);
    ck_assert_mem_eq(output.data, bytes, sizeof bytes);
    mproc_process_close(&process);
}
END_TEST

/* The program writes more than any pipe holds before it reads, and reads more than any pipe holds. */
START_TEST(much_in_both_directions_does_not_lock_up)
{
    enum { MANY_BYTES = 3 << 20 };
    mproc_output output;
    warm();
    char *input = malloc(MANY_BYTES);
    ck_assert_ptr_nonnull(input);
    for (int i = 0; i < MANY_BYTES; i++)
        input[i] = (char)('a' + i % 26);
    mproc_process *process =
        launch(SHELL("head -c 2000000 /dev/zero >&2; tee /dev/stderr; head -c 1000000 /dev/zero >&2"),
               OPTIONS(ALL_PIPES));
    ck_done(mproc_process_communicate(process, TALK(.input = input, .input_bytes = MANY_BYTES), limit()));
    ck_done(mproc_process_output(process, 1, &output));
    ck_assert_uint_eq(output.size_bytes, MANY_BYTES);
    ck_assert_mem_eq(output.data, input, MANY_BYTES);
    ck_done(mproc_process_output(process, 2, &output));
    ck_assert_uint_eq(output.size_bytes, MANY_BYTES + 3000000);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    free(input);
}
END_TEST

START_TEST(a_program_that_does_not_read_raises_no_sigpipe)
{
    enum { MANY_BYTES = 1 << 20 };
    sigset_t pending;
    warm();
    char *input = calloc(1, MANY_BYTES);
    signal(SIGPIPE, SIG_DFL);
    mproc_process *process = launch(SHELL("exec <&-; echo deaf"), OPTIONS(ALL_PIPES));
    ck_done(mproc_process_communicate(process, TALK(.input = input, .input_bytes = MANY_BYTES), limit()));
    ck_assert_str_eq(output_of(process, 1), "deaf\n");
    ck_assert_int_eq(join(process), 0);
    sigpending(&pending);
    ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
    mproc_process_close(&process);
    free(input);
}
END_TEST

/* ---- the deadline ---- */

START_TEST(at_the_deadline_what_came_is_kept_and_it_goes_on)
{
    warm();
    mproc_process *process = launch(SHELL("echo begun; read line; echo $line"), OPTIONS(ALL_PIPES));
    char first;
    ck_assert_int_eq(mproc__fd_poll(mproc_process_pipe(process, 1), POLLIN, limit()), 0);
    ck_assert_int_eq(mproc_process_signal(process, SIGSTOP), 0);
    ck_assert_int_eq(
        mproc_process_communicate(process, TALK(.input = "more\n", .input_bytes = 5), mproc_after_ms(50)),
        -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(process)), "has not come to its end"));
    ck_assert_str_eq(output_of(process, 1), "begun\n");
    ck_assert(mproc_process_is_alive(process));
    ck_assert_int_eq(mproc_process_communicate(process, TALK(.input = "more\n", .input_bytes = 4), MPROC_NOW),
                     -EINVAL);
    ck_assert_int_eq(mproc_process_signal(process, SIGCONT), 0);
    ck_done(mproc_process_communicate(process, TALK(.input = "more\n", .input_bytes = 5), limit()));
    ck_assert_str_eq(output_of(process, 1), "begun\nmore\n");
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    (void)first;
}
END_TEST

START_TEST(the_deadline_holds_while_a_program_never_stops_writing)
{
    warm();
    mproc_process *process = launch(ARGV("yes"), OPTIONS(.capture = true));
    int64_t begin = mproc__now_ns();
    ck_assert_int_eq(
        mproc_process_communicate(process, TALK(.max_bytes = 1000, .drop = true), mproc_after_ms(100)),
        -ETIMEDOUT);
    ck_assert_int_lt((mproc__now_ns() - begin) / 1000000, support_ms(2000));
    mproc_output output;
    ck_done(mproc_process_output(process, 1, &output));
    ck_assert_uint_eq(output.size_bytes, 1000);
    ck_assert_uint_gt(output.dropped_bytes, 0);
    ck_done(mproc_process_stop(process, limit()));
    mproc_process_close(&process);
}
END_TEST

/* ---- bounds ---- */

START_TEST(above_the_bound_the_program_is_killed)
{
    mproc_output output;
    warm();
    mproc_process *process = launch(ARGV("yes"), OPTIONS(.capture = true));
    ck_assert_int_eq(mproc_process_communicate(process, TALK(.max_bytes = 100001), limit()), MPROC_ELIMIT);
    story_has("more than 100001 bytes");
    ck_done(mproc_process_output(process, 1, &output));
    ck_assert_uint_eq(output.size_bytes, 100001);
    ck_assert_uint_gt(output.dropped_bytes, 0);
    ck_assert_int_eq(join(process), -SIGKILL);
    mproc_process_close(&process);
}
END_TEST

START_TEST(the_bound_itself_is_no_more_than_the_bound)
{
    warm();
    for (int drop = 0; drop < 2; drop++) {
        mproc_process *process = launch(ARGV("printf", "12345"), OPTIONS(.capture = true));
        ck_done(mproc_process_communicate(process, TALK(.max_bytes = 5, .drop = drop), limit()));
        ck_assert_str_eq(output_of(process, 1), "12345");
        ck_assert_int_eq(join(process), 0);
        mproc_process_close(&process);
    }
}
END_TEST

/* Gigabytes on one stream while the other and the input are used; in memory that does not grow. */
START_TEST(what_is_above_the_bound_can_be_dropped)
{
    const uint64_t many = UINT64_C(2) << 30;
    mproc_output output;
    warm();
    mproc_process *process = launch(SHELL("head -c 2147483648 /dev/zero >&2; cat"), OPTIONS(ALL_PIPES));
    ck_done(mproc_process_communicate(process,
                                      TALK(.input = "in", .input_bytes = 2, .max_bytes = 4096, .drop = true),
                                      mproc_after_ms(support_ms(60000))));
    ck_assert_str_eq(output_of(process, 1), "in");
    ck_done(mproc_process_output(process, 2, &output));
    ck_assert_uint_eq(output.size_bytes, 4096);
    ck_assert_uint_eq(output.dropped_bytes, many - 4096);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
}
END_TEST

START_TEST(no_memory_loses_nothing)
{
    warm();
    mproc_process *process = launch(SHELL("printf abc; printf def >&2"), OPTIONS(.capture = true));
    for (unsigned n = 1;; n++) {
        support_fail_allocation(n);
        int rc = mproc_process_communicate(process, NULL, limit());
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        if (!failed) {
            ck_assert_int_eq(rc, 0);
            break;
        }
        ck_assert_int_eq(rc, -ENOMEM);
    }
    ck_assert_str_eq(output_of(process, 1), "abc");
    ck_assert_str_eq(output_of(process, 2), "def");
    mproc_process_close(&process);
}
END_TEST

/* ---- grandchildren ---- */

START_TEST(a_grandchild_that_keeps_the_pipe_is_not_waited_for)
{
    warm();
    gate go = gate_make();
    char number[20];
    snprintf(number, sizeof number, "%d", go.read_fd);
    /* The background one holds our pipes until the gate opens, and says then that it is there. */
    mproc_process *process =
        launch(ARGV("/bin/sh", "-c", "(read x </proc/self/fd/$0; echo late) & echo early", number),
               OPTIONS(.capture = true, .fds = &go.read_fd, .fd_count = 1));
    ck_done(mproc_process_communicate(process, NULL, limit()));
    ck_assert_str_eq(output_of(process, 1), "early\n");
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    gate_open(&go);
    gate_destroy(&go);
}
END_TEST

START_TEST(who_asks_for_it_waits_for_the_end_of_the_pipes)
{
    warm();
    gate go = gate_make();
    char number[20];
    snprintf(number, sizeof number, "%d", go.read_fd);
    mproc_process *process =
        launch(ARGV("/bin/sh", "-c", "(read x </proc/self/fd/$0; echo late) & echo early", number),
               OPTIONS(.capture = true, .fds = &go.read_fd, .fd_count = 1));
    ck_assert_int_eq(mproc_process_communicate(process, TALK(.linger = true), mproc_after_ms(100)),
                     -ETIMEDOUT);
    ck_assert_int_eq(write(go.write_fd, "\n", 1), 1);
    ck_done(mproc_process_communicate(process, TALK(.linger = true), limit()));
    ck_assert_str_eq(output_of(process, 1), "early\nlate\n");
    mproc_process_close(&process);
    gate_destroy(&go);
}
END_TEST

START_TEST(a_grandchild_that_writes_on_and_on_is_not_waited_for)
{
    warm();
    mproc_process *process =
        launch(SHELL("yes & sleep 0.1"), OPTIONS(.capture = true, .group = MPROC_GROUP_OWN));
    ck_done(mproc_process_communicate(process, TALK(.max_bytes = 10, .drop = true), limit()));
    ck_assert_int_eq(join(process), 0);
    ck_done(mproc_process_stop(process, limit())); /* and the one it left behind */
    mproc_process_close(&process);
}
END_TEST

/* ---- the pipes themselves ---- */

START_TEST(the_pipes_are_there_to_read_and_write)
{
    char line[10] = "";
    warm();
    mproc_process *process = launch(ARGV("cat"), OPTIONS(ALL_PIPES));
    ck_assert_int_eq(write(mproc_process_pipe(process, 0), "line\n", 5), 5);
    ck_assert_int_eq(read(mproc_process_pipe(process, 1), line, sizeof line), 5);
    ck_assert_str_eq(line, "line\n");
    ck_assert_int_eq(mproc_process_pipe(process, 3), -EINVAL);
    ck_assert_int_eq(mproc_process_pipe(process, -1), -EINVAL);
    ck_done(mproc_process_pipe_close(process, 0));
    ck_done(mproc_process_pipe_close(process, 0));
    ck_assert_int_eq(mproc_process_pipe(process, 0), -ENOENT);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
}
END_TEST

START_TEST(three_programs_make_a_pipeline)
{
    warm();
    mproc_process *first = launch(ARGV("printf", "b\\na\\nc\\n"), OPTIONS(.output = {MPROC_STREAM_PIPE}));
    mproc_process *second =
        launch(ARGV("sort"), OPTIONS(.input = {.kind = MPROC_STREAM_FD, .fd = mproc_process_pipe(first, 1)},
                                     .output = {MPROC_STREAM_PIPE}));
    ck_done(mproc_process_pipe_close(first, 1));
    mproc_process *third = launch(
        ARGV("head", "-n1"), OPTIONS(.input = {.kind = MPROC_STREAM_FD, .fd = mproc_process_pipe(second, 1)},
                                     .output = {MPROC_STREAM_PIPE}));
    ck_done(mproc_process_pipe_close(second, 1));
    ck_done(mproc_process_communicate(third, NULL, limit()));
    ck_assert_str_eq(output_of(third, 1), "a\n");
    ck_assert_int_eq(join(first), 0);
    ck_assert_int_eq(join(second), 0);
    mproc_process_close(&first);
    mproc_process_close(&second);
    mproc_process_close(&third);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("program output");
    TCase *talk = support_case(suite, "communicate");
    tcase_add_test(talk, input_goes_in_and_both_outputs_come_out);
    tcase_add_test(talk, bytes_are_bytes);
    tcase_add_test(talk, much_in_both_directions_does_not_lock_up);
    tcase_add_test(talk, a_program_that_does_not_read_raises_no_sigpipe);
    tcase_add_test(talk, at_the_deadline_what_came_is_kept_and_it_goes_on);
    tcase_add_test(talk, the_deadline_holds_while_a_program_never_stops_writing);
    TCase *bounds = support_case(suite, "bounds");
    tcase_set_timeout(bounds, 70);
    tcase_add_test(bounds, above_the_bound_the_program_is_killed);
    tcase_add_test(bounds, the_bound_itself_is_no_more_than_the_bound);
    tcase_add_test(bounds, what_is_above_the_bound_can_be_dropped);
    tcase_add_test(bounds, no_memory_loses_nothing);
    TCase *grandchildren = support_case(suite, "grandchildren");
    tcase_add_test(grandchildren, a_grandchild_that_keeps_the_pipe_is_not_waited_for);
    tcase_add_test(grandchildren, who_asks_for_it_waits_for_the_end_of_the_pipes);
    tcase_add_test(grandchildren, a_grandchild_that_writes_on_and_on_is_not_waited_for);
    TCase *pipes = support_case(suite, "pipes");
    tcase_add_test(pipes, the_pipes_are_there_to_read_and_write);
    tcase_add_test(pipes, three_programs_make_a_pipeline);
    return support_run(suite, argc, argv);
}
