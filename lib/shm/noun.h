/* SPDX-License-Identifier: BSD-2-Clause */
/* Nouns: how an object that is one segment is made, found by name and given to another process, written once. L2.
 *
 * A noun (semaphore, event, array ...) brings a constant table, `mproc__noun`, and a function that fills the root of a
 * new segment; everything about places, names and crossing is here. Server homes are not: a noun's public call looks at
 * mproc__place_home first and asks place->server.
 *
 *     thread:  private memory; names in this process's directory
 *     host:    anonymous sealed memory; names in this process's directory
 *     shm:     a file of shared memory, always named (a random name where none is given); unrelated programs open it */
#ifndef MPROC__SHM_NOUN_H
#define MPROC__SHM_NOUN_H

#include "data/handle.h"
#include "data/parcel.h"
#include "shm/place.h"
#include "shm/segment.h"

struct mproc__report;

typedef struct mproc__noun {
    mproc_type_id type;
    const char *word;   /* "semaphore": in stories and labels */
    size_t least_bytes; /* of a root; an attached segment with less is MPROC_ECORRUPT */
    /* Makes a handle over a segment whose root is built, by us or by a stranger: so it checks every length and offset in
     * the root (MPROC_ECORRUPT). Takes the segment on success only. */
    int (*attach)(mproc__segment *segment, mproc__handle **ret_handle);
    /* Says what the object is and who holds it, by the calls of shm/explain.h, from a private copy of the first bytes of
     * the root, which may be garbage. NULL: kind and waiters only. */
    void (*explain)(const void *root, size_t size_bytes, struct mproc__report *report);
    /* For a noun whose pack adds more than mproc__noun_pack does; NULL: the common one. */
    mproc__unpack_fn *unpack;
    bool readable; /* attach is also for a segment that may only be read */
} mproc__noun;

/* Fills the zeroed root of a new segment that nobody else sees yet. */
typedef int mproc__build_fn(mproc__segment *segment, const void *how);

typedef struct mproc__making {
    const mproc__noun *noun;
    mproc_place *place;   /* of home thread, host or shm; NULL: host */
    const char *name;     /* or NULL */
    bool and_open;        /* one of that name is opened as it is instead of -EEXIST */
    size_t size_bytes;    /* of the root */
    size_t reserve_bytes; /* 0: all */
    mproc__build_fn *build;
    const void *how; /* for build */
    /* shm: only. */
    uint32_t mode; /* permission bits; 0: 0600 */
    bool persist;  /* the name stays when nobody uses it; also when the place says so */
} mproc__making;

/* A new object, or with and_open one that exists. Never visible half made: the name comes last.
 * What build and attach answer; -EEXIST; -EINVAL (a bad name, another type); -ENOMEM, -ENOSPC, -EMFILE. */
int mproc__noun_create(const mproc__making *making, mproc__handle **ret_handle);
/* -ENOENT; -EINVAL: no name, or an object of another type has it. */
int mproc__noun_open(const mproc__noun *noun, mproc_place *place, const char *name,
                     mproc__handle **ret_handle);
/* For handle ops: what another process needs, or MPROC_ECANNOTCROSS for a thread home. */
int mproc__noun_pack(mproc__segment *segment, mproc__parcel *parcel);
/* The other end of mproc__noun_pack, for a noun's own unpack: checks blob and kind. */
int mproc__noun_unpack(mproc__parcel *parcel, const void *blob, size_t blob_bytes,
                       mproc__handle **ret_handle);
/* Lets parcels bring the noun and explain tell of it. Once, from mproc_init. */
void mproc__noun_register(const mproc__noun *noun);
/* NULL: nobody registered that type. */
const mproc__noun *mproc__noun_of(uint32_t type);
/* "host", "thread" or "shm": for describe. */
const char *mproc__noun_home_text(const mproc__segment *segment);

#endif
