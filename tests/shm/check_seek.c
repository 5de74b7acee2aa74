/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding segments from outside: by descriptors, by mappings, by files. Others' segments are there as well, and left alone. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/seek.h"
#include "support/support.h"

enum { SIZE_BYTES = 8192 };

typedef struct piece {
    int fd;
    struct stat status;
    char name[64];
} piece;

static piece piece_make(void)
{
    piece p;
    snprintf(p.name, sizeof(p.name), "mproc:seek-%d", (int)getpid());
    p.fd = memfd_create(p.name, MFD_CLOEXEC);
    ck_assert_int_ge(p.fd, 0);
    ck_assert_int_eq(ftruncate(p.fd, SIZE_BYTES), 0);
    ck_assert_int_eq(fstat(p.fd, &p.status), 0);
    return p;
}

/* The first sight of a piece of memory; -1: it was not seen. */
static long first_of(const mproc__sights *sights, const struct stat *status)
{
    for (size_t i = 0; i < sights->count; i++)
        if (sights->items[i].device == status->st_dev && sights->items[i].inode == status->st_ino)
            return (long)i;
    return -1;
}

START_TEST(descriptors_and_mappings_of_one_piece_are_beside_each_other)
{
    mproc__sights sights;
    piece p = piece_make();
    int second = dup(p.fd);
    void *mapping = mmap(NULL, SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0);
    ck_assert_int_eq(mproc__seek(&sights), 0);
    long first = first_of(&sights, &p.status);
    ck_assert_int_ge(first, 0);
    ck_assert_uint_eq(mproc__sights_same(&sights, (size_t)first), 3);
    const mproc__sight *at = &sights.items[first];
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(at[i].kind, i < 2 ? MPROC__SIGHT_DESCRIPTOR : MPROC__SIGHT_MAPPING);
        ck_assert_int_eq(at[i].pid, getpid());
        ck_assert_ptr_nonnull(strstr(at[i].name, p.name));
    }
    ck_assert_uint_eq(at[0].start, (uint64_t)p.fd);
    ck_assert_uint_eq(at[2].start, (uintptr_t)mapping);
    ck_assert_uint_eq(at[2].end, (uintptr_t)mapping + SIZE_BYTES);
    mproc__sights_free(&sights);
    ck_assert_uint_eq(sights.count, 0);
    munmap(mapping, SIZE_BYTES);
    close(second);
    close(p.fd);
}
END_TEST

/* Only the child has it, and only mapped. */
static int map_and_stay(void *context)
{
    piece *p = context;
    if (mmap(NULL, SIZE_BYTES, PROT_READ, MAP_SHARED, p->fd, 0) == MAP_FAILED)
        return 1;
    close(p->fd);
    for (;;)
        pause();
}

START_TEST(another_processs_mapping_is_found_and_opened_by_root)
{
    mproc__sights sights;
    piece p = piece_make();
    ck_assert_int_eq(pwrite(p.fd, "seek", 4, 0), 4);
    pid_t child = support_fork(map_and_stay, &p);
    ck_assert(support_until_asleep(child, 5000));
    close(p.fd);
    ck_assert_int_eq(mproc__seek(&sights), 0);
    long first = first_of(&sights, &p.status);
    ck_assert_int_ge(first, 0);
    ck_assert_uint_eq(mproc__sights_same(&sights, (size_t)first), 1);
    ck_assert_int_eq(sights.items[first].kind, MPROC__SIGHT_MAPPING);
    ck_assert_int_eq(sights.items[first].pid, child);
    int fd = mproc__sight_open(&sights.items[first]);
    if (fd >= 0) {
        char text[5] = "";
        ck_assert_int_eq(read(fd, text, 4), 4);
        ck_assert_str_eq(text, "seek");
        ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
        close(fd);
    } else {
        ck_assert(getuid() != 0 && (fd == -EPERM || fd == -EACCES));
    }
    mproc__sights_free(&sights);
    support_kill(child);
}
END_TEST

START_TEST(a_sight_of_what_is_another_file_by_now_is_stale)
{
    mproc__sights sights;
    piece p = piece_make();
    ck_assert_int_eq(mproc__seek(&sights), 0);
    long first = first_of(&sights, &p.status);
    ck_assert_int_ge(first, 0);
    int good = mproc__sight_open(&sights.items[first]);
    ck_assert_int_ge(good, 0);
    close(good);
    int other = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(dup3(other, p.fd, O_CLOEXEC), p.fd);
    ck_assert_int_eq(mproc__sight_open(&sights.items[first]), -ESTALE);
    close(p.fd);
    ck_assert_int_lt(mproc__sight_open(&sights.items[first]), 0);
    close(other);
    mproc__sights_free(&sights);
}
END_TEST

START_TEST(names_for_people_can_be_printed)
{
    mproc__sights sights;
    struct stat status;
    int fd = memfd_create("mproc:a\nb\033[2J", MFD_CLOEXEC);
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(mproc__seek(&sights), 0);
    long first = first_of(&sights, &status);
    ck_assert_int_ge(first, 0);
    ck_assert_ptr_null(strpbrk(sights.items[first].name, "\n\033"));
    mproc__sights_free(&sights);
    close(fd);
}
END_TEST

START_TEST(no_memory_is_an_error_and_leaks_nothing)
{
    piece p = piece_make();
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        mproc__sights sights;
        support_fail_allocation(n);
        int code = mproc__seek(&sights);
        failed = support_allocation_failed();
        support_fail_allocation(0);
        ck_assert(code == 0 || (failed && code == -ENOMEM));
        ck_assert_uint_lt(n, 5000);
        if (code == 0)
            mproc__sights_free(&sights);
    }
    close(p.fd);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("seek");
    TCase *seek = support_case(suite, "seek");
    tcase_add_test(seek, descriptors_and_mappings_of_one_piece_are_beside_each_other);
    tcase_add_test(seek, another_processs_mapping_is_found_and_opened_by_root);
    tcase_add_test(seek, a_sight_of_what_is_another_file_by_now_is_stale);
    tcase_add_test(seek, names_for_people_can_be_printed);
    tcase_add_test(seek, no_memory_is_an_error_and_leaks_nothing);
    return support_run(suite, argc, argv);
}
