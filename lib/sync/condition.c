/* SPDX-License-Identifier: BSD-2-Clause */
/* Conditions: made, found, described. What happens to those who wait: condition_slots.c, condition_wait.c. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>

#include "platform/story.h"
#include "shm/explain.h"
#include "sync/condition.h"

_Static_assert(sizeof(mproc__condition_shared) == 4096, "one page");

static mproc_condition *condition_of(const mproc__handle *handle)
{
    return MPROC__CONTAINER((uintptr_t)handle, mproc_condition, handle);
}

int mproc__condition_check(mproc_condition *condition)
{
    int code = mproc__handle_check(condition, MPROC_TYPE_CONDITION);
    if (code < 0)
        return code;
    code = mproc__segment_check(condition->segment);
    if (code < 0)
        return mproc__handle_story(&condition->handle, code);
    if (!mproc__lock_is_mine(condition->lock))
        return mproc__handle_fail(&condition->handle, -EPERM,
                                  "this thread does not hold the condition's lock");
    return 0;
}

/* ---- the handle ---- */

static int condition_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_condition *condition = condition_of(handle);
    const char *name = mproc__segment_name(condition->segment);
    return snprintf(buffer, size_bytes, "condition%s%s on %s, %u waiting, %slock %s", *name ? " " : "", name,
                    mproc__noun_home_text(condition->segment), mproc__condition_waiting(condition->shared),
                    condition->shared->lock_given ? "given " : "",
                    mproc_lock_is_held(condition->lock) ? "held" : "free");
}

static void condition_destroy(mproc__handle *handle)
{
    mproc_condition *condition = condition_of(handle);
    mproc__names_remove(handle);
    mproc_lock_close(&condition->lock);
    mproc__segment_release(condition->segment);
    mproc__handle_fini(handle);
    free(condition);
}

static int condition_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    mproc_condition *condition = condition_of(handle);
    bool given = condition->shared->lock_given && mproc__segment_shared(condition->segment);
    int code = given ? mproc__lock_pack_given(condition->lock, parcel) : 0;
    return code < 0 ? code : mproc__noun_pack(condition->segment, parcel);
}

static const mproc__handle_ops condition_ops = {.type = MPROC_TYPE_CONDITION,
                                                .noun = "condition",
                                                .destroy = condition_destroy,
                                                .describe = condition_describe,
                                                .pack = condition_pack};

/* The lock for the condition that this thread is making or unpacking, from build or unpack to attach, which follows at once: a
 * condition that others find by its name has its lock already, and attach is told of nothing but the segment. */
static _Thread_local mproc_lock *lock_to_give;

static int lock_take(mproc__segment *segment, mproc_lock **ret_lock)
{
    const mproc__condition_shared *shared = mproc__segment_root(segment);
    mproc_lock *given = lock_to_give;
    lock_to_give = NULL;
    if (!shared->lock_given)
        return mproc__lock_at(segment, offsetof(mproc__condition_shared, lock), ret_lock);
    if (!given)
        return mproc__fail(MPROC_ECORRUPT, "a condition without the lock that it was given");
    mproc__handle_keep(&given->handle);
    *ret_lock = given;
    return 0;
}

static int condition_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    mproc_lock *lock;
    int code = lock_take(segment, &lock);
    if (code < 0)
        return code;
    mproc_condition *condition = calloc(1, sizeof(*condition));
    if (!condition) {
        mproc_lock_close(&lock);
        return mproc__fail(-ENOMEM, "no memory for a condition");
    }
    mproc__handle_init(&condition->handle, &condition_ops);
    condition->segment = segment;
    condition->shared = mproc__segment_root(segment);
    condition->lock = lock;
    mproc__segment_on_sweep(segment, mproc__condition_sweep, NULL);
    *ret_handle = &condition->handle;
    return 0;
}

/* A given lock comes before the rest, because attach wants it. */
static int condition_unpack(mproc__parcel *parcel, const void *blob, size_t blob_bytes,
                            mproc__handle **ret_handle)
{
    mproc_lock *given = NULL;
    size_t skip = blob_bytes > MPROC__LOCK_GIVEN_BYTES ? MPROC__LOCK_GIVEN_BYTES : 0;
    int code = skip ? mproc__lock_unpack_given(parcel, blob, &given) : 0;
    if (code < 0)
        return code;
    lock_to_give = given;
    code = mproc__noun_unpack(parcel, (const uint8_t *)blob + skip, blob_bytes - skip, ret_handle);
    lock_to_give = NULL;
    mproc_lock_close(&given);
    return code;
}

/* ---- explained ---- */

static void explain_slot(const mproc__wait_slot_shared *slot, unsigned index, struct mproc__report *report)
{
    static const char *const words[] = {"free", "waiting", "notified", "dead, its notification passed on"};
    mproc__wait_word word = mproc__wait_word_of(atomic_load_explicit(&slot->word, memory_order_relaxed));
    if (word.state == MPROC__SLOT_WAITING)
        mproc__report_state(report, "wait %u: of participant %u, ticket %llu", index, word.row,
                            (unsigned long long)word.number);
    else if (word.state != MPROC__SLOT_FREE)
        mproc__report_state(report, "wait %u: of participant %u, %s", index, word.row, words[word.state]);
}

static void condition_explain(const void *root, size_t size_bytes, struct mproc__report *report)
{
    const mproc__condition_shared *shared = root;
    (void)size_bytes; /* least_bytes is all of it */
    mproc__report_state(report, "%u waiting, %s lock", mproc__condition_waiting(shared),
                        shared->lock_given ? "a given" : "its own");
    for (unsigned slot = 0; slot < MPROC__CONDITION_SLOTS; slot++)
        explain_slot(&shared->slots[slot], slot, report);
    if (!shared->lock_given && mproc__lock_noun.explain)
        mproc__lock_noun.explain(shared->lock, sizeof(shared->lock), report);
}

const mproc__noun mproc__condition_noun = {
    .type = MPROC_TYPE_CONDITION,
    .word = "condition",
    .least_bytes = sizeof(mproc__condition_shared),
    .attach = condition_attach,
    .explain = condition_explain,
    .unpack = condition_unpack,
};

/* ---- made ---- */

static int condition_build(mproc__segment *segment, const void *how)
{
    const mproc_condition_options *options = how;
    mproc__condition_shared *shared = mproc__segment_root(segment);
    lock_to_give = options ? options->lock : NULL;
    shared->lock_given = lock_to_give != NULL;
    if (!lock_to_give)
        mproc__lock_build(segment, offsetof(mproc__condition_shared, lock),
                          MPROC_WITH(mproc_lock_options, .recursive = true));
    return 0;
}

/* In this process both, or both on this host: else one of them could go where the other cannot. Who opens a condition by its
 * file would not find a lock beside it. */
static int lock_check(const mproc_lock *lock, mproc__home home)
{
    if (mproc__handle_check(lock, MPROC_TYPE_LOCK) < 0)
        return mproc__fail(-EINVAL, "what was given as the condition's lock is no lock");
    mproc__segment *segment = mproc__lock_segment(lock);
    if (home == MPROC__HOME_SHM)
        return mproc__fail(-EINVAL, "conditions in shm: places have their own lock");
    if (!segment || mproc__segment_home(segment) != home)
        return mproc__fail(
            -EINVAL, "a condition and its lock live together: both thread:, or a condition of host: with a "
                     "lock of host: or shm:");
    return 0;
}

static int place_check(mproc_place *place, mproc__home *ret_home)
{
    *ret_home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, ret_home);
    if (code == 0 && *ret_home == MPROC__HOME_SERVER)
        code = mproc__fail(MPROC_EPLACE, "servers have no conditions yet");
    return code;
}

static int create_check(mproc_place *place, const mproc_condition_options *options)
{
    mproc__home home;
    int code = mproc__options_check(options, sizeof(*options), sizeof(*options), "mproc_condition_options");
    if (code == 0)
        code = place_check(place, &home);
    if (code == 0 && options && options->lock)
        code = lock_check(options->lock, home);
    return code;
}

int mproc_condition_create(mproc_place *place, const mproc_condition_options *options,
                           mproc_condition **ret_condition)
{
    mproc__handle *handle;
    int code = create_check(place, options);
    if (code == 0 && !ret_condition)
        code = mproc__fail(-EINVAL, "nowhere to put the condition");
    if (code < 0)
        return code;
    const mproc__making making = {
        .noun = &mproc__condition_noun,
        .place = place,
        .name = options ? options->name : NULL,
        .and_open = options && options->and_open,
        .size_bytes = sizeof(mproc__condition_shared),
        .build = condition_build,
        .how = options,
    };
    code = mproc__noun_create(&making, &handle);
    if (code == 0)
        *ret_condition = condition_of(handle);
    return code;
}

int mproc_condition_open(mproc_place *place, const char *name, mproc_condition **ret_condition)
{
    mproc__home home;
    mproc__handle *handle;
    int code = place_check(place, &home);
    if (code == 0 && (!name || !ret_condition))
        code = mproc__fail(-EINVAL, "no name, or nowhere to put the condition");
    if (code == 0)
        code = mproc__noun_open(&mproc__condition_noun, place, name, &handle);
    if (code == 0)
        *ret_condition = condition_of(handle);
    return code;
}

void mproc_condition_close(mproc_condition **condition)
{
    mproc__handle_close((void **)condition, MPROC_TYPE_CONDITION);
}

mproc_lock *mproc_condition_lock(mproc_condition *condition)
{
    return mproc__handle_check(condition, MPROC_TYPE_CONDITION) == 0 ? condition->lock : NULL;
}
