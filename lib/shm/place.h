/* SPDX-License-Identifier: BSD-2-Clause */
/* Places: where objects live. L2 declares them; L7 opens them (mproc_place_open) and fills the server operations.
 *
 * thread: and host: objects are made by the layer that owns the noun, directly (mproc_queue_create looks at the home);
 * only server places go through the table below. */
#ifndef MPROC__SHM_PLACE_H
#define MPROC__SHM_PLACE_H

#include <mproc/place.h>
#include <mproc/sync.h>
#include "data/handle.h"
#include "shm/segment.h"

/* One entry a noun; NULL: MPROC_EPLACE. Filled by lib/manager. */
typedef struct mproc__server_place_ops {
    int (*lock_create)(mproc_place *place, const mproc_lock_options *options, mproc_lock **ret_lock);
    int (*lock_open)(mproc_place *place, const char *name, mproc_lock **ret_lock);
    int (*ping)(mproc_place *place, mproc_deadline deadline);
    int (*names)(mproc_place *place, mproc_variant *ret_list);
    int (*unlink)(mproc_place *place, const char *name);
} mproc__server_place_ops;

struct mproc_place {
    mproc__handle handle;
    mproc__home home;
    const mproc__server_place_ops *server;      /* server homes only */
    char *address;                              /* as resolved; owned */
    /* shm: only */
    const char *group;    /* the part of the address behind "shm:/", or "" */
    bool persist;         /* names stay when nobody uses the objects */
    uint64_t incarnation; /* whose closing takes all names of the group away; 0: nobody's */
};

/* A thread: or host: place, for mproc_place_open. -ENOMEM. */
int mproc__place_local(mproc__home home, mproc_place **ret_place);
/* "shm:" or "shm:/NAME". options may be NULL. -EINVAL, -ENAMETOOLONG, -ENOMEM. */
int mproc__place_shm(const char *address, const mproc_place_options *options, mproc_place **ret_place);
/* Of an argument: NULL is host. -EINVAL for something that is no place. */
int mproc__place_home(mproc_place *place, mproc__home *ret_home);

/* Names of thread: and host: objects (and handles of shm: ones by device and inode): a directory of this process (and, as
 * a copy, of its fork children), weak: an entry goes with its object. Finding keeps (one reference for the caller). Any
 * thread. */
int mproc__names_add(mproc__home home, const char *name, mproc__handle *handle);            /* -EEXIST */
/* -ENOENT; -EINVAL: of another type. */
int mproc__names_find(mproc__home home, const char *name, mproc_type_id type, mproc__handle **ret_handle);
void mproc__names_remove(mproc__handle *handle);                                            /* in destroy; none: nothing */
int mproc__names_remove_name(mproc__home home, const char *name);                           /* unlink; -ENOENT */
int mproc__names_list(mproc__home home, mproc_variant *ret_list);                           /* dicts: name, type, holders */

#endif
