/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments that nobody can shrink, room that is looked for before it is taken. */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/platform.h"
#include "support/support.h"

enum { SIZE_BYTES = 1 << 20 };

static uint64_t reserved_bytes(int fd)
{
    struct stat status;

    ck_assert_int_eq(fstat(fd, &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

/* shows: MEM-1 */
START_TEST(nobody_can_change_the_size_of_a_segment)
{
    int fd = mproc__memfd_create("check", SIZE_BYTES);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, SIZE_BYTES / 2), -1);
    ck_assert_int_eq(ftruncate(fd, SIZE_BYTES * 2), -1);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    close(fd);
}
END_TEST

START_TEST(reserved_memory_is_there_and_given_back_memory_is_zero)
{
    int fd = mproc__memfd_create("check", SIZE_BYTES);
    char *map = mmap(NULL, SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    ck_assert_ptr_ne(map, MAP_FAILED);
    ck_assert_uint_eq(reserved_bytes(fd), 0);
    ck_assert_int_eq(mproc__memory_reserve(fd, 65536, 65536), 0);
    ck_assert_uint_eq(reserved_bytes(fd), 65536);
    map[65536] = 'x';
    ck_assert_int_eq(mproc__memory_release(fd, 65536, 65536), 0);
    ck_assert_uint_eq(reserved_bytes(fd), 0);
    ck_assert_int_eq(map[65536], 0);
    ck_assert_int_eq(mproc__memory_release(fd, 0, 0), 0);
    munmap(map, SIZE_BYTES);
    close(fd);
}
END_TEST

START_TEST(a_large_reservation_is_made_in_steps)
{
    int fd = mproc__memfd_create("check", 40 << 20);

    ck_assert_int_eq(mproc__memory_reserve(fd, 4096, (40 << 20) - 4096), 0);
    ck_assert_uint_eq(reserved_bytes(fd), (40 << 20) - 4096);
    close(fd);
}
END_TEST

/* shows: MEM-1 */
START_TEST(more_memory_than_there_is_is_refused_before_it_is_taken)
{
    int fd = mproc__memfd_create("check", (size_t)1 << 46);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mproc__memory_room((size_t)1 << 46), -ENOMEM);
    ck_assert_int_eq(mproc__memory_room(SIZE_MAX), -ENOMEM);
    ck_assert_int_eq(mproc__memory_reserve(fd, 0, (size_t)1 << 46), -ENOMEM);
    ck_assert_uint_eq(reserved_bytes(fd), 0);
    ck_assert_int_eq(mproc__memory_room(4096), 0);
    close(fd);
}
END_TEST

/* ---- in a group with a limit ---- */

enum { GROUP_BYTES = 96 << 20, GROUP_FITS_BYTES = 8 << 20, NOT_ALLOWED = 77 };

static bool text_write(const char *directory, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    bool good = file && fputs(text, file) >= 0;
    return file && fclose(file) == 0 && good;
}

/* To reserve all of it would bring the OOM killer, not an error. */
static int fill_the_group(void *group)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", (int)getpid());
    if (!text_write(group, "cgroup.procs", number))
        return NOT_ALLOWED;
    int fd = mproc__memfd_create("check", (size_t)4 * GROUP_BYTES);
    if (fd < 0 || mproc__memory_room(GROUP_BYTES) != -ENOMEM || mproc__memory_room(GROUP_FITS_BYTES) != 0)
        return 1;
    if (mproc__memory_reserve(fd, 0, (size_t)4 * GROUP_BYTES) != -ENOMEM)
        return 2;
    size_t taken = 0;
    while (taken < 4 * (size_t)GROUP_BYTES && mproc__memory_reserve(fd, taken, GROUP_FITS_BYTES) == 0)
        taken += GROUP_FITS_BYTES;
    return taken >= GROUP_BYTES / 4 && taken < GROUP_BYTES ? 0 : 3;
}

static bool removed(void *group)
{
    return rmdir(group) == 0;
}

/* As root, where groups can be made; elsewhere there is nothing to see.
 * shows: MEM-1 */
START_TEST(a_group_that_is_nearly_full_refuses_and_nobody_is_killed)
{
    char group[128], bytes[16];
    bool version_1 = access("/sys/fs/cgroup/memory/cgroup.procs", F_OK) == 0;
    snprintf(group, sizeof(group), "/sys/fs/cgroup/%smproc-memory-%d", version_1 ? "memory/" : "",
             (int)getpid());
    snprintf(bytes, sizeof(bytes), "%d", GROUP_BYTES);
    if (mkdir(group, 0755) != 0)
        return;
    int status = NOT_ALLOWED;
    if (text_write(group, version_1 ? "memory.limit_in_bytes" : "memory.max", bytes))
        status = support_reap(support_fork(fill_the_group, group), 10000);
    ck_assert(support_until(removed, group, 5000));
    ck_assert_msg(status == 0 || status == NOT_ALLOWED, "status %d", status);
}
END_TEST

START_TEST(an_impossible_size_is_an_error)
{
    ck_assert_int_eq(mproc__memfd_create("check", SIZE_MAX), -EFBIG);
}
END_TEST

/* mincore tells of memory that is not mapped. */
static int looks_for_the_memory(void *at)
{
    unsigned char there;
    return mincore(at, 4096, &there) == -1 && errno == ENOMEM ? 0 : 1;
}

START_TEST(unforked_memory_is_zero_and_not_there_in_children)
{
    static const char zeros[8192];
    char *at = mproc__memory_unforked(sizeof(zeros));
    ck_assert_ptr_nonnull(at);
    ck_assert_mem_eq(at, zeros, sizeof(zeros));
    at[0] = 1;
    ck_assert_int_eq(support_reap(support_fork(looks_for_the_memory, at), 10000), 0);
    ck_assert_int_eq(at[0], 1);
    ck_assert_int_eq(munmap(at, sizeof(zeros)), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("memory");
    TCase *all = support_case(suite, "memory");

    tcase_add_test(all, nobody_can_change_the_size_of_a_segment);
    tcase_add_test(all, reserved_memory_is_there_and_given_back_memory_is_zero);
    tcase_add_test(all, a_large_reservation_is_made_in_steps);
    tcase_add_test(all, more_memory_than_there_is_is_refused_before_it_is_taken);
    tcase_add_test(all, a_group_that_is_nearly_full_refuses_and_nobody_is_killed);
    tcase_add_test(all, an_impossible_size_is_an_error);
    tcase_add_test(all, unforked_memory_is_zero_and_not_there_in_children);
    return support_run(suite, argc, argv);
}
