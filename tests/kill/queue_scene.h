/* SPDX-License-Identifier: BSD-2-Clause */
/* What the sweeps of the queue share: numbered items, and what recoverers, bystanders and the survivor do.
 *
 * Item n is a counting pattern of any size from the byte n on, so that every byte tells which item it is of and a piece of
 * another one shows. */
#ifndef MPROC__TESTS_KILL_QUEUE_SCENE_H
#define MPROC__TESTS_KILL_QUEUE_SCENE_H

#include "channel/queue_common.h"
#include "kill/killsweep.h"

enum {
    SCENE_BYTES_MOST = 8 << 20,
    SCENE_BLOCK_BYTES = 1100, /* just no record */
    SCENE_GOT_BYTES = 16,
    SCENE_COPY_BYTES = 64 << 10, /* larger ones are got in place */
    SCENE_SURVIVOR = 100, /* the survivor's item */
    SCENE_PARKED = 200    /* and that of a parked putter */
};

/* Shared by all processes of a round. */
typedef struct queue_notes {
    _Atomic uint32_t parked, back; /* a waiter that says so; there is none beside a blocked victim that is stopped */
    uint8_t got[SCENE_GOT_BYTES];  /* what the victim got, which outlives it */
} queue_notes;

/* Zeroed before queue_scene_make. What else a sweep needs to know stands behind it in the same allocation. */
typedef struct queue_scene {
    mproc_queue *queue;
    queue_notes *notes;
    size_t size_bytes;               /* of each item */
    uint32_t head_items, tail_items; /* before the call */
} queue_scene;

mproc_deadline queue_hard(void);
/* A queue and its `preload` first items; what the call does counts from here on, or from queue_scene_begin. 0, or a fault. */
int queue_scene_make(queue_scene *s, const mproc_queue_options *options, size_t size_bytes, unsigned preload);
void queue_scene_begin(queue_scene *s);
/* Turns the ring until less than a record is left before its end. 0, or a fault. */
int queue_scene_turn(const queue_scene *s);
/* Lets the blocks of the scene's size that may be in use be quiet (kill_quiet), from the lowest on. */
void queue_scene_quiet(const queue_scene *s, unsigned blocks);

/* Item `number`: as many bytes as an item of the scene has, to be read only. */
const uint8_t *queue_item(unsigned number);
/* Which item it is; -1: not whole. An empty one is item 0. */
int queue_item_number(const queue_scene *s, const void *data, size_t size_bytes);
/* What queue_item_number says of item `number`. */
int queue_number(const queue_scene *s, unsigned number);
int queue_put_number(const queue_scene *s, unsigned number, mproc_deadline deadline);
/* As queue_item_number, or an error (below -1). The second one by mproc_queue_get, whatever the size. */
int queue_get_number(const queue_scene *s, mproc_deadline deadline);
int queue_get_copy(const queue_scene *s, mproc_deadline deadline);
unsigned queue_puts_since(const queue_scene *s);
unsigned queue_gets_since(const queue_scene *s);

/* ---- a waiter that notes when it is parked and when it is back, so that nobody takes its part away ---- */
int queue_parked_get(const queue_scene *s);
int queue_parked_put(const queue_scene *s);
/* Waits for it. */
bool queue_parked_is_back(const queue_scene *s);
bool queue_parked_is_back_or_none(const queue_scene *s);

/* ---- the survivor ---- */
/* Takes what is there, in ascending order: how many, or -1 when it is not. */
int queue_drain(const queue_scene *s);
/* Its own item, there and back, and nothing left; of a closed queue, that it has ended. 0, or a fault from 20 on. */
int queue_scene_use(const queue_scene *s, bool closed);

/* ---- callbacks of a kill_case ---- */
/* Of a queue_scene at the beginning of what was allocated. */
void queue_scene_teardown(void *context);
/* Of anything that begins with the queue. */
int queue_scene_enter(void *context, unsigned state);
int queue_scene_recover(void *context, unsigned state);
/* Beside a stopped victim: nobody is dead, and a call that changes nothing keeps its deadline. */
int queue_scene_meanwhile(void *context, unsigned state);

#endif
