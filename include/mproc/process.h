/* SPDX-License-Identifier: BSD-2-Clause */
/* A handle is a started process (or thread). There is no "built but not started". */
#ifndef MPROC_PROCESS_H
#define MPROC_PROCESS_H

#include <mproc/call.h>
#include <mproc/deadline.h>

MPROC_BEGIN

typedef struct mproc_process_options {
    size_t      size;
    const char *name;               /* NULL: Process-N */
    mproc_start start;
    uint32_t    grace_ms;           /* between SIGTERM and SIGKILL; 0: 2000 */
} mproc_process_options;
MPROC_API MPROC_CHECK int mproc_process_start(mproc_fn *fn, mproc_variant args, const mproc_process_options *options, mproc_process **ret_process);
MPROC_API void mproc_process_close(mproc_process **process); /* running: joined at program exit, as the reference does */
MPROC_API int  mproc_process_join(mproc_process *process, mproc_deadline deadline, int *ret_exit_code);  /* -N: signal N */
MPROC_API bool mproc_process_is_alive(const mproc_process *process);
MPROC_API int  mproc_process_pid(const mproc_process *process);
MPROC_API const char *mproc_process_name(const mproc_process *process);
MPROC_API int  mproc_process_signal(mproc_process *process, int signal_number);       /* by pidfd: never a recycled pid */
MPROC_API int  mproc_process_stop(mproc_process *process, mproc_deadline deadline);   /* flag, SIGTERM, SIGKILL, reaped */
MPROC_API mproc_process *mproc_process_self(void);           /* borrowed */
MPROC_API mproc_process *mproc_process_parent(void);         /* borrowed; NULL in the first process; waitable */

MPROC_END_DECLS

#endif
