/* SPDX-License-Identifier: BSD-2-Clause */
/* Event: one tells, any number wait. The same calls for threads and processes.
 *
 *     mproc_event *ready;
 *     if (mproc_event_create(NULL, NULL, &ready) < 0) ...
 *     mproc_event_wait(ready, mproc_after_ms(1000));                       any number of others
 *     mproc_event_set(ready);                                              one
 *
 * An event is set or not. set releases all who wait at that moment, also when clear follows at once; while it is set nobody
 * waits. A process that is killed inside any of these calls holds up nobody: what it had set wakes those who wait.
 *
 *                     blocks            threads   processes  in a signal handler   in a fork child
 *   create, open      no                any       any        no                    works
 *   set, clear        no                any       any        no                    works; thread home: -ECHILD
 *   is_set            no                any       any        yes                   works; thread home: as at the fork
 *   wait              to its deadline   any       any        no                    works; thread home: -ECHILD
 *   close             no                one       any        no                    works: the parent's stays as it is
 *
 *   home     lives in             survives its creator  may be given to
 *   thread:  this process         no                    threads
 *   host:    anonymous memory     yes, while in use     fork children; processes at their start; over Unix connections
 *   shm:     a file in /dev/shm   yes, while in use     the same, and whoever may open the file; not pollable
 *   unix:    MPROC_EPLACE
 *
 * A signal does not interrupt wait; its deadline does. Events of this host cost 20 KiB and one descriptor each (pollable ones
 * two). Up to 248 processes set, clear or wait for one event: more get MPROC_ELIMIT. */
#ifndef MPROC_EVENT_H
#define MPROC_EVENT_H

#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_event_options {
    MPROC_OBJECT_OPTIONS;
    bool set;           /* at first */
    bool pollable;      /* mproc_wait_fd (wait.h) gives a descriptor. Not in shm: places, whose openers could not get it */
} mproc_event_options;

/* A new event; with a name, one that mproc_event_open finds while it exists. and_open: one of that name is opened as it is,
 * whatever the other options say.
 * -EEXIST: there is one of that name. -EINVAL: no place, wrong options, or an object of another type has that name.
 * -ENOMEM, -ENOSPC: no room. -EMFILE, -ENFILE: no descriptor left. MPROC_EPLACE: not in such a place. */
MPROC_API MPROC_CHECK int mproc_event_create(mproc_place *place, const mproc_event_options *options, mproc_event **ret_event);
/* The named one. thread: and host: know the names given in this process (and before its fork), shm: those of all programs.
 * -ENOENT; -EINVAL; shm: also what mproc_shm_open answers (mproc/shm.h). */
MPROC_API MPROC_CHECK int mproc_event_open(mproc_place *place, const char *name, mproc_event **ret_event);
/* Drops this handle, never the event that others use. NULL and a pointer to NULL do nothing. */
MPROC_API void mproc_event_close(mproc_event **event);

/* 0, also when it was set already. MPROC_ELIMIT: 248 processes use it. -ECHILD, -EINVAL. */
MPROC_API int  mproc_event_set(mproc_event *event);
/* 0, also when it was not set. Those whom the last set released stay released. Errors as set. */
MPROC_API int  mproc_event_clear(mproc_event *event);
/* At this instant; false also for what is no event. */
MPROC_API bool mproc_event_is_set(const mproc_event *event);
/* 0: it is set, or was set since the call began. -ETIMEDOUT (MPROC_NOW: it is not set). MPROC_ELIMIT: it would have to
 * wait, and 248 processes use it. -ECHILD, -EINVAL. */
MPROC_API int  mproc_event_wait(mproc_event *event, mproc_deadline deadline);

MPROC_END_DECLS

#endif
