/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed inside the calls of a reader-writer lock that do not sleep. The waiter of a release is asleep before the victim lets
 * go. Becoming a participant has cases of its own (sweep_participants.c): here only one start state goes through it, for
 * each mark of it would be followed by as many pairs in every other. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kill/killsweep.h"
#include "platform/platform.h"
#include "support/support.h"
#include "sync/rwlock_inside.h"

/* CLOSED: a writer died writing and nobody came since; TOLD: one came; BESIDE: somebody else reads. */
enum { FREE, CLOSED, TOLD, POISON_CLOSED, POISONED, BESIDE, AGAIN };
enum { RELEASE_PLAIN, RELEASE_TOLD, RELEASE_POISON, RELEASE_TO_WRITER };
enum { READ_LAST, READ_INNER };

static const char *const read_states[] = {"free, newcomer",
                                          "after a death",
                                          "after a death that is known",
                                          "poison, after a death",
                                          "poisoned",
                                          "beside another reader",
                                          "read already",
                                          NULL};
static const char *const write_states[] = {"free",
                                           "after a death",
                                           "after a death that is known",
                                           "poison, after a death",
                                           "poisoned",
                                           "while another reads",
                                           NULL};
static const char *const unread_states[] = {"last", "inner", NULL};
static const char *const unwrite_states[] = {"reader waits", "told before", "poison", "writer waits", NULL};

/* Beside the lock, in memory that all roles share. */
typedef struct notes {
    _Atomic uint32_t victim_holds, waiter_tries, reader_holds;
    _Atomic int waiter_pid, waiter_code, victim_pid, before_pid;
    _Atomic int recoverer_came;
} notes;

typedef struct rwlock_context {
    mproc_rwlock *rwlock, *other; /* other: to get lazy set-up out of the way */
    notes *notes;
    pid_t reader;
} rwlock_context;

static mproc_deadline hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

static void note_set(_Atomic uint32_t *word)
{
    atomic_store(word, 1);
    mproc__futex_wake(word, INT32_MAX, true);
}

static void note_await(_Atomic uint32_t *word)
{
    while (!atomic_load(word))
        mproc__futex_wait(word, 0, true, hard());
}

/* ---- set-up ---- */

static int write_and_die(void *context)
{
    rwlock_context *c = context;
    if (mproc_rwlock_acquire_write(c->rwlock, hard()) < 0)
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

static int read_on(void *context)
{
    rwlock_context *c = context;
    if (mproc_rwlock_acquire_read(c->rwlock, hard()) < 0)
        return 1;
    note_set(&c->notes->reader_holds);
    for (;;)
        pause();
}

static int read_once(void *context)
{
    rwlock_context *c = context;
    int code = mproc_rwlock_acquire_read(c->rwlock, hard());
    return code >= 0 ? mproc_rwlock_release(c->rwlock) : code == MPROC_EPOISONED ? 0 : 1;
}

static int context_open(bool poison, rwlock_context *c)
{
    c->notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->notes == MAP_FAILED)
        return 1;
    return mproc_rwlock_create(NULL, MPROC_WITH(mproc_rwlock_options, .poison = poison), &c->rwlock) ||
                   mproc_rwlock_create(NULL, NULL, &c->other)
               ? 2
               : 0;
}

static int let_one_die(rwlock_context *c)
{
    pid_t dead = support_fork(write_and_die, c);
    c->notes->before_pid = dead;
    return support_reap(dead, KILL_HARD_MS) == 256 + SIGKILL ? 0 : 3;
}

static int acquire_setup(unsigned state, void **ret_context)
{
    rwlock_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    int failed = context_open(state == POISON_CLOSED || state == POISONED, c);
    if (!failed && state >= CLOSED && state <= POISONED)
        failed = let_one_die(c);
    if (!failed && (state == TOLD || state == POISONED))
        failed = support_reap(support_fork(read_once, c), KILL_HARD_MS);
    if (!failed && state == BESIDE) {
        c->reader = support_fork(read_on, c);
        note_await(&c->notes->reader_holds);
    }
    return failed;
}

static int unread_setup(unsigned state, void **ret_context)
{
    (void)state;
    return acquire_setup(FREE, ret_context);
}

static int unwrite_setup(unsigned state, void **ret_context)
{
    if (state != RELEASE_POISON)
        return acquire_setup(state == RELEASE_TOLD ? TOLD : FREE, ret_context);
    rwlock_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    return context_open(true, c);
}

static void rwlock_teardown(void *context)
{
    rwlock_context *c = context;
    if (c->reader)
        support_kill(c->reader);
    mproc_rwlock_close(&c->rwlock);
    mproc_rwlock_close(&c->other);
    munmap(c->notes, 4096);
    free(c);
}

static int warm_up(rwlock_context *c, bool newcomer)
{
    c->notes->victim_pid = getpid();
    return mproc_rwlock_acquire_read(c->other, MPROC_NOW) || mproc_rwlock_release(c->other) ||
           mproc_rwlock_acquire_write(c->other, MPROC_NOW) || mproc_rwlock_release(c->other) ||
           (!newcomer && mproc__segment_join(c->rwlock->segment) < 0);
}

/* ---- what holds in the end ---- */

static bool told_rightly(const rwlock_context *c)
{
    int64_t pid;
    if (mproc_error_number(mproc_error_of(c->rwlock), MPROC_ERROR_PID, &pid) < 0)
        return false;
    return pid == c->notes->victim_pid || pid == c->notes->before_pid || c->notes->recoverer_came;
}

static int get(rwlock_context *c, bool write, int wanted)
{
    int code =
        write ? mproc_rwlock_acquire_write(c->rwlock, hard()) : mproc_rwlock_acquire_read(c->rwlock, hard());
    if (code != wanted)
        return 20;
    if (code != 0 && !told_rightly(c))
        return 21;
    return code < 0 ? 0 : mproc_rwlock_release(c->rwlock) == 0 ? 0 : 22;
}

/* Free and nothing to tell, for both sides, twice. */
static int is_whole(rwlock_context *c)
{
    unsigned readers = 9;
    int pid = 9, failed = 0;
    for (int i = 0; i < 4 && !failed; i++)
        failed = get(c, i % 2, 0);
    if (!failed && (mproc_rwlock_holders(c->rwlock, &readers, &pid, NULL) || readers || pid))
        failed = 23;
    return failed;
}

/* Whatever there is to tell is told to readers and to one writer. `must`, `may`: something to tell. */
static int told_then_whole(rwlock_context *c, bool must, bool may)
{
    int code = mproc_rwlock_acquire_read(c->rwlock, hard());
    if (code >= 0 && mproc_rwlock_release(c->rwlock) != 0)
        return 10;
    if ((code == 0 && must) || (code > 0 && !may) || (code < 0 && code != MPROC_EPOISONED))
        return 11;
    int failed = code ? get(c, true, code) : 0;
    if (!failed && code == MPROC_EPOISONED)
        failed = mproc_rwlock_repair(c->rwlock) ? 12 : 0;
    return failed ? failed : is_whole(c);
}

static int beside_check(rwlock_context *c)
{
    unsigned readers = 9;
    if (mproc_rwlock_acquire_write(c->rwlock, mproc_after_ms(KILL_SHORT_MS)) != -ETIMEDOUT)
        return 30;
    if (mproc_rwlock_holders(c->rwlock, &readers, NULL, NULL) != 0 || readers != 1)
        return 31;
    return get(c, false, 0);
}

/* ---- others ---- */

static int any_answer(rwlock_context *c, int code)
{
    (void)c;
    return code >= 0 || code == -ETIMEDOUT || code == MPROC_EPOISONED ? 0 : 1;
}

static int recover_writing(void *context, unsigned state)
{
    rwlock_context *c = context;
    (void)state;
    c->notes->recoverer_came = 1;
    return any_answer(c, mproc_rwlock_acquire_write(c->rwlock, MPROC_NOW));
}

static int recover_reading(void *context, unsigned state)
{
    rwlock_context *c = context;
    (void)state;
    return any_answer(c, mproc_rwlock_acquire_read(c->rwlock, MPROC_NOW));
}

static int try_both(rwlock_context *c, bool write, int told)
{
    int code = mproc_rwlock_acquire_read(c->rwlock, mproc_after_ms(KILL_SHORT_MS));
    if (code >= 0 && mproc_rwlock_release(c->rwlock) != 0)
        return 1;
    if (code != 0 && code != -ETIMEDOUT && code != told)
        return 2;
    if (!write)
        return 0;
    code = mproc_rwlock_acquire_write(c->rwlock, mproc_after_ms(KILL_SHORT_MS));
    if (code == 0)
        return mproc_rwlock_release(c->rwlock) != 0;
    return code == -ETIMEDOUT ? 0 : 3;
}

/* A writer that is told would end it for the victim. */
static int acquire_meanwhile(void *context, unsigned state)
{
    bool poison = state == POISON_CLOSED || state == POISONED;
    bool told = state == CLOSED || state == TOLD;
    return try_both(context, !told && !poison, told ? MPROC_RECOVERED : poison ? MPROC_EPOISONED : 0);
}

static int release_meanwhile(void *context, unsigned state)
{
    (void)state;
    return try_both(context, false, MPROC_RECOVERED);
}

/* ---- acquire ---- */

static int wanted_of(unsigned state)
{
    if (state == CLOSED || state == TOLD)
        return MPROC_RECOVERED;
    return state == POISON_CLOSED || state == POISONED ? MPROC_EPOISONED : 0;
}

static int read_prepare(void *context, unsigned state)
{
    rwlock_context *c = context;
    if (warm_up(c, state == FREE))
        return 1;
    return state == AGAIN ? mproc_rwlock_acquire_read(c->rwlock, MPROC_NOW) : 0;
}

static int read_call(void *context, unsigned state)
{
    rwlock_context *c = context;
    return mproc_rwlock_acquire_read(c->rwlock, MPROC_NOW) == wanted_of(state) ? 0 : 1;
}

static int read_check(void *context, unsigned state, bool returned)
{
    rwlock_context *c = context;
    (void)returned;
    if (state == BESIDE)
        return beside_check(c);
    bool must = wanted_of(state) != 0;
    return told_then_whole(c, must, must || c->notes->recoverer_came);
}

static int write_prepare(void *context, unsigned state)
{
    (void)state;
    return warm_up(context, false);
}

static int write_call(void *context, unsigned state)
{
    rwlock_context *c = context;
    int wanted = state == BESIDE ? -ETIMEDOUT : wanted_of(state);
    return mproc_rwlock_acquire_write(c->rwlock, MPROC_NOW) == wanted ? 0 : 1;
}

static int write_check(void *context, unsigned state, bool returned)
{
    rwlock_context *c = context;
    if (state == BESIDE)
        return beside_check(c);
    return told_then_whole(c, returned || wanted_of(state) != 0, true);
}

/* ---- release ---- */

static bool waiter_came(void *context)
{
    return atomic_load(&((rwlock_context *)context)->notes->waiter_tries) != 0;
}

static int let_waiter_sleep(rwlock_context *c)
{
    note_set(&c->notes->victim_holds);
    if (!support_until(waiter_came, c, KILL_HARD_MS))
        return 3;
    return support_until_asleep(c->notes->waiter_pid, KILL_HARD_MS) ? 0 : 4;
}

static int unread_prepare(void *context, unsigned state)
{
    rwlock_context *c = context;
    if (warm_up(c, false) || mproc_rwlock_acquire_read(c->rwlock, MPROC_NOW) != 0)
        return 1;
    if (state == READ_INNER && mproc_rwlock_acquire_read(c->rwlock, MPROC_NOW) != 0)
        return 2;
    return let_waiter_sleep(c);
}

static int unwrite_prepare(void *context, unsigned state)
{
    rwlock_context *c = context;
    int wanted = state == RELEASE_TOLD ? MPROC_RECOVERED : 0;
    if (warm_up(c, false) || mproc_rwlock_acquire_write(c->rwlock, MPROC_NOW) != wanted)
        return 1;
    return let_waiter_sleep(c);
}

static int release_call(void *context, unsigned state)
{
    (void)state;
    return mproc_rwlock_release(((rwlock_context *)context)->rwlock) == 0 ? 0 : 1;
}

static int wait_then_leave(rwlock_context *c, bool write)
{
    c->notes->waiter_pid = getpid();
    note_await(&c->notes->victim_holds);
    atomic_store(&c->notes->waiter_tries, 1);
    int code = write ? mproc_rwlock_acquire_write(c->rwlock, MPROC_FOREVER)
                     : mproc_rwlock_acquire_read(c->rwlock, MPROC_FOREVER);
    c->notes->waiter_code = code;
    if (code == MPROC_EPOISONED)
        return 0;
    return code < 0 ? 1 : mproc_rwlock_release(c->rwlock) == 0 ? 0 : 2;
}

static int unread_wait(void *context, unsigned state)
{
    (void)state;
    return wait_then_leave(context, true);
}

static int unwrite_wait(void *context, unsigned state)
{
    return wait_then_leave(context, state == RELEASE_TO_WRITER);
}

/* A reader's death is no news. */
static int unread_check(void *context, unsigned state, bool returned)
{
    rwlock_context *c = context;
    (void)state;
    (void)returned;
    if (c->notes->waiter_code != 0 && !c->notes->recoverer_came)
        return 15;
    return told_then_whole(c, false, c->notes->recoverer_came);
}

/* Who released is not a death to hear of; who was killed writing is: the waiter heard it, or all hear it from now on. */
static int unwrite_check(void *context, unsigned state, bool returned)
{
    rwlock_context *c = context;
    bool heard = c->notes->waiter_code != 0;
    if (returned && heard)
        return 16;
    return told_then_whole(c, heard && state != RELEASE_TO_WRITER, heard && state != RELEASE_TO_WRITER);
}

const kill_case killsweep_rwlock_read = {.operation = "rwlock read",
                                         .states = read_states,
                                         .setup = acquire_setup,
                                         .teardown = rwlock_teardown,
                                         .prepare = read_prepare,
                                         .call = read_call,
                                         .recover = recover_writing,
                                         .meanwhile = acquire_meanwhile,
                                         .check = read_check};

const kill_case killsweep_rwlock_write = {.operation = "rwlock write",
                                          .states = write_states,
                                          .setup = acquire_setup,
                                          .teardown = rwlock_teardown,
                                          .prepare = write_prepare,
                                          .call = write_call,
                                          .recover = recover_reading,
                                          .meanwhile = acquire_meanwhile,
                                          .check = write_check};

const kill_case killsweep_rwlock_unread = {.operation = "rwlock release of a reader",
                                           .states = unread_states,
                                           .setup = unread_setup,
                                           .teardown = rwlock_teardown,
                                           .prepare = unread_prepare,
                                           .call = release_call,
                                           .wait = unread_wait,
                                           .recover = recover_writing,
                                           .meanwhile = release_meanwhile,
                                           .check = unread_check};

const kill_case killsweep_rwlock_unwrite = {.operation = "rwlock release of a writer",
                                            .states = unwrite_states,
                                            .setup = unwrite_setup,
                                            .teardown = rwlock_teardown,
                                            .prepare = unwrite_prepare,
                                            .call = release_call,
                                            .wait = unwrite_wait,
                                            .recover = recover_reading,
                                            .meanwhile = release_meanwhile,
                                            .check = unwrite_check};
