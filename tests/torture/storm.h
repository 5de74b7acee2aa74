/* SPDX-License-Identifier: BSD-2-Clause */
/* STARTSTORM: children are started by eight threads at once, in a program whose other threads take every lock that libc
 * has: they allocate, print, log, resolve names, load libraries, ask for the time, set the environment.
 *
 *     storm [--starts N] [--living N] [METHOD...]          METHOD: fork spawn forkserver thread mixed
 *
 * A child is ready when its start has returned and its function's first store is seen; each must be so within 1 s of its
 * own start. Then it allocates, prints, logs, uses a lock of the library's and, where libc allows it, resolves a name: a
 * copy of a threaded program must not hang in any of it. Prints one line a method:
 *
 *     method <tab> starts <tab> failures <tab> ms to ready: median <tab> 99 % <tab> 99.9 % <tab> largest
 *
 * and exits 1 when there are failures. Without a count there are 100,000 starts of each method, of spawn, which is an exec
 * each, a tenth; the forkserver has sixteen spares. `make torture` is the whole, check_storm a part. */
#ifndef MPROC__TESTS_STORM_H
#define MPROC__TESTS_STORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <mproc/call.h>

/* ---- storm_noise.c: the other threads ---- */
int storm_noise_begin(void);
/* Ends them. False: one of them did nothing at all, so that nothing was shown. */
bool storm_noise_end(void);

/* ---- storm_child.c ---- */
enum { STORM_EXIT_CODE = 7 };
/* Arguments: the descriptor of the memory, the byte offset of its 64-bit word in it, whether names can be resolved. It
 * stores the time of its first instruction in the word, wakes whoever waits for it, and answers STORM_EXIT_CODE, or the
 * number of what failed. */
int storm_child(mproc_call *call);

#endif
