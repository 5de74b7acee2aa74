/* SPDX-License-Identifier: BSD-2-Clause */
/* What a connection makes of arbitrary bytes, in arbitrary pieces, with arbitrary descriptors: a Unix socket or TCP, bytes or
 * variants asked for. The reader of frames in front of a server must see the same frames in the whole as in single bytes. */
#include "platform/base.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mproc/connection.h>
#include "channel/connection.h"
#include "channel/frame.h"
#include "fuzz/fuzz.h"
#include "platform/platform.h"

enum { MOST_BYTES = 4096, INPUT_MOST = 16384, BROKEN_MOST = 64 };

static int listening;
static struct sockaddr_in listening_name = {.sin_family = AF_INET};

/* Once, before anything is counted. */
static void listen_once(void)
{
    socklen_t size = sizeof listening_name;
    if (listening > 0)
        return;
    listening_name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(bind(listening, (void *)&listening_name, size) == 0 && listen(listening, 4) == 0);
    FUZZ_CHECK(getsockname(listening, (void *)&listening_name, &size) == 0);
}

static void pair_open(bool tcp, int ret_fds[2])
{
    if (!tcp) {
        FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds) == 0);
        return;
    }
    ret_fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(connect(ret_fds[1], (void *)&listening_name, sizeof listening_name) == 0);
    ret_fds[0] = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    FUZZ_CHECK(ret_fds[0] >= 0);
}

/* By a reset, so that no port is kept in TIME_WAIT: there are too few for so many rounds. */
static void far_end_close(int fd)
{
    const struct linger none = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
}

/* The next message, with a buffer that is too small at first. */
static int receive_bytes(mproc_connection *connection)
{
    static uint8_t buffer[MOST_BYTES];
    size_t size_bytes = 0, again_bytes = 0;
    int rc = mproc_connection_recv(connection, buffer, 8, MPROC_NOW, &size_bytes);
    if (rc != MPROC_ETOOSMALL)
        return rc;
    FUZZ_CHECK(size_bytes > 8 && size_bytes <= MOST_BYTES);
    rc = mproc_connection_recv(connection, buffer, sizeof buffer, MPROC_NOW, &again_bytes);
    FUZZ_CHECK(rc != MPROC_ETOOSMALL && (rc < 0 || again_bytes == size_bytes));
    return rc;
}

static int receive_variant(mproc_connection *connection)
{
    mproc_variant item;
    int rc = mproc_connection_recv_variant(connection, MPROC_NOW, &item);
    if (rc == 0)
        mproc_variant_clear(&item);
    return rc;
}

/* Asks until nothing more comes. MPROC_EPROTOCOL is final or not (a value that makes no sense); said often it is taken for
 * final. */
static int receive_all(mproc_connection *connection, bool variants)
{
    unsigned broken = 0;
    for (;;) {
        int rc = variants ? receive_variant(connection) : receive_bytes(connection);
        if (rc == MPROC_EARGUMENT) { /* a value, and kept */
            FUZZ_CHECK(!variants);
            rc = receive_variant(connection);
        }
        broken = rc == MPROC_EPROTOCOL ? broken + 1 : 0;
        if (rc < 0 && (rc != MPROC_EPROTOCOL || broken == BROKEN_MOST))
            return rc;
    }
}

static void frames_by_stream(const uint8_t *data, size_t size_bytes, unsigned mode)
{
    static const int fd_of[3] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};
    mproc_connection_options options = {.size = sizeof options, .max_message_bytes = MOST_BYTES};
    mproc_connection *connection;
    bool tcp = mode & 1, variants = mode & 2;
    size_t step = 1 + (mode >> 4) * 29 + size_bytes / 256;
    int fds[2], rc = -ETIMEDOUT;
    pair_open(tcp, fds);
    FUZZ_CHECK(mproc__connection_adopt(fds[0], &options, "the fuzzer", mode & 4, &connection) == 0);
    for (size_t at = 0, n = 0; at < size_bytes && rc == -ETIMEDOUT; at += step, n++) {
        size_t piece = size_bytes - at < step ? size_bytes - at : step;
        size_t fd_count = !tcp && (mode & 8) ? 3 - n % 4 : 0;
        FUZZ_CHECK(mproc__fd_send(fds[1], data + at, piece, fd_of, fd_count, MPROC_NOW) == 0);
        rc = receive_all(connection, variants);
    }
    shutdown(fds[1], SHUT_WR);
    rc = receive_all(connection, variants);
    /* Nothing can be left to wait for: the other end has said all. */
    FUZZ_CHECK(rc == MPROC_EEND || rc == MPROC_EPROTOCOL || rc == -EMSGSIZE || rc == MPROC_EAUTH);
    far_end_close(fds[1]);
    mproc_connection_close(&connection);
}

/* Whole and in single bytes, the same frames. */
static uint64_t frames_by_reader(const uint8_t *data, size_t size_bytes, size_t step)
{
    mproc__frame_reader reader;
    uint64_t sum = 0;
    int rc = -EAGAIN;
    mproc__frame_reader_init(&reader, MOST_BYTES);
    for (size_t at = 0; at < size_bytes && rc == -EAGAIN; at += step) {
        void *space;
        const void *frame;
        size_t room, piece = size_bytes - at < step ? size_bytes - at : step;
        unsigned kind;
        FUZZ_CHECK(mproc__frame_reader_space(&reader, &space, &room) == 0 && room >= piece);
        memcpy(space, data + at, piece);
        mproc__frame_reader_fed(&reader, piece);
        while ((rc = mproc__frame_reader_next(&reader, &kind, &frame, &room)) == 0) {
            FUZZ_CHECK(kind > 0 && room <= MOST_BYTES);
            sum = sum * 31 + kind * 7919 + room;
        }
    }
    FUZZ_CHECK(reader.capacity <= 4 * (size_bytes + MOST_BYTES));
    mproc__frame_reader_fini(&reader);
    return sum * 31 + (uint64_t)(rc == -EAGAIN ? 0 : -rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    unsigned mode = fuzz_byte(&data, &size_bytes);
    size_bytes = size_bytes > INPUT_MOST ? INPUT_MOST : size_bytes;
    listen_once();
    frames_by_stream(data, size_bytes, mode);
    FUZZ_CHECK(frames_by_reader(data, size_bytes, 4096) == frames_by_reader(data, size_bytes, 1));
    return 0;
}
