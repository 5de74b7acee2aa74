/* SPDX-License-Identifier: BSD-2-Clause */
/* The served lock's handle. The owner is a thread, as with local locks: each thread has a number of its own,
 * used for no other as long as the process lives, so that a thread that ended is not confused with one that
 * has its tid now. */
#include "platform/base.h"

#include "manager/proxy.h"
#include "platform/platform.h"
#include "platform/story.h"

typedef struct lock {
    mproc__proxy proxy;
    _Atomic uint64_t holder; /* the thread that acquired through this handle; 0: none */
    _Atomic uint64_t token;  /* of its hold; written before holder */
} lock;

static lock *lock_of(const mproc_lock *handle)
{
    return (lock *)(uintptr_t)handle;
}

static uint64_t holder_here(void)
{
    static _Atomic uint64_t last;
    static _Thread_local uint64_t mine;
    if (mine == 0)
        mine = atomic_fetch_add(&last, 1) + 1;
    return mine;
}

static int request_send(lock *self, mproc__envelope *request, mproc_deadline deadline,
                        mproc__reply *ret_reply)
{
    mproc__request_options options = {.deadline = deadline, .holder_session = &self->proxy.session};
    request->object = self->proxy.object;
    request->life = self->proxy.life;
    request->holder = holder_here();
    return mproc__session_call(self->proxy.place, request, &options, ret_reply);
}

/* ---- acquire ---- */

/* How long the server may keep the request, and how long we wait for its answer. A try has to wait for the
 * answer too. The server's own clock should end a wait, for then nothing has to be cancelled: so it gets a
 * head start. */
static int64_t acquire_limits(const lock *self, mproc_deadline deadline, mproc_deadline *ret_wait)
{
    enum { HEAD_START_MS = 5 };
    *ret_wait = deadline;
    if (deadline.ns == INT64_MAX)
        return -1;
    int64_t left_ns = deadline.ns - mproc__now_ns();
    if (left_ns <= 0) {
        *ret_wait = mproc__server_place_limit(self->proxy.place);
        return 0;
    }
    if (deadline.ns < INT64_MAX - HEAD_START_MS * INT64_C(1000000))
        ret_wait->ns += HEAD_START_MS * INT64_C(1000000);
    return (left_ns + 999) / 1000;
}

/* Nobody waits for the answer any more, and it may be a grant. */
static void acquire_cancel(lock *self, const mproc__envelope *request)
{
    mproc__envelope cancel = {.method = MPROC__CANCEL,
                              .object = request->object,
                              .life = request->life,
                              .holder = request->holder,
                              .target = request->id};
    mproc__session_tell(self->proxy.place, atomic_load(&self->proxy.session), &cancel);
}

static int remote_acquire(mproc_lock *handle, mproc_deadline deadline)
{
    lock *self = lock_of(handle);
    mproc__reply reply;
    mproc_deadline wait;
    mproc__envelope request = {.method = MPROC__LOCK_ACQUIRE,
                               .timeout_us = acquire_limits(self, deadline, &wait)};
    int rc = request_send(self, &request, wait, &reply);
    if (rc == -ETIMEDOUT && request.id != 0)
        acquire_cancel(self, &request);
    if (rc < 0)
        return mproc__handle_story(&self->proxy.handle, rc);
    mproc_variant_clear(&reply.result);
    atomic_store_explicit(&self->token, reply.token, memory_order_relaxed);
    atomic_store_explicit(&self->holder, request.holder, memory_order_release);
    return rc;
}

/* ---- the others ---- */

static int remote_call(lock *self, mproc__method method, mproc__reply *ret_reply)
{
    mproc__envelope request = {.method = method};
    int rc = request_send(self, &request, mproc__server_place_limit(self->proxy.place), ret_reply);
    return rc < 0 ? mproc__handle_story(&self->proxy.handle, rc) : rc;
}

static int remote_release(mproc_lock *handle)
{
    lock *self = lock_of(handle);
    mproc__reply reply;
    int rc = remote_call(self, MPROC__LOCK_RELEASE, &reply);
    if (rc < 0)
        return rc;
    mproc_variant_clear(&reply.result);
    uint64_t mine = holder_here();
    if (reply.token == 0) /* the last level is released; meanwhile another thread may have acquired */
        atomic_compare_exchange_strong(&self->holder, &mine, 0);
    return 0;
}

static bool remote_is_held(const mproc_lock *handle)
{
    mproc__reply reply;
    bool held = false;
    if (remote_call(lock_of(handle), MPROC__LOCK_IS_HELD, &reply) < 0)
        return false;
    mproc_variant_get_bool(reply.result, &held);
    mproc_variant_clear(&reply.result);
    return held;
}

static int remote_repair(mproc_lock *handle)
{
    mproc__reply reply;
    int rc = remote_call(lock_of(handle), MPROC__LOCK_REPAIR, &reply);
    if (rc >= 0)
        mproc_variant_clear(&reply.result);
    return rc;
}

static int remote_token(mproc_lock *handle, uint64_t *ret_token)
{
    lock *self = lock_of(handle);
    if (atomic_load_explicit(&self->holder, memory_order_acquire) != holder_here())
        return mproc__handle_fail(&self->proxy.handle, -EPERM, "the lock is not held by this thread");
    *ret_token = atomic_load_explicit(&self->token, memory_order_relaxed);
    return 0;
}

/* ---- the table ---- */

static const mproc__lock_ops lock_ops = {.handle = {.type = MPROC_TYPE_LOCK,
                                                    .noun = "lock",
                                                    .destroy = mproc__proxy_destroy,
                                                    .describe = mproc__proxy_describe,
                                                    .pack = mproc__proxy_pack},
                                         .acquire = remote_acquire,
                                         .release = remote_release,
                                         .is_held = remote_is_held,
                                         .repair = remote_repair,
                                         .token = remote_token};
const mproc__proxy_type mproc__proxy_lock = {&lock_ops.handle, sizeof(lock)};

int mproc__proxy_lock_create(mproc_place *place, const mproc_lock_options *options, mproc_lock **ret_lock)
{
    mproc__proxy *proxy = NULL;
    bool recursive = options && options->recursive, poison = options && options->poison;
    const mproc_variant items[] = {mproc_bool(recursive), mproc_bool(poison)};
    int rc = mproc__proxy_create(place, &mproc__proxy_lock, options ? options->name : NULL,
                                 options && options->and_open, mproc_items(items, 2), &proxy);
    if (rc == 0)
        *ret_lock = (mproc_lock *)(void *)proxy;
    return rc;
}

int mproc__proxy_lock_open(mproc_place *place, const char *name, mproc_lock **ret_lock)
{
    mproc__proxy *proxy = NULL;
    int rc = mproc__proxy_open(place, &mproc__proxy_lock, name, &proxy);
    if (rc == 0)
        *ret_lock = (mproc_lock *)(void *)proxy;
    return rc;
}
