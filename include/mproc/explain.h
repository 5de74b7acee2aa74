/* SPDX-License-Identifier: BSD-2-Clause */
/* Explain: what is shared on this host, who holds it, who waits for whom; and what this kernel or sandbox withholds.
 *
 *     mproc_explain(stderr);              // why does nothing move?
 *
 *     [1] lock "jobs", 20 KiB of anonymous memory
 *           open in   4711 worker, 4712 worker
 *           held by   4711 worker, thread 4711, owner, STOPPED
 *           waiting   4712 worker, thread 4712, to acquire, 12.3 s
 *
 * It looks from outside: nothing is locked, joined or written, so it works when every process is stopped, on objects
 * that are damaged, and while processes end. What it tells was true for an instant; wait cycles are looked at twice.
 * Objects of the place thread: are private memory and cannot be seen. mproc-explain(1) is the same as a program.
 *
 * | call        | blocks      | threads | processes | in a signal handler | after fork |
 * |-------------|-------------|---------|-----------|---------------------|------------|
 * | explain     | reads files | any     | any       | no                  | works      |
 * | explain_for | reads files | any     | any       | no                  | works      | */
#ifndef MPROC_EXPLAIN_H
#define MPROC_EXPLAIN_H

#include <stdio.h>
#include <mproc/variant.h>

MPROC_BEGIN

typedef struct mproc_explain_options {
    size_t             size;
    const int         *pids;            /* only objects that one of these processes uses or has open ... */
    size_t             pid_count;
    const char *const *names;           /* ... or that have one of these names: "jobs", or "/jobs" for its file in /dev/shm */
    size_t             name_count;
} mproc_explain_options;

/* Writes to `stream`, a line each: all objects on this host that this user can see, their participants, holders and waiters,
 * then the wait cycles, then a sum. Another user's processes are counted, not looked into; root sees all. The stream stays the
 * caller's and is flushed. -EINVAL: no stream. -EIO: it took not all. -ENOMEM. -ENOENT: no /proc. */
MPROC_API int mproc_explain(FILE *stream);
/* The same of some objects. NULL options: of all. ret_dict, if not NULL, gets what was found as numbers: "objects" shown, their
 * "participants", and "waiting" threads; "cycles" that go through a shown object; "stopped": holders that are stopped or frozen;
 * "dead": participants that nobody has swept yet; "damaged" objects; "hidden" processes. Free it by mproc_variant_clear.
 * Also -ESRCH: there is no process of one of the numbers. -EINVAL: wrong options, a NULL among the names. */
MPROC_API int mproc_explain_for(FILE *stream, const mproc_explain_options *options, mproc_variant *ret_dict);

MPROC_END_DECLS

#endif
