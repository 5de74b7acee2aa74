/* SPDX-License-Identifier: BSD-2-Clause */
/* mproc_run: a program from start to end in one call. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/program.h"

enum { GONE_MS = 1000, LINE_BYTES = 200 };

static mproc_program_options run_options(const mproc_program_options *options,
                                         const mproc_communicate_options *communicate,
                                         mproc_deadline deadline)
{
    mproc_program_options own = options ? *options : (mproc_program_options){.size = sizeof own};
    own.size = sizeof own; /* a newer header's may be larger; what we do not know of it is zero */
    if (communicate && communicate->input && own.input.kind == MPROC_STREAM_INHERIT)
        own.input.kind = MPROC_STREAM_PIPE;
    if (own.group == MPROC_GROUP_SAME && deadline.ns != MPROC_FOREVER.ns)
        own.group = MPROC_GROUP_OWN;
    return own;
}

/* The last line that says something, or "". */
static void last_line(const mproc__program_output *output, char *buffer, size_t size_bytes)
{
    size_t end = output->size_bytes;
    while (end > 0 && (output->data[end - 1] == '\n' || output->data[end - 1] == ' '))
        end--;
    size_t begin = end;
    while (begin > 0 && output->data[begin - 1] != '\n')
        begin--;
    snprintf(buffer, size_bytes, "%s%.*s", begin < end ? ": " : "",
             (int)(end - begin > LINE_BYTES ? LINE_BYTES : end - begin),
             output->data ? output->data + begin : "");
}

static int run_failed(const mproc_process *process, int exit_code)
{
    char line[LINE_BYTES + 8];
    last_line(&process->program->outputs[1], line, sizeof line);
    const char *name = exit_code < 0 ? sigabbrev_np(-exit_code) : NULL;
    int rc = name ? mproc__fail(MPROC_EEXIT, "program %s was ended by SIG%s%s", process->name, name, line)
                  : mproc__fail(MPROC_EEXIT, "program %s exited with %d%s", process->name, exit_code, line);
    mproc__fail_number(MPROC_ERROR_PID, process->pid);
    mproc__fail_number(exit_code < 0 ? MPROC_ERROR_SIGNAL : MPROC_ERROR_EXIT_CODE,
                       exit_code < 0 ? -exit_code : exit_code);
    return rc;
}

/* Failed, or late: nothing of it shall run on. Its end is awaited, for no longer than a kernel needs that can end it. */
static int run_abort(mproc_process **process, int code)
{
    mproc_error story;
    if (code == -ETIMEDOUT)
        mproc__fail(code, "program %s (pid %d) was killed at the deadline", (*process)->name,
                    (int)(*process)->pid);
    mproc__story_copy(mproc__story(), &story);
    (void)mproc__program_signal(*process, SIGKILL);
    (void)mproc_process_join(*process, mproc_after_ms(GONE_MS), NULL);
    mproc_process_close(process);
    mproc__story_copy(&story, mproc__story());
    return code;
}

int mproc_run(const char *const argv[], const mproc_program_options *options,
              const mproc_communicate_options *communicate, mproc_deadline deadline,
              mproc_process **ret_process)
{
    mproc_process *process;
    int exit_code = 0;
    int rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_program_options");
    if (rc == 0)
        rc = mproc__options_check(communicate, sizeof *communicate, sizeof *communicate,
                                  "mproc_communicate_options");
    if (rc < 0)
        return rc;
    mproc_program_options own = run_options(options, communicate, deadline);
    rc = mproc_process_start_program(argv, &own, &process);
    if (rc < 0)
        return rc;
    rc = mproc_process_communicate(process, communicate, deadline);
    if (rc == 0 && !ret_process)
        rc = mproc_process_join(process, MPROC_NOW, &exit_code);
    if (rc == 0 && exit_code != 0)
        rc = run_failed(process, exit_code);
    if (rc < 0)
        return run_abort(&process, rc);
    if (ret_process)
        *ret_process = process;
    else
        mproc_process_close(&process);
    return 0;
}
