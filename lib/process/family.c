/* SPDX-License-Identifier: BSD-2-Clause */
/* The children of this process: list, numbers, and what happens to them when it forks or exits. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/at_exit.h"
#include "process/family.h"
#include "process/program.h"

/* Children that one start looks at, in turn: what a start costs does not grow with their number, and those that have
 * ended and wait for their turn are at most an eighth of the living. */
enum { FAMILY_LOOKS = 8 };

MPROC__FORK_DATA static struct {
    pthread_mutex_t lock;
    mproc_process *first;
    mproc_process *look;      /* where the next tidying goes on; NULL: at the first */
    mproc_process *forgotten; /* of the process this one was forked from */
    unsigned started;
    uint64_t exit_incarnation; /* that has registered the exit hook */
    atomic_bool stray; /* changed under the lock, by who has looked at all: the last to look is right */
} family = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int family_code; /* of the handlers' registration */

MPROC__FORK_TEXT void mproc__family_lock(void)
{
    pthread_mutex_lock(&family.lock);
}

MPROC__FORK_TEXT void mproc__family_unlock(void)
{
    pthread_mutex_unlock(&family.lock);
}

/* ---- hooks ---- */

/* In a fork child, among the hooks of all layers: the parent's children are not ours. The descriptors behind them were
 * closed by the first of all hooks (own_fds.c): the numbers may be the program's by now, whose hooks ran since. Letting go
 * of memory waits until the other hooks have run. */
MPROC__FORK_TEXT static void family_forget(void)
{
    for (mproc_process *process = family.first; process; process = process->next) {
        mproc__process_forget(process);
        if (!process->next) {
            process->next = family.forgotten;
            family.forgotten = family.first;
            break;
        }
    }
    family.first = NULL;
    family.look = NULL;
    family.started = 0;
    atomic_store(&family.stray, false);
    mproc__nursery_forget();
    mproc__slots_forget();
    mproc__family_unlock();
}

MPROC__FORK_TEXT void mproc__family_clear_forgotten(void)
{
    mproc__family_lock();
    mproc_process *process = family.forgotten;
    family.forgotten = NULL;
    mproc__family_unlock();
    while (process) {
        mproc_process *next = process->next;
        mproc__handle_release(&process->handle);
        process = next;
    }
    mproc__nursery_clear_forgotten();
}

/* At the program's start: at the first use it might come while another thread forks, too late for that child. After
 * own_fds's, whose lock is taken under this one. */
__attribute__((constructor(102))) static void family_start(void)
{
    family_code = -pthread_atfork(mproc__family_lock, mproc__family_unlock, family_forget);
}

static bool is_daemon(const mproc_process *process)
{
    return process->daemon && process->kind != MPROC__PROCESS_THREAD;
}

static bool is_joined(const mproc_process *process)
{
    return !(process->daemon && process->kind == MPROC__PROCESS_THREAD);
}

/* Kept for the caller. A thread that calls exit itself is not waited for. */
static mproc_process *exit_find(bool (*pick)(const mproc_process *process))
{
    mproc__family_lock();
    mproc_process *process = family.first;
    while (process && (process == mproc__thread_self() || !pick(process)))
        process = process->next;
    if (process)
        mproc__handle_keep(&process->handle);
    mproc__family_unlock();
    return process;
}

/* All are asked before any is waited for. Threads are asked and left: they end with the program. */
static void exit_daemons(void)
{
    mproc__family_lock();
    for (mproc_process *process = family.first; process; process = process->next)
        if (process->daemon && process != mproc__thread_self())
            mproc__process_stop_ask(process);
    mproc__family_unlock();
    for (mproc_process *process; (process = exit_find(is_daemon));) {
        (void)mproc__process_stop_await(process, MPROC_FOREVER);
        mproc__process_collect(process);
        mproc__handle_release(&process->handle);
    }
}

static void exit_join(void)
{
    for (mproc_process *process; (process = exit_find(is_joined));) {
        mproc__program_hang_up(process->program); /* one that writes to us would never end */
        mproc__process_wait(process, MPROC_FOREVER);
        mproc__process_collect(process);
        mproc__handle_release(&process->handle);
    }
}

/* The program's end, in the order that process.h promises. Children that a function of the last step has started
 * go the same way; then the nursery may go. */
static void family_exit(void)
{
    if (family.exit_incarnation != mproc__incarnation())
        return;
    mproc__at_exit_run_down_to(0);
    exit_daemons();
    exit_join();
    mproc__at_exit_run_down_to(MPROC_AT_EXIT_NEVER + 1);
    exit_daemons();
    exit_join();
    mproc__nursery_stop();
}

/* The reference refuses it because a process that is ended by a signal at its parent's exit cannot end its own children.
 * Here the nursery would; the rule stays, so that daemonic means what its users know. It is about functions, as there: a
 * program may be run by a daemonic child, which is what half of all workers do. */
int mproc__family_daemon_check(const char *call)
{
    const mproc_process *thread = mproc__thread_self();
    if (!mproc__self_get()->daemon && !(thread && thread->daemon))
        return 0;
    return mproc__fail(-EPERM, "%s: process %s is daemonic and may start no children", call,
                       thread ? thread->name : mproc__self_get()->name);
}

int mproc__family_begin(void)
{
    if (family_code < 0)
        return mproc__fail(family_code, "start: cannot prepare for forks: %s", mproc_strerror(family_code));
    mproc__family_clear_forgotten();
    mproc__family_lock();
    uint64_t now = mproc__incarnation();
    int rc = 0;
    if (family.exit_incarnation != now && atexit(family_exit) != 0)
        rc = mproc__fail(-ENOMEM, "start: no memory for an exit handler");
    else
        family.exit_incarnation = now;
    mproc__family_unlock();
    return rc;
}

/* ---- the list ---- */

void mproc__family_add(mproc_process *process)
{
    mproc__handle_keep(&process->handle);
    process->previous = NULL;
    process->next = family.first;
    if (family.first)
        family.first->previous = process;
    family.first = process;
}

void mproc__family_remove(mproc_process *process)
{
    if (family.look == process)
        family.look = process->next;
    if (process->previous)
        process->previous->next = process->next;
    else
        family.first = process->next;
    if (process->next)
        process->next->previous = process->previous;
    mproc__handle_release(&process->handle);
}

/* The next one that has ended among as many as *looks says, which it counts down. Kept for the caller, who
 * collects it without the lock: collecting takes it itself, inside another. */
static mproc_process *family_find_ended(unsigned *looks)
{
    mproc_process *found = NULL;
    mproc__family_lock();
    while (!found && *looks > 0 && family.first) {
        mproc_process *process = family.look ? family.look : family.first;
        family.look = process->next;
        --*looks;
        if (mproc__process_ended(process))
            found = process;
    }
    if (found)
        mproc__handle_keep(&found->handle);
    mproc__family_unlock();
    return found;
}

static void family_collect(unsigned looks)
{
    for (mproc_process *process; (process = family_find_ended(&looks));) {
        mproc__process_collect(process);
        mproc__handle_release(&process->handle);
    }
}

void mproc__family_tidy(void)
{
    family_collect(FAMILY_LOOKS);
}

static int children_append(mproc_variant *list, const mproc_process *process)
{
    mproc_variant child = mproc_null(), name = mproc_text(process->name);
    if (name.kind == MPROC_KIND_INVALID) /* not UTF-8 */
        name = mproc_bytes(process->name, strlen(process->name));
    int rc = mproc_variant_set(&child, "pid", MPROC_V((int)process->pid));
    if (rc == 0)
        rc = mproc_variant_set(&child, "name", name);
    if (rc == 0)
        rc = mproc_variant_append(list, child);
    mproc_variant_clear(&child);
    return rc;
}

/* Oldest first: the list has them the other way. */
static int children_list(mproc_variant *list)
{
    int rc = 0;
    mproc_process *process = family.first;
    while (process && process->next)
        process = process->next;
    for (; process && rc == 0; process = process->previous)
        if (mproc__process_runs(process))
            rc = children_append(list, process);
    return rc;
}

int mproc_process_children(mproc_variant *ret_list)
{
    if (!ret_list)
        return mproc__fail(-EINVAL, "mproc_process_children: NULL");
    mproc__family_clear_forgotten();
    mproc__guard_look();
    family_collect(MPROC__SLOTS);
    mproc_variant list = mproc_null();
    mproc__family_lock();
    int rc = children_list(&list);
    mproc__family_unlock();
    if (rc == 0)
        *ret_list = list.kind == MPROC_KIND_NULL ? mproc_items(NULL, 0) : list;
    else
        mproc_variant_clear(&list);
    return rc;
}

/* Moves the children of one killed nursery, the first that is found; how many, each with a reference to it. */
static unsigned watch_move(mproc__nursery *nursery, mproc__nursery **ret_old, int *ret_code)
{
    unsigned count = 0;
    *ret_old = NULL;
    *ret_code = 0;
    mproc__family_lock();
    for (mproc_process *process = family.first; process; process = process->next) {
        mproc__nursery *old = process->nursery;
        if (process->kind != MPROC__PROCESS_CHILD || old == nursery || (*ret_old && *ret_old != old))
            continue;
        *ret_code = mproc__nursery_watch(nursery, process->slot, process->pid, process->pidfd);
        if (*ret_code < 0)
            break;
        mproc__nursery_keep(nursery);
        process->nursery = nursery;
        *ret_old = old;
        count++;
    }
    atomic_store(&family.stray, *ret_code < 0 || *ret_old); /* till a look finds none */
    mproc__family_unlock();
    return count;
}

/* The killed one's memory is let go of without the lock: segments take others. */
int mproc__family_watch(mproc__nursery *nursery)
{
    mproc__nursery *old;
    int rc;
    do
        for (unsigned count = watch_move(nursery, &old, &rc); count > 0; count--)
            mproc__nursery_release(old);
    while (rc == 0 && old);
    return rc;
}

bool mproc__family_stray(void)
{
    return atomic_load(&family.stray);
}

bool mproc__family_unwatched(void)
{
    bool found = false;
    mproc__family_lock();
    for (mproc_process *process = family.first; process && !found; process = process->next)
        found = process->kind == MPROC__PROCESS_CHILD && mproc__nursery_gone(process->nursery);
    atomic_store(&family.stray, found);
    mproc__family_unlock();
    return found;
}

void mproc__family_next_path(char path[MPROC__PATH_BYTES])
{
    const mproc__self *self = mproc__self_get();
    mproc__family_lock();
    unsigned number = ++family.started;
    mproc__family_unlock();
    if (self->path[0])
        snprintf(path, MPROC__PATH_BYTES, "%.48s:%u", self->path, number);
    else
        snprintf(path, MPROC__PATH_BYTES, "%u", number);
}
