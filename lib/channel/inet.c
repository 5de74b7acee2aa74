/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/inet.h"
#include "platform/platform.h"
#include "platform/story.h"

#define PREFIX "tcp:"

typedef union inet_name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} inet_name;

/* What an address stands for, in the order of trying. */
typedef struct inet_names {
    inet_name name[2];
    size_t count;
} inet_names;

static socklen_t name_bytes(const inet_name *name)
{
    return name->any.sa_family == AF_INET6 ? sizeof name->v6 : sizeof name->v4;
}

bool mproc__inet_is(const char *address)
{
    return address && strncmp(address, PREFIX, sizeof PREFIX - 1) == 0;
}

/* ---- text to names ---- */

static bool name_is_loopback(const inet_name *name)
{
    if (name->any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&name->v6.sin6_addr);
    return name->any.sa_family == AF_INET && ntohl(name->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static void names_add_v4(inet_names *names, struct in_addr host, unsigned port)
{
    inet_name *name = &names->name[names->count++];
    name->v4 =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = host};
}

static void names_add_v6(inet_names *names, struct in6_addr host, unsigned port)
{
    inet_name *name = &names->name[names->count++];
    name->v6 =
        (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = host};
}

/* Digits only: what strtoul takes beside them (blanks, signs) is a mistake here. */
static bool port_parse(const char *text, unsigned *ret_port)
{
    unsigned port = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = 10 * port + (unsigned)(*text - '0');
        if (port > 65535)
            return false;
    }
    *ret_port = port;
    return true;
}

/* false: a host that is neither a number nor "localhost". */
static bool host_parse(const char *host, bool bracketed, unsigned port, inet_names *ret_names)
{
    struct in_addr v4;
    struct in6_addr v6;
    ret_names->count = 0;
    if (bracketed && inet_pton(AF_INET6, host, &v6) == 1)
        names_add_v6(ret_names, v6, port);
    else if (!bracketed && inet_pton(AF_INET, host, &v4) == 1)
        names_add_v4(ret_names, v4, port);
    else if (!bracketed && strcasecmp(host, "localhost") == 0) {
        names_add_v4(ret_names, (struct in_addr){htonl(INADDR_LOOPBACK)}, port);
        names_add_v6(ret_names, (struct in6_addr)IN6ADDR_LOOPBACK_INIT, port);
    }
    return ret_names->count > 0;
}

/* Takes "HOST:PORT" or "[HOST]:PORT" apart. */
static bool text_split(const char *text, char *ret_host, size_t size_bytes, bool *ret_bracketed,
                       unsigned *ret_port)
{
    const char *colon = strrchr(text, ':');
    if (!colon || !port_parse(colon + 1, ret_port))
        return false;
    size_t length = (size_t)(colon - text);
    *ret_bracketed = length >= 2 && text[0] == '[' && colon[-1] == ']';
    if (*ret_bracketed) {
        text++;
        length -= 2;
    }
    if (length == 0 || length >= size_bytes || (!*ret_bracketed && memchr(text, ':', length)))
        return false;
    memcpy(ret_host, text, length);
    ret_host[length] = '\0';
    return true;
}

static int names_parse(const char *address, bool plaintext, inet_names *ret_names)
{
    char host[256]; /* longer than any name */
    bool bracketed = false;
    unsigned port = 0;
    if (!text_split(address + sizeof PREFIX - 1, host, sizeof host, &bracketed, &port))
        return mproc__fail(-EINVAL, "'%.128s' is no address: tcp:HOST:PORT or tcp:[HOST]:PORT is one",
                           address);
    if (!plaintext)
        return mproc__fail(MPROC_EPLACE, "%.128s: TCP is not encrypted, which the option plaintext allows",
                           address);
    if (!host_parse(host, bracketed, port, ret_names) || !name_is_loopback(&ret_names->name[0]))
        return mproc__fail(MPROC_EPLACE,
                           "%.128s: plain TCP stays on this machine: 127.0.0.1, [::1] or localhost", address);
    return 0;
}

/* ---- names to text ---- */

static void name_print(const inet_name *name, char ret_text[MPROC__INET_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (name->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &name->v6.sin6_addr, host, sizeof host);
        snprintf(ret_text, MPROC__INET_TEXT_BYTES, PREFIX "[%s]:%u", host, ntohs(name->v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &name->v4.sin_addr, host, sizeof host);
        snprintf(ret_text, MPROC__INET_TEXT_BYTES, PREFIX "%s:%u", host, ntohs(name->v4.sin_port));
    }
}

static void name_host(const inet_name *name, uint8_t ret_host[MPROC__INET_HOST_BYTES])
{
    memset(ret_host, 0, MPROC__INET_HOST_BYTES);
    if (name->any.sa_family == AF_INET6) {
        memcpy(ret_host, &name->v6.sin6_addr, MPROC__INET_HOST_BYTES);
    } else {
        ret_host[10] = ret_host[11] = 0xff;
        memcpy(ret_host + 12, &name->v4.sin_addr, 4);
    }
}

/* Messages leave when they are sent, not when the one before is acknowledged. */
static int fd_undelay(int fd)
{
    static const int yes = 1;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0 ? -errno : 0;
}

/* ---- listening ---- */

/* So that a port whose last connections are still dying down (TIME_WAIT) can be bound again, which their listener must have
 * allowed as well. Two that listen at the same port are refused all the same. With port 0 only after the bind: the kernel
 * would else choose also among the ports that another is about to listen at. */
static int listen_reuse(int fd)
{
    static const int yes = 1;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ? -errno : 0;
}

static int listen_at(const inet_name *name, unsigned backlog, int *ret_fd)
{
    int most = backlog == 0 || backlog > SOMAXCONN ? SOMAXCONN : (int)backlog;
    bool any_port = name->v4.sin_port == 0; /* at the same place for both families */
    int rc = 0, fd = socket(name->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (!any_port)
        rc = listen_reuse(fd);
    if (rc == 0 && bind(fd, &name->any, name_bytes(name)) < 0)
        rc = -errno;
    if (rc == 0 && any_port)
        rc = listen_reuse(fd);
    if (rc == 0 && listen(fd, most) < 0)
        rc = -errno;
    if (rc == 0)
        *ret_fd = fd;
    else
        close(fd);
    return rc;
}

static int bound_name(mproc__bound *bound)
{
    inet_name name;
    socklen_t size = sizeof name;
    char text[MPROC__INET_TEXT_BYTES];
    if (getsockname(bound->fd, &name.any, &size) < 0)
        return mproc__fail(-errno, "a socket without a name: %s", mproc_strerror(-errno));
    name_print(&name, text);
    bound->address = strdup(text);
    return bound->address ? 0 : mproc__fail(-ENOMEM, "no memory for an address");
}

static bool family_is_missing(int rc)
{
    return rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL;
}

int mproc__inet_listen(const char *address, bool plaintext, unsigned backlog, mproc__bound *ret_bound)
{
    inet_names names;
    *ret_bound = (mproc__bound){.fd = -1, .incarnation = mproc__incarnation()};
    int rc = names_parse(address, plaintext, &names);
    if (rc < 0)
        return rc;
    rc = listen_at(&names.name[0], backlog, &ret_bound->fd);
    if (family_is_missing(rc) && names.count > 1)
        rc = listen_at(&names.name[1], backlog, &ret_bound->fd);
    if (rc < 0)
        return mproc__fail(rc, "cannot listen at %s: %s", address, mproc_strerror(rc));
    rc = bound_name(ret_bound);
    if (rc < 0)
        mproc__bound_close(ret_bound);
    return rc;
}

int mproc__inet_admit(int fd, uint8_t ret_host[MPROC__INET_HOST_BYTES], char ret_text[MPROC__INET_TEXT_BYTES])
{
    inet_name name;
    socklen_t size = sizeof name;
    memset(ret_host, 0, MPROC__INET_HOST_BYTES);
    snprintf(ret_text, MPROC__INET_TEXT_BYTES, "tcp:?");
    if (getpeername(fd, &name.any, &size) < 0)
        return mproc__fail(-EACCES, "the kernel does not say who the peer is: %s", mproc_strerror(-errno));
    name_host(&name, ret_host);
    name_print(&name, ret_text);
    /* What is bound to the loopback is not reached from elsewhere, unless somebody routes (route_localnet). */
    if (!name_is_loopback(&name))
        return mproc__fail(-EACCES, "refused the peer %s: it is not on this machine", ret_text);
    int rc = fd_undelay(fd);
    return rc < 0 ? mproc__fail(rc, "the socket of %s: %s", ret_text, mproc_strerror(rc)) : 0;
}

/* ---- connecting ---- */

bool mproc__inet_is_self(int fd)
{
    inet_name own, peer;
    uint8_t own_host[MPROC__INET_HOST_BYTES], peer_host[MPROC__INET_HOST_BYTES];
    socklen_t own_size = sizeof own, peer_size = sizeof peer;
    if (getsockname(fd, &own.any, &own_size) < 0 || getpeername(fd, &peer.any, &peer_size) < 0)
        return false;
    name_host(&own, own_host);
    name_host(&peer, peer_host);
    return own.v4.sin_port == peer.v4.sin_port && memcmp(own_host, peer_host, sizeof own_host) == 0;
}

/* Waits for a connect that has begun. -EINPROGRESS: the kernel's own patience, two minutes, ended before the deadline. */
static int connect_end(int fd, mproc_deadline deadline)
{
    int error = 0;
    socklen_t size = sizeof error;
    int rc = mproc__fd_poll(fd, POLLOUT, deadline);
    if (rc < 0)
        return rc;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    if (error == ETIMEDOUT)
        return mproc__deadline_past(deadline) ? -ETIMEDOUT : -EINPROGRESS;
    if (error == 0 && mproc__inet_is_self(fd))
        return -ECONNREFUSED;
    return -error;
}

/* Blocking again: who takes the descriptor for something else expects that. */
static int fd_block(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

static int connect_once(const inet_name *name, mproc_deadline deadline, int *ret_fd)
{
    int fd = socket(name->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = connect(fd, &name->any, name_bytes(name)) < 0 && errno != EINPROGRESS ? -errno : 0;
    if (rc == 0)
        rc = connect_end(fd, deadline);
    if (rc == 0)
        rc = fd_undelay(fd);
    if (rc == 0)
        rc = fd_block(fd);
    if (rc == 0)
        *ret_fd = fd;
    else
        close(fd);
    return rc;
}

static int connect_until(const inet_name *name, mproc_deadline deadline, int *ret_fd)
{
    int rc;
    do
        rc = connect_once(name, deadline, ret_fd);
    while (rc == -EINPROGRESS);
    return rc;
}

int mproc__inet_connect(const char *address, bool plaintext, mproc_deadline deadline, int *ret_fd)
{
    inet_names names;
    int rc = names_parse(address, plaintext, &names);
    if (rc < 0)
        return rc;
    if (names.name[0].v4.sin_port == 0)
        return mproc__fail(-EINVAL, "%s: port 0 is for listeners", address);
    rc = connect_until(&names.name[0], deadline, ret_fd);
    if ((family_is_missing(rc) || rc == -ECONNREFUSED) && names.count > 1)
        rc = connect_until(&names.name[1], deadline, ret_fd);
    if (rc == -ETIMEDOUT)
        return mproc__fail(rc, "%s: its backlog stayed full until the deadline", address);
    if (rc == -ECONNREFUSED)
        return mproc__fail(rc, "nobody listens at %s", address);
    return rc < 0 ? mproc__fail(rc, "cannot connect to %s: %s", address, mproc_strerror(rc)) : 0;
}
