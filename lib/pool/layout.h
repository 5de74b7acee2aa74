/* SPDX-License-Identifier: BSD-2-Clause */
/* A pool's segment: what lies where, and who may write it. L6.
 *
 *     pool | rings of ready slots | task slots | extras | edges | arena (large arguments and results) |
 *     heads of maps | region (their arrays)
 *
 * All but the pool struct is sparse: addresses for the configured limits, memory as it is used (mproc__view_reserve_*).
 * Only the process that made the pool submits, so free lists of slots and of the region are its private memory; here is
 * only what workers and supervisor must see. A pool of threads has the same layout in private memory; its payloads are
 * variants by address. */
#ifndef MPROC__POOL_LAYOUT_H
#define MPROC__POOL_LAYOUT_H

#include <sched.h>

#include "data/parcel.h"
#include "platform/platform.h"
#include "pool/ready.h"
#include "process/launch.h"
#include "shm/arena.h"
#include "shm/segment.h"

enum {
    MPROC__POOL_WORKERS = 240, /* rows of a segment, less owner, supervisor, and leavers not yet swept */
    MPROC__POOL_RESTARTS =
        65536, /* a minute: a supervisor has 200 bytes for each, which cost memory only as deaths come */
    MPROC__POOL_MAPS = 32, /* running at the same time */
    /* Of addresses for a map's words, reports and arguments (map_begin.c): 64 KiB, 80 of 240 workers, and 48. */
    MPROC__POOL_HEAD = 192 * 1024,
    MPROC__POOL_FUNCTIONS = 256,     /* different ones a pool has been given */
    MPROC__POOL_CERTIFICATES = 1024, /* the last deaths of all its workers */
    MPROC__POOL_INLINE = 192,        /* bytes of an encoded argument list or result that need no block */
    MPROC__POOL_TEXT = 320,          /* of a failure's story */
    MPROC__TASK_LINE =
        64, /* of the processor, where neighbours do not matter: slots are used one after the other */
    MPROC__POOL_LENT = 64,    /* handles of the owner that workers use at the same time */
    MPROC__POOL_BLOCK = 4096, /* granule of the arena */
    MPROC__POOL_DEATHS = 8,   /* of a task that are told one by one */
    MPROC__BLOCK_ORPHAN = 1   /* arena block state: its worker died */
};
#define MPROC__SUPERVISOR_LOST UINT32_MAX

typedef enum mproc__pool_state {
    MPROC__POOL_STARTING,
    MPROC__POOL_RUNNING,
    MPROC__POOL_STOPPING, /* running tasks see mproc_call_stopping */
    MPROC__POOL_QUIT,     /* workers leave */
    MPROC__POOL_KILL      /* the supervisor kills them */
} mproc__pool_state;

/* A variant, encoded (threads: a mproc_variant). Written before the store that hands the slot on, read after it. */
typedef struct mproc__payload_shared {
    uint64_t size_bytes;
    uint32_t block; /* of the arena, + 1; 0: in bytes[] */
    uint32_t kind;  /* of a result: mproc__payload_kind */
    _Alignas(8) uint8_t bytes[MPROC__POOL_INLINE];
} mproc__payload_shared;

typedef enum mproc__payload_kind {
    MPROC__PAYLOAD_NONE,
    MPROC__PAYLOAD_VALUE,
    MPROC__PAYLOAD_LENT, /* a value with handles that are lent (lend.h) */
    MPROC__PAYLOAD_STORY,
    MPROC__PAYLOAD_BATCH /* of arguments: batch.h; always a block, for threads too */
} mproc__payload_kind;

/* One task. `word` says whose the rest is: the submitter's while FREE or final, the claiming worker's result fields while
 * RUNNING. A worker that dies leaves half-written result fields, which nobody reads: its word never becomes DONE. In the
 * order in which they are met: a task without arguments and result is in two lines, and with small ones in three. */
typedef struct mproc__task_shared {
    _Alignas(MPROC__TASK_LINE) _Atomic uint64_t word; /* task.h */
    uint64_t number;                                  /* submitter, before READY, as all up to args */
    int64_t begin_by_ns;                              /* 0: any time */
    uint32_t priority;                                /* mproc__priority_index */
    uint32_t function;
    uint32_t time_limit_ms;
    uint32_t grace_ms;
    _Atomic uint32_t max_attempts; /* whoever reads it late finds by the word that it is another task's */
    uint32_t items;                /* of a batch, else 0 */
    mproc__payload_shared args;
    _Atomic uint64_t progress_done; /* the worker, any time; a lost or late value is harmless */
    _Atomic uint64_t progress_total;
    _Atomic int32_t code; /* worker, before DONE; late readers as of max_attempts */
    /* Edges (after.h), + 1; 0: none. Submitter; a list grows at its head, and is empty again before the word says FREE. */
    _Atomic uint32_t edges_then;  /* to tasks that come after it: while it is not final */
    _Atomic uint32_t edges_first; /* from tasks that it comes after: before WAITING */
    uint32_t even_if_failed;      /* submitter, before WAITING */
    mproc__payload_shared result; /* worker, before DONE */
    _Atomic uint64_t edges_ended; /* anybody: (serial, edge): those before that one have ended; a hint */
    /* Of a batch. Submitter, before READY: */
    uint32_t packed_bytes; /* of args; the rest of them is room for results */
    uint32_t first_attempt;
    uint32_t unpack;
    /* Worker: after the record that it counts, so a reader finds what it says whole, whenever the worker died. */
    _Atomic uint64_t committed;
    uint64_t busy_ns; /* worker, before DONE */
} mproc__task_shared;

typedef enum mproc__worker_state {
    MPROC__WORKER_VACANT,
    MPROC__WORKER_STARTING, /* launched; not yet through its initializer */
    MPROC__WORKER_READY,
    MPROC__WORKER_LEAVING, /* of its own will: holds nothing any more */
    MPROC__WORKER_LEFT,    /* left, and buried; the supervisor has not reaped it yet */
    MPROC__WORKER_DEAD     /* died, and buried; the same */
} mproc__worker_state;

/* A worker's word, unpacked. */
typedef struct mproc__worker_word {
    mproc__worker_state state; /* 4 bits */
    unsigned row;              /* 8 bits: of the segment, + 1; 0: has not joined */
    unsigned life;             /* 16 bits: counts its incarnations */
    pid_t pid;                 /* 32 bits; 0 until the worker joined */
} mproc__worker_word;

typedef enum mproc__end_cause {
    MPROC__END_UNKNOWN,    /* what the exit code says, and no more */
    MPROC__END_SUPERVISOR, /* killed because that had died; nobody was told how, and what it used */
    MPROC__END_MEMORY_GROUP, /* SIGKILL that was not the pool's, and its control group has counted one for want of memory */
    MPROC__END_MEMORY_SYSTEM, /* the same, and the machine has */
    MPROC__END_MEMORY_LIMITED /* a fault or an abort under limits.memory_bytes */
} mproc__end_cause;

/* What is known of one death. The supervisor writes it after the kernel told it: `who` 0, the rest, `who` last. A reader that
 * finds the one it looks for under no `who`, or another `who` there after it has read, knows: dead, reason not (yet, or no
 * longer) known. A supervisor that dies in here leaves an entry of nobody. */
typedef struct mproc__certificate_shared {
    _Atomic uint32_t who; /* (worker + 1) << 16 | life; 0: nobody */
    int32_t exit_code;    /* -N: signal N */
    int32_t pid;
    uint32_t cause; /* mproc__end_cause */
    int64_t user_us, system_us, max_rss_kib;
} mproc__certificate_shared;

/* A worker's desk. `word` by supervisor (VACANT, STARTING), worker (READY, LEAVING) and who buries it (DEAD); the rest by
 * the living worker alone, and after its death by nobody: buriers only read. `slot` and `map` are announced before the
 * claim they go with, so what the dead held is found without a search. */
typedef struct mproc__worker_shared {
    _Alignas(MPROC__LINE) _Atomic uint64_t word;
    _Atomic uint32_t
        slot; /* + 1: of the task it runs or is about to claim; the claim is in the slot's word */
    _Atomic uint32_t
        map; /* + 1: it may touch this map's memory; the map's owner waits for 0 before freeing it */
    /* Under way in that map: items from this one up to `item_end`. UINT64_MAX while the two are changed, and before the
     * first: nothing is under way. */
    _Atomic uint64_t item;
    _Atomic uint64_t item_end;
    _Atomic uint64_t
        run; /* (number, mproc__run_state) of a stretch of map items: taken and ended by swaps, stopped by
                            * the supervisor, as a task's word is */
    _Atomic int64_t limit_ns; /* the supervisor stops the work at this time; 0: no limit */
    _Atomic uint64_t completed;
} mproc__worker_shared;

typedef enum mproc__run_state {
    MPROC__RUN_IDLE,
    MPROC__RUN_BUSY,
    MPROC__RUN_CANCELLED,
    MPROC__RUN_EXPIRED
} mproc__run_state;

typedef enum mproc__map_state {
    MPROC__MAP_FREE,
    MPROC__MAP_ACTIVE,
    MPROC__MAP_CANCELLED,
    MPROC__MAP_ENDED,
    MPROC__MAP_REFUSED /* a worker cannot do it, and its report says why, unless it died before it said so */
} mproc__map_state;

#define MPROC__REPORT_OF_ALL UINT64_MAX

/* The earliest failing item a worker has met in a map. The worker's alone, `item` last; readers come when the map ended. */
typedef struct mproc__report_shared {
    _Atomic uint64_t item; /* + 1; 0: none; or MPROC__REPORT_OF_ALL */
    int32_t code;
    uint32_t attempt;
    char text[MPROC__POOL_TEXT];
} mproc__report_shared;

/* A map. The submitter writes all but the counters while the state is FREE. Offsets are from the root of the segment
 * (threads: arrays of the caller, by wrapping arithmetic). */
typedef struct mproc__map_shared {
    _Atomic uint32_t state; /* submitter; worker: ACTIVE to REFUSED */
    uint32_t function;
    uint32_t time_limit_ms;
    uint32_t max_attempts;
    uint32_t granule_items; /* items a granule; the last one may be shorter */
    uint32_t fixed;         /* the caller chose the chunk: a range is one granule */
    uint32_t ranges;        /* the function takes ranges of items, not one */
    uint32_t in_lent,
        out_lent;            /* + 1: that array is in this entry of `lent`, offset from its root; 0: here */
    _Atomic uint32_t kill;   /* cancelled, running items too */
    _Atomic uint32_t deaths; /* buriers; not 0: count by looking at the granules */
    _Atomic uint64_t number, granules; /* also looked at by workers that have not entered */
    _Atomic uint32_t desks; /* the same: workers beyond have no place in reports and losses and stay out */
    uint64_t count;
    uint64_t in, in_bytes, out, out_bytes;
    uint64_t words;   /* of granules: uint64_t each */
    uint64_t reports; /* one a desk */
    uint64_t
        losses; /* one word a desk: item + 1 (44 bits), its life (16) and reason (4) of the earliest lost item */
    uint64_t status; /* int32_t an item; 0: not wanted */
    uint64_t args, args_bytes;
    _Alignas(MPROC__LINE) _Atomic uint64_t next; /* granule: a hint, see granule.h */
    _Atomic uint64_t holes;                      /* changes when granules below next may be free again */
    _Alignas(MPROC__LINE) _Atomic uint64_t finished_granules;
    _Atomic uint64_t finished_items; /* for progress */
} mproc__map_shared;

/* A descriptor of the owner's, which a worker opens by /proc. The kernel's number of the file tells it from another one that
 * has the descriptor's number later. */
typedef struct mproc__lent_file_shared {
    int32_t fd;
    uint32_t access; /* O_RDWR or O_RDONLY */
    uint64_t device, inode;
} mproc__lent_file_shared;

/* A handle or segment that the owner lends (lend.h). The owner writes all; `serial` last, and 0 first when it takes the
 * entry back, so that a worker which sees the serial it was told sees the rest of it, and looks at it again when it has
 * opened what it is about. When the owner dies the workers go. */
typedef struct mproc__lent_shared {
    _Atomic uint64_t serial; /* 0: free */
    uint32_t type;           /* mproc_type_id; MPROC_TYPE_NONE: a segment */
    uint32_t kind;           /* of a segment's object */
    uint32_t file_count;
    uint32_t blob_bytes;
    mproc__lent_file_shared files[4];
    uint8_t blob[MPROC__PARCEL_BLOB_BYTES]; /* what the handle's pack says */
} mproc__lent_shared;

/* What an encoded value has in a handle's place. */
typedef struct mproc__lent_name_shared {
    uint64_t serial;
    uint32_t index;
    uint32_t unused;
} mproc__lent_name_shared;

/* A function, by identity (what was exec'd in between) or by address (forked, or threads). Submitter; never changed. */
typedef struct mproc__function_shared {
    uint64_t address;
    mproc__function_id id;
} mproc__function_shared;

/* What made the pool useless, for the next call to report: the pool is broken from the moment it is `valid`, so whoever sees
 * that has the reason. `taken` by swap from 0 or from a dead process's, the rest by who took it, `valid` last. The reason of one
 * that dies in between is nobody's; the next who has one takes its place. */
typedef struct mproc__breakage_shared {
    _Atomic uint64_t taken; /* whose: pid, row + 1 */
    _Atomic uint32_t valid;
    int32_t code;
    int32_t exit_code;
    int32_t pid;
    uint32_t worker;
    char text[MPROC__POOL_TEXT];
} mproc__breakage_shared;

/* What was decided at creation. Submitter; never changed once others see the segment. */
typedef struct mproc__pool_plan_shared {
    uint32_t workers;
    uint32_t slot_count; /* a power of two */
    uint32_t start;
    uint32_t owner_row;
    uint32_t restarts_per_minute;
    uint32_t tasks_per_worker;
    uint64_t extras; /* extra.h, one a slot */
    uint64_t edges;  /* after.h */
    uint32_t edge_count;
    uint64_t slots, ring, arena, heads, region,
        region_bytes; /* offsets from the root; a ring for each priority */
} mproc__pool_plan_shared;

typedef struct mproc__pool_shared {
    mproc__pool_plan_shared plan;
    _Atomic uint32_t state;  /* mproc__pool_state; submitter */
    _Atomic uint32_t wanted; /* workers; submitter: those with a higher index leave */
    _Atomic uint32_t desks;  /* submitter, before anyone sits there: so many have been in use; only grows */
    _Atomic uint32_t ready_workers; /* workers that have come through their initializer, ever */
    _Atomic uint32_t slots_used;    /* submitter: slots beyond were never used, and have no memory */
    _Atomic uint32_t active_maps;   /* submitter: a bit each */
    _Atomic uint32_t rescan;     /* changes when a READY slot may be in no ring cell: death, or ring full */
    _Atomic uint32_t lent_epoch; /* submitter: changes when an entry of `lent` was taken back */
    _Atomic uint32_t burials;    /* changes when arena blocks may have been orphaned */
    _Atomic uint64_t arena_reserved;  /* bytes from the arena's start that have memory; only grows */
    _Atomic uint32_t died, restarted; /* supervisor */
    _Atomic uint32_t supervisor_row;  /* + 1; supervisor; 0: not yet, or it left in order; LOST: a sweeper */
    _Atomic int64_t supervisor_wakes_ns; /* supervisor: it looks at limits then at the latest */
    mproc__breakage_shared breakage;
    /* + 1: of the worker that looks for tasks without sleeping; one at a time, so that those who spin are not more than the
     * processors. Set by its swap from 0 and taken back by its swap to 0; a submitter that takes it by an exchange leaves its
     * task to that worker, and wakes nobody. One that finds it taken looks once more. Who dies with it, or with what was left
     * to it, is buried, which wakes the others, as does one that goes; who is stopped with it has that one task, as if it ran
     * it, until somebody sleeps for the end of any of the pool's work (mproc__ready_hurry). */
    _Alignas(MPROC__LINE) _Atomic uint32_t spinner;
    _Alignas(MPROC__LINE) mproc__eventcount_shared work;    /* workers sleep here */
    _Alignas(MPROC__LINE) mproc__eventcount_shared done;    /* callers: an end of any kind */
    _Alignas(MPROC__LINE) mproc__eventcount_shared command; /* the supervisor */
    _Alignas(MPROC__LINE) mproc__eventcount_shared room;    /* workers with a result and no block */
    _Atomic uint32_t room_wanted;
    _Atomic uint32_t priorities; /* submitter: a bit each that was ever used; its ring has memory */
    mproc__ready_shared ready[MPROC__PRIORITIES];
    mproc__function_shared functions[MPROC__POOL_FUNCTIONS];
    mproc__lent_shared lent[MPROC__POOL_LENT];
    mproc__map_shared maps[MPROC__POOL_MAPS];
    mproc__worker_shared workers[MPROC__POOL_WORKERS];
    _Atomic uint32_t
        certified; /* supervisor: certificates written, ever; the next is at this one modulo their number */
    mproc__certificate_shared certificates[MPROC__POOL_CERTIFICATES];
} mproc__pool_shared;

/* One process's look at it. */
struct mproc__pool_view {
    mproc__segment *segment;
    mproc__pool_shared *shared;
    mproc__task_shared *slots;
    _Atomic uint32_t *ring;
    mproc__arena arena;
    char *root;
    bool threads;
    uint64_t extras_reserved;               /* submitter: bytes of extras that have memory */
    uint64_t heads_seen[MPROC__PRIORITIES]; /* submitter: of the rings, some time ago */
};

static inline unsigned mproc__desks(const mproc__pool_shared *shared)
{
    uint32_t desks = atomic_load_explicit(&shared->desks, memory_order_acquire);
    return desks < MPROC__POOL_WORKERS ? desks : MPROC__POOL_WORKERS;
}

typedef struct mproc__pool_limits {
    unsigned workers;
    size_t tasks;
    size_t bytes;
    mproc_start start;
    bool fork_checked;
    unsigned restarts_per_minute;
    unsigned tasks_per_worker;
    const char *name;
} mproc__pool_limits;

/* Makes the segment and lays it out; joins it as owner. */
int mproc__view_create(const mproc__pool_limits *limits, mproc__pool_view *ret_view);
/* Takes fd in any case. */
int mproc__view_attach(int fd, mproc__pool_view *ret_view);
void mproc__view_close(mproc__pool_view *view);
/* Gives memory to the first `slots` slots, or to a block, before it is touched. */
int mproc__view_reserve_slots(mproc__pool_view *view, uint32_t slots);
int mproc__view_reserve_block(mproc__pool_view *view, uint32_t block);

uint64_t mproc__worker_pack(mproc__worker_word worker);
mproc__worker_word mproc__worker_unpack(uint64_t word);
static inline mproc__worker_word mproc__worker_load(const mproc__worker_shared *worker)
{
    return mproc__worker_unpack(atomic_load_explicit(&worker->word, memory_order_acquire));
}
/* May hold work. */
static inline bool mproc__worker_unburied(mproc__worker_state state)
{
    return state == MPROC__WORKER_STARTING || state == MPROC__WORKER_READY || state == MPROC__WORKER_LEAVING;
}
bool mproc__worker_swap(mproc__worker_shared *worker, mproc__worker_word from, mproc__worker_word to);
/* A vacant desk becomes STARTING for its next incarnation, whose life is returned. */
unsigned mproc__worker_desk_prepare(mproc__worker_shared *desk);

/* At a byte offset of the root; for threads any address of the process. */
static inline void *mproc__view_at(const mproc__pool_view *view, uint64_t offset)
{
    return (void *)((uintptr_t)view->root + (uintptr_t)offset);
}
static inline uint64_t mproc__view_offset(const mproc__pool_view *view, const void *address)
{
    return (uint64_t)((uintptr_t)address - (uintptr_t)view->root);
}
static inline _Atomic uint64_t *mproc__map_word(const mproc__pool_view *view, const mproc__map_shared *map,
                                                uint64_t granule)
{
    return (_Atomic uint64_t *)mproc__view_at(view, map->words) + granule;
}

/* One step of a bounded spin. What is waited for may have to be done by somebody on this processor, where the scheduler had
 * put both: it gets the processor after some 2 us, which is longer than a hand-over between two takes. */
static inline void mproc__spin_once(unsigned spins)
{
    if (spins % 64 == 1)
        sched_yield();
    else
        mproc__pause();
}

void mproc__pool_post(mproc__pool_view *view, mproc__eventcount_shared *event);
/* A task is ready: wakes workers, unless one looks for it anyway. */
void mproc__pool_post_task(mproc__pool_view *view);
/* Says why the pool cannot go on; the first one counts. It may be a living other's, and valid only soon. */
void mproc__pool_break(mproc__pool_view *view, const mproc__breakage_shared *reason);
bool mproc__pool_broken(const mproc__pool_view *view);

#endif
