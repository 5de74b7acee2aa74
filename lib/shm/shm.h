/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw shared memory as a noun. L2. */
#ifndef MPROC__SHM_SHM_H
#define MPROC__SHM_SHM_H

#include <mproc/shm.h>
#include "shm/noun.h"

extern const mproc__noun mproc__shm_noun;

#endif
