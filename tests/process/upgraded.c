/* SPDX-License-Identifier: BSD-2-Clause */
/* A plugin of which check_registered has two builds: the same functions, elsewhere, saying which build they are of. */
#include "platform/base.h"

#include <mproc/call.h>

MPROC_API int upgraded_build(mproc_call *call);
MPROC_API int upgraded_other(mproc_call *call);

#if UPGRADED_BUILD > 1
/* What a newer build has more of, before the function. */
MPROC_API int upgraded_padding(int number);
int upgraded_padding(int number)
{
    for (int i = 0; i < UPGRADED_BUILD; i++)
        number = number * 31 + i;
    return number;
}
#endif

int upgraded_build(mproc_call *call)
{
    (void)call;
    return UPGRADED_BUILD;
}

int upgraded_other(mproc_call *call)
{
    (void)call;
    return 10 + UPGRADED_BUILD;
}
