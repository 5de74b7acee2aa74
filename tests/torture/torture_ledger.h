/* SPDX-License-Identifier: BSD-2-Clause */
/* The ledger of a tortured queue: what was put, what was got, and by whom who died. */
#ifndef MPROC__TESTS_TORTURE_LEDGER_H
#define MPROC__TESTS_TORTURE_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "torture/torture.h"

enum {
    LEDGER_MESSAGES = 1 << 27, /* 3,000 kills of the plain queue put 35 million */
    LEDGER_THREADS = 2,        /* of a worker */
    FAULT_PUT = 2,
    FAULT_GET,
    FAULT_TORN,
    FAULT_TWICE, /* a second time without a mark, or after it was done with */
    FAULT_MEMORY
};

/* PUTTING: written before the put; PUT, or NEVER again: after it returned. What is PUTTING for ever may be there or not. */
typedef enum put_state { NEVER, PUTTING, PUT } put_state;

/* Each field is a store or an atomic add of the process that has the message; a kill between call and entry leaves a message
 * in flight, which the judge asks the dead for. */
typedef struct ledger_entry_shared {
    _Atomic uint8_t put;
    _Atomic uint8_t taken; /* times */
    _Atomic uint8_t done;  /* after done returned */
    _Atomic uint8_t dead;  /* found among the dead letters */
} ledger_entry_shared;

typedef struct ledger_shared {
    torture_shared begin;
    _Atomic uint32_t next;                     /* number of the next message */
    _Atomic uint32_t empty_putting, empty_put; /* messages of 0 bytes have no number */
    _Atomic uint32_t empty_taken;
    /* How many messages the call may take that a thread is in, from before it until the entry: who is killed then has them. */
    _Atomic uint32_t taking[TORTURE_WORKERS][LEDGER_THREADS];
    ledger_entry_shared entries[LEDGER_MESSAGES];
} ledger_shared;

/* A message tells its size and, in every byte, its number. */
typedef struct ledger_message {
    uint32_t number;
    uint32_t size_bytes;
    uint8_t bytes[];
} ledger_message;

void ledger_make(ledger_message *m, uint32_t number, size_t size_bytes);
/* Writes down a message that was taken, and looks at it: 0 or a FAULT. */
int ledger_enter(ledger_shared *ledger, const ledger_message *m, size_t size_bytes, uint32_t delivery);
void ledger_done(ledger_shared *ledger, uint32_t number);
int ledger_dead(ledger_shared *ledger, const ledger_message *m, size_t size_bytes);
/* All are gone and the queue is empty: prints the ledger and returns the number of failures. `excused`: how many messages
 * those had that were killed in a get; of an acknowledged queue none is excused. */
unsigned ledger_judge(const ledger_shared *ledger, const char *name, bool acknowledged, unsigned excused);

#endif
