/* SPDX-License-Identifier: BSD-2-Clause */
/* Semaphores: the public calls, what those of this host share, and the plain kind. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "shm/explain.h"
#include "sync/semaphore.h"

static inline const mproc__semaphore_ops *semaphore_ops(const mproc_semaphore *semaphore)
{
    return (const mproc__semaphore_ops *)(const void *)semaphore->handle.ops;
}

/* ---- what plain and bounded ones share ---- */

int mproc__semaphore_story(mproc__local_semaphore *semaphore, int code)
{
    return code == -ETIMEDOUT ? mproc__fail_plain(code) : mproc__handle_story(&semaphore->base.handle, code);
}

int mproc__semaphore_check(mproc__local_semaphore *semaphore)
{
    int code = mproc__segment_check(semaphore->segment);
    return MPROC__LIKELY(code == 0) ? 0 : mproc__semaphore_story(semaphore, code);
}

void mproc__semaphore_freed(mproc__local_semaphore *semaphore)
{
    mproc__eventcount_post(&semaphore->shared->sleepers, mproc__segment_shared(semaphore->segment));
}

static int wait_asleep(mproc__local_semaphore *semaphore, mproc__semaphore_try *attempt,
                       mproc_deadline deadline)
{
    mproc__eventcount_shared *sleepers = &semaphore->shared->sleepers;
    int code = 0;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(sleepers);
        int taken = attempt(semaphore, deadline);
        if (taken != -EAGAIN || code < 0)
            return taken == -EAGAIN ? code : taken;
        code = mproc__segment_wait(semaphore->segment, sleepers, ticket, deadline);
    }
}

/* A sleeper must be a participant: a wake may be spent on it, and then its death has to wake another. */
int mproc__semaphore_wait(mproc__local_semaphore *semaphore, mproc__semaphore_try *attempt,
                          mproc_deadline deadline)
{
    int code = mproc__semaphore_check(semaphore);
    if (MPROC__LIKELY(code == 0))
        code = attempt(semaphore, deadline);
    if (MPROC__LIKELY(code != -EAGAIN))
        return code;
    if (mproc__deadline_past(deadline))
        return mproc__fail_plain(-ETIMEDOUT);
    code = mproc__segment_join(semaphore->segment);
    if (code < 0)
        return mproc__semaphore_story(semaphore, code);
    int slot = mproc__waiting_begin(semaphore->segment, MPROC__WAIT_ACQUIRE);
    code = wait_asleep(semaphore, attempt, deadline);
    mproc__waiting_end(semaphore->segment, slot);
    return code == -ETIMEDOUT ? mproc__fail_plain(code) : code;
}

int mproc__semaphore_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    return mproc__noun_pack(MPROC__CONTAINER(handle, mproc__local_semaphore, base.handle)->segment, parcel);
}

void mproc__semaphore_destroy(mproc__handle *handle)
{
    mproc__local_semaphore *semaphore = MPROC__CONTAINER(handle, mproc__local_semaphore, base.handle);
    mproc__names_remove(handle);
    if (semaphore->shared->kind == MPROC__SEMAPHORE_BOUNDED)
        mproc__semaphore_bounded_settle(semaphore);
    mproc__segment_release(semaphore->segment);
    mproc__handle_fini(handle);
    free(semaphore);
}

/* ---- plain ---- */

/* A participant before it takes, so that a full table refuses it here and not when it wants to give back. */
static int plain_try(mproc__local_semaphore *semaphore, mproc_deadline deadline)
{
    (void)deadline; /* waits for nobody */
    _Atomic uint32_t *permits = &semaphore->shared->free;
    uint32_t seen = atomic_load(permits);
    int code = seen > 0 ? mproc__segment_join(semaphore->segment) : 0;
    if (MPROC__UNLIKELY(code < 0))
        return mproc__semaphore_story(semaphore, code);
    while (seen > 0)
        if (atomic_compare_exchange_weak(permits, &seen, seen - 1))
            return 0;
    return -EAGAIN;
}

static int plain_acquire(mproc_semaphore *base, mproc_deadline deadline)
{
    return mproc__semaphore_wait(mproc__semaphore_local(base), plain_try, deadline);
}

/* A participant before the commit: from then on its death wakes those whom it owes a wake. */
static int plain_release(mproc_semaphore *base, unsigned count)
{
    mproc__local_semaphore *semaphore = mproc__semaphore_local(base);
    _Atomic uint32_t *permits = &semaphore->shared->free;
    int code = mproc__semaphore_check(semaphore);
    if (code < 0)
        return code;
    code = mproc__segment_join(semaphore->segment);
    if (code < 0)
        return mproc__semaphore_story(semaphore, code);
    uint32_t seen = atomic_load(permits);
    do {
        if (seen > MPROC_SEMAPHORE_MAX || count > MPROC_SEMAPHORE_MAX - seen)
            return mproc__handle_fail(&base->handle, -EOVERFLOW, "%u permits are free, %u more are too many",
                                      (unsigned)seen, count);
    } while (!atomic_compare_exchange_weak(permits, &seen, seen + count));
    mproc__semaphore_freed(semaphore);
    return 0;
}

static int plain_value(mproc_semaphore *base, unsigned *ret_value)
{
    int code = mproc__semaphore_check(mproc__semaphore_local(base));
    if (code == 0)
        *ret_value = atomic_load(&mproc__semaphore_local(base)->shared->free);
    return code;
}

static int plain_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc__local_semaphore *semaphore = MPROC__CONTAINER(handle, mproc__local_semaphore, base.handle);
    const char *name = mproc__segment_name(semaphore->segment);
    return snprintf(buffer, size_bytes, "semaphore%s%s on %s, %u free", *name ? " " : "", name,
                    mproc__noun_home_text(semaphore->segment),
                    (unsigned)atomic_load(&semaphore->shared->free));
}

static const mproc__semaphore_ops plain_ops = {
    .handle = {.type = MPROC_TYPE_SEMAPHORE,
               .noun = "semaphore",
               .destroy = mproc__semaphore_destroy,
               .describe = plain_describe,
               .pack = mproc__semaphore_pack},
    .acquire = plain_acquire,
    .release = plain_release,
    .value = plain_value,
};

/* ---- made ---- */

static int local_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    mproc__semaphore_shared *shared = mproc__segment_root(segment);
    if (shared->kind > MPROC__SEMAPHORE_BOUNDED || shared->bound > MPROC_SEMAPHORE_MAX)
        return mproc__fail(MPROC_ECORRUPT, "a semaphore of kind %u, bound %u", (unsigned)shared->kind,
                           (unsigned)shared->bound);
    mproc__local_semaphore *semaphore = calloc(1, sizeof(*semaphore));
    if (!semaphore)
        return mproc__fail(-ENOMEM, "no memory for a semaphore");
    bool bounded = shared->kind == MPROC__SEMAPHORE_BOUNDED;
    mproc__handle_init(&semaphore->base.handle,
                       bounded ? &mproc__semaphore_bounded_ops.handle : &plain_ops.handle);
    semaphore->shared = shared;
    semaphore->segment = segment;
    if (bounded)
        mproc__semaphore_bounded_attach(semaphore);
    *ret_handle = &semaphore->base.handle;
    return 0;
}

typedef struct semaphore_how {
    uint32_t value;
    bool bounded;
} semaphore_how;

static int local_build(mproc__segment *segment, const void *argument)
{
    const semaphore_how *how = argument;
    mproc__semaphore_shared *shared = mproc__segment_root(segment);
    shared->kind = how->bounded ? MPROC__SEMAPHORE_BOUNDED : MPROC__SEMAPHORE_PLAIN;
    shared->bound = how->bounded ? how->value : 0;
    atomic_init(&shared->free, how->bounded ? 0 : how->value);
    mproc__robust_init(&shared->taking, mproc__segment_shared(segment));
    return 0;
}

static void explain_bounded(const mproc__semaphore_shared *root, struct mproc__report *report)
{
    uint64_t held = mproc__semaphore_held(root, MPROC__ROWS);
    mproc__report_state(report, "%u of %u permits free",
                        held < root->bound ? root->bound - (unsigned)held : 0, root->bound);
    for (unsigned row = 0; row < MPROC__ROWS; row++) {
        uint64_t word = atomic_load_explicit(&root->held[row], memory_order_relaxed);
        char as[32];
        snprintf(as, sizeof(as), "%u permits", (unsigned)(word & UINT32_MAX));
        if (word & UINT32_MAX)
            mproc__report_holder(report, (pid_t)(word >> 32), 0, as);
    }
}

/* The copy may lie anywhere: atomics want their alignment. */
static void local_explain(const void *bytes, size_t size_bytes, struct mproc__report *report)
{
    mproc__semaphore_shared root;
    (void)size_bytes; /* at least least_bytes */
    memcpy(&root, bytes, sizeof(root));
    if (root.kind == MPROC__SEMAPHORE_BOUNDED)
        explain_bounded(&root, report);
    else if (root.kind == MPROC__SEMAPHORE_PLAIN)
        mproc__report_state(report, "%u permits free", (unsigned)atomic_load(&root.free));
    else
        mproc__report_state(report, "damaged");
}

const mproc__noun mproc__semaphore_noun = {
    .type = MPROC_TYPE_SEMAPHORE,
    .word = "semaphore",
    .least_bytes = sizeof(mproc__semaphore_shared),
    .attach = local_attach,
    .explain = local_explain,
};

static int place_check(mproc_place *place, bool posix)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code < 0)
        return code;
    if (home == MPROC__HOME_SERVER)
        return mproc__fail(MPROC_EPLACE, "no semaphores at %s: thread:, host: and shm: have them", place->address);
    if (posix && home != MPROC__HOME_HOST)
        return mproc__fail(MPROC_EPLACE, "a posix semaphore is one of the host, not of %s", place->address);
    return 0;
}

static int create_check(mproc_place *place, int64_t value, const mproc_semaphore_options *options)
{
    int code = mproc__options_check(options, sizeof(*options), sizeof(*options), "mproc_semaphore_options");
    if (code == 0)
        code = place_check(place, options && options->posix);
    if (code < 0)
        return code;
    if (value < 0)
        return mproc__fail(-EINVAL, "a semaphore of %lld permits", (long long)value);
    if (value > MPROC_SEMAPHORE_MAX)
        return mproc__fail(-EOVERFLOW, "a semaphore of %lld permits: %d at most", (long long)value,
                           MPROC_SEMAPHORE_MAX);
    return options && options->posix && options->bounded
               ? mproc__fail(-EINVAL, "a posix semaphore knows no holders: it cannot be bounded")
               : 0;
}

int mproc_semaphore_create(mproc_place *place, int64_t value, const mproc_semaphore_options *options,
                           mproc_semaphore **ret_semaphore)
{
    mproc__handle *handle;
    int code = create_check(place, value, options);
    if (code == 0 && !ret_semaphore)
        code = mproc__fail(-EINVAL, "nowhere to put the semaphore");
    if (code < 0)
        return code;
    if (options && options->posix)
        return mproc__semaphore_posix_create(options->name, (unsigned)value, options->and_open,
                                             ret_semaphore);
    const semaphore_how how = {.value = (uint32_t)value, .bounded = options && options->bounded};
    const mproc__making making = {.noun = &mproc__semaphore_noun,
                                  .place = place,
                                  .name = options ? options->name : NULL,
                                  .and_open = options && options->and_open,
                                  .size_bytes = sizeof(mproc__semaphore_shared),
                                  .build = local_build,
                                  .how = &how};
    code = mproc__noun_create(&making, &handle);
    if (code == 0)
        *ret_semaphore = MPROC__CONTAINER(handle, mproc_semaphore, handle);
    return code;
}

int mproc_semaphore_open(mproc_place *place, const char *name, mproc_semaphore **ret_semaphore)
{
    mproc__handle *handle;
    int code = place_check(place, false);
    if (code == 0 && !ret_semaphore)
        code = mproc__fail(-EINVAL, "nowhere to put the semaphore");
    if (code == 0)
        code = mproc__noun_open(&mproc__semaphore_noun, place, name, &handle);
    if (code == 0)
        *ret_semaphore = MPROC__CONTAINER(handle, mproc_semaphore, handle);
    return code;
}

/* ---- the calls of all kinds ---- */

void mproc_semaphore_close(mproc_semaphore **semaphore)
{
    mproc__handle_close((void **)semaphore, MPROC_TYPE_SEMAPHORE);
}

int mproc_semaphore_acquire(mproc_semaphore *semaphore, mproc_deadline deadline)
{
    int code = mproc__handle_check(semaphore, MPROC_TYPE_SEMAPHORE);
    return MPROC__LIKELY(code == 0) ? semaphore_ops(semaphore)->acquire(semaphore, deadline) : code;
}

int mproc_semaphore_release(mproc_semaphore *semaphore, unsigned count)
{
    int code = mproc__handle_check(semaphore, MPROC_TYPE_SEMAPHORE);
    if (MPROC__LIKELY(code == 0) && count == 0)
        code = mproc__handle_fail(&semaphore->handle, -EINVAL, "no permits to release");
    return MPROC__LIKELY(code == 0) ? semaphore_ops(semaphore)->release(semaphore, count) : code;
}

int mproc_semaphore_value(mproc_semaphore *semaphore, unsigned *ret_value)
{
    int code = mproc__handle_check(semaphore, MPROC_TYPE_SEMAPHORE);
    if (code == 0 && !ret_value)
        code = mproc__handle_fail(&semaphore->handle, -EINVAL, "nowhere to put the value");
    return code == 0 ? semaphore_ops(semaphore)->value(semaphore, ret_value) : code;
}

mproc_semaphore *mproc__semaphore_enter(mproc_semaphore *semaphore, mproc_deadline deadline)
{
    return mproc_semaphore_acquire(semaphore, deadline) == 0 ? semaphore : NULL;
}

void mproc__semaphore_leave(mproc_semaphore **semaphore)
{
    if (*semaphore)
        mproc_semaphore_release(*semaphore, 1);
}
