/* SPDX-License-Identifier: BSD-2-Clause */
/* Workers: processes or threads; one pool.
 *
 * A pool runs functions in workers: single tasks (mproc_pool_submit gives a future), maps over arrays (results in place,
 * no message an item), maps over variants (results of any size, one after the other). `start` says what workers are:
 *
 *     FORK         copies of the program as of mproc_pool_create, replacements too (but see below)
 *     SPAWN        the program run anew; FORKSERVER: copies of one that was. Both need mproc_init first in main, and find
 *                  functions by build-id and offset, so any function works, static ones too
 *     THREAD       threads of this process: no kill, no copy; values may hold pointers and handles
 *
 * A pool of processes has one more, its supervisor, which starts, stops and replaces workers, and ends them when the
 * program dies. Workers are daemonic (process.h): tasks may start programs, no functions and no pools of processes. They are
 * single-threaded at first, have stdin from /dev/null and default signal dispositions, and leave
 * the terminal's process group: Ctrl-C is the program's to handle.
 *
 * A worker's death costs the one task, or the one item of a map, that it ran: that fails with MPROC_EDIED, or is tried
 * again where `retries` says so; the worker is replaced. A supervisor's death takes its workers along, with what they ran; the
 * next call of the pool or its futures, or one that sleeps then, starts another, and what is queued goes on. That
 * one is made by the program as it is then: a fork-pool's workers are copies of it from there on (where other threads run by
 * then, a pool that was forked by default is broken instead, with MPROC_ETHREADS; one that named FORK is not). Child
 * processes of tasks are then the next subreaper's. More than restarts_per_minute breaks the pool: everything
 * open and everything new fails with the story of the first of those deaths.
 *
 *                        blocks            threads  processes               in a signal handler  after fork
 * create                 until ready       yes      -                       no                   a pool of its own
 * submit                 when full         yes      creator only: -ECHILD   no                   -ECHILD
 * map                    to the end        yes      creator only            no                   -ECHILD
 * for                    to the end        yes      creator only            no                   -ECHILD
 * for_start              no                yes      creator only            no                   -ECHILD
 * map_start, map_variants copies the input yes      creator only            no                   -ECHILD
 * results_next           to its deadline   one at a time                    no                   -ECHILD
 * results_close          no                one at a time                    no                   frees the copy
 * stop                   to its deadline   yes      creator only            no                   -ECHILD
 * finish                 no                last use creator only            no                   -ECHILD
 * close                  2 s at most       last use creator only            no                   frees the copy
 * resize, stats          no                yes      creator only            no                   -ECHILD */
#ifndef MPROC_POOL_H
#define MPROC_POOL_H

#include <mproc/call.h>
#include <mproc/future.h>
#include <mproc/process.h>

MPROC_BEGIN

typedef struct mproc_pool_options {
    size_t      size;
    unsigned    workers;            /* 0: usable CPUs; 240 at most */
    mproc_start start;              /* DEFAULT: the program's; then fork is refused beside other threads, MPROC_ETHREADS */
    const char *name;               /* of its processes and threads: NAME-1, NAME-2 in ps, 15 bytes there; 40 bytes of it. NULL: PoolWorker-1; threads:
                                     * poolN-1 in the N-th pool of threads */
    mproc_fn   *initializer;        /* in every worker, replacements too, before its first task; may mproc_call_set_self
                                     * what tasks get from mproc_call_self; that lives as long as the worker */
    mproc_variant initializer_args; /* copied; may hold handles: the way to give workers queues and locks */
    unsigned    tasks_per_worker;   /* then it is replaced (of a map: stretches of items); 0: no limit; threads: -EINVAL */
    unsigned    restarts_per_minute;/* unplanned deaths, of workers or of supervisors, after which the pool is broken; 0: 60;
                                     * 65536 at most, more is -EINVAL: each is remembered for a minute */
    bool        finish_at_exit;     /* of the program, if it is not closed: as stop(drain, forever); else as close does, and the
                                     * log warns. Before functions of mproc_at_exit with a priority of 100 or less */
    mproc_limits limits;            /* of each worker: .limits.memory_bytes = 64 << 20. Threads: cpus and nice only */
    size_t      max_queued_tasks;   /* accepted and not ended; submit blocks; 0: 65536; at most 1 Mi */
    size_t      max_queued_bytes;   /* of their arguments, if larger than 192 bytes each; results may take as much again,
                                     * workers wait for room; 0: 256 MiB */
} mproc_pool_options;
typedef struct mproc_task_options {
    size_t      size;
    uint32_t    time_limit_ms;      /* of its run, not of its wait; then it is stopped and fails with -ETIME; 0: none */
    uint32_t    grace_ms;           /* to stop it: at once mproc_call_stopping, half of this later SIGTERM, all of it later
                                     * SIGKILL, to its child processes too; 0: 2000. Threads: only mproc_call_stopping */
    unsigned    retries;            /* after confirmed death only; 1022 at most */
    const char *label;              /* in stories; copied */
    mproc_deadline submit_deadline; /* for room; zero means forever */
    bool        no_wait;            /* for room: -ETIMEDOUT at once, whatever submit_deadline says */
    int         priority;           /* -7 to 7: higher ones begin first, equal ones in the order of submission */
    mproc_deadline begin_by;        /* not begun by then: it will not be, and fails with -ETIME; zero: any time */
    mproc_future *const *after;     /* tasks of this pool, after_count of them: it begins when all have ended. If one fails, dies
                                     * (for the last time), is cancelled or too late, it is not run and fails with MPROC_EAFTER
                                     * and a story that names that one; MPROC_EDIED if a worker is killed as it refuses it.
                                     * They may have ended, and may be closed meanwhile */
    size_t      after_count;
    bool        even_if_failed;     /* run, whatever came of those */
} mproc_task_options;
/* How far a map is. */
typedef struct mproc_progress {
    uint64_t    done, total;        /* items; of mproc_results: read; total 0: unknown, of a source */
    uint64_t    failed;             /* of mproc_results: of those done */
    int64_t     elapsed_ns;
    bool        ended;              /* the last one */
} mproc_progress;
/* Called by the thread that waits for the map (mproc_pool_map, mproc_pool_for, mproc_results_next), in it and under no lock. The
 * results that it is told of are not its to read or close. */
typedef void mproc_progress_fn(void *context, const mproc_progress *progress);
/* One ready made; context is its label, a text (NULL: "progress"). Writes to standard error: on a terminal a bar with the time
 * that is left, elsewhere a line each. */
MPROC_API void mproc_progress_bar(void *label, const mproc_progress *progress);
typedef struct mproc_map_options {
    size_t      size;
    size_t      chunk;              /* for: items of a range; arrays: items claimed together. While they are done quickly, a
                                     * worker takes several chunks at once; 0: adapts, to about 10 us of work.
                                     * Variants: items in one task, 4096 at most; 0: adapts, to half a millisecond of work */
    uint32_t    time_limit_ms;      /* per item, or range; the grace is 2000 ms */
    unsigned    retries;            /* of an item, or range, after a death; 62 at most */
    mproc_variant args;             /* further arguments, a list, the same for every item; copied. Arrays, for: from position 0;
                                     * variants: after the item. May hold handles, see below */
    int        *status;             /* arrays: count codes, one an item, written at the end; NULL: only the first failure is told */
    bool        unordered;          /* of mproc_results: as they finish */
    size_t      ahead;              /* of mproc_results: items submitted and not yet read; 0: 4 tasks a worker */
    bool        unpack;             /* variants: each item is a list, and what it holds are the first arguments */
    mproc_progress_fn *progress;    /* told while the map is waited for, and at its end; NULL: nobody */
    void       *progress_context;
    uint32_t    progress_ms;        /* not more often than this; 0: 1000 */
    mproc_deadline deadline;        /* of mproc_results: for all of them, however they are read; zero: none */
} mproc_map_options;
/* Handles among the arguments of processes, of tasks, maps and loops (arrays, locks, queues, ...): workers open them when they
 * first need them, by /proc, and keep arrays, locks, conditions and events until the caller has closed them and they need
 * others, or have nothing to do; others until the task has ended or, of maps, until they have nothing to do. The caller may
 * close them as soon as the call returns; the pool keeps them until it has seen the end of the task or map (waited for, stats,
 * a full pool), and with a queue the caller's role in it: a writer that closes gives its role up before, by mproc_queue_role(q,
 * 0), or a task that reads to the end waits for one that waits for the task. Refused with MPROC_ECANNOTCROSS: what lives in
 * this process (thread:), is pollable, or is a connection; those go to workers by initializer_args. 64 different ones can be
 * in use: beyond that submit waits, as when the pool is full, and maps and loops, or a task with more, answer MPROC_ELIMIT. */
/* One item: reads in, writes out, returns 0 or a failure. */
typedef int mproc_map_fn(mproc_call *call, const void *in, void *out);

/* Returns when all workers have come through their initializer. The failure of one is returned here, with its story; one
 * that dies meanwhile: MPROC_EDIED. Nothing is left of a pool that could not be made. -EINVAL: an option, named;
 * MPROC_ENOINIT, MPROC_ETHREADS, MPROC_EFUNCTION (an initializer that no other process can find), -ENOMEM. -EPERM: this
 * process is daemonic (process.h) and may have a pool of threads only. */
MPROC_API MPROC_CHECK int mproc_pool_create(const mproc_pool_options *options, mproc_pool **ret_pool);

/* args: a list (MPROC_ARGS) or null; copied. The future is the caller's to close, which does not touch the task.
 * Tasks begin by priority, then in the order of submission; one that is tried again comes before its equals. -ETIMEDOUT: full until submit_deadline; -EMSGSIZE: arguments above
 * max_queued_bytes; MPROC_ECANNOTCROSS: arguments hold what cannot go to a process; MPROC_ECLOSED: stopped; MPROC_ELIMIT: more
 * than 256 different functions; MPROC_EDIED or the initializer's code: broken, with the reason.
 * `after`: -EINVAL: no future; MPROC_EPLACE: one of another pool, of a map or a made one: submit from a callback of it
 * (mproc_future_on_done), or after it; MPROC_ELIMIT: more than 4 times max_queued_tasks (64 at least). As no task can name one
 * that does not exist yet, none waits for itself. One that waits is queued: it counts against max_queued_tasks, can be
 * cancelled, and is not begun before its time because of its priority. */
MPROC_API MPROC_CHECK int mproc_pool_submit(mproc_pool *pool, mproc_fn *fn, mproc_variant args, const mproc_task_options *options, mproc_future **ret_future);
/* By the name that it was registered under (mproc_register): for workers of another build, whose program has it under that
 * name. MPROC_EFUNCTION: not in this program, whose copies the workers are (fork, threads); else it is the future's failure. */
MPROC_API MPROC_CHECK int mproc_pool_submit_name(mproc_pool *pool, const char *name, mproc_variant args, const mproc_task_options *options, mproc_future **ret_future);

/* Arrays: item i reads in_bytes at in + i * in_bytes and writes out_bytes at out + i * out_bytes. Processes: an array in shared
 * memory of ours (mproc_array_data, mproc_shm) is used in place; any other `in` is copied to shared memory and `out` back at
 * the end (what a failed item leaves there is unspecified). Threads work in place. Waits; 0,
 * or the code of the failing item with the lowest index, after all items were tried: story with MPROC_ERROR_ITEM.
 * A zero-sized array may be NULL. -ENOMEM: no room for the arrays; -EMSGSIZE; MPROC_ELIMIT: 32 maps run already. */
MPROC_API MPROC_CHECK int mproc_pool_map(mproc_pool *pool, mproc_map_fn *fn, const void *in, size_t in_bytes, void *out, size_t out_bytes,
                                         size_t count, const mproc_map_options *options);
/* The same without waiting. `out` and `status` are written by the wait that finds the map at its end, and must stay until the
 * future is closed; threads: `in` too. Closing it earlier cancels the map and waits until no worker is in it. */
MPROC_API MPROC_CHECK int mproc_pool_map_start(mproc_pool *pool, mproc_map_fn *fn, const void *in, size_t in_bytes, void *out, size_t out_bytes,
                                               size_t count, const mproc_map_options *options, mproc_future **ret_future);

/* A loop over 0 .. count - 1 in ranges: fn asks mproc_call_range which items are its, and works on arrays that `args` of the
 * options name (mproc_array), or that workers have otherwise. A range is of `chunk` items (the last one may be shorter), or
 * of as many as take about 10 us. It fails, is limited in time and tried again as a whole: a code other than 0 is the status
 * of each of its items, and MPROC_ERROR_ITEM names the first. Waits as map does. */
MPROC_API MPROC_CHECK int mproc_pool_for(mproc_pool *pool, mproc_fn *fn, size_t count, const mproc_map_options *options);
MPROC_API MPROC_CHECK int mproc_pool_for_start(mproc_pool *pool, mproc_fn *fn, size_t count, const mproc_map_options *options, mproc_future **ret_future);

/* Items and results of any size: fn gets (item, args...). Items are copied. At most `ahead` items are submitted and not yet
 * read; reading submits more, so memory is bounded whatever the results are. Small items travel in batches: one task for
 * many. A worker's death costs the one item that it ran; what it had not begun is submitted again when it is read next:
 * after a stop that is refused, and those items have failed with MPROC_ECLOSED. */
MPROC_API MPROC_CHECK int mproc_pool_map_variants(mproc_pool *pool, mproc_fn *fn, const mproc_variant *items, size_t count,
                                                  const mproc_map_options *options, mproc_results **ret_results);
/* The same over a source that is asked for one item after the other, at most `ahead` of what is read, by the thread that calls
 * map_source and results_next, and only then: nothing else needs a lock against it. 0: an item, which is the source's again at
 * its next call. MPROC_EEND: no more. Any other code: it failed; results_next gives the results of all items before it, then once
 * this code with the source's story (mproc_last_error), then MPROC_EEND. It may not use the results that it feeds. */
typedef int mproc_source_fn(void *context, mproc_variant *ret_item);
MPROC_API MPROC_CHECK int mproc_pool_map_source(mproc_pool *pool, mproc_fn *fn, mproc_source_fn *source, void *context,
                                                const mproc_map_options *options, mproc_results **ret_results);
/* code 0: value. Else a failure of this item alone, error its story. Both are borrowed until the next call or close. */
typedef struct mproc_result { size_t index; int code; mproc_variant value; const mproc_error *error; } mproc_result;
/* 0: one result, in order of the items, or (unordered) of their ends. MPROC_EEND: all were read. -ETIMEDOUT: nothing is lost.
 * -ETIME, once: the map's own deadline has passed, what was under way is cancelled, and MPROC_EEND follows; an item that fails with
 * such a code is a result with that code. MPROC_ESTATE: called by the source, or the progress function, that it would call. */
MPROC_API MPROC_CHECK int mproc_results_next(mproc_results *results, mproc_deadline deadline, mproc_result *ret_result);
MPROC_API void mproc_results_close(mproc_results **results);         /* cancels what is left, running ones too. Nothing, where
                                                                      * results_next would be MPROC_ESTATE */

/* End. New work is refused with MPROC_ECLOSED. drain: what was accepted is finished; else what has not begun is cancelled,
 * and what runs sees mproc_call_stopping. At the deadline all that is left is cancelled and its workers are killed;
 * dropped counts tasks and maps that were cancelled. Futures keep their results. Again: 0.
 * A task of a pool of threads may stop its own pool: all but itself is waited for, and its future is CANCELLED if it is looked at
 * before the task ends; -EDEADLK: another thread stops the pool already, and waits for this task; or what is left comes `after`
 * this task, all else is done, and the pool goes on.
 * A supervisor that the kernel does not end within 5 s of its SIGKILL (frozen, traced, asleep in a device) is waited for no
 * longer: when it has ended, a later create, finish or close of a pool reaps it.
 * -EBUSY: threads that do not look at mproc_call_stopping go on, and are not waited for; -ETIMEDOUT: another thread is
 * stopping it. */
MPROC_API int  mproc_pool_stop(mproc_pool *pool, bool drain, mproc_deadline deadline, size_t *ret_dropped_tasks);
MPROC_API void mproc_pool_close(mproc_pool **pool);          /* a running pool: as stop(no drain, 2000 ms) */
/* Closes without waiting: as stop(drain, forever), by a thread that is there until the pool has ended; the program's exit waits
 * for it. Futures stay. What is left of its memory goes with the next create, finish or close of a pool. -EAGAIN: no thread; nothing has changed. */
MPROC_API int  mproc_pool_finish(mproc_pool **pool);
/* So many workers from now on; 0: usable CPUs. Returns at once: those who are too many leave when they have ended what they
 * are at, new ones come as at creation; one that cannot be started counts as a death (threads: is told here, and nothing
 * has changed). A map that runs goes on with those who were there when it began. -EINVAL: more than a pool can have;
 * MPROC_ECLOSED; MPROC_EDIED or another: broken. */
MPROC_API int  mproc_pool_resize(mproc_pool *pool, unsigned workers);
/* An owned dict. Ints: workers (wanted), alive, idle, accepted (tasks), queued, running, completed (runs of tasks that came to
 * an end in a worker), failed (by their code, a death or a limit), cancelled, died (workers, unplanned), restarted
 * (workers, for whatever reason). "each": a list of a dict a worker: worker (its number in stories), pid (threads:
 * thread id), life (which one it is at that place), completed (at that place), state: starting, idle, busy, leaving. */
MPROC_API int  mproc_pool_stats(const mproc_pool *pool, mproc_variant *ret_dict);

MPROC_END_DECLS

#endif
