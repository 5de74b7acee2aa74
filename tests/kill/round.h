/* SPDX-License-Identifier: BSD-2-Clause */
/* One round of KILLSWEEP: everything anew, one victim, one point of its call, one verdict. killsweep.h says the rules. */
#ifndef MPROC__TESTS_KILL_ROUND_H
#define MPROC__TESTS_KILL_ROUND_H

#include "kill/killsweep.h"
#include "kill/trace.h"

typedef enum round_kind { ROUND_RECORD, ROUND_KILL, ROUND_PAIR, ROUND_STOP } round_kind;

enum { ROUND_WHOLE = -1, ROUND_NEVER = -1 };

/* How a sleeping victim is killed. The last two: by the poster, right before and right after its call. */
typedef enum round_order { ORDER_KILL, ORDER_KILL_POST, ORDER_POST_KILL, ROUND_ORDERS } round_order;

typedef struct round_run {
    const kill_case *of;
    unsigned state;
    round_kind kind;
    int mark;          /* of the victim: where it is stopped for good; ROUND_RECORD: out, the last one */
    round_order order; /* only at the mark where it sleeps */
    int second;        /* of the recoverer; ROUND_WHOLE: to its end, and out, its last mark */
    /* out */
    int asleep;        /* the mark at which the victim slept; ROUND_NEVER */
    bool copies;       /* the state is one of those that kill_case.copies is about */
    bool slow;         /* nothing wrong but the time */
    bool skipped;      /* could not be brought about: no failure */
    char failure[256]; /* empty: none */
    trace victim_trace, recoverer_trace;
    /* while it runs */
    void *context;
    pid_t waiter, victim, recoverer;
    pid_t beside[KILL_BESIDE_MOST];
    unsigned beside_count; /* of them there are, and who the next process is */
    bool posted, returned, unordered;
} round_run;

/* Once in a process, before its rounds. `live_ms`: how long others may take. */
int round_prepare(int live_ms, bool stepping);
/* Frees nothing but what it made; round_forget does the rest. */
void round_do(round_run *r);
void round_forget(round_run *r);

#endif
