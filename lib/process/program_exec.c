/* SPDX-License-Identifier: BSD-2-Clause */
/* The nursery's side of a program's start: the record, vfork, and whether exec was reached. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/story.h"
#include "process/boot.h"
#include "process/program_child.h"

static const char *const step_names[] = {
    [MPROC__STEP_SESSION] = "a session of its own",
    [MPROC__STEP_GROUP] = "a process group of its own",
    [MPROC__STEP_DIRECTORY] = "its directory",
    [MPROC__STEP_STREAM] = "its standard streams",
    [MPROC__STEP_DESCRIPTOR] = "the given descriptors",
    [MPROC__STEP_USER] = "its user and groups",
    [MPROC__STEP_LIMITS] = "limits",
    [MPROC__STEP_PARENT_DEATH] = "parent-death signal",
    [MPROC__STEP_EXEC] = "running it",
};

/* ---- the record ---- */

/* Pointers over offsets, from the front: they are no larger. */
static char **array_relocate(char *base, uint64_t array, uint32_t count)
{
    _Static_assert(sizeof(char *) <= sizeof(uint64_t), "");
    uint64_t offset;
    char *pointer;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&offset, base + array + i * sizeof offset, sizeof offset);
        pointer = base + offset;
        memcpy(base + array + i * sizeof pointer, &pointer, sizeof pointer);
    }
    pointer = NULL;
    memcpy(base + array + count * sizeof pointer, &pointer, sizeof pointer);
    return (char **)(void *)(base + array);
}

static int record_map(mproc__program_request *request, int memfd)
{
    struct stat status;
    if (fstat(memfd, &status) < 0)
        return mproc__fail(-errno, "start_program: the record in the nursery: %s", mproc_strerror(-errno));
    if ((size_t)status.st_size < sizeof(mproc__program_record))
        return mproc__fail(MPROC_EPROTOCOL, "start_program: the nursery got no record");
    char *base = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, memfd, 0);
    if (base == MAP_FAILED)
        return mproc__fail(-errno, "start_program: mapping the record: %s", mproc_strerror(-errno));
    mproc__program_record *record = (mproc__program_record *)(void *)base;
    request->record = record;
    request->mapped_bytes = (size_t)status.st_size;
    if (record->magic != MPROC__PROGRAM_MAGIC || record->size_bytes != sizeof *record ||
        record->total_bytes > request->mapped_bytes || record->pass_count > MPROC_PROGRAM_FDS)
        return mproc__fail(MPROC_EPROTOCOL,
                           "start_program: the record is another build's (was the library replaced "
                           "while the program ran?)");
    request->argv = array_relocate(base, record->argv, record->argv_count);
    request->environment = array_relocate(base, record->environment, record->environment_count);
    request->paths = array_relocate(base, record->paths, record->path_count);
    return 0;
}

/* Puts the received descriptors in their places, each in a copy above all numbers that the program shall find them by. */
static int fds_place(mproc__program_request *request, int *received, size_t count)
{
    const mproc__program_record *record = request->record;
    int above = 3;
    size_t next = 1; /* behind the record's */
    for (uint32_t i = 0; i < record->pass_count; i++)
        if (record->pass[i] >= above)
            above = record->pass[i] + 1;
    for (uint32_t i = 0; i < MPROC__PROGRAM_FIXED_FDS + record->pass_count; i++) {
        if (i < MPROC__PROGRAM_FIXED_FDS && !(record->fd_mask & 1u << i))
            continue;
        if (next == count)
            return mproc__fail(MPROC_EPROTOCOL, "start_program: %zu descriptors came, that is too few",
                               count);
        int fd = received[next];
        if (fd < above) {
            received[next] = fcntl(fd, F_DUPFD_CLOEXEC, above);
            int error = errno;
            close(fd);
            if (received[next] < 0)
                return mproc__fail(error == EINVAL ? -EMFILE : -error,
                                   "start_program: the nursery has no room for descriptor %d", above - 1);
        }
        request->fds[i] = received[next++];
    }
    request->record->limits.cgroup_fd = request->fds[MPROC__PROGRAM_CGROUP];
    return 0;
}

/* A program may be given descriptors of numbers that the caller's limit allows now and the nursery's did not when it was
 * made. */
static void limit_raise(const mproc__program_request *request, struct rlimit *ret_before)
{
    struct rlimit wanted = request->record->surroundings.limits[RLIMIT_NOFILE];
    getrlimit(RLIMIT_NOFILE, ret_before);
    wanted.rlim_cur += 64; /* copies, and the pipe that tells of a failure, are above them all */
    if (wanted.rlim_cur > ret_before->rlim_max)
        wanted.rlim_cur = ret_before->rlim_max;
    wanted.rlim_max = ret_before->rlim_max;
    if (wanted.rlim_cur > ret_before->rlim_cur)
        setrlimit(RLIMIT_NOFILE, &wanted);
}

/* ---- the start ---- */

static int failure_pipe(mproc__program_request *request, int *ret_read_fd)
{
    int fds[2], above = 3;
    for (size_t i = 0; i < MPROC__COUNT(request->fds); i++)
        if (request->fds[i] >= above)
            above = request->fds[i] + 1;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return mproc__fail(-errno, "start_program: pipe in the nursery: %s", mproc_strerror(-errno));
    request->failure_fd = fcntl(fds[1], F_DUPFD_CLOEXEC, above);
    int error = errno;
    close(fds[1]);
    *ret_read_fd = fds[0];
    if (request->failure_fd >= 0)
        return 0;
    close(fds[0]);
    return mproc__fail(error == EINVAL ? -EMFILE : -error,
                       "start_program: the nursery has no room for a descriptor");
}

static void child_reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

static int failure_tell(const mproc__program_request *request, const mproc__program_failure *failure)
{
    const char *name = request->argv[0], *text = mproc_strerror(-failure->error);
    if (failure->step == MPROC__STEP_EXEC && failure->error == ENOENT && request->paths[1])
        return mproc__fail(-ENOENT, "start_program '%s': no such program in PATH", name);
    if (failure->step == MPROC__STEP_LIMITS)
        return mproc__limits_fail("start_program", -failure->error, &failure->fault);
    return mproc__fail(-failure->error, "start_program '%s': %s: %s", name, step_names[failure->step], text);
}

/* Everything is blocked meanwhile, so that no handler of this process runs in the child. */
static pid_t child_fork(const mproc__program_request *request)
{
    sigset_t mask;
    mproc__signals_block(&mask);
    pid_t pid = vfork();
    if (pid == 0)
        mproc__program_child_run(request);
    int error = errno;
    mproc__signals_restore(&mask);
    errno = error;
    return pid;
}

/* 0: exec has closed the pipe; else what the child wrote. */
static ssize_t failure_read(int fd, mproc__program_failure *ret_failure)
{
    ssize_t got;
    do
        got = read(fd, ret_failure, sizeof *ret_failure);
    while (got < 0 && errno == EINTR);
    return got;
}

/* The child's exec, or its failure: then it is gone. */
static int child_start(mproc__program_request *request, pid_t *ret_pid)
{
    mproc__program_failure failure;
    int read_fd = -1;
    int rc = failure_pipe(request, &read_fd);
    if (rc < 0)
        return rc;
    request->nursery = getpid();
    pid_t pid = child_fork(request);
    if (pid < 0)
        rc = mproc__fail(-errno, "start_program: fork in the nursery: %s", mproc_strerror(-errno));
    close(request->failure_fd);
    if (pid > 0 && failure_read(read_fd, &failure) == sizeof failure) {
        child_reap(pid);
        rc = failure_tell(request, &failure);
    }
    close(read_fd);
    *ret_pid = pid;
    return rc;
}

/* The pidfd is taken by the parent, of a child that it has not waited for: it cannot be another's. */
static int child_announce(int socket, pid_t pid)
{
    int pidfd = mproc__pidfd_open(pid);
    int rc = pidfd < 0 ? pidfd : mproc__boot_report_pidfd(socket, pid, pidfd);
    if (pidfd >= 0)
        close(pidfd);
    if (rc == 0)
        return 0;
    kill(pid, SIGKILL);
    child_reap(pid);
    return mproc__fail(rc, "start_program: pidfd in the nursery: %s", mproc_strerror(rc));
}

static int request_receive(int socket, int *received, size_t capacity, size_t *ret_count)
{
    char byte;
    ssize_t got = mproc__fd_recv(socket, &byte, 1, received, capacity, ret_count, MPROC_NOW);
    if (got == -EMSGSIZE)
        return mproc__fail(-EMFILE, "start_program: the nursery has no room for the descriptors");
    if (got < 0 && got != -ETIMEDOUT)
        return mproc__fail((int)got, "start_program: receiving in the nursery: %s", mproc_strerror((int)got));
    if (got != 1 || *ret_count == 0)
        return mproc__fail(MPROC_EPROTOCOL, "start_program: the nursery got no record");
    return 0;
}

static int request_start(mproc__program_request *request, int *received, size_t count, pid_t *ret_pid)
{
    struct rlimit before;
    limit_raise(request, &before);
    int rc = fds_place(request, received, count);
    if (rc == 0)
        rc = child_start(request, ret_pid);
    setrlimit(RLIMIT_NOFILE, &before);
    return rc;
}

int mproc__program_serve(int socket, pid_t *ret_pid, bool *ret_ran)
{
    mproc__program_request request = {.failure_fd = -1};
    int received[1 + MPROC__PROGRAM_FIXED_FDS + MPROC_PROGRAM_FDS];
    size_t count = 0;
    *ret_ran = false;
    for (size_t i = 0; i < MPROC__COUNT(request.fds); i++)
        request.fds[i] = -1;
    int rc = request_receive(socket, received, MPROC__COUNT(received), &count);
    if (rc == 0)
        rc = record_map(&request, received[0]);
    if (rc == 0)
        rc = request_start(&request, received, count, ret_pid);
    *ret_ran = rc == 0;
    if (rc == 0)
        rc = child_announce(socket, *ret_pid);
    for (size_t i = 0; i < count; i++)
        if (received[i] >= 0)
            close(received[i]);
    if (request.record)
        munmap(request.record, request.mapped_bytes);
    return rc;
}
