/* SPDX-License-Identifier: BSD-2-Clause */
/* Doubly linked rings through the things that they link. L7. */
#ifndef MPROC__MANAGER_LINKS_H
#define MPROC__MANAGER_LINKS_H

#include "platform/base.h"

typedef struct mproc__link mproc__link;
struct mproc__link {
    mproc__link *next, *previous; /* to itself: alone, or an empty ring's head */
};

static inline void mproc__link_init(mproc__link *link)
{
    link->next = link->previous = link;
}

static inline bool mproc__link_alone(const mproc__link *link)
{
    return link->next == link;
}

/* Behind all others of the ring. */
static inline void mproc__link_append(mproc__link *head, mproc__link *link)
{
    link->previous = head->previous;
    link->next = head;
    head->previous->next = link;
    head->previous = link;
}

static inline void mproc__link_remove(mproc__link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    mproc__link_init(link);
}

#endif
