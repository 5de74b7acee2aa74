/* SPDX-License-Identifier: BSD-2-Clause */
/* Both sides of the handshake against a peer that says anything, in any pieces: nobody who does not know the key gets
 * through, and little is read before that is known. */
#include "platform/base.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/handshake.h"
#include "fuzz/fuzz.h"
#include "platform/platform.h"

enum {
    READ_MOST = 2 * MPROC__HANDSHAKE_FRAME_BYTES, /* far below the 4 KiB that are allowed */
    INPUT_MOST = 16384
};

static const mproc__key key = {.size_bytes = 16, .set = true, .bytes = "0123456789abcdef"};
static const mproc__key none;

static void pair_open(int ret_fds[2])
{
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds) == 0);
}

/* Takes away what the side under test says; true: it says something. */
static bool drain(int fd)
{
    uint8_t buffer[1024];
    bool any = false;
    while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0)
        any = true;
    return any;
}

static void server(const uint8_t *data, size_t size_bytes, bool keyed, bool client_first, unsigned step)
{
    mproc__handshake handshake;
    int fds[2], rc, left = 0;
    pair_open(fds);
    rc = mproc__handshake_begin(&handshake, fds[0], keyed ? &key : NULL, client_first);
    size_t at = 0;
    while (rc == 0 && at < size_bytes) {
        size_t piece = size_bytes - at < step ? size_bytes - at : step;
        FUZZ_CHECK(mproc__fd_write_all(fds[1], data + at, piece, MPROC_NOW) == 0);
        at += piece;
        rc = mproc__handshake_step(&handshake, fds[0]);
        drain(fds[1]);
    }
    /* One message a step, however many are there: go on while there are. */
    while (rc == 0 && ioctl(fds[0], FIONREAD, &left) == 0 && left > 0)
        rc = mproc__handshake_step(&handshake, fds[0]);
    FUZZ_CHECK(ioctl(fds[0], FIONREAD, &left) == 0 && at - (size_t)left <= READ_MOST);
    FUZZ_CHECK(!(rc > 0 && keyed)); /* nobody guesses 32 bytes */
    if (rc == 0) {
        close(fds[1]);
        fds[1] = -1;
        FUZZ_CHECK(mproc__handshake_step(&handshake, fds[0]) == MPROC_EAUTH);
    }
    mproc__handshake_end(&handshake);
    close(fds[0]);
    if (fds[1] >= 0)
        close(fds[1]);
}

static void client(const uint8_t *data, size_t size_bytes, bool client_first)
{
    int fds[2];
    pair_open(fds);
    FUZZ_CHECK(mproc__fd_write_all(fds[1], data, size_bytes, MPROC_NOW) == 0);
    FUZZ_CHECK(shutdown(fds[1], SHUT_WR) == 0);
    int rc = mproc__handshake_client(fds[0], &key, client_first, mproc_after_ms(1000));
    FUZZ_CHECK(rc == MPROC_EAUTH || rc == MPROC_EPROTOCOL);
    close(fds[0]);
    close(fds[1]);
}

/* The machine alone: pieces of the input as messages, whole. */
static void machine(const uint8_t *data, size_t size_bytes, bool is_server, bool keyed, bool client_first)
{
    uint8_t out[MPROC__AUTH_MESSAGE_BYTES];
    mproc__auth auth;
    size_t out_bytes = 0;
    int rc = 0;
    mproc__auth_init(&auth, is_server, keyed ? &key : &none);
    auth.client_first = client_first;
    if (is_server)
        rc = mproc__auth_step(&auth, NULL, 0, out, &out_bytes);
    while (rc == 0 && size_bytes > 0) {
        size_t length = fuzz_byte(&data, &size_bytes);
        length = length > size_bytes ? size_bytes : length;
        rc = mproc__auth_step(&auth, data, length, out, &out_bytes);
        FUZZ_CHECK(out_bytes <= sizeof out);
        data += length;
        size_bytes -= length;
    }
    FUZZ_CHECK(!(rc > 0 && keyed));
    mproc__auth_fini(&auth);
    (void)mproc__auth_late(data, size_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    unsigned mode = fuzz_byte(&data, &size_bytes);
    bool keyed = mode & 1, client_first = mode & 2;
    size_bytes = size_bytes > INPUT_MOST ? INPUT_MOST : size_bytes;
    server(data, size_bytes, keyed, client_first, 1 + (mode >> 2) * 5);
    client(data, size_bytes, client_first);
    machine(data, size_bytes, mode & 4, keyed, client_first);
    return 0;
}
