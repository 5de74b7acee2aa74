/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults in any process of a tree: a call of the library that starts processes, which start processes, is run again and
 * again, and each time another system call of one of them fails, or one of them is killed there.
 *
 * All are traced from the root's begin on; the calls between fault_window_open and fault_window_close in the root
 * (faultloop.h) are numbered, in each process from 1. A process is named by its way from the root: "" is the root, "2"
 * its second child (or thread), "2.1" the first of that one. */
#ifndef MPROC__TESTS_FAULTTREE_H
#define MPROC__TESTS_FAULTTREE_H

#include "support/faultloop.h"

enum { FAULT_TREE_PROCESSES = 24, FAULT_TREE_WAY = 16 };

typedef struct fault_tree_plan {
    const char *way;     /* the process; NULL: nothing happens, the calls are counted */
    unsigned call;       /* its n-th call that may fail (killing: its n-th call) */
    unsigned variant;    /* with which of its errnos, from 0 */
    bool kill;           /* instead: SIGKILL */
    bool until_exec;     /* a process more than one step below the root is of interest up to its exec */
    int limit_ms;        /* for the whole, to the end of the last process */
} fault_tree_plan;

typedef struct fault_tree_process {
    char way[FAULT_TREE_WAY];
    unsigned calls, fallible; /* in the window */
} fault_tree_process;

typedef struct fault_tree_outcome {
    bool happened;
    unsigned variants;   /* errnos known for the call */
    const char *system_call;
    int error;
    int root_status;     /* as support_reap's */
    bool late;           /* the limit passed: whatever was left has been killed */
    unsigned count;
    fault_tree_process processes[FAULT_TREE_PROCESSES];
} fault_tree_outcome;

/* `root` was made by support_fork and comes to fault_window_open. Returns when it and all below it, also those that have
 * lost their parents, have ended. The caller's other children, too, are waited for. */
void fault_tree_trace(pid_t root, const fault_tree_plan *plan, fault_tree_outcome *ret_outcome);
/* First in the root: lets itself be traced. */
void fault_tree_begin(void);

#endif
