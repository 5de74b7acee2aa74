/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages whose length does not fit 32 bits, over a connection: whole, or refused before the first byte. */
#include "platform/base.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mproc/connection.h>
#include "platform/platform.h"
#include "support/support.h"

#define PIECE       ((size_t)16 << 20)
#define HUGE        ((size_t)4 << 30)
#define LARGE_BYTES (HUGE + 12345)

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(20000));
}

/* The same 16 MiB over and over: as large as need be, and no more memory than that. */
static uint8_t *mirror(void)
{
    int fd = mproc__memfd_create("mirror", PIECE);
    size_t pieces = LARGE_BYTES / PIECE + 1;
    uint8_t *at = mmap(NULL, pieces * PIECE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert(fd >= 0 && at != MAP_FAILED);
    for (size_t i = 0; i < pieces; i++)
        ck_assert_ptr_ne(mmap(at + i * PIECE, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0),
                         MAP_FAILED);
    close(fd);
    return at;
}

static void mirror_free(uint8_t *at)
{
    munmap(at, (LARGE_BYTES / PIECE + 1) * PIECE);
}

typedef struct sending {
    const char *address;
    const uint8_t *data;
    bool refused;
} sending;

static int sends_large(void *context)
{
    const sending *s = context;
    mproc_connection *connection;
    if (mproc_connection_open(s->address, NULL, soon(), &connection) < 0)
        return 1;
    int rc = mproc_connection_send(connection, s->data, LARGE_BYTES, soon());
    mproc_connection_close(&connection);
    return (rc < 0) == s->refused ? 0 : 2;
}

static mproc_connection *accept_from(const mproc_connection_options *options, sending *s, pid_t *ret_child)
{
    mproc_listener *listener;
    mproc_connection *connection;
    ck_assert_int_eq(mproc_listener_create(NULL, options, &listener), 0);
    s->address = mproc_listener_address(listener);
    *ret_child = support_fork(sends_large, s);
    ck_assert_int_eq(mproc_listener_accept(listener, soon(), &connection), 0);
    mproc_listener_close(&listener);
    return connection;
}

/* shows: WORK-8 */
START_TEST(a_message_above_four_gigabytes_is_received_whole)
{
    uint8_t *from = mirror(), *to = mirror();
    size_t got = 0;
    pid_t child;
    for (size_t i = 0; i < PIECE; i++)
        from[i] = (uint8_t)(i * 7 + (i >> 8));
    sending s = {.data = from};
    mproc_connection *connection =
        accept_from(MPROC_WITH(mproc_connection_options, .max_message_bytes = 2 * HUGE), &s, &child);
    ck_assert_int_eq(mproc_connection_recv(connection, to, LARGE_BYTES, soon(), &got), 0);
    ck_assert_uint_eq(got, LARGE_BYTES);
    ck_assert_int_eq(memcmp(from, to, PIECE),
                     0); /* a byte too many or too few would have moved all after it */
    ck_assert_int_eq(mproc_connection_recv(connection, to, 1, soon(), &got), MPROC_EEND);
    ck_assert_int_eq(support_reap(child, 20000), 0);
    mproc_connection_close(&connection);
    mirror_free(from);
    mirror_free(to);
}
END_TEST

/* shows: WORK-8 */
START_TEST(one_above_the_receivers_limit_is_refused_before_its_first_byte)
{
    uint8_t *from = mirror(), to[16] = "untouched";
    size_t got = 0;
    pid_t child;
    sending s = {.data = from, .refused = true};
    mproc_connection *connection = accept_from(NULL, &s, &child);
    ck_assert_int_eq(mproc_connection_recv(connection, to, sizeof to, soon(), &got), -EMSGSIZE);
    ck_assert_str_eq((const char *)to, "untouched");
    mproc_connection_close(&connection);
    ck_assert_int_eq(support_reap(child, 20000), 0);
    mirror_free(from);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("connection_large");
    TCase *large = support_case(suite, "large");
    tcase_set_timeout(large, 60);
    tcase_add_test(large, a_message_above_four_gigabytes_is_received_whole);
    tcase_add_test(large, one_above_the_receivers_limit_is_refused_before_its_first_byte);
    return support_run(suite, argc, argv);
}
