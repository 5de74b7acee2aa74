/* SPDX-License-Identifier: BSD-2-Clause
 *
 * The byte ring (lib/channel/ring.h; item_write and mproc__queue_peek in lib/channel/queue_item.c): two
 * producers under one robust lock, two consumers under another, any two of them killed anywhere.
 *
 * Modelled: records that do not wrap, padding before the end, the room check, positions as one word of
 * (bytes, items), the other side's position as last seen, every store to the ring's memory by itself,
 * messages of two sizes.
 * Abstracted: eight bytes are one unit; a robust lock is free, owned or marked by the kernel, and taken in
 * one step (KILLSWEEP kills inside libc's); who waits does so until what it waits for is true (wake.pml has
 * the sleeping); stores are seen in the order of the program, which is what release and acquire give.
 *
 * Shown: each message whose tail store happened is copied out whole, once, in order, or is still in the ring
 * when no consumer is left; nobody ever sees a record that cannot be true; nobody waits for ever.
 *
 * MUTATION (-D) breaks it; run.sh expects an error from each:
 *     TAIL_FIRST         the tail is stored before the record is written
 *     TAIL_TWICE         bytes and items of the tail are stored one after the other
 *     PADDING_APART      the padding becomes visible by a tail store of its own
 *     PADDING_UNCOUNTED  the room check forgets it
 *     HEAD_FIRST         the head is stored before the message is copied out
 *     HEAD_UNLOCKED      the head is stored after the consumers' lock was given back
 *     STALE_HEAD         a producer that found no room does not read the head anew
 *     NO_PUT_LOCK        producers do without a lock
 *     NO_RECOVERY        a lock whose owner died is nobody's */

#define UNITS    5 /* two of the largest record less one: with padding before it, it just fits */
#define SMALL    2 /* a record's units: a header and its data */
#define LARGE    3
#define KILLS    2
#define MESSAGES 3 /* producer 0 has two, producer 1 has one */

#define FREE 0
#define DIED 255
#define NOBODY(lock) (lock == FREE || lock == DIED)

/* A unit of memory: 0, what fresh memory holds; PADDING; or what it is of message 1, 2, ... */
#define PADDING       1
#define HEADER(m, n)  (16 * (m) + (n))
#define DATA(m)       (16 * (m) + 8)
#define MESSAGE(unit) ((unit) / 16)
#define LENGTH(unit)  ((unit) % 16)
#define IS_RECORD(unit) (MESSAGE(unit) > 0 && (LENGTH(unit) == SMALL || LENGTH(unit) == LARGE))

/* Positions: (units, items) in one word. */
#define UNITS_OF(position) ((position) / 16)
#define ITEMS_OF(position) ((position) % 16)
#define ADVANCE(position, units, items) ((position) + 16 * (units) + (items))
#define USED(head, tail) (UNITS_OF(tail) - UNITS_OF(head))

byte ring[UNITS];
short head, tail;           /* mproc__queue_shared.head, .tail */
short head_seen, tail_seen; /* put.side.seen, get.side.seen */
byte put_lock, get_lock;

/* What the model knows and the code does not: who was killed or is through, what was committed. */
bool dead[4], over[4];
chan die[4] = [0] of { bit };
byte log[MESSAGES], logged, taken;
byte kills;

#define GONE(who) (dead[who] || over[who])

#ifdef NO_RECOVERY
#define ACQUIRE(lock) atomic { lock == FREE -> lock = me + 1 }
#else
#define ACQUIRE(lock) atomic { NOBODY(lock) -> lock = me + 1 }
#endif
#define RELEASE(lock) lock = FREE

#ifdef NO_PUT_LOCK
#define ACQUIRE_PUT skip
#define RELEASE_PUT skip
#else
#define ACQUIRE_PUT ACQUIRE(put_lock)
#define RELEASE_PUT RELEASE(put_lock)
#endif

#ifdef PADDING_UNCOUNTED
#define NEED length
#else
#define NEED (padding + length)
#endif

#define FORGET length = 0; at = 0; padding = 0; i = 0; message = 0; seen = 0; next = 0; ticket = 0
/* mproc__queue_push: mproc__ring_write, then the one store. */
proctype producer(byte me)
{
    byte sent, message, length, at, padding, i;
    short seen, next, ticket;
    {
        do
        :: sent == 2 - me -> break
        :: else ->
            d_step { message = 2 * me + sent + 1; sent++ }
            if
            :: length = SMALL
            :: length = LARGE
            fi;
again:      ACQUIRE_PUT;
            d_step {
                next = tail; /* only the holder writes it */
                seen = head_seen;
                ticket = head;
                at = UNITS_OF(next) % UNITS;
                padding = (length > UNITS - at -> UNITS - at : 0)
            }
            if
            :: USED(seen, next) + NEED <= UNITS
            :: else ->
#ifndef STALE_HEAD
                seen = head;
                head_seen = seen;
#endif
                if
                :: USED(seen, next) + NEED <= UNITS
                :: else ->
                    RELEASE_PUT;
                    /* -EAGAIN. mproc__queue_until, with nobody left to make room: no. */
                    if
                    :: head != ticket -> goto again
                    :: GONE(2) && GONE(3) -> break
                    fi
                fi
            fi;
#ifdef TAIL_FIRST
            atomic { log[logged] = message; logged++; tail = ADVANCE(next, padding + length, 1) }
#endif
            if
            :: padding > 0 ->
                ring[at] = PADDING;
                at = 0;
#ifdef PADDING_APART
                next = ADVANCE(next, padding, 0);
                padding = 0;
                tail = next
#endif
            :: else
            fi;
            ring[at] = HEADER(message, length);
            i = 1;
            do
            :: i < length -> ring[at + i] = DATA(message); i++
            :: else -> break
            od;
#ifdef TAIL_TWICE
            tail = ADVANCE(next, padding + length, 0);
#endif
#ifndef TAIL_FIRST
            atomic { log[logged] = message; logged++; tail = ADVANCE(next, padding + length, 1) }
#endif
            atomic { RELEASE_PUT; FORGET }
        od;
        over[me] = true
    } unless { atomic { die[me]?0; FORGET } }
}
#undef FORGET

#define STORE_HEAD                                                                                           \
    atomic {                                                                                                 \
        assert(log[taken] == message && ITEMS_OF(seen) == taken);                                            \
        taken++;                                                                                             \
        head = ADVANCE(seen, padding + length, 1)                                                            \
    }
#define COPY_OUT                                                                                             \
    do                                                                                                       \
    :: i < length -> assert(ring[at + i] == DATA(message)); i++                                              \
    :: else -> i = 0; break                                                                                  \
    od

#define FORGET length = 0; at = 0; padding = 0; i = 0; message = 0; seen = 0; until = 0; unit = 0
/* mproc_queue_get: mproc__queue_peek (mproc__ring_read), a copy, mproc__queue_accept. */
proctype consumer(byte me)
{
    byte message, length, at, padding, i, unit;
    short seen, until;
    {
        do
        ::  ACQUIRE(get_lock);
            d_step { seen = head; until = tail_seen; padding = 0 }
            if
            :: seen == until -> until = tail; tail_seen = until
            :: else
            fi;
            if
            :: seen == until ->
                RELEASE(get_lock);
                if
                :: tail != seen || head != seen
                :: tail == seen && GONE(0) && GONE(1) -> break
                fi
            :: else ->
                /* mproc__ring_plausible */
                assert(USED(seen, until) <= UNITS);
                assert((ITEMS_OF(until) == ITEMS_OF(seen)) == (USED(seen, until) == 0));
                at = UNITS_OF(seen) % UNITS;
                unit = ring[at];
                if
                :: unit == PADDING ->
                    padding = UNITS - at;
                    assert(USED(seen, until) > padding);
                    at = 0;
                    unit = ring[at]
                :: else
                fi;
                assert(IS_RECORD(unit) && padding + LENGTH(unit) <= USED(seen, until));
                d_step { message = MESSAGE(unit); length = LENGTH(unit); i = 1 }
#ifdef HEAD_FIRST
                STORE_HEAD;
                COPY_OUT;
                RELEASE(get_lock)
#else
                COPY_OUT;
#ifdef HEAD_UNLOCKED
                RELEASE(get_lock);
                STORE_HEAD
#else
                STORE_HEAD;
                atomic { RELEASE(get_lock); FORGET }
#endif
#endif
            fi
        od;
        over[me] = true
    } unless { atomic { die[me]?0; FORGET } }
}

#define KILL(who)                                                                                            \
    atomic {                                                                                                 \
        !GONE(who) && kills < KILLS ->                                                                       \
        kills++;                                                                                             \
        dead[who] = true;                                                                                    \
        if :: put_lock == who + 1 -> put_lock = DIED :: else fi;                                             \
        if :: get_lock == who + 1 -> get_lock = DIED :: else fi;                                             \
        die[who]!0 /* takes it out of what it does, there and then */                                        \
    }

proctype killer()
{
end:
    do
    :: KILL(0)
    :: KILL(1)
    :: KILL(2)
    :: KILL(3)
    od
}

init
{
    atomic { run producer(0); run producer(1); run consumer(2); run consumer(3); run killer() }
    GONE(0) && GONE(1) && GONE(2) && GONE(3);
    assert(taken <= logged);
    assert(logged == MESSAGES || dead[0] || dead[1] || (dead[2] && dead[3]));
    assert(taken == logged || (dead[2] && dead[3]))
}
