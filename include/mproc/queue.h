/* SPDX-License-Identifier: BSD-2-Clause */
/* One queue: bytes or variants; bounded; joinable; acknowledged; loans.
 *
 *     mproc_queue *jobs;
 *     if (mproc_queue_create(NULL, NULL, &jobs) < 0) ...
 *     mproc_queue_put(jobs, &job, sizeof job, MPROC_FOREVER);              producer
 *     mproc_queue_get(jobs, &job, sizeof job, MPROC_FOREVER, NULL);        consumer
 *
 * First in, first out (or, by option, last in first out or by priority); one producer's items come out in the order put. Any
 * number of producers and consumers, threads and processes. An item is there whole, or not at all, whoever is killed when.
 * put returned: the item no longer needs its producer. A plain queue loses an item whose consumer is killed while it takes
 * it; an acknowledged one (redeliver) gives it to another, marked, until done was called. There is no helper thread, nothing
 * to flush at exit, no system call unless somebody sleeps or a second user takes a side back (below).
 *
 *                               blocks              threads  processes  in a signal handler  in a fork child
 *   create, open                no (3)              any      any        no                   works
 *   put, reserve, put_many      to its deadline (1) any      any        no                   works (2)
 *   get, take, get_many         to its deadline     any      any        no                   works (2)
 *   commit                      until there is room any      its own    no                   MPROC_ESTATE: the parent's loan
 *   take_dead                   to its deadline     any      any        no                   works (2)
 *   done, give_back             no                  any      any        no                   works (2)
 *   join                        to its deadline     any      any        no                   works (2)
 *   role, expect                no                  any      any        no                   works (2): the child begins without
 *   drop, counts                no                  any      any        no                   works (2)
 *   shutdown                    up to 5 s (4)       any      any        no                   works (2)
 *   loan_variant                no                  one      its own    no                   works
 *   close                       no                  one      any        no                   works: the parent's stays as it is
 *   (1) of a side or its lock, had for under a microsecond, even MPROC_NOW waits up to 20 ms: for a holder that lost its CPU,
 *       or makes the queue grow
 *   (2) of the home thread: -ECHILD
 *   (3) shm: up to 1 s, only where a cleaner that was stopped holds a lock on the file
 *   (4) only where a holder of one of the ring's locks is stopped, or makes the queue grow by gigabytes
 *
 *   home       lives in           yes or no
 *   thread:    this process       yes
 *   host:      anonymous memory   yes; may be given to fork children, to processes at their start, over Unix connections
 *   shm:       a file in /dev/shm yes, while in use; the same, and whoever may open the file; done by id from any of them
 *   unix:      managerd           MPROC_EPLACE
 *
 * Memory is bounded by max_bytes: as much (rounded up to a power of two) for messages of up to 1 KiB, and as much for larger
 * ones and what is given back (acknowledged or ordered: for all). Up to 1 MiB it is reserved at creation; a queue of more begins
 * with half a MiB, and a put that finds it full doubles it, which takes the time that the system needs for so much memory, some
 * 0.3 ms a MiB, also with MPROC_NOW; for half as long again both the old and the new one are there. Where the system has no
 * more (-ENOSPC, -ENOMEM at creation) the queue stays as large as it is: a put waits for room as in a full one. Memory is
 * never taken from it later, so no access is a SIGBUS. Each message costs 8 to 15 bytes beside its own, larger ones and
 * acknowledged ones 56, all of an ordered queue (LIFO, priority) 48, and the rounding to granules (64 bytes in a queue of up
 * to 1 MiB, at most 4 KiB); each doubling costs up to 1 KiB. A taken small message is copied to private memory, which the
 * taker bounds by how many loans it keeps open.
 *
 * Who is alone. A thread whose calls of one side (puts, or gets) were for a while the only ones is given that side of a FIFO
 * queue: its calls then take no lock, and cost half. Others need not know: their next call there takes the side back, which
 * costs them some microseconds and the kernel's membarrier(2), and the more seldom the oftener it happens. Where a process
 * of the queue's is denied that call, all take locks.
 *
 * Exclusive sides. A side that can have only one user: it has the side from its second call on, whatever else happens to the
 * queue, and a second producer or consumer is told. The first thread that calls there (put, put_many,
 * put_variant, reserve, commit; get, get_many, get_variant, take, and mproc_wait and the first mproc_wait_fd of it) is that
 * user, until it ends, its process dies or execs, it says with mproc_queue_role that it has another role, or drops the last
 * handle of its process; then the next caller is. From everybody else, a fork child or another thread as well, these calls
 * are -EBUSY, tell who it is (MPROC_ERROR_PID) and do nothing. All other calls are anybody's. One thread may be the user of
 * both sides. Where another thread of the process drops the last handle while the user lives, the queue's memory stays
 * mapped for good.
 *
 * Errors that every call may have: -EINVAL: no open queue, or a wrong argument. MPROC_ECORRUPT: its memory was overwritten
 * (found before anything is done with it). MPROC_ELIMIT: more than 248 processes use it. -ECHILD: see (2). */
#ifndef MPROC_QUEUE_H
#define MPROC_QUEUE_H

#include <mproc/place.h>

MPROC_BEGIN

/* The sides of a queue: get and take are reading, put and reserve are writing. */
typedef enum mproc_role {
    MPROC_ROLE_READ = 1,
    MPROC_ROLE_WRITE = 2,
    MPROC_ROLE_BOTH = 3
} mproc_role;

/* Which item comes out next. */
typedef enum mproc_order {
    MPROC_ORDER_FIFO,               /* the oldest */
    MPROC_ORDER_LIFO,               /* the newest */
    MPROC_ORDER_PRIORITY            /* the one of the smallest priority; of several, the oldest */
} mproc_order;

typedef struct mproc_queue_options {
    MPROC_OBJECT_OPTIONS;
    size_t      max_items;          /* exact, at most 16 million (acknowledged or ordered: 6); 0: bounded by max_bytes only */
    size_t      max_bytes;          /* at most 32 GiB; 0: 1 MiB, or 64 bytes for each of max_items if that is more */
    bool        redeliver;          /* acknowledged: a taken item whose taker died goes to another */
    uint32_t    max_deliveries;     /* then the item is dropped and counted, or kept; at most 250; 0: 5 */
    bool        keep_dead;          /* keep what was delivered so often, for mproc_queue_take_dead; it stays room of max_bytes */
    bool        pollable;           /* mproc_wait and mproc_wait_fd (wait.h) take it. Not in shm: places: MPROC_EPLACE */
    mproc_order order;              /* other than FIFO: put and get take some 10 comparisons more, of thousands queued */
    mproc_role  role;               /* this process's, declared (mproc_queue_role); 0: not declared */
    uint32_t    expected_writers;   /* so many will come, and no end before; 0: not known */
    mproc_role  exclusive;          /* the side or sides that may have only one user; 0: none. FIFO only */
} mproc_queue_options;
/* A new, empty queue; with a name, one that mproc_queue_open finds while it exists. and_open: one of that name is opened as
 * it is, whatever the other options say.
 * -EEXIST: there is one of that name. -ENOMEM, -ENOSPC: no room. -EMFILE, -ENFILE: no descriptor left. MPROC_EPLACE. */
MPROC_API MPROC_CHECK int mproc_queue_create(mproc_place *place, const mproc_queue_options *options, mproc_queue **ret_queue);
/* The named one. thread: and host: know the names given in this process (and before its fork), shm: those of all programs.
 * -ENOENT; -EINVAL: an object of another type; shm: also what mproc_shm_open answers (mproc/shm.h). */
MPROC_API MPROC_CHECK int mproc_queue_open(mproc_place *place, const char *name, mproc_queue **ret_queue);
/* Drops this handle. The last one of this process gives its open loans back and drops its unfinished ones: their data is no
 * longer valid. NULL and a pointer to NULL do nothing. */
MPROC_API void mproc_queue_close(mproc_queue **queue);

/* Bytes. data is copied; size 0 is a message, too.
 * -ETIMEDOUT: full (also for MPROC_NOW). MPROC_ECLOSED: shut down. -EMSGSIZE: more than max_bytes; told at once. */
MPROC_API MPROC_CHECK int mproc_queue_put(mproc_queue *queue, const void *data, size_t size_bytes, mproc_deadline deadline);
/* The oldest (or the next by the queue's order) into buffer; in acknowledged mode that is take and done. ret_size_bytes may
 * be NULL.
 * -ETIMEDOUT: empty. MPROC_EEND: shut down and empty. MPROC_ETOOSMALL: the message stays, its size is returned.
 * MPROC_EARGUMENT: the next message is a variant other than bytes, and stays. */
MPROC_API MPROC_CHECK int mproc_queue_get(mproc_queue *queue, void *buffer, size_t capacity_bytes, mproc_deadline deadline,
                                          size_t *ret_size_bytes);
/* Variants: put copies, get gives an owned one (mproc_variant_clear). A bytes message is a BYTES variant and the reverse.
 * put: as above, and MPROC_EARGUMENT: an invalid value inside. MPROC_ECANNOTCROSS: a pointer, a descriptor, or a handle that
 * needs one (lock, queue, connection: give those at start); in the home thread as well. Nothing was put.
 * get: as above; an item that could not be decoded (-ENOMEM) goes back and counts as delivered once more. */
MPROC_API MPROC_CHECK int mproc_queue_put_variant(mproc_queue *queue, mproc_variant item, mproc_deadline deadline);
MPROC_API MPROC_CHECK int mproc_queue_get_variant(mproc_queue *queue, mproc_deadline deadline, mproc_variant *ret_item);
/* Many of one size, items[count][item_bytes]: the first by the deadline, then as many as go at once, at most 64 KiB a lock
 * hold. *ret_count (1 to count) says how many. get stops before a message of another size; if that is the first:
 * MPROC_ETOOSMALL (larger), MPROC_EARGUMENT (smaller, or no bytes). Several times as fast as one by one. */
MPROC_API MPROC_CHECK int mproc_queue_put_many(mproc_queue *queue, const void *items, size_t item_bytes, size_t count,
                                               mproc_deadline deadline, size_t *ret_count);
MPROC_API MPROC_CHECK int mproc_queue_get_many(mproc_queue *queue, void *items, size_t item_bytes, size_t count,
                                               mproc_deadline deadline, size_t *ret_count);

/* With a priority, smaller first, INT32_MIN to INT32_MAX; every other put is of priority 0. An item given back keeps its
 * priority and place. Errors as put, and -EINVAL: a priority other than 0 in a queue of another order. Taking a loan tells the
 * priority. */
MPROC_API MPROC_CHECK int mproc_queue_put_priority(mproc_queue *queue, const void *data, size_t size_bytes, int32_t priority,
                                                   mproc_deadline deadline);
MPROC_API MPROC_CHECK int mproc_queue_put_priority_variant(mproc_queue *queue, mproc_variant item, int32_t priority,
                                                           mproc_deadline deadline);

/* Loans. Producer: reserve, write at data, commit (or drop). Consumer: take, read at data, done (or give_back).
 * take + done is at once zero copy (messages above 1 KiB, and all acknowledged ones), acknowledgement and task_done. A loan
 * holds no lock and stops nobody; any number may be open, in any order. Over (after commit, drop, done, give_back) it is
 * MPROC_LOAN_INIT again; a second such call, also with a copy, is MPROC_ESTATE and changes nothing. */
typedef struct mproc_loan {
    size_t   size;                  /* sizeof, set by MPROC_LOAN_INIT */
    uint64_t id;                    /* may travel: done from another process needs only this (acknowledged mode) */
    uint32_t delivery;              /* 1, or more when redelivered */
    int32_t  priority;              /* taken: the item's; set before commit, priority queues only, else -EINVAL there */
    void    *data;                  /* in the queue's memory, or a private copy; until the loan is over or the handle closed */
    size_t   data_bytes;            /* may be made smaller before commit */
} mproc_loan;
#define MPROC_LOAN_INIT { sizeof(mproc_loan), 0, 0, 0, NULL, 0 }
/* Room for a message of this size; not yet in the queue. Errors as put. */
MPROC_API MPROC_CHECK int mproc_queue_reserve(mproc_queue *queue, size_t size_bytes, mproc_deadline deadline, mproc_loan *ret_loan);
/* Puts it; waits while max_items are queued. MPROC_ECLOSED, -EPIPE: still yours, drop it. -EINVAL: data_bytes was made larger. */
MPROC_API int  mproc_queue_commit(mproc_queue *queue, mproc_loan *loan);
MPROC_API int  mproc_queue_drop(mproc_queue *queue, mproc_loan *loan);
/* The oldest. Errors as get; -ENOMEM: nothing was taken. A variant other than bytes: data is its encoding, for loan_variant. */
MPROC_API MPROC_CHECK int mproc_queue_take(mproc_queue *queue, mproc_deadline deadline, mproc_loan *ret_loan);
MPROC_API int  mproc_queue_done(mproc_queue *queue, mproc_loan *loan);
/* To the front, older before newer (LIFO, priority: to its place), counted as a delivery; above max_deliveries it is dropped,
 * or becomes a dead letter.
 * -ENOSPC (a small message of a plain FIFO queue only): no room for it now; the loan stays open. */
MPROC_API int  mproc_queue_give_back(mproc_queue *queue, mproc_loan *loan);
/* Dead letters (keep_dead): what was delivered max_deliveries times and never done. They are neither queued nor taken, join
 * does not wait for them, shutdown leaves them, and only this takes them: the oldest, as a loan. done frees it; to try again,
 * put it anew before. Given back, or not done by a taker that dies, it is a dead letter still: none is lost or doubled.
 * -ETIMEDOUT: none. MPROC_EEND: none, and by shutdown or for want of writers nothing is left that could become one.
 * -EINVAL: no keep_dead. */
MPROC_API MPROC_CHECK int mproc_queue_take_dead(mproc_queue *queue, mproc_deadline deadline, mproc_loan *ret_loan);
/* What was taken as a variant, borrowed until done. -EINVAL: not a taken loan. */
MPROC_API int  mproc_queue_loan_variant(const mproc_loan *loan, mproc_variant *ret_item);

/* Until everything put is done (plain queue: until it is drained), by whomever. An item whose taker died is not done:
 * join waits for the next taker's done, or until it is dropped. -ETIMEDOUT. */
MPROC_API int  mproc_queue_join(mproc_queue *queue, mproc_deadline deadline);
/* The end. After it put answers MPROC_ECLOSED; get drains, then MPROC_EEND; all who sleep wake. discard: what is queued is
 * gone at once, and join waits only for what is taken. MPROC_EEND does not wait for items that others who live have
 * taken and may yet give back: join first if that matters. Again: the stronger one holds.
 * -ETIMEDOUT: a holder of one of its locks is stopped, or makes it grow by gigabytes; nothing happened. */
MPROC_API int  mproc_queue_shutdown(mproc_queue *queue, bool discard);
/* Roles: who reads and who writes, so that nobody waits for the dead. A queue counts its readers and writers, a process (or
 * separately opened handle) once, from the moment that one declares a role or announces a writer, and then for ever. In one
 * that counts, a process that has declared none takes READ by its first get or take, WRITE by its first put or reserve, and
 * keeps them until it closes the handle, ends, is killed, or declares. A fork child begins without any. Then
 *   readers     MPROC_EEND when nothing is queued, the last writer is gone, at least one (expected_writers: as many) came, and
 *               none of the announced is still to come. MPROC_ENEVER instead: of the expected or announced ones somebody
 *               ended before it came. Not final: a writer may come later, and its items are got.
 *   writers     -EPIPE instead of waiting for room when the last reader is gone; the item was not put. Not final, either.
 *   joiners     -EPIPE instead of waiting when the last reader is gone and something is left.
 * A queue that nobody makes count ends by shutdown only. */
/* What this process does with this handle from now on; the first use of the other side is -EPERM. 0: neither, until it is
 * used again: what a writer says that has put its last item. -EINVAL: no such role. */
MPROC_API int  mproc_queue_role(mproc_queue *queue, mproc_role role);
/* Announces that this process, which may not have called yet, is going to write: a child not yet waited for, or any other
 * running one. It has come with its first put or reserve, or by declaring WRITE, also when that was before this call.
 * Announce them all, or give expected_writers, or keep WRITE meanwhile: else the end may be seen between two.
 * -EINVAL; MPROC_EPLACE: a thread: queue. MPROC_ELIMIT: an announced process counts as one that uses it. */
MPROC_API MPROC_CHECK int mproc_queue_expect(mproc_queue *queue, int pid);
/* At rest exact; each pointer may be NULL. taken: not yet done, acknowledged mode only. max_items: 0 for none. */
MPROC_API int  mproc_queue_counts(const mproc_queue *queue, size_t *ret_items, size_t *ret_taken, size_t *ret_max_items);
/* Dead letters kept and not taken; items dropped after max_deliveries, or given back after a discard (a kill may leave one
 * uncounted). Each pointer may be NULL. */
MPROC_API int  mproc_queue_count_dead(const mproc_queue *queue, size_t *ret_kept, size_t *ret_dropped);

MPROC_END_DECLS

#endif
