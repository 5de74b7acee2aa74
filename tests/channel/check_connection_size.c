/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes: the smallest messages are one write, the largest are longer than 32 bits can say. */
#include "platform/base.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/listener_common.h"
#include "platform/platform.h"
#include "support/support.h"

/* ---- large ---- */

enum { WINDOW_BYTES = 1 << 20 };

/* A buffer above 4 GiB that costs one MiB: the same pages, again and again. */
static uint8_t *large_map(size_t size_bytes)
{
    int fd = mproc__memfd_create("window", WINDOW_BYTES);
    uint8_t *data = mmap(NULL, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (size_t at = 0; fd >= 0 && data != MAP_FAILED && at < size_bytes; at += WINDOW_BYTES)
        if (mmap(data + at, WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
            MAP_FAILED)
            return NULL;
    close(fd);
    return data == MAP_FAILED ? NULL : data;
}

static const size_t large_bytes = ((size_t)1 << 32) + WINDOW_BYTES;

static int sends_large(void *context)
{
    mproc_connection *connection = NULL;
    uint8_t *data = large_map(large_bytes);
    for (size_t i = 0; data && i < WINDOW_BYTES; i++)
        data[i] = (uint8_t)(i >> 12);
    int rc = data ? mproc_connection_open(context, NULL, SOON, &connection) : -ENOMEM;
    if (rc == 0)
        rc = mproc_connection_send(connection, data, large_bytes, mproc_after_ms(support_ms(60000)));
    if (rc == 0)
        rc = mproc_connection_send(connection, "after", 5, SOON);
    mproc_connection_close(&connection);
    if (data)
        munmap(data, large_bytes);
    return rc == 0 ? 0 : 1;
}

/* shows: CONN-09 WORK-8 */
START_TEST(a_message_above_four_gibibytes_arrives_whole)
{
    size_t got = 0;
    uint8_t *data = large_map(large_bytes);
    ck_assert_ptr_nonnull(data);
    ck_assert_int_eq(
        mproc_listener_create(NULL, MPROC_WITH(mproc_connection_options, .max_message_bytes = large_bytes),
                              &listener),
        0);
    pid_t child = support_fork(sends_large, (void *)(uintptr_t)mproc_listener_address(listener));
    ck_assert_int_eq(server_accept(), 0);
    ck_assert_int_eq(
        mproc_connection_recv(server_end, data, large_bytes, mproc_after_ms(support_ms(60000)), &got), 0);
    ck_assert_uint_eq(got, large_bytes);
    for (size_t i = 0; i < WINDOW_BYTES; i += 4096)
        ck_assert_uint_eq(data[i], (uint8_t)(i >> 12));
    expect(server_end, "after");
    ck_assert_int_eq(support_reap(child, 5000), 0);
    munmap(data, large_bytes);
    close_all();
}
END_TEST

/* ---- small ---- */

static char bytes[1 << 16];

/* Traces itself between two stops, in which it sends one message. */
static int sends_one(void *context)
{
    const size_t *size = context;
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    int rc = mproc_connection_send(client_end, bytes, *size, SOON);
    raise(SIGSTOP);
    mproc_connection_close(&client_end);
    mproc_connection_close(&server_end);
    mproc_listener_close(&listener);
    return rc == 0 ? 0 : 1;
}

static bool is_write(pid_t child)
{
    struct __ptrace_syscall_info info;
    memset(&info, 0, sizeof info);
    if (ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof info, &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return false;
    return info.entry.nr == SYS_sendto || info.entry.nr == SYS_sendmsg || info.entry.nr == SYS_write ||
           info.entry.nr == SYS_writev;
}

/* The system calls by which a message of this size leaves. */
static int writes_of(size_t size)
{
    int count = 0, status = 0;
    pid_t child = support_fork(sends_one, &size);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    ck_assert_int_eq(
        ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)), 0);
    for (;;) {
        ck_assert_int_eq(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSTOPPED(status));
        if (WSTOPSIG(status) == SIGSTOP)
            break;
        count += is_write(child);
    }
    ck_assert_int_eq(ptrace(PTRACE_DETACH, child, NULL, NULL), 0);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    return count;
}

/* shows: CONN-24 */
START_TEST(small_messages_leave_in_one_write)
{
    static const struct {
        size_t size;
        int writes;
    } cases[] = {{0, 1}, {1, 1}, {64, 1}, {4096, 1}, {32768, 1}, {32769, 2}, {65536, 2}};
    if (!family_use(_i))
        return;
    listen_with(NULL);
    ck_assert_int_eq(client_open(NULL), 0);
    ck_assert_int_eq(server_accept(), 0);
    for (size_t i = 0; i < MPROC__COUNT(cases); i++) {
        size_t got;
        ck_assert_int_eq(writes_of(cases[i].size), cases[i].writes);
        ck_assert_int_eq(mproc_connection_recv(server_end, bytes, sizeof bytes, SOON, &got), 0);
        ck_assert_uint_eq(got, cases[i].size);
    }
    close_all();
}
END_TEST

/* What can be wrong with a window in C: nothing goes on the wire. */
START_TEST(a_size_that_no_buffer_has_is_refused)
{
    if (!family_use(_i))
        return;
    listen_with(NULL);
    ck_assert_int_eq(client_open(NULL), 0);
    ck_assert_int_eq(server_accept(), 0);
    ck_assert_int_eq(mproc_connection_send(client_end, bytes, SIZE_MAX, SOON), -EMSGSIZE);
    ck_assert_int_eq(mproc_connection_send(client_end, bytes, (size_t)1 << 56, SOON), -EMSGSIZE);
    ck_assert_int_eq(mproc_connection_send(client_end, NULL, 1, SOON), -EINVAL);
    put(client_end, "nothing went before");
    expect(server_end, "nothing went before");
    close_all();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("connection_size");
    TCase *small = support_case(suite, "small");
    tcase_add_loop_test(small, small_messages_leave_in_one_write, 0, FAMILIES);
    tcase_add_loop_test(small, a_size_that_no_buffer_has_is_refused, 0, FAMILIES);
    TCase *large = support_case(suite, "large");
    tcase_set_timeout(large, 120);
    tcase_add_test(large, a_message_above_four_gibibytes_arrives_whole);
    return support_run(suite, argc, argv);
}
