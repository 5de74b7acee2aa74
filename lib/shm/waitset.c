/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting again and again for the same handles and descriptors: an epoll, and a list of who is in it.
 *
 * Fairness is the kernel's: level triggered and asked for one at a time, it puts whom it has told of behind the others. What
 * a connection has received and kept the epoll does not know; such members are looked for in turn, every other time before
 * the epoll. */
#include "platform/base.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <mproc/wait.h>
#include "data/handle.h"
#include "platform/platform.h"
#include "platform/story.h"

enum { MEMBERS_FIRST = 16, EARLY = 2 };

typedef struct set_member {
    mproc__handle *handle; /* a reference; NULL: the user's own descriptor */
    int fd;                /* -1: a free place */
    uint32_t generation;   /* of the place: tells an event of a member that has left */
    void *context;
} set_member;

struct mproc_waitset {
    mproc__handle handle;
    uint64_t incarnation;
    int epoll;
    pthread_mutex_t lock; /* guards what follows */
    set_member *members;
    size_t count, capacity;
    size_t once,
        once_ever; /* those that leave when they are told of: in the set, and added since there was none */
    size_t cursor; /* where to look next for what a member keeps */
    _Atomic uint32_t turn; /* odd: look for that before the epoll. Without the lock */
};

/* ---- members; all with the lock held ---- */

static bool member_once(const set_member *member)
{
    return member->handle && member->handle->ops->once;
}

static uint64_t member_key(const mproc_waitset *set, size_t place)
{
    return (uint64_t)set->members[place].generation << 32 | place;
}

static set_member *member_of_key(mproc_waitset *set, uint64_t key)
{
    size_t place = key & UINT32_MAX;
    bool there = place < set->capacity && set->members[place].fd >= 0 && member_key(set, place) == key;
    return there ? &set->members[place] : NULL;
}

/* NULL: not in the set. */
static set_member *member_find(mproc_waitset *set, const mproc__handle *handle, int fd)
{
    for (size_t i = 0; i < set->capacity; i++) {
        set_member *member = &set->members[i];
        if (member->fd >= 0 && (handle ? member->handle == handle : !member->handle && member->fd == fd))
            return member;
    }
    return NULL;
}

static int members_grow(mproc_waitset *set)
{
    size_t capacity = set->capacity ? 2 * set->capacity : MEMBERS_FIRST;
    set_member *members = realloc(set->members, capacity * sizeof *members);
    if (!members)
        return mproc__fail(-ENOMEM, "no memory for a set of more than %zu", set->capacity);
    for (size_t i = set->capacity; i < capacity; i++)
        members[i] = (set_member){.fd = -1};
    set->members = members;
    set->capacity = capacity;
    return 0;
}

static int member_add(mproc_waitset *set, mproc__handle *handle, int fd, uint32_t events, void *context)
{
    size_t place = 0;
    if (member_find(set, handle, fd))
        return mproc__fail(-EEXIST, "it is in the set already");
    if (set->count == set->capacity) {
        int code = members_grow(set);
        if (code < 0)
            return code;
    }
    while (set->members[place].fd >= 0)
        place++;
    set_member *member = &set->members[place];
    struct epoll_event event = {.events = events, .data.u64 = member_key(set, place)};
    if (epoll_ctl(set->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return mproc__fail(-errno, "descriptor %d cannot be waited for: %s", fd, mproc_strerror(-errno));
    member->handle = handle;
    member->fd = fd;
    member->context = context;
    if (handle)
        mproc__handle_keep(handle);
    if (member_once(member)) {
        set->once_ever = set->once ? set->once_ever + 1 : 1;
        set->once++;
    }
    set->count++;
    return 0;
}

/* The reference, which the caller gives back without the lock; NULL: none. */
static mproc__handle *member_leave(mproc_waitset *set, set_member *member)
{
    mproc__handle *handle = member->handle;
    set->once -= member_once(member);
    (void)epoll_ctl(set->epoll, EPOLL_CTL_DEL, member->fd, NULL);
    *member = (set_member){.fd = -1, .generation = member->generation + 1};
    set->count--;
    return handle;
}

/* ---- life ---- */

static void waitset_destroy(mproc__handle *handle)
{
    mproc_waitset *set = MPROC__CONTAINER(handle, mproc_waitset, handle);
    close(set->epoll); /* before the members': a fork child's copy of it is its parent's epoll */
    for (size_t i = 0; i < set->capacity; i++)
        if (set->members[i].fd >= 0 && set->members[i].handle)
            mproc__handle_release(set->members[i].handle);
    free(set->members);
    pthread_mutex_destroy(&set->lock);
    mproc__handle_fini(handle);
    free(set);
}

static int waitset_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_waitset *set = MPROC__CONTAINER(handle, mproc_waitset, handle);
    return snprintf(buffer, size_bytes, "waitset of %zu", set->count);
}

static int waitset_check(const mproc_waitset *set)
{
    int code = mproc__handle_check(set, MPROC_TYPE_WAITSET);
    if (code == 0 && set->incarnation != mproc__incarnation())
        code = mproc__fail(-ECHILD, "a set of the process that this one was forked from");
    return code;
}

static int waitset_wait_fd(mproc__handle *handle)
{
    const mproc_waitset *set = MPROC__CONTAINER(handle, mproc_waitset, handle);
    int code = waitset_check(set);
    return code < 0 ? mproc__handle_story(handle, code) : set->epoll;
}

/* A member that keeps something, looked for from the cursor on; NULL: none. Lock held. */
static set_member *member_keeping(mproc_waitset *set)
{
    for (size_t i = 0; i < set->capacity; i++) {
        size_t place = (set->cursor + i) % set->capacity;
        mproc__handle *handle = set->members[place].fd >= 0 ? set->members[place].handle : NULL;
        if (handle && handle->ops->ready && handle->ops->ready(handle, false))
            return &set->members[place];
    }
    return NULL;
}

static bool waitset_ready(mproc__handle *handle, bool readable)
{
    mproc_waitset *set = MPROC__CONTAINER(handle, mproc_waitset, handle);
    pthread_mutex_lock(&set->lock);
    bool keeping = member_keeping(set);
    pthread_mutex_unlock(&set->lock);
    return readable || keeping;
}

static const mproc__handle_ops waitset_ops = {.type = MPROC_TYPE_WAITSET,
                                              .noun = "waitset",
                                              .destroy = waitset_destroy,
                                              .describe = waitset_describe,
                                              .wait_fd = waitset_wait_fd,
                                              .ready = waitset_ready};

int mproc_waitset_create(mproc_waitset **ret_set)
{
    if (!ret_set)
        return mproc__fail(-EINVAL, "nowhere to put the set");
    mproc_waitset *set = calloc(1, sizeof *set);
    if (!set)
        return mproc__fail(-ENOMEM, "no memory for a set");
    set->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (set->epoll < 0) {
        int code = mproc__fail(-errno, "no descriptor for a set: %s", strerror(errno));
        free(set);
        return code;
    }
    mproc__handle_init(&set->handle, &waitset_ops);
    set->incarnation = mproc__incarnation();
    pthread_mutex_init(&set->lock, NULL);
    *ret_set = set;
    return 0;
}

void mproc_waitset_close(mproc_waitset **set)
{
    mproc__handle_close((void **)set, MPROC_TYPE_WAITSET);
}

/* ---- in and out ---- */

static int set_add(mproc_waitset *set, mproc__handle *handle, int fd, uint32_t events, void *context)
{
    pthread_mutex_lock(&set->lock);
    int code = member_add(set, handle, fd, events, context);
    pthread_mutex_unlock(&set->lock);
    return code < 0 ? mproc__handle_story(&set->handle, code) : 0;
}

int mproc_waitset_add(mproc_waitset *set, void *handle, void *context)
{
    int code = waitset_check(set);
    if (code < 0)
        return code;
    int fd = mproc_wait_fd(handle);
    return fd < 0 ? mproc__handle_story(&set->handle, fd) : set_add(set, handle, fd, EPOLLIN, context);
}

int mproc_waitset_add_fd(mproc_waitset *set, int fd, uint32_t events, void *context)
{
    int code = waitset_check(set);
    if (code < 0)
        return code;
    if (fd < 0)
        return mproc__handle_fail(&set->handle, -EBADF, "%d is no descriptor", fd);
    if (events == 0)
        return mproc__handle_fail(&set->handle, -EINVAL, "no events to wait for");
    return set_add(set, NULL, fd, events, context);
}

static int set_remove(mproc_waitset *set, const mproc__handle *handle, int fd)
{
    int code = waitset_check(set);
    if (code < 0)
        return code;
    mproc__handle *left = NULL;
    pthread_mutex_lock(&set->lock);
    set_member *member = member_find(set, handle, fd);
    if (member)
        left = member_leave(set, member);
    pthread_mutex_unlock(&set->lock);
    if (left)
        mproc__handle_release(left);
    return member ? 0 : mproc__handle_fail(&set->handle, -ENOENT, "it is not in the set");
}

int mproc_waitset_remove(mproc_waitset *set, void *handle)
{
    if (!handle)
        return mproc__fail(-EINVAL, "no handle");
    return set_remove(set, handle, -1);
}

int mproc_waitset_remove_fd(mproc_waitset *set, int fd)
{
    return set_remove(set, NULL, fd);
}

/* ---- next ---- */

/* Lock held; the reference of a process, which leaves, is the caller's to give back. */
static mproc__handle *member_tell(mproc_waitset *set, set_member *member, uint32_t events,
                                  mproc_ready *ret_ready)
{
    *ret_ready = (mproc_ready){.handle = member->handle,
                               .fd = member->handle ? -1 : member->fd,
                               .events = member->handle ? EPOLLIN : events,
                               .context = member->context};
    return member_once(member) ? member_leave(set, member) : NULL;
}

/* Whether there was one that keeps something. */
static bool next_kept(mproc_waitset *set, mproc_ready *ret_ready)
{
    pthread_mutex_lock(&set->lock);
    set_member *member = member_keeping(set);
    if (member) { /* the next one is looked for behind it; to wait for the set takes no turn */
        set->cursor = (size_t)(member - set->members) + 1;
        (void)member_tell(set, member, 0, ret_ready);
    }
    pthread_mutex_unlock(&set->lock);
    return member;
}

/* One event of the epoll by the deadline. 1: told; 0: none; EARLY: somebody was. */
static int next_polled(mproc_waitset *set, mproc_deadline deadline, mproc_ready *ret_ready)
{
    struct epoll_event event;
    mproc__handle *left = NULL;
    int polled = epoll_wait(set->epoll, &event, 1, mproc__deadline_poll_ms(deadline));
    if (polled < 0 && errno != EINTR)
        return mproc__fail(-errno, "epoll: %s", strerror(errno));
    if (polled <= 0)
        return 0;
    pthread_mutex_lock(&set->lock);
    set_member *member = member_of_key(set, event.data.u64);
    mproc__handle *handle = member ? member->handle : NULL;
    bool told = member && (!handle || !handle->ops->ready || handle->ops->ready(handle, true));
    if (told)
        left = member_tell(set, member, event.events, ret_ready);
    pthread_mutex_unlock(&set->lock);
    if (left)
        mproc__handle_release(left);
    return told ? 1 : EARLY;
}

/* Behind one that is early another may be ready: the kernel puts whom it has told of behind the others, so that as many
 * looks as there are members reach all. 1: told; 0: nobody is. */
static int polled_now(mproc_waitset *set, mproc_ready *ret_ready)
{
    pthread_mutex_lock(&set->lock);
    size_t looks = set->count;
    pthread_mutex_unlock(&set->lock);
    int told = EARLY;
    while (told == EARLY && looks-- > 0)
        told = next_polled(set, MPROC_NOW, ret_ready);
    return told == EARLY ? 0 : told;
}

/* Without sleeping. */
static int next_now(mproc_waitset *set, mproc_ready *ret_ready)
{
    bool kept_first = atomic_fetch_add_explicit(&set->turn, 1, memory_order_relaxed) & 1u;
    if (kept_first && next_kept(set, ret_ready))
        return 1;
    int told = polled_now(set, ret_ready);
    return told == 0 && !kept_first ? next_kept(set, ret_ready) : told;
}

static int set_late(mproc_waitset *set)
{
    pthread_mutex_lock(&set->lock);
    size_t once = set->once, ever = set->once_ever;
    pthread_mutex_unlock(&set->lock);
    return once ? mproc__fail(-ETIMEDOUT, "%zu of %zu have not ended", once, ever)
                : mproc__fail_plain(-ETIMEDOUT);
}

int mproc_waitset_next(mproc_waitset *set, mproc_deadline deadline, mproc_ready *ret_ready)
{
    int code = waitset_check(set);
    if (code < 0)
        return code;
    if (!ret_ready)
        return mproc__handle_fail(&set->handle, -EINVAL, "nowhere to say what is ready");
    for (;;) {
        pthread_mutex_lock(&set->lock);
        bool empty = set->count == 0;
        pthread_mutex_unlock(&set->lock);
        if (empty)
            return mproc__fail_plain(MPROC_EEND);
        bool last = mproc__deadline_past(deadline);
        code = next_now(set, ret_ready);
        if (code == 0 && !last)
            code = next_polled(set, deadline, ret_ready);
        if (code < 0)
            return mproc__handle_story(&set->handle, code);
        if (code == 1)
            return 0;
        if (last)
            return set_late(set);
    }
}
