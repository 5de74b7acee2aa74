/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "channel/pending.h"
#include "platform/platform.h"
#include "platform/story.h"

#define BEGUN INT64_MIN

int mproc__origin_get(int fd, bool tcp, mproc__origin *ret_origin)
{
    pid_t pid;
    uid_t uid;
    memset(ret_origin, 0, sizeof *ret_origin);
    ret_origin->tcp = tcp;
    if (tcp)
        return mproc__inet_admit(fd, ret_origin->source.host, ret_origin->text);
    int rc = mproc__peer_check(fd, &pid, &uid);
    ret_origin->source.pid = pid;
    snprintf(ret_origin->text, sizeof ret_origin->text, "pid %d", (int)pid);
    return rc;
}

void mproc__pending_refuse(int fd, mproc__auth_reason reason)
{
    uint8_t out[MPROC__AUTH_MESSAGE_BYTES];
    size_t size_bytes = mproc__auth_refusal(reason, out);
    (void)mproc__handshake_send(fd, out, size_bytes);
}

/* ---- the watch ---- */

void mproc__pending_init(mproc__pending *pending)
{
    memset(pending, 0, sizeof *pending);
    pending->watch = pending->timer = -1;
}

static void watch_close(mproc__pending *pending)
{
    int watch = pending->watch, timer = pending->timer;
    pending->watch = pending->timer = -1; /* first, as in pending_remove */
    if (watch >= 0)
        close(watch);
    if (timer >= 0)
        close(timer);
}

static int watch_add(mproc__pending *pending, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (pending->watch < 0 || epoll_ctl(pending->watch, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    return mproc__fail(-errno, "a handshake cannot be waited for: %s", mproc_strerror(-errno));
}

int mproc__pending_watch(mproc__pending *pending, int listening_fd)
{
    pending->timer_ns = INT64_MAX;
    pending->watch = epoll_create1(EPOLL_CLOEXEC);
    if (pending->watch >= 0)
        pending->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int rc = pending->timer < 0
                 ? mproc__fail(-errno, "no descriptor to wait for clients: %s", mproc_strerror(-errno))
                 : watch_add(pending, pending->timer);
    if (rc == 0)
        rc = watch_add(pending, listening_fd);
    if (rc < 0)
        watch_close(pending);
    return rc;
}

void mproc__pending_arm(mproc__pending *pending)
{
    struct itimerspec when = {0};
    mproc_deadline due = mproc__pending_wake(pending, MPROC_FOREVER);
    if (pending->timer < 0 || due.ns == pending->timer_ns)
        return;
    if (due.ns != INT64_MAX)
        when.it_value = mproc__deadline_timespec(due);
    if (timerfd_settime(pending->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        pending->timer_ns = due.ns;
}

/* ---- leaving ---- */

static void pending_remove(mproc__pending *pending, size_t i, bool close_fd)
{
    mproc__pending_peer *peer = pending->peer[i];
    /* First: another thread may fork in between, and the child would close and free what is in the list (listener_own). */
    pending->count--;
    memmove(&pending->peer[i], &pending->peer[i + 1], (pending->count - i) * sizeof pending->peer[0]);
    if (pending->watch >= 0 && peer->begin_ns == BEGUN)
        (void)epoll_ctl(pending->watch, EPOLL_CTL_DEL, peer->fd, NULL);
    if (close_fd)
        close(peer->fd);
    mproc__handshake_end(&peer->handshake);
    free(peer);
}

void mproc__pending_clear(mproc__pending *pending)
{
    watch_close(pending);
    while (pending->count > 0)
        pending_remove(pending, pending->count - 1, true);
}

/* Ends one peer's handshake with the story that is set now, and says whose it was. */
static int pending_fail(mproc__pending *pending, size_t i, int rc)
{
    mproc_error why;
    mproc__origin origin = pending->peer[i]->origin;
    mproc__story_copy(mproc__story(), &why);
    pending_remove(pending, i, true);
    rc = mproc__fail(rc, "%s (%s)", why.text, origin.text);
    if (!origin.tcp)
        mproc__fail_number(MPROC_ERROR_PID, origin.source.pid);
    return rc;
}

static void pending_punish(mproc__pending *pending, const mproc__pending_peer *peer)
{
    mproc__penalty_note(&pending->penalties, &peer->origin.source, mproc__now_ns());
}

static int pending_turn_out(mproc__pending *pending, const char *why)
{
    mproc__pending_refuse(pending->peer[0]->fd, MPROC__AUTH_LATE);
    mproc__fail(MPROC_EAUTH, "authentication: %s", why);
    return pending_fail(pending, 0, MPROC_EAUTH);
}

int mproc__pending_late(mproc__pending *pending)
{
    if (pending->count == 0 || !mproc__deadline_past(pending->peer[0]->deadline))
        return -EAGAIN;
    pending_punish(pending, pending->peer[0]);
    return pending_turn_out(pending, "the peer did not finish the handshake in time");
}

int mproc__pending_evict(mproc__pending *pending)
{
    if (pending->count < MPROC__PENDING_MOST)
        return -EAGAIN;
    return pending_turn_out(pending, "the peer made way for newer ones before it finished the handshake");
}

/* ---- coming and going on ---- */

/* The first words of our side, once the source's penalty is over. */
static int peer_begin(mproc__pending *pending, mproc__pending_peer *peer, const mproc__key *key)
{
    int rc = watch_add(pending, peer->fd);
    if (rc < 0)
        return rc;
    peer->begin_ns = BEGUN;
    return mproc__handshake_begin(&peer->handshake, peer->fd, key, peer->origin.tcp);
}

int mproc__pending_add(mproc__pending *pending, int fd, const mproc__origin *origin, const mproc__key *key)
{
    int64_t now = mproc__now_ns();
    mproc__pending_peer *peer = calloc(1, sizeof *peer);
    if (!peer) {
        close(fd);
        return mproc__fail(-ENOMEM, "no memory for a handshake");
    }
    peer->fd = fd;
    peer->origin = *origin;
    peer->deadline = mproc_after_ms(MPROC__AUTH_SECONDS * 1000);
    peer->begin_ns = mproc__penalty_until(&pending->penalties, &origin->source, now);
    pending->peer[pending->count++] = peer;
    int rc = peer->begin_ns <= now ? peer_begin(pending, peer, key) : 0;
    return rc < 0 ? pending_fail(pending, pending->count - 1, rc) : 0;
}

void mproc__pending_poll(const mproc__pending *pending, struct pollfd *ret_items)
{
    for (size_t i = 0; i < pending->count; i++) {
        const mproc__pending_peer *peer = pending->peer[i];
        /* poll passes over -1: what a waiting one says is heard when its time has come. */
        ret_items[i] = (struct pollfd){.fd = peer->begin_ns == BEGUN ? peer->fd : -1, .events = POLLIN};
    }
}

mproc_deadline mproc__pending_wake(const mproc__pending *pending, mproc_deadline deadline)
{
    if (pending->count > 0 && pending->peer[0]->deadline.ns < deadline.ns)
        deadline = pending->peer[0]->deadline;
    for (size_t i = 0; i < pending->count; i++)
        if (pending->peer[i]->begin_ns != BEGUN && pending->peer[i]->begin_ns < deadline.ns)
            deadline.ns = pending->peer[i]->begin_ns;
    return deadline;
}

int mproc__pending_step(mproc__pending *pending, size_t i, const mproc__key *key, bool readable, int *ret_fd,
                        mproc__origin *ret_origin)
{
    mproc__pending_peer *peer = pending->peer[i];
    int rc = 0;
    if (peer->begin_ns != BEGUN)
        rc = mproc__now_ns() >= peer->begin_ns ? peer_begin(pending, peer, key) : 0;
    else if (readable)
        rc = mproc__handshake_step(&peer->handshake, peer->fd);
    if (rc == 0)
        return -EAGAIN;
    if (rc < 0) {
        if (mproc__handshake_refused(&peer->handshake))
            pending_punish(pending, peer);
        return pending_fail(pending, i, rc);
    }
    *ret_fd = peer->fd;
    *ret_origin = peer->origin;
    pending_remove(pending, i, false);
    return 0;
}
