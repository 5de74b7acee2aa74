/* SPDX-License-Identifier: BSD-2-Clause */
/* The ledger: entries, and the line at the end. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "torture/torture_ledger.h"

void ledger_make(ledger_message *m, uint32_t number, size_t size_bytes)
{
    m->number = number;
    m->size_bytes = (uint32_t)size_bytes;
    memset(m->bytes, (int)(number & 255), size_bytes - sizeof(*m));
}

static bool message_whole(const ledger_message *m, size_t size_bytes)
{
    if (size_bytes < sizeof(*m) || m->number >= LEDGER_MESSAGES || m->size_bytes != size_bytes)
        return false;
    size_t length = size_bytes - sizeof(*m);
    /* All bytes are equal to the first, and that is right. */
    return length == 0 ||
           (m->bytes[0] == (uint8_t)m->number && memcmp(m->bytes, m->bytes + 1, length - 1) == 0);
}

int ledger_enter(ledger_shared *ledger, const ledger_message *m, size_t size_bytes, uint32_t delivery)
{
    if (size_bytes == 0) {
        atomic_fetch_add(&ledger->empty_taken, 1);
        return 0;
    }
    if (!message_whole(m, size_bytes))
        return FAULT_TORN;
    ledger_entry_shared *entry = &ledger->entries[m->number];
    uint8_t before = atomic_fetch_add(&entry->taken, 1);
    bool twice = (before > 0 && delivery == 1) || atomic_load(&entry->done) || atomic_load(&entry->dead);
    return twice ? FAULT_TWICE : 0;
}

void ledger_done(ledger_shared *ledger, uint32_t number)
{
    atomic_store(&ledger->entries[number].done, 1);
}

int ledger_dead(ledger_shared *ledger, const ledger_message *m, size_t size_bytes)
{
    if (size_bytes == 0) {
        atomic_fetch_add(&ledger->empty_taken, 1);
        return 0;
    }
    if (!message_whole(m, size_bytes))
        return FAULT_TORN;
    ledger_entry_shared *entry = &ledger->entries[m->number];
    atomic_store(&entry->dead, 1);
    return atomic_load(&entry->done) ? FAULT_TWICE : 0;
}

typedef struct ledger_sums {
    unsigned put, putting, got, untaken, again, dead, refused;
} ledger_sums;

static ledger_sums ledger_add_up(const ledger_shared *ledger)
{
    ledger_sums sums = {.put = atomic_load(&ledger->empty_put),
                        .putting = atomic_load(&ledger->empty_putting) - atomic_load(&ledger->empty_put),
                        .got = atomic_load(&ledger->empty_taken)};
    uint32_t messages = atomic_load(&ledger->next);
    for (uint32_t i = 0; i < messages && i < LEDGER_MESSAGES; i++) {
        const ledger_entry_shared *entry = &ledger->entries[i];
        uint8_t put = atomic_load(&entry->put), taken = atomic_load(&entry->taken);
        bool dead = atomic_load(&entry->dead);
        sums.put += put == PUT;
        sums.putting += put == PUTTING;
        sums.got += taken > 0;
        sums.again += taken > 1;
        sums.dead += dead;
        sums.refused += put == NEVER && (taken > 0 || dead);
        sums.untaken += put == PUT && taken == 0 && !dead;
    }
    /* Of the empty ones some may have come whose put did not return. */
    unsigned empty_put = atomic_load(&ledger->empty_put), empty_taken = atomic_load(&ledger->empty_taken);
    sums.untaken += empty_put > empty_taken ? empty_put - empty_taken : 0;
    return sums;
}

unsigned ledger_judge(const ledger_shared *ledger, const char *name, bool acknowledged, unsigned excused)
{
    ledger_sums sums = ledger_add_up(ledger);
    unsigned lost = sums.untaken > excused ? sums.untaken - excused : 0;
    unsigned twice = acknowledged ? 0 : sums.again;
    if (acknowledged)
        lost = sums.untaken;
    /* A queue without numbers may not bring more than was begun to be put. */
    if (!acknowledged && atomic_load(&ledger->empty_taken) > atomic_load(&ledger->empty_putting))
        twice += atomic_load(&ledger->empty_taken) - atomic_load(&ledger->empty_putting);
    fprintf(stderr,
            "torture: %s: ledger: put %u, got %u, redelivered %u, dead letters %u, in flight when killed: %u "
            "put, %u taken (of at most %u); lost %u, twice %u, "
            "though refused %u\n",
            name, sums.put, sums.got, acknowledged ? sums.again : 0, sums.dead, sums.putting,
            acknowledged ? 0 : sums.untaken - lost, excused, lost, twice, sums.refused);
    return (lost > 0) + (twice > 0) + (sums.refused > 0);
}
