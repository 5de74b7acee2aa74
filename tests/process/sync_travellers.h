/* SPDX-License-Identifier: BSD-2-Clause */
/* Every noun of layers L2 and L3 as one line: what a parent and a child do with it together. */
#ifndef MPROC__TESTS_SYNC_TRAVELLERS_H
#define MPROC__TESTS_SYNC_TRAVELLERS_H

#include <mproc/call.h>
#include <mproc/shm.h>
#include <mproc/sync.h>
#include "platform/base.h"

/* Arguments of the child's function. */
enum { ARG_NOUN, ARG_OBJECT, ARG_GATE };

/* All but create and open answer 0, or a code of their own. NULL: nothing to do. */
typedef struct traveller {
    const char *name;
    mproc_type_id type;
    int (*create)(mproc_place *place, const char *name, void **ret_object);
    int (*open)(mproc_place *place, const char *name, void **ret_object);
    int (*hold)(void *object); /* parent, before the start */
    int (*child)(mproc_call *call,
                 void *object); /* sees what the parent holds, says so at ARG_GATE, goes on */
    int (*let)(void *object);   /* parent, when the child has said so */
    int (*after)(void *object); /* parent, when the child has ended */
    int (*leave)(void *object); /* another child, before it is killed */
    int (*mourn)(void *object); /* parent, after that */
} traveller;

extern const traveller travellers[];
unsigned traveller_count(void);

#endif
