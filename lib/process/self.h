/* SPDX-License-Identifier: BSD-2-Clause */
/* Who this process is in its family: set once by the child's first steps, inherited by nobody. L5. */
#ifndef MPROC__PROCESS_SELF_H
#define MPROC__PROCESS_SELF_H

#include <sys/types.h>

#include <mproc/process.h>
#include "platform/base.h"

enum {
    MPROC__NAME_BYTES = 128, /* of a process name, with its end */
    MPROC__FN_NAME_BYTES = 96,
    MPROC__PATH_BYTES = 64 /* "3:1:2": the second child of the first child of main's third */
};
#define MPROC__MAIN_NAME "MainProcess"

typedef struct mproc__self {
    char name[MPROC__NAME_BYTES];
    char path[MPROC__PATH_BYTES]; /* empty in the first process */
    char parent_name[MPROC__NAME_BYTES];
    pid_t parent_pid;            /* 0: the first process */
    uint64_t parent_start_ticks; /* a pid alone is no identity */
    mproc_log_level log_level;   /* what the log of the parent is, for one that is exec'd */
    bool log_on_stderr;
    bool daemon;                       /* may start no children */
    mproc_start method;                /* by which it was started; 0: the first process */
    const _Atomic uint32_t *stop_word; /* NULL: nobody tells it to stop */
    /* Of the function it runs, for stories. Asked by the parent: in the child the search would map a dozen pages anew. */
    char fn_name[MPROC__FN_NAME_BYTES];
} mproc__self;

/* Of this process. Written by the first steps, before any other thread exists; read-only afterwards. */
mproc__self *mproc__self_get(void);
/* thread.c: in a fork child, which is no thread of the parent's, also where a thread has forked it. */
void mproc__thread_forget(void);
/* Fills what a child shall know of the calling process as its parent. */
void mproc__self_for_child(mproc__self *ret_child);

/* ---- method.c ---- */
/* Whether mproc_set_start has named the default; and that a start uses it, after which it cannot be set any
 * more. */
bool mproc__start_named(void);
void mproc__start_use_default(void);
/* In a child that the library starts: its default is the method by which it was started, not what the
 * parent had set. */
void mproc__start_forget(void);

#endif
