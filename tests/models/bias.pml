/* SPDX-License-Identifier: BSD-2-Clause
 *
 * A biased side of the queue (lib/channel/side.c): who had its lock many times in a row is given the side, and
 * takes no lock and makes no fence until another thread wants in. Two producers, each of whom may become the owner and
 * revokes the other, and a consumer that sleeps; the lives of any two producers end anywhere, by a kill or by a stop for
 * ever.
 *
 * Modelled: the stores of each producer go through a buffer, seen by others in order, but late; a locked instruction, a
 * system call and a death drain it; membarrier drains everybody's, one after the other. The words owner, slot[].who and
 * slot[].inside; the robust lock; the sleep bit; the sweep, by whoever learns of a death. Each put but a producer's last
 * may give up when it meets a holder, as one whose deadline passes does.
 * Abstracted: the ring is its tail (ring.pml); many in a row is any number; two slots do for four; a death tells
 * everybody at once (wake.pml). The consumers' side is the same, seen from the other end.
 *
 * Shown: no two are in the body at once, where a body lasts until its tail store is seen, so none is lost; no item
 * is there, and nobody awake who will look, while the consumer sleeps; nobody waits for ever, but for one who is stopped
 * inside.
 *
 * VARIANT (-D) is as clean; run.sh expects no error:
 *     +THREE             three producers and a sweep; nobody sleeps
 *
 * MUTATION (-D) breaks it; run.sh expects an error from each:
 *     NO_BARRIER         revoking without membarrier
 *     NO_REVOKING        owner = 0 before the wait, so that who comes after a revoker that gave up does not wait
 *     NO_WAIT            revoking does not wait until nobody is inside
 *     NO_RECHECK         the owner does not look at owner again once it is inside
 *     ONE_SLOT           the same slot for everybody
 *     FREED_BY_OTHER     who revokes frees the slot, not its thread
 *     INSIDE_FIRST       the owner leaves before its tail store
 *     SLEEPER_NO_BARRIER the sleeper looks again without membarrier
 *     SLEEPER_ID_ONLY    it does without while the side is being revoked
 *     SWEEP_KEEPS        a sweep frees the slot of the dead, but leaves `inside`
 *     SWEEP_UNLOCKED     it clears the slot without the side's lock
 *     GRANT_KEEPS        a grant takes the slot of a dead one as it is */

#if defined(SWEEP_KEEPS) || defined(SWEEP_UNLOCKED) || defined(GRANT_KEEPS)
#define THREE
#endif
#ifdef THREE
#define PRODUCERS 3
#define PUTS(p)   ((p) == 1 -> 2 : 1)
#define DEPTH     3 /* stores of a put */
#else
#define PRODUCERS 2
#define PUTS(p)   2
#define DEPTH     4 /* and one of the next */
#endif
#define SLOTS 2
#define ENDS  2

#define FREE 0
#define DIED 255
#define NOBODY(lock) (lock == FREE || lock == DIED)

/* owner: 0; REVOKING and a slot; thread and slot. */
#define REVOKING   8
#define ID(p, s)   (16 * ((p) + 1) + (s))
#define IS_ID(p)   (owner / 16 == (p) + 1)
#define SLOT_OF(o) ((o) % 8)

byte owner, lock, tail, taken;
byte who[SLOTS]; /* thread + 1 */
bool inside[SLOTS];
bool sleep_bit, ticket_old, asleep, woken;

/* Stores on their way. */
#define INSIDE(s)  (16 + (s))
#define OUTSIDE(s) (32 + (s))
#define TAIL(t)    (48 + (t))
#define OWNER(o)   (64 + (o))
#define KIND(entry) ((entry) / 16)
typedef buffer_t { byte at[DEPTH]; byte n };
buffer_t buffer[PRODUCERS];

/* What the model knows and the code does not. */
bool dead[PRODUCERS], stopped[PRODUCERS + 1], over[PRODUCERS];
byte bodies[PRODUCERS]; /* begun, and not yet seen by others */
bool owes[PRODUCERS];   /* a look at the sleep bit */
bool news;              /* a death that the consumer has not heeded */
byte ends;
chan die[PRODUCERS] = [0] of { bit };
hidden byte e, i;

inline drain_one(p)
{
    e = buffer[p].at[0];
    i = 1;
    do
    :: i < buffer[p].n -> buffer[p].at[i - 1] = buffer[p].at[i]; i++
    :: else -> break
    od;
    buffer[p].n--;
    buffer[p].at[buffer[p].n] = 0;
    if
    :: KIND(e) == 1 -> inside[e % 16] = true
    :: KIND(e) == 2 -> inside[e % 16] = false
    :: KIND(e) == 3 -> assert(tail + 1 == e % 16); tail = e % 16; bodies[p]--
    :: KIND(e) == 4 -> owner = e % 16
    fi
}
inline drain(p)
{
    do
    :: buffer[p].n > 0 -> drain_one(p)
    :: else -> break
    od;
    skip
}
#define STORE(entry) buffer[me].n < DEPTH -> buffer[me].at[buffer[me].n] = entry; buffer[me].n++
#ifdef THREE
#define MEMBARRIER d_step { drain(0) }; d_step { drain(1) }; d_step { drain(2) }
#else
#define MEMBARRIER d_step { drain(0) }; d_step { drain(1) } /* of the CPUs one after the other */
#endif

#define ACQUIRE d_step { NOBODY(lock) -> drain(me); lock = me + 1 }
#define RELEASE d_step { drain(me); lock = FREE }
#define HELD_FOR_EVER (!NOBODY(lock) && stopped[lock - 1])
#define OF_DEAD(s) (who[s] > 0 && dead[who[s] - 1])

inline clear_dead(s)
{
    if
    :: OF_DEAD(s) ->
#ifndef SWEEP_KEEPS
        inside[s] = false;
#endif
        who[s] = 0
    :: else
    fi
}

/* mproc__queue_post */
inline post()
{
#ifndef THREE
    if
    :: sleep_bit ->
        d_step {
            drain(me);
            if
            :: sleep_bit -> sleep_bit = false; ticket_old = true; next = 1
            :: else
            fi
        };
        if
        :: next == 1 -> d_step { next = 0; if :: asleep -> woken = true :: else fi }
        :: else
        fi
    :: else
    fi
#else
    skip
#endif
}

#ifdef THREE
#define ALONE (bodies[0] + bodies[1] + bodies[2] == bodies[me])
#else
#define ALONE (bodies[1 - me] == 0)
#endif
/* Reads the tail, as its own buffer has it. */
inline body_begin()
{
    d_step {
        assert(ALONE);
        bodies[me]++;
        next = tail + 1;
        i = 0;
        do
        :: i < buffer[me].n ->
            if :: KIND(buffer[me].at[i]) == 3 -> next = buffer[me].at[i] % 16 + 1 :: else fi;
            i++
        :: else -> break
        od;
        owes[me] = true
    }
}
#define COMMIT atomic { STORE(TAIL(next)); next = 0 }

#ifdef ONE_SLOT
#define MAY_HAVE(s) (s == 0)
#else
#define MAY_HAVE(s) (who[s] == 0 || OF_DEAD(s)) /* its own it has freed before */
#endif
#define LAST_PUT (puts == PUTS(me))
#define FORGET   seen = 0; at = 0; next = 0

proctype producer(byte me)
{
    byte puts, seen, at, next;
    {
        do
        :: puts == PUTS(me) -> break
        :: else ->
            atomic { puts++; seen = (IS_ID(me) -> owner : 0) };
            if
            :: seen > 0 -> at = SLOT_OF(seen)
            :: seen == 0 -> goto slow
            fi;
            atomic { STORE(INSIDE(at)) };
#ifndef NO_RECHECK
            if
            :: atomic { owner != seen -> STORE(OUTSIDE(at)); FORGET }; goto slow
            :: owner == seen
            fi;
#endif
            body_begin();
#ifdef INSIDE_FIRST
            atomic { STORE(OUTSIDE(at)); FORGET };
            COMMIT;
#else
            COMMIT;
            atomic { STORE(OUTSIDE(at)); FORGET };
#endif
            goto look;

slow:       if
            :: ACQUIRE
            :: !NOBODY(lock) && (!LAST_PUT || HELD_FOR_EVER) -> goto next_put
            fi;
            /* revoke */
            if
            :: owner == 0 -> goto have
            :: owner > 0 -> at = SLOT_OF(owner)
            fi;
#ifdef NO_REVOKING
            atomic { STORE(OWNER(0)) };
#else
            atomic { STORE(OWNER(REVOKING + at)) };
#endif
#ifdef NO_BARRIER
            d_step { drain(me) };
#else
            d_step { drain(me) }; /* the caller's own fence comes first */
            MEMBARRIER;
#endif
#ifndef NO_WAIT
            if
            :: !inside[at]
            :: inside[at] && OF_DEAD(at) -> RELEASE; goto sweep
            :: inside[at] && !OF_DEAD(at) && (!LAST_PUT || (who[at] > 0 && stopped[who[at] - 1])) ->
                RELEASE; goto next_put
            fi;
#endif
#ifdef FREED_BY_OTHER
            who[at] = 0;
#endif
            atomic { STORE(OWNER(0)); at = 0 };
have:       if
            :: atomic { who[0] == me + 1 -> who[0] = 0 }
            :: atomic { who[1] == me + 1 -> who[1] = 0 }
            :: else
            fi;
            body_begin();
            COMMIT;
            /* grant, or not */
            if
            :: MAY_HAVE(0)
            :: MAY_HAVE(1) -> at = 1
            :: goto unlock
            fi;
#ifndef GRANT_KEEPS
            inside[at] = false;
#endif
            who[at] = me + 1;
            d_step { drain(me); owner = ID(me, at); at = 0 };
unlock:     skip;
            RELEASE;
look:       post();
next_put:   atomic { FORGET; owes[me] = false; goto on };

sweep:      at = 0;
#ifndef SWEEP_UNLOCKED
            if
            :: ACQUIRE
            :: HELD_FOR_EVER -> goto next_put
            fi;
#endif
            clear_dead(0);
            clear_dead(1);
#ifndef SWEEP_UNLOCKED
            RELEASE;
#endif
            goto slow;
on:         skip
        od;
        over[me] = true
    } unless { atomic { die[me]?0; FORGET } }
}

/* mproc__queue_until; and, at a death, the sweep */
proctype consumer()
{
    byte me = PRODUCERS;
look:
#ifdef THREE
end_idle:
    atomic { news -> news = false }; goto sweep;
#else
    if
    :: atomic { taken < tail -> taken++ }; goto look
    :: taken == tail
    fi;
    d_step { sleep_bit = true; ticket_old = false };
#ifndef SLEEPER_NO_BARRIER
    if
#ifdef SLEEPER_ID_ONLY
    :: owner >= 16 -> MEMBARRIER
#else
    :: owner > 0 -> MEMBARRIER
#endif
    :: else
    fi;
#endif
    if
    :: taken < tail -> goto look
    :: taken == tail
    fi;
    atomic {
        if
        :: news -> news = false; goto sweep
        :: !news && sleep_bit && !ticket_old -> asleep = true
        :: else -> goto look
        fi
    };
end_asleep:
    atomic { woken -> asleep = false; woken = false };
    goto look;
#endif
sweep:
#ifndef SWEEP_UNLOCKED
    if
    :: atomic { NOBODY(lock) -> lock = me + 1 }
    :: HELD_FOR_EVER -> goto look
    fi;
#endif
    clear_dead(0);
    clear_dead(1);
#ifndef SWEEP_UNLOCKED
    lock = FREE;
#endif
    goto look
}

#define GONE(p) (over[p] || dead[p] || stopped[p])
#define KILL(p)                                                                                              \
    atomic {                                                                                                 \
        !GONE(p) && ends < ENDS ->                                                                           \
        ends++;                                                                                              \
        d_step { drain(p); bodies[p] = 0; owes[p] = false };                                                 \
        dead[p] = true;                                                                                      \
        if :: lock == p + 1 -> lock = DIED :: else fi;                                                       \
        news = true;                                                                                         \
        if :: asleep -> woken = true :: else fi;                                                             \
        die[p]!0                                                                                             \
    }
/* What it holds it holds, and the wake that it owes it owes. */
#define STOP(p)                                                                                              \
    atomic { !GONE(p) && ends < ENDS -> ends++; d_step { drain(p) }; stopped[p] = true; die[p]!0 }

#define DONE(p) (over[p] || dead[p] || (stopped[p] && !owes[p]))
#define LOST    (taken < tail && asleep && !woken && DONE(0) && DONE(1))

/* The memory, and who ends lives; the number of them is chosen first, so that it may be less than ENDS. */
proctype world()
{
end:
    do
    :: d_step { buffer[0].n > 0 -> drain_one(0) }
    :: d_step { buffer[1].n > 0 -> drain_one(1) }
    :: KILL(0)
    :: KILL(1)
    :: STOP(0)
    :: STOP(1)
#ifdef THREE
    :: d_step { buffer[2].n > 0 -> drain_one(2) }
    :: KILL(2)
    :: STOP(2)
#else
    :: LOST -> assert(!LOST)
#endif
    od
}

init
{
    atomic {
        who[0] = 1; /* so that the first put may be a fast one */
        owner = ID(0, 0);
        run producer(0); run producer(1); run consumer(); run world();
#ifdef THREE
        run producer(2);
#endif
        if
        :: ends = 0
        :: ends = 1
        :: ends = 2
        fi
    }
}
