/* SPDX-License-Identifier: BSD-2-Clause */
/* One queue: bytes or variants; bounded; joinable; acknowledged; loans. */
#ifndef MPROC_QUEUE_H
#define MPROC_QUEUE_H

#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_queue_options {
    MPROC_OBJECT_OPTIONS;
    size_t      max_items;          /* 0: bounded by max_bytes only */
    size_t      max_bytes;          /* 0: 1 MiB on this host, the server's limit elsewhere; reserved at creation */
    bool        redeliver;          /* a taken item whose taker died goes to another */
    uint32_t    max_deliveries;     /* then it is dead-lettered; 0: 5 */
} mproc_queue_options;
MPROC_API MPROC_CHECK int mproc_queue_create(mproc_place *place, const mproc_queue_options *options, mproc_queue **ret_queue);
MPROC_API MPROC_CHECK int mproc_queue_open(mproc_place *place, const char *name, mproc_queue **ret_queue);
MPROC_API void mproc_queue_close(mproc_queue **queue);
/* Bytes: the C programmer's struct. put returned: it no longer needs its producer. Deadline past: -ETIMEDOUT, also for NOW. */
MPROC_API MPROC_CHECK int mproc_queue_put(mproc_queue *queue, const void *data, size_t size_bytes, mproc_deadline deadline);
MPROC_API MPROC_CHECK int mproc_queue_get(mproc_queue *queue, void *buffer, size_t capacity_bytes, mproc_deadline deadline,
                                          size_t *ret_size_bytes);   /* MPROC_ETOOSMALL: kept, needed size returned */
/* Variants: put copies, get gives an owned one (mproc_variant_clear). A bytes message is a BYTES variant and the reverse. */
MPROC_API MPROC_CHECK int mproc_queue_put_variant(mproc_queue *queue, mproc_variant item, mproc_deadline deadline);
MPROC_API MPROC_CHECK int mproc_queue_get_variant(mproc_queue *queue, mproc_deadline deadline, mproc_variant *ret_item);
/* Many of one size: at least one, as many as fit now. */
MPROC_API MPROC_CHECK int mproc_queue_put_many(mproc_queue *queue, const void *items, size_t item_bytes, size_t count,
                                               mproc_deadline deadline, size_t *ret_count);
MPROC_API MPROC_CHECK int mproc_queue_get_many(mproc_queue *queue, void *items, size_t item_bytes, size_t count,
                                               mproc_deadline deadline, size_t *ret_count);
/* Loans. Producer: reserve, write at data, commit (or drop). Consumer: take, read at data, done (or give_back).
 * take + done is at once zero copy, acknowledgement and task_done; get is take, copy, done. join waits for done. */
typedef struct mproc_loan {
    size_t   size;                  /* sizeof, set by MPROC_LOAN_INIT */
    uint64_t id;                    /* may travel: done from another process needs only this */
    uint32_t delivery;              /* 1, or more when redelivered */
    void    *data;
    size_t   data_bytes;            /* may be made smaller before commit */
} mproc_loan;
#define MPROC_LOAN_INIT { sizeof(mproc_loan), 0, 0, NULL, 0 }
MPROC_API MPROC_CHECK int mproc_queue_reserve(mproc_queue *queue, size_t size_bytes, mproc_deadline deadline, mproc_loan *ret_loan);
MPROC_API int  mproc_queue_commit(mproc_queue *queue, mproc_loan *loan);
MPROC_API int  mproc_queue_drop(mproc_queue *queue, mproc_loan *loan);
MPROC_API MPROC_CHECK int mproc_queue_take(mproc_queue *queue, mproc_deadline deadline, mproc_loan *ret_loan);
MPROC_API int  mproc_queue_done(mproc_queue *queue, mproc_loan *loan);           /* twice: MPROC_ESTATE */
MPROC_API int  mproc_queue_give_back(mproc_queue *queue, mproc_loan *loan);      /* to the front, counted as a delivery */
MPROC_API int  mproc_queue_loan_variant(const mproc_loan *loan, mproc_variant *ret_item);  /* a taken variant, borrowed */
MPROC_API int  mproc_queue_join(mproc_queue *queue, mproc_deadline deadline);    /* until everything put is done */
/* End. After shutdown put answers MPROC_ECLOSED; get drains, then MPROC_EEND. discard: drained at once. */
MPROC_API int  mproc_queue_shutdown(mproc_queue *queue, bool discard);
MPROC_API int  mproc_queue_counts(const mproc_queue *queue, size_t *ret_items, size_t *ret_taken, size_t *ret_max_items);

MPROC_END_DECLS

#endif
