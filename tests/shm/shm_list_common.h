/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of shareable lists share: a list in any home. */
#ifndef MPROC__TESTS_SHM_LIST_COMMON_H
#define MPROC__TESTS_SHM_LIST_COMMON_H

#include "shm/place.h"
#include "shm/shm_list.h"
#include "support/support.h"

extern mproc_place *place;
extern mproc_shm_list *list;

/* home 0: host, 1: thread, 2: shm. */
void place_make(int home);
void list_make(int home, mproc_variant values, const mproc_shm_list_options *options);
/* Closes list and place. */
void list_drop(void);
mproc_deadline soon(void);
int set(int64_t index, mproc_variant value);
/* Whether the slot of that list holds an equal value of the same kind. */
bool holds(mproc_shm_list *of, int64_t index, mproc_variant value);

#endif
