/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments: created, attached, refused, reserved, given back. */
#include "platform/base.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "shm/segment_inside.h"
#include "support/support.h"

enum { BYTES = 100000 };

static mproc__segment *segment;

static void make(mproc__home home)
{
    ck_assert_int_eq(mproc__segment_create(home, MPROC_TYPE_QUEUE, "test", BYTES, 0, &segment), 0);
}

static int attach_copy(mproc__segment **ret_copy)
{
    int fd = fcntl(mproc__segment_fd(segment), F_DUPFD_CLOEXEC, 0);
    int code = mproc__segment_attach(fd, MPROC_TYPE_QUEUE, ret_copy);
    if (code < 0)
        close(fd);
    return code;
}

START_TEST(a_new_segment_is_zero_aligned_and_as_large_as_asked)
{
    make(_i == 0 ? MPROC__HOME_HOST : MPROC__HOME_THREAD);
    unsigned char *root = mproc__segment_root(segment);
    ck_assert_uint_eq((uintptr_t)root % MPROC__LINE, 0);
    ck_assert_uint_eq(mproc__segment_size(segment), BYTES);
    for (size_t i = 0; i < BYTES; i++)
        ck_assert_uint_eq(root[i], 0);
    memset(root, 1, BYTES);
    ck_assert_int_eq(mproc__segment_shared(segment), _i == 0);
    ck_assert_int_eq(mproc__segment_fd(segment) >= 0, _i == 0);
    ck_assert_int_eq(mproc__segment_check(segment), 0);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(an_attached_segment_shows_the_same_memory)
{
    mproc__segment *copy;
    make(MPROC__HOME_HOST);
    strcpy(mproc__segment_root(segment), "hello");
    ck_assert_int_eq(attach_copy(&copy), 0);
    ck_assert_str_eq(mproc__segment_root(copy), "hello");
    ck_assert_uint_eq(mproc__segment_size(copy), BYTES);
    mproc__segment_release(segment);
    ck_assert_str_eq(mproc__segment_root(copy), "hello");
    mproc__segment_release(copy);
}
END_TEST

static int reads_hello(void *unused)
{
    (void)unused;
    bool same = strcmp(mproc__segment_root(segment), "hello") == 0;
    int code = mproc__segment_check(segment);
    mproc__segment_release(segment);
    return same ? code : 1;
}

START_TEST(a_fork_child_uses_what_it_inherits_and_knows_what_is_not_its_own)
{
    make(_i == 0 ? MPROC__HOME_HOST : MPROC__HOME_THREAD);
    strcpy(mproc__segment_root(segment), "hello");
    ck_assert_int_eq(support_reap(support_fork(reads_hello, NULL), 5000), _i == 0 ? 0 : (-ECHILD & 255));
    mproc__segment_release(segment);
}
END_TEST

/* shows: MEM-1 */
START_TEST(nobody_can_shrink_or_grow_a_segment)
{
    make(MPROC__HOME_HOST);
    ck_assert_int_lt(ftruncate(mproc__segment_fd(segment), 4096), 0);
    ck_assert_int_lt(ftruncate(mproc__segment_fd(segment), 1 << 24), 0);
    mproc__segment_release(segment);
}
END_TEST

/* shows: MEM-1 */
START_TEST(no_room_is_an_error_at_creation)
{
    mproc__segment *none = NULL;
    int code = mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "huge", (size_t)1 << 45, 0, &none);
    ck_assert(code == -ENOMEM || code == -ENOSPC);
    ck_assert_ptr_null(none);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "huge"));
    ck_assert_int_eq(mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "x", 0, 0, &none), -EINVAL);
    ck_assert_int_eq(mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "x", 10, 11, &none), -EINVAL);
    support_fail_allocation(1);
    code = mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "x", 10, 0, &none);
    support_fail_allocation(0);
    ck_assert_int_eq(code, -ENOMEM);
}
END_TEST

static size_t reserved_bytes(void)
{
    struct stat status;
    ck_assert_int_eq(fstat(mproc__segment_fd(segment), &status), 0);
    return (size_t)status.st_blocks * 512;
}

START_TEST(the_rest_is_reserved_later_and_given_back)
{
    size_t large = 1 << 22, part = 1 << 20;
    int code = mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "lazy", large, 4096, &segment);
    ck_assert_int_eq(code, 0);
    size_t before = reserved_bytes();
    ck_assert_uint_lt(before, 65536);
    ck_assert_int_eq(mproc__segment_reserve(segment, part, part), 0);
    ck_assert_uint_ge(reserved_bytes(), before + part);
    memset((char *)mproc__segment_root(segment) + part, 7, part);
    ck_assert_int_eq(mproc__segment_free_range(segment, part, part), 0);
    ck_assert_uint_le(reserved_bytes(), before + 16384);
    ck_assert_int_eq(((char *)mproc__segment_root(segment))[part + 100], 0);
    ck_assert_int_eq(mproc__segment_reserve(segment, large, 1), -EINVAL);
    ck_assert_int_eq(mproc__segment_reserve(segment, 1, SIZE_MAX), -EINVAL);
    ck_assert_int_eq(mproc__segment_free_range(segment, large + 1, 0), -EINVAL);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(private_memory_given_back_reads_as_zeros_and_its_neighbours_stay)
{
    make(MPROC__HOME_THREAD);
    unsigned char *root = mproc__segment_root(segment);
    memset(root, 7, BYTES);
    ck_assert_int_eq(mproc__segment_reserve(segment, 0, BYTES), 0);
    ck_assert_int_eq(mproc__segment_free_range(segment, 1000, 50000), 0);
    ck_assert_int_eq(mproc__segment_free_range(segment, 60000, 10), 0);
    for (size_t i = 0; i < BYTES; i++)
        ck_assert_uint_eq(root[i], (i >= 1000 && i < 51000) || (i >= 60000 && i < 60010) ? 0 : 7);
    mproc__segment_release(segment);
}
END_TEST

/* As after close_range(3, ~0), when the program then opens a file of its own. */
START_TEST(a_file_that_has_the_number_of_the_segments_by_now_is_left_alone)
{
    enum { LARGE = 1 << 20, PART = 1 << 18 };
    static char theirs[LARGE], read_back[LARGE];
    ck_assert_int_eq(mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "t", LARGE, 0, &segment), 0);
    int number = mproc__segment_fd(segment), file = mproc__memfd_create("theirs", LARGE);
    memset(theirs, 7, LARGE);
    ck_assert_int_eq(pwrite(file, theirs, LARGE, 0), LARGE);
    int memory = dup(number);
    ck_assert_int_eq(dup2(file, number), number);
    char *root = mproc__segment_root(segment);
    memset(root, 9, LARGE);
    ck_assert_int_eq(mproc__segment_free_range(segment, PART, PART), 0);
    ck_assert_int_eq(pread(file, read_back, LARGE, 0), LARGE);
    ck_assert_mem_eq(read_back, theirs, LARGE);
    ck_assert(root[PART - 1] == 9 && root[PART] == 0 && root[2 * PART - 1] == 0 && root[2 * PART] == 9);
    struct stat status;
    ck_assert_int_eq(fstat(memory, &status), 0);
    ck_assert_int_le(status.st_blocks * 512, LARGE - PART + 32768); /* it went back to the system */
    mproc__segment_release(segment);
    ck_assert_int_ge(fcntl(number, F_GETFD), 0);
    close(number);
    close(file);
    close(memory);
}
END_TEST

/* Attaching must fail with this code and leave the descriptor open; it is closed here. */
static void refuses(int fd, int wanted)
{
    mproc__segment *none = NULL;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mproc__segment_attach(fd, MPROC_TYPE_QUEUE, &none), wanted);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(close(fd), 0);
}

static int file_of(const void *data, size_t size_bytes, bool sealed)
{
    int fd = memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (write(fd, data, size_bytes) != (ssize_t)size_bytes)
        ck_abort_msg("cannot write a memfd");
    if (sealed)
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    return fd;
}

/* shows: MEM-2 */
START_TEST(foreign_descriptors_are_refused_at_attach)
{
    static unsigned char noise[BYTES];
    int sockets[2];
    mproc__segment *none;
    memset(noise, 0x5a, sizeof(noise));
    ck_assert_int_eq(mproc__segment_attach(-1, MPROC_TYPE_QUEUE, &none), -EBADF);
    refuses(open("/dev/null", O_RDWR | O_CLOEXEC), MPROC_ECORRUPT);
    refuses(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), MPROC_ECORRUPT);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    refuses(sockets[0], MPROC_ECORRUPT);
    refuses(sockets[1], MPROC_ECORRUPT);
    refuses(file_of("", 0, true), MPROC_ECORRUPT);
    refuses(file_of(noise, 64, true), MPROC_ECORRUPT);
    refuses(file_of(noise, sizeof(noise), false), MPROC_ECORRUPT);
    refuses(file_of(noise, sizeof(noise), true), MPROC_ECORRUPT);
}
END_TEST

static size_t image_bytes;

static unsigned char *image_of_segment(void)
{
    struct stat status;
    make(MPROC__HOME_HOST);
    ck_assert_int_eq(fstat(mproc__segment_fd(segment), &status), 0);
    image_bytes = (size_t)status.st_size;
    unsigned char *image = malloc(image_bytes);
    memcpy(image, segment->shared, image_bytes);
    mproc__segment_release(segment);
    return image;
}

/* shows: MEM-2 */
START_TEST(a_damaged_header_is_found_at_attach)
{
    unsigned char *image = image_of_segment();
    mproc__header_shared *header = (mproc__header_shared *)(void *)image, good = *header;
    mproc__segment *copy;
    int fd = file_of(image, image_bytes, true);
    ck_assert_int_eq(mproc__segment_attach(fd, MPROC_TYPE_QUEUE, &copy), 0);
    mproc__segment_release(copy);
    refuses(file_of(image, image_bytes - 4096, true), MPROC_ECORRUPT);
    struct {
        size_t offset;
        int code;
    } cases[] = {
        {offsetof(mproc__header_shared, magic), MPROC_ECORRUPT},
        {offsetof(mproc__header_shared, version), MPROC_ECORRUPT},
        {offsetof(mproc__header_shared, size_bytes) + 6, MPROC_ECORRUPT},
        {offsetof(mproc__header_shared, root_offset), MPROC_ECORRUPT},
        {offsetof(mproc__header_shared, row_count), MPROC_ECORRUPT},
        {offsetof(mproc__header_shared, kind), -EINVAL},
        {offsetof(mproc__header_shared, pid_namespace), MPROC_ENAMESPACE},
        {offsetof(mproc__header_shared, time_namespace), MPROC_ENAMESPACE},
    };
    for (size_t i = 0; i < MPROC__COUNT(cases); i++) {
        *header = good;
        image[cases[i].offset] ^= 1;
        refuses(file_of(image, image_bytes, true), cases[i].code);
    }
    free(image);
}
END_TEST

static int attach_status(void *unused)
{
    (void)unused;
    mproc__segment *copy;
    int code = attach_copy(&copy);
    return code == MPROC_ENAMESPACE ? 0 : 1;
}

static int attach_in_new_namespace(void *unused)
{
    (void)unused;
    if (unshare(CLONE_NEWPID) != 0)
        return 77;
    return support_reap(support_fork(attach_status, NULL), 5000);
}

START_TEST(attaching_across_pid_namespaces_is_refused)
{
    make(MPROC__HOME_HOST);
    int status = support_reap(support_fork(attach_in_new_namespace, NULL), 10000);
    if (status == 77)
        fprintf(stderr, "skipped: this user may not make a pid namespace\n");
    else
        ck_assert_int_eq(status, 0);
    mproc__segment_release(segment);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("segment");
    TCase *use = support_case(suite, "use");
    tcase_add_loop_test(use, a_new_segment_is_zero_aligned_and_as_large_as_asked, 0, 2);
    tcase_add_test(use, an_attached_segment_shows_the_same_memory);
    tcase_add_loop_test(use, a_fork_child_uses_what_it_inherits_and_knows_what_is_not_its_own, 0, 2);
    tcase_add_test(use, nobody_can_shrink_or_grow_a_segment);
    tcase_add_test(use, no_room_is_an_error_at_creation);
    tcase_add_test(use, the_rest_is_reserved_later_and_given_back);
    tcase_add_test(use, private_memory_given_back_reads_as_zeros_and_its_neighbours_stay);
    tcase_add_test(use, a_file_that_has_the_number_of_the_segments_by_now_is_left_alone);
    TCase *foreign = support_case(suite, "foreign");
    tcase_add_test(foreign, foreign_descriptors_are_refused_at_attach);
    tcase_add_test(foreign, a_damaged_header_is_found_at_attach);
    tcase_add_test(foreign, attaching_across_pid_namespaces_is_refused);
    return support_run(suite, argc, argv);
}
