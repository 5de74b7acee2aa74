/* SPDX-License-Identifier: BSD-2-Clause */
/* The first steps of a program.
 *
 * Between vfork and exec the child runs in the nursery's memory, which sleeps meanwhile: system calls only, and nothing is
 * left behind but errno. Steps, each where it is because of a hazard:
 *
 *  1  session or process group: before anything can be signalled for it.
 *  2  directory: a descriptor that the caller opened, so that a directory that was renamed, or is on a dead server, holds
 *     up nobody here.
 *  3  streams and given descriptors, from copies above all their numbers, so that none overwrites another.
 *  4  all others closed; the pipe that tells of a failure is the last of the kept.
 *  5  umask, limits and the like, behind the descriptors that a lower limit would refuse; then the caller's user.
 *  6  limits that the options ask for, with the caller's rights and no more; then the user that they ask for.
 *  7  SIGKILL for the nursery's death, behind the change of user, which clears it; a nursery killed before shows in getppid.
 *  8  default dispositions, then the empty mask: no handler of the nursery runs here.
 *  9  exec, as execvp searches, but a file that is no program is an error and not a shell's script.
 *
 * A failing step writes its name and errno into a pipe that exec closes. vfork alone would tell by memory; but the thread
 * sanitizer makes it a fork. */
#include "platform/base.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "platform/platform.h"
#include "process/program_child.h"

_Noreturn static void child_tell(const mproc__program_request *request, const mproc__program_failure *failure)
{
    while (write(request->failure_fd, failure, sizeof *failure) < 0 && errno == EINTR) {
    }
    _exit(127);
}

_Noreturn static void child_fail(const mproc__program_request *request, mproc__program_step step)
{
    mproc__program_failure failure = {.step = step, .error = errno};
    child_tell(request, &failure);
}

static void child_group(const mproc__program_request *request)
{
    if (request->record->group == MPROC_GROUP_SESSION && setsid() < 0)
        child_fail(request, MPROC__STEP_SESSION);
    if (request->record->group == MPROC_GROUP_OWN && setpgid(0, 0) < 0)
        child_fail(request, MPROC__STEP_GROUP);
}

/* What stays open for later steps lies above what the program is given, and the pipe above all. */
static void child_fds(const mproc__program_request *request)
{
    const mproc__program_record *record = request->record;
    int keep[MPROC_PROGRAM_FDS + 2];
    size_t kept = record->pass_count;
    for (int i = 0; i < 3; i++)
        if (request->fds[i] < 0)
            close(i);
        else if (dup2(request->fds[i], i) < 0)
            child_fail(request, MPROC__STEP_STREAM);
    for (uint32_t i = 0; i < record->pass_count; i++) {
        keep[i] = record->pass[i];
        if (dup2(request->fds[MPROC__PROGRAM_FIXED_FDS + i], record->pass[i]) < 0)
            child_fail(request, MPROC__STEP_DESCRIPTOR);
    }
    if (request->fds[MPROC__PROGRAM_CGROUP] >= 0)
        keep[kept++] = request->fds[MPROC__PROGRAM_CGROUP];
    keep[kept++] = request->failure_fd;
    mproc__fd_close_others(3, keep, kept);
}

static void child_limits(const mproc__program_request *request)
{
    mproc__program_failure failure = {.step = MPROC__STEP_LIMITS};
    failure.error = -mproc__limits_put(&request->record->limits, &failure.fault);
    if (failure.error)
        child_tell(request, &failure);
}

static void child_user(const mproc__program_surroundings *of, const mproc__program_request *request)
{
    if (!mproc__program_user_put(&of->caller))
        child_fail(request, MPROC__STEP_USER);
    child_limits(request);
    if (of->user_named && !mproc__program_user_put(&of->user))
        child_fail(request, MPROC__STEP_USER);
}

static void child_watch_parent(const mproc__program_request *request)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        child_fail(request, MPROC__STEP_PARENT_DEATH);
    if (getppid() != request->nursery)
        _exit(127);
}

/* What does not lie where it was looked for is looked for at the next place; what is forbidden is told if nothing better
 * comes. */
static void child_exec(const mproc__program_request *request)
{
    int error = ENOENT;
    for (char **path = request->paths; *path; path++) {
        execve(*path, request->argv, request->environment);
        if (errno == EACCES)
            error = EACCES;
        else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV &&
                 errno != ETIMEDOUT) {
            error = errno;
            break;
        }
    }
    errno = error;
    child_fail(request, MPROC__STEP_EXEC);
}

_Noreturn void mproc__program_child_run(const mproc__program_request *request)
{
    child_group(request);
    if (request->fds[MPROC__PROGRAM_DIRECTORY] >= 0 && fchdir(request->fds[MPROC__PROGRAM_DIRECTORY]) < 0)
        child_fail(request, MPROC__STEP_DIRECTORY);
    child_fds(request);
    mproc__program_surroundings_put(&request->record->surroundings,
                                    request->record->group != MPROC_GROUP_SAME);
    child_user(&request->record->surroundings, request);
    child_watch_parent(request);
    mproc__signals_reset();
    child_exec(request);
    _exit(127);
}
