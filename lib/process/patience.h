/* SPDX-License-Identifier: BSD-2-Clause */
/* First steps of a copy of a threaded program that a lock may hold up for ever. L5.
 *
 * fork copies the locks that other threads hold at that moment. libc frees those of malloc, stdio and the loader in the
 * child, our own layers free theirs; that of the exit handlers stays taken, and registering one would wait for a thread
 * that is not there. No call tells whether it is taken, so the child tries, with a timer running: when that rings, it
 * reports -EDEADLK and is gone, and its parent forks again. A child that was only slow costs one more fork, nothing else:
 * nobody is judged by the time.
 *
 * Whoever closes a library holds that lock while it waits for the forks under way, so that where many threads fork and one
 * loads and unloads, a quarter of all copies have it taken, and on a busy machine up to three quarters. Each copy is a new
 * throw: there must be many, and soon after each other. (Eight, each twice as patient as the one before, failed in one start of
 * 65,000, and a start with five bad throws was late.) */
#ifndef MPROC__PROCESS_PATIENCE_H
#define MPROC__PROCESS_PATIENCE_H

/* How long the first copies may take for what takes a microsecond, how many there are before they get twice as long, and how
 * many in all: 2.5 s. */
enum { MPROC__PATIENCE_MS = 5, MPROC__PATIENCE_EACH = 16, MPROC__PATIENCE_TRIES = 80 };

/* In a child whose dispositions are the default ones. The process has no other thread, and one timer. 0: no timer. */
void mproc__patience_begin(int socket, unsigned patience_ms);
void mproc__patience_end(unsigned patience_ms);

#endif
