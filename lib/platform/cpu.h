/* SPDX-License-Identifier: BSD-2-Clause */
/* The CPUs this process may use, and what decided on their number. L0. */
#ifndef MPROC__PLATFORM_CPU_H
#define MPROC__PLATFORM_CPU_H

#include <mproc/running.h>
#include "platform/base.h"

typedef struct mproc__cpus {
    unsigned online, affinity, usable;
    double group; /* what the smallest quota is worth; 0: none */
    mproc_cpu_limit limit;
} mproc__cpus;
void mproc__cpus_get(mproc__cpus *ret_cpus);

#endif
