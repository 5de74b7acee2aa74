/* SPDX-License-Identifier: BSD-2-Clause
 *
 * An ordered queue (lib/channel/queue_order.c): blocks are the truth, heap and count are copies that the flag `stale`
 * and the marks of what was given back tell to make again. Two producers, two consumers, any two of them killed
 * anywhere; who finds a death sweeps, and may be the second that is killed.
 *
 * Modelled: the lock, each store to heap, head, tail and flag, each change of a block's word, the census of a rebuild
 * block by block, beside those who give back without the lock; returned_marks and marks_seen.
 * Abstracted: a block is its message and its rank; who may change its word (block.pml); a heap of three; stores are
 * seen in the order of the program. All dead rows are swept at once; nobody sleeps: who finds nothing looks again,
 * sweeps, or ends.
 *
 * Shown: whoever has the lock and made sure of it finds each QUEUED block in the heap once, nothing else but RETURNED
 * ones, and the first before all others; so none is given out twice. In the end one that cannot be killed makes
 * sure, and sweeps if need be, and every message that was committed is confirmed or in the heap.
 *
 * MUTATION (-D) breaks it; run.sh expects an error from each:
 *     NO_STALE           the flag is not set
 *     STALE_LATE         it is set after the block's word
 *     STALE_SHORT        it is cleared before heap and count are right
 *     STALE_CURED        a rebuild clears it before it begins
 *     HEAP_ONLY          a rebuild leaves the count as it was
 *     NO_MARKS           nobody looks at the marks
 *     MARKS_LATE         a rebuild reads them after the blocks
 *     MARK_FIRST         who gives back counts the mark before the block is RETURNED
 *     SWEEP_UNMARKED     the sweep does not mark again what its dead gave back
 *     RETURN_UNLOCKED    who gives back enters the heap without the lock */

#define BLOCKS     3
#define KILLS      2
#define GIVE_BACKS 1 /* of all */
#define ROWS       4 /* producers 0, 1; consumers 2, 3 */

/* A block's word. */
#define PRIVATE  0 /* of producer 0: blocks 0 and 2; of 1: block 1 */
#define QUEUED   1
#define RETURNED 2
#define LEASED   8 /* and the row */
#define FREED    3

#define FREE 0
#define DIED 255
#define NOBODY(lock) (lock == FREE || lock == DIED)

byte word[BLOCKS];
byte heap[BLOCKS];
byte head, tail, lock, marks, marks_seen;
bool stale;

/* What the model knows and the code does not. */
bool dead[ROWS], over[ROWS], buried[ROWS];
byte kills, give_backs;
chan die[ROWS] = [0] of { bit };

#define IS_QUEUED(b) (word[b] == QUEUED || word[b] == RETURNED)
#define ACQUIRE atomic { NOBODY(lock) -> lock = me + 1 }
#define RELEASE lock = FREE
#ifdef NO_STALE
#define STALE(to) skip
#else
#define STALE(to) stale = to
#endif

#define HAS(n, b)  (tail - head > n && heap[n] == b)
#define ENTRIES(b) (HAS(0, b) + HAS(1, b) + HAS(2, b))
/* The copies are true. */
#define RIGHT(b) (ENTRIES(b) == 1 && IS_QUEUED(b) || ENTRIES(b) == 0 && word[b] != QUEUED)
#define IN_ORDER ((tail - head < 2 || heap[0] < heap[1]) && (tail - head < 3 || heap[0] < heap[2]))
#define CHECK_COPIES                                                                                         \
    assert(tail - head <= BLOCKS && RIGHT(0) && RIGHT(1) && RIGHT(2) && IN_ORDER)

inline enter(b)
{
    if
    :: IS_QUEUED(b) -> heap[n] = b; n++
    :: else
    fi
}

#ifdef NO_MARKS
#define IS_TRUE (!stale)
#else
#define IS_TRUE (!stale && marks == marks_seen)
#endif
/* mproc__order_ready, order_rebuild */
inline ready()
{
    if
    :: atomic { IS_TRUE -> CHECK_COPIES }
    :: else ->
#ifndef MARKS_LATE
        seen = marks;
#endif
#ifdef STALE_CURED
        STALE(false);
#else
        STALE(true);
#endif
        n = 0;
        atomic { enter(2) };
        atomic { enter(1) };
        atomic { enter(0) };
        /* mproc__heap_make: now they come from the last to the first */
        if
        :: n > 1 -> first = heap[0]; heap[0] = heap[n - 1]; atomic { heap[n - 1] = first; first = 0 }
        :: else
        fi;
#ifdef MARKS_LATE
        seen = marks;
#endif
#ifndef HEAP_ONLY
        tail = head + n;
#endif
        marks_seen = seen;
        atomic { STALE(false); n = 0; seen = 0; CHECK_COPIES }
    fi
}

/* order_enter: mproc__heap_push, and the count */
inline heap_enter(b)
{
    n = tail - head;
    heap[n] = b;
    if
    :: n > 0 && heap[0] > b -> heap[n] = heap[0]; heap[0] = b
    :: else
    fi;
    atomic { tail++; n = 0 }
}

/* mproc__heap_pop, and the count */
inline heap_leave()
{
    n = tail - head;
    heap[0] = heap[n - 1];
    if
    :: n == 3 && heap[0] > heap[1] -> seen = heap[0]; heap[0] = heap[1]; atomic { heap[1] = seen; seen = 0 }
    :: else
    fi;
    atomic { head++; n = 0 }
}

/* What commits, beside the copies. */
inline change_word(b, to)
{
#ifdef STALE_LATE
    word[b] = to;
    STALE(true)
#else
    STALE(true);
    word[b] = to
#endif
#ifdef STALE_SHORT
    ; STALE(false)
#endif
}

inline sweep_one(b)
{
    if
    :: word[b] == RETURNED ->
#ifndef SWEEP_UNMARKED
        marks++
#endif
        skip
    :: word[b] >= LEASED && dead[word[b] - LEASED] -> give_back_unlocked(b)
    :: else
    fi
}
inline give_back_unlocked(b)
{
#ifdef MARK_FIRST
    marks++;
    word[b] = RETURNED
#else
    word[b] = RETURNED;
    marks++
#endif
}

#define SOMEBODY_DEAD                                                                                        \
    (dead[0] && !buried[0] || dead[1] && !buried[1] || dead[2] && !buried[2] || dead[3] && !buried[3])
/* mproc__queue_sweep: who is dead when it begins */
inline sweep()
{
    d_step { died = dead[0] + 2 * dead[1] + 4 * dead[2] + 8 * dead[3] };
    ACQUIRE;
    sweep_one(0);
    sweep_one(1);
    sweep_one(2);
    ready();
    RELEASE;
    d_step {
        buried[0] = buried[0] || (died & 1) > 0;
        buried[1] = buried[1] || (died & 2) > 0;
        buried[2] = buried[2] || (died & 4) > 0;
        buried[3] = buried[3] || (died & 8) > 0;
        died = 0
    }
}

#define FORGET first = 0; n = 0; seen = 0; died = 0

/* put_locked */
proctype producer(byte me)
{
    byte block, n, first, seen, died;
    {
        block = me;
        do
        :: block >= BLOCKS -> break
        :: else ->
            ACQUIRE;
            ready();
            change_word(block, QUEUED);
            heap_enter(block);
#ifndef STALE_SHORT
            STALE(false);
#endif
            atomic { RELEASE; block = block + 2 }
        od;
        over[me] = true
    } unless { atomic { die[me]?0; FORGET; block = 0 } }
}

/* mproc__order_peek, mproc__order_accept; done, or mproc__order_return */
proctype consumer(byte me)
{
    byte first, n, seen, died, block;
    {
        do
        :: ACQUIRE;
            ready();
            if
            :: tail == head -> RELEASE
            :: else ->
                block = heap[0];
                assert(IS_QUEUED(block));
                change_word(block, LEASED + me);
                heap_leave();
#ifndef STALE_SHORT
                STALE(false);
#endif
                RELEASE;
                if
                :: atomic { assert(word[block] == LEASED + me) -> word[block] = FREED; block = 0 }
                :: atomic { give_backs < GIVE_BACKS -> give_backs++ };
#ifndef RETURN_UNLOCKED
                    if
                    :: ACQUIRE;
                        ready();
                        change_word(block, RETURNED);
                        heap_enter(block);
#ifndef STALE_SHORT
                        STALE(false);
#endif
                        atomic { RELEASE; block = 0 }
                    :: !NOBODY(lock) -> give_back_unlocked(block); block = 0
                    fi
#else
                    change_word(block, RETURNED);
                    heap_enter(block);
                    STALE(false)
#endif
                fi
            fi
        :: SOMEBODY_DEAD -> sweep()
        :: break
        od;
        over[me] = true
    } unless { atomic { die[me]?0; FORGET; block = 0 } }
}

#define GONE(who) (dead[who] || over[who])
#define KILL(who)                                                                                            \
    atomic {                                                                                                 \
        !GONE(who) && kills < KILLS ->                                                                       \
        kills++;                                                                                             \
        dead[who] = true;                                                                                    \
        if :: lock == who + 1 -> lock = DIED :: else fi;                                                     \
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

#define SETTLED(b) (word[b] == FREED || IS_QUEUED(b) && ENTRIES(b) == 1 || word[b] == PRIVATE && dead[b % 2])

proctype last(byte me)
{
    byte n, first, seen, died;
    GONE(0) && GONE(1) && GONE(2) && GONE(3);
    if
    :: SOMEBODY_DEAD -> sweep()
    :: else -> ACQUIRE; ready()
    fi;
    assert(SETTLED(0) && SETTLED(1) && SETTLED(2))
}

init
{
    atomic {
        run producer(0); run producer(1); run consumer(2); run consumer(3); run killer(); run last(4)
    }
}
