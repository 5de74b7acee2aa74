/* SPDX-License-Identifier: BSD-2-Clause
 *
 * Sleeping and waking (lib/shm/eventcount.c, lib/shm/participants.c, mproc__queue_until, mproc__queue_post
 * and mproc__queue_sweep in lib/channel): two posters, two sleepers, any two of them killed anywhere.
 *
 * Modelled: the event word of (sequence, sleep bit), the membership word, life words with the bit that asks
 * the kernel for a wake, rows taken and buried; each load, store and system call by itself. Of the kernel:
 * futex_waitv looks at all words and sleeps on all; a woken sleeper stays on the queues of its other words
 * until it runs, and takes their wakes along; so does a killed one until it gets a CPU; the last word that
 * woke it is told; a death, and the release of a lock, wake one sleeper, any.
 * Abstracted: the queue is a count of items, put and taken in one step (ring.pml); life words are taken in
 * one step; no row is handed back, so nobody sleeps in slices. Who got its item may come back, or never.
 *
 * Shown: there never is an item, and nobody awake who will look, while a living one sleeps.
 *
 * MUTATION (-D) breaks it; run.sh expects an error from each:
 *     NO_SECOND_LOOK     no look between setting the sleep bit and sleeping
 *     POST_LOOKS_FIRST   the poster looks at the bit before its item is there (what the fence prevents)
 *     WORD_KEPT          the poster wakes without changing the word
 *     WAKE_ONE           the poster wakes one sleeper
 *     NO_LIFE_WORDS      sleepers sleep on event and membership only
 *     NO_WAITERS_BIT     they do not ask for the wake
 *     POSTERS_ONLY       they do not watch each other
 *     NOT_SPREAD         who is woken by a death looks for itself, and tells nobody
 *     NO_MEMBERSHIP      sleepers do not sleep on the membership word
 *     JOIN_UNTOLD        who joins does not change it */

#define KILLS 2
#define ROWS  4 /* posters 0 and 1, sleepers 2 and 3 */
#define DIED  255

byte items;
bool sleep_bit;
/* Of the sequence and the membership word only this matters: has it changed since this sleeper read it? */
bool ticket_old[ROWS], membership_old[ROWS], looked_old[ROWS];
byte life[ROWS];         /* 0: free; row + 1 of who holds it; DIED */
bool life_waiters[ROWS]; /* FUTEX_WAITERS */
bool taken[ROWS];        /* identity is not 0 */

/* The kernel's: on which words a sleeper is queued (a bit a row), and what woke it. */
typedef queued_t { bool asleep; bool event; bool members; byte lives; bool woken; bool by_life };
queued_t queued[ROWS];

/* What the model knows and the code does not. */
bool dead[ROWS], gone[ROWS], over[ROWS];
byte kills;
chan die[ROWS] = [0] of { bit };

#define ON_LIFE(s, row) (queued[s].asleep && (queued[s].lives & (1 << (row))))
#define WAKE_BY_LIFE(s, row)                                                                                 \
    queued[s].lives = queued[s].lives & ~(1 << (row)); queued[s].woken = true; queued[s].by_life = true
/* futex_wake(life word, 1) */
#define WAKE_ONE_OF(row)                                                                                     \
    if                                                                                                       \
    :: ON_LIFE(2, row) -> WAKE_BY_LIFE(2, row)                                                               \
    :: ON_LIFE(3, row) -> WAKE_BY_LIFE(3, row)                                                               \
    :: !ON_LIFE(2, row) && !ON_LIFE(3, row)                                                                  \
    fi
#define WAKE_EVENT(s)                                                                                        \
    if :: queued[s].asleep && queued[s].event -> queued[s].event = false; queued[s].woken = true :: else fi
#define WAKE_MEMBER(s)                                                                                       \
    if :: queued[s].asleep && queued[s].members -> queued[s].members = false; queued[s].woken = true :: else fi
#define UNQUEUE(s)                                                                                           \
    queued[s].asleep = false; queued[s].event = false; queued[s].members = false; queued[s].lives = 0;       \
    queued[s].woken = false; queued[s].by_life = false

/* mproc__eventcount_post after the look, mproc__eventcount_wake */
inline wake_event()
{
#ifndef WORD_KEPT
    atomic {
        if
        :: sleep_bit -> sleep_bit = false; ticket_old[2] = true; ticket_old[3] = true; mine = true
        :: else -> mine = false
        fi
    };
#else
    mine = true;
#endif
    if
    :: mine ->
        atomic {
            mine = false;
#ifdef WAKE_ONE
            if
            :: queued[2].asleep && queued[2].event -> WAKE_EVENT(2)
            :: queued[3].asleep && queued[3].event -> WAKE_EVENT(3)
            :: else
            fi
#else
            WAKE_EVENT(2);
            WAKE_EVENT(3)
#endif
        }
    :: else
    fi
}

inline post_event()
{
    if
    :: sleep_bit -> wake_event()
    :: else
    fi
}

/* mproc__membership_changed */
inline membership_changed()
{
    d_step {
        membership_old[2] = true; membership_old[3] = true;
        looked_old[2] = true; looked_old[3] = true
    };
    d_step { WAKE_MEMBER(2); WAKE_MEMBER(3) }
}

#define RELEASE_LIFE(row)                                                                                    \
    atomic {                                                                                                 \
        life[row] = 0;                                                                                       \
        if :: life_waiters[row] -> life_waiters[row] = false; WAKE_ONE_OF(row) :: else fi                    \
    }

/* row_sweep, row_bury; with mproc__queue_sweep, which pays the wake that the dead may have owed. One at a time: who finds
 * more will be back. */
#define IS_DEAD(row) (taken[row] && life[row] == DIED)
#define SOMEBODY_DEAD (IS_DEAD(0) || IS_DEAD(1) || IS_DEAD(2) || IS_DEAD(3))
inline sweep()
{
    if
    ::  atomic {
            SOMEBODY_DEAD ->
            row = (IS_DEAD(0) -> 0 : (IS_DEAD(1) -> 1 : (IS_DEAD(2) -> 2 : 3)));
            life[row] = me + 1
        };
        post_event();
        taken[row] = false;
        membership_changed();
        RELEASE_LIFE(row);
        swept = true
    :: !SOMEBODY_DEAD -> swept = false
    fi
}

/* Killed: the sleep ends when there is a CPU for it; then the kernel marks what it holds. */
#define MARK(row)                                                                                            \
    if                                                                                                       \
    :: life[row] == me + 1 ->                                                                                \
        life[row] = DIED;                                                                                    \
        if :: life_waiters[row] -> WAKE_ONE_OF(row) :: else fi                                               \
    :: else                                                                                                  \
    fi
#define PASS_AWAY                                                                                            \
    d_step { UNQUEUE(me) };                                                                                  \
    atomic { MARK(0); MARK(1); MARK(2); MARK(3); gone[me] = true }

/* mproc__queue_push and mproc__queue_post. Poster 1 joins late. */
proctype poster(byte me)
{
    bool mine, seen;
    {
        if
        :: me == 1 ->
            life[1] = 2;
            taken[1] = true;
#ifndef JOIN_UNTOLD
            membership_changed()
#endif
        :: else
        fi;
#ifdef POST_LOOKS_FIRST
        seen = sleep_bit;
        items++;
        if
        :: seen -> wake_event()
        :: else
        fi;
#else
        items++;
        post_event();
#endif
        over[me] = true
    } unless { atomic { die[me]?0; mine = false }; PASS_AWAY }
}

#ifdef POSTERS_ONLY
#define WATCHED(row) (row < 2)
#else
#define WATCHED(row) (row != me)
#endif
#ifdef NO_LIFE_WORDS
#define WATCH(row)
#else
#ifdef NO_WAITERS_BIT
#define ASK(row)
#else
#define ASK(row) life_waiters[row] = true;
#endif
/* watch_life */
#define WATCH(row)                                                                                           \
    if                                                                                                       \
    :: WATCHED(row) && taken[row] -> ASK(row) queued[me].lives = queued[me].lives | (1 << row)               \
    :: else                                                                                                  \
    fi;
#endif

#define FORGET row = 0; swept = false
#define HEED_NOTHING ticket_old[me] = true; membership_old[me] = true; looked_old[me] = true

/* mproc__queue_until: until_once; mproc__segment_wait. */
proctype sleeper(byte me)
{
    byte row;
    bool mine, swept, by_life;
    {
        looked_old[me] = true; /* the first wait never sleeps */
look:   if
        :: atomic { items > 0 -> items-- };
           if
           :: goto look
           :: goto away
           fi
        :: items == 0
        fi;
        d_step { sleep_bit = true; ticket_old[me] = false }; /* mproc__eventcount_prepare */
#ifndef NO_SECOND_LOOK
        if
        :: items > 0 -> goto look
        :: items == 0
        fi;
#endif
        /* look_is_old */
        d_step { membership_old[me] = false; mine = looked_old[me]; looked_old[me] = false };
        if
        :: mine -> mine = false; goto look
        :: else
        fi;
        sweep();
        if
        :: swept -> atomic { FORGET }; goto look
        :: else
        fi;
        /* watch_fill; futex_waitv compares all once more, so what changes in between is as good as changed before */
        atomic {
            if
            :: sleep_bit && !ticket_old[me] &&
#ifndef NO_MEMBERSHIP
               !membership_old[me] &&
#endif
               !SOMEBODY_DEAD ->
                WATCH(0) WATCH(1) WATCH(2) WATCH(3)
                queued[me].asleep = true;
                queued[me].event = true;
#ifndef NO_MEMBERSHIP
                queued[me].members = true;
#endif
                FORGET
            :: else -> FORGET; goto look
            fi
        };
end_asleep:
        atomic { queued[me].woken -> by_life = queued[me].by_life; UNQUEUE(me) };
#ifndef NOT_SPREAD
        if
        :: by_life -> by_life = false; sweep(); membership_changed()
        :: else
        fi;
#endif
        atomic { by_life = false; FORGET };
        goto look;
away:   over[me] = true
    } unless { atomic { die[me]?0; FORGET; mine = false; by_life = false; HEED_NOTHING }; PASS_AWAY }
}

#define KILL(who)                                                                                            \
    atomic { !dead[who] && !over[who] && kills < KILLS -> kills++; dead[who] = true; die[who]!0 }

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

#define ENDED(who)  (over[who] || gone[who])
#define ASLEEP(who) (!dead[who] && queued[who].asleep && !queued[who].woken)
#define LOST                                                                                                 \
    (items > 0 && ENDED(0) && ENDED(1) && (ENDED(2) || ASLEEP(2)) && (ENDED(3) || ASLEEP(3)) &&              \
     (ASLEEP(2) || ASLEEP(3)))

proctype monitor()
{
end:
    atomic { LOST -> assert(!LOST) }
}

init
{
    atomic {
        life[0] = 1; taken[0] = true;
        life[2] = 3; taken[2] = true;
        life[3] = 4; taken[3] = true;
        run poster(0); run poster(1); run sleeper(2); run sleeper(3); run monitor(); run killer()
    }
}
