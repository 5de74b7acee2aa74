/* SPDX-License-Identifier: BSD-2-Clause */
/* Synchronisation: the same calls for threads, processes and machines. One header a noun. */
#ifndef MPROC_SYNC_H
#define MPROC_SYNC_H

#include <mproc/array.h>
#include <mproc/barrier.h>
#include <mproc/condition.h>
#include <mproc/event.h>
#include <mproc/lock.h>
#include <mproc/rwlock.h>
#include <mproc/semaphore.h>
#include <mproc/shm_list.h>

#endif
