/* SPDX-License-Identifier: BSD-2-Clause */
/* Items from 0 bytes to 8 MiB in each start state: what the sweeps of one producer and one consumer and those of many of
 * both have in common. A state of such a sweep is a size and a start.
 *
 * The first two sizes are records, the others blocks. The copy of a block is not followed store by store (kill_quiet). From
 * 1 MiB on the queue grows in the call, too, where no item was there before. */
#ifndef MPROC__TESTS_KILL_QUEUE_SIZES_H
#define MPROC__TESTS_KILL_QUEUE_SIZES_H

#include "kill/queue_scene.h"

typedef struct queue_start {
    unsigned preload; /* so many items are there, 0 and up */
    bool bounded;     /* to two items; else there is room for one more */
    bool wrap;        /* the next record does not fit before the ring's end */
    bool closed;
    int expected; /* of the victim's call */
} queue_start;

extern const char *const queue_sizes_states[];
const queue_start *queue_put_start(unsigned state);
const queue_start *queue_get_start(unsigned state);
/* The queue of such a state; `put`: of a sweep of put. 0, or a fault. */
int queue_sizes_make(queue_scene *s, bool put, unsigned state);
/* The victim's calls: the item after the preload, the item 0. */
int queue_sizes_put(const queue_scene *s, unsigned state);
int queue_sizes_get(const queue_scene *s, unsigned state);

#endif
