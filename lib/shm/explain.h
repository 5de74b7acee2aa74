/* SPDX-License-Identifier: BSD-2-Clause */
/* Explain: what the segments on this host hold, who holds it, who waits, told from outside. L2.
 *
 * Nothing is locked, joined or written: it works when every participant is stopped, and on a segment that changes or is
 * damaged while it is read. A noun's explain function (shm/noun.h) says its part by the calls below. */
#ifndef MPROC__SHM_EXPLAIN_H
#define MPROC__SHM_EXPLAIN_H

#include <sys/types.h>

#include <mproc/explain.h>
#include "platform/base.h"

typedef struct mproc__report mproc__report;

/* A noun's explain function gets a private copy of the first bytes of the root, up to MPROC__EXPLAIN_BYTES of them and
 * at least the noun's least_bytes: so every number in it stays as it was read, and may be garbage. Nothing needs
 * an atomic, everything needs a check: an index or offset beyond size_bytes is to be left out or called damaged. It
 * allocates nothing and looks at no other memory. */
enum { MPROC__EXPLAIN_BYTES = 64 << 10 };

/* One line about the object: "recursive, poisoned by process 123". */
void mproc__report_state(mproc__report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Somebody holds it. 0: unknown; with the thread known, waits for this object count as waits for that thread. `as`:
 * "owner", "reader", "3 permits". */
void mproc__report_holder(mproc__report *report, pid_t pid, pid_t tid, const char *as);

typedef void mproc__explain_fn(const void *root, size_t size_bytes, mproc__report *report);
/* For kinds of segments that are no nouns of shm/noun.h. `fn` may be NULL. Once, from mproc_init; again does no harm. */
void mproc__explain_register(mproc_type_id kind, const char *word, size_t least_bytes, mproc__explain_fn *fn);

/* The work of mproc_explain_for, which see; the nouns are registered and options are checked by then. */
int mproc__explain(FILE *stream, const mproc_explain_options *options, mproc_variant *ret_dict);

#endif
