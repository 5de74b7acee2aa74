/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls over one connection. One lock, `state`, never held over a system call that may wait. */
#include "platform/base.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "data/parcel.h"
#include "manager/line.h"
#include "platform/platform.h"
#include "platform/story.h"

/* One call in flight, on its caller's stack. */
typedef struct flight {
    mproc__link link;
    uint64_t id;
    bool done;
    bool waits; /* for `wake`; not while its request is being sent */
    pthread_cond_t wake; /* done, or its turn to read */
    int code;
    mproc__reply *reply;
    char story[MPROC__WIRE_STORY_BYTES];
} flight;

static flight *flight_of(mproc__link *link)
{
    return MPROC__CONTAINER(link, flight, link);
}

/* The first failure is the one that is told. Wakes everybody: each finds its end in line->broken. */
static void line_break(mproc__line *line, int code, const char *why)
{
    if (line->broken == 0) {
        line->broken = code;
        snprintf(line->broken_story, sizeof line->broken_story, "%s", why);
        shutdown(line->fd, SHUT_RDWR);
    }
    for (mproc__link *at = line->calls.next; at != &line->calls; at = at->next)
        pthread_cond_signal(&flight_of(at)->wake);
    pthread_cond_broadcast(&line->sendable);
}

static int broken(const mproc__line *line)
{
    return mproc__fail(line->broken, "the connection to the server at %s is over: %s", line->address,
                       line->broken_story);
}

bool mproc__line_works(mproc__line *line)
{
    pthread_mutex_lock(&line->state);
    bool works = line->broken == 0;
    pthread_mutex_unlock(&line->state);
    return works;
}

/* ---- sending ---- */

/* Sends all of `out`. Returns 0; -ETIMEDOUT with nothing sent; other errors, and a frame cut in two by the
 * deadline, are the end of the connection. */
static int out_send(mproc__line *line, mproc_deadline deadline, bool *ret_fatal)
{
    size_t all = mproc__outbox_left(&line->out);
    while (mproc__outbox_left(&line->out) > 0) {
        ssize_t n = send(line->fd, line->out.bytes + line->out.taken, mproc__outbox_left(&line->out),
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            mproc__outbox_took(&line->out, (size_t)n);
            continue;
        }
        int rc = errno == EAGAIN ? mproc__fd_poll(line->fd, POLLOUT, deadline) : errno == EINTR ? 0 : -errno;
        if (rc < 0) {
            *ret_fatal = rc != -ETIMEDOUT || mproc__outbox_left(&line->out) < all;
            return rc;
        }
    }
    return 0;
}

/* Appends and sends one frame; the caller has the right to send. Without `state`. */
static int frame_send(mproc__line *line, const mproc__envelope *request, const mproc_variant *args,
                      mproc_deadline deadline, bool *ret_fatal)
{
    int rc = mproc__wire_append(&line->out, request, args, line->max_request_bytes);
    if (rc < 0)
        return rc;
    rc = out_send(line, deadline, ret_fatal);
    if (rc < 0)
        mproc__fail(rc, "the server at %s does not take the request: %s", line->address, mproc_strerror(rc));
    mproc__outbox_took(&line->out, mproc__outbox_left(&line->out));
    return rc;
}

/* Waits, with `state` given up. false: the deadline has passed. */
static bool condition_wait(mproc__line *line, pthread_cond_t *condition, mproc_deadline deadline)
{
    if (deadline.ns == INT64_MAX) {
        pthread_cond_wait(condition, &line->state);
        return true;
    }
    struct timespec until = mproc__deadline_timespec(deadline);
    return pthread_cond_timedwait(condition, &line->state, &until) != ETIMEDOUT;
}

/* Sends one frame when the others have sent theirs. Under `state`, which it gives up meanwhile. */
static int line_send(mproc__line *line, const mproc__envelope *request, const mproc_variant *args,
                     mproc_deadline deadline)
{
    bool fatal = false, in_time = true;
    while (line->sending && line->broken == 0 && in_time)
        in_time = condition_wait(line, &line->sendable, deadline);
    if (line->broken)
        return broken(line);
    if (line->sending)
        return mproc__fail(-ETIMEDOUT, "the server at %s takes no requests", line->address);
    line->sending = true;
    pthread_mutex_unlock(&line->state);
    int rc = frame_send(line, request, args, deadline, &fatal);
    pthread_mutex_lock(&line->state);
    line->sending = false;
    pthread_cond_signal(&line->sendable);
    if (fatal)
        line_break(line, -ECONNRESET, "it broke while a request was sent");
    return rc;
}

void mproc__line_tell(mproc__line *line, mproc__envelope *request)
{
    enum { PATIENCE_MS = 1000 };
    request->kind = MPROC__WIRE_REQUEST;
    pthread_mutex_lock(&line->state);
    if (line_send(line, request, NULL, mproc_after_ms(PATIENCE_MS)) < 0)
        line_break(line, -ECONNRESET, "the server did not take what it was told");
    pthread_mutex_unlock(&line->state);
}

/* ---- receiving: all under `state`, except the read itself ---- */

static void flight_land(flight *call, const mproc__envelope *reply)
{
    call->code = reply->code;
    call->reply->object = reply->object;
    call->reply->token = reply->token;
    snprintf(call->story, sizeof call->story, "%s", reply->story);
    if (reply->code >= 0 && reply->args_bytes > 0) {
        int rc = mproc__variant_decode(reply->args, reply->args_bytes, &call->reply->result);
        if (rc < 0) {
            call->code = rc;
            snprintf(call->story, sizeof call->story, "the reply's value: %.300s", mproc__story()->text);
        }
    }
    call->done = true;
    mproc__link_remove(&call->link);
    pthread_cond_signal(&call->wake);
}

/* Replies to calls that nobody waits for any more are dropped. */
static void envelope_take(mproc__line *line, const mproc__envelope *envelope)
{
    if (envelope->kind == MPROC__WIRE_REFUSAL) {
        line_break(line, envelope->code < 0 ? envelope->code : MPROC_EPROTOCOL, envelope->story);
        return;
    }
    for (mproc__link *at = line->calls.next; at != &line->calls; at = at->next)
        if (flight_of(at)->id == envelope->id && envelope->kind == MPROC__WIRE_REPLY) {
            flight_land(flight_of(at), envelope);
            return;
        }
}

static void frames_take(mproc__line *line)
{
    unsigned kind = 0;
    const void *data = NULL;
    size_t size_bytes = 0;
    int rc;
    while (!line->broken &&
           (rc = mproc__frame_reader_next(&line->reader, &kind, &data, &size_bytes)) != -EAGAIN) {
        mproc__decoder decoder;
        mproc__envelope envelope;
        if (rc == 0 && kind != MPROC__FRAME_MANAGER)
            rc = mproc__fail(MPROC_EPROTOCOL, "a frame of kind %u was not expected", kind);
        if (rc == 0)
            rc = mproc__wire_decode(&decoder, data, size_bytes, &envelope);
        if (rc < 0) {
            line_break(line, MPROC_EPROTOCOL, mproc__story()->text);
            return;
        }
        envelope_take(line, &envelope);
        mproc__wire_decoded(&decoder);
    }
}

/* Waits for bytes and reads some. Without `state`. */
static int bytes_read(mproc__line *line, mproc_deadline deadline)
{
    void *space = NULL;
    size_t size_bytes = 0;
    int rc = mproc__frame_reader_space(&line->reader, &space, &size_bytes);
    if (rc == 0)
        rc = mproc__fd_poll(line->fd, POLLIN, deadline);
    if (rc < 0)
        return rc;
    ssize_t n = recv(line->fd, space, size_bytes, MSG_DONTWAIT);
    if (n > 0)
        mproc__frame_reader_fed(&line->reader, (size_t)n);
    else if (n == 0)
        return MPROC_EEND;
    else if (errno != EAGAIN && errno != EINTR)
        return -errno;
    return 0;
}

static void read_for_all(mproc__line *line, mproc_deadline deadline)
{
    line->reading = true;
    pthread_mutex_unlock(&line->state);
    int rc = bytes_read(line, deadline);
    pthread_mutex_lock(&line->state);
    line->reading = false;
    if (rc == 0)
        frames_take(line);
    else if (rc == MPROC_EEND || rc == -ECONNRESET)
        line_break(line, -ECONNRESET, "the server has closed it or is gone");
    else if (rc != -ETIMEDOUT)
        line_break(line, rc, mproc_strerror(rc));
}

/* Out of the list; the reading goes on to one that waits. One that still sends would not hear of it, and may be kept
 * sending by a server that takes no more requests until its replies are read; when it has sent, it looks by itself. */
static void flight_leave(mproc__line *line, flight *call)
{
    mproc__link_remove(&call->link);
    if (line->reading)
        return;
    for (mproc__link *at = line->calls.next; at != &line->calls; at = at->next)
        if (flight_of(at)->waits) {
            pthread_cond_signal(&flight_of(at)->wake);
            return;
        }
}

/* Until the call is done, the line broken, or the deadline past. */
static void flight_await(mproc__line *line, flight *call, mproc_deadline deadline)
{
    while (!call->done && line->broken == 0) {
        call->waits = line->reading;
        if (call->waits)
            condition_wait(line, &call->wake, deadline);
        else
            read_for_all(line, deadline);
        call->waits = false;
        if (!call->done && mproc__deadline_past(deadline))
            break;
    }
}

static int flight_outcome(mproc__line *line, const flight *call, mproc__line_end *ret_end)
{
    if (call->done) {
        *ret_end = MPROC__LINE_ANSWERED;
        return call->code < 0 && call->story[0] ? mproc__fail(call->code, "%s", call->story)
               : call->code < 0                 ? mproc__fail_plain(call->code)
                                                : call->code;
    }
    if (line->broken) {
        *ret_end = MPROC__LINE_BROKE;
        return broken(line);
    }
    *ret_end = MPROC__LINE_LATE;
    return mproc__fail(-ETIMEDOUT, "the server at %s did not answer in time", line->address);
}

/* ---- a call ---- */

void mproc__line_condition(pthread_cond_t *ret_condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(ret_condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Under `state`. In the list before it is sent, because the answer may be read by another thread at once. */
static int flight_run(mproc__line *line, flight *call, mproc__envelope *request, const mproc_variant *args,
                      mproc_deadline deadline, mproc__line_end *ret_end)
{
    request->kind = MPROC__WIRE_REQUEST;
    request->id = call->id = ++line->last_id;
    mproc__link_append(&line->calls, &call->link);
    int rc = line_send(line, request, args, deadline);
    if (rc == 0) {
        flight_await(line, call, deadline);
        rc = flight_outcome(line, call, ret_end);
    }
    flight_leave(line, call);
    return rc;
}

int mproc__line_call(mproc__line *line, mproc__envelope *request, const mproc_variant *args,
                     mproc_deadline deadline, mproc__line_end *ret_end, mproc__reply *ret_reply)
{
    flight call = {.reply = ret_reply};
    *ret_reply = (mproc__reply){.result = mproc_null()};
    *ret_end = MPROC__LINE_NOT_SENT;
    mproc__link_init(&call.link);
    mproc__line_condition(&call.wake);
    pthread_mutex_lock(&line->state);
    int rc = flight_run(line, &call, request, args, deadline, ret_end);
    pthread_mutex_unlock(&line->state);
    pthread_cond_destroy(&call.wake);
    return rc;
}
