/* SPDX-License-Identifier: BSD-2-Clause */
/* A free robust mutex taken and given back without a call into libc. Only for robust.h. L0.
 *
 * The kernel keeps one list of held robust mutexes a thread, which libc registered and owns: linked through each mutex
 * (the address of the next one's link, and before it that of the previous), with a head in libc's thread structure
 * that has room for a back link before it. While a mutex is on its way onto the list or off it, its address stands in
 * list_op_pending, so that a thread killed at any instruction is found to own it. All that is part of libc's and the
 * kernel's binary interface, because programs with different libcs share robust mutexes; what is libc's is looked at
 * once in every process, by watching it lock one (robust_list.c), and where it looks different libc does it all.
 *
 * What it is worth: an acquire and release of a lock of ours took 1.25 times a bare libc one before, and less than
 * that one now; the calls into libc were the difference. */
#ifndef MPROC__PLATFORM_ROBUST_LIST_H
#define MPROC__PLATFORM_ROBUST_LIST_H

#include <limits.h>
#include <linux/futex.h>

/* libc's mutexes are what the thread sanitizer understands. */
#if defined(HAVE_ROBUST_LIST) && !MPROC__THREAD_SANITIZER
#define MPROC__ROBUST_LIST 1
#else
#define MPROC__ROBUST_LIST 0
#endif

/* What a thread knows of itself; written by itself alone. */
typedef struct mproc__me {
    /* In the page that fork wipes: equal to `incarnation` says that all here is true of this thread. */
    const _Atomic uint64_t *present;
    uint64_t incarnation;
    struct robust_list_head *list;
    uint64_t who; /* process id | thread id << 32 */
    uint64_t id;  /* never given again, to no thread of any process; a multiple of 8, above 8 */
    /* Of sides of queues (channel/side.h): whether it has been given any, and where it is inside now. */
    bool has_slots;
    const void *inside;
} mproc__me;

/* Found without a call, which for a library's own variables is not the rule: initial-exec takes 32 of the bytes that
 * libc keeps for libraries loaded late. */
extern _Thread_local mproc__me mproc__me_now __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Fills mproc__me_now; false: the short way is not for this process. */
bool mproc__me_look(void);

static inline bool mproc__me_is_true(const mproc__me *me)
{
    return atomic_load_explicit(me->present, memory_order_relaxed) == me->incarnation;
}

static inline uint32_t mproc__me_tid(const mproc__me *me)
{
    return (uint32_t)(me->who >> 32);
}

#if MPROC__ROBUST_LIST

/* The note. A release that finds sleepers wakes the first of them, who may be dying: killed, and not yet given a CPU to
 * die on. While the word stays free, the kernel hands that wake on at the death; but once somebody else has taken the lock,
 * with nothing in the word about the sleepers that are left, nobody would ever wake those. So such a release leaves a note,
 * and the next owner makes it FUTEX_WAITERS in the word, which has its release wake the next one. When nobody was there to
 * be woken, the note is taken back. Low bit: there is one; above it: which, so that a releaser that was held up takes back
 * no other's. It lies in a field that libc uses for mutexes of other kinds only, and zeroes. Written by the owner, before it
 * gives the lock back and after it took it, and taken back by compare and swap; an owner that dies leaves it to the next.
 * Where libc does it all there is no note, and sleepers find out by the looks of robust.c. */
enum { MPROC__ROBUST_NOTED = 1, MPROC__ROBUST_NOTE_STEP = 2 };

static inline _Atomic uint16_t *mproc__robust_note(mproc__robust_shared *robust)
{
    return (_Atomic uint16_t *)(void *)&robust->mutex.__data.__spins;
}

/* Ends the hold of a lock for which others sleep: the caller has it off its list. */
void mproc__robust_give_and_wake(mproc__robust_shared *robust);
/* A sleeper came in the instant of the release, so the note comes late, for an owner after the next. (To compare and swap
 * instead halved the holds of two contenders.) */
void mproc__robust_wake(mproc__robust_shared *robust);
/* Right after taking it, by whatever way. */
void mproc__robust_obey_note(mproc__robust_shared *robust);
static inline void mproc__robust_look_at_note(mproc__robust_shared *robust)
{
    if (MPROC__UNLIKELY(atomic_load_explicit(mproc__robust_note(robust), memory_order_relaxed) &
                        MPROC__ROBUST_NOTED))
        mproc__robust_obey_note(robust);
}

/* The order of stores is for the kernel, which reads them when this thread is dead: the compiler must keep it. */
static inline void mproc__robust_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* What links point to: the `next` half of a mutex's link, or the head. The back link lies before it. */
static inline void **mproc__robust_link(const void *address)
{
    return (void **)((uintptr_t)address & ~(uintptr_t)1); /* bit 0: libc's mark of priority inheritance */
}

static inline void mproc__robust_enlist(struct robust_list_head *list, pthread_mutex_t *mutex)
{
    void *next = list->list.next;
    mproc__robust_link(next)[-1] = &mutex->__data.__list.__next;
    mutex->__data.__list.__next = (struct __pthread_internal_list *)next;
    mutex->__data.__list.__prev = (struct __pthread_internal_list *)(void *)&list->list;
    mproc__robust_order();
    list->list.next = (struct robust_list *)(void *)&mutex->__data.__list.__next;
}

static inline void mproc__robust_delist(pthread_mutex_t *mutex)
{
    void *next = mutex->__data.__list.__next, *previous = mutex->__data.__list.__prev;
    mproc__robust_link(next)[-1] = previous;
    mproc__robust_link(previous)[0] = next;
    mproc__robust_order();
    mutex->__data.__list.__next = NULL;
    mutex->__data.__list.__prev = NULL;
}

static inline void mproc__robust_pend(struct robust_list_head *list, pthread_mutex_t *mutex)
{
    list->list_op_pending = (struct robust_list *)(void *)&mutex->__data.__list.__next;
    mproc__robust_order();
}

static inline void mproc__robust_pend_no_more(struct robust_list_head *list)
{
    mproc__robust_order();
    list->list_op_pending = NULL;
}

static inline bool mproc__robust_give(mproc__robust_shared *robust)
{
    const mproc__me *me = &mproc__me_now;
    _Atomic uint32_t *word = (_Atomic uint32_t *)(void *)&robust->mutex.__data.__lock;
    uint32_t mine = mproc__me_tid(me), held = atomic_load_explicit(word, memory_order_relaxed);
    if (MPROC__UNLIKELY(!mproc__me_is_true(me) || (held & FUTEX_TID_MASK) != mine))
        return false;
    mproc__robust_pend(me->list, &robust->mutex);
    mproc__robust_delist(&robust->mutex);
    robust->mutex.__data.__owner = 0; /* where libc took it, libc has said who */
    mproc__robust_order();
    if (MPROC__UNLIKELY(held != mine))
        mproc__robust_give_and_wake(robust);
    else if (MPROC__UNLIKELY(atomic_exchange_explicit(word, 0, memory_order_release) != mine))
        mproc__robust_wake(robust);
    mproc__robust_pend_no_more(me->list);
    return true;
}

/* Whether this thread holds it; false also when nobody can say so quickly. */
static inline bool mproc__robust_is_held(const mproc__robust_shared *robust)
{
    const mproc__me *me = &mproc__me_now;
    const _Atomic uint32_t *word = (const _Atomic uint32_t *)(const void *)&robust->mutex.__data.__lock;
    return mproc__me_is_true(me) &&
           (atomic_load_explicit(word, memory_order_relaxed) & FUTEX_TID_MASK) == mproc__me_tid(me);
}

/* libc's word for a mutex that was never made consistent: free to look at, and not to be had again. False: given back. */
static inline bool mproc__robust_is_usable(mproc__robust_shared *robust)
{
    return MPROC__LIKELY(robust->mutex.__data.__owner != INT_MAX - 1) || !mproc__robust_give(robust);
}

/* Takes it if it is free. False: it is not, or nobody can say. */
static inline bool mproc__robust_take(mproc__robust_shared *robust)
{
    const mproc__me *me = &mproc__me_now;
    if (MPROC__UNLIKELY(!mproc__me_is_true(me)))
        return false;
    _Atomic uint32_t *word = (_Atomic uint32_t *)(void *)&robust->mutex.__data.__lock;
    uint32_t free = 0;
    mproc__robust_pend(me->list, &robust->mutex);
    bool taken = atomic_compare_exchange_strong_explicit(word, &free, mproc__me_tid(me), memory_order_acquire,
                                                         memory_order_relaxed);
    mproc__robust_order();
    if (MPROC__LIKELY(taken))
        mproc__robust_enlist(me->list, &robust->mutex);
    mproc__robust_pend_no_more(me->list);
    if (MPROC__LIKELY(taken))
        mproc__robust_look_at_note(robust);
    return taken && MPROC__LIKELY(mproc__robust_is_usable(robust));
}

#else

static inline void mproc__robust_look_at_note(mproc__robust_shared *robust)
{
    (void)robust;
}

/* A try by libc takes a dead owner's mutex, too, which is not for here to say. */
static inline bool mproc__robust_take(mproc__robust_shared *robust)
{
    (void)robust;
    return false;
}

static inline bool mproc__robust_give(mproc__robust_shared *robust)
{
    (void)robust;
    return false;
}

static inline bool mproc__robust_is_held(const mproc__robust_shared *robust)
{
    (void)robust;
    return false;
}

#endif

#endif
