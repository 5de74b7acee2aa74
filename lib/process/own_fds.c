/* SPDX-License-Identifier: BSD-2-Clause */
/* Which descriptors no child may have: one bit each. */
#include "platform/base.h"

#include <pthread.h>
#include <unistd.h>

#include "platform/platform.h"
#include "process/own_fds.h"

/* A program that may open more, and does, has children that inherit some of those above: harmless but untidy. */
enum { OWN_FDS = 1 << 16, WORD_BITS = 64, LOW_WORDS = 8 };

MPROC__FORK_DATA static struct {
    pthread_mutex_t lock; /* held for some system calls at most; forks take it */
    unsigned used;        /* words that ever had a bit */
    uint64_t low[LOW_WORDS];
} own = {.lock = PTHREAD_MUTEX_INITIALIZER};
static uint64_t own_high[OWN_FDS / WORD_BITS]; /* from LOW_WORDS on */

MPROC__FORK_TEXT static uint64_t *word_of(unsigned index)
{
    return index < LOW_WORDS ? &own.low[index] : &own_high[index];
}

static _Thread_local struct {
    bool any;
    int fd;
    const int *more;
    size_t more_count;
} own_kept;

MPROC__FORK_TEXT void mproc__own_fds_begin(void)
{
    pthread_mutex_lock(&own.lock);
}

MPROC__FORK_TEXT void mproc__own_fds_end(void)
{
    pthread_mutex_unlock(&own.lock);
}

void mproc__own_fd_note(int fd)
{
    if (fd < 0 || fd >= OWN_FDS)
        return;
    *word_of((unsigned)fd / WORD_BITS) |= UINT64_C(1) << fd % WORD_BITS;
    if (own.used <= (unsigned)fd / WORD_BITS)
        own.used = (unsigned)fd / WORD_BITS + 1;
}

MPROC__FORK_TEXT static void own_forget(int fd)
{
    if (fd >= 0 && fd < OWN_FDS)
        *word_of((unsigned)fd / WORD_BITS) &= ~(UINT64_C(1) << fd % WORD_BITS);
}

void mproc__own_fd_release(int fd)
{
    mproc__own_fds_begin();
    own_forget(fd);
    mproc__own_fds_end();
}

/* Both at once: a fork between them would find the number noted that the program has for something else by then. */
MPROC__FORK_TEXT void mproc__own_fd_close(int fd)
{
    mproc__own_fds_begin();
    own_forget(fd);
    close(fd);
    mproc__own_fds_end();
}

int mproc__own_pidfd_open(pid_t pid)
{
    mproc__own_fds_begin();
    int pidfd = mproc__pidfd_open(pid);
    if (pidfd >= 0 && pidfd < 3 && (pidfd = mproc__fd_above_standard(pidfd)) < 0)
        pidfd = -errno;
    mproc__own_fd_note(pidfd);
    mproc__own_fds_end();
    return pidfd;
}

void mproc__own_fd_keep(int fd, const int *more, size_t more_count)
{
    own_kept.any = fd >= 0;
    own_kept.fd = fd;
    own_kept.more = more;
    own_kept.more_count = more_count;
}

MPROC__FORK_TEXT static bool is_kept(int fd)
{
    bool kept = own_kept.any && fd == own_kept.fd;
    for (size_t i = 0; !kept && own_kept.any && i < own_kept.more_count; i++)
        kept = fd == own_kept.more[i];
    return kept;
}

MPROC__FORK_TEXT static void own_drop(void)
{
    for (unsigned i = 0; i < own.used; i++) {
        for (uint64_t bits = *word_of(i); bits; bits &= bits - 1) {
            int fd = (int)(i * WORD_BITS) + __builtin_ctzll(bits);
            if (!is_kept(fd))
                close(fd);
        }
        if (*word_of(i))
            *word_of(i) = 0;
    }
    if (own.used > 0) /* otherwise nothing was kept, and the thread's page need not be copied */
        own_kept.any = false;
    own.used = 0;
    mproc__own_fds_end();
}

/* From the program's start: a handler that is registered at the first use may come while another thread forks. Before the
 * family's, whose lock is held where this one is taken. */
__attribute__((constructor(101))) static void own_start(void)
{
    pthread_atfork(mproc__own_fds_begin, mproc__own_fds_end, own_drop);
}
