/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections of a process: its descriptors say which sockets it has, the kernel's tables say what those are.
 *
 * The tables are those of the process's network namespace. They are read one after the other while the world goes on: a
 * socket that moves meanwhile may be missed, one that is seen was there. */
#include "platform/base.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process/running_detail.h"

typedef struct owned {
    int64_t fd;
    uint64_t inode;
    mproc__proc_socket socket;
    unsigned lines; /* that name this inode: 0: of another family, or nowhere yet */
} owned;

typedef struct owned_list {
    owned *items;
    size_t count, capacity;
} owned_list;

static int owned_add(owned_list *all, int64_t fd, uint64_t inode)
{
    if (all->count == all->capacity) {
        size_t capacity = all->capacity ? all->capacity * 2 : 32;
        void *items = realloc(all->items, capacity * sizeof *all->items);
        if (!items)
            return -ENOMEM;
        all->items = items;
        all->capacity = capacity;
    }
    all->items[all->count++] = (owned){.fd = fd, .inode = inode};
    return 0;
}

/* "socket:[inode]" */
static int link_visit(mproc__look *look, int directory_fd, int64_t fd, void *context)
{
    static const char prefix[] = "socket:[";
    char name[24];
    int64_t inode;
    snprintf(name, sizeof name, "%lld", (long long)fd);
    int rc = mproc__proc_link(directory_fd, name, look->text);
    if (rc < 0)
        return rc == -ESRCH ? 0 : rc;
    const char *at = look->text->bytes + sizeof prefix - 1, *end = look->text->bytes + look->text->length;
    if (strncmp(look->text->bytes, prefix, sizeof prefix - 1) != 0 || !mproc__proc_number(&at, end, &inode))
        return 0;
    return owned_add(context, fd, (uint64_t)inode);
}

static int by_inode(const void *a, const void *b)
{
    const owned *one = a, *other = b;
    return (one->inode > other->inode) - (one->inode < other->inode);
}

static int by_fd(const void *a, const void *b)
{
    const owned *one = a, *other = b;
    return (one->fd > other->fd) - (one->fd < other->fd);
}

/* ---- tables ---- */

static bool same_line(const mproc__proc_socket *a, const mproc__proc_socket *b)
{
    return a->net == b->net && a->state == b->state && a->type == b->type && a->path_bytes == b->path_bytes &&
           (a->path_bytes == 0 || memcmp(a->path, b->path, a->path_bytes) == 0);
}

/* Only lines of Unix sockets can be forged, by their paths: they come last and change nothing that is known from the other
 * tables. A line that comes again (a table is no snapshot) is no second one. */
static void line_take(owned *found, const mproc__proc_socket *socket)
{
    if (found->lines > 0 && (found->socket.net != MPROC__PROC_UNIX || same_line(&found->socket, socket)))
        return;
    found->lines++;
    found->socket = *socket;
}

/* Several descriptors may be of one socket. */
static void socket_found(owned_list *all, const mproc__proc_socket *socket)
{
    owned key = {.inode = socket->inode};
    owned *found = bsearch(&key, all->items, all->count, sizeof key, by_inode);
    if (!found)
        return;
    while (found > all->items && found[-1].inode == socket->inode)
        found--;
    for (; found < all->items + all->count && found->inode == socket->inode; found++)
        line_take(found, socket);
}

/* A table that the kernel does not have (no IPv6) has no sockets. */
static int table_read(mproc__look *look, mproc__proc_net net, owned_list *all)
{
    mproc__proc_text *text = look->text;
    mproc__proc_line line;
    mproc__proc_socket socket;
    int rc = mproc__proc_read(look->view->directory_fd, mproc__proc_net_files[net], text);
    if (rc < 0)
        return rc == -ESRCH ? 0 : rc;
    for (const char *at = text->bytes; mproc__proc_line_next(&at, text->bytes + text->length, &line);)
        if (mproc__proc_socket_parse(net, line, &socket))
            socket_found(all, &socket);
    return 0;
}

/* ---- values ---- */

typedef struct entry {
    const char *keys[8];
    mproc_variant items[8];
    size_t count;
} entry;

static void entry_add(entry *of, const char *key, mproc_variant item)
{
    of->keys[of->count] = key;
    of->items[of->count++] = item;
}

static int inet_append(const owned *of, entry *values, mproc_variant *list)
{
    char local[INET6_ADDRSTRLEN] = "", remote[INET6_ADDRSTRLEN] = "";
    const mproc__proc_socket *socket = &of->socket;
    bool six = socket->net == MPROC__PROC_TCP6 || socket->net == MPROC__PROC_UDP6;
    inet_ntop(six ? AF_INET6 : AF_INET, socket->local, local, sizeof local);
    inet_ntop(six ? AF_INET6 : AF_INET, socket->remote, remote, sizeof remote);
    entry_add(values, "local_address", mproc_text(local));
    entry_add(values, "local_port", mproc_int(socket->local_port));
    if (socket->remote_port != 0) {
        entry_add(values, "remote_address", mproc_text(remote));
        entry_add(values, "remote_port", mproc_int(socket->remote_port));
    }
    return mproc__look_entry(list, values->keys, values->items, values->count);
}

/* A path is the rest of its line and may hold anything: a newline in it makes what looks like lines of other sockets. Each has
 * one line, so what stands in two is forged in one of them, and neither is believed but for the socket's being there. */
static int unix_append(const owned *of, entry *values, mproc_variant *list)
{
    char *path = of->lines == 1 && of->socket.path ? strndup(of->socket.path, of->socket.path_bytes) : NULL;
    if (of->lines == 1 && of->socket.path && !path)
        return -ENOMEM;
    entry_add(values, "type", mproc_text(of->lines == 1 ? of->socket.type : "unknown"));
    if (path)
        entry_add(values, "path", mproc__look_word(path));
    int rc = mproc__look_entry(list, values->keys, values->items, values->count);
    free(path);
    return rc;
}

static int owned_append(const owned *of, mproc_variant *list)
{
    static const char *const kinds[MPROC__PROC_NETS] = {"tcp", "tcp6", "udp", "udp6", "unix"};
    entry values = {.count = 0};
    bool is_unix = of->socket.net == MPROC__PROC_UNIX;
    entry_add(&values, "fd", mproc_int(of->fd));
    entry_add(&values, "kind", mproc_text(kinds[of->socket.net]));
    entry_add(&values, "state", mproc_text(is_unix && of->lines > 1 ? "unknown" : of->socket.state));
    return is_unix ? unix_append(of, &values, list) : inet_append(of, &values, list);
}

/* The table of Unix sockets comes last: its paths lie in the text. */
static int connections_collect(mproc__look *look, owned_list *all, mproc_variant *ret_value)
{
    int rc = mproc__look_fds(look, link_visit, all);
    if (rc < 0 || all->count == 0)
        return rc;
    qsort(all->items, all->count, sizeof *all->items, by_inode);
    for (int net = 0; net < MPROC__PROC_NETS && rc == 0; net++)
        rc = table_read(look, (mproc__proc_net)net, all);
    qsort(all->items, all->count, sizeof *all->items, by_fd);
    for (size_t i = 0; i < all->count && rc == 0; i++)
        if (all->items[i].lines > 0)
            rc = owned_append(&all->items[i], ret_value);
    return rc;
}

int mproc__look_connections(mproc__look *look, mproc_variant *ret_value)
{
    owned_list all = {0};
    int rc = connections_collect(look, &all, ret_value);
    free(all.items);
    return rc;
}
