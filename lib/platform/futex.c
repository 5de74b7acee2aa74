/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleep on a word of memory until it changes; one word, or many at once. */
#include "platform/base.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/platform.h"

/* Since Linux 5.16; headers may be older than the kernel. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#ifndef FUTEX_WAITV_MAX
#define FUTEX_WAITV_MAX 128
#define FUTEX_32        2
struct futex_waitv {
    uint64_t val;
    uint64_t uaddr;
    uint32_t flags;
    uint32_t __reserved;
};
#endif

enum { WAITV_FEW = 8 };

/* An absolute time for the kernel, or NULL for MPROC_FOREVER. */
static const struct timespec *deadline_pointer(mproc_deadline deadline, struct timespec *storage)
{
    if (deadline.ns == INT64_MAX)
        return NULL;
    *storage = mproc__deadline_timespec(deadline);
    return storage;
}

int mproc__futex_wait(const _Atomic uint32_t *word, uint32_t expected, bool shared, mproc_deadline deadline)
{
    struct timespec storage;
    /* The bitset form, because its time is absolute; plain FUTEX_WAIT would restart the time after each signal. */
    int operation = FUTEX_WAIT_BITSET | (shared ? 0 : FUTEX_PRIVATE_FLAG);

    if (syscall(SYS_futex, word, operation, expected, deadline_pointer(deadline, &storage), NULL,
                FUTEX_BITSET_MATCH_ANY) == 0)
        return 0;
    if (errno == ETIMEDOUT)
        return -ETIMEDOUT;
    MPROC__ASSERT(errno == EAGAIN || errno == EINTR);
    return 0;
}

static int futex_waitv_in(struct futex_waitv *list, const mproc__futex_word *words, unsigned count,
                          mproc_deadline deadline)
{
    struct timespec storage;
    long index;

    for (unsigned i = 0; i < count; i++)
        list[i] = (struct futex_waitv){.val = words[i].expected,
                                       .uaddr = (uint64_t)(uintptr_t)words[i].word,
                                       .flags = FUTEX_32 | (words[i].local ? FUTEX_PRIVATE_FLAG : 0)};
    index = syscall(SYS_futex_waitv, list, count, 0, deadline_pointer(deadline, &storage), CLOCK_MONOTONIC);
    if (index >= 0)
        return (int)index;
    switch (errno) {
    case ETIMEDOUT:
        return -ETIMEDOUT;
    case EAGAIN:
    case EINTR:
        return -EAGAIN;
    case ENOMEM: /* for the kernel's copy of a long list */
        return -ENOMEM;
    case EPERM: /* how sandboxes of before 5.16 answer to a number they do not know */
    case ENOSYS:
        return -ENOSYS;
    default:
        MPROC__ASSERT(!"futex_waitv: bad address or list");
    }
    return -ENOSYS;
}

__attribute__((noinline)) static int futex_waitv_many(const mproc__futex_word *words, unsigned count,
                                                      mproc_deadline deadline)
{
    struct futex_waitv list[FUTEX_WAITV_MAX];

    return futex_waitv_in(list, words, count, deadline);
}

/* A long list is nearly a page of the stack, which a process that forks would copy for each child. */
int mproc__futex_waitv(const mproc__futex_word *words, unsigned count, mproc_deadline deadline)
{
    struct futex_waitv list[WAITV_FEW];

    MPROC__ASSERT(count > 0 && count <= FUTEX_WAITV_MAX);
    return count <= WAITV_FEW ? futex_waitv_in(list, words, count, deadline)
                              : futex_waitv_many(words, count, deadline);
}

unsigned mproc__futex_wake(const _Atomic uint32_t *word, unsigned count, bool shared)
{
    int operation = FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG);

    /* The kernel's count is an int. A word that was unmapped meanwhile is nobody's: no error to report. */
    long woken =
        syscall(SYS_futex, word, operation, count > INT32_MAX ? INT32_MAX : (int)count, NULL, NULL, 0);
    return woken > 0 ? (unsigned)woken : 0;
}
