/* SPDX-License-Identifier: BSD-2-Clause */
/* Limits of a child: memory, CPUs, priority, CPU time, core files, descriptors, control group.
 *
 * Memory is limited by RLIMIT_DATA, which counts private writable memory (heap, mappings; Linux 4.7 on), not by RLIMIT_AS,
 * which counts addresses: shared segments that several children map would count in each, and what an allocator reserves for a
 * thread without using it (64 MiB with glibc) would count in full. */
#include "platform/base.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/cgroup.h"
#include "platform/platform.h"
#include "platform/story.h"
#include "process/limits.h"
#include "process/own_fds.h"

enum { NICE_RANGE = 39 }; /* from one end, -20, to the other, 19 */

static const char *const limit_names[MPROC__LIMITS] = {
    [MPROC__LIMIT_CGROUP] = "cgroup",       [MPROC__LIMIT_AFFINITY] = "cpus",
    [MPROC__LIMIT_NICE] = "nice",           [MPROC__LIMIT_CPU_TIME] = "cpu_seconds",
    [MPROC__LIMIT_CORE] = "no_core",        [MPROC__LIMIT_DESCRIPTORS] = "descriptors",
    [MPROC__LIMIT_MEMORY] = "memory_bytes",
};

/* ---- caller ---- */

static void ask(mproc__limits *limits, mproc__limit limit)
{
    limits->asked |= 1u << limit;
}

static bool asked(const mproc__limits *limits, mproc__limit limit)
{
    return limits->asked & 1u << limit;
}

static int cpus_take(const mproc_limits *of, mproc__limits *limits)
{
    if (!of->cpus && of->cpu_count == 0)
        return 0;
    if (!of->cpus || of->cpu_count == 0)
        return mproc__fail(-EINVAL, "start: limits.cpus: no CPU is in the set");
    for (size_t i = 0; i < of->cpu_count; i++) {
        if (of->cpus[i] < 0 || of->cpus[i] >= MPROC__LIMIT_CPUS)
            return mproc__fail(-EINVAL, "start: limits.cpus: %d is no number of a CPU", of->cpus[i]);
        limits->cpus[of->cpus[i] / 8] |= (uint8_t)(1u << of->cpus[i] % 8);
    }
    ask(limits, MPROC__LIMIT_AFFINITY);
    return 0;
}

static int nice_take(const mproc_limits *of, mproc__limits *limits)
{
    if (of->nice == 0)
        return 0;
    if (of->nice < -NICE_RANGE || of->nice > NICE_RANGE)
        return mproc__fail(-EINVAL, "start: limits.nice: %d added; %d to %d is possible", of->nice,
                           -NICE_RANGE, NICE_RANGE);
    int nice = getpriority(PRIO_PROCESS, 0) + of->nice;
    limits->nice = nice < PRIO_MIN ? PRIO_MIN : nice > PRIO_MAX - 1 ? PRIO_MAX - 1 : nice;
    ask(limits, MPROC__LIMIT_NICE);
    return 0;
}

/* A child that joined a frozen group would stop in its first steps, and a nursery that starts a program with it. */
static bool is_frozen(const char *directory)
{
    return mproc__cgroup_keyed(directory, "cgroup.events", "frozen") == 1 ||
           mproc__cgroup_number(directory, "freezer.self_freezing", 0) == 1 ||
           mproc__cgroup_number(directory, "freezer.parent_freezing", 0) == 1;
}

/* By a descriptor: whether it may be joined is judged by who opened it, so that the caller's rights count, not those of a
 * nursery of another moment. */
static int cgroup_take(const mproc_limits *of, mproc__limits *limits)
{
    if (!of->cgroup)
        return 0;
    mproc__own_fds_begin();
    int directory = open(of->cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = directory < 0 ? -1 : openat(directory, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    int code = -errno;
    if (directory >= 0)
        close(directory);
    if (fd >= 0 && (fd = mproc__fd_above_standard(fd)) < 0)
        code = -errno;
    mproc__own_fd_note(fd);
    bool frozen = fd >= 0 && is_frozen(of->cgroup);
    mproc__own_fds_end();
    if (fd < 0)
        return mproc__fail(code, "start: limits.cgroup: '%s' is no control group that can be joined: %s",
                           of->cgroup, mproc_strerror(code));
    limits->cgroup_fd = fd;
    if (frozen)
        return mproc__fail(-EBUSY, "start: limits.cgroup: '%s' is frozen", of->cgroup);
    ask(limits, MPROC__LIMIT_CGROUP);
    return 0;
}

static void numbers_take(const mproc_limits *of, mproc__limits *limits)
{
    limits->memory_bytes = of->memory_bytes;
    limits->cpu_seconds = of->cpu_seconds;
    limits->descriptors = of->descriptors;
    if (of->memory_bytes)
        ask(limits, MPROC__LIMIT_MEMORY);
    if (of->cpu_seconds)
        ask(limits, MPROC__LIMIT_CPU_TIME);
    if (of->descriptors)
        ask(limits, MPROC__LIMIT_DESCRIPTORS);
    if (of->no_core)
        ask(limits, MPROC__LIMIT_CORE);
}

/* CPUs and priority are a thread's own on Linux, all else is the process's. */
static int thread_check(const mproc_limits *of)
{
    mproc__limits wanted = {0};
    numbers_take(of, &wanted);
    if (of->cgroup)
        ask(&wanted, MPROC__LIMIT_CGROUP);
    if (!wanted.asked)
        return 0;
    return mproc__fail(-EINVAL, "start: limits.%s: a thread has none of its own, only cpus and nice",
                       limit_names[__builtin_ctz(wanted.asked)]);
}

int mproc__limits_take(const mproc_limits *of, bool thread, mproc__limits *ret_limits)
{
    *ret_limits = (mproc__limits){.cgroup_fd = -1};
    if (!of)
        return 0;
    int rc = thread ? thread_check(of) : 0;
    numbers_take(of, ret_limits);
    if (rc == 0)
        rc = cpus_take(of, ret_limits);
    if (rc == 0)
        rc = nice_take(of, ret_limits);
    if (rc == 0)
        rc = cgroup_take(of, ret_limits);
    if (rc < 0)
        mproc__limits_clear(ret_limits);
    return rc;
}

void mproc__limits_clear(mproc__limits *limits)
{
    if (limits->cgroup_fd >= 0)
        mproc__own_fd_close(limits->cgroup_fd);
    limits->cgroup_fd = -1;
}

/* ---- child ---- */

static int cgroup_put(const mproc__limits *limits)
{
    return write(limits->cgroup_fd, "0", 1) == 1 ? 0 : -errno; /* "0": who writes */
}

static int cpu_first(const uint8_t *wanted, const uint8_t *without)
{
    for (int cpu = 0; cpu < MPROC__LIMIT_CPUS; cpu++)
        if (wanted[cpu / 8] >> cpu % 8 & 1 && !(without && without[cpu / 8] >> cpu % 8 & 1))
            return cpu;
    return -1;
}

/* The kernel takes a set of which one CPU is there, and drops the others without a word. */
static int cpus_put(const mproc__limits *limits, mproc__limit_fault *ret_fault)
{
    uint8_t now[sizeof limits->cpus] = {0};
    if (syscall(SYS_sched_setaffinity, 0, sizeof limits->cpus, limits->cpus) < 0) {
        int code = -errno;
        ret_fault->cpu = code == -EINVAL ? cpu_first(limits->cpus, NULL) : -1;
        return code;
    }
    if (syscall(SYS_sched_getaffinity, 0, sizeof now, now) < 0)
        return -errno;
    ret_fault->cpu = cpu_first(limits->cpus, now);
    return ret_fault->cpu < 0 ? 0 : -EINVAL;
}

/* Both marks: the child cannot raise it. */
static int rlimit_put(__rlimit_resource_t resource, rlim_t soft, rlim_t hard)
{
    struct rlimit limit = {.rlim_cur = soft, .rlim_max = hard};
    return setrlimit(resource, &limit) == 0 ? 0 : -errno;
}

/* SIGXCPU comes at the first mark, SIGKILL at the second: a second to say so, where the limit that there is leaves one. */
static int cpu_time_put(const mproc__limits *limits)
{
    struct rlimit now;
    rlim_t soft = limits->cpu_seconds, hard = soft + 1;
    if (getrlimit(RLIMIT_CPU, &now) == 0 && now.rlim_max == soft)
        hard = soft;
    return rlimit_put(RLIMIT_CPU, soft, hard);
}

/* The soft mark is what counts; the hard one stays where it is until nothing is to be sent any more. A limit above that needs
 * rights, and no exception. */
static int descriptors_put(const mproc__limits *limits)
{
    struct rlimit now;
    rlim_t soft = limits->descriptors, hard = soft;
    if (limits->soft_descriptors && getrlimit(RLIMIT_NOFILE, &now) == 0 && soft < now.rlim_max)
        hard = now.rlim_max;
    return rlimit_put(RLIMIT_NOFILE, soft, hard);
}

int mproc__limits_descriptors(const mproc__limits *limits, bool on)
{
    struct rlimit now;
    if (!asked(limits, MPROC__LIMIT_DESCRIPTORS))
        return 0;
    if (on)
        return rlimit_put(RLIMIT_NOFILE, limits->descriptors, limits->descriptors);
    if (getrlimit(RLIMIT_NOFILE, &now) < 0)
        return -errno;
    return rlimit_put(RLIMIT_NOFILE, now.rlim_max, now.rlim_max);
}

static int limit_put(const mproc__limits *limits, mproc__limit limit, mproc__limit_fault *ret_fault)
{
    switch (limit) {
    case MPROC__LIMIT_CGROUP:
        return cgroup_put(limits);
    case MPROC__LIMIT_AFFINITY:
        return cpus_put(limits, ret_fault);
    case MPROC__LIMIT_NICE:
        return setpriority(PRIO_PROCESS, 0, limits->nice) == 0 ? 0 : -errno;
    case MPROC__LIMIT_CPU_TIME:
        return cpu_time_put(limits);
    case MPROC__LIMIT_CORE:
        return rlimit_put(RLIMIT_CORE, 0, 0);
    case MPROC__LIMIT_DESCRIPTORS:
        return descriptors_put(limits);
    default:
        return rlimit_put(RLIMIT_DATA, limits->memory_bytes, limits->memory_bytes);
    }
}

int mproc__limits_put(const mproc__limits *limits, mproc__limit_fault *ret_fault)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < MPROC__LIMITS; i++) {
        *ret_fault = (mproc__limit_fault){.limit = i, .cpu = -1};
        if (asked(limits, (mproc__limit)i))
            rc = limit_put(limits, (mproc__limit)i, ret_fault);
    }
    return rc;
}

int mproc__limits_fail(const char *step, int code, const mproc__limit_fault *fault)
{
    const char *name = limit_names[fault->limit >= 0 && fault->limit < MPROC__LIMITS ? fault->limit : 0];
    if (fault->cpu >= 0)
        return mproc__fail(code, "%s: limits.%s: there is no CPU %d for this process", step, name,
                           fault->cpu);
    return mproc__fail(code, "%s: limits.%s: %s", step, name, mproc_strerror(code));
}

/* The kernel accepts a limit below what there is, and refuses everything from then on. A copy has what its parent has. */
static int memory_check(const mproc__limits *limits)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!asked(limits, MPROC__LIMIT_MEMORY))
        return 0;
    void *at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return mproc__fail(
            -ENOMEM, "the child's first steps: limits.memory_bytes: it has more than %llu bytes already",
            (unsigned long long)limits->memory_bytes);
    munmap(at, page);
    return 0;
}

int mproc__limits_step(const mproc__limits *limits)
{
    mproc__limit_fault fault;
    int rc = mproc__limits_put(limits, &fault);
    return rc < 0 ? mproc__limits_fail("the child's first steps", rc, &fault) : memory_check(limits);
}
