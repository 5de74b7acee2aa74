/* SPDX-License-Identifier: BSD-2-Clause */
/* Items from 0 bytes to 8 MiB in each start state: a state of a sweep by size is a size and a start. What the sweeps of one
 * producer and one consumer, of many of both, of loans and of variants have in common.
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
    bool redeliver;
    int expected; /* of the victim's call */
} queue_start;

/* State names, of a macro that gives those of one size. */
#define QUEUE_STATES(names)                                                                                  \
    names("0B"), names("64B"), names("4KiB"), names("64KiB"), names("1MiB"), names("8MiB"), NULL
/* The size that a state is of where there are so many starts. */
size_t queue_size(unsigned state, unsigned starts);
/* A queue in such a state. Its first items come by `put` (0: done), or are bytes. 0, or a fault. */
typedef int queue_put_fn(const queue_scene *s, unsigned number);
int queue_start_make(queue_scene *s, const queue_start *start, size_t size_bytes, queue_put_fn *put);

/* Put and get: the starts, and the victim's calls with bytes, which put the item after the preload and get item 0. */
enum { QUEUE_STARTS = 6 };
extern const char *const queue_sizes_states[];
const queue_start *queue_put_start(unsigned state);
const queue_start *queue_get_start(unsigned state);
int queue_sizes_make(queue_scene *s, bool puts, unsigned state);
int queue_sizes_put(const queue_scene *s, unsigned state);
int queue_sizes_get(const queue_scene *s, unsigned state);

#endif
