/* SPDX-License-Identifier: BSD-2-Clause */
/* Who this process and thread are, and what the kernel knows of others. */
#include "platform/base.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"

/* What a fork wipes: zero means "I am new". getpid is a system call since glibc 2.25 and costs seven times an
 * uncontended lock; atfork handlers alone would miss a raw clone. */
typedef struct identity {
    _Atomic uint64_t incarnation;
    _Atomic pid_t pid;
    _Atomic uint64_t start_ticks;
} identity;

static _Atomic(identity *) identity_page;
/* Stands in where the page cannot be had (no memory at the first call, a kernel before 4.14): wiped by an atfork handler. */
static identity identity_plain;

static void identity_wipe_plain(void)
{
    atomic_store(&identity_plain.incarnation, 0);
    atomic_store(&identity_plain.pid, 0);
    atomic_store(&identity_plain.start_ticks, 0);
}

static identity *identity_map(void)
{
    size_t size_bytes = (size_t)sysconf(_SC_PAGESIZE);
    identity *page = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, size_bytes, MADV_WIPEONFORK) == 0)
        return page;
    munmap(page, size_bytes);
    return NULL;
}

/* The first call of the program makes the page; of threads that race for it, one wins. */
static identity *identity_create(void)
{
    identity *expected = NULL, *page = identity_map();

    if (!page) {
        page = &identity_plain;
        pthread_atfork(NULL, NULL, identity_wipe_plain);
    }
    if (atomic_compare_exchange_strong(&identity_page, &expected, page))
        return page;
    if (page != &identity_plain)
        munmap(page, (size_t)sysconf(_SC_PAGESIZE));
    return expected;
}

static inline identity *identity_get(void)
{
    identity *page = atomic_load_explicit(&identity_page, memory_order_acquire);

    return MPROC__LIKELY(page) ? page : identity_create();
}

static uint64_t incarnation_new(identity *me)
{
    uint64_t number = 0, expected = 0;

    if (mproc__random(&number, sizeof(number)) != 0)
        number = (uint64_t)mproc__now_ns() << 22 ^ (uint64_t)getpid();
    number |= number == 0;
    return atomic_compare_exchange_strong(&me->incarnation, &expected, number) ? number : expected;
}

uint64_t mproc__incarnation(void)
{
    identity *me = identity_get();
    uint64_t number = atomic_load_explicit(&me->incarnation, memory_order_relaxed);

    return MPROC__LIKELY(number) ? number : incarnation_new(me);
}

const _Atomic uint64_t *mproc__incarnation_word(void)
{
    return &identity_get()->incarnation;
}

pid_t mproc__pid(void)
{
    identity *me = identity_get();
    pid_t pid = atomic_load_explicit(&me->pid, memory_order_relaxed);

    if (MPROC__UNLIKELY(pid == 0)) {
        pid = getpid();
        atomic_store_explicit(&me->pid, pid, memory_order_relaxed);
    }
    return pid;
}

pid_t mproc__tid(void)
{
    static _Thread_local struct {
        uint64_t incarnation;
        pid_t tid;
    } me;
    uint64_t now = mproc__incarnation();

    if (MPROC__UNLIKELY(me.incarnation != now)) {
        me.tid = (pid_t)syscall(SYS_gettid);
        me.incarnation = now;
    }
    return me.tid;
}

/* The n-th word of a line of /proc/PID/stat, counted as in proc(5), where field 2 is the name in brackets: the name may
 * hold blanks and brackets, so counting starts behind the last one. NULL when there are fewer. */
static const char *stat_field(const char *line, int field)
{
    const char *at = strrchr(line, ')');

    for (int i = 2; at && i < field; i++)
        at = strchr(at + 1, ' ');
    return at;
}

int mproc__process_times(pid_t pid, uint64_t *ret_start_ticks, uint64_t *ret_stack_address)
{
    char path[32], line[1024];
    const char *start, *stack;
    ssize_t size_bytes;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    size_bytes = read(fd, line, sizeof(line) - 1);
    close(fd);
    if (size_bytes <= 0)
        return -ESRCH;
    line[size_bytes] = '\0';
    start = stat_field(line, 22);
    stack = stat_field(line, 28);
    if (!start || !stack)
        return -ESRCH;
    *ret_start_ticks = strtoull(start, NULL, 10);
    *ret_stack_address = strtoull(stack, NULL, 10);
    return 0;
}

/* 6 us the first time, which is a thirtieth of a small fork. */
uint64_t mproc__start_ticks(void)
{
    identity *me = identity_get();
    uint64_t ticks = atomic_load_explicit(&me->start_ticks, memory_order_relaxed), stack;

    if (ticks == 0 && mproc__process_times(mproc__pid(), &ticks, &stack) == 0)
        atomic_store_explicit(&me->start_ticks, ticks, memory_order_relaxed);
    return ticks;
}

pid_t mproc__process_of_thread(pid_t tid)
{
    char path[40], line[128];
    int pid = 0;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    FILE *status = fopen(path, "re");
    while (status && fgets(line, sizeof(line), status))
        if (sscanf(line, "Tgid: %d", &pid) == 1)
            break;
    if (status)
        fclose(status);
    return pid;
}

MPROC__FORK_TEXT int mproc__pidfd_open(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */

    return fd < 0 ? -errno : fd;
}

int mproc__pidfd_signal(int pidfd, int signal_number)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0) == 0 ? 0 : -errno;
}

int mproc__pidfd_signal_group(int pidfd, int signal_number)
{
    enum {
        TO_GROUP = 4
    }; /* PIDFD_SIGNAL_PROCESS_GROUP, of headers newer than some that this is built with */
    return syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, TO_GROUP) == 0 ? 0 : -errno;
}

int mproc__pidfd_ended(int pidfd)
{
    struct pollfd item = {.fd = pidfd, .events = POLLIN};
    int count;

    do
        count = poll(&item, 1, 0);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return -errno;
    return item.revents & POLLNVAL ? -EBADF : count;
}

/* A look that fails for want of memory must not pass for "the kernel has none": the segment would be taken for another
 * namespace's ever after. */
static int namespace_inode(const char *path, uint64_t *ret_inode)
{
    struct stat status;
    int error = stat(path, &status) == 0 ? 0 : errno;

    if (error && error != ENOENT)
        return mproc__fail(-error, "cannot look at %s: %s", path, mproc_strerror(-error));
    *ret_inode = error ? 0 : (uint64_t)status.st_ino;
    return 0;
}

int mproc__namespaces(uint64_t *ret_pid_namespace, uint64_t *ret_time_namespace)
{
    int code = namespace_inode("/proc/self/ns/pid", ret_pid_namespace);

    return code < 0 ? code : namespace_inode("/proc/self/ns/time", ret_time_namespace);
}
