/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes a process from mark to mark. See killsweep.h for what a mark is. Two ways that find the same marks:
 *
 *     stepping  one instruction at a time, all that counts compared after each; any machine, 10-20 us an instruction
 *     fence     (x86-64) the shared mappings are made read-only and the robust list head is watched by debug registers, so
 *               that the process runs at its own speed from one change to the next; 30 us a mark */
#ifndef MPROC__TESTS_TRACE_H
#define MPROC__TESTS_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { TRACE_RANGES = 256, TRACE_HEAD_WORDS = 3, TRACE_MAPPINGS = 16, TRACE_PAGES = 512 };

/* ASLEEP: only of a process that may block; the next trace_next waits for it to be woken. NOTHING: never returned. */
typedef enum trace_step {
    TRACE_NOTHING,
    TRACE_MARK,
    TRACE_RETURNED,
    TRACE_ASLEEP,
    TRACE_LOST,
    TRACE_STUCK
} trace_step;

/* Whom to follow, and how. */
typedef struct trace_how {
    pid_t pid;                      /* stopped under ptrace, by a signal that it sent to itself right before its call */
    const _Atomic int *returned;    /* set by the process after its call, before its next system call */
    const struct iovec *quiet;      /* bytes of shared mappings that are not looked at, in ascending order */
    unsigned quiet_count;
    void (*settle)(void *context);  /* called after each system call of the process, so that others who were woken by it
                                     * have done what they do */
    void *context;
    bool may_block;
    bool stepping;
    bool pages;                     /* of each mapping only the pages among its first TRACE_PAGES that the process has: for
                                     * segments of gibibytes. trace_pages_changed then tells of a new one */
} trace_how;

typedef struct trace {
    trace_how how;
    unsigned range_count;
    struct iovec ranges[TRACE_RANGES + 2];      /* its shared mappings less what is quiet, robust list head, next
                                                 * instruction */
    uint8_t *before, *now;                      /* what they held a mark (stepping: a step) ago and hold now */
    size_t size_bytes;
    uint64_t steps;
    uintptr_t pc;                               /* of the next instruction */
    uintptr_t last_pc;                          /* of the instruction that made the mark */
    bool next_is_system_call, last_was_system_call;
    bool quiet;                                 /* the call that is next, or that it is in, is (quiet.c) */
    bool last_was_quiet;                        /* stepping: the one behind */
    bool asleep;
    /* Of the fence. */
    bool fenced;                                /* the mappings are read-only now */
    bool in_system_call;                        /* stopped at its beginning */
    uintptr_t system_call;                      /* where there is such an instruction */
    size_t changed_at, changed_bytes;           /* part of `now` that differs from `before` */
    /* Of pages.c. */
    int pagemap;                                /* + 1; 0: not open */
    unsigned mapping_count;
    struct trace_mapping {
        uintptr_t start;
        unsigned pages;
        uint8_t present[TRACE_PAGES];
    } mappings[TRACE_MAPPINGS];
} trace;

/* 0, or -1 with a message on stderr. */
int trace_begin(trace *t, const trace_how *how);
/* Goes to the next mark. */
trace_step trace_next(trace *t);
/* Before the process is killed or let go: as if nobody had traced it. */
void trace_unfence(trace *t);
/* The last change of memory, and the place in the program, for people. */
void trace_print(const trace *t, FILE *to);
void trace_end(trace *t);
/* The letter of /proc: R runs, S sleeps, t and T stopped, Z ended; '?' gone. */
char trace_state(pid_t pid);

/* ---- quiet.c ---- */
/* Whether the system call that the process stands before, or stands in, is one that no other process can see. */
bool trace_call_is_quiet(pid_t pid);

/* ---- pages.c ---- */
/* Adds the pages of a mapping that the process has as ranges. 0, or -1. */
int trace_pages_add(trace *t, uintptr_t start, uintptr_t end);
/* Whether the process has other pages than at the last trace_find. */
bool trace_pages_changed(trace *t);

/* ---- between trace.c, pages.c and fence.c ---- */
int trace_add_range(trace *t, uintptr_t start, size_t length);
/* Asks a process of its own for debug registers, which some machines and sandboxes do not have. */
bool fence_supported(void);
int fence_begin(trace *t);
trace_step fence_next(trace *t);
void fence_open(trace *t);
/* Reads everything that counts into t->now, and the next instruction. */
int trace_look(trace *t);
/* Finds the shared mappings anew and reads them; for the beginning, and after a system call that may change them. */
int trace_find(trace *t);

#endif
