/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of roles share: processes that read and write a queue, and are killed when it matters. */
#ifndef MPROC__TESTS_QUEUE_PEOPLE_H
#define MPROC__TESTS_QUEUE_PEOPLE_H

#include "channel/queue_common.h"
#include "support/support.h"

mproc_deadline soon(void);
mproc_queue *make(const mproc_queue_options *options); /* on the host */
int put_number(mproc_queue *queue, int value);
int get_number(mproc_queue *queue, mproc_deadline deadline); /* the number, or an error */
/* Whether each of them answers rc. */
int every_way_of_getting(mproc_queue *queue, int rc);

/* For support_fork: 0 when it could. The context is a queue, the item 7. */
int reads_one(void *context);
int writes_one(void *context);
int writes_one_and_dies(void *context); /* by SIGKILL */
int writes_one_and_closes(void *context);

void ends_well(pid_t child); /* with 0, soon */
/* A child that has done fn, and lives on until it is killed. */
pid_t fork_staying(support_fn *fn, void *context);
/* A child that kills `victim` when the calling thread's process is asleep. */
pid_t kill_when_i_sleep(pid_t victim);

#endif
