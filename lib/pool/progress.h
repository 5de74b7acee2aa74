/* SPDX-License-Identifier: BSD-2-Clause */
/* Telling how far a map is, in the thread that waits for it. L6. */
#ifndef MPROC__POOL_PROGRESS_H
#define MPROC__POOL_PROGRESS_H

#include <mproc/pool.h>
#include "platform/base.h"

typedef struct mproc__teller {
    mproc_progress_fn *fn; /* NULL: nobody is told */
    void *context;
    int64_t interval_ns, begin_ns, next_ns;
} mproc__teller;

void mproc__teller_init(mproc__teller *teller, const mproc_map_options *options);
/* When it is time again, or the end. */
void mproc__teller_tell(mproc__teller *teller, mproc_progress progress);
/* When that is; for whoever waits. INT64_MAX: never. */
static inline int64_t mproc__teller_next_ns(const mproc__teller *teller)
{
    return teller->fn ? teller->next_ns : INT64_MAX;
}
/* Waits for the end of a map, telling. */
void mproc__progress_await(mproc_future *map, const mproc_map_options *options);

#endif
