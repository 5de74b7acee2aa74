/* SPDX-License-Identifier: BSD-2-Clause */
/* The texts that tell of the whole machine. They take any bytes, and fill what they find. L0. */
#ifndef MPROC__PLATFORM_MACHINE_H
#define MPROC__PLATFORM_MACHINE_H

#include <mproc/running.h>
#include "platform/base.h"

void mproc__machine_memory_parse(const char *text, size_t length, mproc_machine *ret_machine); /* meminfo */
void mproc__machine_load_parse(const char *text, size_t length, mproc_machine *ret_machine);   /* loadavg */
void mproc__machine_stat_parse(const char *text, size_t length, mproc_machine *ret_machine);   /* stat */

#endif
