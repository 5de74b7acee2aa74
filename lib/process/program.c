/* SPDX-License-Identifier: BSD-2-Clause */
/* What a program's handle has beside a process's: our ends of its pipes, its group, what it has written. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/own_fds.h"
#include "process/program.h"

void mproc__program_hang_up(mproc__program *program)
{
    for (int i = 0; program && i < 3; i++) {
        if (program->pipes[i] >= 0)
            mproc__own_fd_close(program->pipes[i]);
        program->pipes[i] = -1;
    }
}

MPROC__FORK_TEXT void mproc__program_forget(mproc__program *program)
{
    for (int i = 0; program && i < 3; i++)
        program->pipes[i] = -1;
}

void mproc__program_free(mproc__program *program)
{
    if (!program)
        return;
    mproc__program_hang_up(program);
    for (size_t i = 0; i < MPROC__COUNT(program->outputs); i++)
        free(program->outputs[i].data);
    free(program);
}

/* Before Linux 6.9 a group is named by its leader's pid, which is nobody else's while the nursery has not told its end. */
int mproc__program_signal(const mproc_process *process, int signal_number)
{
    if (process->program->group == MPROC_GROUP_SAME)
        return mproc__pidfd_signal(process->pidfd, signal_number);
    int rc = mproc__pidfd_signal_group(process->pidfd, signal_number);
    if (rc == -EINVAL && mproc__pidfd_ended(process->pidfd) == 0)
        rc = kill(-process->pid, signal_number) == 0 ? 0 : -errno;
    return rc;
}

int mproc__program_check(mproc_process *process)
{
    int rc = mproc__process_check(process);
    if (rc == 0 && !process->program)
        rc = mproc__handle_fail(&process->handle, MPROC_ESTATE, "process %s is no external program",
                                process->name);
    return rc;
}

static int stream_check(mproc_process *process, int which, int least)
{
    int rc = mproc__program_check(process);
    if (rc == 0 && (which < least || which > 2))
        rc = mproc__handle_fail(&process->handle, -EINVAL, "%d is no stream of program %s", which,
                                process->name);
    return rc;
}

int mproc_process_pipe(mproc_process *process, int which)
{
    int rc = stream_check(process, which, 0);
    if (rc < 0)
        return rc;
    if (process->program->pipes[which] < 0)
        return mproc__handle_fail(&process->handle, -ENOENT, "stream %d of program %s is no pipe, or closed",
                                  which, process->name);
    return process->program->pipes[which];
}

int mproc_process_pipe_close(mproc_process *process, int which)
{
    int rc = stream_check(process, which, 0);
    if (rc < 0)
        return rc;
    if (process->program->pipes[which] >= 0)
        mproc__own_fd_close(process->program->pipes[which]);
    process->program->pipes[which] = -1;
    return 0;
}

int mproc_process_output(mproc_process *process, int which, mproc_output *ret_output)
{
    int rc = stream_check(process, which, 1);
    if (rc < 0)
        return rc;
    if (!ret_output)
        return mproc__handle_fail(&process->handle, -EINVAL, "mproc_process_output: NULL");
    const mproc__program_output *output = &process->program->outputs[which - 1];
    *ret_output = (mproc_output){.data = output->data ? output->data : "",
                                 .size_bytes = output->size_bytes,
                                 .dropped_bytes = output->dropped_bytes};
    return 0;
}
