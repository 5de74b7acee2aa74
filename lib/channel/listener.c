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
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/address.h"
#include "channel/connection.h"
#include "channel/handshake.h"
#include "platform/platform.h"

/* Handshakes at a time. A further client takes the place of the one that has been silent longest. */
enum { PENDING_MOST = 128 };

typedef struct pending_peer {
    int fd;
    pid_t pid;
    mproc_deadline deadline;
    mproc__handshake handshake;
} pending_peer;

struct mproc_listener {
    mproc__handle handle;
    pthread_mutex_t lock; /* accept: one at a time; guards all below but bound */
    mproc__bound bound;
    mproc__key *key; /* NULL: no handshake */
    size_t max_message_bytes;
    _Atomic uint64_t incarnation; /* whose handshakes and lock these are; 0: being made this process's own */
    pending_peer *pending[PENDING_MOST]; /* oldest first */
    size_t pending_count;
    int epoll; /* with a key: the socket and all handshakes in one descriptor; else -1 */
};

/* ---- peers in their handshake ---- */

static void pending_remove(mproc_listener *listener, size_t index, bool close_fd)
{
    pending_peer *peer = listener->pending[index];
    if (listener->epoll >= 0)
        (void)epoll_ctl(listener->epoll, EPOLL_CTL_DEL, peer->fd, NULL);
    if (close_fd)
        close(peer->fd);
    mproc__handshake_end(&peer->handshake);
    free(peer);
    listener->pending_count--;
    memmove(&listener->pending[index], &listener->pending[index + 1],
            (listener->pending_count - index) * sizeof listener->pending[0]);
}

static void peer_refuse(int fd, mproc__auth_reason reason)
{
    uint8_t out[MPROC__AUTH_MESSAGE_BYTES];
    size_t size_bytes = mproc__auth_refusal(reason, out);
    (void)mproc__handshake_send(fd, out,
                                size_bytes); /* it is on its way out: whether it hears does not matter */
}

/* Ends one peer's handshake with the story that is set now, and says whose it was. */
static int pending_fail(mproc_listener *listener, size_t index, int rc)
{
    mproc_error why;
    int pid = (int)listener->pending[index]->pid;
    mproc__story_copy(mproc__story(), &why);
    pending_remove(listener, index, true);
    rc = mproc__fail(rc, "%s (pid %d)", why.text, pid);
    mproc__fail_number(MPROC_ERROR_PID, pid);
    return rc;
}

static int pending_late(mproc_listener *listener, size_t index)
{
    peer_refuse(listener->pending[index]->fd, MPROC__AUTH_LATE);
    mproc__fail(MPROC_EAUTH, "authentication: the peer did not finish the handshake in %d s",
                MPROC__AUTH_SECONDS);
    return pending_fail(listener, index, MPROC_EAUTH);
}

static int listener_hand_out(mproc_listener *listener, int fd, pid_t pid, mproc_connection **ret_connection)
{
    mproc_connection_options options = {.size = sizeof options,
                                        .max_message_bytes = listener->max_message_bytes};
    char peer[40];
    snprintf(peer, sizeof peer, "pid %d", (int)pid);
    return mproc__connection_adopt(fd, &options, peer, !listener->key, ret_connection);
}

static int pending_step(mproc_listener *listener, size_t index, mproc_connection **ret_connection)
{
    pending_peer *peer = listener->pending[index];
    int rc = mproc__handshake_step(&peer->handshake, peer->fd);
    if (rc == 0)
        return -EAGAIN;
    if (rc > 0)
        rc = listener_hand_out(listener, peer->fd, peer->pid, ret_connection);
    if (rc < 0)
        return pending_fail(listener, index, rc);
    pending_remove(listener, index, false);
    return 0;
}

/* The epoll first: a forked copy shares it with its parent, who goes on watching. */
static void listener_clear(mproc_listener *listener)
{
    if (listener->epoll >= 0)
        close(listener->epoll);
    listener->epoll = -1;
    while (listener->pending_count > 0)
        pending_remove(listener, listener->pending_count - 1, true);
}

/* ---- new peers ---- */

static int listener_watch(mproc_listener *listener, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (listener->epoll < 0 || epoll_ctl(listener->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    return mproc__fail(-errno, "a handshake cannot be waited for: %s", mproc_strerror(-errno));
}

static int listener_epoll(mproc_listener *listener)
{
    listener->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (listener->epoll < 0)
        return mproc__fail(-errno, "no descriptor to wait for clients: %s", mproc_strerror(-errno));
    int rc = listener_watch(listener, listener->bound.fd);
    if (rc < 0)
        listener_clear(listener);
    return rc;
}

static int pending_add(mproc_listener *listener, int fd, pid_t pid)
{
    pending_peer *peer = malloc(sizeof *peer);
    if (!peer)
        return mproc__fail(-ENOMEM, "no memory for a handshake");
    peer->fd = fd;
    peer->pid = pid;
    peer->deadline = mproc_after_ms(MPROC__AUTH_SECONDS * 1000);
    int rc = mproc__handshake_begin(&peer->handshake, fd, listener->key);
    if (rc >= 0)
        rc = listener_watch(listener, fd);
    if (rc < 0) {
        mproc__handshake_end(&peer->handshake);
        free(peer);
        return rc;
    }
    listener->pending[listener->pending_count++] = peer;
    return 0;
}

/* Without a key the peer is through at once; its own greeting is read with its first message. */
static int peer_welcome(mproc_listener *listener, int fd, pid_t pid, mproc_connection **ret_connection)
{
    mproc__handshake greeting;
    if (listener->key) {
        int rc = pending_add(listener, fd, pid);
        return rc < 0 ? rc : -EAGAIN;
    }
    /* A peer that has gone already may have left messages: they are still delivered. */
    (void)mproc__handshake_begin(&greeting, fd, NULL);
    mproc__handshake_end(&greeting);
    return listener_hand_out(listener, fd, pid, ret_connection);
}

/* One waiting client. 0: through; -EAGAIN: none, or one more in its handshake; else why that one was refused. Its uid is
 * looked at before any byte of it (SEC-3). */
static int listener_take(mproc_listener *listener, mproc_connection **ret_connection)
{
    pid_t pid;
    uid_t uid;
    if (listener->pending_count == PENDING_MOST)
        return pending_late(listener, 0);
    int fd = accept4(listener->bound.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
        return -EAGAIN;
    if (fd < 0)
        return mproc__fail(-errno, "cannot accept at %s: %s", listener->bound.address,
                           mproc_strerror(-errno));
    int rc = mproc__peer_check(fd, &pid, &uid);
    if (rc < 0)
        peer_refuse(fd, MPROC__AUTH_USER);
    else
        rc = peer_welcome(listener, fd, pid, ret_connection);
    if (rc < 0 && rc != -EAGAIN)
        close(fd);
    return rc;
}

/* ---- accept ---- */

/* Until when to sleep: the caller's deadline or that of the oldest handshake. */
static mproc_deadline listener_wake(const mproc_listener *listener, mproc_deadline deadline)
{
    if (listener->pending_count > 0 && listener->pending[0]->deadline.ns < deadline.ns)
        return listener->pending[0]->deadline;
    return deadline;
}

/* Sleeps until somebody is there, and serves them, from the newest handshake to the oldest so that removing one moves
 * none that is still to be looked at. -EAGAIN: nobody is through yet. */
static int listener_turn(mproc_listener *listener, mproc_deadline deadline, mproc_connection **ret_connection)
{
    struct pollfd items[PENDING_MOST + 1];
    size_t count = listener->pending_count;
    int rc = -EAGAIN;
    if (count > 0 && mproc__deadline_past(listener->pending[0]->deadline))
        return pending_late(listener, 0);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct pollfd){.fd = listener->pending[i]->fd, .events = POLLIN};
    items[count] = (struct pollfd){.fd = listener->bound.fd, .events = POLLIN};
    if (poll(items, count + 1, mproc__deadline_poll_ms(listener_wake(listener, deadline))) < 0)
        return errno == EINTR ? -EAGAIN : mproc__fail(-errno, "poll: %s", mproc_strerror(-errno));
    for (size_t i = count; i > 0 && rc == -EAGAIN; i--)
        if (items[i - 1].revents)
            rc = pending_step(listener, i - 1, ret_connection);
    if (rc == -EAGAIN && items[count].revents)
        rc = listener_take(listener, ret_connection);
    return rc;
}

/* A forked copy of a listener shares the socket; the handshakes that had begun are its parent's, and so may be whoever
 * holds the lock. One thread of the child makes both its own, others wait for that. */
static void listener_own(mproc_listener *listener)
{
    uint64_t mine = mproc__incarnation(), seen = listener->incarnation;
    while (seen != mine) {
        if (seen == 0 || !atomic_compare_exchange_strong(&listener->incarnation, &seen, 0)) {
            sched_yield();
            seen = listener->incarnation;
            continue;
        }
        pthread_mutex_init(&listener->lock, NULL);
        listener_clear(listener);
        if (listener->key)
            (void)listener_epoll(listener); /* without it, accept works all the same */
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
    pthread_mutex_unlock(&listener->lock);
    if (rc == -EAGAIN)
        return mproc__fail_plain(-ETIMEDOUT);
    return rc < 0 ? mproc__handle_story(&listener->handle, rc) : rc;
}

/* ---- life ---- */

static void listener_destroy(mproc__handle *handle)
{
    mproc_listener *listener = MPROC__CONTAINER(handle, mproc_listener, handle);
    listener_clear(listener);
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
    if (!listener->key)
        return listener->bound.fd;
    listener_own(listener);
    return listener->epoll >= 0 ? listener->epoll
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
    *ret_key = NULL;
    if (!options || (!options->key && options->key_bytes == 0 && !options->key_file))
        return 0;
    mproc__key *key = mproc__key_create();
    if (!key)
        return mproc__fail(-ENOMEM, "no memory for a key");
    int rc = mproc__key_from_options(options->key, options->key_bytes, options->key_file, key);
    if (rc == 0)
        *ret_key = key;
    else
        mproc__key_destroy(key);
    return rc;
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
    listener->epoll = -1;
    rc =
        listener_key(options, &listener->key); /* before the socket: a wrong key file leaves nothing behind */
    if (rc == 0)
        rc = mproc__address_listen(address, options ? options->backlog : 0, &listener->bound);
    if (rc == 0 && listener->key) {
        rc = listener_epoll(listener);
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
