/* SPDX-License-Identifier: BSD-2-Clause */
/* The ledger of a tortured pool: which tasks began and ended, whatever process they ran in. It crosses to workers of every
 * start method as an argument of their initializer. */
#ifndef MPROC__TESTS_POOL_LEDGER_H
#define MPROC__TESTS_POOL_LEDGER_H

#include <mproc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    POOL_LEDGER_ENTRIES = 4096,
    POOL_LEDGER_SMALL = 48,   /* bytes of a payload that stays in its slot */
    POOL_LEDGER_LARGE = 1000, /* of one that needs a block */
    POOL_LEDGER_PEOPLE = 128
};

/* Counted by the task itself, first and last thing; set to 0 by the controller before the entry is given to a task. One who is
 * killed in between leaves begun > ended. */
typedef struct pool_ledger_entry_shared {
    _Atomic uint32_t begun, ended;
} pool_ledger_entry_shared;

typedef struct pool_ledger_shared {
    _Atomic uint32_t met; /* counted up by each task of a meeting */
    pool_ledger_entry_shared entries[POOL_LEDGER_ENTRIES];
} pool_ledger_shared;

/* What a task is sent and, with the attempt written in, sends back. */
typedef struct pool_letter {
    uint32_t number;
    uint32_t attempt;
    uint32_t run_us;
    uint32_t size_bytes;
    uint8_t bytes[POOL_LEDGER_LARGE];
} pool_letter;

/* ---- controller ---- */
int pool_ledger_make(mproc_shm **ret_shm, pool_ledger_shared **ret_ledger);
/* A pool whose workers know the ledger: fills start, initializer and its arguments into `options`. */
int pool_ledger_pool(mproc_shm *shm, mproc_start start, mproc_pool_options *options, mproc_pool **ret_pool);
/* Small or large by number; its bytes follow from it. */
void pool_letter_write(pool_letter *letter, uint32_t number, uint32_t run_us);
/* The entry of a number, fresh. */
pool_ledger_entry_shared *pool_ledger_enter(pool_ledger_shared *ledger, uint32_t number);
int pool_letter_send(mproc_pool *pool, mproc_fn *fn, const pool_letter *letter, const mproc_task_options *options,
                     mproc_future **ret_future);
/* The attempt that answered, or 0: it is not the letter that was sent. */
unsigned pool_letter_read(mproc_variant answer, uint32_t number, uint32_t run_us);
/* So many tasks must run at the same time, each in a worker of its own, within limit_ms: 0, or what one of them met with.
 * They are tried again when their workers die. */
int pool_meet(mproc_pool *pool, pool_ledger_shared *ledger, unsigned workers, int limit_ms);
/* All children of a process; how many. */
unsigned pool_children(pid_t parent, pid_t *ret_pids, unsigned most);
/* The child of this process that was none of `before` and has children itself; 0: there is none. */
pid_t pool_supervisor(const pid_t *before, unsigned before_count);

/* ---- tasks: (bytes: a letter) -> bytes: the same ---- */
int pool_ledger_open(mproc_call *call); /* initializer (shm) */
int pool_task_echo(mproc_call *call);   /* after run_us of work, whatever happens */
int pool_task_looks(mproc_call *call);  /* until it is stopped, or run_us have passed */

#endif
