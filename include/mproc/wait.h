/* SPDX-License-Identifier: BSD-2-Clause */
/* One wait for any mix of handles and descriptors, and descriptors for programs with an event loop of their own.
 *
 *     mproc_wait_item items[] = {{.handle = jobs}, {.handle = child}, {.fd = 0, .events = POLLIN}};
 *     if (mproc_wait(items, 3, MPROC_WAIT_ANY, mproc_after_ms(500), NULL) == 0 && items[1].ready) ...
 *
 *                  blocks           threads  processes  in a signal handler  in a fork child
 *   wait           to its deadline  any (1)  any        no                   as the handles' wait_fd
 *   wait_fd        no               any      any        no                   works; thread home, process, future, waitset: -ECHILD
 *   waitset_next   to its deadline  any (1)  its own    no                   -ECHILD
 *   waitset_close  no               one      its own    no                   works: the parent's stays as it is
 *   the others     no               any      its own    no                   -ECHILD
 *   (1) for a connection: not beside another thread's recv on it
 *
 *   handle      has a descriptor                        readable
 *   event       made with .pollable, thread: or host:   while it is set
 *   queue       made with .pollable, thread: or host:   while there is an item, or the end
 *   connection  always                                  when something can be received, or the end
 *   listener    always                                  when a client comes, or goes on with its handshake
 *   process     always but self; threads as well        from its end on
 *   future      always                                  from its end on, callbacks included
 *   waitset     always                                  when something in it is; not for a message that a connection kept
 *   others      no: MPROC_EPLACE
 *
 * An event's or a queue's descriptor is written after what it tells of was done. A process that is killed between the two
 * is heard by those who poll or wait here when the kernel has taken it apart (0.2 ms; 170 ms for one of 2 GiB), and so is one
 * that had taken an item which others may have now; calls that sleep in the object itself hear it at once. One that is
 * stopped between the two holds up those who poll or wait until it goes on. Such a descriptor is this process's own: what
 * others find or clear makes it unreadable only at the next try here. It costs two descriptors and one for each other process
 * that uses the object. */
#ifndef MPROC_WAIT_H
#define MPROC_WAIT_H

#include <mproc/deadline.h>

MPROC_BEGIN

/* A descriptor that is readable when the handle may have something. The handle owns it: never read, write or close it. Level
 * triggered; may be readable too early: try with MPROC_NOW; the try that finds nothing makes it unreadable. It tells of what
 * comes: a message that a connection kept (MPROC_ETOOSMALL, MPROC_EARGUMENT) is received before the descriptor is polled again.
 * Negative: MPROC_EPLACE: such a handle has none. -EINVAL: no handle, or made without .pollable. -ECHILD: see above. -EMFILE,
 * -ENFILE, -ENOMEM: none could be made. MPROC_ESTATE: of mproc_process_self. */
MPROC_API int  mproc_wait_fd(void *handle);

/* A handle, or a descriptor of your own; never both. */
typedef struct mproc_wait_item {
    void     *handle;               /* anything that mproc_wait_fd takes; NULL: fd */
    int       fd;
    uint32_t  events;               /* of fd, as for poll(2): POLLIN, POLLOUT ...; at least one */
    uint32_t  ready;                /* out: 0: not ready. A handle: POLLIN. fd: what poll says of it, errors and hang-up as well */
} mproc_wait_item;
typedef enum mproc_wait_mode { MPROC_WAIT_ANY, MPROC_WAIT_ALL, MPROC_WAIT_FIRST_FAILURE } mproc_wait_mode;

/* Waits until one of the items is ready (all: until each has been; first failure: until each has been or one of them is a
 * future that failed or a process whose exit code is not 0; a cancelled future did not fail), and says of each in its `ready`
 * and of how many in *ret_count, which may be NULL. What stands in the list twice is told twice. Ready: the call that the item
 * is for would not wait; that may be an error or the end. Of a connection whose message has only begun to come, of a listener and
 * of a waitset it may come early: try with MPROC_NOW. A deadline in the past looks once. Signals do not shorten the wait. No items: ANY waits to the
 * deadline, the others are done at once. Any number of items, descriptors of any number.
 * -ETIMEDOUT: none was ready (the others: not each); `ready` and *ret_count are written all the same, and the story says how
 * many of how many are not ready. Other errors leave them alone,
 * and their story names the item: what mproc_wait_fd answers; -EINVAL: neither handle nor events, an unknown mode, or more
 * items than RLIMIT_NOFILE; -EBADF: fd is not open; -ENOMEM. */
MPROC_API int  mproc_wait(mproc_wait_item items[], size_t count, mproc_wait_mode mode, mproc_deadline deadline,
                          size_t *ret_count);

/* The same for what one waits for again and again, of any size: the kernel keeps the list. The set keeps its handles: one that is
 * closed while it is in a set is closed when it leaves it. */
typedef struct mproc_ready {
    void     *handle;               /* as it was added; NULL: fd */
    int       fd;                   /* the descriptor that was added; of a handle -1 */
    uint32_t  events;               /* of fd, what epoll says of it; of a handle EPOLLIN */
    void     *context;              /* as it was added */
} mproc_ready;
/* -EMFILE, -ENFILE, -ENOMEM. */
MPROC_API MPROC_CHECK int mproc_waitset_create(mproc_waitset **ret_set);
MPROC_API void mproc_waitset_close(mproc_waitset **set);
/* What mproc_wait_fd answers; -EEXIST: it is in the set. fd, which stays yours: events as for epoll_ctl(2), level triggered
 * unless they say EPOLLET; -EINVAL: none; -EBADF; -EPERM: a file that is always ready, which cannot be waited for.
 * -ELOOP: sets in a circle, or more than five deep. -ENOSPC: /proc/sys/fs/epoll/max_user_watches. -ENOMEM. */
MPROC_API int  mproc_waitset_add(mproc_waitset *set, void *handle, void *context);
MPROC_API int  mproc_waitset_add_fd(mproc_waitset *set, int fd, uint32_t events, void *context);
/* -ENOENT: it is not in the set. Remove a descriptor before you close it. */
MPROC_API int  mproc_waitset_remove(mproc_waitset *set, void *handle);
MPROC_API int  mproc_waitset_remove_fd(mproc_waitset *set, int fd);
/* One that is ready, each in its turn. Processes and futures are told once and leave the set: a set of futures gives them as
 * they end, those that have ended already first. What else is not served is told again. -ETIMEDOUT: none was; of processes and
 * futures the story says how many of how many have not ended. MPROC_EEND: the set is empty; one who sleeps already does not
 * hear of that. */
MPROC_API MPROC_CHECK int mproc_waitset_next(mproc_waitset *set, mproc_deadline deadline, mproc_ready *ret_ready);

MPROC_END_DECLS

#endif
