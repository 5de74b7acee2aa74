/* SPDX-License-Identifier: BSD-2-Clause */
/* The granules of a map: runs of neighbouring items, one 64-bit word each, which says who works on them. L6.
 *
 * A counter hands out granules, but only as a hint: the claim is the compare-and-swap of the word, which names worker and
 * life. After a death the words still owned by the dead are put back, with the place to go on from: what was finished
 * stays finished, only the item under way is lost (or tried again). A zeroed word is a granule nobody has touched. */
#ifndef MPROC__POOL_GRANULE_H
#define MPROC__POOL_GRANULE_H

#include "platform/base.h"

typedef struct mproc__granule_word {
    uint32_t resume;  /* items before this one are over */
    unsigned attempt; /* 6 bits: deaths at the item `resume` */
    bool final;
    unsigned owner; /* 8 bits: worker + 1; 0: nobody */
    unsigned life;  /* 16 bits */
} mproc__granule_word;

enum { MPROC__GRANULE_ATTEMPTS = 63, MPROC__GRANULE_NOT_STARTED = -1 };

uint64_t mproc__granule_pack(mproc__granule_word granule);
mproc__granule_word mproc__granule_unpack(uint64_t word);

/* Nobody's and not final: now (worker, life)'s. */
bool mproc__granule_claim(_Atomic uint64_t *word, unsigned worker, unsigned life,
                          mproc__granule_word *ret_claimed);
/* By its owner, who has done it all. */
void mproc__granule_finish(_Atomic uint64_t *word, mproc__granule_word claimed);
/* What the dead was at in a granule: item `at`, or had not begun it (MPROC__GRANULE_NOT_STARTED). Items [at, end) are one
 * piece: all of them are lost, or tried again. */
typedef struct mproc__granule_death {
    int64_t at;
    uint32_t end;
    uint32_t items; /* of the granule */
    unsigned max_attempts;
} mproc__granule_death;

/* Whether the death of (worker, life) loses the piece for good. Who buries says so elsewhere, then buries: one that is killed in
 * between leaves the granule as it was, and the next one says the same. */
bool mproc__granule_loses(const _Atomic uint64_t *word, unsigned worker, unsigned life,
                          const mproc__granule_death *death);
/* Puts the granule of (worker, life), which is dead, back for others, or makes it final when nothing is left. */
void mproc__granule_bury(_Atomic uint64_t *word, unsigned worker, unsigned life,
                         const mproc__granule_death *death);
/* By its owner, who will not go on (the map was cancelled): nobody's again, from item `resume` on. */
void mproc__granule_give_back(_Atomic uint64_t *word, mproc__granule_word claimed, uint32_t resume);

#endif
