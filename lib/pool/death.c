/* SPDX-License-Identifier: BSD-2-Clause */
/* Burying a worker. All of it is compare-and-swaps from exactly what the dead one left, so it may run twice, or half; but by one
 * at a time: what it writes lies in a map's memory, which is another map's when the desk is buried. One that is stopped in
 * here keeps the map as it would with an item of its own; one that is killed is followed by the next (death.h). */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "pool/after.h"
#include "pool/death.h"
#include "pool/extra.h"
#include "pool/granule.h"
#include "pool/task.h"

typedef struct burial {
    mproc__pool_view *view;
    mproc__map_shared *map;
    mproc__worker_shared *desk;
    unsigned index;
    unsigned life;
    mproc__run_state reason;
} burial;

/* ---- maps ---- */

/* Items [item, end). */
static void loss_note(const burial *at, uint64_t item, uint64_t end)
{
    _Atomic uint64_t *loss = (_Atomic uint64_t *)mproc__view_at(at->view, at->map->losses) + at->index;
    uint64_t now = atomic_load(loss), mine = mproc__loss_pack(item, at->life, at->reason);
    while ((now == 0 || mine >> 20 < now >> 20) && !atomic_compare_exchange_weak(loss, &now, mine))
        ;
    /* Also over what an item wrote itself, when it was stopped and returned: it counts as lost, and is not run again. */
    _Atomic int32_t *status = (_Atomic int32_t *)mproc__view_at(at->view, at->map->status);
    for (; at->map->status && item < end; item++)
        atomic_store(&status[item], mproc__loss_code(at->reason));
}

/* What the dead was at in items [first, first + items), of which `resume` were over before. A range was begun whole. */
static mproc__granule_death death_in(const burial *at, uint64_t first, uint32_t items, uint32_t resume)
{
    uint64_t item = atomic_load_explicit(&at->desk->item, memory_order_acquire);
    uint64_t end = atomic_load_explicit(&at->desk->item_end, memory_order_acquire);
    bool final = at->reason == MPROC__RUN_EXPIRED || at->reason == MPROC__RUN_CANCELLED;
    mproc__granule_death death = {
        .at = MPROC__GRANULE_NOT_STARTED, .items = items, .max_attempts = final ? 1 : at->map->max_attempts};
    if (at->map->ranges && item <= first && first < end) {
        death.at = resume;
        death.end = items;
    } else if (!at->map->ranges && item >= first + resume && item < first + items) {
        death.at = (int64_t)(item - first);
        death.end = (uint32_t)(item - first) + 1;
    }
    return death;
}

static void granule_bury(const burial *at, uint64_t granule)
{
    const mproc__map_shared *map = at->map;
    _Atomic uint64_t *word = mproc__map_word(at->view, map, granule);
    mproc__granule_word seen = mproc__granule_unpack(atomic_load_explicit(word, memory_order_acquire));
    if (seen.owner != at->index + 1 || seen.life != at->life)
        return;
    uint64_t first = granule * map->granule_items, left = map->count - first;
    uint32_t items = left < map->granule_items ? (uint32_t)left : map->granule_items;
    mproc__granule_death death = death_in(at, first, items, seen.resume);
    if (mproc__granule_loses(word, at->index, at->life, &death))
        loss_note(at, first + (uint64_t)death.at, first + death.end);
    mproc__granule_bury(word, at->index, at->life, &death);
}

static void map_bury(burial *at)
{
    mproc__map_shared *map = at->map;
    atomic_fetch_add(&map->deaths, 1); /* first: from now on ends are found by looking */
    at->reason = (mproc__run_state)(atomic_load(&at->desk->run) & 3);
    for (uint64_t granule = 0; granule < map->granules; granule++)
        granule_bury(at, granule);
}

bool mproc__map_complete(const mproc__pool_view *view, const mproc__map_shared *map, uint64_t *final)
{
    if (atomic_load_explicit(&map->finished_granules, memory_order_acquire) >= map->granules)
        return true;
    if (atomic_load_explicit(&map->deaths, memory_order_acquire) == 0)
        return false;
    for (; *final < map->granules; ++*final)
        if (!mproc__granule_unpack(
                 atomic_load_explicit(mproc__map_word(view, map, *final), memory_order_acquire))
                 .final)
            return false;
    return true;
}

/* Granules a dead worker had drawn from the counter but not claimed are nobody's: have everyone look. */
static void holes_tell(mproc__pool_view *view)
{
    uint32_t active = atomic_load(&view->shared->active_maps);
    for (unsigned i = 0; i < MPROC__POOL_MAPS; i++)
        if (active >> i & 1) {
            atomic_fetch_add(&view->shared->maps[i].deaths, 1);
            atomic_fetch_add(&view->shared->maps[i].holes, 1);
        }
}

/* ---- tasks ---- */

static void slot_bury(mproc__pool_view *view, unsigned index, unsigned life)
{
    uint32_t slot = atomic_load_explicit(&view->shared->workers[index].slot, memory_order_acquire);
    if (slot == 0 || slot > atomic_load_explicit(&view->shared->slots_used, memory_order_acquire))
        return;
    mproc__task_shared *task = &view->slots[slot - 1];
    mproc__extra_note_death(view, slot - 1, index, life);
    if (mproc__task_bury(&task->word, index, life, task->max_attempts) == MPROC__TASK_READY)
        mproc__ready_return(view, slot - 1);
    mproc__after_tell_again(view, slot - 1);
}

/* ---- the worker ---- */

void mproc__pool_bury_work(mproc__pool_view *view, unsigned index, mproc__worker_word self)
{
    mproc__worker_shared *desk = &view->shared->workers[index];
    slot_bury(view, index, self.life);
    uint32_t map = atomic_load_explicit(&desk->map, memory_order_acquire);
    if (map > 0 && map <= MPROC__POOL_MAPS) {
        burial at = {.view = view,
                     .map = &view->shared->maps[map - 1],
                     .desk = desk,
                     .index = index,
                     .life = self.life};
        map_bury(&at);
    }
    holes_tell(view);
    atomic_fetch_add(&view->shared->rescan, 1);
    mproc__pool_post(view, &view->shared->work);
    mproc__pool_post(view, &view->shared->done);
}

void mproc__pool_bury(mproc__pool_view *view, unsigned index, mproc__worker_word dead)
{
    mproc__worker_word buried = dead;
    bool left = dead.state == MPROC__WORKER_LEAVING; /* holds nothing, and its row may be another's at once */
    buried.state = left ? MPROC__WORKER_LEFT : MPROC__WORKER_DEAD;
    uint32_t spinner = index + 1;
    (void)atomic_compare_exchange_strong(&view->shared->spinner, &spinner, 0);
    if (!left)
        mproc__pool_bury_work(view, index, dead);
    (void)mproc__worker_swap(&view->shared->workers[index], dead, buried);
    mproc__pool_post(view, &view->shared->done);
    mproc__pool_post(view, &view->shared->command);
}

/* ---- the row ---- */

/* A block of a dead worker may be named by a task that is done. Who frees results decides (the submitter); here it is
 * only marked, so that the row's next owner is not taken for it. */
static bool block_orphan(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    mproc__block_state orphan = state;
    orphan.state = MPROC__BLOCK_ORPHAN;
    if (state.owner == *(const unsigned *)context && state.state == 0)
        (void)mproc__arena_swap(arena, block, state, orphan);
    return true;
}

/* Only with the row's life word held, which is why it is not done where a desk is buried: a row that was left is at once
 * another worker's, whose blocks these would be. */
static void blocks_orphan(mproc__pool_view *view, unsigned row)
{
    if (view->threads)
        return;
    mproc__arena_each(&view->arena, block_orphan, &row);
    atomic_fetch_add(&view->shared->burials, 1);
}

/* The owner, whom this or the life word wakes, starts another (renew.c). */
static void supervisor_bury(mproc__pool_view *view, unsigned row)
{
    uint32_t it = row + 1;
    if (atomic_compare_exchange_strong(&view->shared->supervisor_row, &it, MPROC__SUPERVISOR_LOST))
        mproc__pool_post(view, &view->shared->done);
}

int mproc__pool_on_sweep(mproc__segment *segment, unsigned row, void *context)
{
    (void)segment;
    mproc__pool_view *view = context;
    supervisor_bury(view, row);
    blocks_orphan(view, row);
    for (unsigned i = 0; i < mproc__desks(view->shared); i++) {
        mproc__worker_word worker = mproc__worker_load(&view->shared->workers[i]);
        if (worker.row == row + 1 && mproc__worker_unburied(worker.state))
            mproc__pool_bury(view, i, worker);
    }
    return 0;
}

/* ---- certificates ---- */

static int64_t time_us(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

static uint32_t who_of(unsigned index, unsigned life)
{
    return (index + 1) << 16 | (life & 0xffff);
}

void mproc__certificate_write(mproc__pool_view *view, unsigned index, unsigned life,
                              const mproc__certificate_shared *of, const struct rusage *usage)
{
    static const struct rusage unknown;
    mproc__pool_shared *shared = view->shared;
    uint32_t number = atomic_load(&shared->certified);
    mproc__certificate_shared *to = &shared->certificates[number % MPROC__POOL_CERTIFICATES];
    atomic_store_explicit(&to->who, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    usage = usage ? usage : &unknown;
    to->exit_code = of->exit_code;
    to->pid = of->pid;
    to->cause = of->cause;
    to->user_us = time_us(usage->ru_utime);
    to->system_us = time_us(usage->ru_stime);
    to->max_rss_kib = usage->ru_maxrss;
    atomic_store_explicit(&to->who, who_of(index, life), memory_order_release);
    atomic_store(&shared->certified, number + 1);
    mproc__pool_post(view, &shared->done);
}

/* The newest first: it is asked for soon. */
bool mproc__certificate_read(const mproc__pool_view *view, unsigned index, unsigned life,
                             mproc__certificate_shared *ret_certificate)
{
    uint32_t number = atomic_load(&view->shared->certified), who = who_of(index, life);
    for (unsigned age = 1; age <= MPROC__POOL_CERTIFICATES && age <= number; age++) {
        const mproc__certificate_shared *from =
            &view->shared->certificates[(number - age) % MPROC__POOL_CERTIFICATES];
        if (atomic_load_explicit(&from->who, memory_order_acquire) != who)
            continue;
        memcpy(ret_certificate, from, sizeof *ret_certificate);
        atomic_thread_fence(memory_order_acquire);
        return atomic_load_explicit(&from->who, memory_order_relaxed) == who;
    }
    return false;
}

void mproc__certificate_text(int exit_code, char *buffer, size_t size_bytes)
{
    if (exit_code < 0)
        snprintf(buffer, size_bytes, "was killed by signal %d (%s)", -exit_code, strsignal(-exit_code));
    else
        snprintf(buffer, size_bytes, "exited with code %d", exit_code);
}

void mproc__certificate_tell(const mproc__certificate_shared *certificate, char *buffer, size_t size_bytes)
{
    static const char *const causes[] = {
        [MPROC__END_MEMORY_GROUP] = ", likely for want of memory: its control group counted an OOM kill",
        [MPROC__END_MEMORY_SYSTEM] = ", likely for want of memory: the system counted an OOM kill",
        [MPROC__END_MEMORY_LIMITED] = ", perhaps for want of memory: its own is limited"};
    uint32_t cause = certificate->cause;
    if (cause == MPROC__END_SUPERVISOR) {
        snprintf(buffer, size_bytes, "was killed because the pool's supervisor died");
        return;
    }
    mproc__certificate_text(certificate->exit_code, buffer, size_bytes);
    size_t length = strlen(buffer);
    if (cause < MPROC__COUNT(causes) && causes[cause])
        snprintf(buffer + length, size_bytes - length, "%s", causes[cause]);
}
