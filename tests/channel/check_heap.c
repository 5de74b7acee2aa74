/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdlib.h>

#include "channel/heap.h"
#include "support/support.h"

enum { MOST = 700 };

static uint32_t random_state = 12345;

static uint32_t below(uint32_t limit)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

/* Of few ranks and orders, so that many are equal in one or both. */
static mproc__entry_shared some_entry(uint32_t block)
{
    return (mproc__entry_shared){.order = below(20), .rank = below(5) * 0x40000000u, .block = block};
}

static int by_key(const void *a, const void *b)
{
    return mproc__entry_before(a, b) ? -1 : mproc__entry_before(b, a);
}

/* Pops all; the keys are those of `sorted`, and no block comes twice. */
static void drain(mproc__entry_shared *entries, mproc__entry_shared *sorted, size_t count)
{
    bool seen[MOST] = {false};
    qsort(sorted, count, sizeof *sorted, by_key);
    for (size_t i = 0; i < count; i++) {
        ck_assert(entries[0].rank == sorted[i].rank && entries[0].order == sorted[i].order);
        ck_assert(!seen[entries[0].block]);
        seen[entries[0].block] = true;
        mproc__heap_pop(entries, count - i);
    }
}

START_TEST(entries_pushed_in_any_order_come_out_sorted)
{
    static mproc__entry_shared entries[MOST], sorted[MOST];
    for (size_t count = 0; count <= MOST; count = count < 20 ? count + 1 : count + 97) {
        for (size_t i = 0; i < count; i++) {
            sorted[i] = some_entry((uint32_t)i);
            mproc__heap_push(entries, i, sorted[i]);
        }
        drain(entries, sorted, count);
    }
}
END_TEST

START_TEST(a_heap_made_at_once_comes_out_sorted_too)
{
    static mproc__entry_shared entries[MOST], sorted[MOST];
    for (size_t count = 0; count <= MOST; count = count < 20 ? count + 1 : count + 97) {
        for (size_t i = 0; i < count; i++)
            entries[i] = sorted[i] = some_entry((uint32_t)i);
        mproc__heap_make(entries, count);
        drain(entries, sorted, count);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("heap");
    TCase *heap = support_case(suite, "heap");
    tcase_add_test(heap, entries_pushed_in_any_order_come_out_sorted);
    tcase_add_test(heap, a_heap_made_at_once_comes_out_sorted_too);
    return support_run(suite, argc, argv);
}
