/* SPDX-License-Identifier: BSD-2-Clause */
/* The event loop. Each turn: read what came, run it, send each client's replies with one call, free the dead.
 *
 * One thread, no locks: a request runs from start to end before the next, which is what makes `add` and
 * `compare_set` indivisible. Nothing in a turn may wait. */
#include "platform/base.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "manager/peer.h"
#include "platform/digest.h"
#include "platform/platform.h"
#include "platform/story.h"

enum {
    DEFAULT_CLIENTS = 10000,
    DEFAULT_MESSAGE_BYTES = 64 * 1024 * 1024,
    EVENTS_A_TURN = 256,
    ACCEPTS_A_TURN = 64,
    ACCEPT_PAUSE_MS = 100 /* without descriptors accepting would fail, and wake us, again and again */
};
#define DEFAULT_BYTES ((size_t)1 << 30)

/* ---- listening ---- */

static void listener_watch(mproc_server *server, mproc__server_listener *listener, int operation,
                           uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = &listener->source};
    (void)epoll_ctl(server->epoll, operation, listener->bound.fd, &event);
}

static void accept_resume(mproc__timer *timer)
{
    mproc_server *server = MPROC__CONTAINER(timer, mproc_server, accept_timer);
    for (size_t i = 0; i < server->listener_count; i++)
        listener_watch(server, &server->listeners[i], EPOLL_CTL_MOD, EPOLLIN);
}

static void accept_pause(mproc_server *server)
{
    mproc__log(MPROC_LOG_ERROR, "cannot accept clients for now: %s", mproc_strerror(-errno));
    if (mproc__timers_set(&server->registry.timers, &server->accept_timer, mproc_after_ms(ACCEPT_PAUSE_MS)) <
        0)
        return;
    for (size_t i = 0; i < server->listener_count; i++)
        listener_watch(server, &server->listeners[i], EPOLL_CTL_MOD, 0);
}

/* Who may not come in learns it before a byte of its own is looked at. */
static void admit(mproc_server *server, int fd)
{
    pid_t pid = 0;
    uid_t uid = 0;
    uint8_t message[MPROC__AUTH_MESSAGE_BYTES];
    if (mproc__peer_check(fd, &pid, &uid) < 0) {
        mproc__log(MPROC_LOG_WARNING, "refused process %d of user %u", (int)pid, (unsigned)uid);
        mproc__peer_turn_away(fd, MPROC__FRAME_AUTH, message, mproc__auth_refusal(MPROC__AUTH_USER, message));
    } else if (server->peer_count >= server->max_clients) {
        mproc__peer_turn_away_full(fd, server->max_clients);
    } else if (mproc__peer_create(server, fd, pid) < 0) {
        mproc__log(MPROC_LOG_ERROR, "lost a client: %s", mproc__story()->text);
    }
}

static void listener_event(mproc_server *server, mproc__server_listener *listener)
{
    for (int n = 0; n < ACCEPTS_A_TURN; n++) {
        int fd = accept4(listener->bound.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            admit(server, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            accept_pause(server);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

int mproc_server_listen(mproc_server *server, const char *address, const char **ret_address)
{
    int rc = mproc__handle_check(server, MPROC_TYPE_SERVER);
    if (rc < 0)
        return rc;
    if (server->incarnation != mproc__incarnation())
        return mproc__handle_fail(&server->handle, -ECHILD,
                                  "the server belongs to the process that created it");
    if (server->listener_count == MPROC__LISTENERS)
        return mproc__handle_fail(&server->handle, MPROC_ELIMIT, "a server listens at %d addresses at most",
                                  MPROC__LISTENERS);
    mproc__server_listener *listener = &server->listeners[server->listener_count];
    listener->source.kind = MPROC__SOURCE_LISTENER;
    rc = mproc__address_listen(address, 0, &listener->bound);
    if (rc < 0)
        return mproc__handle_story(&server->handle, rc);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->source};
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, listener->bound.fd, &event) < 0) {
        rc = mproc__handle_fail(&server->handle, -errno, "cannot watch %s: %s", listener->bound.address,
                                mproc_strerror(-errno));
        mproc__bound_close(&listener->bound);
        return rc;
    }
    server->listener_count++;
    if (ret_address)
        *ret_address = listener->bound.address;
    return 0;
}

/* ---- the loop ---- */

static bool handle_event(mproc_server *server, mproc__source *source, uint32_t events)
{
    uint64_t count;
    switch (source->kind) {
    case MPROC__SOURCE_STOP:
        return read(server->stop, &count, sizeof count) < 0;
    case MPROC__SOURCE_LISTENER:
        listener_event(server, MPROC__CONTAINER(source, mproc__server_listener, source));
        return true;
    case MPROC__SOURCE_SOCKET:
        mproc__peer_event(MPROC__CONTAINER(source, mproc__peer, socket), events);
        return true;
    case MPROC__SOURCE_PROCESS:
        mproc__peer_end(MPROC__CONTAINER(source, mproc__peer, process));
        return true;
    }
    return true;
}

/* Those that were busy when it begins; who is left over again waits for the next turn. */
static void run_busy(mproc_server *server)
{
    mproc__link now;
    mproc__link_init(&now);
    while (!mproc__link_alone(&server->busy)) {
        mproc__link *link = server->busy.next;
        mproc__link_remove(link);
        mproc__link_append(&now, link);
    }
    while (!mproc__link_alone(&now))
        mproc__peer_continue(MPROC__CONTAINER(now.next, mproc__peer, in_busy));
}

/* Ending one peer may give locks to others and so make them dirty: until none is. */
static void flush_all(mproc_server *server)
{
    while (!mproc__link_alone(&server->dirty))
        mproc__peer_flush(MPROC__CONTAINER(server->dirty.next, mproc__peer, in_dirty));
}

static void free_dead(mproc_server *server)
{
    while (!mproc__link_alone(&server->dead))
        mproc__peer_free(MPROC__CONTAINER(server->dead.next, mproc__peer, in_peers));
}

static int turn_timeout_ms(mproc_server *server, mproc_deadline deadline)
{
    mproc_deadline first = mproc__timers_first(&server->registry.timers);
    if (!mproc__link_alone(&server->busy))
        return 0;
    return mproc__deadline_poll_ms(first.ns < deadline.ns ? first : deadline);
}

/* 1: go on; 0: stopped. */
static int turn(mproc_server *server, mproc_deadline deadline)
{
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(server->epoll, events, EVENTS_A_TURN, turn_timeout_ms(server, deadline));
    if (count < 0 && errno != EINTR)
        return mproc__handle_fail(&server->handle, -errno, "epoll_wait: %s", mproc_strerror(-errno));
    bool go_on = true;
    for (int i = 0; i < count; i++)
        go_on = handle_event(server, events[i].data.ptr, events[i].events) && go_on;
    run_busy(server);
    mproc__timers_run(&server->registry.timers);
    flush_all(server);
    free_dead(server);
    return go_on ? 1 : 0;
}

int mproc_server_run(mproc_server *server, mproc_deadline deadline)
{
    int rc = mproc__handle_check(server, MPROC_TYPE_SERVER);
    if (rc < 0)
        return rc;
    if (server->incarnation != mproc__incarnation())
        return mproc__handle_fail(&server->handle, -ECHILD,
                                  "the server belongs to the process that created it");
    do {
        rc = turn(server, deadline);
        if (rc <= 0)
            return rc;
    } while (!mproc__deadline_past(deadline));
    return mproc__fail_plain(-ETIMEDOUT);
}

int mproc_server_stop(mproc_server *server)
{
    int rc = mproc__handle_check(server, MPROC_TYPE_SERVER);
    if (rc < 0)
        return rc;
    uint64_t one = 1;
    int saved = errno;
    /* Full means that a stop is waiting to be read already. */
    rc = write(server->stop, &one, sizeof one) < 0 && errno != EAGAIN ? -errno : 0;
    errno = saved;
    return rc;
}

/* ---- life ---- */

static void server_destroy(mproc__handle *handle)
{
    mproc_server *server = MPROC__CONTAINER(handle, mproc_server, handle);
    while (!mproc__link_alone(&server->peers))
        mproc__peer_end(MPROC__CONTAINER(server->peers.next, mproc__peer, in_peers));
    free_dead(server);
    for (size_t i = 0; i < server->listener_count; i++)
        mproc__bound_close(&server->listeners[i].bound);
    mproc__registry_fini(&server->registry);
    mproc__key_destroy(server->key);
    if (server->epoll >= 0)
        close(server->epoll);
    if (server->stop >= 0)
        close(server->stop);
    mproc__handle_fini(handle);
    free(server);
}

static const mproc__handle_ops server_ops = {
    .type = MPROC_TYPE_SERVER, .noun = "server", .destroy = server_destroy};

static size_t or_default(size_t given, size_t standard)
{
    return given ? given : standard;
}

static int server_open(mproc_server *server)
{
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &server->stop_source};
    if (server->epoll < 0 || server->stop < 0 ||
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->stop, &event) < 0)
        return mproc__fail(-errno, "no descriptors for a server: %s", mproc_strerror(-errno));
    return 0;
}

/* The life is the wall clock: what a clock set back weakens is said in mproc-protocol(7). */
static uint64_t life_new(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int server_init(mproc_server *server, const mproc_server_options *options)
{
    server->incarnation = mproc__incarnation();
    server->max_clients = or_default(options->max_clients, DEFAULT_CLIENTS);
    server->max_message_bytes = or_default(options->max_message_bytes, DEFAULT_MESSAGE_BYTES);
    if (server->max_message_bytes < 2 * MPROC__WIRE_OVERHEAD_BYTES)
        server->max_message_bytes = 2 * MPROC__WIRE_OVERHEAD_BYTES;
    server->accept_timer.fired = accept_resume;
    server->key = mproc__key_create();
    if (!server->key)
        return mproc__fail(-ENOMEM, "no memory for the key");
    int rc = mproc__key_from_options(options->key, options->key_bytes, options->key_file, server->key);
    if (rc == 0 && server->key->set)
        rc = mproc__digest_load(); /* and not at the first client, who would be told nothing */
    return rc < 0 ? rc : server_open(server);
}

int mproc_server_create(const mproc_server_options *options, mproc_server **ret_server)
{
    static const mproc_server_options defaults = {.size = sizeof defaults};
    if (!ret_server)
        return mproc__fail(-EINVAL, "ret_server is NULL");
    int rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_server_options");
    if (rc < 0)
        return rc;
    if (!options)
        options = &defaults;
    mproc_server *server = calloc(1, sizeof *server);
    if (!server)
        return mproc__fail(-ENOMEM, "no memory for a server");
    mproc__handle_init(&server->handle, &server_ops);
    mproc__registry_init(&server->registry, life_new(), or_default(options->max_bytes, DEFAULT_BYTES));
    mproc__link_init(&server->peers);
    mproc__link_init(&server->busy);
    mproc__link_init(&server->dirty);
    mproc__link_init(&server->dead);
    server->epoll = server->stop = -1;
    server->stop_source.kind = MPROC__SOURCE_STOP;
    rc = server_init(server, options);
    if (rc < 0)
        server_destroy(&server->handle);
    else
        *ret_server = server;
    return rc;
}

void mproc_server_close(mproc_server **server)
{
    mproc__handle_close((void **)server, MPROC_TYPE_SERVER);
}
