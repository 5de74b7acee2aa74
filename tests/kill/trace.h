/* SPDX-License-Identifier: BSD-2-Clause */
/* Single-steps a process from mark to mark. See killsweep.h for what a mark is. */
#ifndef MPROC__TESTS_TRACE_H
#define MPROC__TESTS_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { TRACE_RANGES = 32, TRACE_HEAD_WORDS = 3 };

typedef enum trace_step { TRACE_MARK, TRACE_RETURNED, TRACE_LOST, TRACE_BLOCKED } trace_step;

typedef struct trace {
    pid_t pid;
    unsigned range_count;
    struct iovec ranges[TRACE_RANGES + 2];      /* of the victim: shared mappings, robust list head, next instruction */
    uint8_t *before, *now;                      /* what they held a step ago and hold now, without the instruction */
    size_t size_bytes;
    const _Atomic int *returned;                /* set by the victim after its call */
    void (*settle)(void *context);              /* called after each system call of the victim, so that others who were
                                                 * woken by it have done what they do */
    void *context;
    uint64_t steps;
    uintptr_t pc;                               /* of the next instruction */
    uintptr_t last_pc;                          /* of the instruction that made the mark */
    bool next_is_system_call, last_was_system_call;
} trace;

/* The process stands stopped under ptrace, right before its call. 0, or -1 with a message on stderr. */
int trace_begin(trace *t, pid_t pid, const _Atomic int *returned, void (*settle)(void *context), void *context);
/* Goes to the next mark. */
trace_step trace_next(trace *t);
/* The last change of memory, and the place in the program, for people. */
void trace_print(const trace *t, FILE *to);
void trace_end(trace *t);

#endif
