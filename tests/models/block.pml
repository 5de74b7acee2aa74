/* SPDX-License-Identifier: BSD-2-Clause
 *
 * The blocks of a queue (lib/channel/queue_block.c, mproc__queue_peek and mproc__queue_accept in
 * queue_item.c, lib/shm/arena.c): two producers, two consumers, any two of them killed anywhere; who finds a
 * death sweeps, and may be the second that is killed.
 *
 * Modelled: a block's word (state, owner, deliveries) and each compare-and-swap of it, the ring naming blocks
 * between head and tail, the consumers' lock, RETURNED blocks with the counts that say where to look
 * (returned_marks, marks_seen), done and give back, max_deliveries, a put that fails after QUEUED, a row's
 * life word and its identity.
 * Abstracted: the ring is a list to which a descriptor is added in one step (ring.pml), a block is found and
 * made in one step (arena.c: one store under its lock), nobody sleeps: who finds nothing may sweep, look
 * again or end (wake.pml). In the end one that cannot be killed sweeps, takes what is left, and counts.
 *
 * Shown: each message whose tail store happened is confirmed once, or was given up after max_deliveries; one
 * that was had before comes marked; none comes after it was confirmed; no block is given out while it is
 * somebody's; all are free in the end. With PLAIN (no redelivery): the same, but for what a killed consumer
 * had taken.
 *
 * VARIANT (-D) is another queue, without an error:
 *     +PLAIN             not acknowledged: get is take, copy, done
 *
 * MUTATION (-D) breaks it; run.sh expects an error from each:
 *     HEAD_BEFORE_LEASE  the head is stored before the block is LEASED
 *     LEASE_UNSIGNED     the producer stays the owner of a LEASED block
 *     QUEUED_LATE        the producer says QUEUED after the tail store
 *     SWEEP_BLIND        the sweep does not look at what the ring names
 *     SWEEP_RING_LAST    it does so after the blocks
 *     SWEEP_UNLOCKED     it does so without the consumers' lock
 *     SWEEP_UNMARKED     it does not mark again what its dead owner gave back
 *     ERASED_FIRST       the row is erased before its blocks are seen to
 *     MARK_FIRST         who gives back counts the mark before the block is RETURNED
 *     SEEN_TOO_SOON      one RETURNED block found, the mark counts as seen
 *     UNCOUNTED          a redelivered message is not marked as such */

#define BLOCKS     2
#define MESSAGES   2 /* one a producer */
#define KILLS      2
#define DELIVERIES 2 /* max_deliveries */
#define GIVE_BACKS 1 /* of all */
#define ROWS       4

/* A block's word. */
#define WORD(state, owner, number) (32 * (state) + 4 * (owner) + (number))
#define STATE(word)  ((word) / 32)
#define OWNER(word)  (((word) / 4) % 8)
#define NUMBER(word) ((word) % 4)
#define PRIVATE  1
#define QUEUED   2
#define ORPHAN   3
#define LEASED   4
#define RETURNED 5

#define FREE   0   /* of locks: then the owner's row + 1, or */
#define DIED   255

byte word[BLOCKS]; /* 0: free */
byte data[BLOCKS]; /* which message */
byte ring[MESSAGES], head, tail;
byte marks, marks_seen; /* returned_marks, get.marks_seen */
byte get_lock;
byte life[ROWS];        /* life words */
bool taken[ROWS];       /* identity is not 0 */

/* What the model knows and the code does not. */
bool dead[ROWS], over[ROWS];
bool put[MESSAGES], had[MESSAGES], confirmed[MESSAGES], dropped[MESSAGES], excused[MESSAGES];
byte kills, given_back;
chan die[ROWS] = [0] of { bit };

#define GONE(who) (dead[who] || over[who])
#define ACQUIRE(lock) atomic { lock == FREE || lock == DIED -> lock = me + 1 }
#define RELEASE(lock) lock = FREE
#define IS_DEAD(row) (taken[row] && life[row] == DIED)

/* mproc__arena_swap */
#define SWAP(b, from, to) d_step { swapped = (word[b] == from); if :: swapped -> word[b] = to :: else fi }

#define NONE 7
#define FORGET                                                                                               \
    was = 0; b = NONE; m = 0; at = 0; until = 0; r = 0; delivery = 0; found = NONE; swapped = false; seen = 0

/* mproc__queue_block_finish: b, whose word is was. */
inline finish()
{
    SWAP(b, was, 0)
}

/* mproc__queue_block_return */
inline give_back()
{
    if
    :: NUMBER(was) >= DELIVERIES ->
        atomic { if :: word[b] == was -> dropped[data[b]] = true :: else fi };
        finish()
    :: else ->
#ifdef MARK_FIRST
        marks++;
#endif
        SWAP(b, was, WORD(RETURNED, OWNER(was), NUMBER(was)));
#ifndef MARK_FIRST
        if
        :: swapped -> marks++
        :: else
        fi
#endif
    fi
}

inline sweep_ring()
{
    d_step { at = head; until = tail };
    do
    :: at < until ->
        b = ring[at];
        was = word[b];
        if
        :: was != 0 && OWNER(was) == r -> SWAP(b, was, WORD(ORPHAN, r, NUMBER(was)))
        :: else
        fi;
        at++
    :: else -> break
    od
}

inline sweep_blocks()
{
    b = 0;
    do
    :: b < BLOCKS ->
        was = word[b];
        if
        :: was == 0 || OWNER(was) != r || STATE(was) == ORPHAN
        :: was != 0 && OWNER(was) == r && STATE(was) == RETURNED ->
#ifndef SWEEP_UNMARKED
            marks++
#else
            skip
#endif
#ifndef PLAIN
        :: was != 0 && OWNER(was) == r && STATE(was) == LEASED -> give_back()
        :: was != 0 && OWNER(was) == r &&
           STATE(was) != LEASED && STATE(was) != RETURNED && STATE(was) != ORPHAN ->
#else
        :: was != 0 && OWNER(was) == r && STATE(was) != RETURNED && STATE(was) != ORPHAN ->
            excused[data[b]] = excused[data[b]] || STATE(was) == LEASED;
#endif
            finish()
        fi;
        b++
    :: else -> break
    od
}

/* row_sweep, row_bury (lib/shm/participants.c), mproc__queue_sweep: of the dead row r; its life word is held. */
inline sweep()
{
#ifdef ERASED_FIRST
    taken[r] = false;
#endif
#ifndef SWEEP_UNLOCKED
    ACQUIRE(get_lock);
#endif
#ifdef SWEEP_RING_LAST
    sweep_blocks();
    sweep_ring();
#else
#ifndef SWEEP_BLIND
    sweep_ring();
#endif
    sweep_blocks();
#endif
#ifndef SWEEP_UNLOCKED
    RELEASE(get_lock);
#endif
    taken[r] = false;
    RELEASE(life[r])
}

/* mproc__segment_sweep: the rows in their order; who is at one already, is. */
#define SOMEBODY_DEAD (IS_DEAD(0) || IS_DEAD(1) || IS_DEAD(2) || IS_DEAD(3))
#define FIND_DEAD                                                                                            \
    atomic {                                                                                                 \
        SOMEBODY_DEAD ->                                                                                     \
        r = (IS_DEAD(0) -> 0 : (IS_DEAD(1) -> 1 : (IS_DEAD(2) -> 2 : 3)));                                   \
        life[r] = me + 1                                                                                     \
    }

/* mproc__queue_block_make, mproc__queue_block_put; or nothing at all. */
proctype producer(byte me)
{
    byte b;
    bool swapped;
    {
        if
        ::  atomic {
                word[0] == 0 || word[1] == 0 ->
                b = (word[0] == 0 -> 0 : 1);
                word[b] = WORD(PRIVATE, me, 0)
            };
            data[b] = me;
#ifndef QUEUED_LATE
            SWAP(b, WORD(PRIVATE, me, 0), WORD(QUEUED, me, 0));
            assert(swapped);
#endif
            if
            :: atomic { ring[tail] = b; tail++; put[me] = true }
#ifdef QUEUED_LATE
               SWAP(b, WORD(PRIVATE, me, 0), WORD(QUEUED, me, 0))
#endif
            :: SWAP(b, WORD(QUEUED, me, 0), WORD(PRIVATE, me, 0));
               word[b] = 0
            fi
        :: skip
        fi;
        over[me] = true
    } unless { die[me]?0 }
}

/* peek_returned, mproc__queue_block_returned: the block found, or NONE. */
inline peek_returned()
{
    seen = marks;
    if
    :: seen != marks_seen ->
#ifdef SEEN_TOO_SOON
        marks_seen = seen;
#endif
        b = 0;
        do
        :: b < BLOCKS && found == NONE ->
            atomic { if :: STATE(word[b]) == RETURNED -> found = b; was = word[b] :: else fi; b++ }
        :: else -> break
        od;
        if
        :: found == NONE -> marks_seen = seen
        :: else
        fi
    :: else
    fi
}

#ifdef LEASE_UNSIGNED
#define LEASE WORD(LEASED, OWNER(was), delivery)
#else
#define LEASE WORD(LEASED, me, delivery)
#endif

/* mproc_queue_take: mproc__queue_peek, mproc__queue_accept. b is NONE: nothing there. */
inline take()
{
    ACQUIRE(get_lock);
    peek_returned();
    if
    :: found != NONE ->
        d_step { b = found; delivery = NUMBER(was) + 1 };
#ifdef UNCOUNTED
        delivery = 1;
#endif
        SWAP(b, was, LEASE);
        assert(swapped);
        was = LEASE
    :: else ->
        if
        :: head < tail ->
            d_step { b = ring[head]; was = word[b]; delivery = 1 };
            assert(STATE(was) == QUEUED || STATE(was) == ORPHAN || STATE(was) == LEASED);
#ifdef HEAD_BEFORE_LEASE
            head++;
#endif
            SWAP(b, was, LEASE);
            assert(swapped); /* else MPROC_ECORRUPT */
            was = LEASE;
#ifndef HEAD_BEFORE_LEASE
            head++
#endif
        :: else -> b = NONE
        fi
    fi;
    RELEASE(get_lock)
}

inline done()
{
    atomic {
        assert(word[b] == was && data[b] == m);
        confirmed[m] = true;
        SWAP(b, was, 0)
    }
}

/* To the user with it, who had it from here on. */
#define HAND_OVER                                                                                            \
    d_step {                                                                                                 \
        m = data[b];                                                                                         \
        assert(put[m] && !confirmed[m]);                                                                     \
        assert(!had[m] || delivery > 1);                                                                     \
        had[m] = true                                                                                        \
    }

proctype consumer(byte me)
{
    byte was, b, m, at, until, r, delivery, found, seen;
    bool swapped;
    {
        atomic { FORGET };
        do
        :: FIND_DEAD; sweep(); atomic { FORGET }
        :: take();
            if
            :: b == NONE
            :: b != NONE ->
                HAND_OVER;
                if
                :: done()
                :: given_back < GIVE_BACKS ->
                    given_back++;
                    give_back()
                fi
            fi;
            atomic { FORGET }
        :: break
        od;
        over[me] = true
    } unless { atomic { die[me]?0; FORGET } }
}

#define KILL(who)                                                                                            \
    atomic {                                                                                                 \
        !GONE(who) && kills < KILLS ->                                                                       \
        kills++;                                                                                             \
        dead[who] = true;                                                                                    \
        if :: get_lock == who + 1 -> get_lock = DIED :: else fi;                                             \
        if :: life[0] == who + 1 -> life[0] = DIED :: else fi;                                               \
        if :: life[1] == who + 1 -> life[1] = DIED :: else fi;                                               \
        if :: life[2] == who + 1 -> life[2] = DIED :: else fi;                                               \
        if :: life[3] == who + 1 -> life[3] = DIED :: else fi;                                               \
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

/* The one that counts. */
proctype last(byte me)
{
    byte was, b, m, at, until, r, delivery, found, seen;
    bool swapped;
    atomic {
        GONE(0) && GONE(1) && GONE(2) && GONE(3) -> FORGET;
        do
        :: FIND_DEAD; sweep(); FORGET
        :: !SOMEBODY_DEAD ->
            take();
            if
            :: b == NONE -> break
            :: b != NONE -> HAND_OVER; done(); FORGET
            fi
        od;
        assert(word[0] == 0 && word[1] == 0);
        assert(put[0] == (confirmed[0] || dropped[0] || excused[0]));
        assert(put[1] == (confirmed[1] || dropped[1] || excused[1]))
    }
}

init
{
    byte i;
    atomic {
        do
        :: i < 4 -> life[i] = i + 1; taken[i] = true; i++
        :: else -> break
        od;
        run producer(0); run producer(1); run consumer(2); run consumer(3); run last(4); run killer()
    }
}
