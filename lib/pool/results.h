/* SPDX-License-Identifier: BSD-2-Clause */
/* Results of a map over variants: a window of entries in the order of their items, each one task. L6.
 *
 *     built --> submitted --> settled --> read        (results.c)
 *       ^           |
 *       `-----------'  what a death, or a result that did not fit, left undone of a batch
 *
 * Belongs to the thread that reads; the pool's lock is taken by what it calls. */
#ifndef MPROC__POOL_RESULTS_H
#define MPROC__POOL_RESULTS_H

#include "pool/batch.h"
#include "pool/future.h"
#include "pool/pool.h"
#include "pool/progress.h"

/* Of work in a batch: a hundred times what handing it over costs, and short to wait for. */
enum { MPROC__RESULTS_BATCH_NS = 500 * 1000 };

/* One task: a single item, or a batch of them. */
typedef struct mproc__entry {
    struct mproc__entry *next, *previous;
    size_t first; /* index of its first item */
    uint32_t count, shown;
    unsigned attempt; /* of its first item */
    bool single;
    bool item_owned;
    mproc_variant item;   /* of a single one */
    mproc__packed packed; /* of a batch: the items, */
    size_t offset;        /* from here */
    mproc_future *future; /* NULL: not submitted */
    bool settled;         /* can be read */
    int code;             /* not 0: what failed for all that batch and future do not tell of */
    mproc_error *error;   /* of that; owned */
    mproc__batch batch;
    size_t cursor; /* of its records */
} mproc__entry;

/* Where items come from. */
typedef struct mproc__feed {
    mproc_source_fn *source; /* NULL: items */
    void *context;
    mproc_variant items; /* a deep copy */
    size_t next;         /* index of the next item */
    bool held;           /* it was fetched, and no entry has it yet: */
    mproc_variant item;  /* borrowed from the source, or from items */
    bool ended;
    int code; /* why, when not in order; told once */
    mproc_error error;
    bool calling; /* the source runs, or who is told how far it is */
} mproc__feed;

struct mproc_results {
    uint32_t magic;
    mproc__pool_core *core;
    mproc_fn *fn;
    mproc__feed feed;
    mproc_variant args;        /* that all items have in common; a deep copy */
    mproc__packed packed_args; /* the same; empty: they cannot be packed */
    mproc_task_options task;
    bool unordered, unpack;
    size_t ahead, chunk; /* 0: not chosen */
    mproc_deadline deadline;
    mproc__teller teller;
    uint64_t read, failed;     /* results that the caller has seen */
    mproc__entry *begin, *end; /* the window */
    size_t entries, open;      /* in it; items in it that were not read */
    uint32_t batch;            /* items of the next one */
    bool grown;                /* that is what was measured; else batches still grow towards it */
    uint64_t item_ns;          /* of work, lately */
    size_t item_bytes;         /* the largest result lately */
    mproc__packed spare;       /* a buffer for the next batch */
    mproc__entry *spent;       /* what the caller looks at is its */
    mproc_variant value;       /* or this */
    mproc_error error;
    bool over;
};

/* ---- results_settle.c ---- */
/* Whether it has ended: then what there is of it can be read. */
bool mproc__entry_settle(mproc_results *results, mproc__entry *entry);

/* ---- feed.c ---- */
/* Builds and submits entries while there is room for them. */
void mproc__results_fill(mproc_results *results);
/* Gives an entry to the pool, waiting for room. -ETIMEDOUT: none by then; other failures become the entry's. */
int mproc__entry_submit(mproc_results *results, mproc__entry *entry, mproc_deadline deadline);
void mproc__entry_free(mproc_results *results, mproc__entry *entry);
void mproc__entry_fail(mproc__entry *entry, int code);
/* Puts it into the window behind another; NULL: at the beginning. */
void mproc__entry_insert(mproc_results *results, mproc__entry *entry, mproc__entry *behind);
void mproc__entry_remove(mproc_results *results, mproc__entry *entry);

#endif
