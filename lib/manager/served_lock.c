/* SPDX-License-Identifier: BSD-2-Clause */
/* The served lock. Its owner is a thread of a session; who waits is parked; it goes from hand to hand, oldest
 * first.
 *
 * A client that stops waiting by its own clock cannot know whether the grant is already on its way. So it
 * cancels the request by number, and the lock undoes a grant that it made for just that request. */
#include "platform/base.h"

#include <stdlib.h>

#include "manager/served.h"
#include "platform/platform.h"
#include "platform/story.h"

typedef struct lock {
    mproc__served served;
    mproc__registry *registry;
    mproc__link owned;    /* in its owner's session, while there is an owner */
    mproc__client *owner; /* NULL: free */
    uint64_t holder;
    uint32_t depth;
    uint64_t token,
        granted; /* of the present hold; request that made its last level, 0: cannot be cancelled */
    bool granted_recovered; /* that request was told of a death */
    bool recursive, poison;
    bool recovered, poisoned; /* an owner died: the next one is to be told; nobody gets it before repair */
} lock;

static lock *lock_of(mproc__served *served)
{
    return MPROC__CONTAINER(served, lock, served);
}

/* Makes the request's thread the owner and returns what it is told. */
static int lock_grant(lock *self, mproc__client *client, uint64_t holder, uint64_t request)
{
    int code = self->recovered ? MPROC_RECOVERED : 0;
    self->owner = client;
    self->holder = holder;
    self->depth = 1;
    self->token = mproc__registry_token(self->registry);
    self->granted = request;
    self->granted_recovered = self->recovered;
    self->recovered = false;
    mproc__link_append(&client->owned, &self->owned);
    return code;
}

static void lock_pass_on(lock *self)
{
    mproc__link_remove(&self->owned);
    self->owner = NULL;
    self->granted = 0;
    mproc__parked *parked = mproc__parked_first(&self->served);
    if (!parked)
        return;
    int code = lock_grant(self, parked->client, parked->holder, parked->id);
    mproc__parked_answer(parked, code, self->token);
}

static bool lock_is_mine(const lock *self, const mproc__request *request)
{
    return self->owner == request->client && self->holder == request->holder;
}

static int poisoned(void)
{
    return mproc__fail(MPROC_EPOISONED,
                       "an owner died holding the lock: mproc_lock_repair makes it usable again");
}

static int lock_acquire_again(lock *self, const mproc__request *request, mproc__answer *answer)
{
    if (!self->recursive)
        return mproc__fail(-EDEADLK, "this thread holds the lock already, and it is not recursive");
    if (self->depth == UINT32_MAX)
        return mproc__fail(-EAGAIN, "the lock is held %u times", self->depth);
    self->depth++;
    self->granted = request->id;
    self->granted_recovered = false;
    answer->token = self->token;
    return 0;
}

static int lock_acquire(lock *self, const mproc__request *request, mproc__answer *answer)
{
    if (lock_is_mine(self, request))
        return lock_acquire_again(self, request, answer);
    if (self->poisoned)
        return poisoned();
    if (self->owner)
        return mproc__deadline_past(request->deadline) ? mproc__fail_plain(-ETIMEDOUT)
                                                       : mproc__park(&self->served, request);
    int code = lock_grant(self, request->client, request->holder, request->id);
    answer->token = self->token;
    return code;
}

static int lock_release(lock *self, const mproc__request *request, mproc__answer *answer)
{
    if (!lock_is_mine(self, request))
        return mproc__fail(-EPERM, "the lock is not held by this thread");
    self->granted = 0;
    if (--self->depth == 0)
        lock_pass_on(self);
    else
        answer->token = self->token; /* says that the hold goes on */
    return 0;
}

static int lock_is_held(lock *self, const mproc__request *request, mproc__answer *answer)
{
    (void)request;
    answer->has_result = true;
    answer->result = mproc_bool(self->owner != NULL);
    return 0;
}

static int lock_repair(lock *self, const mproc__request *request, mproc__answer *answer)
{
    (void)request;
    (void)answer;
    if (!self->poisoned)
        return mproc__fail(MPROC_ESTATE, "the lock is not poisoned: there is nothing to repair");
    self->poisoned = false;
    return 0;
}

static void lock_cancel(mproc__served *served, const mproc__request *request)
{
    lock *self = lock_of(served);
    mproc__parked *parked = mproc__parked_find(served, request->client, request->target);
    if (parked) {
        mproc__parked_drop(parked);
    } else if (lock_is_mine(self, request) && request->target != 0 && self->granted == request->target) {
        self->recovered = self->granted_recovered;
        self->granted = 0;
        if (--self->depth == 0)
            lock_pass_on(self);
    }
}

void mproc__served_lock_abandon(mproc__link *owned)
{
    lock *self = MPROC__CONTAINER(owned, lock, owned);
    self->poisoned = self->poison;
    self->recovered = !self->poison;
    if (!self->poisoned) {
        lock_pass_on(self);
        return;
    }
    mproc__link_remove(&self->owned);
    self->owner = NULL;
    while (mproc__parked_first(&self->served))
        mproc__parked_answer(mproc__parked_first(&self->served), poisoned(), 0);
}

/* ---- the type ---- */

static int lock_create(mproc__registry *registry, mproc_variant args, mproc__served **ret_served)
{
    bool recursive = false, poison = false;
    if (mproc_variant_count(args) != 2 || mproc_variant_get_bool(mproc_variant_at(args, 0), &recursive) < 0 ||
        mproc_variant_get_bool(mproc_variant_at(args, 1), &poison) < 0)
        return mproc__fail(MPROC_EARGUMENT, "a lock is made of two bools: recursive, poison");
    lock *self = calloc(1, sizeof *self);
    if (!self)
        return mproc__fail(-ENOMEM, "no memory in the server for a lock");
    self->registry = registry;
    self->recursive = recursive;
    self->poison = poison;
    mproc__link_init(&self->owned);
    *ret_served = &self->served;
    return 0;
}

static void lock_destroy(mproc__registry *registry, mproc__served *served)
{
    (void)registry;
    lock *self = lock_of(served);
    mproc__link_remove(&self->owned);
    free(self);
}

static int lock_call(mproc__served *served, const mproc__request *request, mproc__answer *answer)
{
    static int (*const methods[])(lock *, const mproc__request *,
                                  mproc__answer *) = {lock_acquire, lock_release, lock_is_held, lock_repair};
    size_t method = (size_t)request->method - MPROC__LOCK_ACQUIRE;
    if (request->method < MPROC__LOCK_ACQUIRE || method >= MPROC__COUNT(methods))
        return mproc__fail(MPROC_EKEY, "a lock has no method number %d", (int)request->method);
    return methods[method](lock_of(served), request, answer);
}

const mproc__served_type mproc__served_lock = {MPROC_TYPE_LOCK, "lock",    lock_create,
                                               lock_destroy,    lock_call, lock_cancel};
