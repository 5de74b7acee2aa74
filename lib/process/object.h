/* SPDX-License-Identifier: BSD-2-Clause */
/* Places in this program's code: which object file, by build-id, and where in it. L5.
 *
 * The loader's list of objects has a lock, which a fork copies as another thread holds it, and libc does not make it anew in
 * the child: there who asks for the list waits for ever. So what can be known without it is asked for first: that is all
 * about objects with a build-id, but for finding one that is not the program itself (_dl_find_object, glibc 2.35 on). */
#ifndef MPROC__PROCESS_OBJECT_H
#define MPROC__PROCESS_OBJECT_H

#include <string.h>

#include "platform/base.h"

typedef struct mproc__object_place {
    uint8_t build_id[20]; /* shorter ids are zero-padded */
    uint64_t offset;      /* from the object's load address */
} mproc__object_place;

static inline bool mproc__object_place_same(const mproc__object_place *a, const mproc__object_place *b)
{
    return a->offset == b->offset && !memcmp(a->build_id, b->build_id, sizeof a->build_id);
}

/* ---- without the list: in any process, at any time ---- */
/* False: this is no code, or cannot be known so. */
bool mproc__object_at(uintptr_t address, mproc__object_place *ret_place);
/* The address of a place in the program itself; 0: not there, or not to be known so. */
uintptr_t mproc__object_program(const mproc__object_place *place);

/* The same by what mproc__object_note has written down, if it was called: no page is looked at that a fork child has not. */
uintptr_t mproc__object_noted(const mproc__object_place *place);

/* ---- by the list ---- */
/* For the children that this process will fork: where the program's code is, which stays as long as the process. By the
 * thread that forks them, before the first; others, which a preloaded library may have begun, may run. */
void mproc__object_note(void);
/* How often anything was unloaded when it was looked at: what was found is good while that stands still. */
unsigned long long mproc__object_unloads(void);
/* 0, -ENOENT without a story; what mproc__digest_load says where an object that may be the one has no build-id. */
int mproc__object_search(uintptr_t address, mproc__object_place *ret_place, unsigned long long *ret_unloads);
int mproc__object_search_place(const mproc__object_place *place, uintptr_t *ret_address,
                               unsigned long long *ret_unloads);

/* Of the program; zeros: not to be had. */
void mproc__object_own_id(uint8_t ret_id[20]);

#endif
