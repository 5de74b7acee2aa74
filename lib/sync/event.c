/* SPDX-License-Identifier: BSD-2-Clause */
/* Events of the homes thread, host and shm: one word, and an event count to sleep on. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "shm/bell.h"
#include "shm/explain.h"
#include "sync/event.h"

enum { STATE_SET = 1, STATE_GENERATION = 2 };

/* Nothing here needs repair: each field is one word whose every value is right. */
typedef struct event_shared {
    /* Set bit, and above it the generation: how often the event became set. Anyone writes it, by compare and swap or
     * fetch and clear. The generation is what sleepers look at: set and clear in a row release them all the same. A
     * setter that dies after its swap has set the event; its death wakes those who sleep (shm/segment.h). */
    _Atomic uint64_t state;
    mproc__eventcount_shared sleepers;
    mproc__bell_shared bell;
} event_shared;

struct mproc_event {
    mproc__handle handle;
    event_shared *shared;
    mproc__segment *segment;
    mproc__bell bell;
};

static inline bool is_set(const event_shared *shared)
{
    return atomic_load_explicit(&shared->state, memory_order_seq_cst) & STATE_SET;
}

static int event_story(mproc_event *event, int code)
{
    return mproc__handle_story(&event->handle, code);
}

/* ---- the descriptor ---- */

/* The event is not set: nor is the descriptor readable, from here on. */
static void event_quiet(mproc_event *event)
{
    if (mproc__bell_quiet(&event->bell) && is_set(event->shared))
        mproc__bell_again(&event->bell);
}

static int event_wait_fd(mproc__handle *handle)
{
    mproc_event *event = MPROC__CONTAINER(handle, mproc_event, handle);
    int code = mproc__segment_check(event->segment);
    if (code < 0)
        return event_story(event, code);
    if (!mproc__bell_pollable(&event->bell))
        return mproc__handle_fail(handle, -EINVAL, "the event was made without the option pollable");
    bool fresh;
    int fd = mproc__bell_fd(&event->bell, &fresh);
    if (fd >= 0 && fresh && !is_set(event->shared))
        event_quiet(event);
    return fd < 0 ? event_story(event, fd) : fd;
}

static bool event_ready(mproc__handle *handle, bool readable)
{
    mproc_event *event = MPROC__CONTAINER(handle, mproc_event, handle);
    if (readable && !is_set(event->shared))
        event_quiet(event);
    return readable && is_set(event->shared);
}

/* A process died; it may have set the event and not rung. Sleepers need nothing from here: a burial wakes them all. */
static int event_sweep(mproc__segment *segment, unsigned row, void *context)
{
    const mproc_event *event = context;
    (void)segment;
    (void)row;
    if (is_set(event->shared))
        mproc__bell_ring_now(&event->bell);
    return 0;
}

/* ---- set, clear, wait ---- */

/* What every call but is_set begins with. */
static inline int event_enter(mproc_event *event)
{
    int code = mproc__handle_check(event, MPROC_TYPE_EVENT);
    if (MPROC__UNLIKELY(code < 0))
        return code;
    code = mproc__segment_check(event->segment);
    return MPROC__LIKELY(code == 0) ? 0 : event_story(event, code);
}

/* The participant comes before the commit: from then on its death wakes those whom it owes a wake. */
static int event_join(mproc_event *event)
{
    int row = mproc__segment_join(event->segment);
    return MPROC__LIKELY(row >= 0) ? 0 : event_story(event, row);
}

int mproc_event_set(mproc_event *event)
{
    int code = event_enter(event);
    if (code == 0)
        code = event_join(event);
    if (code < 0)
        return code;
    event_shared *shared = event->shared;
    uint64_t state = atomic_load_explicit(&shared->state, memory_order_relaxed);
    while (!(state & STATE_SET) &&
           !atomic_compare_exchange_weak(&shared->state, &state, (state + STATE_GENERATION) | STATE_SET))
        ;
    /* Also when it was set: the one who set it may be stopped before this point. */
    mproc__eventcount_post(&shared->sleepers, mproc__segment_shared(event->segment));
    mproc__bell_ring(&event->bell);
    return 0;
}

int mproc_event_clear(mproc_event *event)
{
    int code = event_enter(event);
    if (code == 0)
        code = event_join(event);
    if (code < 0)
        return code;
    atomic_fetch_and(&event->shared->state, ~(uint64_t)STATE_SET);
    event_quiet(event);
    return 0;
}

bool mproc_event_is_set(const mproc_event *event)
{
    return mproc__handle_check(event, MPROC_TYPE_EVENT) == 0 && is_set(event->shared);
}

/* `seen`: an unset state. Any later generation ends the wait, the last look comes after the deadline. */
static int event_sleep(mproc_event *event, uint64_t seen, mproc_deadline deadline)
{
    event_shared *shared = event->shared;
    int code = event_join(event);
    if (code < 0)
        return code;
    int slot = mproc__waiting_begin(event->segment, MPROC__WAIT_SET);
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&shared->sleepers);
        bool released = atomic_load_explicit(&shared->state, memory_order_seq_cst) / STATE_GENERATION !=
                        seen / STATE_GENERATION;
        if (released || code < 0) {
            code = released ? 0 : code;
            break;
        }
        code = mproc__segment_wait(event->segment, &shared->sleepers, ticket, deadline);
    }
    mproc__waiting_end(event->segment, slot);
    return code;
}

int mproc_event_wait(mproc_event *event, mproc_deadline deadline)
{
    int code = event_enter(event);
    if (code < 0)
        return code;
    uint64_t seen = atomic_load_explicit(&event->shared->state, memory_order_seq_cst);
    if (seen & STATE_SET)
        return 0;
    code = mproc__deadline_past(deadline) ? -ETIMEDOUT : event_sleep(event, seen, deadline);
    if (code != -ETIMEDOUT)
        return code;
    event_quiet(event);
    return mproc__fail_plain(-ETIMEDOUT);
}

/* ---- the handle ---- */

static int event_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_event *event = MPROC__CONTAINER(handle, mproc_event, handle);
    const char *name = mproc__segment_name(event->segment);
    return snprintf(buffer, size_bytes, "event%s%s on %s, %s", *name ? " " : "", name,
                    mproc__noun_home_text(event->segment), is_set(event->shared) ? "set" : "not set");
}

static void event_destroy(mproc__handle *handle)
{
    mproc_event *event = MPROC__CONTAINER(handle, mproc_event, handle);
    mproc__names_remove(handle);
    mproc__segment_on_sweep(event->segment, NULL, NULL);
    mproc__bell_close(&event->bell);
    mproc__segment_release(event->segment);
    mproc__handle_fini(handle);
    free(event);
}

static int event_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    mproc_event *event = MPROC__CONTAINER(handle, mproc_event, handle);
    int code = mproc__noun_pack(event->segment, parcel);
    return code == 0 ? mproc__bell_pack(&event->bell, parcel) : code;
}

static const mproc__handle_ops event_ops = {.type = MPROC_TYPE_EVENT,
                                            .noun = "event",
                                            .destroy = event_destroy,
                                            .describe = event_describe,
                                            .pack = event_pack,
                                            .wait_fd = event_wait_fd,
                                            .ready = event_ready};

/* ---- made ---- */

static int event_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    mproc_event *event = calloc(1, sizeof(*event));
    if (!event)
        return mproc__fail(-ENOMEM, "no memory for an event");
    event->shared = mproc__segment_root(segment);
    event->segment = segment;
    int code = mproc__bell_open(&event->bell, &event->shared->bell, segment);
    if (code < 0) {
        free(event);
        return code;
    }
    mproc__handle_init(&event->handle, &event_ops);
    if (mproc__bell_pollable(&event->bell))
        mproc__segment_on_sweep(segment, event_sweep, event);
    *ret_handle = &event->handle;
    return 0;
}

static int event_unpack(mproc__parcel *parcel, const void *blob, size_t blob_bytes,
                        mproc__handle **ret_handle)
{
    mproc__handle *handle;
    int code = mproc__noun_unpack(parcel, blob, blob_bytes, &handle);
    if (code < 0)
        return code;
    mproc_event *event = MPROC__CONTAINER(handle, mproc_event, handle);
    code = mproc__bell_unpack(&event->bell, parcel);
    if (code < 0) {
        mproc__handle_release(handle);
        return code;
    }
    *ret_handle = handle;
    return 0;
}

static void event_explain(const void *root, size_t size_bytes, struct mproc__report *report)
{
    event_shared copy;
    (void)size_bytes; /* at least least_bytes */
    memcpy(&copy, root, sizeof(copy));
    mproc__report_state(report, "%s", copy.state & STATE_SET ? "set" : "not set");
}

const mproc__noun mproc__event_noun = {
    .type = MPROC_TYPE_EVENT,
    .word = "event",
    .least_bytes = sizeof(event_shared),
    .attach = event_attach,
    .explain = event_explain,
    .unpack = event_unpack,
};

static int event_build(mproc__segment *segment, const void *how)
{
    const mproc_event_options *options = how;
    event_shared *shared = mproc__segment_root(segment);
    atomic_init(&shared->state, options && options->set ? STATE_GENERATION | STATE_SET : 0);
    shared->bell.pollable = options && options->pollable;
    return 0;
}

static int place_check(mproc_place *place, bool pollable)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code < 0)
        return code;
    if (home == MPROC__HOME_SERVER)
        return mproc__fail(MPROC_EPLACE, "no events at %s: thread:, host: and shm: have them",
                           place->address);
    if (home == MPROC__HOME_SHM && pollable)
        return mproc__fail(MPROC_EPLACE, "who opens an event by its name cannot get a descriptor to poll");
    return 0;
}

int mproc_event_create(mproc_place *place, const mproc_event_options *options, mproc_event **ret_event)
{
    mproc__handle *handle;
    int code = mproc__options_check(options, sizeof(*options), sizeof(*options), "mproc_event_options");
    if (code == 0)
        code = place_check(place, options && options->pollable);
    if (code == 0 && !ret_event)
        code = mproc__fail(-EINVAL, "nowhere to put the event");
    if (code < 0)
        return code;
    const mproc__making making = {.noun = &mproc__event_noun,
                                  .place = place,
                                  .name = options ? options->name : NULL,
                                  .and_open = options && options->and_open,
                                  .size_bytes = sizeof(event_shared),
                                  .build = event_build,
                                  .how = options};
    code = mproc__noun_create(&making, &handle);
    if (code == 0)
        *ret_event = MPROC__CONTAINER(handle, mproc_event, handle);
    return code;
}

int mproc_event_open(mproc_place *place, const char *name, mproc_event **ret_event)
{
    mproc__handle *handle;
    int code = place_check(place, false);
    if (code == 0 && !ret_event)
        code = mproc__fail(-EINVAL, "nowhere to put the event");
    if (code == 0)
        code = mproc__noun_open(&mproc__event_noun, place, name, &handle);
    if (code == 0)
        *ret_event = MPROC__CONTAINER(handle, mproc_event, handle);
    return code;
}

void mproc_event_close(mproc_event **event)
{
    mproc__handle_close((void **)event, MPROC_TYPE_EVENT);
}
