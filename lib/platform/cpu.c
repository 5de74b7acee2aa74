/* SPDX-License-Identifier: BSD-2-Clause */
/* How many CPUs this process may use, and what that means for spinning. */
#include "platform/base.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "platform/cgroup.h"
#include "platform/cpu.h"
#include "platform/platform.h"

/* About 20 us of pauses: as long as a futex wake and wait takes (26 us), so that spinning costs at most as much again. */
enum { SPIN_PAUSES = 512 };
enum { CPU_WISH_MAX = 65536 };

/* CPUs in the affinity mask; grows the set until the kernel's fits (machines of more than 1024 CPUs). */
static unsigned affinity_count(void)
{
    for (int cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        size_t size_bytes = CPU_ALLOC_SIZE(cpus);
        int error = set && sched_getaffinity(0, size_bytes, set) == 0 ? 0 : EINVAL;
        int count = error ? 0 : CPU_COUNT_S(size_bytes, set);

        CPU_FREE(set);
        if (count > 0)
            return (unsigned)count;
    }
    return 1;
}

/* Lowers *context to the CPUs that a group's quota is worth. */
static void quota_visit(const char *directory, bool version_2, void *context)
{
    double *group = context;
    int64_t quota_us = mproc__cgroup_number(directory, version_2 ? "cpu.max" : "cpu.cfs_quota_us", 0);
    int64_t period_us =
        mproc__cgroup_number(directory, version_2 ? "cpu.max" : "cpu.cfs_period_us", version_2);

    /* Version 1 says "no limit" as -1. */
    if (quota_us <= 0 || quota_us == INT64_MAX || period_us <= 0 || period_us == INT64_MAX)
        return;
    double cpus = (double)quota_us / (double)period_us;
    if (*group <= 0 || cpus < *group)
        *group = cpus;
}

/* Without the override: a quota counts rounded up. */
static unsigned usable_count(mproc__cpus *ret_cpus)
{
    *ret_cpus = (mproc__cpus){.affinity = affinity_count()};
    mproc__cgroup_walk("cpu", quota_visit, &ret_cpus->group);
    ret_cpus->usable = ret_cpus->affinity;
    if (ret_cpus->group > 0 && ret_cpus->group < (double)ret_cpus->affinity) {
        unsigned whole = (unsigned)ret_cpus->group;
        ret_cpus->usable = whole + (ret_cpus->group > (double)whole);
    }
    return ret_cpus->usable;
}

static unsigned override_count(void)
{
    const char *wish = getenv("MPROC_CPU_COUNT");
    long count = wish ? strtol(wish, NULL, 10) : 0;

    return count > 0 && count <= CPU_WISH_MAX ? (unsigned)count : 0;
}

unsigned mproc_cpu_count(void)
{
    mproc__cpus cpus;
    unsigned count = override_count();

    return count > 0 ? count : usable_count(&cpus);
}

void mproc__cpus_get(mproc__cpus *ret_cpus)
{
    unsigned count = override_count();
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    usable_count(ret_cpus);
    ret_cpus->online = online > 0 ? (unsigned)online : ret_cpus->affinity;
    if (ret_cpus->usable < ret_cpus->affinity)
        ret_cpus->limit = MPROC_CPU_LIMIT_GROUP;
    else if (ret_cpus->affinity < ret_cpus->online)
        ret_cpus->limit = MPROC_CPU_LIMIT_AFFINITY;
    if (count > 0) {
        ret_cpus->usable = count;
        ret_cpus->limit = MPROC_CPU_LIMIT_OVERRIDE;
    }
}

unsigned mproc__spin_budget(void)
{
    static _Atomic int budget = -1; /* not asked yet; a race only asks twice */
    int pauses = atomic_load_explicit(&budget, memory_order_relaxed);

    if (MPROC__UNLIKELY(pauses < 0)) {
        /* Of the CPUs there are: a wish for more workers makes no second CPU to wait for. */
        mproc__cpus cpus;
        pauses = usable_count(&cpus) > 1 ? SPIN_PAUSES : 0;
        atomic_store_explicit(&budget, pauses, memory_order_relaxed);
    }
    return (unsigned)pauses;
}
