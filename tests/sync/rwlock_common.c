/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sync/rwlock_common.h"

mproc_place *place;
mproc_rwlock *rwlock;

notes_page *notes;

void notes_open(void)
{
    notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(notes, MAP_FAILED);
}

void notes_close(void)
{
    munmap(notes, sizeof(*notes));
}

void rwlock_make(int home, const mproc_rwlock_options *options)
{
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    ck_assert_int_eq(mproc_rwlock_create(place, options, &rwlock), 0);
}

void rwlock_drop(void)
{
    mproc_rwlock_close(&rwlock);
    ck_assert_ptr_null(rwlock);
    mproc_place_close(&place);
}

int64_t told_pid(void)
{
    int64_t pid = -1;
    const mproc_error *story = mproc_error_of(rwlock);
    return story && mproc_error_number(story, MPROC_ERROR_PID, &pid) == 0 ? pid : -1;
}

/* ---- others: they answer by status ---- */

void *errand_run(void *argument)
{
    errand *it = argument;
    atomic_store(&it->tid, mproc__tid());
    it->status = it->fn(NULL);
    return NULL;
}

int in_thread(support_fn *fn)
{
    errand it = {fn, -1, 0};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, errand_run, &it), 0);
    pthread_join(thread, NULL);
    return it.status;
}

int in_child(support_fn *fn)
{
    return support_reap(support_fork(fn, NULL), LONG_MS);
}

int elsewhere(int home, support_fn *fn)
{
    return home == 0 ? in_child(fn) : in_thread(fn);
}

static bool has_tid(void *it)
{
    return atomic_load(&((other *)it)->errand.tid) != 0;
}

void other_start(other *it, int home, support_fn *fn)
{
    it->home = home;
    it->errand = (errand){fn, -1, 0};
    if (home == 0)
        it->child = support_fork(fn, NULL);
    else
        ck_assert_int_eq(pthread_create(&it->thread, NULL, errand_run, &it->errand), 0);
    if (home == 1)
        ck_assert(support_until(has_tid, it, 5000));
    ck_assert(support_until_asleep(home == 0 ? it->child : atomic_load(&it->errand.tid), 5000));
}

int other_end(other *it)
{
    if (it->home == 0)
        return support_reap(it->child, LONG_MS);
    pthread_join(it->thread, NULL);
    return it->errand.status;
}

int status_of(int code)
{
    if (code >= 0 && mproc_rwlock_release(rwlock) != 0)
        return 9;
    return code == -ETIMEDOUT        ? 1
           : code == MPROC_RECOVERED ? 2
           : code == MPROC_EPOISONED ? 3
           : code == 0               ? 0
                                     : 8;
}

int try_read(void *unused)
{
    (void)unused;
    return status_of(mproc_rwlock_acquire_read(rwlock, MPROC_NOW));
}

int try_write(void *unused)
{
    (void)unused;
    return status_of(mproc_rwlock_acquire_write(rwlock, MPROC_NOW));
}

int wait_read(void *unused)
{
    (void)unused;
    int code = mproc_rwlock_acquire_read(rwlock, mproc_after_ms(support_ms(LONG_MS)));
    atomic_store(&notes->reader_at, atomic_fetch_add(&notes->order, 1) + 1);
    return status_of(code);
}

int wait_write(void *unused)
{
    (void)unused;
    int code = mproc_rwlock_acquire_write(rwlock, mproc_after_ms(support_ms(LONG_MS)));
    atomic_store(&notes->writer_at, atomic_fetch_add(&notes->order, 1) + 1);
    return status_of(code);
}

int read_and_die(void *unused)
{
    (void)unused;
    if (mproc_rwlock_acquire_read(rwlock, MPROC_NOW) < 0)
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

int write_and_die(void *unused)
{
    (void)unused;
    if (mproc_rwlock_acquire_write(rwlock, mproc_after_ms(5000)) < 0)
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

static int hold_until_killed(int code)
{
    if (code < 0)
        return 1;
    atomic_fetch_add(&notes->order, 1);
    for (;;)
        pause();
}

int read_until_killed(void *unused)
{
    (void)unused;
    return hold_until_killed(mproc_rwlock_acquire_read(rwlock, MPROC_NOW));
}

int write_until_killed(void *unused)
{
    (void)unused;
    return hold_until_killed(mproc_rwlock_acquire_write(rwlock, MPROC_NOW));
}

static bool somebody_got_it(void *unused)
{
    (void)unused;
    return atomic_load(&notes->order) > 0;
}

pid_t start_holder(support_fn *fn)
{
    pid_t child = support_fork(fn, NULL);
    ck_assert(support_until(somebody_got_it, NULL, 5000));
    return child;
}
