/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "pool/granule.h"

enum { AT_ATTEMPT = 32, AT_FINAL = 39, AT_OWNER = 40, AT_LIFE = 48 };

uint64_t mproc__granule_pack(mproc__granule_word granule)
{
    return (uint64_t)granule.resume | (uint64_t)granule.attempt << AT_ATTEMPT |
           (uint64_t)granule.final << AT_FINAL | (uint64_t)granule.owner << AT_OWNER |
           (uint64_t)granule.life << AT_LIFE;
}

mproc__granule_word mproc__granule_unpack(uint64_t word)
{
    return (mproc__granule_word){
        .resume = (uint32_t)word,
        .attempt = (unsigned)(word >> AT_ATTEMPT & 0x3f),
        .final = word >> AT_FINAL & 1,
        .owner = (unsigned)(word >> AT_OWNER & 0xff),
        .life = (unsigned)(word >> AT_LIFE & 0xffff),
    };
}

static bool granule_swap(_Atomic uint64_t *word, uint64_t from, mproc__granule_word to)
{
    return atomic_compare_exchange_strong_explicit(word, &from, mproc__granule_pack(to), memory_order_acq_rel,
                                                   memory_order_relaxed);
}

bool mproc__granule_claim(_Atomic uint64_t *word, unsigned worker, unsigned life,
                          mproc__granule_word *ret_claimed)
{
    uint64_t now = atomic_load_explicit(word, memory_order_acquire);
    mproc__granule_word granule = mproc__granule_unpack(now);
    if (granule.owner || granule.final)
        return false;
    granule.owner = worker + 1;
    granule.life = life & 0xffff;
    *ret_claimed = granule;
    return granule_swap(word, now, granule);
}

void mproc__granule_finish(_Atomic uint64_t *word, mproc__granule_word claimed)
{
    claimed.owner = 0;
    claimed.final = true;
    atomic_store_explicit(word, mproc__granule_pack(claimed), memory_order_release);
}

void mproc__granule_give_back(_Atomic uint64_t *word, mproc__granule_word claimed, uint32_t resume)
{
    claimed.owner = 0;
    claimed.resume = resume;
    atomic_store_explicit(word, mproc__granule_pack(claimed), memory_order_release);
}

/* The granule as others may go on with it. */
static mproc__granule_word granule_after_death(mproc__granule_word granule, const mproc__granule_death *death,
                                               bool *ret_lost)
{
    *ret_lost = false;
    granule.owner = 0;
    if (death->at == MPROC__GRANULE_NOT_STARTED)
        return granule;
    /* Attempts belong to one piece: a death further on begins to count anew. */
    unsigned deaths = (death->at == (int64_t)granule.resume ? granule.attempt : 0) + 1;
    *ret_lost = deaths >= death->max_attempts || deaths > MPROC__GRANULE_ATTEMPTS;
    granule.resume = *ret_lost ? death->end : (uint32_t)death->at;
    granule.attempt = *ret_lost ? 0 : deaths;
    granule.final = granule.resume >= death->items;
    return granule;
}

static bool granule_is_of(mproc__granule_word granule, unsigned worker, unsigned life)
{
    return granule.owner == worker + 1 && granule.life == (life & 0xffff) && !granule.final;
}

bool mproc__granule_loses(const _Atomic uint64_t *word, unsigned worker, unsigned life,
                          const mproc__granule_death *death)
{
    bool lost = false;
    mproc__granule_word granule = mproc__granule_unpack(atomic_load_explicit(word, memory_order_acquire));
    if (granule_is_of(granule, worker, life))
        (void)granule_after_death(granule, death, &lost);
    return lost;
}

void mproc__granule_bury(_Atomic uint64_t *word, unsigned worker, unsigned life,
                         const mproc__granule_death *death)
{
    bool lost;
    uint64_t now = atomic_load_explicit(word, memory_order_acquire);
    mproc__granule_word granule = mproc__granule_unpack(now);
    if (granule_is_of(granule, worker, life))
        (void)granule_swap(word, now, granule_after_death(granule, death, &lost));
}
