/* SPDX-License-Identifier: BSD-2-Clause */
/* What the machine has: CPUs, memory, load, time since boot, and what of it the control groups leave us. */
#include "platform/base.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "platform/cgroup.h"
#include "platform/cpu.h"
#include "platform/machine.h"
#include "platform/platform.h"
#include "platform/proc.h"
#include "platform/story.h"

/* Above any machine's memory: how version 1 says "no limit". */
#define NO_LIMIT (INT64_C(1) << 62)

void mproc__machine_memory_parse(const char *text, size_t length, mproc_machine *ret_machine)
{
    ret_machine->memory_bytes = mproc__proc_key_number(text, length, "MemTotal", -1);
    ret_machine->available_bytes = mproc__proc_key_number(text, length, "MemAvailable", -1);
    ret_machine->swap_bytes = mproc__proc_key_number(text, length, "SwapTotal", -1);
    ret_machine->swap_free_bytes = mproc__proc_key_number(text, length, "SwapFree", -1);
}

/* Not by strtod, which asks the locale for its point. */
static bool load_take(const char **at, const char *end, double *ret_load)
{
    int64_t whole, hundredths;
    if (!mproc__proc_number(at, end, &whole) || *at >= end || **at != '.')
        return false;
    ++*at;
    if (!mproc__proc_number(at, end, &hundredths))
        return false;
    *ret_load = (double)whole + (double)hundredths / 100;
    return true;
}

/* "0.55 1.28 1.01 1/88 8287" */
void mproc__machine_load_parse(const char *text, size_t length, mproc_machine *ret_machine)
{
    const char *at = text, *end = text + length;
    for (int i = 0; i < 3; i++)
        if (!load_take(&at, end, &ret_machine->load[i]))
            return;
    if (!mproc__proc_number(&at, end, &ret_machine->runnable_threads) || at >= end || *at != '/')
        return;
    at++;
    (void)mproc__proc_number(&at, end, &ret_machine->threads);
}

static void add(int64_t ticks, int64_t *sum_ns)
{
    int64_t ns = ticks > 0 ? mproc__proc_ticks_ns(ticks) : 0;
    *sum_ns = *sum_ns > INT64_MAX - ns ? INT64_MAX : *sum_ns + ns;
}

/* "cpu user nice system idle iowait irq softirq steal guest guest_nice": guests are counted in user and nice already, and
 * stolen time is somebody else's work. */
void mproc__machine_stat_parse(const char *text, size_t length, mproc_machine *ret_machine)
{
    const char *at = text, *end = text + length;
    mproc__proc_line line;
    int64_t ticks;
    ret_machine->busy_ns = ret_machine->idle_ns = 0;
    while (mproc__proc_line_next(&at, end, &line)) {
        const char *word = line.begin;
        if (line.end - word > 6 && memcmp(word, "btime ", 6) == 0) {
            word += 6;
            (void)mproc__proc_number(&word, line.end, &ret_machine->boot_date_s);
        } else if (line.end - word > 4 && memcmp(word, "cpu ", 4) == 0) {
            word += 4;
            for (int i = 0; i < 7 && mproc__proc_number(&word, line.end, &ticks); i++)
                add(ticks, i == 3 || i == 4 ? &ret_machine->idle_ns : &ret_machine->busy_ns);
        }
    }
}

/* The group with the smallest limit, and its use. */
static void group_visit(const char *directory, bool version_2, void *context)
{
    mproc_machine *machine = context;
    int64_t limit = mproc__cgroup_number(directory, version_2 ? "memory.max" : "memory.limit_in_bytes", 0);
    if (limit >= NO_LIMIT || limit < 0 ||
        (machine->group_limit_bytes >= 0 && machine->group_limit_bytes <= limit))
        return;
    int64_t used = mproc__cgroup_number(directory, version_2 ? "memory.current" : "memory.usage_in_bytes", 0);
    machine->group_limit_bytes = limit;
    machine->group_used_bytes = used == INT64_MAX ? -1 : used;
}

static int64_t uptime_ns(void)
{
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return (int64_t)boot.tv_sec * 1000000000 + boot.tv_nsec;
}

typedef struct machine_file {
    const char *path;
    void (*parse)(const char *text, size_t length, mproc_machine *ret_machine);
} machine_file;

/* /proc/stat last, so that the CPU times are as old as taken_ns. A /proc with some of them only leaves the rest untold. */
static int files_read(mproc_machine *machine)
{
    static const machine_file files[] = {{"/proc/meminfo", mproc__machine_memory_parse},
                                         {"/proc/loadavg", mproc__machine_load_parse},
                                         {"/proc/stat", mproc__machine_stat_parse}};
    mproc__proc_text text;
    int rc = 0, told = 0;
    mproc__proc_text_begin(&text);
    for (size_t i = 0; i < MPROC__COUNT(files); i++) {
        rc = mproc__proc_read(AT_FDCWD, files[i].path, &text);
        if (rc == 0)
            files[i].parse(text.bytes, text.length, machine);
        else if (rc != -ESRCH && rc != -EACCES)
            break;
        told += rc == 0;
    }
    mproc__proc_text_end(&text);
    if (rc < 0 && rc != -ESRCH && rc != -EACCES)
        return mproc__fail(rc, "/proc: %s", mproc_strerror(rc));
    return told > 0 ? 0 : mproc__fail(-EACCES, "/proc tells nothing of the machine");
}

static void nothing_told(mproc_machine *ret_machine)
{
    *ret_machine = (mproc_machine){.memory_bytes = -1,
                                   .available_bytes = -1,
                                   .swap_bytes = -1,
                                   .swap_free_bytes = -1,
                                   .group_limit_bytes = -1,
                                   .group_used_bytes = -1,
                                   .load = {-1, -1, -1},
                                   .runnable_threads = -1,
                                   .threads = -1,
                                   .boot_date_s = -1,
                                   .busy_ns = -1,
                                   .idle_ns = -1};
}

int mproc_machine_get(mproc_machine *ret_machine)
{
    mproc_machine machine;
    mproc__cpus cpus;
    nothing_told(&machine);
    int rc = mproc__running_result_check(ret_machine, sizeof machine, "mproc_machine");
    if (rc < 0)
        return rc;
    mproc__cpus_get(&cpus);
    machine.cpus = cpus.online;
    machine.affinity_cpus = cpus.affinity;
    machine.usable_cpus = cpus.usable;
    machine.cpu_limit = cpus.limit;
    machine.group_cpus = cpus.group;
    mproc__cgroup_walk("memory", group_visit, &machine);
    int64_t left = mproc__memory_left();
    rc = files_read(&machine);
    if (rc < 0)
        return rc;
    machine.usable_bytes = left == INT64_MAX ? machine.available_bytes : left > 0 ? left : 0;
    machine.uptime_ns = uptime_ns();
    machine.taken_ns = mproc__now_ns();
    mproc__running_result_copy(&machine, sizeof machine, ret_machine);
    return 0;
}

int mproc_machine_cpu_percent(const mproc_machine *before, const mproc_machine *after, double *ret_percent)
{
    if (!before || !after || !ret_percent || before->busy_ns < 0 || after->busy_ns < 0)
        return mproc__fail(-EINVAL, "two readings with CPU times and a place for the percentage are wanted");
    int64_t busy_ns = after->busy_ns - before->busy_ns, idle_ns = after->idle_ns - before->idle_ns;
    busy_ns = busy_ns > 0 ? busy_ns : 0; /* the kernel's idle times may step back a little */
    idle_ns = idle_ns > 0 ? idle_ns : 0;
    if (busy_ns + idle_ns <= 0)
        return mproc__fail(-EINVAL, "no time was counted between the two readings");
    *ret_percent = (double)busy_ns * 100 / (double)(busy_ns + idle_ns);
    return 0;
}
