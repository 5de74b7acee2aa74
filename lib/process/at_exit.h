/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions for the end of this process, run by the family, which knows when. L5. */
#ifndef MPROC__PROCESS_AT_EXIT_H
#define MPROC__PROCESS_AT_EXIT_H

#include <mproc/at_exit.h>

/* Runs all of that priority and above, also those that come meanwhile. */
void mproc__at_exit_run_down_to(int priority);

#endif
