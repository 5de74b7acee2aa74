/* SPDX-License-Identifier: BSD-2-Clause */
/* A message whose length does not fit 32 bits, to one who does not want it. */
#include "platform/base.h"

#include <string.h>
#include <sys/mman.h>

#include <mproc/connection.h>
#include "support/support.h"

#define LARGE_BYTES (((size_t)4 << 30) + 12345)

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(20000));
}

typedef struct sending {
    const char *address;
    const uint8_t *data;
} sending;

static int sends_large(void *context)
{
    const sending *s = context;
    mproc_connection *connection;
    if (mproc_connection_open(s->address, NULL, soon(), &connection) < 0)
        return 1;
    int rc = mproc_connection_send(connection, s->data, LARGE_BYTES, soon());
    mproc_connection_close(&connection);
    return rc < 0 ? 0 : 2;
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
START_TEST(one_above_the_receivers_limit_is_refused_before_its_first_byte)
{
    uint8_t to[16] = "untouched";
    uint8_t *from = mmap(NULL, LARGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t got = 0;
    pid_t child;
    sending s = {.data = from};
    ck_assert_ptr_ne(from, MAP_FAILED);
    mproc_connection *connection = accept_from(NULL, &s, &child);
    ck_assert_int_eq(mproc_connection_recv(connection, to, sizeof to, soon(), &got), -EMSGSIZE);
    ck_assert_str_eq((const char *)to, "untouched");
    mproc_connection_close(&connection);
    ck_assert_int_eq(support_reap(child, 20000), 0);
    munmap(from, LARGE_BYTES);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("connection_large");
    TCase *large = support_case(suite, "large");
    tcase_add_test(large, one_above_the_receivers_limit_is_refused_before_its_first_byte);
    return support_run(suite, argc, argv);
}
