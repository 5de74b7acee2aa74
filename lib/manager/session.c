/* SPDX-License-Identifier: BSD-2-Clause */
/* From a place to a line that works, across broken connections and forks; and what a lost answer means. */
#include "platform/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manager/session.h"
#include "platform/platform.h"
#include "platform/story.h"

enum { CONNECT_MS = 5000, CALL_MS = 30000 };

/* ---- the session of this process ---- */

static mproc__session *session_new(mproc__session *stale)
{
    mproc__session *session = calloc(1, sizeof *session);
    if (!session) {
        mproc__fail(-ENOMEM, "no memory for a session");
        return NULL;
    }
    session->incarnation = mproc__incarnation();
    session->stale = stale;
    pthread_mutex_init(&session->lock, NULL);
    mproc__line_condition(&session->opened);
    return session;
}

/* Whoever swaps a stale session out closes this process's copy of the parent's socket: as long as it is open
 * the server would not see the parent's connection end. */
static mproc__session *session_of(mproc__server_place *place)
{
    mproc__session *session = atomic_load(&place->session);
    while (!session || session->incarnation != mproc__incarnation()) {
        mproc__session *fresh = session_new(session);
        if (!fresh)
            return NULL;
        if (atomic_compare_exchange_strong(&place->session, &session, fresh)) {
            if (session) {
                mproc__line_forget(session->line);
                session->line = NULL;
            }
            return fresh;
        }
        free(fresh);
    }
    return session;
}

static void session_free(mproc__session *session)
{
    while (session) {
        mproc__session *stale = session->stale;
        if (session->incarnation == mproc__incarnation()) {
            mproc__line_release(session->line);
            pthread_mutex_destroy(&session->lock);
            pthread_cond_destroy(&session->opened);
        } else {
            mproc__line_forget(session->line);
        }
        free(session);
        session = stale;
    }
}

/* ---- a line that works ---- */

static mproc_deadline connect_limit(const mproc__server_place *place, mproc_deadline deadline)
{
    mproc_deadline limit = mproc_after_ms(place->connect_ms);
    return limit.ns < deadline.ns ? limit : deadline;
}

/* Under the lock, which it gives up while it connects. */
static int line_renew(mproc__server_place *place, mproc__session *session, mproc_deadline deadline)
{
    mproc__line *line = NULL;
    session->opening = true;
    mproc__line_release(session->line);
    session->line = NULL;
    pthread_mutex_unlock(&session->lock);
    int rc = mproc__line_open(place->place.address, place->key, connect_limit(place, deadline), &line);
    pthread_mutex_lock(&session->lock);
    session->opening = false;
    session->line = line;
    pthread_cond_broadcast(&session->opened);
    return rc;
}

/* Until no other thread connects. Under the lock. */
static int opening_wait(mproc__server_place *place, mproc__session *session, mproc_deadline deadline)
{
    struct timespec until = mproc__deadline_timespec(connect_limit(place, deadline));
    while (session->opening)
        if (pthread_cond_timedwait(&session->opened, &session->lock, &until) == ETIMEDOUT && session->opening)
            return mproc__fail(-ETIMEDOUT, "the server at %s did not answer in time", place->place.address);
    return 0;
}

/* With a reference for the caller. */
static int line_get(mproc__server_place *place, mproc_deadline deadline, mproc__line **ret_line)
{
    mproc__session *session = session_of(place);
    if (!session)
        return -ENOMEM;
    pthread_mutex_lock(&session->lock);
    int rc = opening_wait(place, session, deadline);
    if (rc == 0 && (!session->line || !mproc__line_works(session->line)))
        rc = line_renew(place, session, deadline);
    if (rc == 0) {
        mproc__line_keep(session->line);
        *ret_line = session->line;
    }
    pthread_mutex_unlock(&session->lock);
    return rc;
}

/* ---- calls ---- */

/* The first call of a handle in a session makes the session a holder of the object. */
static void hold_ask(mproc__envelope *request, _Atomic uint64_t *holder_session, uint64_t session)
{
    uint64_t held = atomic_load_explicit(holder_session, memory_order_relaxed);
    request->hold = held != session && atomic_compare_exchange_strong(holder_session, &held, session);
}

static int lost(mproc__server_place *place, const mproc__request_options *options, mproc__line_end end,
                int code)
{
    if (!options->changes || (end != MPROC__LINE_LATE && end != MPROC__LINE_BROKE))
        return code;
    return mproc__fail(MPROC_EUNKNOWN,
                       end == MPROC__LINE_LATE
                           ? "the server at %s did not answer in time: it may still do what was asked"
                           : "the connection to the server at %s broke: it may have done what was asked",
                       place->place.address);
}

int mproc__session_call(mproc__server_place *place, mproc__envelope *request,
                        const mproc__request_options *options, mproc__reply *ret_reply)
{
    mproc__line_end end = MPROC__LINE_NOT_SENT;
    /* Twice: a connection that broke while nobody looked is found at the first attempt, before anything is
     * sent. */
    for (int attempt = 1;; attempt++) {
        mproc__line *line = NULL;
        int rc = line_get(place, options->deadline, &line);
        if (rc < 0)
            return rc;
        if (options->holder_session)
            hold_ask(request, options->holder_session, line->session);
        rc = mproc__line_call(line, request, options->args, options->deadline, &end, ret_reply);
        if (end != MPROC__LINE_ANSWERED && request->hold)
            atomic_store(options->holder_session, 0);
        bool again = end == MPROC__LINE_NOT_SENT && attempt == 1 && !mproc__line_works(line);
        if (request->method == MPROC__CREATE || request->method == MPROC__OPEN) {
            request->life = line->life;
            request->session = line->session;
        }
        mproc__line_release(line);
        if (!again)
            return lost(place, options, end, rc);
    }
}

void mproc__session_tell(mproc__server_place *place, uint64_t session_number, mproc__envelope *request)
{
    mproc__session *session = atomic_load(&place->session);
    mproc__line *line = NULL;
    if (!session || session->incarnation != mproc__incarnation())
        return;
    pthread_mutex_lock(&session->lock);
    if (session->line && session->line->session == session_number && mproc__line_works(session->line)) {
        line = session->line;
        mproc__line_keep(line);
    }
    pthread_mutex_unlock(&session->lock);
    if (line)
        mproc__line_tell(line, request);
    mproc__line_release(line);
}

/* ---- life of a place ---- */

mproc_deadline mproc__server_place_limit(const mproc__server_place *place)
{
    return mproc_after_ms(place->call_ms);
}

void mproc__server_place_destroy(mproc__server_place *place)
{
    session_free(atomic_load(&place->session));
    mproc__key_destroy(place->key);
    mproc__handle_fini(&place->place.handle);
    free(place->place.address);
    free(place);
}

int mproc__server_place_create(const char *address, const mproc_place_options *options,
                               mproc__server_place **ret_place)
{
    mproc__server_place *place = calloc(1, sizeof *place);
    if (!place)
        return mproc__fail(-ENOMEM, "no memory for a place");
    place->connect_ms = options->connect_ms ? options->connect_ms : CONNECT_MS;
    place->call_ms = options->call_ms ? options->call_ms : CALL_MS;
    place->key = mproc__key_create();
    place->place.address = strdup(address);
    int rc = place->key && place->place.address ? 0 : mproc__fail(-ENOMEM, "no memory for a place");
    if (rc == 0)
        rc = mproc__key_from_options(options->key, options->key_bytes, options->key_file, place->key);
    if (rc == 0) {
        *ret_place = place;
        return 0;
    }
    mproc__key_destroy(place->key);
    free(place->place.address);
    free(place);
    return rc;
}
