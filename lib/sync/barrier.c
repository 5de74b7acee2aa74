/* SPDX-License-Identifier: BSD-2-Clause */
/* Barriers: made, found, joined, aborted, reset and asked. Waiting: barrier_wait.c; the rounds: barrier_rounds.c. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "shm/explain.h"
#include "sync/barrier.h"

static mproc_barrier *barrier_of(const mproc__handle *handle)
{
    return MPROC__CONTAINER((uintptr_t)handle, mproc_barrier, handle);
}

int mproc__barrier_check(const mproc_barrier *barrier)
{
    int code = mproc__handle_check(barrier, MPROC_TYPE_BARRIER);
    if (code < 0)
        return code;
    code = mproc__segment_check(barrier->segment);
    return code < 0 ? mproc__handle_story(&((mproc_barrier *)(uintptr_t)barrier)->handle, code) : 0;
}

/* For calls that leave something behind: a participant's death wakes those whom it should have woken. */
static int check_and_join(mproc_barrier *barrier)
{
    int code = mproc__barrier_check(barrier);
    if (code < 0)
        return code;
    code = mproc__segment_join(barrier->segment);
    return code < 0 ? mproc__handle_story(&barrier->handle, code) : code;
}

/* ---- the handle ---- */

static const char *const phase_words[] = {"waiting for parties", "running its action", "complete", "broken",
                                          "being reset"};

static const char *phase_word(mproc__barrier_phase phase)
{
    return phase < MPROC__COUNT(phase_words) ? phase_words[phase] : "damaged";
}

static int barrier_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_barrier *barrier = barrier_of(handle);
    const char *name = mproc__segment_name(barrier->segment);
    mproc__barrier_state now = mproc__barrier_now(barrier->shared);
    return snprintf(buffer, size_bytes, "barrier%s%s on %s, %u of %u arrived, %s", *name ? " " : "", name,
                    mproc__noun_home_text(barrier->segment), mproc__barrier_arrived(barrier, now.round),
                    barrier->parties, phase_word(now.phase));
}

static void barrier_destroy(mproc__handle *handle)
{
    mproc_barrier *barrier = barrier_of(handle);
    mproc__names_remove(handle);
    if (atomic_load(&barrier->joined_by) == mproc__incarnation()) {
        int row = mproc__segment_join(barrier->segment);
        if (row >= 0)
            atomic_store(&barrier->shared->joined[row], 0);
    }
    mproc__segment_release(barrier->segment);
    mproc__handle_fini(handle);
    free(barrier);
}

static int barrier_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    mproc_barrier *barrier = barrier_of(handle);
    if (barrier->action)
        return mproc__fail(MPROC_ECANNOTCROSS,
                           "a barrier with an action is for threads and fork children: its function "
                           "may be elsewhere in another program");
    return mproc__noun_pack(barrier->segment, parcel);
}

static const mproc__handle_ops barrier_ops = {.type = MPROC_TYPE_BARRIER,
                                              .noun = "barrier",
                                              .destroy = barrier_destroy,
                                              .describe = barrier_describe,
                                              .pack = barrier_pack};

/* ---- attached ---- */

static size_t root_bytes(unsigned parties)
{
    return sizeof(mproc__barrier_shared) + parties * sizeof(uint64_t);
}

typedef struct barrier_making {
    unsigned parties;
    uint32_t timeout_ms;
    int (*action)(void *context);
    void *context;
} barrier_making;

/* What the barrier that this thread is making does between two rounds: from build to attach, which follows at once and is
 * told of nothing but the segment. */
static _Thread_local const barrier_making *making_now;

static int barrier_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    mproc__barrier_shared *shared = mproc__segment_root(segment);
    const barrier_making *how = making_now;
    unsigned parties = shared->parties;
    making_now = NULL;
    if (parties == 0 || parties > MPROC__BARRIER_PARTIES ||
        mproc__segment_size(segment) < root_bytes(parties))
        return mproc__fail(MPROC_ECORRUPT, "a barrier of %u parties in %zu bytes", parties,
                           mproc__segment_size(segment));
    mproc_barrier *barrier = calloc(1, sizeof(*barrier));
    if (!barrier)
        return mproc__fail(-ENOMEM, "no memory for a barrier");
    mproc__handle_init(&barrier->handle, &barrier_ops);
    barrier->segment = segment;
    barrier->shared = shared;
    barrier->parties = parties;
    barrier->spins = parties <= mproc_cpu_count();
    barrier->action = how ? how->action : NULL;
    barrier->context = how ? how->context : NULL;
    mproc__segment_on_sweep(segment, mproc__barrier_sweep, barrier);
    *ret_handle = &barrier->handle;
    return 0;
}

/* ---- explained ---- */

static void explain_joined(const mproc__barrier_shared *shared, struct mproc__report *report)
{
    unsigned count = 0;
    for (unsigned row = 0; row < MPROC__ROWS; row++)
        count += atomic_load_explicit(&shared->joined[row], memory_order_relaxed) != 0;
    if (count)
        mproc__report_state(report, "%u processes joined", count);
}

static void barrier_explain(const void *root, size_t size_bytes, struct mproc__report *report)
{
    const mproc__barrier_shared *shared = root;
    size_t told = (size_bytes - sizeof(*shared)) / sizeof(shared->slots[0]);
    mproc__barrier_state now =
        mproc__barrier_state_of(atomic_load_explicit(&shared->state, memory_order_relaxed));
    unsigned parties = shared->parties < told ? shared->parties : (unsigned)told;
    mproc__report_state(report, "round %u of %u parties, %s", (unsigned)now.round, (unsigned)shared->parties,
                        phase_word(now.phase));
    if (now.cause != MPROC__BARRIER_NONE)
        mproc__report_state(report, "by process %d%s", (int)now.pid,
                            now.cause == MPROC__BARRIER_DIED      ? ", which died"
                            : now.cause == MPROC__BARRIER_TIMEOUT ? ", which timed out"
                                                                  : "");
    explain_joined(shared, report);
    for (unsigned slot = 0; slot < parties; slot++) {
        mproc__barrier_party party =
            mproc__barrier_party_of(atomic_load_explicit(&shared->slots[slot], memory_order_relaxed));
        if (party.arrived)
            mproc__report_state(report, "arrived %u: thread %d", slot, (int)party.tid);
    }
}

const mproc__noun mproc__barrier_noun = {
    .type = MPROC_TYPE_BARRIER,
    .word = "barrier",
    .least_bytes = sizeof(mproc__barrier_shared),
    .attach = barrier_attach,
    .explain = barrier_explain,
};

/* ---- made ---- */

static int barrier_build(mproc__segment *segment, const void *how)
{
    const barrier_making *making = how;
    mproc__barrier_shared *shared = mproc__segment_root(segment);
    const mproc__barrier_state first = {.phase = MPROC__BARRIER_FILLING, .round = 1};
    shared->parties = making->parties;
    shared->timeout_ms = making->timeout_ms;
    for (unsigned slot = 0; slot < making->parties; slot++)
        atomic_store_explicit(&shared->slots[slot], mproc__barrier_left(first.round - 1),
                              memory_order_relaxed);
    atomic_store_explicit(&shared->state, mproc__barrier_state_pack(first), memory_order_relaxed);
    making_now = making;
    return 0;
}

static int place_check(mproc_place *place, const mproc_barrier_options *options)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code == 0 && home == MPROC__HOME_SERVER)
        code = mproc__fail(MPROC_EPLACE, "servers have no barriers yet");
    if (code == 0 && home == MPROC__HOME_SHM && options && options->action)
        code = mproc__fail(MPROC_EPLACE, "a barrier for other programs cannot have an action");
    return code;
}

int mproc_barrier_create(mproc_place *place, unsigned parties, const mproc_barrier_options *options,
                         mproc_barrier **ret_barrier)
{
    mproc__handle *handle;
    int code = mproc__options_check(options, sizeof(*options), sizeof(*options), "mproc_barrier_options");
    if (code == 0)
        code = place_check(place, options);
    if (code == 0 && (parties == 0 || parties > MPROC__BARRIER_PARTIES))
        code = mproc__fail(-EINVAL, "a barrier of %u parties: 1 to %d can be", parties,
                           (int)MPROC__BARRIER_PARTIES);
    if (code == 0 && !ret_barrier)
        code = mproc__fail(-EINVAL, "nowhere to put the barrier");
    if (code < 0)
        return code;
    barrier_making how = {.parties = parties};
    if (options) {
        how.timeout_ms = options->timeout_ms;
        how.action = options->action;
        how.context = options->context;
    }
    const mproc__making making = {
        .noun = &mproc__barrier_noun,
        .place = place,
        .name = options ? options->name : NULL,
        .and_open = options && options->and_open,
        .size_bytes = root_bytes(parties),
        .build = barrier_build,
        .how = &how,
    };
    code = mproc__noun_create(&making, &handle);
    if (code == 0)
        *ret_barrier = barrier_of(handle);
    return code;
}

int mproc_barrier_open(mproc_place *place, const char *name, mproc_barrier **ret_barrier)
{
    mproc__handle *handle;
    int code = place_check(place, NULL);
    if (code == 0 && (!name || !ret_barrier))
        code = mproc__fail(-EINVAL, "no name, or nowhere to put the barrier");
    if (code == 0)
        code = mproc__noun_open(&mproc__barrier_noun, place, name, &handle);
    if (code == 0)
        *ret_barrier = barrier_of(handle);
    return code;
}

void mproc_barrier_close(mproc_barrier **barrier)
{
    mproc__handle_close((void **)barrier, MPROC_TYPE_BARRIER);
}

/* ---- the other calls ---- */

int mproc_barrier_join(mproc_barrier *barrier)
{
    int row = check_and_join(barrier);
    if (row < 0)
        return row;
    if (mproc__segment_shared(barrier->segment)) {
        atomic_store(&barrier->joined_by, mproc__incarnation());
        atomic_store(&barrier->shared->joined[row], 1);
    }
    return 0;
}

int mproc_barrier_abort(mproc_barrier *barrier)
{
    int row = check_and_join(barrier);
    if (row < 0)
        return row;
    mproc__barrier_break(barrier, MPROC__BARRIER_ABORT, mproc__pid());
    return 0;
}

/* One who hears of it keeps the first cause: a broken barrier that is reset was broken, for those who were there. */
static mproc__barrier_state reset_state(mproc__barrier_state now)
{
    bool broken = now.phase == MPROC__BARRIER_BROKEN;
    return (mproc__barrier_state){.phase = MPROC__BARRIER_RESETTING,
                                  .cause = broken ? now.cause : MPROC__BARRIER_RESET,
                                  .pid = broken ? now.pid : mproc__pid(),
                                  .round = now.round};
}

static bool reset_needed(const mproc_barrier *barrier, mproc__barrier_state now)
{
    return now.phase == MPROC__BARRIER_BROKEN || now.phase == MPROC__BARRIER_ACTING ||
           (now.phase == MPROC__BARRIER_FILLING && mproc__barrier_arrived(barrier, now.round) > 0);
}

/* The dead first: a death that is known already must not break the round that begins. */
int mproc_barrier_reset(mproc_barrier *barrier)
{
    int row = check_and_join(barrier);
    if (row < 0)
        return row;
    mproc__segment_sweep(barrier->segment);
    mproc__barrier_state now;
    do
        now = mproc__barrier_now(barrier->shared);
    while (reset_needed(barrier, now) && !mproc__barrier_change(barrier, now, reset_state(now)));
    mproc__barrier_advance(barrier);
    return 0;
}

int mproc_barrier_status(const mproc_barrier *barrier, unsigned *ret_parties, unsigned *ret_waiting,
                         bool *ret_broken)
{
    int code = mproc__barrier_check(barrier);
    if (code < 0)
        return code;
    mproc__segment_sweep(barrier->segment);
    mproc__barrier_state now = mproc__barrier_now(barrier->shared);
    bool open = now.phase == MPROC__BARRIER_FILLING || now.phase == MPROC__BARRIER_ACTING;
    if (ret_parties)
        *ret_parties = barrier->parties;
    if (ret_waiting)
        *ret_waiting = open ? mproc__barrier_arrived(barrier, now.round) : 0;
    if (ret_broken)
        *ret_broken = now.phase == MPROC__BARRIER_BROKEN;
    return 0;
}
