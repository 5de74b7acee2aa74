/* SPDX-License-Identifier: BSD-2-Clause */
/* One absolute, monotonic point in time. A struct, so that a bare 250 does not compile. */
#ifndef MPROC_DEADLINE_H
#define MPROC_DEADLINE_H

#include <mproc/base.h>

MPROC_BEGIN

typedef struct mproc_deadline { int64_t ns; } mproc_deadline;   /* passed in one register; FFI may say int64 */
#ifdef __cplusplus
#define MPROC_NOW     (mproc_deadline{ 0 })
#define MPROC_FOREVER (mproc_deadline{ INT64_MAX })
#else
#define MPROC_NOW     ((mproc_deadline){ 0 })
#define MPROC_FOREVER ((mproc_deadline){ INT64_MAX })
#endif
MPROC_API mproc_deadline mproc_after_ms(int64_t ms);        /* negative counts as now; saturates at forever */
MPROC_API mproc_deadline mproc_after_ns(int64_t ns);
MPROC_API int64_t        mproc_left_ms(mproc_deadline deadline);     /* 0 when past; INT64_MAX when forever */

MPROC_END_DECLS

#endif
