/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of a segment (segment.c, participants.c, life.c, eventcount.c, bell.c) share, and nobody else includes. L2. */
#ifndef MPROC__SHM_SEGMENT_INSIDE_H
#define MPROC__SHM_SEGMENT_INSIDE_H

#include <linux/futex.h>
#include <sys/types.h>

#include "platform/platform.h"
#include "platform/robust.h"
#include "shm/segment.h"

/* The row's owner gave its life word back in an orderly way (its thread ended, the process goes on). */
#define MPROC__IDENTITY_HANDED_BACK (UINT64_C(1) << 63)
/* The owner is dead, or gone without settling, and a sweep could not finish, or threads of the dead process are still on
 * their way out of a sleep. Nobody holds the life word. */
#define MPROC__IDENTITY_UNBURIED (UINT64_C(1) << 62)
/* A sweep of this dead row came to its end, and nobody who slept through it has still to be told of anything. Stored with the
 * life word held, and believed only if that word was given back: a mark on it tells of a sweeper that died in there. */
#define MPROC__IDENTITY_TOLD (UINT64_C(1) << 61)
/* The same, and all that was the row's has been given back: the row waits for the end of its process, nothing else. */
#define MPROC__IDENTITY_SETTLED (UINT64_C(1) << 60)
#define MPROC__IDENTITY_FLAGS                                                                                \
    (MPROC__IDENTITY_HANDED_BACK | MPROC__IDENTITY_UNBURIED | MPROC__IDENTITY_TOLD | MPROC__IDENTITY_SETTLED)
/* No address of a program has this bit. */
#define MPROC__STACK_CROWDED (UINT64_C(1) << 63)

/* One participant. Everything but the life word is written with the life word held, and read without a lock.
 * If a writer dies, the kernel marks the life word; whoever takes it next finds in `identity` what there is to bury. */
typedef struct mproc__row_shared {
    /* Held by the thread that joined, from before the identity is written until after it is erased. Marked by the
     * kernel when that thread dies with it. Also taken for an instant by a sweeper of a dead row. */
    mproc__robust_shared life;
    /* 0: free. Else pid | generation << 32 | MPROC__IDENTITY_FLAGS. Stored last when a row is taken and erased
     * first when it is left, so a reader that sees it sees the two fields below. A taker that dies before this store
     * leaves a marked life word and 0: the row is free. The generation tells a row from its next life. */
    _Atomic uint64_t identity;
    /* Start time in clock ticks and initial stack address of the process, 0: unknown. Read only to answer for rows
     * whose life word is handed back. In the address, MPROC__STACK_CROWDED: set by any thread of the owner's process
     * before it sleeps for the object without being on the word; set in the row's next life by one that died late, it
     * costs a few looks at that one's death. */
    _Atomic uint64_t start_ticks;
    _Atomic uint64_t stack_address;
} mproc__row_shared;

/* A thread that sleeps for the object. Its own until it has woken; after its death, of whoever finds that the thread is
 * gone and needs a slot. Only explain reads it: a value that is wrong for an instant (a new waiter with the time of the
 * one before) misleads nobody but a reader of its output. */
typedef struct mproc__waiter_shared {
    _Atomic uint64_t word; /* 0: free. Else thread id | mproc__wait_kind << 32; taken by compare and swap */
    _Atomic int64_t since_ns; /* CLOCK_MONOTONIC; written right after */
} mproc__waiter_shared;

/* First bytes of every host segment. The creator writes all but the last six fields, and the mutexes in those, before anyone
 * else has the descriptor; they never change. A creator that dies before that takes the segment with it. */
typedef struct mproc__header_shared {
    uint64_t magic;
    uint32_t version;
    uint32_t kind;       /* mproc_type_id of the object */
    uint64_t size_bytes; /* of the object area */
    uint32_t
        root_offset; /* differs between builds whose pthread_mutex_t differs: such segments are refused */
    uint32_t row_count;
    uint64_t pid_namespace;         /* owner ids in robust mutexes mean nothing elsewhere */
    uint64_t time_namespace;        /* start times mean nothing elsewhere */
    char label[MPROC__LABEL_BYTES]; /* its name, for people; of a named one, its file; ends in a zero byte */
    uint32_t flags;                 /* MPROC__FLAG_... */
    uint32_t unused;
    uint64_t reserved_bytes; /* of the object area, reserved at creation: those are touched without asking */
    /* A futex that all sleepers watch; add 1 and wake all when the set of life words changes. Anyone writes it, by
     * atomic add. One who dies between a change and its add held or watched a life word, and that wakes a sleeper. */
    _Alignas(64) _Atomic uint32_t membership;
    _Atomic uint32_t generation; /* of the last row taken; atomic add */
    /* Highest row ever used + 1, raised by compare and swap before the identity is stored; never falls, so a taker that
     * dies in between costs one look. */
    _Atomic uint32_t rows_used;
    /* The sleeper that holds it looks after rows whose life word nobody holds, for all (eventcount.c). Guards nothing; the
     * holder's death is the death of a participant and wakes others as such. */
    mproc__robust_shared watch;
    _Alignas(64) mproc__row_shared rows[MPROC__ROWS];
    mproc__waiter_shared waiters[MPROC__WAITERS];
} mproc__header_shared;

enum {
    MPROC__FLAG_NAMED = 1,   /* has or had a name in /dev/shm, and so no seals */
    MPROC__FLAG_PERSIST = 2, /* that name stays when nobody uses it */
    MPROC__FLAG_UNSEALED = 4 /* made where memfd_create is denied; all others have seals */
};

#define MPROC__SEGMENT_MAGIC UINT64_C(0x746d6765732d706d) /* "mp-segmt" in a little-endian dump */
#define MPROC__ROOT_OFFSET   ((sizeof(mproc__header_shared) + MPROC__LINE - 1) / MPROC__LINE * MPROC__LINE)
enum { MPROC__SEGMENT_VERSION = 6 };

struct mproc__life;

struct mproc__segment {
    mproc__home home;
    _Atomic uint32_t references;
    int fd;                       /* -1 in a thread home */
    uint64_t file[2];             /* its device and inode, to know it again */
    mproc__header_shared *shared; /* NULL in a thread home */
    void *mapping;
    size_t mapping_bytes;
    unsigned char *root;
    size_t size_bytes;
    mproc_type_id kind;
    char label[MPROC__LABEL_BYTES]; /* as in the header */
    bool named;                     /* the label is a file's name */
    bool published;                 /* which leads to it, or did */
    bool read_only;                 /* mapped so: no call may write or join */
    char *temporary;      /* where a file must have a name from the start: that one, until it is published */
    uint64_t incarnation; /* that mapped it */
    uint64_t serial;      /* of this handle, never given again in this process */
    mproc__sweep_fn *sweep;
    void *sweep_context;
    mproc__join_fn *join;
    void *join_context;
    /* The incarnation that owns `row` and whose thread holds its life word, else 0. Written under the life guard; read
     * without it by mproc__segment_join. */
    _Atomic uint64_t joined;
    /* Under the life guard (life.c). A fork child finds the parent's values: row_incarnation tells. */
    unsigned row;
    uint64_t row_incarnation;
    uint64_t row_identity;
    struct mproc__life *holder; /* the thread whose robust list the life word is on; NULL: handed back */
    mproc__segment *holder_next;
    bool unsettled;                           /* the row is left as a dead one's. Written by the last user */
    mproc__segment *found_next, **found_link; /* in the list of segment_find.c; link NULL: not there */
    bool orphan;                              /* released by another thread: the holder's exit frees it */
};

/* ---- segment.c ---- */
struct mproc__naming;
/* mproc__segment_create for all: `naming` is NULL for anonymous memory. */
int mproc__segment_make(mproc__home home, mproc_type_id kind, const char *label,
                        const struct mproc__naming *naming, size_t size_bytes, size_t reserve_bytes,
                        mproc__segment **ret_segment);
/* Unmaps and frees; of a named one whose last user this was, takes the name away. */
void mproc__segment_destroy(mproc__segment *segment);
/* ---- segment_find.c ---- */
void mproc__segment_list(mproc__segment *segment);
void mproc__segment_unlist(mproc__segment *segment);
/* ---- segment.c ---- */
/* Reads the constant part of a header, never through a mapping: a file that is cut short meanwhile is no SIGBUS.
 * MPROC_ECORRUPT: not one of ours; -errno. */
int mproc__header_read(int fd, mproc__header_shared *ret_header);

/* ---- named.c ---- */
/* A file that nobody finds, with the shared lock. */
int mproc__named_file(const struct mproc__naming *naming, size_t size_bytes, mproc__segment *segment);
/* Whether a label can be the name of a file. */
bool mproc__file_name_good(const char *label);

/* ---- participants.c: rows. All with the life guard held, by the calling thread. ---- */
/* Takes a free row: life word held, identity written. 0, MPROC_ELIMIT. */
int mproc__row_take(mproc__segment *segment);
/* Takes the life word of a free row, for whoever it will be. The row, MPROC_ELIMIT. */
int mproc__row_claim(mproc__segment *segment);
/* Life word held: the identity of `pid`, a later one than any before. That is the store that makes the row taken. */
uint64_t mproc__row_sign(mproc__segment *segment, unsigned index, pid_t pid, uint64_t flags);
/* Takes this process's own row back after a hand-back. False: it is no longer this process's. */
bool mproc__row_retake(mproc__segment *segment);
/* Erases the identity and gives the word back: the row is free. The word must be held by this thread. */
void mproc__row_leave(mproc__segment *segment);
/* Says that the owner lives on without a thread on the word, and gives the word back. */
void mproc__row_hand_back(mproc__segment *segment);
/* Whether a living process is in a row; also of a copy that was read from a file. No guard needed. */
bool mproc__row_in_use(const mproc__row_shared *row);
/* The calling thread, which is not on the life word of its process's row, is about to sleep. */
void mproc__row_crowd(mproc__row_shared *row);
/* Tells all sleepers that the set of life words changed. */
void mproc__membership_changed(mproc__header_shared *shared);

/* ---- life.c: which thread of this process holds which life word ---- */
/* The slow half of mproc__segment_join. */
int mproc__life_join(mproc__segment *segment);
/* At the last release. False: another thread holds the life word; its exit frees the segment. */
bool mproc__life_leave(mproc__segment *segment);

#endif
