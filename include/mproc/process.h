/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes: one function, run elsewhere, by any of four start methods. What runs is the same by all of them.
 *
 * A handle is a started process (or thread). There is no "built but not started".
 *
 *   method      the child is                arguments            the program's descriptors  needs mproc_init
 *   fork        a copy of this process      its memory, as is    open, as they are          no
 *   spawn       this program, exec'd anew   travel as a parcel   closed but 0 to 2          yes
 *   forkserver  forked by the nursery       travel as a parcel   closed but 0 to 2          yes
 *   thread      a thread of this process    copied               shared                     no
 *
 * The default is fork, or what mproc_set_start said; in a child, the method by which it was started. Fork by
 * default is refused beside other threads (MPROC_ETHREADS), because what they have locked stays locked in the
 * copy; who asks for MPROC_START_FORK by name gets it. In such a child this library's calls and malloc work, but what of libc
 * has a lock of its own may hang: getaddrinfo, localtime, dlopen, setenv, random, syslog (mproc-process(3)). Handles and descriptors (mproc_fd) cross in the
 * arguments by every method; a bare pointer only to threads.
 *
 * A child finds: default signal dispositions and an empty mask; the null device as standard input
 * (processes); its own name, pid and numbering; the program's key; the directory and environment of the
 * moment of start. A forkserver child has umask, limits and credentials of the moment when the nursery was
 * made. Exit handlers that the child registers run at its end, those it inherits by fork do not. Its streams
 * are flushed, whatever the function returned.
 *
 * The nursery is one small process of the library's own, made at the first start that is no thread: this program exec'd
 * anew, or, where mproc_init was not called, a fork of it. It kills every child with SIGKILL when this process dies for
 * any reason, and ends with it. No thread and no SIGCHLD handler is made in the program, and no child but the library's
 * is waited for. Should the nursery itself be killed, children by forkserver and programs die with it, those by fork
 * and spawn run on. The next start, join, stop, is_alive, signal, children or mproc_wait makes another nursery that
 * watches them, and one that sleeps in join or stop does it at once. That takes some ms, or longer where main is slow
 * before mproc_init, and is the one case where is_alive, signal and children wait, and where a deadline is passed; of
 * several threads one waits, the others go on; a new nursery that is stopped (SIGSTOP) on its way is killed, and made
 * again later. A program that is killed before it makes any such call takes them along by the closing of its
 * descriptors, two for each such child; a start that finds more than half of all descriptors in use does without those,
 * and leaves a child that runs on. Who closes descriptors that are not his, as by close_range(3, ~0), kills his children
 * by fork and spawn with those. A nursery that is stopped (SIGSTOP) is not dead: what only it can do waits until it
 * goes on, which is a start that finds no spare, the end of what it started, and that all it started is killed when
 * this process has died; deadlines hold. A program that waits for any child, or ignores SIGCHLD, takes exit codes away: Linux 6.15
 * on still tells them, before that join answers MPROC_EUNKNOWN.
 *
 * Signals. Children are in the process group of this program, by every method: Ctrl-C reaches them as it does the program, and
 * ends those that do not handle it; never the nursery, so that starts go on. The workers of a pool leave the group (pool.h). No
 * signal shortens a join, stop or wait: to be interrupted, mproc_wait beside a descriptor to which the handler writes.
 *
 *                 blocks            threads         processes            in a signal handler  after fork
 *   start         until it runs     any, at once    one family each      no                   a new family
 *   join, stop    to the deadline   any, at once    who started it       no                   -ECHILD
 *   signal        no                any             who started it       no                   -ECHILD
 *   is_alive      no                any             who started it       no                   false
 *   pid, name,     no               any             all                  yes                  work
 *   is_daemon
 *   close         no                the last user   all                  no                   works
 *   children      no                any             each its own         no                   the new one's
 *   preload       no                main, before    each its own         no                   inherited
 *                                   its first start
 *   set_spares    no                any, at once    each its own         no                   inherited
 *   register      no                any, at once    each its own         no                   inherited
 *   self, parent  no                any             each its own         no                   the new one's
 *
 * At normal exit (exit, return from main) of this process, in this order:
 *   1  functions given to mproc_at_exit with a priority of 0 or more (at_exit.h)
 *   2  daemonic children are stopped: the stopping flag and SIGTERM to all of them, SIGKILL after the grace
 *      of each; a daemonic thread gets the flag and is not waited for
 *   3  the other children are joined, also those whose handles were closed
 *   4  the functions with a priority below 0 */
#ifndef MPROC_PROCESS_H
#define MPROC_PROCESS_H

#include <mproc/call.h>
#include <mproc/deadline.h>

MPROC_BEGIN

/* What a child is held to, from before fn or the program runs until it ends; zero: as the caller is, by
 * forkserver as it was when the nursery was made. It is put on by the child
 * itself, after the cgroup's and before fn's arguments are unpacked; what cannot be put on is the error of start, with its name,
 * and no child is left. The child cannot raise it again, unless it is root; its own children inherit it.
 *   -EINVAL  a CPU that is not there, or not for this process; an empty set; a number out of range; a thread (below)
 *   -EACCES, -EPERM  a stronger priority, a higher limit or a group that this process may not give
 *   -ENOENT  no such group     -EBUSY  the group is frozen
 *   -ENOMEM  by fork the child has more memory than memory_bytes from the beginning: all that this process has
 * A thread can have CPUs and priority of its own, the rest is the process's and refused. */
typedef struct mproc_limits {
    uint64_t    memory_bytes;       /* private memory that can be written (RLIMIT_DATA): malloc then answers NULL. Shared
                                     * memory does not count, nor do addresses that are only reserved */
    const int  *cpus;               /* the CPUs it may run on, by number, 0 to 8191, in any order; NULL: the caller's */
    size_t      cpu_count;
    int         nice;               /* added to the caller's: 1 to 39 is weaker, -1 to -39 stronger; ends at 19 and -20 */
    uint32_t    cpu_seconds;        /* of CPU time: SIGXCPU then, SIGKILL a second later */
    uint32_t    descriptors;        /* it opens none of this number or higher */
    bool        no_core;            /* leaves no core file */
    const char *cgroup;             /* directory of a control group that it joins, of version 1 or 2 */
} mproc_limits;

typedef struct mproc_process_options {
    size_t      size;
    const char *name;               /* copied, up to 127 bytes; NULL: Process-N, in a child Process-N:M */
    mproc_start start;              /* 0: the program's default */
    uint32_t    grace_ms;           /* mproc_process_stop: between SIGTERM and SIGKILL; 0: 2000 */
    bool        daemon;             /* ended at the program's normal exit, not joined; may start no functions */
    mproc_limits limits;            /* MPROC_WITH(mproc_process_options, .limits.memory_bytes = 64 << 20) */
} mproc_process_options;

/* Starts fn(call) with the arguments `args` (MPROC_ARGS(...) or MPROC_NONE), which the caller may free at
 * once. Returns when the child is about to run fn: whatever fails before that is this call's error, and no
 * child is left.
 *   MPROC_EARGUMENT, MPROC_ECANNOTCROSS   an argument that cannot travel; the story names it. By fork as by the others:
 *                    a pointer, an object of "thread:". Threads may have those
 *   -EBADF, -EMSGSIZE   a descriptor among them that is not open; more than 64 of them
 *   MPROC_ETHREADS   fork by default beside other threads: name a method
 *   MPROC_ENOINIT    spawn or forkserver in a program that did not call mproc_init first in main, or has rights that its caller
 *                    does not have (set-user-ID, set-group-ID, file capabilities): who writes its environment could have any
 *                    function run with them
 *   MPROC_EFUNCTION  fn is no function of the program or of a library that the child has too, in this build or by name
 *   -ELIBACC         fn's object has no build-id, and libcrypto, which makes one of its code, cannot be loaded
 *   MPROC_EDIED      the child ended on the way: killed, out of memory, or its main came not to mproc_init
 *   MPROC_ELIMIT     4096 children live        -ENAMETOOLONG  the name
 *   -EPERM           this process, or thread, is daemonic; programs (program.h) it may start
 *   those of limits (above)
 *   -EAGAIN, -EMFILE, -ENOMEM, -EPERM, ...     the system's, with the step in the story; nothing is left
 * The child's exit code is what fn returns, modulo 256; a negative code is printed with its story as one line
 * on stderr and becomes 1. */
MPROC_API MPROC_CHECK int mproc_process_start(mproc_fn *fn, mproc_variant args,
                                              const mproc_process_options *options,
                                              mproc_process **ret_process);

/* Has fn(call), without arguments, run once in the nursery, in the order of these calls, before it forks the first child:
 * what it leaves in memory all forkserver children find there, at no cost of their own. Named again, it counts once, with
 * the later policy. It finds the program's arguments in /proc/self/cmdline, its stdout and stderr (flushed afterwards, so
 * that nothing is written twice) and signals blocked; descriptors that it opens are closed in the children, threads that it
 * starts must have ended. The list also holds for a nursery that replaces a killed one, and not for the nurseries of
 * started children. Where fn does not return 0:
 *   MPROC_PRELOAD_IGNORE  nothing happens
 *   MPROC_PRELOAD_WARN    one line on stderr says so, with its name
 *   MPROC_PRELOAD_FAIL    each forkserver start fails with its code (MPROC_EEXIT: it returned a positive one) and its name;
 *                         functions after it do not run
 * -EINVAL: NULL, or no such policy. MPROC_EFUNCTION: as for start. MPROC_ENOINIT. MPROC_ESTATE: a child was started already.
 * MPROC_ELIMIT: 64 functions. */
typedef enum mproc_preload_policy { MPROC_PRELOAD_IGNORE, MPROC_PRELOAD_WARN, MPROC_PRELOAD_FAIL } mproc_preload_policy;
MPROC_API int  mproc_preload(mproc_fn *fn, mproc_preload_policy policy);

/* How many spares the nursery keeps from the first forkserver start on: blank children, already forked, so that such a start
 * is one message and one wake-up (2 unless set; 0: none, each start forks; at most MPROC_SPARES_MOST). They are used up by
 * starts and made again when it has been quiet for a millisecond. An idle one is a process "mproc-spare" of some hundred KiB
 * and no CPU time; it opens no descriptor here. Where none is ready, or it has been killed, a start has the nursery fork.
 * -EINVAL: more than MPROC_SPARES_MOST. -ENOMEM. */
enum { MPROC_SPARES_MOST = 64 };
MPROC_API int  mproc_set_spares(unsigned count);

/* Gives a function a name that a process of another build knows it by: where the plugin or library that it is in was replaced by
 * a newer one since this program has loaded it, children that are exec'd load the new one, in which it lies elsewhere. A function
 * crosses by the build-id of its object and its place in that; a receiver that lacks that build takes the function that it has
 * registered under the same name. So both register: in main before mproc_init, which does not return in the child, or in a
 * constructor of the object, which then stays loaded. Also later, from then on; again with the same function is no error; with
 * several names the latest is sent.
 * -EINVAL: NULL, or an empty name. -ENAMETOOLONG: more than 63 bytes. -EEXIST: the name of another function. MPROC_EFUNCTION: as
 * for start. -ENOMEM. */
MPROC_API int  mproc_register(const char *name, mproc_fn *fn);

/* Lets go of the handle. The child runs on, is collected by a later start when it has ended, and joined at
 * normal exit. */
MPROC_API void mproc_process_close(mproc_process **process);

/* Waits for the end; any number of times. *ret_exit_code (may be NULL): what the function returned or exit
 * was given, -N when signal N ended it. -ETIMEDOUT: it runs; or, of one by forkserver and of a program, the nursery, which is
 * to tell, is stopped (else it tells an end some microseconds later, for which join waits though the deadline has passed).
 * MPROC_EUNKNOWN: it has ended, the code was taken by another (above) or it is the parent. MPROC_ESTATE: this process itself. */
MPROC_API int  mproc_process_join(mproc_process *process, mproc_deadline deadline, int *ret_exit_code);

MPROC_API bool mproc_process_is_alive(const mproc_process *process);   /* false also for a wrong handle */
MPROC_API bool mproc_process_is_daemon(const mproc_process *process);  /* as started; the first process: false */
MPROC_API int  mproc_process_pid(const mproc_process *process);        /* a thread's: this process's */
MPROC_API const char *mproc_process_name(const mproc_process *process); /* lives as long as the handle */

/* By pidfd: never a recycled pid. 0 also when it has ended. A thread gets no signal: its stopping flag is
 * set. */
MPROC_API int  mproc_process_signal(mproc_process *process, int signal_number);

/* Ends it: mproc_call_stopping turns true in it and it gets SIGTERM; grace_ms later, or at the deadline,
 * SIGKILL. 0: ended and collected, join has the exit code. -ETIMEDOUT: the deadline passed, SIGKILL is sent,
 * its end is not seen yet. A thread is only asked: -EBUSY when it has not looked by the deadline; it runs on.
 * MPROC_ESTATE: not a child of this process. */
MPROC_API int  mproc_process_stop(mproc_process *process, mproc_deadline deadline);

/* Borrowed; closing them only clears the pointer. self: NULL only without memory. parent: the process that
 * called start (not the nursery), NULL in the first process; it can be asked for pid, name and life, and
 * joined. */
MPROC_API mproc_process *mproc_process_self(void);
MPROC_API mproc_process *mproc_process_parent(void);

/* The children of this process that live, oldest first, also those whose handles are closed, threads and
 * programs (program.h) that it started: a list, the caller's to clear, of dicts {"pid": int, "name": text}
 * (bytes where it is not UTF-8).
 * Those that have ended are collected on the way, as each start does with some. -ENOMEM. */
MPROC_API int  mproc_process_children(mproc_variant *ret_list);

MPROC_END_DECLS

#endif
