/* SPDX-License-Identifier: BSD-2-Clause */
/* What an exec would have carried over to a forkserver child: directory, environment, stdout and stderr. Of the
 * first two only what is not as the nursery has it need be sent, which is seldom anything. L5. */
#ifndef MPROC__PROCESS_SURROUNDINGS_H
#define MPROC__PROCESS_SURROUNDINGS_H

#include "process/boot.h"
#include "process/nursery.h"

/* For a start, in the owner. */
int mproc__surroundings_pack(const mproc__nursery *nursery, mproc__boot_load *load);

/* ---- environment: strings, each with its end ---- */
int mproc__environment_copy(char **ret_strings, size_t *ret_size_bytes);
bool mproc__environment_is(const char *strings, size_t size_bytes);
/* Becomes this process's, which points into them from then on; -ENOMEM: it is as it was. */
int mproc__environment_become(char *strings, size_t size_bytes);

/* ---- directory ---- */
/* In the nursery, when nothing of the program's runs in it any more: where it is. */
void mproc__directory_tell(mproc__nursery_shared *shared);

#endif
