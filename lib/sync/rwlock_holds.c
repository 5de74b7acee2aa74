/* SPDX-License-Identifier: BSD-2-Clause */
/* What each thread holds of reader-writer locks: so that reading twice does not wait for a writer that waits for this
 * thread, reading then writing is a deadlock told, and the end of a thread gives back. */
#include "platform/base.h"

#include <pthread.h>
#include <stdlib.h>

#include "sync/rwlock_inside.h"

enum { HOLDS_FIRST = 4 };

static _Thread_local struct {
    mproc__rwhold *items;
    unsigned count, capacity;
    uint64_t incarnation; /* that filled it: a fork child holds nothing of what its parent does */
    bool armed;
} held;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_code;

/* The thread ends. */
static void holds_end(void *unused)
{
    (void)unused;
    held.armed = false;
    if (held.incarnation != mproc__incarnation())
        held.count = 0;
    for (; held.count > 0; held.count--) {
        const mproc__rwhold *hold = &held.items[held.count - 1];
        if (hold->reads)
            mproc__rwlock_leave(hold->rwlock, hold->seat);
        else
            mproc__rwlock_abandon(hold->rwlock);
    }
    free(held.items);
    held.items = NULL;
    held.capacity = 0;
}

static void holds_start(void)
{
    key_code = -pthread_key_create(&key, holds_end);
}

mproc__rwhold *mproc__rwhold_find(uint64_t identity)
{
    if (held.count > 0 && held.incarnation != mproc__incarnation())
        held.count = 0;
    for (unsigned i = held.count; i > 0; i--)
        if (held.items[i - 1].identity == identity)
            return &held.items[i - 1];
    return NULL;
}

static int holds_arm(void)
{
    pthread_once(&once, holds_start);
    int code = key_code;
    if (code == 0)
        code = -pthread_setspecific(key, &held);
    held.armed = code == 0;
    return code == 0 ? 0 : mproc__fail(code, "cannot watch the end of this thread");
}

static int holds_grow(void)
{
    unsigned capacity = held.capacity ? held.capacity * 2 : HOLDS_FIRST;
    mproc__rwhold *items = realloc(held.items, capacity * sizeof(*items));
    if (!items)
        return mproc__fail(-ENOMEM, "no memory to note what this thread holds");
    held.items = items;
    held.capacity = capacity;
    return 0;
}

int mproc__rwhold_reserve(void)
{
    int code = 0;
    held.incarnation = mproc__incarnation();
    if (MPROC__UNLIKELY(!held.armed))
        code = holds_arm();
    if (code == 0 && MPROC__UNLIKELY(held.count == held.capacity))
        code = holds_grow();
    return code;
}

void mproc__rwhold_add(const mproc__rwhold *hold)
{
    held.items[held.count++] = *hold;
}

void mproc__rwhold_drop(mproc__rwhold *hold)
{
    *hold = held.items[--held.count];
}
