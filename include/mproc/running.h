/* SPDX-License-Identifier: BSD-2-Clause */
/* What the machine has, and what runs on it: any process, not only our own children.
 *
 *     mproc_running which;
 *     mproc_running_stats stats = {.size = sizeof stats};
 *     mproc_variant more;
 *     mproc_running_find(pid, &which);                        // 0: this process
 *     mproc_running_get(which, &stats);                       // numbers: times, memory, threads, owner
 *     mproc_running_detail(which, MPROC_RUNNING_FILES | MPROC_RUNNING_COMMAND, &more);
 *     mproc_variant_clear(&more);
 *
 * Who is meant. A pid is given to another process when its own has ended, so a process is named by its pid and its start. Every
 * call compares both, and answers -ESRCH, saying so, for a process that has ended, also when another has its pid. What one call
 * tells is of one and the same process throughout; a process that ends meanwhile is -ESRCH or told as it was.
 *
 * What is not allowed. Everyone sees the numbers of mproc_running_get and mproc_running_detail's COMMAND, NAMES, THREADS and CPUS;
 * of another user's process the other parts are denied, each for itself, and the rest is told. Where /proc hides a process wholly
 * (hidepid), its calls answer -EACCES, not -ESRCH.
 *
 * What may be untrue. Names, arguments and environments are what a process says of itself. A Unix socket's path may hold a newline
 * and what looks like the kernel's line about another one: a socket that is named so has state and type "unknown" and no path.
 *
 * Numbers are read now, from /proc and the control groups; nothing is kept and no thread is made. Sizes are bytes, times are
 * nanoseconds. -1 is "not told". The structs grow at their ends: the caller sets `size` (mproc_options_init where there
 * are no designated initialisers), and what a library does not know of is zeroed.
 *
 *                             blocks       threads  processes               in a signal handler  after fork
 *   machine_get, running_*    reads files  any      any that /proc shows    no                   work
 *   cpu_percent (both)        no           any      any                     yes                  work
 *   process_running, _stats   reads files  any      who started it          no                   -ECHILD */
#ifndef MPROC_RUNNING_H
#define MPROC_RUNNING_H

#include <mproc/process.h>

MPROC_BEGIN

/* ---- the machine ---- */

typedef enum mproc_cpu_limit {          /* what decided on usable_cpus */
    MPROC_CPU_LIMIT_NONE,               /* nothing: all that there are */
    MPROC_CPU_LIMIT_AFFINITY,           /* the affinity mask (taskset, cpusets) */
    MPROC_CPU_LIMIT_GROUP,              /* the quota of a control group */
    MPROC_CPU_LIMIT_OVERRIDE            /* $MPROC_CPU_COUNT */
} mproc_cpu_limit;

typedef struct mproc_machine {
    size_t   size;
    uint32_t cpus;                      /* logical ones that are online */
    uint32_t affinity_cpus;             /* in this thread's affinity mask */
    uint32_t usable_cpus;               /* mproc_cpu_count() */
    uint32_t cpu_limit;                 /* mproc_cpu_limit */
    double   group_cpus;                /* what the smallest quota of our control groups is worth; 0: no quota */
    int64_t  memory_bytes, available_bytes;     /* of the machine; available: without swapping */
    int64_t  swap_bytes, swap_free_bytes;
    int64_t  group_limit_bytes;         /* the smallest memory limit of our control groups; -1: none */
    int64_t  group_used_bytes;          /* in that group, caches included; -1: no limit */
    int64_t  usable_bytes;              /* what may still be taken: available_bytes, or what the groups leave (caches
                                           given back) if that is less */
    double   load[3];                   /* mean number of those that run or would, of the last 1, 5 and 15 minutes */
    int64_t  runnable_threads, threads; /* now, of all processes */
    int64_t  uptime_ns;                 /* since boot, sleep included */
    int64_t  boot_date_s;               /* of the boot, in seconds since 1970 */
    int64_t  taken_ns;                  /* CLOCK_MONOTONIC: when this was read */
    int64_t  busy_ns, idle_ns;          /* of all CPUs together since boot; waiting for disks is idle */
} mproc_machine;

/* What /proc does not tell here (mounted with subset=pid, say) is -1. -EINVAL: no struct, or its size is not set. -EACCES: it tells
 * nothing of the machine. -EMFILE, -ENFILE, -ENOMEM. */
MPROC_API int mproc_machine_get(mproc_machine *ret_machine);
/* How busy all CPUs together were between two such readings: 0 to 100. -EINVAL: not two, or no time between them (CPU time is
 * counted in steps of 10 ms). */
MPROC_API int mproc_machine_cpu_percent(const mproc_machine *before, const mproc_machine *after, double *ret_percent);

/* ---- processes ---- */

typedef struct mproc_running {          /* which process */
    int64_t  pid;                       /* 0: the calling process */
    uint64_t start;                     /* when it started, in a measure of the library; 0: whoever has that pid now */
} mproc_running;

/* Who has that pid now (0: this process). -ESRCH: nobody, or a thread that is not its process's first. -EACCES: there is one,
 * and /proc hides it. MPROC_ENAMESPACE: the /proc that is mounted here counts pids of another namespace. -EINVAL: negative, or
 * no result. -EMFILE, -ENFILE, -ENOMEM. */
MPROC_API int mproc_running_find(int64_t pid, mproc_running *ret_which);
/* All that /proc shows, in the order of their pids: up to `capacity` into ret_list (which may be NULL with 0). *ret_count: how
 * many there are, also when that is more. One that may not be looked at has start 0. Errors as of find. */
MPROC_API int mproc_running_list(mproc_running *ret_list, size_t capacity, size_t *ret_count);
/* The same of its children, or of all its descendants, none of which is older than its parent. */
MPROC_API int mproc_running_children(mproc_running parent, bool recursive, mproc_running *ret_list, size_t capacity,
                                     size_t *ret_count);

typedef struct mproc_running_stats {
    size_t   size;
    mproc_running which;
    int64_t  parent_pid;                /* 0: none, or one that cannot be seen from here */
    int64_t  group_pid, session_pid;
    uint32_t uid, effective_uid, saved_uid, gid, effective_gid, saved_gid;
    uint32_t state;                     /* as in proc(5): R runs, S and I sleep, D in the kernel, T stopped, t traced,
                                           Z ended and not collected, X ended */
    uint32_t kernel_thread;             /* 1: a thread of the kernel's own */
    int64_t  nice;
    int64_t  threads;
    int64_t  start_ns;                  /* since boot: machine.boot_date_s plus this is the date */
    int64_t  taken_ns;                  /* CLOCK_MONOTONIC: when this was read */
    int64_t  cpu_ns;                    /* user and system together, exact */
    int64_t  user_ns, system_ns;        /* in steps of 10 ms */
    int64_t  children_user_ns, children_system_ns;      /* of those that have ended and were waited for */
    int64_t  rss_bytes, rss_max_bytes;  /* in memory now, and at most so far */
    int64_t  shared_bytes;              /* of rss_bytes: files and shared memory */
    int64_t  vms_bytes, swap_bytes;     /* mapped; swapped out */
    int64_t  minor_faults, major_faults;
    int64_t  voluntary_switches, involuntary_switches;  /* of the first thread */
    char     name[64];                  /* of the program, up to 15 bytes, as it is: any bytes but NUL */
} mproc_running_stats;

/* -EINVAL: the size is not set. Else as find; -ESRCH also: another process has the pid by now. */
MPROC_API int mproc_running_get(mproc_running which, mproc_running_stats *ret_stats);
/* How busy it was between two such readings, children not counted: 100 is one CPU all the time. -EINVAL: no time between them,
 * or of two processes. */
MPROC_API int mproc_running_cpu_percent(const mproc_running_stats *before, const mproc_running_stats *after,
                                        double *ret_percent);

typedef enum mproc_running_part {       /* key: value. Words that are not UTF-8 are bytes instead of text. */
    MPROC_RUNNING_COMMAND     = 1,      /* "command": list of its arguments; empty for kernel threads and ended ones */
    MPROC_RUNNING_EXECUTABLE  = 2,      /* "executable": path; null for kernel threads and ended ones */
    MPROC_RUNNING_DIRECTORY   = 4,      /* "directory": path of the current one; null for ended ones */
    MPROC_RUNNING_ENVIRONMENT = 8,      /* "environment": dict, as it was at its exec; of equal names the first, and none whose
                                           name is not UTF-8 */
    MPROC_RUNNING_MEMORY      = 16,     /* "memory": dict "uss_bytes" (would be free without it), "pss_bytes" (shared pages by
                                           the number who share them), "swap_bytes"; dear for a large process; empty without memory */
    MPROC_RUNNING_THREADS     = 32,     /* "threads": list of dict "tid", "name", "state", "user_ns", "system_ns" */
    MPROC_RUNNING_FILES       = 64,     /* "files": list of dict "fd", "path" as /proc names it ("/a/b", "pipe:[7]",
                                           "socket:[8]", a removed file with " (deleted)") */
    MPROC_RUNNING_CONNECTIONS = 128,    /* "connections": list of dict "fd", "kind" ("tcp", "tcp6", "udp", "udp6", "unix"),
                                           "state"; internet: "local_address", "local_port" and, if connected, "remote_address",
                                           "remote_port"; unix: "type", and "path" if it has one ('@': not a file's) */
    MPROC_RUNNING_CPUS        = 256,    /* "cpus": list of the CPUs it may run on */
    MPROC_RUNNING_NAMES       = 512,    /* "names": dict "pids" (in its pid namespace and those around, ours first) and
                                           "groups" (supplementary group ids) */
    MPROC_RUNNING_EVERYTHING  = 1023
} mproc_running_part;
/* A dict with the parts asked for (a sum), yours to clear. A part that could not be read is null, and the dict "denied" has its key
 * with the code (-EACCES, mostly); without any, there is no "denied". Errors of the call: as of get; -EINVAL: no or unknown parts. */
MPROC_API int mproc_running_detail(mproc_running which, uint32_t parts, mproc_variant *ret_dict);

/* ---- our own: by handle ---- */

/* Who a handle means, for the calls above; of a thread: this process. -ESRCH: it has ended. -EINVAL, -ECHILD as for every handle. */
MPROC_API int mproc_process_running(mproc_process *process, mproc_running *ret_which);
/* The same numbers of a process we started, or of a thread (memory and owner: its process's). Also after its end, when
 * they are what the kernel counted in all (start method thread: of that thread): user_ns, system_ns and cpu_ns (with those of its own
 * children that it waited for), rss_max_bytes, faults and switches; state is X and what is not told is -1, which.start 0.
 * MPROC_EUNKNOWN: it has ended and another has taken its numbers (join tells when that is), or it is the parent. -ETIMEDOUT: it has
 * ended, and the nursery, which somebody has stopped, has not told its numbers within a second. */
MPROC_API int mproc_process_stats(mproc_process *process, mproc_running_stats *ret_stats);

MPROC_END_DECLS

#endif
