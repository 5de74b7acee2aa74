/* SPDX-License-Identifier: BSD-2-Clause */
/* What a noun's explain function said of one object, kept until explain.c prints it. L2. */
#ifndef MPROC__SHM_REPORT_H
#define MPROC__SHM_REPORT_H

#include "shm/explain.h"

enum {
    MPROC__REPORT_HOLDERS = 512, /* told apart; more are counted. A segment has 248 participants */
    MPROC__REPORT_AS_BYTES = 32,
    MPROC__REPORT_STATE_BYTES = 512 /* of all state lines of an object */
};

typedef struct mproc__report_entry {
    pid_t pid; /* 0: not told */
    pid_t tid; /* 0: not told */
    char as[MPROC__REPORT_AS_BYTES];
} mproc__report_entry;

struct mproc__report {
    char state
        [MPROC__REPORT_STATE_BYTES]; /* lines divided by '\n', the last without one; only printable characters */
    unsigned holder_count;           /* also of those for whom there was no room */
    mproc__report_entry holders[MPROC__REPORT_HOLDERS];
};

void mproc__report_clear(mproc__report *report);
/* Those in holders[]. */
unsigned mproc__report_told(const mproc__report *report);
/* What people read comes from segments that may be damaged: anything that is not printable becomes '?'. */
void mproc__report_clean(char *text);

#endif
