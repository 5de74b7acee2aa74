/* SPDX-License-Identifier: BSD-2-Clause */
/* One run of a function elsewhere: what its runner (process, pool, server) fills in and reads back. L1. */
#ifndef MPROC__DATA_CALL_H
#define MPROC__DATA_CALL_H

#include <mproc/call.h>
#include "platform/base.h"
#include "platform/story.h"

struct mproc_call {
    /* set by the runner */
    mproc_variant args; /* a list; borrowed */
    const char *name;   /* of the function, for stories; may be NULL */
    unsigned attempt;   /* from 1 */
    void *self;
    bool (*stopping)(const mproc_call *call);                         /* NULL: never */
    int (*progress)(mproc_call *call, uint64_t done, uint64_t total); /* NULL: not shown */
    int (*checkpoint)(mproc_call *call, mproc_variant state);         /* NULL: not kept */
    mproc_variant resume;                                             /* what the attempt before kept */
    void *runner;                                                     /* the runner's own */
    size_t range_first, range_end;                                    /* of mproc_pool_for; else 0, 0 */
    /* set by the function */
    mproc_variant result; /* owned by the call */
    int code;             /* of mproc_call_fail, or MPROC_EARGUMENT: the mark; 0: none */
    mproc_error story;    /* valid when code < 0; stays last: it is not cleared before */
};

void mproc__call_init(mproc_call *call, mproc_variant args);
/* Runs fn and settles the outcome: 0 with call->result, or the code with call->story filled. */
int mproc__call_run(mproc_call *call, mproc_fn *fn);
void mproc__call_fini(mproc_call *call); /* clears the result */

#endif
