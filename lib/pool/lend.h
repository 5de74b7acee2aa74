/* SPDX-License-Identifier: BSD-2-Clause */
/* Handles and segments of the pool's owner that workers use while they work: in arguments, and as arrays of maps. L6.
 *
 * Workers run already, so nothing can be given to them at a start; and nobody at the owner's end would answer a question.
 * So the owner writes into a table where its descriptor is, and a worker opens /proc/OWNER/fd/N: no message, no helper, and
 * a worker that comes later finds the same. A worker keeps what has no roles and holds nothing (arrays, locks, events) until
 * the owner has closed it, so that the second use costs a load; a queue it lets go when it has nothing to do. Only files can
 * be opened so: a handle with an eventfd or a socket is refused when it is given (MPROC_ECANNOTCROSS), and can go to
 * workers with the initializer's arguments. */
#ifndef MPROC__POOL_LEND_H
#define MPROC__POOL_LEND_H

#include "data/handle.h"
#include "data/parcel.h"
#include "pool/layout.h"
#include "pool/payload.h"

/* ---- lend.c: the owner's side; with core->lock held ---- */

/* What the table's entries stand for. */
typedef struct mproc__lender {
    mproc__pool_view *view;
    mproc__handle *handles[MPROC__POOL_LENT];   /* kept; NULL: */
    mproc__segment *segments[MPROC__POOL_LENT]; /* kept; or NULL, too: free */
    uint32_t uses[MPROC__POOL_LENT];            /* tasks and maps that name it */
    uint64_t serial;                            /* of the last entry made */
} mproc__lender;

typedef uint64_t mproc__lease; /* entries that one task or map names, a bit each */
_Static_assert(MPROC__POOL_LENT <= 64, "a lease has a bit for each entry");

/* Encodes a variant with its handles lent. 0: `parcel` has the bytes, to be cleared; `lease` is to be returned. Else as
 * mproc__parcel_pack; MPROC_ELIMIT: more than MPROC__POOL_LENT at the same time. */
int mproc__lend_variant(mproc__lender *lender, mproc_variant value, mproc__parcel *parcel,
                        mproc__lease *ret_lease);
/* The arguments of a task: as the variant, for a slot. `room`: whether so many could be lent if others were not. */
int mproc__lend_draft(mproc__lender *lender, mproc_variant value, mproc__payload_draft *ret_draft,
                      bool *ret_room);
/* Takes over a reference of the segment on success. */
int mproc__lend_segment(mproc__lender *lender, mproc__segment *segment, mproc__lease *lease,
                        unsigned *ret_index);
void mproc__lend_return(mproc__lender *lender, mproc__lease lease);
/* Forgets what the user has closed since; workers do so when they look next. Returns whether there was any. */
bool mproc__lend_trim(mproc__lender *lender);
void mproc__lend_end(mproc__lender *lender);

/* ---- borrow.c: a worker's side ---- */

typedef struct mproc__borrowed {
    uint64_t serial; /* 0: nothing */
    mproc__handle *handle;
    mproc__segment *segment;
} mproc__borrowed;

typedef struct mproc__borrower {
    mproc__pool_view *view;
    uint32_t epoch_seen;
    mproc__borrowed kept[MPROC__POOL_LENT];
} mproc__borrower;

int mproc__borrow_variant(mproc__borrower *borrower, const void *bytes, size_t size_bytes,
                          mproc_variant *ret_value);
/* Borrowed until the owner takes it back, which it does not while a map uses it. */
int mproc__borrow_segment(mproc__borrower *borrower, unsigned index, mproc__segment **ret_segment);
/* Lets go of what the owner has taken back. */
void mproc__borrow_trim(mproc__borrower *borrower);
void mproc__borrow_end(mproc__borrower *borrower);

/* Of a handle that a worker may keep: having it tells nobody anything, and it holds nothing between two calls. */
static inline bool mproc__lend_keeps(uint32_t type)
{
    return type == MPROC_TYPE_ARRAY || type == MPROC_TYPE_SHM || type == MPROC_TYPE_SHM_LIST ||
           type == MPROC_TYPE_LOCK || type == MPROC_TYPE_RWLOCK || type == MPROC_TYPE_CONDITION ||
           type == MPROC_TYPE_EVENT;
}

#endif
