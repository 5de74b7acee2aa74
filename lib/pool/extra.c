/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "data/parcel.h"
#include "platform/story.h"
#include "pool/extra.h"
#include "pool/payload.h"

enum { RESERVE_STEP = 64 * 1024, EXIT_OFFSET = 64 };

/* ---- memory ---- */

static mproc__extra_shared *extra_at(const mproc__pool_view *view, uint32_t slot)
{
    return (mproc__extra_shared *)mproc__view_at(view, view->shared->plan.extras) + slot;
}

mproc__extra_shared *mproc__extra_of(const mproc__pool_view *view, uint32_t slot)
{
    return view->slots[slot].max_attempts > 1 ? extra_at(view, slot) : NULL;
}

static int extras_reserve(mproc__pool_view *view, uint32_t slot)
{
    uint64_t *mark = &view->extras_reserved, end = (slot + UINT64_C(1)) * sizeof(mproc__extra_shared);
    uint64_t whole = view->shared->plan.slot_count * sizeof(mproc__extra_shared);
    if (end <= *mark)
        return 0;
    end = mproc__round_up(end, RESERVE_STEP);
    end = end < whole ? end : whole;
    int rc = mproc__segment_reserve(view->segment, view->shared->plan.extras + *mark, end - *mark);
    if (rc == 0)
        *mark = end;
    return rc;
}

int mproc__extra_prepare(mproc__pool_view *view, uint32_t slot)
{
    int rc = extras_reserve(view, slot);
    if (rc == 0)
        atomic_store_explicit(&extra_at(view, slot)->checkpoint, 0, memory_order_relaxed);
    return rc;
}

void mproc__extra_clear(mproc__pool_view *view, uint32_t slot)
{
    mproc__extra_shared *extra = mproc__extra_of(view, slot);
    for (unsigned i = 0; extra && i < 2; i++) {
        uint32_t block = atomic_exchange(&extra->blocks[i], 0);
        if (block)
            mproc__arena_free(&view->arena, block - 1);
    }
}

bool mproc__extra_names(const mproc__pool_view *view, uint32_t slot, uint32_t block)
{
    const mproc__extra_shared *extra = mproc__extra_of(view, slot);
    return extra &&
           (atomic_load(&extra->blocks[0]) == block + 1 || atomic_load(&extra->blocks[1]) == block + 1);
}

/* ---- deaths ---- */

static uint64_t who_pack(unsigned serial, unsigned attempt, unsigned worker, unsigned life)
{
    return (uint64_t)serial << 40 | (uint64_t)(life & 0xffff) << 24 | (uint64_t)worker << 16 | attempt;
}

/* 8 bits worker, 16 life, 22 pid (the kernel's most), 9 exit code; never 0. */
static uint64_t how_pack(unsigned worker, unsigned life, pid_t pid, int exit_code)
{
    return UINT64_C(1) << 63 | (uint64_t)(worker & 0xff) << 47 | (uint64_t)(life & 0xffff) << 31 |
           (uint64_t)(pid & 0x3fffff) << 9 | (uint64_t)((exit_code + EXIT_OFFSET) & 0x1ff);
}

void mproc__extra_note_death(mproc__pool_view *view, uint32_t slot, unsigned worker, unsigned life)
{
    mproc__extra_shared *extra = mproc__extra_of(view, slot);
    mproc__task_word word = mproc__task_load(&view->slots[slot].word);
    if (!extra || word.attempt == 0)
        return;
    _Atomic uint64_t *who = &extra->deaths[(word.attempt - 1) % MPROC__POOL_DEATHS].who;
    uint64_t before = atomic_load(who);
    mproc__task_word again = mproc__task_load(&view->slots[slot].word);
    bool runs = again.state == MPROC__TASK_RUNNING || again.state == MPROC__TASK_STOPPING;
    if (runs && again.worker == worker && again.life == (life & 0xffff) && again.attempt == word.attempt)
        (void)atomic_compare_exchange_strong(who, &before,
                                             who_pack(again.serial, again.attempt, worker, life));
}

void mproc__extra_note_end(mproc__pool_view *view, uint32_t slot, unsigned worker, unsigned life, pid_t pid,
                           int exit_code)
{
    mproc__extra_shared *extra = mproc__extra_of(view, slot);
    for (unsigned i = 0; extra && i < MPROC__POOL_DEATHS; i++) {
        uint64_t who = atomic_load(&extra->deaths[i].who);
        if ((who >> 16 & 0xff) == worker && (who >> 24 & 0xffff) == (life & 0xffff))
            atomic_store(&extra->deaths[i].how, how_pack(worker, life, pid, exit_code));
    }
}

static bool death_read(const mproc__death_shared *from, unsigned serial, unsigned attempt, mproc__death *ret)
{
    uint64_t who = atomic_load(&from->who), how = atomic_load(&from->how);
    if (who >> 40 != serial || (who & 0xffff) != attempt)
        return false;
    *ret = (mproc__death){
        .attempt = attempt, .worker = (unsigned)(who >> 16 & 0xff), .life = (unsigned)(who >> 24 & 0xffff)};
    ret->known = how && (how >> 47 & 0xff) == ret->worker && (how >> 31 & 0xffff) == ret->life;
    ret->pid = (pid_t)(how >> 9 & 0x3fffff);
    ret->exit_code = (int)(how & 0x1ff) - EXIT_OFFSET;
    return true;
}

unsigned mproc__extra_deaths(const mproc__pool_view *view, uint32_t slot, mproc__task_word word,
                             mproc__death ret_deaths[MPROC__POOL_DEATHS])
{
    unsigned count = 0;
    const mproc__extra_shared *extra = mproc__extra_of(view, slot);
    unsigned first = word.attempt > MPROC__POOL_DEATHS ? word.attempt - MPROC__POOL_DEATHS + 1 : 1;
    for (unsigned attempt = first; extra && attempt <= word.attempt; attempt++)
        count += death_read(&extra->deaths[(attempt - 1) % MPROC__POOL_DEATHS], word.serial, attempt,
                            &ret_deaths[count]);
    return count;
}

/* ---- checkpoints ---- */

/* Its name goes first: a block without one whose maker has died is collected. */
static void block_drop(mproc__pool_view *view, mproc__extra_shared *extra, unsigned which, uint32_t mine[2])
{
    uint32_t block = atomic_exchange(&extra->blocks[which], 0);
    if (block == 0)
        return;
    if (mine[which] == block)
        mproc__arena_free(&view->arena, block - 1);
    else
        atomic_fetch_add(&view->shared->burials, 1); /* the submitter is to look again */
    mine[which] = 0;
}

static int block_ready(mproc__pool_view *view, uint32_t slot, mproc__extra_shared *extra, unsigned which,
                       size_t size, uint32_t mine[2])
{
    uint32_t block = atomic_load(&extra->blocks[which]);
    if (block && mproc__arena_block_bytes(&view->arena, block - 1) >= size + sizeof(mproc__block_shared))
        return 0;
    block_drop(view, extra, which, mine);
    int rc = mproc__payload_block(view, slot, size, &block);
    if (rc < 0)
        return rc == -ENOSPC ? mproc__fail(-ENOMEM, "no room in the pool for a checkpoint of %zu bytes", size)
                             : rc;
    mine[which] = block + 1;
    atomic_store(&extra->blocks[which], block + 1);
    return 0;
}

int mproc__checkpoint_keep(mproc__pool_view *view, uint32_t slot, mproc_variant state, uint32_t mine[2])
{
    size_t size;
    mproc__extra_shared *extra = mproc__extra_of(view, slot);
    if (!extra || view->threads)
        return 0; /* it will not be tried again */
    uint64_t now = atomic_load(&extra->checkpoint);
    unsigned which = now ? !(now & 1) : 0;
    int rc = mproc__variant_encoded_size(state, &size);
    if (rc == 0)
        rc = block_ready(view, slot, extra, which, size, mine);
    if (rc < 0)
        return rc;
    mproc__block_shared *head = mproc__arena_data(&view->arena, atomic_load(&extra->blocks[which]) - 1);
    rc = head ? mproc__variant_encode(state, head + 1, size) : MPROC_ECORRUPT;
    if (rc == 0)
        atomic_store_explicit(&extra->checkpoint, (uint64_t)(size + 1) << 1 | which, memory_order_release);
    return rc;
}

int mproc__checkpoint_load(mproc__pool_view *view, uint32_t slot, mproc_variant *ret_state)
{
    *ret_state = mproc_null();
    mproc__extra_shared *extra = mproc__extra_of(view, slot);
    uint64_t kept = extra ? atomic_load_explicit(&extra->checkpoint, memory_order_acquire) : 0;
    if (kept == 0)
        return 0;
    size_t size = (size_t)(kept >> 1) - 1;
    uint32_t block = atomic_load(&extra->blocks[kept & 1]) - 1;
    const mproc__block_shared *head = mproc__arena_data(&view->arena, block);
    if (!head || mproc__arena_block_bytes(&view->arena, block) < size + sizeof *head)
        return mproc__fail(MPROC_ECORRUPT, "a checkpoint names a block that is none");
    return mproc__variant_decode(head + 1, size, ret_state);
}
