/* SPDX-License-Identifier: BSD-2-Clause */
/* What a thread knows of itself, and whether libc's list of robust mutexes is as robust_list.h takes it to be. */
#include "platform/base.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/robust.h"

static const _Atomic uint64_t nobody; /* never equals an incarnation, which is not 0 */

_Thread_local mproc__me mproc__me_now = {.present = &nobody, .incarnation = 1};

#if MPROC__ROBUST_LIST

enum { UNKNOWN, AS_EXPECTED, DIFFERENT };

enum { LIST_LIMIT = 2048 /* the kernel follows no more links than this */ };

static struct robust_list_head *list_of_thread(void)
{
    struct robust_list_head *list = NULL;
    size_t size_bytes = 0;
    if (syscall(SYS_get_robust_list, 0, &list, &size_bytes) != 0 || size_bytes != sizeof(*list))
        return NULL;
    return list;
}

/* The mutex is held and was the first to be. */
static bool is_linked_as_expected(const struct robust_list_head *list, const pthread_mutex_t *mutex,
                                  void *next)
{
    const void *link = &mutex->__data.__list.__next;
    return list->list.next == link && mutex->__data.__list.__next == next &&
           (const void *)mutex->__data.__list.__prev == &list->list && mproc__robust_link(next)[-1] == link &&
           !list->list_op_pending && (pid_t)mutex->__data.__lock == mproc__tid();
}

/* libc takes and gives back a mutex; what it leaves behind must be what we would leave. */
static bool list_is_as_expected(struct robust_list_head *list)
{
    mproc__robust_shared robust;
    pthread_mutex_t *mutex = &robust.mutex;
    void *next = list->list.next;
    long offset = (long)offsetof(pthread_mutex_t, __data.__lock) -
                  (long)offsetof(pthread_mutex_t, __data.__list.__next);
    mproc__robust_init(&robust, false);
    if (list->futex_offset != offset || pthread_mutex_lock(mutex) != 0)
        return false;
    bool linked = is_linked_as_expected(list, mutex, next);
    if (pthread_mutex_unlock(mutex) != 0)
        return false;
    return linked && list->list.next == next && mproc__robust_link(next)[-1] == &list->list &&
           mutex->__data.__lock == 0 && !mutex->__data.__list.__next && !list->list_op_pending;
}

/* As unique as the incarnation, which is 64 random bits. */
static uint64_t id_new(uint64_t incarnation)
{
    static _Atomic uint64_t threads;
    uint64_t id = 0;
    while (id <= 8)
        id = (incarnation + atomic_fetch_add(&threads, 1) * UINT64_C(0x9e3779b97f4a7c15)) << 3;
    return id;
}

bool mproc__me_look(void)
{
    static _Atomic int layout; /* asked by several threads at once, all find the same */
    mproc__me *me = &mproc__me_now;
    struct robust_list_head *list = list_of_thread();
    int known = atomic_load_explicit(&layout, memory_order_relaxed);
    if (known == UNKNOWN && list) {
        known = list_is_as_expected(list) ? AS_EXPECTED : DIFFERENT;
        atomic_store_explicit(&layout, known, memory_order_relaxed);
    }
    if (known != AS_EXPECTED || !list)
        return false;
    me->list = list;
    me->who = (uint32_t)mproc__pid() | (uint64_t)mproc__tid() << 32;
    me->incarnation = mproc__incarnation();
    me->id = id_new(me->incarnation);
    me->has_slots = false;
    me->inside = NULL;
    me->present = mproc__incarnation_word();
    return true;
}

static uint16_t note_new(mproc__robust_shared *robust)
{
    unsigned last = atomic_load_explicit(mproc__robust_note(robust), memory_order_relaxed);
    return (uint16_t)((last + MPROC__ROBUST_NOTE_STEP) | MPROC__ROBUST_NOTED);
}

/* As the kernel does it: for private ones, too. */
static void wake_or_take_back(mproc__robust_shared *robust, uint16_t note)
{
    if (mproc__futex_wake(mproc__robust_word(robust), 1, true) == 0)
        atomic_compare_exchange_strong_explicit(mproc__robust_note(robust), &note,
                                                (uint16_t)(note & ~MPROC__ROBUST_NOTED), memory_order_relaxed,
                                                memory_order_relaxed);
}

/* Killed before the wake: the kernel wakes one, since the word is free and its address stands in list_op_pending. */
void mproc__robust_give_and_wake(mproc__robust_shared *robust)
{
    uint16_t note = note_new(robust);
    atomic_store_explicit(mproc__robust_note(robust), note, memory_order_relaxed);
    atomic_exchange_explicit(mproc__robust_word(robust), 0, memory_order_release);
    wake_or_take_back(robust, note);
}

void mproc__robust_wake(mproc__robust_shared *robust)
{
    uint16_t note = note_new(robust);
    atomic_store_explicit(mproc__robust_note(robust), note, memory_order_relaxed);
    wake_or_take_back(robust, note);
}

void mproc__robust_obey_note(mproc__robust_shared *robust)
{
    atomic_fetch_or_explicit(mproc__robust_word(robust), FUTEX_WAITERS, memory_order_relaxed);
    atomic_fetch_and_explicit(mproc__robust_note(robust), (uint16_t)~MPROC__ROBUST_NOTED,
                              memory_order_relaxed);
}

/* The link before the mutex on this thread's list; NULL: not on it. By the list, since its word may have been overwritten,
 * and the links of a mutex that is another's are not ours to follow. */
static const void *link_before(const struct robust_list_head *list, const pthread_mutex_t *mutex)
{
    const void *before = &list->list, *wanted = &mutex->__data.__list.__next;
    for (unsigned i = 0; i < LIST_LIMIT; i++) {
        const void *at = mproc__robust_link(*(void *const *)before);
        if (at == wanted)
            return before;
        if (!at || at == &list->list)
            return NULL;
        before = at;
    }
    return NULL;
}

bool mproc__robust_is_linked(const mproc__robust_shared *robust)
{
    if (!mproc__me_is_true(&mproc__me_now) && !mproc__me_look())
        return mproc__robust_is_mine(robust);
    return link_before(mproc__me_now.list, &robust->mutex);
}

/* Who took it meanwhile, as its word allowed, has put links of its own there: those are not followed. */
void mproc__robust_forget(mproc__robust_shared *robust)
{
    pthread_mutex_t *mutex = &robust->mutex;
    const void *before = link_before(mproc__me_now.list, mutex);
    if (before && mutex->__data.__list.__next &&
        mproc__robust_link(mutex->__data.__list.__prev) == (void *const *)before)
        mproc__robust_delist(mutex);
}

#else

bool mproc__me_look(void)
{
    return false;
}

bool mproc__robust_is_linked(const mproc__robust_shared *robust)
{
    return mproc__robust_is_mine(robust);
}

void mproc__robust_forget(mproc__robust_shared *robust)
{
    (void)robust;
}

#endif
