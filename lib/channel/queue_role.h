/* SPDX-License-Identifier: BSD-2-Clause */
/* Roles: who writes and who reads, counted per participant, and what follows when nobody does any more. L4.
 *
 * A queue counts from the moment that anyone declares a role or announces a writer, and then for ever. In one that does
 * not count nothing ends by itself: otherwise a consumer would see an end between two producers that come one after the
 * other. The truth is one word a row, so that each change is one compare-and-swap: whoever is killed before it has not
 * come, whoever is killed after it is swept. Rejected: a counter beside the roles, which a kill between the two stores
 * makes wrong for good. */
#ifndef MPROC__CHANNEL_QUEUE_ROLE_H
#define MPROC__CHANNEL_QUEUE_ROLE_H

#include <mproc/queue.h>
#include "shm/segment.h"

/* In a row's word. All but READ_EVER and the counts are of the row's present life and go with it. */
enum {
    MPROC__ROLE_DECLARED = 1 << 2,  /* by mproc_queue_role: the first use of the other side is a mistake */
    MPROC__ROLE_CAME = 1 << 3,      /* has had WRITE: counted */
    MPROC__ROLE_PENDING = 1 << 4,   /* announced and not yet come */
    MPROC__ROLE_READ_EVER = 1 << 5, /* somebody in this row has had READ */
    MPROC__ROLE_LIFE = MPROC_ROLE_BOTH | MPROC__ROLE_DECLARED | MPROC__ROLE_CAME |
                       MPROC__ROLE_PENDING /* ends with the row */
};
/* Above the flags. The first two stop at their most; the third wraps, and tells a word from its like. */
#define MPROC__ROLE_CAME_ONE   (UINT64_C(1) << 8) /* writers that came in this row, in all its lives */
#define MPROC__ROLE_CAME_MOST  UINT64_C(0xfffff)
#define MPROC__ROLE_LOST_ONE   (UINT64_C(1) << 28) /* announced ones that died before they came */
#define MPROC__ROLE_LOST_MOST  UINT64_C(0xffff)
#define MPROC__ROLE_CHANGE_ONE (UINT64_C(1) << 44)

enum { MPROC__LEAVERS = 64 };

typedef struct mproc__queue_roles_shared {
    uint32_t expected_writers; /* by the creator, before anyone else sees it */
    /* The next of `leavers`, by atomic add. Who dies between that and the store leaves an old entry, and its sweep, which
     * is not over, makes another. */
    _Atomic uint32_t leaver_count;
    /* Role of the process in each row, and what the row has seen: flags and counts above. By
     * compare-and-swap: its process, one that announces it, and whoever clears it after its death or at its close.
     * Anybody reads it at any time; no value is ever half changed. */
    _Atomic uint64_t rows[MPROC__ROWS];
    /* The last writers that came and are gone: pid | start time's low half << 32; 0: none. Written by who clears their
     * rows, before it does: so one that came is found in its row or here. Only for announcements that come late. */
    _Atomic uint64_t leavers[MPROC__LEAVERS];
} mproc__queue_roles_shared;

/* What a row's words come to. */
typedef struct mproc__role_census {
    unsigned readers, writers, pending;
    uint64_t came, lost;
    bool read_ever;
} mproc__role_census;

/* ---- queue_role.c ---- */
void mproc__queue_role_count(mproc__role_census *census, uint64_t word);
/* Takes flags out of a row's word, then others in. What it was. */
uint64_t mproc__queue_role_swap(mproc_queue *queue, unsigned row, uint64_t out, uint64_t in);
/* Counts, in any row, an announced writer that will never come. */
void mproc__queue_role_lose(mproc_queue *queue, unsigned row);
/* One participant of the queue as a writer: whether it came, in a row that is still its own or before it left. */
bool mproc__queue_role_came(mproc_queue *queue, pid_t pid, uint64_t start_ticks);
/* At creation, before anyone else sees it: what the options say of the whole queue. */
void mproc__queue_roles_init(mproc__segment *segment, const mproc_queue_options *options);
int mproc__queue_role_check(mproc_role role); /* -EINVAL */
/* The slow half of mproc__queue_use: this process takes the role, which it did not have. -EPERM: it had declared the
 * other one. */
int mproc__queue_role_claim(mproc_queue *queue, int row, unsigned role);
/* Takes all roles away from a row whose process is dead or closes its handle, after everything else of it is settled. */
void mproc__queue_role_clear(mproc_queue *queue, unsigned row);
/* Whether nobody is left who could end a wait on `event`: MPROC_EEND, MPROC_ENEVER, -EPIPE; else -EAGAIN. Look at the queue
 * again before it is believed: the last one may have done something before it went. */
int mproc__queue_over(mproc_queue *queue, const mproc__eventcount_shared *event);

/* ---- queue_expect.c ---- */
/* This process has come as a writer: it is no longer expected. */
void mproc__queue_expected_came(mproc_queue *queue);

#endif
