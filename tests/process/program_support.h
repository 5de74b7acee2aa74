/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of external programs share: running one in one line, and looking at what came of it. */
#ifndef MPROC__TESTS_PROGRAM_SUPPORT_H
#define MPROC__TESTS_PROGRAM_SUPPORT_H

#include <mproc/program.h>
#include "process/process_support.h"

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
/* The shell is what we test with; the library never uses one. */
#define SHELL(text)  ARGV("/bin/sh", "-c", text)
#define OPTIONS(...) MPROC_WITH(mproc_program_options, __VA_ARGS__)
#define TALK(...)    MPROC_WITH(mproc_communicate_options, __VA_ARGS__)

#define ck_done(call)                                                                                        \
    do {                                                                                                     \
        int done_rc = (call);                                                                                \
        ck_assert_msg(done_rc == 0, "%s: %s", #call, mproc_error_text(mproc_last_error()));                  \
    } while (0)

__attribute__((unused)) static mproc_deadline limit(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

__attribute__((unused)) static mproc_process *launch(const char *const argv[],
                                                     const mproc_program_options *options)
{
    mproc_process *process = NULL;
    ck_done(mproc_process_start_program(argv, options, &process));
    ck_assert_ptr_nonnull(process);
    return process;
}

/* Its output as a text; lives as long as the handle. */
__attribute__((unused)) static const char *output_of(mproc_process *process, int which)
{
    mproc_output output;
    ck_done(mproc_process_output(process, which, &output));
    ck_assert_uint_eq(strlen(output.data), output.size_bytes);
    return output.data;
}

/* Runs with both outputs captured; the exit code, and the output as a text in a buffer of the caller. */
__attribute__((unused)) static int capture(const char *const argv[], const mproc_program_options *options,
                                           char *buffer, size_t size_bytes)
{
    mproc_program_options own = *options;
    mproc_process *process;
    own.capture = true;
    ck_done(mproc_run(argv, &own, NULL, limit(), &process));
    int exit_code = join(process);
    snprintf(buffer, size_bytes, "%s%s", output_of(process, 1), output_of(process, 2));
    mproc_process_close(&process);
    return exit_code;
}

__attribute__((unused)) static void story_has(const char *part)
{
    const char *text = mproc_error_text(mproc_last_error());
    ck_assert_msg(strstr(text, part), "'%s' is not in: %s", part, text);
}

#endif
