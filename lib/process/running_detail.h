/* SPDX-License-Identifier: BSD-2-Clause */
/* What is told of a process as values: one function a part. L5. */
#ifndef MPROC__PROCESS_RUNNING_DETAIL_H
#define MPROC__PROCESS_RUNNING_DETAIL_H

#include <mproc/variant.h>
#include "platform/proc.h"

/* The process looked at, its status, and the buffer for every other file. */
typedef struct mproc__look {
    const mproc__running_view *view;
    const mproc__proc_text *status;
    mproc__proc_text *text;
} mproc__look;

/* A text, or bytes where it is not UTF-8; borrowed. */
mproc_variant mproc__look_word(const char *word);
/* Adds a dict of `count` keys and items to a list. */
int mproc__look_entry(mproc_variant *list, const char *const *keys, const mproc_variant *items, size_t count);

/* Descriptors of the process in their order, but for those that this look itself has open: calls visit with the directory
 * /proc/PID/fd and the number; not 0 ends it with that code. */
typedef int mproc__look_fd_visit(mproc__look *look, int directory_fd, int64_t fd, void *context);
int mproc__look_fds(mproc__look *look, mproc__look_fd_visit *visit, void *context);

int mproc__look_connections(mproc__look *look, mproc_variant *ret_value); /* running_sockets.c */

#endif
