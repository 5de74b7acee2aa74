/* SPDX-License-Identifier: BSD-2-Clause */
/* What the service thread (service.c) and what it watches (service_hosts.c) have between them. */
#ifndef MPROC__POOL_SERVICE_INSIDE_H
#define MPROC__POOL_SERVICE_INSIDE_H

#include <pthread.h>

#include "pool/service.h"

/* One a process.
 *
 *     lock    the list of what came, the needs, whether there is a thread. Held for moments; taken last
 *     quiet   held while it looks: a fork waits for that, so that it copies no lock that the thread holds */
typedef struct mproc__service {
    pthread_mutex_t lock;
    pthread_mutex_t quiet;
    mproc_future *first, **end; /* to be watched */
    unsigned needs;
    bool running;
    _Atomic bool over; /* the program is at its end */
    mproc__eventcount_shared command;
    mproc__eventcount_shared begun; /* it has said that it is not to be counted */
    _Atomic bool there;
    mproc__eventcount_shared let_go;   /* a future was left, or the thread ends */
    _Atomic uint64_t exit_incarnation; /* of the process that will end it in order */
} mproc__service;

extern mproc__service mproc__service_now;

/* ---- hosts: the pools whose futures it watches, a list that is the thread's own ---- */

/* Futures that have come. Made ones have ended when they come. 1: something has ended; 0: nothing; -1: this is a fork child. */
int mproc__hosts_add(mproc__pool_core **hosts, mproc_future *came);
/* Before the look: what a sleep after it would be woken by; results are taken in, so that workers have room. */
void mproc__hosts_prepare(mproc__pool_core *hosts);
/* Calls for what has ended. Pools without futures leave the list. As mproc__hosts_add. */
int mproc__hosts_look(mproc__pool_core **hosts);
/* Until something comes (`ticket`, of the service's own word), ends, dies or is due. */
void mproc__hosts_sleep(mproc__pool_core *hosts, uint32_t ticket);

#endif
