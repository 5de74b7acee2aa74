/* SPDX-License-Identifier: BSD-2-Clause */
/* The handshakes run inside accept, all at once: each caller of accept serves whoever is readable until one peer is
 * through. So a silent client costs its own five seconds and delays nobody, and no thread is needed. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/address.h"
#include "channel/connection.h"
#include "channel/pending.h"
#include "platform/platform.h"

struct mproc_listener {
    mproc__handle handle;
    pthread_mutex_t lock; /* accept: one at a time; guards all below but bound */
    mproc__bound bound;
    bool tcp;
    mproc__key *key; /* NULL: none */
    size_t max_message_bytes;
    /* Whose handshakes and lock these are; its complement: being made that one's. */
    _Atomic uint64_t incarnation;
    mproc__pending pending;
};

/* ---- new peers ---- */

/* Whether some clients are on their way in: then the socket alone does not tell when accept has something to do. */
static bool listener_is_watched(const mproc_listener *listener)
{
    return listener->key || listener->tcp;
}

static int listener_hand_out(mproc_listener *listener, int fd, const mproc__origin *origin,
                             mproc_connection **ret_connection)
{
    mproc_connection_options options = {.size = sizeof options,
                                        .max_message_bytes = listener->max_message_bytes};
    bool greeting_due = !listener->key && !listener->tcp;
    int rc = mproc__connection_adopt(fd, &options, origin->text, greeting_due, ret_connection);
    if (rc < 0)
        close(fd);
    return rc;
}

/* Goes on with one handshake. */
static int listener_step(mproc_listener *listener, size_t i, bool readable, mproc_connection **ret_connection)
{
    mproc__origin origin;
    int fd = -1;
    int rc = mproc__pending_step(&listener->pending, i, listener->key, readable, &fd, &origin);
    return rc == 0 ? listener_hand_out(listener, fd, &origin, ret_connection) : rc;
}

/* Over a Unix socket, without a key, the peer is through at once; its own greeting is read with its first message. Over
 * TCP anybody may knock, a browser too: there the greeting is waited for, like a handshake. */
static int peer_welcome(mproc_listener *listener, int fd, const mproc__origin *origin,
                        mproc_connection **ret_connection)
{
    mproc__handshake greeting;
    if (listener_is_watched(listener)) {
        int rc = mproc__pending_add(&listener->pending, fd, origin, listener->key);
        if (rc < 0)
            return rc;
        /* What it has to say may be there already. */
        return listener_step(listener, listener->pending.count - 1, true, ret_connection);
    }
    /* A peer that has gone already may have left messages: they are still delivered. */
    (void)mproc__handshake_begin(&greeting, fd, NULL, false);
    mproc__handshake_end(&greeting);
    return listener_hand_out(listener, fd, origin, ret_connection);
}

/* One waiting client. 0: through; -EAGAIN: none, or one more in its handshake; else why that one was refused. Who it is is
 * looked at before any byte of it (SEC-3). */
static int listener_take(mproc_listener *listener, mproc_connection **ret_connection)
{
    mproc__origin origin;
    int rc = mproc__pending_evict(&listener->pending);
    if (rc != -EAGAIN)
        return rc;
    int fd = accept4(listener->bound.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
        return -EAGAIN;
    if (fd < 0)
        return mproc__fail(-errno, "cannot accept at %s: %s", listener->bound.address,
                           mproc_strerror(-errno));
    rc = mproc__origin_get(fd, listener->tcp, &origin);
    if (rc == 0)
        return peer_welcome(listener, fd, &origin, ret_connection);
    mproc__pending_refuse(fd, MPROC__AUTH_USER);
    close(fd);
    return rc;
}

/* ---- accept ---- */

/* From the newest handshake to the oldest, so that removing one moves none that is still to be looked at. */
static int listener_serve(mproc_listener *listener, const struct pollfd *items,
                          mproc_connection **ret_connection)
{
    int rc = -EAGAIN;
    for (size_t i = listener->pending.count; i > 0 && rc == -EAGAIN; i--)
        rc = listener_step(listener, i - 1, items[i - 1].revents != 0, ret_connection);
    return rc;
}

/* Sleeps until somebody is there, and serves them. -EAGAIN: nobody is through yet. */
static int listener_turn(mproc_listener *listener, mproc_deadline deadline, mproc_connection **ret_connection)
{
    struct pollfd items[MPROC__PENDING_MOST + 1];
    size_t count = listener->pending.count;
    int rc = mproc__pending_late(&listener->pending);
    if (rc != -EAGAIN)
        return rc;
    mproc__pending_poll(&listener->pending, items);
    items[count] = (struct pollfd){.fd = listener->bound.fd, .events = POLLIN};
    deadline = mproc__pending_wake(&listener->pending, deadline);
    if (poll(items, count + 1, mproc__deadline_poll_ms(deadline)) < 0)
        return errno == EINTR ? -EAGAIN : mproc__fail(-errno, "poll: %s", mproc_strerror(-errno));
    rc = listener_serve(listener, items, ret_connection);
    if (rc == -EAGAIN && items[count].revents)
        rc = listener_take(listener, ret_connection);
    return rc;
}

/* A forked copy of a listener shares the socket; the handshakes that had begun are its parent's, and so may be whoever
 * holds the lock. One thread of the child makes both its own, others wait for that. A child of that
 * child, forked meanwhile and without that thread, finds the mark of another incarnation and begins anew. */
static void listener_own(mproc_listener *listener)
{
    uint64_t mine = mproc__incarnation(), making = ~mine, seen = listener->incarnation;
    while (seen != mine) {
        if (seen == making || !atomic_compare_exchange_strong(&listener->incarnation, &seen, making)) {
            sched_yield();
            seen = listener->incarnation;
            continue;
        }
        pthread_mutex_init(&listener->lock, NULL);
        mproc__pending_clear(&listener->pending);
        if (listener_is_watched(listener)) /* without a watch, accept works all the same */
            (void)mproc__pending_watch(&listener->pending, listener->bound.fd);
        listener->incarnation = seen = mine;
    }
}

static int listener_lock(mproc_listener *listener, mproc_deadline deadline)
{
    listener_own(listener);
    /* Free as a rule. The thread sanitizer knows this call, and not clocklock. */
    if (pthread_mutex_trylock(&listener->lock) == 0)
        return 0;
    if (deadline.ns == INT64_MAX)
        return -pthread_mutex_lock(&listener->lock);
    struct timespec until = mproc__deadline_timespec(deadline);
    return -pthread_mutex_clocklock(&listener->lock, CLOCK_MONOTONIC, &until);
}

int mproc_listener_accept(mproc_listener *listener, mproc_deadline deadline,
                          mproc_connection **ret_connection)
{
    int rc = mproc__handle_check(listener, MPROC_TYPE_LISTENER);
    if (rc < 0)
        return rc;
    if (!ret_connection)
        return mproc__handle_fail(&listener->handle, -EINVAL, "ret_connection is NULL");
    rc = listener_lock(listener, deadline);
    if (rc < 0)
        return mproc__fail_plain(rc);
    bool past;
    do {
        past = mproc__deadline_past(deadline);
        rc = listener_turn(listener, deadline, ret_connection);
    } while (rc == -EAGAIN && !past);
    mproc__pending_arm(&listener->pending);
    pthread_mutex_unlock(&listener->lock);
    if (rc == -EAGAIN)
        return mproc__fail_plain(-ETIMEDOUT);
    return rc < 0 ? mproc__handle_story(&listener->handle, rc) : rc;
}

/* ---- life ---- */

static void listener_destroy(mproc__handle *handle)
{
    mproc_listener *listener = MPROC__CONTAINER(handle, mproc_listener, handle);
    mproc__pending_clear(&listener->pending);
    mproc__bound_close(&listener->bound);
    mproc__key_destroy(listener->key);
    pthread_mutex_destroy(&listener->lock);
    mproc__handle_fini(handle);
    free(listener);
}

static int listener_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_listener *listener = MPROC__CONTAINER(handle, const mproc_listener, handle);
    return snprintf(buffer, size_bytes, "listener at %s", listener->bound.address);
}

static int listener_wait_fd(mproc__handle *handle)
{
    mproc_listener *listener = MPROC__CONTAINER(handle, mproc_listener, handle);
    if (!listener_is_watched(listener))
        return listener->bound.fd;
    listener_own(listener);
    return listener->pending.watch >= 0
               ? listener->pending.watch
               : mproc__handle_fail(handle, -EMFILE, "no descriptor to wait for clients");
}

static const mproc__handle_ops listener_ops = {
    .type = MPROC_TYPE_LISTENER,
    .noun = "listener",
    .destroy = listener_destroy,
    .describe = listener_describe,
    .wait_fd = listener_wait_fd,
};

/* On a page that core dumps leave out, because a listener lives long. */
static int listener_key(const mproc_connection_options *options, mproc__key **ret_key)
{
    mproc__key *key = mproc__key_create();
    *ret_key = NULL;
    if (!key)
        return mproc__fail(-ENOMEM, "no memory for a key");
    int rc = mproc__connection_key(options, key);
    if (rc == 0 && key->set)
        *ret_key = key;
    else
        mproc__key_destroy(key);
    return rc;
}

static int listener_bind(mproc_listener *listener, const char *address,
                         const mproc_connection_options *options)
{
    unsigned backlog = options ? options->backlog : 0;
    listener->tcp = mproc__inet_is(address);
    if (listener->tcp)
        return mproc__inet_listen(address, options && options->plaintext, backlog, &listener->bound);
    return mproc__address_listen(address, backlog, &listener->bound);
}

int mproc_listener_create(const char *address, const mproc_connection_options *options,
                          mproc_listener **ret_listener)
{
    if (!ret_listener)
        return mproc__fail(-EINVAL, "ret_listener is NULL");
    int rc = mproc__connection_options_check(options, "mproc_connection_options");
    if (rc < 0)
        return rc;
    mproc_listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return mproc__fail(-ENOMEM, "no memory for a listener");
    mproc__pending_init(&listener->pending);
    /* The key before the socket: a wrong key file leaves nothing behind. */
    rc = listener_key(options, &listener->key);
    if (rc == 0)
        rc = listener_bind(listener, address, options);
    if (rc == 0 && listener_is_watched(listener)) {
        rc = mproc__pending_watch(&listener->pending, listener->bound.fd);
        if (rc < 0)
            mproc__bound_close(&listener->bound);
    }
    if (rc < 0) {
        mproc__key_destroy(listener->key);
        free(listener);
        return rc;
    }
    listener->max_message_bytes = options ? options->max_message_bytes : 0;
    listener->incarnation = mproc__incarnation();
    pthread_mutex_init(&listener->lock, NULL);
    mproc__handle_init(&listener->handle, &listener_ops);
    *ret_listener = listener;
    return 0;
}

void mproc_listener_close(mproc_listener **listener)
{
    mproc__handle_close((void **)listener, MPROC_TYPE_LISTENER);
}

const char *mproc_listener_address(const mproc_listener *listener)
{
    return mproc__handle_check(listener, MPROC_TYPE_LISTENER) < 0 ? NULL : listener->bound.address;
}
