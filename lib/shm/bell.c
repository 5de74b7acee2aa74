/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "platform/story.h"
#include "shm/bell.h"
#include "shm/segment_inside.h"

/* Tells the eventfd from the pidfds in the epoll, where those have their row's number. */
#define DATA_BELL UINT64_MAX

/* Another participant whose death is an edge. */
typedef struct watched_row {
    uint64_t identity; /* of the row, without its flags; 0: nobody */
    int pidfd;         /* -1: none, ours, or none to be had */
} watched_row;

/* What one process polls. A fork child finds its parent's, which it leaves alone but for closing its copies. */
struct mproc__bell_net {
    mproc__bell_net *older; /* of the process that this one was forked from */
    uint64_t incarnation;
    int epoll;
    pthread_mutex_t lock; /* guards what follows */
    uint32_t membership;  /* when the rows were looked at; the first look comes with `looked` false */
    bool looked;
    watched_row rows[MPROC__ROWS];
};

/* ---- life ---- */

/* A new participant: whoever polls must watch it before it owes anything. Its row is signed, its first commit still to
 * come; those who poll find it in their next try. */
static void bell_joined(mproc__segment *segment, void *context)
{
    const mproc__bell *bell = context;
    (void)segment;
    if (atomic_load_explicit(&bell->shared->polled, memory_order_seq_cst))
        mproc__bell_ring_now(bell);
}

/* The count begins at 1, and nobody reads it: level triggered it would always be readable, and an epoll that adds it has an
 * edge at once. */
int mproc__bell_open(mproc__bell *bell, mproc__bell_shared *shared, mproc__segment *segment)
{
    *bell = (mproc__bell){.fd = -1};
    if (!shared->pollable)
        return 0;
    bell->fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell->fd < 0)
        return mproc__fail(-errno, "no descriptor for a pollable object: eventfd: %s", strerror(errno));
    bell->shared = shared;
    bell->segment = segment;
    mproc__segment_on_join(segment, bell_joined, bell);
    return 0;
}

static void net_close(mproc__bell_net *net)
{
    close(net->epoll);
    for (unsigned row = 0; row < MPROC__ROWS; row++)
        if (net->rows[row].pidfd >= 0)
            close(net->rows[row].pidfd);
}

void mproc__bell_close(mproc__bell *bell)
{
    mproc__bell_net *net = bell->shared ? atomic_load(&bell->net) : NULL;
    if (!bell->shared)
        return;
    mproc__segment_on_join(bell->segment, NULL, NULL);
    if (net)
        net_close(net); /* its elders' were closed when it was made */
    while (net) {
        mproc__bell_net *older = net->older;
        free(net);
        net = older;
    }
    close(bell->fd);
    bell->shared = NULL;
}

/* Code that closes descriptors it does not know of may have closed ours, and what it opened next has the number. All eventfds
 * are one inode, so one of the program's own is not told from ours. Not asked at each ring: that would double its cost. */
static bool is_eventfd(int fd)
{
    static const char eventfds[] = "anon_inode:[eventfd]";
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target);
    if (length < 0) /* closed, or no /proc */
        return fcntl(fd, F_GETFD) >= 0;
    return length == (ssize_t)sizeof eventfds - 1 && memcmp(target, eventfds, sizeof eventfds - 1) == 0;
}

int mproc__bell_pack(const mproc__bell *bell, mproc__parcel *parcel)
{
    if (!bell->shared)
        return 0;
    if (!is_eventfd(bell->fd))
        return mproc__fail(MPROC_ECANNOTCROSS, "a pollable object's second descriptor was closed by others");
    return mproc__parcel_add_fd(parcel, bell->fd);
}

int mproc__bell_unpack(mproc__bell *bell, mproc__parcel *parcel)
{
    if (!bell->shared)
        return 0;
    int fd = mproc__parcel_take_fd(parcel);
    if (fd < 0)
        return mproc__fail(MPROC_EPROTOCOL, "a packed pollable object without its second descriptor");
    close(bell->fd);
    bell->fd = fd;
    return 0;
}

/* ---- ringing ---- */

/* Full (EAGAIN) is 2^64 - 1 writes away, and readable. */
void mproc__bell_ring_now(const mproc__bell *bell)
{
    if (bell->shared)
        (void)eventfd_write(bell->fd, 1);
}

/* ---- what this process polls ---- */

static mproc__bell_net *net_of(const mproc__bell *bell)
{
    mproc__bell_net *net = bell->shared ? atomic_load_explicit(&bell->net, memory_order_acquire) : NULL;
    return net && net->incarnation == mproc__incarnation() ? net : NULL;
}

static int net_new(const mproc__bell *bell, mproc__bell_net **ret_net)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = DATA_BELL};
    mproc__bell_net *net = calloc(1, sizeof *net);
    if (!net)
        return mproc__fail(-ENOMEM, "no memory to poll an object");
    net->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (net->epoll < 0 || epoll_ctl(net->epoll, EPOLL_CTL_ADD, bell->fd, &event) < 0) {
        int code = mproc__fail(-errno, "no descriptor to poll an object: %s", strerror(errno));
        if (net->epoll >= 0)
            close(net->epoll);
        free(net);
        return code;
    }
    pthread_mutex_init(&net->lock, NULL);
    net->incarnation = mproc__incarnation();
    for (unsigned row = 0; row < MPROC__ROWS; row++)
        net->rows[row].pidfd = -1;
    *ret_net = net;
    return 0;
}

int mproc__bell_fd(mproc__bell *bell, bool *ret_fresh)
{
    mproc__bell_net *net = net_of(bell), *made = NULL;
    *ret_fresh = !net;
    if (net)
        return net->epoll;
    int code = net_new(bell, &made);
    if (code < 0)
        return code;
    mproc__bell_net *older = atomic_load(&bell->net);
    do {
        if (older && older->incarnation == made->incarnation) { /* another thread was first */
            net_close(made);
            free(made);
            return older->epoll;
        }
        made->older = older;
    } while (!atomic_compare_exchange_weak(&bell->net, &older, made));
    if (older)
        net_close(older); /* the parent's: our copies */
    atomic_store_explicit(&bell->shared->polled, 1, memory_order_seq_cst);
    return made->epoll;
}

static void row_unwatch(const mproc__bell_net *net, watched_row *watched)
{
    if (watched->pidfd < 0)
        return;
    (void)epoll_ctl(net->epoll, EPOLL_CTL_DEL, watched->pidfd, NULL); /* a fork child may have a copy */
    close(watched->pidfd);
    watched->pidfd = -1;
}

/* The row's process has changed. Without a pidfd (no descriptor left, or it has ended already) its death is found by the
 * sweep that follows, or by whoever sleeps. */
static void row_watch(mproc__bell_net *net, unsigned row, uint64_t identity)
{
    watched_row *watched = &net->rows[row];
    pid_t pid = (pid_t)(identity & UINT32_MAX);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = row};
    row_unwatch(net, watched);
    *watched = (watched_row){.identity = identity, .pidfd = -1};
    if (identity && pid != mproc__pid())
        watched->pidfd = mproc__pidfd_open(pid);
    if (watched->pidfd >= 0)
        (void)epoll_ctl(net->epoll, EPOLL_CTL_ADD, watched->pidfd, &event);
}

static void rows_watch(mproc__bell_net *net, const mproc__segment *segment)
{
    unsigned rows = mproc__segment_rows(segment);
    for (unsigned row = 0; row < rows; row++) {
        uint64_t identity = atomic_load_explicit(&segment->shared->rows[row].identity, memory_order_acquire) &
                            ~MPROC__IDENTITY_FLAGS;
        if (identity != net->rows[row].identity)
            row_watch(net, row, identity);
    }
}

/* The row's process has ended. If its life word is held all the same (it was overwritten, or the thread had more robust
 * words than the kernel walks), nobody can ever bury it, and its pidfd would be readable for ever: it has been heard now.
 * A sweeper that happens to hold the word rings, or its own death is heard. */
static void row_ended(mproc__bell_net *net, mproc__segment *segment, unsigned row)
{
    mproc__row_shared *ended = &segment->shared->rows[row];
    uint32_t word = atomic_load_explicit(mproc__robust_word(&ended->life), memory_order_acquire);
    uint64_t identity = atomic_load_explicit(&ended->identity, memory_order_acquire);
    /* With MPROC__IDENTITY_UNBURIED it is no other identity's, and a later try will bury it. */
    if ((word & FUTEX_TID_MASK) && (identity & ~MPROC__IDENTITY_HANDED_BACK) == net->rows[row].identity)
        row_unwatch(net, &net->rows[row]);
}

static uint32_t membership_of(const mproc__segment *segment)
{
    return segment->shared ? atomic_load_explicit(&segment->shared->membership, memory_order_seq_cst) : 0;
}

/* Who has joined, left or died since the last look. One who died before the pidfd was opened (its number may be another
 * process's by now) is buried here. */
static void net_look(mproc__bell_net *net, mproc__segment *segment)
{
    do {
        uint32_t membership = membership_of(segment);
        if (segment->shared && (!net->looked || membership != net->membership))
            rows_watch(net, segment);
        net->membership = membership;
        net->looked = true;
    } while (mproc__segment_sweep(segment) > 0);
}

/* The edge goes with being told; the pidfds of the dead stay readable until their rows go, or are given up. A burial rings,
 * so it comes first; who joined after the look and before the edge went has rung in vain, so the look is repeated. */
bool mproc__bell_quiet(mproc__bell *bell)
{
    struct epoll_event told[MPROC__ROWS + 1];
    mproc__bell_net *net = net_of(bell);
    if (!net)
        return false;
    pthread_mutex_lock(&net->lock);
    do {
        net_look(net, bell->segment);
        int count = epoll_wait(net->epoll, told, MPROC__ROWS + 1, 0);
        for (int i = 0; i < count; i++)
            if (told[i].data.u64 != DATA_BELL)
                row_ended(net, bell->segment, (unsigned)told[i].data.u64);
    } while (membership_of(bell->segment) != net->membership);
    atomic_store_explicit(&bell->shared->armed, 1, memory_order_seq_cst);
    pthread_mutex_unlock(&net->lock);
    return true;
}

/* An edge for this process alone. */
void mproc__bell_again(const mproc__bell *bell)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = DATA_BELL};
    mproc__bell_net *net = net_of(bell);
    if (net)
        (void)epoll_ctl(net->epoll, EPOLL_CTL_MOD, bell->fd, &event);
}
