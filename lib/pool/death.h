/* SPDX-License-Identifier: BSD-2-Clause */
/* What a worker's death leaves to do, and what is known of it. L6. */
#ifndef MPROC__POOL_DEATH_H
#define MPROC__POOL_DEATH_H

#include <sys/resource.h>

#include "pool/layout.h"

/* Buries rows of the pool's segment: for mproc__segment_on_sweep, context the view. */
int mproc__pool_on_sweep(mproc__segment *segment, unsigned row, void *view);
/* Puts back, or makes final, what the incarnation of worker `index` that `dead` names was at. With the life word of its row
 * held; or by the supervisor, of one that has no row, or whose row nobody can sweep. A burier killed in the middle is continued
 * by the next. */
void mproc__pool_bury(mproc__pool_view *view, unsigned index, mproc__worker_word dead);
/* The same by the worker itself, when its present work was stopped: it takes no more. */
void mproc__pool_bury_work(mproc__pool_view *view, unsigned index, mproc__worker_word self);

enum { MPROC__END_TEXT = 160 };

/* Second stage: the kernel told why. Supervisor. Of `of` exit_code, pid and cause. `usage` NULL: not known. */
void mproc__certificate_write(mproc__pool_view *view, unsigned index, unsigned life,
                              const mproc__certificate_shared *of, const struct rusage *usage);
/* False: not known (yet, or no longer). */
bool mproc__certificate_read(const mproc__pool_view *view, unsigned index, unsigned life,
                             mproc__certificate_shared *ret_certificate);
/* "was killed by signal 9 (Killed)", "exited with code 3". */
void mproc__certificate_text(int exit_code, char *buffer, size_t size_bytes);
/* The same, and what else is known. */
void mproc__certificate_tell(const mproc__certificate_shared *certificate, char *buffer, size_t size_bytes);

static inline bool mproc__certificate_oom(const mproc__certificate_shared *certificate)
{
    return certificate->cause == MPROC__END_MEMORY_GROUP || certificate->cause == MPROC__END_MEMORY_SYSTEM;
}

/* Nothing of the map is left to do. Counting is quick; after a death, which may have cut a count short, by looking, from
 * the caller's *final on: granules below it were found final, and stay so. 0 at first. */
bool mproc__map_complete(const mproc__pool_view *view, const mproc__map_shared *map, uint64_t *final);

/* The loss word of a map (layout.h). */
static inline uint64_t mproc__loss_pack(uint64_t item, unsigned life, mproc__run_state reason)
{
    return (item + 1) << 20 | (uint64_t)(life & 0xffff) << 4 | (uint64_t)reason;
}
static inline int mproc__loss_code(mproc__run_state reason)
{
    if (reason == MPROC__RUN_EXPIRED)
        return -ETIME;
    return reason == MPROC__RUN_CANCELLED ? -ECANCELED : MPROC_EDIED;
}

#endif
