/* SPDX-License-Identifier: BSD-2-Clause */
/* The event's private side. L3. */
#ifndef MPROC__SYNC_EVENT_H
#define MPROC__SYNC_EVENT_H

#include <mproc/event.h>
#include "shm/noun.h"

extern const mproc__noun mproc__event_noun;

#endif
