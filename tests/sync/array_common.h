/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of arrays share: an array in either home, and work for others on it. */
#ifndef MPROC__TESTS_ARRAY_COMMON_H
#define MPROC__TESTS_ARRAY_COMMON_H

#include "shm/place.h"
#include "support/support.h"
#include "sync/array.h"

extern mproc_place *place;
extern mproc_array *array;

/* home 0: host, 1: thread, 2: shm. */
void place_make(int home);
void array_make(int home, mproc_item item, size_t count, const mproc_array_options *options);
/* With these items. */
void array_make_of(int home, mproc_item item, size_t count, const void *initial);
/* Closes array and place. */
void array_drop(void);
int64_t item_get(size_t index);
int in_child(support_fn *fn);
/* In another process, or in another thread for the home thread; what fn answered. */
int elsewhere(int home, support_fn *fn);
/* The same three times at once; 0: all answered 0. */
enum { CROWD = 3 };
int crowd(int home, support_fn *fn);
/* As over a socket: another handle on the same memory. */
mproc_array *crossed(mproc_array *source);

#endif
