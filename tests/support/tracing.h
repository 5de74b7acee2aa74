/* SPDX-License-Identifier: BSD-2-Clause */
/* Between syscalls.c, which knows what a system call may answer and how to let one fail, and faulttree.c, which does it in
 * any process of a tree. */
#ifndef MPROC__TESTS_TRACING_H
#define MPROC__TESTS_TRACING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { FAULT_ERRORS_MAX = 4 };

typedef struct fault_call {
    long number;
    const char *name;
    int errors[FAULT_ERRORS_MAX]; /* ends with 0 */
    bool sleeps;                  /* may be interrupted */
} fault_call;

typedef struct fault_stop {
    uint8_t op; /* PTRACE_SYSCALL_INFO_ENTRY, _EXIT */
    long number;
    uint64_t arguments[6];
} fault_stop;

/* All of a child of this tracer that is stopped. 0, or -1: it is gone. */
int fault_look_at(pid_t child, fault_stop *ret_stop);
/* At the entry of a system call: nothing will be done. */
int fault_suppress(pid_t child);
/* At its exit: what it answers. */
int fault_result_set(pid_t child, int64_t result);

/* What the call may answer, or NULL: this one never fails. */
const fault_call *fault_call_of(const fault_stop *at);
unsigned fault_error_count(const fault_call *call);

#endif
