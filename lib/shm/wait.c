/* SPDX-License-Identifier: BSD-2-Clause */
/* One wait for any mix of handles and descriptors: poll, with the handles asked before and after.
 *
 * A descriptor may be early, or know nothing of what a handle holds already: each handle that has the operation `ready` has
 * the last word. Rejected: futexes for handles and descriptors in one sleep, which takes io_uring, and that is forbidden in
 * most sandboxes. */
#include "platform/base.h"

#include <poll.h>
#include <stdlib.h>

#include <mproc/wait.h>
#include "data/handle.h"
#include "platform/platform.h"
#include "platform/story.h"

enum { ITEMS_ON_STACK = 32 };

typedef struct wait_list {
    mproc_wait_item *items;
    struct pollfd *polls; /* of an item that was ready: -1 */
    size_t count, ready;
    bool failed; /* one of those that are ready */
} wait_list;

/* ---- what to wait for ---- */

static int item_fail(int code, size_t index)
{
    return mproc__fail(code, "item %zu: %s", index, mproc__story()->text);
}

/* The descriptor of an item and what to poll it for, or why there is none. */
static int item_poll(const mproc_wait_item *item, size_t index, struct pollfd *ret_poll)
{
    int fd = item->fd;
    if (item->handle) {
        fd = mproc_wait_fd(item->handle);
        if (fd < 0)
            return item_fail(fd, index);
    } else if (item->events == 0) {
        return mproc__fail(-EINVAL, "item %zu has no handle, and no events of a descriptor", index);
    } else if (fd < 0) {
        return mproc__fail(-EBADF, "item %zu: %d is no descriptor", index, fd);
    }
    *ret_poll = (struct pollfd){.fd = fd, .events = item->handle ? POLLIN : (short)item->events};
    return 0;
}

static int list_polls(wait_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        int code = item_poll(&list->items[i], i, &list->polls[i]);
        if (code < 0)
            return code;
    }
    return 0;
}

/* ---- the wait ---- */

static uint32_t item_ready(const mproc_wait_item *item, short revents)
{
    mproc__handle *handle = item->handle;
    if (!handle)
        return (unsigned short)revents;
    bool ready = handle->ops->ready ? handle->ops->ready(handle, revents != 0) : revents != 0;
    return ready ? POLLIN : 0;
}

static bool item_failed(const mproc_wait_item *item)
{
    mproc__handle *handle = item->handle;
    return handle && handle->ops->failed && handle->ops->failed(handle);
}

/* After poll: -EBADF, or counts who has become ready. */
static int list_look(wait_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->polls[i].fd >= 0 && (list->polls[i].revents & POLLNVAL))
            return mproc__fail(-EBADF, "item %zu: descriptor %d is not open", i, list->polls[i].fd);
    for (size_t i = 0; i < list->count; i++) {
        if (list->polls[i].fd < 0)
            continue;
        list->items[i].ready = item_ready(&list->items[i], list->polls[i].revents);
        if (list->items[i].ready) {
            list->polls[i].fd = -1;
            list->ready++;
            list->failed |= item_failed(&list->items[i]);
        }
    }
    return 0;
}

/* The first poll does not sleep: a handle may hold something that its descriptor does not tell. */
static int list_wait(wait_list *list, mproc_wait_mode mode, mproc_deadline deadline)
{
    size_t enough = mode == MPROC_WAIT_ANY ? 1 : list->count;
    mproc_deadline until = MPROC_NOW;
    for (;;) {
        bool last = mproc__deadline_past(deadline);
        int polled = poll(list->polls, list->count, mproc__deadline_poll_ms(until));
        if (polled < 0 && errno == EINTR)
            continue;
        if (polled < 0)
            return mproc__fail(-errno, "%zu items cannot be polled: %s", list->count, mproc_strerror(-errno));
        int code = list_look(list);
        if (code < 0 || list->ready >= enough || (mode == MPROC_WAIT_FIRST_FAILURE && list->failed))
            return code;
        if (last)
            return mproc__fail(-ETIMEDOUT, "%zu of %zu are not ready", list->count - list->ready,
                               list->count);
        until = deadline; /* not after EINTR: the first look must not sleep */
    }
}

static int wait_check(const mproc_wait_item *items, size_t count, mproc_wait_mode mode)
{
    if (!items && count > 0)
        return mproc__fail(-EINVAL, "no items");
    if (count > INT32_MAX)
        return mproc__fail(-EINVAL, "no process has %zu items to wait for", count);
    if (mode != MPROC_WAIT_ANY && mode != MPROC_WAIT_ALL && mode != MPROC_WAIT_FIRST_FAILURE)
        return mproc__fail(-EINVAL, "no way of waiting has number %d", (int)mode);
    return 0;
}

int mproc_wait(mproc_wait_item items[], size_t count, mproc_wait_mode mode, mproc_deadline deadline,
               size_t *ret_count)
{
    struct pollfd few[ITEMS_ON_STACK];
    int code = wait_check(items, count, mode);
    if (code < 0)
        return code;
    wait_list list = {.items = items, .polls = few, .count = count};
    if (count > ITEMS_ON_STACK)
        list.polls = calloc(count, sizeof *list.polls);
    if (!list.polls)
        return mproc__fail(-ENOMEM, "no memory to wait for %zu items", count);
    code = list_polls(&list);
    if (code == 0)
        code = list_wait(&list, mode, deadline);
    if (ret_count && (code == 0 || code == -ETIMEDOUT))
        *ret_count = list.ready;
    if (list.polls != few)
        free(list.polls);
    return code;
}
