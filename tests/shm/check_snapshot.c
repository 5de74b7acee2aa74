/* SPDX-License-Identifier: BSD-2-Clause */
/* What a copy of a segment's beginning says of it, of its rows and of its waiters, garbage included. */
#include "platform/base.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/segment_inside.h"
#include "shm/snapshot.h"
#include "support/support.h"

enum { ROOT_BYTES = 100 };

static mproc__segment *segment;
static mproc__snapshot *snapshot;

static void make(void)
{
    ck_assert_int_eq(
        mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "snap", ROOT_BYTES, 0, &segment), 0);
    snapshot = malloc(sizeof(*snapshot));
    ck_assert_ptr_nonnull(snapshot);
}

static void end(void)
{
    free(snapshot);
    mproc__segment_release(segment);
}

static mproc__judgement look(void)
{
    return mproc__snapshot_read(mproc__segment_fd(segment), snapshot);
}

START_TEST(a_segment_is_copied_with_its_root)
{
    make();
    memset(mproc__segment_root(segment), 'r', ROOT_BYTES);
    ck_assert_int_eq(look(), MPROC__IS_SEGMENT);
    ck_assert_uint_eq(snapshot->root_bytes, ROOT_BYTES);
    ck_assert_int_eq(snapshot->root[ROOT_BYTES - 1], 'r');
    ck_assert_str_eq(snapshot->header.label, "snap");
    memset(mproc__segment_root(segment), 's', ROOT_BYTES);
    ck_assert_int_eq(snapshot->root[0], 'r'); /* a copy stays as it was */
    end();
}
END_TEST

START_TEST(what_is_no_segment_is_told_from_what_is_none_yet)
{
    make();
    mproc__header_shared *header = segment->shared, *whole = malloc(sizeof(*whole));
    memcpy(whole, header, sizeof(*whole));
    header->magic++;
    ck_assert_int_eq(look(), MPROC__IS_FOREIGN);
    memcpy(header, whole, sizeof(*whole));
    header->version++;
    ck_assert_int_eq(look(), MPROC__IS_OTHER);
    memcpy(header, whole, sizeof(*whole));
    header->time_namespace++;
    ck_assert_int_eq(look(), MPROC__IS_STRANGE);
    memcpy(header, whole, sizeof(*whole));
    header->size_bytes = UINT64_MAX;
    ck_assert_int_eq(look(), MPROC__IS_DAMAGED);
    memcpy(header, whole, sizeof(*whole));
    memset(header->label, 'x', sizeof(header->label));
    ck_assert_int_eq(look(), MPROC__IS_SEGMENT);
    ck_assert_uint_eq(strlen(snapshot->header.label), MPROC__LABEL_BYTES - 1);
    memset(header, 0, sizeof(*header));
    ck_assert_int_eq(look(), MPROC__IS_UNMADE);
    memcpy(header, whole, sizeof(*whole));
    free(whole);
    end();
}
END_TEST

START_TEST(a_file_that_is_cut_short_is_no_fault)
{
    make();
    int fd = memfd_create("mproc:short", MFD_CLOEXEC);
    ck_assert_int_eq(mproc__snapshot_read(fd, snapshot), MPROC__IS_UNMADE);
    ck_assert_int_eq(write(fd, segment->mapping, 100), 100);
    ck_assert_int_ne(mproc__snapshot_read(fd, snapshot), MPROC__IS_SEGMENT);
    ck_assert_uint_eq(snapshot->root_bytes, 0);
    close(fd);
    end();
}
END_TEST

static mproc__row_state state_of(uint64_t identity, uint32_t word)
{
    mproc__row_shared *row = &snapshot->header.rows[3];
    atomic_store(&row->identity, identity);
    atomic_store(mproc__robust_word(&row->life), word);
    return mproc__snapshot_row(snapshot, 3).state;
}

START_TEST(every_state_of_a_row_has_its_name)
{
    const uint64_t identity = (uint64_t)7 << 32 | 1234;
    make();
    ck_assert_int_eq(look(), MPROC__IS_SEGMENT);
    ck_assert_int_eq(state_of(0, 0), MPROC__ROW_FREE);
    ck_assert_int_eq(state_of(identity, 1234), MPROC__ROW_ALIVE);
    ck_assert_int_eq(mproc__snapshot_row(snapshot, 3).pid, 1234);
    ck_assert_int_eq(state_of(identity, FUTEX_OWNER_DIED), MPROC__ROW_DEAD);
    ck_assert_int_eq(state_of(identity | MPROC__IDENTITY_UNBURIED, 0), MPROC__ROW_DEAD);
    ck_assert_int_eq(state_of(identity | MPROC__IDENTITY_HANDED_BACK, 0), MPROC__ROW_HANDED_BACK);
    ck_assert_int_eq(state_of(identity, 0), MPROC__ROW_UNCLEAR);
    ck_assert_int_eq(state_of((uint64_t)7 << 32, 1234), MPROC__ROW_UNCLEAR);
    end();
}
END_TEST

START_TEST(a_real_row_is_seen_alive_with_its_start)
{
    uint64_t start, stack;
    make();
    int row = mproc__segment_join(segment);
    ck_assert_int_ge(row, 0);
    ck_assert_int_eq(mproc__process_times(getpid(), &start, &stack), 0);
    ck_assert_int_eq(look(), MPROC__IS_SEGMENT);
    mproc__row_seen seen = mproc__snapshot_row(snapshot, (unsigned)row);
    ck_assert_int_eq(seen.state, MPROC__ROW_ALIVE);
    ck_assert_int_eq(seen.pid, getpid());
    ck_assert_uint_eq(seen.start_ticks, start);
    end();
}
END_TEST

START_TEST(a_waiter_is_a_thread_and_a_kind_or_nobody)
{
    make();
    ck_assert_int_eq(look(), MPROC__IS_SEGMENT);
    mproc__waiter_shared *waiter = &snapshot->header.waiters[9];
    ck_assert_int_eq(mproc__snapshot_waiter(snapshot, 9).tid, 0);
    atomic_store(&waiter->word, (uint64_t)MPROC__WAIT_ROOM << 32 | 77);
    atomic_store(&waiter->since_ns, 5);
    mproc__waiter_seen seen = mproc__snapshot_waiter(snapshot, 9);
    ck_assert_int_eq(seen.tid, 77);
    ck_assert_int_eq(seen.kind, MPROC__WAIT_ROOM);
    ck_assert_int_eq(seen.since_ns, 5);
    const uint64_t garbage[] = {77, (uint64_t)(MPROC__WAIT_RESULT + 1) << 32 | 77,
                                (uint64_t)MPROC__WAIT_ROOM << 32 | UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < MPROC__COUNT(garbage); i++) {
        atomic_store(&waiter->word, garbage[i]);
        ck_assert_int_eq(mproc__snapshot_waiter(snapshot, 9).tid, 0);
    }
    end();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("snapshot");
    TCase *whole = support_case(suite, "whole");
    tcase_add_test(whole, a_segment_is_copied_with_its_root);
    tcase_add_test(whole, what_is_no_segment_is_told_from_what_is_none_yet);
    tcase_add_test(whole, a_file_that_is_cut_short_is_no_fault);
    TCase *people = support_case(suite, "people");
    tcase_add_test(people, every_state_of_a_row_has_its_name);
    tcase_add_test(people, a_real_row_is_seen_alive_with_its_start);
    tcase_add_test(people, a_waiter_is_a_thread_and_a_kind_or_nobody);
    return support_run(suite, argc, argv);
}
