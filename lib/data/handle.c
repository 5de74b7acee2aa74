/* SPDX-License-Identifier: BSD-2-Clause */
/* What all handles share: references, the last failure, and the calls that take any of them. */
#include "platform/base.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <mproc/call.h>
#include <mproc/wait.h>

#include "data/handle.h"

typedef struct mproc__handle_story {
    pthread_mutex_t lock; /* guards `last` */
    mproc_error last;
} handle_story;

void mproc__handle_init(mproc__handle *handle, const mproc__handle_ops *ops)
{
    handle->magic = MPROC__HANDLE_MAGIC;
    handle->type = (uint32_t)ops->type;
    handle->ops = ops;
    atomic_init(&handle->references, 1);
    atomic_init(&handle->story, NULL);
}

void mproc__handle_fini(mproc__handle *handle)
{
    handle_story *story = atomic_load_explicit(&handle->story, memory_order_acquire);

    handle->magic = MPROC__HANDLE_DEAD;
    if (story)
        pthread_mutex_destroy(&story->lock);
    free(story);
}

void mproc__handle_keep(mproc__handle *handle)
{
    /* Relaxed: whoever keeps has a reference already, so nothing can go away meanwhile. */
    atomic_fetch_add_explicit(&handle->references, 1, memory_order_relaxed);
}

void mproc__handle_release(mproc__handle *handle)
{
    uint32_t before = atomic_fetch_sub_explicit(&handle->references, 1, memory_order_acq_rel);

    MPROC__ASSERT(before > 0);
    if (before == 1)
        handle->ops->destroy(handle);
}

void mproc__handle_close(void **handle, mproc_type_id type)
{
    mproc__handle *taken = handle ? *handle : NULL;

    if (!taken || mproc__handle_check(taken, type) != 0)
        return;
    *handle = NULL;
    mproc__handle_release(taken);
}

static handle_story *story_make(mproc__handle *handle)
{
    handle_story *story = calloc(1, sizeof(*story)), *expected = NULL;

    if (!story)
        return NULL;
    pthread_mutex_init(&story->lock, NULL);
    if (atomic_compare_exchange_strong(&handle->story, &expected, story))
        return story;
    pthread_mutex_destroy(&story->lock);
    free(story);
    return expected;
}

int mproc__handle_story(mproc__handle *handle, int code)
{
    handle_story *story = atomic_load(&handle->story);

    if (!story && !(story = story_make(handle)))
        return code; /* the thread's story is left */
    /* Tried only: when it is held, another thread stores its failure at this moment (or did at a fork, in the parent), and
     * either of the two may be called the last. */
    if (pthread_mutex_trylock(&story->lock) == 0) {
        mproc__story_copy(mproc__story(), &story->last);
        pthread_mutex_unlock(&story->lock);
    }
    return code;
}

int mproc__handle_fail(mproc__handle *handle, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    mproc__fail_list(code, format, args);
    va_end(args);
    return mproc__handle_story(handle, code);
}

/* The handle, if it is an open one; quietly, because asking "what is this?" is no failure. */
static mproc__handle *handle_cast(const void *handle)
{
    mproc__handle *h = (mproc__handle *)handle;

    return h && h->magic == MPROC__HANDLE_MAGIC ? h : NULL;
}

mproc_type_id mproc_type_of(const void *handle)
{
    mproc__handle *h = handle_cast(handle);

    return h ? (mproc_type_id)h->type : MPROC_TYPE_NONE;
}

int mproc_describe(const void *handle, char *buffer, size_t size_bytes)
{
    mproc__handle *h = handle_cast(handle);

    if (!h)
        return snprintf(buffer, size_bytes, "nothing");
    if (h->ops->describe)
        return h->ops->describe(h, buffer, size_bytes);
    return snprintf(buffer, size_bytes, "%s", h->ops->noun);
}

/* A copy of this thread's own, so that another thread's failure on the same handle does not change it while it is read. */
const mproc_error *mproc_error_of(const void *handle)
{
    static _Thread_local mproc_error copy;
    mproc__handle *h = handle_cast(handle);
    handle_story *story = h ? atomic_load(&h->story) : NULL;

    if (!story)
        return NULL;
    pthread_mutex_lock(&story->lock);
    mproc__story_copy(&story->last, &copy);
    pthread_mutex_unlock(&story->lock);
    return &copy;
}

void *mproc_keep(void *handle)
{
    mproc__handle *h = handle_cast(handle);

    if (!h) {
        mproc__fail(-EINVAL, "not an open handle");
        return NULL;
    }
    mproc__handle_keep(h);
    return handle;
}

int mproc_wait_fd(void *handle)
{
    mproc__handle *h = handle_cast(handle);

    if (!h)
        return mproc__fail(-EINVAL, "not an open handle");
    if (!h->ops->wait_fd)
        return mproc__handle_fail(h, MPROC_EPLACE, "a %s has no descriptor to poll", h->ops->noun);
    return h->ops->wait_fd(h);
}
