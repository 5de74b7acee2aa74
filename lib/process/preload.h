/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions that the nursery runs once, before it serves. L5. The owner keeps the list, every nursery that it makes gets it
 * with its arguments. */
#ifndef MPROC__PROCESS_PRELOAD_H
#define MPROC__PROCESS_PRELOAD_H

#include "process/launch.h"

enum { MPROC__PRELOADS = 64 };

/* ---- owner ---- */
/* The list as one value, borrowed; from now on, in this process, it stands still. */
mproc_variant mproc__preload_take(void);

/* ---- nursery ---- */
/* Runs what `list` names, in order, and flushes the streams. 0, or the code of the first failure under MPROC_PRELOAD_FAIL with
 * its story: what came after it has not run. */
int mproc__preload_run(mproc_variant list);

#endif
