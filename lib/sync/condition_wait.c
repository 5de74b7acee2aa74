/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting for a condition, and being interrupted in it. */
#include "platform/base.h"

#include "platform/platform.h"
#include "platform/story.h"
#include "sync/condition.h"

/* ---- interruption ---- */

/* A call of this thread that mproc_interrupt may end; lives on its stack. */
typedef struct interruptible {
    struct interruptible *outer; /* a predicate may wait, too */
    _Atomic(mproc__eventcount_shared *)
        event; /* what it sleeps on, or is about to; NULL: it is at something else */
    atomic_bool asked;
} interruptible;

/* The innermost one. Not made at its first use, as other variables of threads may be: a signal handler must not allocate. */
static _Thread_local __attribute__((tls_model("initial-exec"))) _Atomic(interruptible *) current;

static void interruptible_begin(interruptible *call)
{
    atomic_init(&call->event, NULL);
    atomic_init(&call->asked, false);
    call->outer = atomic_load_explicit(&current, memory_order_relaxed);
    atomic_store_explicit(&current, call, memory_order_release);
}

static void interruptible_end(const interruptible *call)
{
    atomic_store_explicit(&current, call->outer, memory_order_release);
}

/* Moves the event word, as a post does: a thread that is about to sleep on it will not, and one whose sleep the kernel
 * restarts after the handler finds it changed. Nothing is woken: the signal has done that. */
void mproc_interrupt(void)
{
    interruptible *call = atomic_load_explicit(&current, memory_order_acquire);
    if (!call)
        return;
    atomic_store(&call->asked, true);
    mproc__eventcount_shared *event = atomic_load(&call->event);
    if (event)
        atomic_fetch_add(&event->word, 2);
}

/* ---- waiting ---- */

typedef struct wait_call {
    mproc_condition *condition;
    mproc_deadline deadline;
    interruptible interrupt;
    unsigned slot;
} wait_call;

static bool wait_spin(const wait_call *call)
{
    for (unsigned budget = mproc__spin_budget(); budget > 0; budget--) {
        if (mproc__condition_notified(call->condition, call->slot))
            return true;
        mproc__pause();
    }
    return false;
}

static int wait_asleep(wait_call *call, mproc__eventcount_shared *event)
{
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(event);
        if (mproc__condition_notified(call->condition, call->slot))
            return 0;
        if (atomic_load(&call->interrupt.asked))
            return -EINTR;
        int code = mproc__segment_wait(call->condition->segment, event, ticket, call->deadline);
        if (code < 0)
            return code;
    }
}

/* 0: notified; -ETIMEDOUT, -EINTR: not yet, when it was looked. */
static int wait_outside(wait_call *call)
{
    mproc_condition *condition = call->condition;
    mproc__eventcount_shared *event = &condition->shared->slots[call->slot].event;
    if (mproc__deadline_past(call->deadline))
        return -ETIMEDOUT;
    if (wait_spin(call))
        return 0;
    atomic_store(&call->interrupt.event, event);
    int waiting = mproc__waiting_begin(condition->segment, MPROC__WAIT_NOTIFY);
    int code = wait_asleep(call, event);
    mproc__waiting_end(condition->segment, waiting);
    atomic_store(&call->interrupt.event, NULL);
    return code;
}

static int wait_answer(mproc_condition *condition, int slept, int locked, bool notified)
{
    if (locked != 0)
        return mproc__handle_story(&condition->handle, locked);
    if (notified)
        return 0;
    return slept == -EINTR ? mproc__handle_fail(&condition->handle, -EINTR, "a signal handler asked for it")
                           : mproc__fail_plain(slept);
}

/* The slot is given back with the lock held: until then a notification still counts. */
static int wait_once(wait_call *call)
{
    mproc_condition *condition = call->condition;
    unsigned levels;
    int slot = mproc__condition_enter(condition);
    if (slot < 0)
        return mproc__handle_story(&condition->handle, slot);
    call->slot = (unsigned)slot;
    int code = mproc__lock_release_all(condition->lock, &levels);
    if (code < 0) {
        mproc__condition_leave(condition, call->slot);
        return mproc__handle_story(&condition->handle, code);
    }
    int slept = wait_outside(call);
    int locked = mproc__lock_acquire_all(condition->lock, levels, MPROC_FOREVER);
    bool notified = mproc__condition_leave(condition, call->slot);
    return wait_answer(condition, slept, locked, notified);
}

/* Keeps the handle: its owner may close it meanwhile. */
static int wait_begin(mproc_condition *condition, mproc_deadline deadline, wait_call *ret_call)
{
    int code = mproc__condition_check(condition);
    if (code < 0)
        return code;
    mproc__handle_keep(&condition->handle);
    ret_call->condition = condition;
    ret_call->deadline = deadline;
    interruptible_begin(&ret_call->interrupt);
    return 0;
}

static int wait_end(wait_call *call, int code)
{
    interruptible_end(&call->interrupt);
    mproc__handle_release(&call->condition->handle);
    return code;
}

int mproc_condition_wait(mproc_condition *condition, mproc_deadline deadline)
{
    wait_call call;
    int code = wait_begin(condition, deadline, &call);
    return code < 0 ? code : wait_end(&call, wait_once(&call));
}

static int wait_until(wait_call *call, mproc_condition_fn *fn, void *context)
{
    int code = 0;
    while (code == 0 && !fn(context)) {
        if (mproc__deadline_past(call->deadline))
            return mproc__fail_plain(-ETIMEDOUT);
        code = wait_once(call);
        if (code == -ETIMEDOUT) /* asked a last time */
            code = 0;
    }
    return code;
}

int mproc_condition_wait_for(mproc_condition *condition, mproc_condition_fn *fn, void *context,
                             mproc_deadline deadline)
{
    wait_call call;
    int code = wait_begin(condition, deadline, &call);
    if (code < 0)
        return code;
    if (!fn)
        return wait_end(&call, mproc__handle_fail(&condition->handle, -EINVAL, "no function to ask"));
    return wait_end(&call, wait_until(&call, fn, context));
}
