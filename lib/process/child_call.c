/* SPDX-License-Identifier: BSD-2-Clause */
/* The call of a process's function, in a process or a thread. */
#include "platform/base.h"

#include <stdio.h>

#include "data/call.h"
#include "process/child.h"

static void child_complain(const char *name, const mproc_error *story)
{
    const char *text = mproc_error_text(story);
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", name, text);
}

static bool child_stopping(const mproc_call *call)
{
    const _Atomic uint32_t *word = call->runner;
    return word && atomic_load_explicit(word, memory_order_relaxed);
}

MPROC__FORK_TEXT int mproc__child_call(const char *process_name, const char *fn_name,
                                       const _Atomic uint32_t *stop_word, mproc_fn *fn, mproc_variant args)
{
    mproc_call call;
    mproc__call_init(&call, args);
    call.name = fn_name;
    call.stopping = child_stopping;
    call.runner = (void *)(uintptr_t)stop_word;
    int code = mproc__call_run(&call, fn);
    if (code < 0)
        child_complain(process_name, &call.story);
    mproc__call_fini(&call);
    return code < 0 ? 1 : code & 0xff;
}
