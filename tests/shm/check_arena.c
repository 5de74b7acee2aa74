/* SPDX-License-Identifier: BSD-2-Clause */
/* The arena: blocks made, freed, merged by being freed, and kept whole through kills. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "shm/arena.h"
#include "shm/segment_inside.h"
#include "support/support.h"

enum { GRANULE = 256, GRANULES = 40 };

static mproc__segment *segment;
static mproc__arena view;
static const mproc__arena *const arena = &view;

static void make(int home)
{
    mproc__home homes[] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};
    size_t size = MPROC__LINE + mproc__arena_bytes(GRANULE, GRANULES);
    ck_assert_int_eq(mproc__segment_create(homes[home], MPROC_TYPE_QUEUE, "test", size, 0, &segment), 0);
    ck_assert_int_eq(mproc__arena_init(segment, MPROC__LINE, GRANULE, GRANULES), 0);
    ck_assert_int_eq(mproc__arena_open(segment, MPROC__LINE, &view), 0);
}

static uint32_t take(size_t granules)
{
    uint32_t block;
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, granules * GRANULE, MPROC_NOW, &block), 0);
    return block;
}

static bool count_block(const mproc__arena *unused, uint32_t block, mproc__block_state state, void *context)
{
    (void)unused;
    (void)block;
    *(unsigned *)context += state.granules;
    return true;
}

static unsigned granules_used(void)
{
    unsigned used = 0;
    mproc__arena_each(arena, count_block, &used);
    return used;
}

START_TEST(blocks_are_apart_and_inside_the_segment)
{
    make(_i);
    unsigned char *last = NULL;
    for (uint32_t block = 0; block < GRANULES; block += 2) {
        ck_assert_uint_eq(take(2), block);
        unsigned char *data = mproc__arena_data(arena, block);
        ck_assert_uint_eq((uintptr_t)data % MPROC__LINE, 0);
        ck_assert(!last || data == last + (size_t)2 * GRANULE);
        memset(data, 0xff, (size_t)2 * GRANULE);
        ck_assert_uint_eq(mproc__arena_block_bytes(arena, block), 2 * GRANULE);
        last = data;
    }
    unsigned char *end = (unsigned char *)mproc__segment_root(segment) + mproc__segment_size(segment);
    ck_assert_ptr_eq(last + (size_t)2 * GRANULE, end);
    ck_assert_uint_eq(granules_used(), GRANULES);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(a_full_arena_says_so_and_freed_neighbours_become_one)
{
    uint32_t blocks[GRANULES], one;
    make(_i);
    for (int i = 0; i < GRANULES; i++)
        blocks[i] = take(1);
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, 1, MPROC_NOW, &one), -ENOSPC);
    mproc__arena_free(arena, blocks[10]);
    mproc__arena_free(arena, blocks[12]);
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, 2 * GRANULE, MPROC_NOW, &one), -ENOSPC);
    mproc__arena_free(arena, blocks[11]);
    ck_assert_uint_eq(take(3), 10);
    for (int i = 0; i < GRANULES; i++)
        mproc__arena_free(arena, blocks[i]);
    ck_assert_uint_eq(granules_used(), 0);
    ck_assert_uint_eq(take(GRANULES), 0);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(sizes_are_checked_and_rounded_up)
{
    uint32_t block;
    make(0);
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, (size_t)GRANULES * GRANULE + 1, MPROC_NOW, &block),
                     -EMSGSIZE);
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, SIZE_MAX, MPROC_NOW, &block), -EMSGSIZE);
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, 0, MPROC_NOW, &block), 0);
    ck_assert_uint_eq(mproc__arena_block_bytes(arena, block), GRANULE);
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, GRANULE + 1, MPROC_NOW, &block), 0);
    ck_assert_uint_eq(mproc__arena_block_bytes(arena, block), 2 * GRANULE);
    ck_assert_int_eq(mproc__arena_init(segment, 0, GRANULE, GRANULES + 1), -EINVAL);
    ck_assert_int_eq(mproc__arena_init(segment, 1, GRANULE, 1), -EINVAL);
    ck_assert_int_eq(mproc__arena_init(segment, 0, 0, 1), -EINVAL);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(a_blocks_state_changes_only_from_what_it_was)
{
    mproc__block_state old, now, next;
    make(0);
    uint32_t block = take(3);
    ck_assert(mproc__arena_get(arena, block, &old));
    ck_assert_uint_eq(old.granules, 3);
    ck_assert_uint_eq(old.state, 0);
    ck_assert_uint_eq(old.number, 0);
    ck_assert_int_eq(old.owner, mproc__segment_join(segment));
    next = old;
    next.state = 65535;
    next.number = 255;
    next.owner = 119;
    ck_assert(mproc__arena_swap(arena, block, old, next));
    ck_assert(!mproc__arena_swap(arena, block, old, next));
    ck_assert(mproc__arena_get(arena, block, &now));
    ck_assert_uint_eq(now.granules, 3);
    ck_assert_uint_eq(now.state, 65535);
    ck_assert_uint_eq(now.number, 255);
    ck_assert_uint_eq(now.owner, 119);
    next.granules = 4;
    ck_assert(!mproc__arena_swap(arena, block, now, next));
    mproc__segment_release(segment);
}
END_TEST

/* shows: MEM-2 */
START_TEST(numbers_of_no_block_give_nothing)
{
    mproc__block_state state;
    make(0);
    uint32_t block = take(3);
    uint32_t wrong[] = {block + 1, block + 2, block + 3, GRANULES, GRANULES + 1, UINT32_MAX};
    for (size_t i = 0; i < MPROC__COUNT(wrong); i++) {
        ck_assert_ptr_null(mproc__arena_data(arena, wrong[i]));
        ck_assert_uint_eq(mproc__arena_block_bytes(arena, wrong[i]), 0);
        ck_assert(!mproc__arena_get(arena, wrong[i], &state));
        mproc__arena_free(arena, wrong[i]);
    }
    ck_assert_uint_eq(granules_used(), 3);
    mproc__segment_release(segment);
}
END_TEST

/* shows: MEM-2 */
START_TEST(a_damaged_table_leads_to_no_loop_and_nowhere_outside)
{
    make(0);
    unsigned char *start = (unsigned char *)arena->shared;
    unsigned char *data = start + (mproc__arena_bytes(GRANULE, GRANULES) - (size_t)GRANULE * GRANULES);
    unsigned char *words = data - sizeof(uint64_t) * GRANULES;
    srand(1);
    for (int round = 0; round < 200; round++) {
        for (unsigned char *byte = words; byte < data; byte++)
            *byte = (unsigned char)rand();
        uint32_t block = 0;
        (void)granules_used();
        int code =
            mproc__arena_alloc(segment, arena, (size_t)(rand() % GRANULES) * GRANULE, MPROC_FOREVER, &block);
        ck_assert(code == -ENOSPC || (code == 0 && block < GRANULES));
        for (block = 0; block < GRANULES; block++) {
            unsigned char *at = mproc__arena_data(arena, block);
            size_t size = mproc__arena_block_bytes(arena, block);
            ck_assert(!at || (at >= data && at + size <= data + (size_t)GRANULE * GRANULES));
        }
    }
    mproc__segment_release(segment);
}
END_TEST

/* ---- the heap of the reference ---- */

enum { HEAP_ROUNDS = 5000, HEAP_BLOCKS = 50, HEAP_GRANULE = 64, HEAP_GRANULES = 4096 };

typedef struct heap_block {
    uint32_t block;
    unsigned char mark;
} heap_block;

static void heap_make(int home)
{
    mproc__home homes[] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};
    size_t size = mproc__arena_bytes(HEAP_GRANULE, HEAP_GRANULES);
    ck_assert_int_eq(mproc__segment_create(homes[home], MPROC_TYPE_QUEUE, "heap", size, 0, &segment), 0);
    ck_assert_int_eq(mproc__arena_init(segment, 0, HEAP_GRANULE, HEAP_GRANULES), 0);
    ck_assert_int_eq(mproc__arena_open(segment, 0, &view), 0);
}

/* All of the block still says whose it is: nobody else was given a byte of it. */
static void heap_give_back(const heap_block *of)
{
    const unsigned char *data = mproc__arena_data(arena, of->block);
    size_t size = mproc__arena_block_bytes(arena, of->block), same = 0;
    while (data && same < size && data[same] == of->mark)
        same++;
    ck_assert_uint_eq(same, size);
    mproc__arena_free(arena, of->block);
}

/* Granules between the live blocks, which come in ascending order: none overlaps the one before. */
typedef struct heap_sum {
    uint32_t end;
    unsigned used, free, overlapping;
} heap_sum;

static bool heap_add(const mproc__arena *unused, uint32_t block, mproc__block_state state, void *context)
{
    heap_sum *sum = context;
    (void)unused;
    sum->overlapping += block < sum->end;
    sum->free += block - sum->end;
    sum->used += state.granules;
    sum->end = block + state.granules;
    return true;
}

static heap_sum heap_count(void)
{
    heap_sum sum = {0};
    mproc__arena_each(arena, heap_add, &sum);
    sum.free += HEAP_GRANULES - sum.end;
    return sum;
}

/* shows: HEAP-01 HEAP-02 */
START_TEST(blocks_of_a_busy_heap_never_overlap_and_free_and_used_are_all_of_it)
{
    heap_block live[HEAP_BLOCKS];
    unsigned count = 0, taken = 0, given_back = 0, used = 0;
    heap_make(_i);
    srand(7);
    for (unsigned round = 0; round < HEAP_ROUNDS; round++) {
        if (count == HEAP_BLOCKS || (count > 0 && rand() % 3 == 0)) {
            unsigned which = (unsigned)rand() % count;
            used -= (unsigned)(mproc__arena_block_bytes(arena, live[which].block) / HEAP_GRANULE);
            heap_give_back(&live[which]);
            live[which] = live[--count];
            given_back++;
        } else {
            size_t size = 1 + (size_t)rand() % 4000;
            heap_block *of = &live[count++];
            of->mark = (unsigned char)round;
            ck_assert(mproc__arena_alloc(segment, arena, size, MPROC_FOREVER, &of->block) == 0 &&
                      (uintptr_t)mproc__arena_data(arena, of->block) % _Alignof(max_align_t) == 0 &&
                      mproc__arena_block_bytes(arena, of->block) >= size);
            memset(mproc__arena_data(arena, of->block), of->mark, mproc__arena_block_bytes(arena, of->block));
            used += (unsigned)(mproc__arena_block_bytes(arena, of->block) / HEAP_GRANULE);
            taken++;
        }
        heap_sum sum = heap_count();
        ck_assert(sum.used == used && sum.used + sum.free == HEAP_GRANULES && sum.overlapping == 0);
    }
    while (count > 0) {
        heap_give_back(&live[--count]);
        given_back++;
    }
    ck_assert_uint_eq(taken, given_back);
    ck_assert_uint_eq(heap_count().free, HEAP_GRANULES);
    uint32_t all; /* merged into one again */
    size_t whole = (size_t)HEAP_GRANULE * HEAP_GRANULES;
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, whole, MPROC_NOW, &all), 0);
    mproc__segment_release(segment);
}
END_TEST

/* Blocks for the handler to free: 0 none, else 1 + the block. */
static volatile sig_atomic_t to_free, freed;

static void frees_a_block(int signal_number)
{
    (void)signal_number;
    if (!to_free)
        return;
    mproc__arena_free(arena, (uint32_t)to_free - 1);
    to_free = 0;
    freed++;
}

/* Freeing is one store and asks for no lock: neither in a handler that interrupted an allocation at any point, nor beside
 * one that holds the lock for good. */
/* shows: HEAP-03 */
START_TEST(a_free_inside_an_allocation_neither_waits_nor_is_lost)
{
    enum { FREES = 300 };
    struct itimerval often = {.it_interval = {0, 100}, .it_value = {0, 100}}, never = {0};
    heap_make(_i);
    mproc__robust_shared *lock = (void *)((unsigned char *)arena->shared + MPROC__LINE);
    signal(SIGALRM, frees_a_block);
    setitimer(ITIMER_REAL, &often, NULL);
    while (freed < FREES) {
        uint32_t block;
        if (mproc__arena_alloc(segment, arena, 100, MPROC_FOREVER, &block) != 0)
            break;
        if (to_free)
            mproc__arena_free(arena, block);
        else
            to_free = (sig_atomic_t)block + 1;
    }
    setitimer(ITIMER_REAL, &never, NULL);
    ck_assert_int_ge(freed, FREES);
    if (to_free)
        mproc__arena_free(arena, (uint32_t)to_free - 1);
    ck_assert_uint_eq(granules_used(), 0);
    uint32_t last;
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, 100, MPROC_NOW, &last), 0);
    ck_assert_int_eq(mproc__robust_acquire(lock, MPROC_NOW), 0);
    mproc__arena_free(arena, last);
    ck_assert_uint_eq(granules_used(), 0);
    ck_assert_int_eq(mproc__robust_release(lock), 0);
    mproc__segment_release(segment);
}
END_TEST

/* ---- kills ---- */

static void check_and_free(uint32_t block, unsigned char mark)
{
    unsigned char *data = mproc__arena_data(arena, block);
    size_t size = mproc__arena_block_bytes(arena, block);
    for (size_t i = 0; i < size; i++)
        if (data[i] != mark)
            _exit(9); /* somebody else wrote into it */
    mproc__arena_free(arena, block);
}

/* Takes and frees for ever; each block is filled with a mark of its owner and found so again. */
static int churn(void *unused)
{
    (void)unused;
    uint32_t held[8];
    unsigned count = 0;
    unsigned char mark = (unsigned char)getpid();
    srand((unsigned)getpid());
    for (;;) {
        if (count == 8 || (count > 0 && rand() % 2)) {
            check_and_free(held[--count], mark);
        } else if (mproc__arena_alloc(segment, arena, (size_t)(rand() % 5) * GRANULE, MPROC_FOREVER,
                                      &held[count]) == 0) {
            memset(mproc__arena_data(arena, held[count]), mark, mproc__arena_block_bytes(arena, held[count]));
            count++;
        }
    }
    return 0;
}

static bool free_if_owned(const mproc__arena *unused, uint32_t block, mproc__block_state state, void *context)
{
    (void)unused;
    if (state.owner == *(unsigned *)context)
        mproc__arena_free(arena, block);
    return true;
}

static int free_of_row(mproc__segment *swept, unsigned row, void *context)
{
    (void)swept;
    (void)context;
    mproc__arena_each(arena, free_if_owned, &row);
    return 0;
}

/* shows: DEATH-1 DEATH-10 */
START_TEST(killed_users_leave_a_whole_arena_and_the_sweep_frees_their_blocks)
{
    make(0);
    mproc__segment_on_sweep(segment, free_of_row, NULL);
    for (int round = 0; round < 15; round++) {
        pid_t children[2] = {support_fork(churn, NULL), support_fork(churn, NULL)};
        usleep((useconds_t)(rand() % 4000)); /* kills come at any moment */
        for (int i = 0; i < 2; i++) {
            kill(children[i], SIGKILL);
            ck_assert_int_eq(support_reap(children[i], 5000), 256 + SIGKILL);
        }
        mproc__segment_sweep(segment);
        ck_assert_uint_eq(granules_used(), 0);
        mproc__arena_free(arena, take(GRANULES));
    }
    mproc__segment_release(segment);
}
END_TEST

/* A line of constants, then the lock: no call holds it for long enough to be stopped in by a test. */
static int holds_the_lock(void *unused)
{
    (void)unused;
    if (mproc__robust_acquire((void *)((unsigned char *)arena->shared + MPROC__LINE), MPROC_NOW) < 0)
        return 1;
    for (;;)
        pause();
}

/* shows: DEATH-1 */
START_TEST(a_stopped_holder_of_the_lock_holds_up_no_deadline_and_a_dead_one_nobody)
{
    make(0);
    uint32_t block;
    pid_t child = support_fork(holds_the_lock, NULL);
    ck_assert(support_until_asleep(child, 5000));
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, 1, MPROC_NOW, &block), -ETIMEDOUT);
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, 1, mproc_after_ms(20), &block), -ETIMEDOUT);
    support_kill(child);
    ck_assert_int_eq(mproc__arena_alloc(segment, arena, 1, mproc_after_ms(support_ms(5000)), &block), 0);
    mproc__segment_release(segment);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("arena");
    TCase *blocks = support_case(suite, "blocks");
    tcase_add_loop_test(blocks, blocks_are_apart_and_inside_the_segment, 0, 2);
    tcase_add_loop_test(blocks, a_full_arena_says_so_and_freed_neighbours_become_one, 0, 2);
    tcase_add_test(blocks, sizes_are_checked_and_rounded_up);
    tcase_add_test(blocks, a_blocks_state_changes_only_from_what_it_was);
    TCase *heap = support_case(suite, "heap");
    tcase_add_loop_test(heap, blocks_of_a_busy_heap_never_overlap_and_free_and_used_are_all_of_it, 0, 2);
    tcase_add_loop_test(heap, a_free_inside_an_allocation_neither_waits_nor_is_lost, 0, 2);
    TCase *damage = support_case(suite, "damage");
    tcase_add_test(damage, numbers_of_no_block_give_nothing);
    tcase_add_test(damage, a_damaged_table_leads_to_no_loop_and_nowhere_outside);
    tcase_add_test(damage, a_stopped_holder_of_the_lock_holds_up_no_deadline_and_a_dead_one_nobody);
    tcase_add_test(damage, killed_users_leave_a_whole_arena_and_the_sweep_frees_their_blocks);
    return support_run(suite, argc, argv);
}
