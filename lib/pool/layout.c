/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "platform/story.h"
#include "pool/after.h"
#include "pool/extra.h"
#include "pool/layout.h"

enum {
    RESERVE_STEP = 256 * 1024, /* each reservation costs a system call and a look at the limits */
    SLOTS_MAX = 1 << 20
};

/* Addresses for the arrays of maps: the largest that the process may have. */
static const uint64_t region_choices[] = {UINT64_C(16) << 30, UINT64_C(1) << 30, UINT64_C(64) << 20};

static uint64_t page_round(uint64_t bytes)
{
    return mproc__round_up(bytes, (size_t)sysconf(_SC_PAGESIZE));
}

static uint32_t slots_for(size_t tasks)
{
    uint32_t slots = 16;
    while (slots < tasks && slots < SLOTS_MAX)
        slots *= 2;
    return slots;
}

/* Arguments may fill the configured bytes; results get as much again. */
static size_t arena_granules(size_t bytes)
{
    size_t granules = 2 * (bytes / MPROC__POOL_BLOCK) + 16;
    return granules < (1u << 24) - 1 ? granules : (1u << 24) - 1;
}

static void plan_fill(mproc__pool_plan_shared *plan, const mproc__pool_limits *limits, uint64_t region_bytes)
{
    plan->workers = limits->workers;
    plan->start = (uint32_t)limits->start;
    plan->restarts_per_minute = limits->restarts_per_minute;
    plan->tasks_per_worker = limits->tasks_per_worker;
    plan->slot_count = slots_for(limits->tasks);
    plan->ring = page_round(sizeof(mproc__pool_shared));
    plan->slots = page_round(plan->ring + MPROC__PRIORITIES * plan->slot_count * sizeof(uint32_t));
    plan->extras = page_round(plan->slots + plan->slot_count * sizeof(mproc__task_shared));
    plan->edges = page_round(plan->extras + plan->slot_count * sizeof(mproc__extra_shared));
    plan->edge_count = plan->slot_count * MPROC__EDGES_A_SLOT;
    plan->arena = page_round(plan->edges + plan->edge_count * sizeof(mproc__edge_shared));
    plan->heads =
        page_round(plan->arena + mproc__arena_bytes(MPROC__POOL_BLOCK, arena_granules(limits->bytes)));
    plan->region = plan->heads + (uint64_t)MPROC__POOL_MAPS * MPROC__POOL_HEAD;
    plan->region_bytes = region_bytes;
}

/* The addresses of a pool are many gibibytes, nearly all of them empty: left out of core files, which take seconds to
 * write otherwise, while the dead worker's task waits for its reason. */
static void view_leave_out_of_cores(const mproc__pool_view *view)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const mproc__pool_plan_shared *plan = &view->shared->plan;
    uintptr_t begin = mproc__round_up((uintptr_t)view->root + plan->arena, page);
    uintptr_t end = ((uintptr_t)view->root + plan->region + plan->region_bytes) / page * page;
    (void)madvise((void *)begin, end - begin, MADV_DONTDUMP);
}

static int view_point(mproc__pool_view *view)
{
    view->root = mproc__segment_root(view->segment);
    view->shared = mproc__segment_root(view->segment);
    view->threads = mproc__segment_home(view->segment) == MPROC__HOME_THREAD;
    view->slots = mproc__view_at(view, view->shared->plan.slots);
    view->ring = mproc__view_at(view, view->shared->plan.ring);
    int rc = mproc__arena_open(view->segment, view->shared->plan.arena, &view->arena);
    if (rc == 0)
        view_leave_out_of_cores(view);
    return rc;
}

static int segment_create(const mproc__pool_limits *limits, mproc__pool_plan_shared *plan,
                          mproc__segment **ret_segment)
{
    mproc__home home = limits->start == MPROC_START_THREAD ? MPROC__HOME_THREAD : MPROC__HOME_HOST;
    int rc = -ENOMEM;
    for (size_t i = 0; i < MPROC__COUNT(region_choices) && rc == -ENOMEM; i++) {
        plan_fill(plan, limits, region_choices[i]);
        rc = mproc__segment_create(home, MPROC_TYPE_POOL, limits->name, plan->region + plan->region_bytes,
                                   plan->ring, ret_segment);
    }
    return rc;
}

/* The arena's own table is touched from anywhere; its granules get memory as they are used. */
static int arena_create(mproc__segment *segment, const mproc__pool_plan_shared *plan, size_t bytes)
{
    size_t granules = arena_granules(bytes);
    size_t table = mproc__arena_bytes(MPROC__POOL_BLOCK, granules) - granules * MPROC__POOL_BLOCK;
    int rc = mproc__segment_reserve(segment, plan->arena, table);
    if (rc == 0)
        rc = mproc__arena_init(segment, plan->arena, MPROC__POOL_BLOCK, granules);
    return rc;
}

int mproc__view_create(const mproc__pool_limits *limits, mproc__pool_view *ret_view)
{
    mproc__pool_plan_shared plan = {.workers = 0};
    mproc__pool_view view = {.segment = NULL};
    int rc = segment_create(limits, &plan, &view.segment);
    if (rc < 0)
        return rc;
    rc = arena_create(view.segment, &plan, limits->bytes);
    int row = rc < 0 ? rc : mproc__segment_join(view.segment);
    if (row < 0) {
        mproc__segment_release(view.segment);
        return row;
    }
    plan.owner_row = (uint32_t)row;
    mproc__pool_shared *shared = mproc__segment_root(view.segment);
    shared->plan = plan;
    atomic_store(&shared->wanted, plan.workers);
    atomic_store(&shared->desks, plan.workers);
    rc = view_point(&view);
    if (rc == 0)
        *ret_view = view;
    else
        mproc__segment_release(view.segment);
    return rc;
}

int mproc__view_attach(int fd, mproc__pool_view *ret_view)
{
    mproc__pool_view view = {.segment = NULL};
    int rc = mproc__segment_attach(fd, MPROC_TYPE_POOL, &view.segment);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    rc = view_point(&view);
    if (rc == 0)
        *ret_view = view;
    else
        mproc__segment_release(view.segment);
    return rc;
}

void mproc__view_close(mproc__pool_view *view)
{
    if (view->segment)
        mproc__segment_release(view->segment);
    view->segment = NULL;
}

/* A step at a time, also in what others are told: a store a slot would take this line from all workers a slot. */
int mproc__view_reserve_slots(mproc__pool_view *view, uint32_t slots)
{
    uint64_t reserved = atomic_load_explicit(&view->shared->slots_used, memory_order_relaxed);
    if (slots <= reserved)
        return 0;
    uint64_t wanted = mproc__round_up(slots, RESERVE_STEP / sizeof(mproc__task_shared));
    if (wanted > view->shared->plan.slot_count)
        wanted = view->shared->plan.slot_count;
    size_t offset = view->shared->plan.slots + reserved * sizeof(mproc__task_shared);
    int rc = mproc__segment_reserve(view->segment, offset, (wanted - reserved) * sizeof(mproc__task_shared));
    if (rc == 0)
        atomic_store_explicit(&view->shared->slots_used, (uint32_t)wanted, memory_order_release);
    return rc;
}

/* One mark for the whole arena, because blocks are given from its low end first. Two who raise it at the same time both
 * reserve, which is harmless. */
int mproc__view_reserve_block(mproc__pool_view *view, uint32_t block)
{
    if (view->threads)
        return 0;
    _Atomic uint64_t *mark = &view->shared->arena_reserved;
    uint64_t arena = view->shared->plan.arena, room = view->shared->plan.heads - arena;
    uint64_t begin = mproc__view_offset(view, mproc__arena_data(&view->arena, block)) - arena;
    uint64_t end = begin + mproc__arena_block_bytes(&view->arena, block);
    uint64_t reserved = atomic_load_explicit(mark, memory_order_relaxed);
    if (end <= reserved)
        return 0;
    end = mproc__round_up(end, RESERVE_STEP);
    end = end < room ? end : room;
    int rc = mproc__segment_reserve(view->segment, arena + reserved, end - reserved);
    while (rc == 0 && reserved < end && !atomic_compare_exchange_weak(mark, &reserved, end))
        ;
    return rc;
}

uint64_t mproc__worker_pack(mproc__worker_word worker)
{
    return (uint64_t)worker.state | (uint64_t)worker.row << 4 | (uint64_t)worker.life << 12 |
           (uint64_t)(uint32_t)worker.pid << 28;
}

mproc__worker_word mproc__worker_unpack(uint64_t word)
{
    return (mproc__worker_word){
        .state = (mproc__worker_state)(word & 0xf),
        .row = (unsigned)(word >> 4 & 0xff),
        .life = (unsigned)(word >> 12 & 0xffff),
        .pid = (pid_t)(uint32_t)(word >> 28),
    };
}

bool mproc__worker_swap(mproc__worker_shared *worker, mproc__worker_word from, mproc__worker_word to)
{
    uint64_t expected = mproc__worker_pack(from);
    return atomic_compare_exchange_strong(&worker->word, &expected, mproc__worker_pack(to));
}

/* What the last incarnation left on the desk is cleared before the word says that there is a new one. */
unsigned mproc__worker_desk_prepare(mproc__worker_shared *desk)
{
    mproc__worker_word word = mproc__worker_load(desk);
    word = (mproc__worker_word){.state = MPROC__WORKER_STARTING, .life = (word.life + 1) & 0xffff};
    atomic_store(&desk->slot, 0);
    atomic_store(&desk->map, 0);
    atomic_store(&desk->item, UINT64_MAX);
    atomic_store(&desk->item_end, 0);
    atomic_store(&desk->run, 0);
    atomic_store(&desk->limit_ns, 0);
    atomic_store(&desk->word, mproc__worker_pack(word));
    return word.life;
}

void mproc__pool_post(mproc__pool_view *view, mproc__eventcount_shared *event)
{
    mproc__eventcount_post(event, mproc__segment_shared(view->segment));
}

/* The fence orders the task before the look, as the spinner's swap orders its own: one of the two sees the other. */
void mproc__pool_post_task(mproc__pool_view *view)
{
    _Atomic uint32_t *spinner = &view->shared->spinner;
#if MPROC__THREAD_SANITIZER /* does not understand fences */
    atomic_fetch_add(spinner, 0);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
    if (atomic_load_explicit(spinner, memory_order_relaxed) == 0 || atomic_exchange(spinner, 0) == 0)
        mproc__pool_post(view, &view->shared->work);
}

static bool breaker_alive(mproc__pool_view *view, uint64_t who)
{
    uint32_t row = (uint32_t)who;
    return row == 0 || (mproc__segment_row_pid(view->segment, row - 1) == (pid_t)(who >> 32) &&
                        mproc__segment_row_alive(view->segment, row - 1));
}

static bool breakage_take(mproc__pool_view *view)
{
    int row = mproc__segment_join(view->segment);
    uint64_t me = (uint64_t)mproc__pid() << 32 | (row < 0 ? 0 : (uint32_t)row + 1), who = 0;
    while (!atomic_compare_exchange_strong(&view->shared->breakage.taken, &who, me))
        if (who == me || breaker_alive(view, who))
            return false;
    return true;
}

void mproc__pool_break(mproc__pool_view *view, const mproc__breakage_shared *reason)
{
    mproc__breakage_shared *breakage = &view->shared->breakage;
    if (!mproc__pool_broken(view) && breakage_take(view)) {
        breakage->code = reason->code;
        breakage->exit_code = reason->exit_code;
        breakage->pid = reason->pid;
        breakage->worker = reason->worker;
        memcpy(breakage->text, reason->text, sizeof breakage->text);
        atomic_store_explicit(&breakage->valid, 1, memory_order_release);
    }
    mproc__pool_post(view, &view->shared->done);
    mproc__pool_post(view, &view->shared->command);
}

bool mproc__pool_broken(const mproc__pool_view *view)
{
    return atomic_load_explicit(&view->shared->breakage.valid, memory_order_acquire) != 0;
}
