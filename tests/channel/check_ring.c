/* SPDX-License-Identifier: BSD-2-Clause */
/* The ring's arithmetic, exhaustively on the smallest ring. */
#include "platform/base.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "channel/ring.h"
#include "support/support.h"

enum { KIND = MPROC__RECORD_LINK + 1 };
static _Alignas(8) uint8_t memory[MPROC__RING_BYTES_LEAST];
static const mproc__ring ring = {.bytes = memory,
                                 .size_bytes = sizeof memory,
                                 .full_bytes = sizeof memory,
                                 .max_items = MPROC__RING_ITEMS_MOST,
                                 .row = memory,
                                 .first_bytes = sizeof memory};

static uint64_t at(uint64_t bytes, uint32_t items)
{
    return mproc__position_advance(0, bytes, items);
}

static uint64_t in_ring(uint32_t k, uint64_t bytes, uint32_t items)
{
    return at(bytes, items) + ((uint64_t)k << 24);
}

static void fill(uint8_t *data, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++)
        data[i] = (uint8_t)(seed + i * 7);
}

/* One record from every offset, also where byte position and item count wrap round: what went in comes out. */
static void check_one(uint64_t start, size_t size_bytes, unsigned seed)
{
    uint8_t data[MPROC__RECORD_BYTES];
    fill(data, size_bytes, seed);
    uint64_t tail = 0;
    ck_assert_int_eq(mproc__ring_write(&ring, start, start, KIND, data, size_bytes, &tail), 0);
    ck_assert_uint_eq(mproc__ring_items(start, tail), 1);
    mproc__ring_view view;
    ck_assert_int_eq(mproc__ring_read(&ring, start, tail, &view), 0);
    ck_assert_uint_eq(view.size_bytes, size_bytes);
    ck_assert_uint_eq(view.kind, KIND);
    ck_assert_uint_eq(view.next, tail);
    ck_assert(memcmp(view.data, data, size_bytes) == 0);
    ck_assert_int_eq(mproc__ring_read(&ring, view.next, tail, &view), -EAGAIN);
}

START_TEST(a_record_of_any_size_at_any_offset_comes_out_whole)
{
    for (uint64_t offset = 0; offset < sizeof memory; offset += 8)
        for (size_t size = 0; size <= MPROC__RECORD_BYTES; size += size < 40 ? 1 : 61)
            check_one(at(offset, 5), size, (unsigned)offset);
    check_one(at(3072, 0), MPROC__RECORD_BYTES, 1);
}
END_TEST

START_TEST(positions_wrap_without_a_seam)
{
    uint64_t last = (UINT64_C(1) << 38) - 8;
    check_one(at(last, 0xffffff), 100, 1);
    check_one(at(last, 0xfffffe), 0, 2);
    ck_assert_uint_eq(mproc__ring_used_bytes(at(last, 0), mproc__position_advance(at(last, 0), 24, 1)), 24);
    ck_assert_uint_eq(mproc__ring_items(at(0, 0xffffff), mproc__position_advance(at(0, 0xffffff), 8, 2)), 2);
}
END_TEST

/* Random traffic against a model: the same items, in order, and refusal exactly when it does not fit. */
START_TEST(random_traffic_keeps_order_and_loses_nothing)
{
    uint64_t head = at((UINT64_C(1) << 38) - 4096, 0xfffff0), tail = head;
    unsigned put = 0, got = 0;
    uint8_t data[MPROC__RECORD_BYTES];
    srand(7);
    for (int i = 0; i < 200000; i++) {
        size_t size = put * 37u % 1025;
        fill(data, size, put);
        int rc = rand() % 2 ? mproc__ring_write(&ring, head, tail, KIND, data, size, &tail) : 1;
        ck_assert(rc >= 0 || rc == -EAGAIN);
        put += rc == 0;
        if (rc == 0)
            continue;
        mproc__ring_view view;
        if (mproc__ring_read(&ring, head, tail, &view) < 0) {
            ck_assert_uint_eq(put, got);
            continue;
        }
        fill(data, got * 37u % 1025, got);
        ck_assert_uint_eq(view.size_bytes, got * 37u % 1025);
        ck_assert(memcmp(view.data, data, view.size_bytes) == 0);
        head = view.next;
        got++;
        ck_assert_uint_eq(mproc__ring_items(head, tail), put - got);
    }
    ck_assert_uint_gt(got, 50000);
}
END_TEST

START_TEST(max_items_is_exact)
{
    for (uint32_t limit = 1; limit < 10; limit++) {
        mproc__ring bounded = mproc__ring_first(memory, sizeof memory, limit, false);
        uint64_t head = at(4000, 0xfffffe), tail = head;
        for (uint32_t i = 0; i < limit; i++)
            ck_assert_int_eq(mproc__ring_write(&bounded, head, tail, KIND, "x", 1, &tail), 0);
        ck_assert_int_eq(mproc__ring_write(&bounded, head, tail, KIND, "x", 1, &tail), -EAGAIN);
    }
}
END_TEST

/* max_items records of the largest size fit from every offset into the ring that ring_size gives. */
START_TEST(a_ring_made_for_n_items_holds_n_of_the_largest)
{
    for (uint32_t items = 1; items < 40; items++) {
        uint64_t size = mproc__ring_size(UINT64_C(1) << 30, items);
        mproc__ring made = mproc__ring_first(calloc(1, size), size, items, false);
        uint8_t data[MPROC__RECORD_BYTES] = {0};
        for (uint64_t offset = 0; offset < made.size_bytes; offset += 1000) {
            uint64_t head = at(offset & ~UINT64_C(7), 0), tail = head;
            for (uint32_t i = 0; i < items; i++)
                ck_assert_int_eq(mproc__ring_write(&made, head, tail, KIND, data, sizeof data, &tail), 0);
        }
        free(made.bytes);
    }
}
END_TEST

START_TEST(ring_size_is_a_power_of_two_within_limits)
{
    ck_assert_uint_eq(mproc__ring_size(0, 0), MPROC__RING_BYTES_LEAST);
    ck_assert_uint_eq(mproc__ring_size(5000, 0), 8192);
    ck_assert_uint_eq(mproc__ring_size(UINT64_C(1) << 20, 0), 1u << 20);
    ck_assert_uint_eq(mproc__ring_size(UINT64_MAX, 0), MPROC__RING_BYTES_MOST);
    ck_assert_uint_eq(mproc__ring_size(UINT64_C(1) << 20, 1), MPROC__RING_BYTES_LEAST);
}
END_TEST

/* shows: MEM-2 */
START_TEST(impossible_positions_are_corrupt)
{
    uint64_t tail;
    mproc__ring_view view;
    const uint64_t bad[][2] = {
        {at(0, 0), at(8, 0)},                 /* bytes without an item */
        {at(0, 0), at(0, 1)},                 /* an item without bytes */
        {at(0, 0), at(sizeof memory + 8, 1)}, /* more than the ring holds */
        {at(8, 0), at(0, 1)},                 /* tail behind head */
        {at(0, 0), at(16, 3)},                /* more items than headers fit */
        {at(0, 0), in_ring(1, 16, 1)},        /* in a ring that there is not */
        {in_ring(1, 0, 0), in_ring(1, 16, 1)},
    };
    for (size_t i = 0; i < MPROC__COUNT(bad); i++) {
        ck_assert_int_eq(mproc__ring_read(&ring, bad[i][0], bad[i][1], &view), MPROC_ECORRUPT);
        ck_assert_int_eq(mproc__ring_write(&ring, bad[i][0], bad[i][1], KIND, "x", 1, &tail), MPROC_ECORRUPT);
    }
}
END_TEST

/* Every single-byte damage of a header, plain or after padding: an answer, and never a view outside the ring. */
static void damage(uint64_t start, uint64_t tail, uint64_t offset)
{
    mproc__ring_view view;
    for (unsigned i = 0; i < MPROC__RECORD_HEADER_BYTES; i++) {
        uint8_t kept = memory[offset + i];
        for (unsigned value = 0; value < 256; value++) {
            memory[offset + i] = (uint8_t)value;
            int rc = mproc__ring_read(&ring, start, tail, &view);
            ck_assert(rc == 0 || rc == MPROC_ECORRUPT);
            if (rc == 0)
                ck_assert((const uint8_t *)view.data + view.size_bytes <= memory + sizeof memory);
            ck_assert(i < 6 || rc == (value == kept ? 0 : MPROC_ECORRUPT));
        }
        memory[offset + i] = kept;
    }
}

/* shows: MEM-2 */
START_TEST(a_damaged_header_is_corrupt_or_harmless)
{
    uint64_t start = at(sizeof memory - 64, 0), tail;
    uint8_t data[100] = {0};
    ck_assert_int_eq(mproc__ring_write(&ring, start, start, KIND, data, sizeof data, &tail), 0);
    damage(start, tail, sizeof memory - 64);
    damage(start, tail, 0);
    mproc__ring_view view;
    memset(memory, 0, sizeof memory);
    ck_assert_int_eq(mproc__ring_read(&ring, start, tail, &view), MPROC_ECORRUPT);
}
END_TEST

/* ---- a row of rings ---- */

enum { ROW_LAST = 3, ROW_BYTES = MPROC__RING_BYTES_LEAST * ((2 << ROW_LAST) - 1) };
static _Alignas(8) uint8_t row_memory[ROW_BYTES];

static mproc__ring row_make(void)
{
    mproc__ring made = {.row = row_memory,
                        .first_bytes = MPROC__RING_BYTES_LEAST,
                        .last = ROW_LAST,
                        .max_items = MPROC__RING_ITEMS_MOST};
    memset(row_memory, 0xee, sizeof row_memory);
    ck_assert(mproc__ring_move(&made, 0));
    return made;
}

/* As a producer does it. */
static int row_put(mproc__ring *made, uint64_t head, uint64_t *tail, const void *data, size_t size_bytes)
{
    int rc = mproc__ring_write(made, head, *tail, KIND, data, size_bytes, tail);
    if (rc != -EAGAIN || mproc__position_ring(*tail) == made->last)
        return rc;
    uint64_t linked = mproc__ring_link(made, *tail);
    return mproc__ring_write(made, head, linked, KIND, data, size_bytes, tail);
}

/* And a consumer. */
static int row_get(mproc__ring *made, uint64_t head, uint64_t tail, mproc__ring_view *ret_view)
{
    int rc = mproc__ring_read(made, head, tail, ret_view);
    return rc == MPROC_ECORRUPT ? mproc__ring_read_on(made, head, tail, ret_view) : rc;
}

START_TEST(a_row_begins_with_a_small_ring_and_ends_with_the_large_one)
{
    mproc__ring made = mproc__ring_first(NULL, MPROC__RING_WHOLE_BYTES, 7, true);
    ck_assert(made.last == 0 && made.size_bytes == MPROC__RING_WHOLE_BYTES &&
              made.full_bytes == made.size_bytes && made.max_items == 7);
    made = mproc__ring_first(NULL, MPROC__RING_BYTES_MOST, 7, true);
    ck_assert(made.last < MPROC__RINGS_MOST && made.size_bytes == MPROC__RING_FIRST_BYTES);
    ck_assert_uint_eq(made.size_bytes << made.last, MPROC__RING_BYTES_MOST);
    made = mproc__ring_first(NULL, MPROC__RING_BYTES_MOST, 7, false);
    ck_assert(made.last == 0 && made.size_bytes == MPROC__RING_BYTES_MOST);
}
END_TEST

START_TEST(rings_of_a_row_lie_one_behind_the_other)
{
    mproc__ring made = row_make();
    uint64_t end = 0;
    for (uint32_t k = 0; k <= ROW_LAST; k++) {
        ck_assert(mproc__ring_move(&made, in_ring(k, 8, 1)));
        ck_assert_uint_eq(mproc__ring_begin(&made, k), end);
        ck_assert_ptr_eq(made.bytes, row_memory + end);
        ck_assert_ptr_eq(mproc__ring_hint(&made, in_ring(k, 4096 + 16, 1)),
                         mproc__ring_at(&made, in_ring(k, 4096 + 16, 1)));
        ck_assert_uint_eq(made.full_bytes, made.size_bytes - (k < ROW_LAST ? 8 : 0));
        end += made.size_bytes;
    }
    ck_assert_uint_eq(end, sizeof row_memory);
    ck_assert(!mproc__ring_move(&made, in_ring(ROW_LAST + 1, 8, 1)));
}
END_TEST

/* A ring across two pages, what `number` says in the one behind: the first store to the front page stops here. */
static mproc__ring *torn;
static volatile uint64_t torn_number;

static void torn_store(int signal_number)
{
    (void)signal_number;
    torn_number = torn->number;
    if (mprotect((void *)((uintptr_t)torn & ~(uintptr_t)4095), 4096, PROT_READ | PROT_WRITE) < 0)
        _exit(100);
}

/* Another thread's fork copies a ring as it is between any two stores. */
START_TEST(a_half_moved_ring_has_no_rings_number)
{
    uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(pages, MAP_FAILED);
    torn = (mproc__ring *)(void *)(pages + 4096 - offsetof(mproc__ring, number));
    *torn = row_make();
    torn_number = 0;
    ck_assert(signal(SIGSEGV, torn_store) != SIG_ERR);
    ck_assert_int_eq(mprotect(pages, 4096, PROT_READ), 0);
    ck_assert(mproc__ring_move(torn, in_ring(1, 8, 1)));
    signal(SIGSEGV, SIG_DFL);
    ck_assert_uint_eq(torn_number, MPROC__RING_NUMBER);
    ck_assert_uint_eq(torn->number, UINT64_C(1) << MPROC__RING_SHIFT);
    ck_assert_ptr_eq(torn->bytes, row_memory + mproc__ring_begin(torn, 1));
    munmap(pages, 8192);
}
END_TEST

/* And what is copied so is taken for damage, and moved to where it must be. */
START_TEST(a_half_moved_ring_heals_at_its_first_use)
{
    mproc__ring made = row_make();
    mproc__ring_view view;
    uint64_t head = at(16, 0), tail = head;
    ck_assert_int_eq(row_put(&made, head, &tail, "seven", 5), 0);
    made.number = MPROC__RING_NUMBER;
    made.bytes = NULL;
    uint64_t next = 0;
    ck_assert_int_eq(mproc__ring_write(&made, head, tail, KIND, "x", 1, &next), MPROC_ECORRUPT);
    ck_assert_int_eq(row_get(&made, head, tail, &view), 0);
    ck_assert(view.size_bytes == 5 && memcmp(view.data, "seven", 5) == 0);
}
END_TEST

/* Filled from every offset, of every size: it goes through all rings, holds what the last one does, and gives it back. */
START_TEST(a_full_row_holds_what_its_last_ring_does)
{
    uint8_t data[MPROC__RECORD_BYTES], *expected = data;
    for (uint64_t offset = (UINT64_C(1) << 38) - 5000; offset < (UINT64_C(1) << 38) + 5000; offset += 488) {
        size_t size = offset % 1025;
        mproc__ring made = row_make(), other = made;
        uint64_t head = at(offset & ~UINT64_C(7), 0xfffff0), tail = head, used;
        unsigned put = 0, got = 0;
        for (int rc = 0; rc == 0; put += rc == 0) {
            fill(data, size, put);
            rc = row_put(&made, head, &tail, data, size);
            ck_assert(rc == 0 || rc == -EAGAIN);
        }
        ck_assert_uint_eq(mproc__position_ring(tail), ROW_LAST);
        used = mproc__ring_used_bytes(head, tail);
        ck_assert_uint_le(used, made.size_bytes);
        ck_assert_uint_gt(used + 2 * mproc__record_bytes(size), made.size_bytes);
        for (mproc__ring_view view; row_get(&other, head, tail, &view) == 0; head = view.next, got++) {
            fill(expected, size, got);
            ck_assert_uint_eq(view.size_bytes, size);
            ck_assert(memcmp(view.data, expected, size) == 0);
        }
        ck_assert_uint_eq(got, put);
        ck_assert_uint_eq(head, tail);
    }
}
END_TEST

START_TEST(random_traffic_through_a_row_keeps_order_and_loses_nothing)
{
    uint8_t data[MPROC__RECORD_BYTES];
    for (unsigned seed = 1; seed <= 40; seed++) {
        mproc__ring made = row_make(), other = made;
        uint64_t head = at((UINT64_C(1) << 38) - seed * 4096, 0xfffff0), tail = head;
        unsigned put = 0, got = 0;
        srand(seed);
        for (int i = 0; i < 4000; i++) {
            size_t size = put * 37u % 1025;
            fill(data, size, put);
            /* Slowly fuller, then emptier. */
            if (rand() % 100 < (i < 2000 ? 55 : 40)) {
                int rc = row_put(&made, head, &tail, data, size);
                ck_assert(rc == 0 || rc == -EAGAIN);
                put += rc == 0;
                continue;
            }
            mproc__ring_view view;
            int rc = row_get(&other, head, tail, &view);
            ck_assert_int_eq(rc, put == got ? -EAGAIN : 0);
            if (rc < 0)
                continue;
            fill(data, got * 37u % 1025, got);
            ck_assert_uint_eq(view.size_bytes, got * 37u % 1025);
            ck_assert(memcmp(view.data, data, view.size_bytes) == 0);
            head = view.next;
            got++;
            ck_assert_uint_eq(mproc__ring_items(head, tail), put - got);
        }
        ck_assert_uint_gt(mproc__position_ring(tail), 0);
    }
}
END_TEST

/* shows: MEM-2 */
START_TEST(a_damaged_link_is_corrupt_and_leads_nowhere)
{
    mproc__ring made = row_make();
    uint64_t head = at(0, 0), tail = head, linked = 0, behind = 0;
    uint8_t data[MPROC__RECORD_BYTES] = {0};
    mproc__ring_view view;
    while (mproc__position_ring(tail) == 0) {
        linked = tail;
        ck_assert_int_eq(row_put(&made, head, &tail, data, sizeof data), 0);
    }
    behind = tail;
    uint8_t *link = row_memory + (mproc__position_bytes(linked) & (MPROC__RING_BYTES_LEAST - 1));
    ck_assert_int_eq(row_get(&made, linked, tail, &view), 0);
    ck_assert_uint_eq(view.next, tail);
    for (unsigned i = 0; i < MPROC__RECORD_HEADER_BYTES; i++) {
        uint8_t kept = link[i];
        for (unsigned value = 0; value < 256; value++) {
            link[i] = (uint8_t)value;
            int rc = row_get(&made, linked, tail, &view);
            /* Another kind is an empty record, of what the queue does not know or takes for one. */
            ck_assert(rc == (value == kept ? 0 : MPROC_ECORRUPT) ||
                      (rc == 0 && i >= 4 && i < 6 && view.data == link + MPROC__RECORD_HEADER_BYTES));
        }
        link[i] = kept;
    }
    ck_assert_int_eq(row_get(&made, in_ring(1, 0, 0), at(16, 1), &view), MPROC_ECORRUPT); /* tail behind */
    /* A link in the tail's own ring, or with nothing behind it. */
    ck_assert_int_eq(row_get(&made, linked, at(mproc__position_bytes(behind), 4), &view), MPROC_ECORRUPT);
    ck_assert_int_eq(row_get(&made, linked, in_ring(1, mproc__position_bytes(linked) + 8, 4), &view),
                     MPROC_ECORRUPT);
    ck_assert_int_eq(row_get(&made, linked, in_ring(ROW_LAST + 1, mproc__position_bytes(behind), 4), &view),
                     MPROC_ECORRUPT);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("ring");
    TCase *arithmetic = support_case(suite, "arithmetic");
    tcase_add_test(arithmetic, a_record_of_any_size_at_any_offset_comes_out_whole);
    tcase_add_test(arithmetic, positions_wrap_without_a_seam);
    tcase_add_test(arithmetic, random_traffic_keeps_order_and_loses_nothing);
    tcase_add_test(arithmetic, max_items_is_exact);
    tcase_add_test(arithmetic, a_ring_made_for_n_items_holds_n_of_the_largest);
    tcase_add_test(arithmetic, ring_size_is_a_power_of_two_within_limits);
    tcase_add_test(arithmetic, impossible_positions_are_corrupt);
    tcase_add_test(arithmetic, a_damaged_header_is_corrupt_or_harmless);
    TCase *row = support_case(suite, "row");
    tcase_add_test(row, a_row_begins_with_a_small_ring_and_ends_with_the_large_one);
    tcase_add_test(row, rings_of_a_row_lie_one_behind_the_other);
    tcase_add_test(row, a_half_moved_ring_has_no_rings_number);
    tcase_add_test(row, a_half_moved_ring_heals_at_its_first_use);
    tcase_add_test(row, a_full_row_holds_what_its_last_ring_does);
    tcase_add_test(row, random_traffic_through_a_row_keeps_order_and_loses_nothing);
    tcase_add_test(row, a_damaged_link_is_corrupt_and_leads_nowhere);
    return support_run(suite, argc, argv);
}
