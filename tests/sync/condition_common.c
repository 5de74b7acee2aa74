/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <sys/mman.h>

#include "condition_common.h"

mproc_place *place;
mproc_condition *condition;
mproc_lock *lock;
crew_page *page;

void condition_make(int home, const mproc_condition_options *options)
{
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    else if (home == 2)
        ck_assert_int_eq(mproc__place_shm("shm:/check-condition", NULL, &place), 0);
    ck_assert_int_eq(mproc_condition_create(place, options, &condition), 0);
    lock = mproc_condition_lock(condition);
    ck_assert_ptr_nonnull(lock);
    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void condition_drop(void)
{
    munmap(page, sizeof(*page));
    mproc_condition_close(&condition);
    ck_assert_ptr_null(condition);
    mproc_place_close(&place);
}

void lock_now(void)
{
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_FOREVER), 0);
}

void unlock_now(void)
{
    ck_assert_int_eq(mproc_lock_release(lock), 0);
}

bool always(void *unused)
{
    (void)unused;
    return true;
}

int wait_locked(mproc_deadline deadline)
{
    if (mproc_lock_acquire(lock, MPROC_FOREVER) < 0)
        return 1;
    int code = mproc_condition_wait(condition, deadline);
    return mproc_lock_release(lock) == 0 ? code : 2;
}

static int sleeper(void *deadline)
{
    int code = wait_locked(*(mproc_deadline *)deadline);
    if (code == 0)
        atomic_fetch_add(&page->woken, 1);
    else if (code == -ETIMEDOUT)
        atomic_fetch_add(&page->timed_out, 1);
    else
        atomic_fetch_add(&page->failed, 1);
    return code == 0 || code == -ETIMEDOUT ? 0 : 1;
}

static void *sleeper_thread(void *deadline)
{
    return sleeper(deadline) == 0 ? NULL : page;
}

unsigned waiting(void)
{
    return mproc__condition_waiting(condition->shared);
}

bool waiting_are(void *count)
{
    return waiting() == *(unsigned *)count;
}

/* Waits or has timed out already. */
static bool came(void *count)
{
    return waiting() + atomic_load(&page->timed_out) >= *(unsigned *)count;
}

bool woken_are(void *count)
{
    return atomic_load(&page->woken) == *(unsigned *)count;
}

void crew_start(crew *them, int home, unsigned count, mproc_deadline deadline)
{
    unsigned all = waiting() + atomic_load(&page->timed_out) + count;
    *them = (crew){.deadline = deadline};
    for (unsigned i = 0; i < count; i++) {
        if (home != 1 && i % 2 == 0)
            them->pid[them->processes++] = support_fork(sleeper, &them->deadline);
        else
            ck_assert_int_eq(
                pthread_create(&them->thread[them->threads++], NULL, sleeper_thread, &them->deadline), 0);
    }
    ck_assert(support_until(came, &all, CREW_LIMIT_MS));
}

void crew_end(crew *them)
{
    void *failed;
    for (unsigned i = 0; i < them->threads; i++) {
        pthread_join(them->thread[i], &failed);
        ck_assert_ptr_null(failed);
    }
    for (unsigned i = 0; i < them->processes; i++)
        ck_assert_int_eq(support_reap(them->pid[i], CREW_LIMIT_MS), 0);
    ck_assert_uint_eq(page->failed, 0);
}

void notify_and_leave(unsigned count, unsigned left)
{
    ck_assert_int_ge(mproc_lock_acquire(lock, MPROC_FOREVER), 0);
    ck_assert_int_eq(mproc_condition_notify(condition, count), 0);
    ck_assert_uint_eq(waiting(), left);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
}
