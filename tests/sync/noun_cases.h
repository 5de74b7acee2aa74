/* SPDX-License-Identifier: BSD-2-Clause */
/* Every noun of the lower layers as one line of a table: how it is made, used, and what of it blocks. Fault loops and the
 * damage of mapped segments go through it, so that a new noun meets them all. */
#ifndef MPROC__TESTS_NOUN_CASES_H
#define MPROC__TESTS_NOUN_CASES_H

#include <mproc/place.h>
#include "data/parcel.h"
#include "platform/base.h"

typedef struct noun_case {
    const char *name;
    mproc_type_id type;
    int (*create)(mproc_place *place, const char *name, void **ret_object);
    int (*open)(mproc_place *place, const char *name, void **ret_object);
    mproc__unpack_fn *unpack;
    /* The everyday calls, in an order that leaves the object as it was; 0, or what the first that failed answered. */
    int (*use)(void *object);
    /* A blocking call that cannot be granted while `occupy` of another process or thread holds; then -ETIMEDOUT. Both NULL:
     * nothing blocks. occupy NULL: blocks by itself. */
    int (*occupy)(void *object);
    int (*block)(void *object, mproc_deadline deadline);
    int (*vacate)(void *object);
    /* Every public call that there is, with what the object may be full of nonsense: any answer is right. */
    void (*everything)(void *object, mproc_deadline deadline);
    /* What of that ends by its deadline even while the lock's word is being overwritten with the name of somebody who lives: a
     * condition's wait gets its lock back however long that takes. NULL: all of it. */
    void (*in_time)(void *object, mproc_deadline deadline);
} noun_case;

/* Of `everything`: whatever it answered. */
static inline void noun_any(int rc)
{
    (void)rc;
}

/* The nouns of L2 and L3; ends with a NULL name. */
extern const noun_case noun_cases[];
unsigned noun_case_count(void);

#endif
