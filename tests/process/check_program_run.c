/* SPDX-License-Identifier: BSD-2-Clause */
/* External programs in one call. */
#include "platform/base.h"

#include <poll.h>
#include <signal.h>

#include "process/program_support.h"

START_TEST(run_gives_code_and_outputs)
{
    warm();
    mproc_process *process;
    ck_done(mproc_run(SHELL("cat; echo err >&2; exit 2"), OPTIONS(.capture = true),
                      TALK(.input = "in\n", .input_bytes = 3), limit(), &process));
    ck_assert_int_eq(join(process), 2);
    ck_assert_str_eq(output_of(process, 1), "in\n");
    ck_assert_str_eq(output_of(process, 2), "err\n");
    mproc_process_close(&process);
}
END_TEST

START_TEST(an_exit_code_that_nobody_could_look_at_is_an_error)
{
    int64_t number;
    warm();
    ck_done(mproc_run(ARGV("true"), NULL, NULL, limit(), NULL));
    ck_assert_int_eq(mproc_run(SHELL("exit 3"), NULL, NULL, limit(), NULL), MPROC_EEXIT);
    story_has("program sh exited with 3");
    ck_assert_int_eq(mproc_error_number(mproc_last_error(), MPROC_ERROR_EXIT_CODE, &number), 0);
    ck_assert_int_eq(number, 3);
    ck_assert_int_eq(mproc_run(SHELL("echo first >&2; echo why >&2; exit 3"), OPTIONS(.capture = true), NULL,
                               limit(), NULL),
                     MPROC_EEXIT);
    story_has("program sh exited with 3: why");
    ck_assert_int_eq(mproc_run(SHELL("kill -HUP $$"), NULL, NULL, limit(), NULL), MPROC_EEXIT);
    story_has("SIGHUP");
    ck_assert_int_eq(mproc_error_number(mproc_last_error(), MPROC_ERROR_SIGNAL, &number), 0);
    ck_assert_int_eq(number, SIGHUP);
}
END_TEST

START_TEST(what_cannot_start_is_the_error_of_the_start)
{
    mproc_process *process = NULL;
    warm();
    ck_assert_int_eq(mproc_run(ARGV("no-such-program"), NULL, NULL, limit(), &process), -ENOENT);
    ck_assert_ptr_null(process);
    ck_assert_int_eq(mproc_run(NULL, NULL, NULL, limit(), &process), -EINVAL);
    ck_assert_int_eq(mproc_run(ARGV("true"), &(mproc_program_options){.size = 1}, NULL, limit(), &process),
                     -EINVAL);
    ck_assert_int_eq(
        mproc_run(ARGV("true"), NULL, &(mproc_communicate_options){.size = 1}, limit(), &process), -EINVAL);
    ck_assert_int_eq(mproc_run(ARGV("true"), NULL, TALK(.input_bytes = 1), limit(), &process), -EINVAL);
    ck_assert_int_eq(mproc_run(ARGV("true"), OPTIONS(.input = {MPROC_STREAM_NULL}),
                               TALK(.input = "a", .input_bytes = 1), limit(), &process),
                     -EINVAL);
    ck_assert_ptr_null(process);
}
END_TEST

START_TEST(options_of_a_newer_header_are_taken_while_the_unknown_is_zero)
{
    struct {
        mproc_program_options known;
        char unknown[64];
    } newer = {.known = {.size = sizeof newer}};
    warm();
    ck_done(mproc_run(ARGV("true"), &newer.known, NULL, limit(), NULL));
    newer.unknown[5] = 1;
    ck_assert_int_eq(mproc_run(ARGV("true"), &newer.known, NULL, limit(), NULL), -EINVAL);
}
END_TEST

static void gone_await(const gate *life)
{
    char byte;
    ck_assert_int_eq(mproc__fd_poll(life->read_fd, POLLIN, limit()), 0);
    ck_assert_int_eq(read(life->read_fd, &byte, 1), 0);
}

START_TEST(at_the_deadline_the_program_dies_with_its_children)
{
    mproc_process *process = NULL;
    warm();
    gate life = gate_make();
    int64_t begin = mproc__now_ns();
    ck_assert_int_eq(mproc_run(SHELL("trap '' TERM; sleep 100 & sleep 100; sleep 100"),
                               OPTIONS(.capture = true, .fds = &life.write_fd, .fd_count = 1), NULL,
                               mproc_after_ms(100), &process),
                     -ETIMEDOUT);
    story_has("killed at the deadline");
    ck_assert_int_lt((mproc__now_ns() - begin) / 1000000, support_ms(2000));
    ck_assert_ptr_null(process);
    close(life.write_fd);
    gone_await(&life);
    close(life.read_fd);
}
END_TEST

START_TEST(too_much_output_ends_the_program_with_its_children)
{
    mproc_process *process = NULL;
    warm();
    gate life = gate_make();
    ck_assert_int_eq(mproc_run(SHELL("sleep 100 & yes"),
                               OPTIONS(.capture = true, .fds = &life.write_fd, .fd_count = 1),
                               TALK(.max_bytes = 1000), limit(), &process),
                     MPROC_ELIMIT);
    ck_assert_ptr_null(process);
    close(life.write_fd);
    gone_await(&life);
    close(life.read_fd);
}
END_TEST

/* A program at whose end nobody reads its pipe ends with its caller all the same. */
static int leaves_a_writer(void *context)
{
    mproc_process *process;
    (void)context;
    if (mproc_process_start_program(ARGV("yes"), OPTIONS(.capture = true), &process) < 0)
        return 1;
    exit(0);
}

START_TEST(a_normal_exit_does_not_wait_for_a_program_that_writes_to_us)
{
    ck_assert_int_eq(support_reap(support_fork(leaves_a_writer, NULL), LIMIT_MS), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("program run");
    TCase *run_case = support_case(suite, "run");
    tcase_add_test(run_case, run_gives_code_and_outputs);
    tcase_add_test(run_case, an_exit_code_that_nobody_could_look_at_is_an_error);
    tcase_add_test(run_case, what_cannot_start_is_the_error_of_the_start);
    tcase_add_test(run_case, options_of_a_newer_header_are_taken_while_the_unknown_is_zero);
    tcase_add_test(run_case, at_the_deadline_the_program_dies_with_its_children);
    tcase_add_test(run_case, too_much_output_ends_the_program_with_its_children);
    tcase_add_test(run_case, a_normal_exit_does_not_wait_for_a_program_that_writes_to_us);
    return support_run(suite, argc, argv);
}
