/* SPDX-License-Identifier: BSD-2-Clause */
/* A traced process with all that it starts, and what those start: let run, held, led from mark to mark. The caller is the
 * subreaper of them all. */
#ifndef MPROC__TESTS_KILL_START_TREE_H
#define MPROC__TESTS_KILL_START_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { TREE_MOST = 64, TREE_NOBODY = -1 };

typedef struct tree_person {
    pid_t pid;
    bool ended;
    bool held;       /* stopped, until somebody lets it go on */
    bool seen;       /* followed: others can see the system call that it is in, or left last */
    int status;      /* of wait, when it has ended */
    int next_signal; /* to be delivered when it goes on */
} tree_person;

/* In the order of their births, threads among them; the first is the root. */
typedef struct tree {
    tree_person people[TREE_MOST];
    unsigned count;
    int followed;              /* an index, which may be yet to be born; or TREE_NOBODY */
    unsigned stops;            /* how often the root has stopped itself by SIGSTOP; it is held then */
    bool released;             /* or no more */
    const _Atomic int *unseen; /* a word in a shared page that is not looked at */
} tree;

typedef enum tree_step { TREE_MARK, TREE_END_OF_GAP, TREE_ENDED, TREE_ASLEEP, TREE_STUCK } tree_step;

/* Seizes the root, a child of the caller. 0, or -1. */
int tree_begin(tree *t, pid_t root);
/* Takes one report of a process, if there is one: 1; 0: none now; -1: no process is left at all. */
int tree_turn(tree *t);
/* Until all that are not held sleep. False: some still run after so long. */
bool tree_settle(tree *t, int limit_ms);
/* From now on: `who` stops at its system calls; who is alive is held. */
bool tree_follow(tree *t, int who, int limit_ms);
/* The followed one goes on to the end of its next system call, while the others run; `settle`: until they rest.
 * TREE_ASLEEP: it sleeps, and so do all. */
tree_step tree_call(tree *t, bool settle, int limit_ms);
/* One by one through the instructions up to the next system call, or to a change of shared memory or of its robust list. */
tree_step tree_change(tree *t);
/* Lets one who is held go on. */
void tree_go(tree *t, int who);
/* Nobody is followed or held any more. */
void tree_release(tree *t);
/* Whether there is one who lives. */
bool tree_lives(const tree *t, int who);
/* The youngest who lives, but for root and nursery; or TREE_NOBODY. */
int tree_youngest(const tree *t);
/* The end of all: kills, and waits for them. */
void tree_end(tree *t);

#endif
