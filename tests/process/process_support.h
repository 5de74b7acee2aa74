/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of processes share: the four methods, starting and joining in one line, gates. */
#ifndef MPROC__TESTS_PROCESS_SUPPORT_H
#define MPROC__TESTS_PROCESS_SUPPORT_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc/process.h>
#include "platform/platform.h"
#include "process/launch.h"
#include "support/support.h"

/* Loop tests run over [FIRST_METHOD, ALL_METHODS); those that need a process of its own stop before threads.
 * */
enum { FIRST_METHOD = MPROC_START_FORK, PROCESS_METHODS = MPROC_START_THREAD, ALL_METHODS };

enum { LIMIT_MS = 10000 };

__attribute__((unused)) static mproc_process *start(int method, mproc_fn *fn, mproc_variant args)
{
    mproc_process *process = NULL;
    int rc = mproc_process_start(fn, args, MPROC_WITH(mproc_process_options, .start = (mproc_start)method),
                                 &process);
    ck_assert_msg(rc == 0, "start by method %d: %s", method, mproc_error_text(mproc_last_error()));
    return process;
}

__attribute__((unused)) static int join(mproc_process *process)
{
    int exit_code = -1000;
    int rc = mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code);
    ck_assert_msg(rc == 0, "join: %s", mproc_error_text(mproc_last_error()));
    return exit_code;
}

/* Start, join, close: the exit code. */
__attribute__((unused)) static int run(int method, mproc_fn *fn, mproc_variant args)
{
    mproc_process *process = start(method, fn, args);
    int exit_code = join(process);
    mproc_process_close(&process);
    return exit_code;
}

__attribute__((unused)) static int nothing(mproc_call *call)
{
    (void)call;
    return 0;
}

/* The nursery and the stop words live as long as the program; after this the leak hunter looks for what is
 * more. */
__attribute__((unused)) static void warm(void)
{
    ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
    support_leaks_begin();
}

/* For support_until: all children have ended, also those that came to this process by their parents' death. */
__attribute__((unused)) static bool nobody_is_left(void *unused)
{
    (void)unused;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

/* A gate is a pipe: whoever waits reads, whoever opens closes the writing end or writes a byte. */
typedef struct gate {
    int read_fd, write_fd;
} gate;

__attribute__((unused)) static gate gate_make(void)
{
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    return (gate){fds[0], fds[1]};
}

__attribute__((unused)) static void gate_destroy(gate *of)
{
    close(of->read_fd);
    close(of->write_fd);
}

__attribute__((unused)) static void gate_open(const gate *of)
{
    ck_assert_int_eq(write(of->write_fd, "o", 1), 1);
}

/* In a child: argument `index` is the reading end. */
__attribute__((unused)) static int gate_pass(mproc_call *call, size_t index)
{
    char byte;
    return read((int)mproc_call_arg(call, index).number, &byte, 1) == 1 ? 0 : 1;
}

/* In the test: a child says something by writing a byte. */
__attribute__((unused)) static void gate_await(const gate *of)
{
    char byte;
    ck_assert_int_eq(mproc__fd_read_all(of->read_fd, &byte, 1, mproc_after_ms(support_ms(LIMIT_MS))), 0);
}

__attribute__((unused)) static int gate_say(mproc_call *call, size_t index)
{
    return write((int)mproc_call_arg(call, index).number, "s", 1) == 1 ? 0 : 1;
}

#endif
