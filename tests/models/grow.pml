/* SPDX-License-Identifier: BSD-2-Clause
 *
 * A ring that grows (lib/channel/queue_grow.c, ring.h): a row of two, the second twice as large; two producers under
 * one robust lock, two consumers under another, any two of them killed anywhere.
 *
 * Modelled: positions as one word of (bytes, ring, items), which count on across the LINK from whatever offset they
 * land on; head and tail in different rings; memory that is reserved before it is used, or refused, and given back
 * behind the head, after the unlock, by whoever gets there; padding; the other side's position as last seen.
 * Abstracted: eight bytes are one unit, records have one or two, and are written and copied in one step (ring.pml
 * does it by units); locks, waiting and order of stores as there.
 *
 * Shown: each message whose tail store happened is copied out whole, once, in order, or is still in the row when no
 * consumer is left; nobody reads or writes memory that is not reserved; nobody waits for ever, also when there is no
 * memory.
 *
 * MUTATION (-D) breaks it; run.sh expects an error from each:
 *     LINK_ALONE         the link becomes visible by a tail store of its own
 *     NO_LINK_ROOM       no room is kept for it
 *     RING_APART         the tail's ring and bytes are stored one after the other
 *     UNRESERVED         the next ring is used without memory
 *     PUT_RING_KEPT      a producer stays in its ring when another went on
 *     GET_RING_KEPT      a consumer does
 *     SHED_LINKED        a ring is given back when the link was read, before the head is stored
 *     SHED_TO_TAIL       the rings before the tail's are given back */

#define SMALL    1 /* a record's units: a header, and perhaps its data */
#define LARGE    2
#define KILLS    2
#define MESSAGES 3 /* two of producer 0, one of producer 1 */
#define LAST     1 /* ring of the row */
#define SIZE(k)  (4 << (k))
#define BEGIN(k) (4 * (k))

#define FREE 0
#define DIED 255
#define NOBODY(lock) (lock == FREE || lock == DIED)

/* A unit of memory: 0, what fresh memory holds; PADDING; LINK; or what it is of message 1, 2, ... */
#define PADDING         1
#define LINK            2
#define HEADER(m, n)    (16 * (m) + (n))
#define DATA(m)         (16 * (m) + 8)
#define MESSAGE(unit)   ((unit) / 16)
#define LENGTH(unit)    ((unit) % 16)
#define IS_RECORD(unit) (MESSAGE(unit) > 0 && (LENGTH(unit) == SMALL || LENGTH(unit) == LARGE))

/* Positions: (units, ring, items) in one word. */
#define UNITS_OF(position) ((position) / 64)
#define RING_OF(position)  (((position) / 16) % 4)
#define ITEMS_OF(position) ((position) % 16)
#define ADVANCE(position, units, items) ((position) + 64 * (units) + (items))
#define BEHIND_LINK(position) ((position) + 64 + 16)
#define USED(head, tail)   (UNITS_OF(tail) - UNITS_OF(head))
#define OFFSET(k, position) (BEGIN(k) + UNITS_OF(position) % SIZE(k))
#define TO_END(k, position) (SIZE(k) - UNITS_OF(position) % SIZE(k))
#ifdef NO_LINK_ROOM
#define FULL(k) SIZE(k)
#else
#define FULL(k) ((k) == LAST -> SIZE(k) : SIZE(k) - 1)
#endif

byte row[12];
bool reserved[LAST + 1];
short head, tail;
short head_seen, tail_seen;
byte put_lock, get_lock;

/* What the model knows and the code does not: who was killed or is through, what was committed. */
bool dead[4], over[4];
chan die[4] = [0] of { bit };
byte log[MESSAGES], logged, taken;
byte kills;

#define GONE(who)     (dead[who] || over[who])
#define ACQUIRE(lock) atomic { NOBODY(lock) -> lock = me + 1 }
#define PLACE                                                                                                \
    at = OFFSET(ring, next);                                                                                 \
    padding = (length > TO_END(ring, next) -> TO_END(ring, next) : 0)
#define FITS (USED(seen, next) + padding + length <= FULL(ring))

#define FORGET length = 0; at = 0; padding = 0; message = 0; seen = 0; next = 0; ticket = 0
#ifdef PUT_RING_KEPT
#define LEAVE_RING skip
#else
#define LEAVE_RING ring = 0
#endif
/* mproc__queue_push: mproc__ring_write; mproc__queue_write_on */
proctype producer(byte me)
{
    byte sent, message, length, at, padding, ring;
    short seen, next, ticket;
    {
        do
        :: sent == 2 - me -> break
        :: else ->
            d_step { message = 2 * me + sent + 1; sent++ };
            if
            :: length = SMALL
            :: length = LARGE
            fi;
again:      ACQUIRE(put_lock);
            d_step {
                next = tail;
                seen = head_seen;
                ticket = head;
#ifndef PUT_RING_KEPT
                ring = RING_OF(next);
#endif
                PLACE
            };
            if
            :: FITS -> goto write
            :: else -> seen = head; head_seen = seen
            fi;
            if
            :: FITS -> goto write
            :: !FITS && ring < LAST
            :: !FITS -> goto no_room /* the last one; or no memory now */
            fi;
#ifndef UNRESERVED
            reserved[ring + 1] = true;
#endif
            d_step { assert(reserved[ring]); row[at] = LINK };
#ifdef LINK_ALONE
            tail = BEHIND_LINK(next);
#endif
            d_step { next = BEHIND_LINK(next); ring++; PLACE };
            if
            :: FITS
            :: else -> goto no_room
            fi;
write:      skip;
            d_step {
                assert(reserved[ring]);
                if
                :: padding > 0 -> row[at] = PADDING; at = BEGIN(ring)
                :: else
                fi;
                row[at] = HEADER(message, length);
                if
                :: length == LARGE -> row[at + 1] = DATA(message)
                :: else
                fi;
                at = 0
            };
#ifdef RING_APART
            tail = tail + 16 * (RING_OF(next) - RING_OF(tail));
#endif
            atomic { log[logged] = message; logged++; tail = ADVANCE(next, padding + length, 1) };
            atomic { put_lock = FREE; FORGET; LEAVE_RING; goto on };
no_room:    atomic { put_lock = FREE; at = 0; padding = 0; seen = 0; next = 0; LEAVE_RING };
            if
            :: head != ticket -> goto again
            :: GONE(2) && GONE(3) -> break
            fi;
on:         skip
        od;
        over[me] = true
    } unless { atomic { die[me]?0; FORGET; ring = 0 } }
}
#undef FORGET

#ifdef SHED_TO_TAIL
#define LEFT tail
#else
#define LEFT head
#endif
#define GIVE_BACK                                                                                            \
    d_step { reserved[0] = false; row[0] = 0; row[1] = 0; row[2] = 0; row[3] = 0; shed = 1 }
#define FORGET length = 0; at = 0; padding = 0; message = 0; seen = 0; until = 0; unit = 0; ring = 0
/* mproc_queue_get: mproc__queue_peek (mproc__ring_read, mproc__ring_read_on), a copy, mproc__queue_accept,
 * mproc__queue_shed */
proctype consumer(byte me)
{
    byte message, length, at, padding, unit, ring, shed;
    short seen, until;
    {
        do
        ::  ACQUIRE(get_lock);
            d_step { seen = head; until = tail_seen };
            if
            :: seen == until -> until = tail; tail_seen = until
            :: else
            fi;
            if
            :: seen == until ->
                get_lock = FREE;
                if
                :: tail != seen || head != seen
                :: tail == seen && GONE(0) && GONE(1) -> break
                fi
            :: else ->
                d_step {
                    /* mproc__ring_plausible */
                    assert(RING_OF(seen) <= RING_OF(until) && USED(seen, until) <= SIZE(RING_OF(until)));
                    assert((ITEMS_OF(until) == ITEMS_OF(seen)) == (USED(seen, until) == 0));
#ifdef GET_RING_KEPT
                    ring = (me == 3 -> 0 : RING_OF(seen));
#else
                    ring = RING_OF(seen);
#endif
                    at = OFFSET(ring, seen);
                    assert(reserved[ring])
                };
                if
                :: row[at] == LINK ->
                    d_step {
                        assert(ring < RING_OF(until));
                        seen = BEHIND_LINK(seen);
                        ring++;
                        at = OFFSET(ring, seen)
                    };
#ifdef SHED_LINKED
                    GIVE_BACK;
#endif
                    skip
                :: else
                fi;
                d_step {
                    assert(reserved[ring]);
                    unit = row[at];
                    if
                    :: unit == PADDING ->
                        padding = TO_END(ring, seen);
                        assert(USED(seen, until) > padding);
                        at = BEGIN(ring);
                        unit = row[at]
                    :: else
                    fi;
                    assert(IS_RECORD(unit) && padding + LENGTH(unit) <= USED(seen, until));
                    message = MESSAGE(unit);
                    length = LENGTH(unit)
                };
                /* its copy */
                d_step {
                    assert(reserved[ring] && row[at] == HEADER(message, length));
                    assert(length == SMALL || row[at + 1] == DATA(message))
                };
                atomic {
                    assert(log[taken] == message && ITEMS_OF(seen) == taken);
                    taken++;
                    head = ADVANCE(seen, padding + length, 1)
                };
                atomic { get_lock = FREE; FORGET };
                if
                :: RING_OF(LEFT) > shed -> GIVE_BACK
                :: else
                fi
            fi
        od;
        over[me] = true
    } unless { atomic { die[me]?0; FORGET; shed = 0 } }
}

#define KILL(who)                                                                                            \
    atomic {                                                                                                 \
        !GONE(who) && kills < KILLS ->                                                                       \
        kills++;                                                                                             \
        dead[who] = true;                                                                                    \
        if :: put_lock == who + 1 -> put_lock = DIED :: else fi;                                             \
        if :: get_lock == who + 1 -> get_lock = DIED :: else fi;                                             \
        die[who]!0                                                                                           \
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
    atomic {
        reserved[0] = true;
        run producer(0); run producer(1); run consumer(2); run consumer(3); run killer()
    };
    GONE(0) && GONE(1) && GONE(2) && GONE(3);
    assert(taken <= logged);
    assert(logged == MESSAGES || dead[0] || dead[1] || (dead[2] && dead[3]));
    assert(taken == logged || (dead[2] && dead[3]))
}
