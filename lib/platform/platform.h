/* SPDX-License-Identifier: BSD-2-Clause */
/* The whole floor on one page: every call that touches the kernel's odd parts. L0.
 *
 * All return 0 or a count, or -errno; none returns -EINTR unless it says so; all descriptors are close-on-exec. */
#ifndef MPROC__PLATFORM_PLATFORM_H
#define MPROC__PLATFORM_PLATFORM_H

#include "platform/base.h"

#include <signal.h>
#include <sys/types.h>
#include <time.h>

#include <mproc/deadline.h>

/* ---- clock.c: one monotonic clock ---- */
int64_t mproc__now_ns(void);
bool mproc__deadline_past(mproc_deadline deadline);
/* For *_clocklock and absolute futex waits on CLOCK_MONOTONIC; not for MPROC_FOREVER. */
struct timespec mproc__deadline_timespec(mproc_deadline deadline);
/* For poll(): -1 for ever, 0 past, else milliseconds rounded up. */
int mproc__deadline_poll_ms(mproc_deadline deadline);

/* ---- cpu.c ---- */
/* Pauses to try before sleeping: 0 when the affinity mask or the cgroup quota leaves one CPU. */
unsigned mproc__spin_budget(void);
static inline void mproc__pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- barrier.c ---- */
/* Once a process, before its first access that others order by mproc__barrier: 0, -ENOSYS (denied or missing). May take some
 * ms in a process of several threads. */
int mproc__barrier_join(void);
bool mproc__barrier_joined(void);
/* Every thread of each process that joined has passed a full fence between the call and its return. 0, -ENOSYS. */
int mproc__barrier(void);

/* ---- futex.c ---- */
typedef struct mproc__futex_word {
    const _Atomic uint32_t *word;
    uint32_t expected;
    bool local; /* of this process only */
} mproc__futex_word;
/* Sleeps while *word == expected. 0: woken, changed before, or interrupted by a signal (look again);
 * -ETIMEDOUT. shared: the word lies in memory that other processes map. */
int mproc__futex_wait(const _Atomic uint32_t *word, uint32_t expected, bool shared, mproc_deadline deadline);
enum { MPROC__FUTEX_WORDS = 128 };
/* The same on up to MPROC__FUTEX_WORDS words: returns the index of the woken word, or -EAGAIN (one had changed, or a signal
 * came: look again), -ETIMEDOUT, -ENOMEM (now), -ENOSYS (the kernel or a sandbox lacks futex_waitv). */
int mproc__futex_waitv(const mproc__futex_word *words, unsigned count, mproc_deadline deadline);
/* How many it woke. */
unsigned mproc__futex_wake(const _Atomic uint32_t *word, unsigned count, bool shared);

/* ---- identity.c: who this process and thread are ---- */
/* A number that differs in every incarnation (fork, exec) of a process and is never 0: one load from a page that
 * fork wipes. Handles remember it to know that they crossed a fork. */
uint64_t mproc__incarnation(void);
/* Where it stands (0: nobody has asked since the fork). Stays for the program's life. */
const _Atomic uint64_t *mproc__incarnation_word(void);
/* Cached; right after fork too. */
pid_t mproc__pid(void);
pid_t mproc__tid(void);
/* Of any process: start time in clock ticks since boot (field 22 of /proc/PID/stat) and initial stack address (field
 * 28; 0 when unknown). -ESRCH: no such process. */
int mproc__process_times(pid_t pid, uint64_t *ret_start_ticks, uint64_t *ret_stack_address);
uint64_t mproc__start_ticks(void); /* the same of this process, asked once; 0: /proc does not tell */
/* The process that a thread is of; 0: there is no such thread. */
pid_t mproc__process_of_thread(pid_t tid);
int mproc__pidfd_open(pid_t pid);
int mproc__pidfd_signal(int pidfd, int signal_number);
/* To the process group that it leads, or led: also when it has ended and others of the group live. -ESRCH: none does;
 * -EINVAL: before Linux 6.9. */
int mproc__pidfd_signal_group(int pidfd, int signal_number);
/* 1: has ended (also as a zombie), 0: runs. */
int mproc__pidfd_ended(int pidfd);
/* How it ended, -N for signal N, also when a stranger has reaped it. Negative: unknown (before Linux 6.15), or not reaped. */
int mproc__pidfd_exit_code(int pidfd, int *ret_exit_code);
/* A number, never 0, that names the process as long as the machine runs: two pidfds with the same are the same process's.
 * Negative: this kernel has none. */
int mproc__pidfd_id(int pidfd, uint64_t *ret_id);
/* Inode numbers of this process's pid and time namespaces; 0 where the kernel has none. */
int mproc__namespaces(uint64_t *ret_pid_namespace, uint64_t *ret_time_namespace);

/* ---- process_view.c: any process or thread, for showing; nothing is decided by it ---- */
typedef struct mproc__process_view {
    pid_t pid;        /* of the process that the thread belongs to */
    char state;       /* of the thread, as in proc(5): T stopped, t held by a tracer, Z or X ended */
    unsigned threads; /* of the process */
    uint64_t start_ticks;
    /* On CLOCK_MONOTONIC: the thread started then, or (where the machine was suspended before) later. */
    int64_t started_ns;
    char name[64]; /* of the thread, which is the program's for a first thread; printable */
} mproc__process_view;
/* `tid`: of a thread, or a process for its first one. -ESRCH: none of that number; -errno: /proc tells nothing. */
int mproc__process_view_get(pid_t tid, mproc__process_view *ret_view);

/* ---- memory.c: memory that can be shared ---- */
/* Whether `bytes` more may be taken without the OOM killer: looks at MemAvailable and the memory cgroup (v1 and v2, all
 * ancestors). 0 or -ENOMEM. A margin of 16 MiB stays free. */
int mproc__memory_room(size_t bytes);
/* How much that is, without the margin; INT64_MAX: not known. */
int64_t mproc__memory_left(void);
/* An anonymous memfd of that size, sealed against shrinking and growing, nothing reserved yet. Where memfd_create is denied or
 * missing, a file of /dev/shm without a name, which cannot be sealed. -ENOSYS: neither is to be had. */
int mproc__memfd_create(const char *name, size_t size_bytes);
/* Whether its pages can be taken away under those who map it. */
bool mproc__memory_can_shrink(int fd);
/* Reserves (allocates) a range so that touching it cannot fail: -ENOSPC, -ENOMEM. */
int mproc__memory_reserve(int fd, size_t offset, size_t length);
/* The same for memory whose descriptor is gone. -ENOMEM also where there is no room; -EINVAL: Linux before 5.14. */
int mproc__memory_reserve_mapped(void *begin, size_t length);
/* The same on the disk of an ordinary file, which becomes as long if it was shorter; where its file system cannot, it only
 * becomes as long. -ENOSPC, -EFBIG, -EDQUOT, -EIO. */
int mproc__file_reserve(int fd, uint64_t offset, uint64_t length);
/* Gives a range back to the system; it reads as zeros and is no longer reserved. */
int mproc__memory_release(int fd, size_t offset, size_t length);
/* Zeroed memory that children by fork do not have: what is written to it costs no copy after each fork. Stays for good; NULL:
 * there is none. */
void *mproc__memory_unforked(size_t size_bytes);

/* ---- fd.c ---- */
int mproc__fd_read_all(int fd, void *buffer, size_t size_bytes,
                       mproc_deadline deadline); /* MPROC_EEND at end of file */
int mproc__fd_write_all(int fd, const void *data, size_t size_bytes, mproc_deadline deadline);
/* One message with descriptors over a Unix socket (at most 72). Not framed: the caller sends its own length. */
int mproc__fd_send(int socket, const void *data, size_t size_bytes, const int *fds, size_t fd_count,
                   mproc_deadline deadline);
/* The same from several places, the first of them not empty; how many bytes have gone, which may be less than all. */
struct iovec;
ssize_t mproc__fd_send_parts(int socket, const struct iovec *parts, size_t part_count, const int *fds,
                             size_t fd_count, mproc_deadline deadline);
/* Returns the bytes received; *ret_fd_count descriptors (close-on-exec, owned by the caller) in ret_fds[capacity]. */
ssize_t mproc__fd_recv(int socket, void *buffer, size_t size_bytes, int *ret_fds, size_t capacity,
                       size_t *ret_fd_count, mproc_deadline deadline);
int mproc__fd_poll(int fd, short events, mproc_deadline deadline); /* 0 ready, -ETIMEDOUT */
/* Moves a descriptor from 0 to 2 (others stay): a program with a closed standard stream gives it back its number some time,
 * and would overwrite what the library keeps there. -1 with errno: it is closed. */
int mproc__fd_above_standard(int fd);
/* Closes every descriptor from `first` up except those in keep[] (ascending). */
void mproc__fd_close_others(int first, const int *keep, size_t keep_count);
/* A name of a new private directory (mode 0700) for sockets, below $XDG_RUNTIME_DIR, /run/user or /tmp. */
int mproc__private_directory(char *buffer, size_t size_bytes);

/* ---- signals.c ---- */
/* Blocks all signals in this thread. */
void mproc__signals_block(sigset_t *ret_previous);
void mproc__signals_restore(const sigset_t *previous);
/* Default dispositions for all, empty mask: the child's first steps. */
void mproc__signals_reset(void);
/* Default dispositions for all that are not in `others`. */
void mproc__signals_default(const sigset_t *others);

/* ---- random.c ---- */
int mproc__random(void *buffer, size_t size_bytes);

/* ---- log.c ---- */
#define mproc__log(level, ...) mproc_log_at(level, __FILE__, __LINE__, __VA_ARGS__)
/* The names in lines on stderr: of this process, copied, NULL: the first one's; of this thread, which must stay. */
void mproc__log_name_process(const char *name);
void mproc__log_name_thread(const char *name);
/* What a child takes over from its parent that is not in its memory. */
bool mproc__log_on_stderr(void);
void mproc__log_inherit(mproc_log_level level, bool on_stderr);

#endif
