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
 * throw, though not a free one: who wakes up to fork again takes the processor from a thread that most often is inside. So
 * there must be many, and soon after each other. (Eight, each twice as patient as the one before, failed in one start of
 * 65,000, and a start with five bad throws was late. Two threads that do nothing but take the lock held it in 71 % of 900
 * forks, 111 times in a row, and 80 throws were too few. With a turn at the lock before each further fork it was 54 %, on one
 * processor 8 % in place of 30.) */
#ifndef MPROC__PROCESS_PATIENCE_H
#define MPROC__PROCESS_PATIENCE_H

/* How long the first copies may take for what takes a microsecond, how many there are before they get twice as long, and how
 * many in all: 15 s. */
enum { MPROC__PATIENCE_MS = 5, MPROC__PATIENCE_EACH = 100, MPROC__PATIENCE_TRIES = 500 };

/* In the parent, before a further fork: waits until the lock is this thread's, and gives it back. Who is inside has left then,
 * and who waits has yet to wake up. */
void mproc__patience_turn(void);
/* In a child whose dispositions are the default ones. The process has no other thread, and one timer. 0: no timer. */
void mproc__patience_begin(int socket, unsigned patience_ms);
void mproc__patience_end(unsigned patience_ms);

#endif
