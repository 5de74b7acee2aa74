/* SPDX-License-Identifier: BSD-2-Clause */
/* Server places: one connection a place and process, opened at the first call and again when it broke. L7. */
#ifndef MPROC__MANAGER_SESSION_H
#define MPROC__MANAGER_SESSION_H

#include "data/handle.h"
#include "manager/line.h"
#include "shm/place.h"

/* What a process has of a place. A fork child gets one of its own at its first call, because the parent's
 * connection and the locks around it belong to the parent's threads. */
typedef struct mproc__session {
    uint64_t incarnation;
    struct mproc__session *stale; /* the parent's, to be freed with the place */
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool opening;      /* by one thread, the others wait for it */
    mproc__line *line; /* NULL: none yet, or it broke */
} mproc__session;

typedef struct mproc__server_place {
    mproc_place place;
    mproc__key *key;
    uint32_t connect_ms, call_ms;
    _Atomic(mproc__session *) session;
    struct mproc__server_place *next; /* in the directory of place_open.c */
} mproc__server_place;

/* "unix:..." */
int mproc__server_place_create(const char *address, const mproc_place_options *options,
                               mproc__server_place **ret_place);
void mproc__server_place_destroy(mproc__server_place *place);
mproc_deadline
mproc__server_place_limit(const mproc__server_place *place); /* of a call that takes no deadline */

typedef struct mproc__request_options {
    const mproc_variant *args; /* NULL: none */
    bool changes;              /* when the answer is lost it is MPROC_EUNKNOWN whether it happened */
    mproc_deadline deadline;
    _Atomic uint64_t *holder_session; /* NULL, or the session that holds the object for the caller's handle */
} mproc__request_options;

/* A request and its reply. Connects where needed. >= 0: the server's code; < 0: a story is left. ret_end may
 * be NULL. */
int mproc__session_call(mproc__server_place *place, mproc__envelope *request,
                        const mproc__request_options *options, mproc__reply *ret_reply);
/* Without reply, without connecting anew, to the session `session` only: to others it means nothing. */
void mproc__session_tell(mproc__server_place *place, uint64_t session, mproc__envelope *request);

#endif
