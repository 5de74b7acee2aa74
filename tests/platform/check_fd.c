/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptors: whole reads and writes, passing, closing, private directories. */
#include "platform/base.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/platform.h"
#include "support/support.h"

enum { BIG_BYTES = 1 << 20 }; /* more than any pipe or socket buffer takes at once */

static int ends[2]; /* read, write */
static bool use_pipe;

static void open_ends(void)
{
    ck_assert_int_eq(
        use_pipe ? pipe2(ends, O_CLOEXEC) : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

static void close_ends(void)
{
    close(ends[0]);
    close(ends[1]);
}

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 7 + (i >> 8));
}

static int write_big(void *context)
{
    unsigned char *data = malloc(BIG_BYTES);

    (void)context;
    for (size_t i = 0; i < BIG_BYTES; i++)
        data[i] = pattern(i);
    int code = mproc__fd_write_all(ends[1], data, BIG_BYTES, mproc_after_ms(10000));
    free(data);
    return code == 0 ? 0 : 1;
}

START_TEST(a_megabyte_arrives_whole)
{
    unsigned char *data = malloc(BIG_BYTES);
    pid_t child;
    size_t wrong = 0;

    use_pipe = _i == 1;
    open_ends();
    child = support_fork(write_big, NULL);
    ck_assert_int_eq(mproc__fd_read_all(ends[0], data, BIG_BYTES, mproc_after_ms(10000)), 0);
    for (size_t i = 0; i < BIG_BYTES; i++)
        wrong += data[i] != pattern(i);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    free(data);
    close_ends();
}
END_TEST

START_TEST(a_read_has_a_deadline_and_an_end)
{
    char byte;

    use_pipe = _i == 1;
    open_ends();
    ck_assert_int_eq(mproc__fd_read_all(ends[0], &byte, 1, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc__fd_read_all(ends[0], &byte, 1, mproc_after_ms(10)), -ETIMEDOUT);
    ck_assert_int_eq(mproc__fd_write_all(ends[1], "a", 1, MPROC_NOW), 0);
    ck_assert_int_eq(mproc__fd_read_all(ends[0], &byte, 1, MPROC_NOW), 0);
    ck_assert_int_eq(byte, 'a');
    close(ends[1]);
    ck_assert_int_eq(mproc__fd_read_all(ends[0], &byte, 1, MPROC_FOREVER), MPROC_EEND);
    close(ends[0]);
}
END_TEST

START_TEST(a_write_to_nobody_is_an_error_and_no_signal)
{
    sigset_t pending;

    use_pipe = _i == 1;
    open_ends();
    close(ends[0]);
    ck_assert_int_eq(mproc__fd_write_all(ends[1], "a", 1, MPROC_FOREVER), -EPIPE);
    sigpending(&pending);
    ck_assert(!sigismember(&pending, SIGPIPE));
    close(ends[1]);
}
END_TEST

START_TEST(a_write_that_finds_no_room_times_out)
{
    char *data = calloc(1, BIG_BYTES);

    use_pipe = _i == 1;
    open_ends();
    ck_assert_int_eq(mproc__fd_write_all(ends[1], data, BIG_BYTES, mproc_after_ms(20)), -ETIMEDOUT);
    free(data);
    close_ends();
}
END_TEST

START_TEST(descriptors_travel_and_close_on_exec)
{
    int passed[2], got[4] = {-1, -1, -1, -1};
    char text[8] = "";
    size_t count = 9;

    use_pipe = false;
    open_ends();
    ck_assert_int_eq(pipe2(passed, O_CLOEXEC), 0);
    ck_assert_int_eq(mproc__fd_send(ends[1], "hi", 3, passed, 2, MPROC_FOREVER), 0);
    ck_assert_int_eq(mproc__fd_recv(ends[0], text, sizeof(text), got, 4, &count, MPROC_FOREVER), 3);
    ck_assert_str_eq(text, "hi");
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(fcntl(got[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(write(got[1], "x", 1), 1);
    ck_assert_int_eq(read(passed[0], text, 1), 1);
    ck_assert_int_eq(mproc__fd_recv(ends[0], text, sizeof(text), got, 4, &count, MPROC_NOW), -ETIMEDOUT);
    for (int i = 0; i < 2; i++) {
        close(passed[i]);
        close(got[i]);
    }
    close(ends[1]);
    ck_assert_int_eq(mproc__fd_recv(ends[0], text, sizeof(text), got, 4, &count, MPROC_FOREVER), 0);
    close(ends[0]);
}
END_TEST

/* In a process of its own, without standard input: what it receives must not be taken for that. */
static int receive_without_stdin(void *context)
{
    int fd = 1, got = -1;
    char byte;
    size_t count = 0;

    (void)context;
    if (mproc__fd_send(ends[1], "x", 1, &fd, 1, MPROC_FOREVER) != 0)
        return 1;
    close(0);
    if (mproc__fd_recv(ends[0], &byte, 1, &got, 1, &count, MPROC_FOREVER) != 1 || count != 1)
        return 2;
    return got > 2 && fcntl(0, F_GETFD) < 0 ? 0 : 3;
}

START_TEST(received_descriptors_stay_off_the_standard_numbers)
{
    use_pipe = false;
    open_ends();
    ck_assert_int_eq(support_reap(support_fork(receive_without_stdin, NULL), 5000), 0);
    close_ends();
}
END_TEST

/* The fixture counts descriptors: what was refused must have been closed. */
START_TEST(more_descriptors_than_asked_for_are_refused_and_closed)
{
    int three[3] = {0, 1, 2}, got[2];
    char byte;
    size_t count = 9;

    use_pipe = false;
    open_ends();
    ck_assert_int_eq(mproc__fd_send(ends[1], "x", 1, three, 3, MPROC_FOREVER), 0);
    ck_assert_int_eq(mproc__fd_recv(ends[0], &byte, 1, got, 2, &count, MPROC_FOREVER), -EMSGSIZE);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(mproc__fd_send(ends[1], "", 0, three, 3, MPROC_FOREVER), -EINVAL);
    ck_assert_int_eq(mproc__fd_send(ends[1], "x", 1, three, 73, MPROC_FOREVER), -EINVAL);
    close_ends();
}
END_TEST

static int close_others(void *context)
{
    int keep[] = {20, 22, 40};

    (void)context;
    for (int fd = 10; fd < 30; fd++)
        dup2(0, fd);
    dup2(0, 40);
    mproc__fd_close_others(10, keep, 3);
    for (int fd = 10; fd < 64; fd++) {
        bool kept = fd == 20 || fd == 22 || fd == 40;
        if ((fcntl(fd, F_GETFD) >= 0) != kept)
            return fd;
    }
    mproc__fd_close_others(3, NULL, 0);
    return fcntl(20, F_GETFD) < 0 && fcntl(2, F_GETFD) >= 0 ? 0 : 1;
}

/* shows: START-B */
START_TEST(all_others_are_closed_and_the_kept_are_not)
{
    ck_assert_int_eq(support_reap(support_fork(close_others, NULL), 5000), 0);
}
END_TEST

START_TEST(a_closed_descriptor_is_told)
{
    ck_assert_int_eq(mproc__fd_poll(999, POLLIN, MPROC_FOREVER), -EBADF);
    ck_assert_int_eq(mproc__fd_write_all(999, "x", 1, MPROC_FOREVER), -EBADF);
}
END_TEST

START_TEST(a_private_directory_is_new_and_ours_alone)
{
    char path[128], other[128], small[4];
    struct stat status;

    ck_assert_int_eq(mproc__private_directory(path, sizeof(path)), 0);
    ck_assert_int_eq(mproc__private_directory(other, sizeof(other)), 0);
    ck_assert_str_ne(path, other);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0700);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(rmdir(other), 0);
    ck_assert_int_eq(mproc__private_directory(small, sizeof(small)), -ENAMETOOLONG);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("fd");
    TCase *all = support_case(suite, "fd");

    /* 0: a socket pair, 1: a pipe */
    tcase_add_loop_test(all, a_megabyte_arrives_whole, 0, 2);
    tcase_add_loop_test(all, a_read_has_a_deadline_and_an_end, 0, 2);
    tcase_add_loop_test(all, a_write_to_nobody_is_an_error_and_no_signal, 0, 2);
    tcase_add_loop_test(all, a_write_that_finds_no_room_times_out, 0, 2);
    tcase_add_test(all, descriptors_travel_and_close_on_exec);
    tcase_add_test(all, received_descriptors_stay_off_the_standard_numbers);
    tcase_add_test(all, more_descriptors_than_asked_for_are_refused_and_closed);
    tcase_add_test(all, all_others_are_closed_and_the_kept_are_not);
    tcase_add_test(all, a_closed_descriptor_is_told);
    tcase_add_test(all, a_private_directory_is_new_and_ours_alone);
    return support_run(suite, argc, argv);
}
