/* SPDX-License-Identifier: BSD-2-Clause */
/* Workers that are threads of this process: started, told to leave, started again, joined. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "platform/story.h"
#include "pool/death.h"
#include "pool/pool.h"
#include "pool/worker.h"

enum { LEAVE_MS = 100 }; /* what threads without work are given to be gone */

static _Thread_local mproc__pool_thread *self_thread;

/* ---- seen from inside ---- */

static mproc__pool_thread *thread_inside(const mproc__pool_core *core)
{
    return self_thread && self_thread->core == core ? self_thread : NULL;
}

mproc__worker_shared *mproc__core_own_desk(mproc__pool_core *core)
{
    const mproc__pool_thread *own = thread_inside(core);
    return own ? &core->view.shared->workers[own->index] : NULL;
}

/* One that sleeps since the word was another has been posted, and will look again. */
static bool all_blocked(const mproc__pool_core *core, const mproc__pool_thread *own, uint32_t ticket)
{
    for (unsigned i = 0; i < MPROC__POOL_WORKERS; i++) {
        const mproc__pool_thread *other = &core->threads[i];
        if (other != own && atomic_load(&other->started) && !atomic_load(&other->ended) &&
            !(other->blocked && other->blocked_at == ticket))
            return false;
    }
    return true;
}

int mproc__threads_block(mproc__pool_core *core, uint32_t ticket)
{
    mproc__pool_thread *own = thread_inside(core);
    if (!own)
        return 0;
    pthread_mutex_lock(&core->lock);
    own->blocked = !all_blocked(core, own, ticket);
    own->blocked_at = ticket;
    pthread_mutex_unlock(&core->lock);
    return own->blocked ? 0
                        : mproc__fail(-EDEADLK, "all workers of the pool wait for tasks of the same pool");
}

void mproc__threads_unblock(mproc__pool_core *core)
{
    mproc__pool_thread *own = thread_inside(core);
    if (!own)
        return;
    pthread_mutex_lock(&core->lock);
    own->blocked = false;
    pthread_mutex_unlock(&core->lock);
}

/* ---- a thread ---- */

static bool thread_limits(mproc__pool_thread *self)
{
    mproc__pool_core *core = self->core;
    int rc = core->limits.asked ? mproc__limits_step(&core->limits) : 0;
    if (rc == 0)
        return true;
    mproc__breakage_shared reason = {.code = rc, .worker = self->index};
    snprintf(reason.text, sizeof reason.text, "worker %u: %.280s", self->index,
             mproc_error_text(mproc_last_error()));
    mproc__pool_break(&core->view, &reason);
    return false;
}

static bool is_wanted(const mproc__pool_thread *self)
{
    const mproc__pool_core *core = self->core;
    const mproc__pool_shared *shared = core->view.shared;
    return self->index < atomic_load(&shared->wanted) && atomic_load(&shared->state) < MPROC__POOL_QUIT &&
           !mproc__pool_broken(&core->view);
}

/* Nobody reaps a thread: its desk is vacant when it has left. */
static void desk_leave(mproc__pool_thread *self)
{
    mproc__worker_shared *desk = &self->core->view.shared->workers[self->index];
    mproc__worker_word word = mproc__worker_load(desk);
    atomic_store(&desk->word, mproc__worker_pack((mproc__worker_word){.life = word.life}));
    atomic_store(&self->ended, true);
}

/* A pool that shrinks and grows at once wants the thread again that is about to leave. It and whoever resizes swap `ended`:
 * one of them sees to it that there is a worker. */
static bool is_kept(mproc__pool_thread *self)
{
    bool ended = true;
    if (!is_wanted(self) || !atomic_compare_exchange_strong(&self->ended, &ended, false))
        return false;
    self->life = mproc__worker_desk_prepare(&self->core->view.shared->workers[self->index]);
    return true;
}

static void thread_serve(mproc__pool_thread *self)
{
    mproc__pool_core *core = self->core;
    do {
        mproc__worker_serve(&core->view, self->index, self->life, core->crew.initializer,
                            core->crew.initializer_args);
        desk_leave(self);
    } while (is_kept(self));
}

static void *thread_main(void *argument)
{
    mproc__pool_thread *self = argument;
    mproc__pool_core *core = self->core;
    char name[16];
    self_thread = self;
    snprintf(name, sizeof name, "%.10s-%u", core->thread_name, self->index + 1);
    pthread_setname_np(pthread_self(), name);
    if (thread_limits(self))
        thread_serve(self);
    else
        desk_leave(self);
    self_thread = NULL; /* its place may be another's by now */
    mproc__pool_post(&core->view, &core->view.shared->done);
    mproc__core_release(core);
    return NULL;
}

/* Signals are the program's: none is delivered to a worker thread. */
static int thread_start(mproc__pool_core *core, unsigned index)
{
    sigset_t mask;
    mproc__pool_thread *thread = &core->threads[index];
    thread->core = core;
    thread->index = index;
    atomic_store(&thread->started, true);
    atomic_store(&thread->ended, false);
    thread->life = mproc__worker_desk_prepare(&core->view.shared->workers[index]);
    mproc__core_keep(core);
    mproc__signals_block(&mask);
    int rc = -pthread_create(&thread->id, NULL, thread_main, thread);
    mproc__signals_restore(&mask);
    if (rc == 0)
        return 0;
    mproc__core_release(core);
    atomic_store(&thread->started, false);
    desk_leave(thread);
    return mproc__fail(rc, "cannot start worker thread %u: %s", index, mproc_strerror(rc));
}

/* One that works already, or is kept from leaving, is left alone. */
static int thread_provide(mproc__pool_core *core, unsigned index)
{
    mproc__pool_thread *thread = &core->threads[index];
    bool ended = true;
    if (atomic_load(&thread->started)) {
        if (!atomic_compare_exchange_strong(&thread->ended, &ended, false))
            return 0;
        pthread_detach(thread->id); /* the lock is held, which its last destructors may want */
        atomic_store(&thread->started, false);
    }
    return thread_start(core, index);
}

int mproc__threads_start(mproc__pool_core *core)
{
    unsigned wanted = atomic_load(&core->view.shared->wanted);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < wanted; i++)
        rc = thread_provide(core, i);
    return rc;
}

/* ---- the end ---- */

static unsigned threads_running(const mproc__pool_core *core)
{
    unsigned running = 0;
    for (unsigned i = 0; i < MPROC__POOL_WORKERS; i++)
        running += &core->threads[i] != self_thread && atomic_load(&core->threads[i].started) &&
                   !atomic_load(&core->threads[i].ended);
    return running;
}

/* A thread that has ended is joined; one that stops the pool itself goes on, and one that does not look at
 * mproc_call_stopping keeps the core for itself. */
int mproc__threads_end(mproc__pool_core *core, mproc_deadline deadline)
{
    mproc__eventcount_shared *done = &core->view.shared->done;
    mproc_deadline leave = mproc_after_ms(LEAVE_MS);
    deadline = deadline.ns > leave.ns ? deadline : leave;
    while (threads_running(core) > 0 && !mproc__deadline_past(deadline)) {
        uint32_t ticket = mproc__eventcount_prepare(done);
        if (threads_running(core) > 0)
            (void)mproc__core_wait(core, ticket, deadline);
    }
    unsigned running = 0;
    for (unsigned i = 0; i < MPROC__POOL_WORKERS; i++) {
        mproc__pool_thread *thread = &core->threads[i];
        if (!atomic_load(&thread->started))
            continue;
        if (atomic_load(&thread->ended)) {
            pthread_join(thread->id, NULL);
        } else {
            running += thread != self_thread;
            pthread_detach(thread->id);
        }
        atomic_store(&thread->started, false);
    }
    return running ? mproc__fail(-EBUSY, "%u worker threads do not look at mproc_call_stopping and go on",
                                 running)
                   : 0;
}
