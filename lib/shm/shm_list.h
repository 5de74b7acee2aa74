/* SPDX-License-Identifier: BSD-2-Clause */
/* The shareable list's private side: between shm_list.c (made, found, asked as a whole) and shm_list_slots.c. L2. */
#ifndef MPROC__SHM_SHM_LIST_H
#define MPROC__SHM_SHM_LIST_H

#include <mproc/shm_list.h>
#include "data/handle.h"
#include "platform/robust.h"
#include "shm/noun.h"

enum {
    MPROC__SLOT_UNIT = 8, /* bytes that are read and written at once; rooms are multiples of it */
    /* What a slot's word has room for. */
    MPROC__SLOT_LENGTH_BITS = 28,
    MPROC__SLOT_KIND_BITS = 4,
    MPROC__SLOT_BYTES_MAX = (1 << MPROC__SLOT_LENGTH_BITS) - 1
};

/* A slot has two halves of `room` bytes each, one behind the other at `offset`: one holds the value, the next value is
 * written into the other. The creator writes offset and room before anyone else has the list; they never change. */
typedef struct mproc__slot_shared {
    /* sequence (32 bits, highest) | kind | length in bytes. The lowest bit of the sequence says which half holds the value.
     * Written by whoever holds `writers`, by one release store after its half is complete: that is the whole commit. A
     * writer that dies before it leaves a half that nobody reads; the next writer begins it anew.
     * A reader copies the half that the word names and looks again: the half is written only by a writer that found a
     * later word, so an unchanged one means a whole copy. It tries again only when a writer has finished meanwhile, never
     * because one died. (2^32 writes during one copy would be taken for none.) */
    _Atomic uint64_t word;
    uint64_t offset; /* of the first half, from the root */
    uint64_t room;
} mproc__slot_shared;

/* Root of a list's segment; the halves follow the slots. */
typedef struct mproc__shm_list_shared {
    /* Held by whoever writes a slot. A death with it leaves nothing to repair. */
    mproc__robust_shared writers;
    /* By the creator, before anyone else has the list; never changes. */
    _Alignas(64) uint64_t count;
    _Alignas(64) mproc__slot_shared slots[];
} mproc__shm_list_shared;

struct mproc_shm_list {
    mproc__handle handle;
    mproc__segment *segment;
    mproc__shm_list_shared *shared;
    size_t count; /* checked against the segment's size */
};

extern const mproc__noun mproc__shm_list_noun;

/* ---- shm_list_slots.c ---- */
/* Whether a slot can hold it: 0, MPROC_EARGUMENT, -EMSGSIZE. */
int mproc__slot_value_check(mproc_variant value);
/* Room of a slot that is made with this value. */
size_t mproc__slot_room(mproc_variant value);
/* A new slot's word and first half, while nobody else sees them. False: it has no room for that. */
bool mproc__slot_fill(mproc__segment *segment, mproc__slot_shared *slot, mproc_variant value);
/* index < count. The value is owned. 0, -ENOMEM, MPROC_ECORRUPT. */
int mproc__slot_read(mproc_shm_list *list, size_t index, mproc_variant *ret_value);
/* What is in the slot and how much could be: 0, MPROC_ECORRUPT. */
int mproc__slot_look(mproc_shm_list *list, size_t index, mproc_kind *ret_kind, size_t *ret_room);

#endif
