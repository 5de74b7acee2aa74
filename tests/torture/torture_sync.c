/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks, a bounded semaphore, an event and a condition under load, with a ledger of what the dead held.
 *
 * A worker notes what it is about to hold and what it surely holds, in memory that outlives it. So every death is one of
 * surely a holder, perhaps one, surely none; and the number of acquires that were told of a death must fit. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <mproc.h>

#include "torture/torture.h"

enum { LOCKS = 16, PERMITS = 64, PERMITS_AT_ONCE = 40, SHORT_MS = 2, LINGER_NS = 100000, KILLS = 10000 };
enum {
    FAULT_LOCK = 2,
    FAULT_NOT_TOLD,
    FAULT_RELEASE,
    FAULT_PERMIT,
    FAULT_PERMIT_TOO_MANY,
    FAULT_PERMIT_RELEASE,
    FAULT_EVENT,
    FAULT_CONDITION
};

/* Written by its worker, read by the controller when the worker is dead. Lock numbers from 1; 0: none. */
typedef struct note_shared {
    _Atomic unsigned maybe; /* from before the acquire to after the release */
    _Atomic unsigned sure;  /* within */
} note_shared;

/* The numbers are written under the lock; volatile, so that a kill finds each store where it stands. */
typedef struct pair_shared {
    volatile unsigned long left, right;
    _Atomic unsigned told; /* acquires that heard of a death */
} pair_shared;

/* In one word, so that one look sees one instant: a byte a worker of permits it holds, counted up after the acquire and down
 * before the release; in the top byte a bit for each worker that is doomed, whose permits may be free already. */
enum { GRANT_BITS = 8, DOOMED_SHIFT = 56 };
_Static_assert(TORTURE_WORKERS *GRANT_BITS <= DOOMED_SHIFT && TORTURE_WORKERS <= 8, "one word");

typedef struct sync_shared {
    torture_shared begin;
    _Atomic uint64_t grants;
    note_shared notes[TORTURE_WORKERS];
    pair_shared pairs[LOCKS];
    volatile unsigned tokens; /* under the condition's lock */
} sync_shared;

typedef struct scene {
    unsigned worker; /* which one this process is */
    mproc_lock *locks[LOCKS];
    mproc_semaphore *permits;
    mproc_event *event;
    mproc_condition *condition;
    sync_shared *shared;
    unsigned sure[LOCKS], maybe[LOCKS]; /* deaths */
} scene;

static int sync_setup(void **ret_context)
{
    scene *s = calloc(1, sizeof(*s));
    int code = 0;
    if (!s)
        return -1;
    *ret_context = s;
    s->shared = mmap(NULL, sizeof(*s->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->shared == MAP_FAILED)
        return -1;
    for (unsigned i = 0; i < LOCKS && code == 0; i++)
        code = mproc_lock_create(NULL, NULL, &s->locks[i]);
    if (code == 0)
        code = mproc_semaphore_create(NULL, PERMITS, MPROC_WITH(mproc_semaphore_options, .bounded = true),
                                      &s->permits);
    if (code == 0)
        code = mproc_event_create(NULL, NULL, &s->event);
    return code < 0 ? code : mproc_condition_create(NULL, NULL, &s->condition);
}

static torture_shared *sync_torture_shared(void *context)
{
    return &((scene *)context)->shared->begin;
}

/* ---- what a worker does ---- */

/* With something held: so that most deaths are those of holders. */
static void linger(void)
{
    nanosleep(&(struct timespec){.tv_nsec = LINGER_NS}, NULL);
}

/* Under the lock. A pair whose halves differ was left by one who died. */
static int use_pair(pair_shared *pair, bool told)
{
    if (pair->left != pair->right && !told)
        return FAULT_NOT_TOLD;
    pair->right = pair->left;
    pair->left = pair->left + 1;
    linger();
    pair->right = pair->right + 1;
    return 0;
}

static int use_lock(scene *s, note_shared *note, unsigned i)
{
    atomic_store(&note->maybe, i + 1);
    int code = mproc_lock_acquire(s->locks[i], mproc_after_ms(TORTURE_CALL_MS));
    if (code < 0)
        return FAULT_LOCK;
    if (code == MPROC_RECOVERED)
        atomic_fetch_add(&s->shared->pairs[i].told, 1);
    atomic_store(&note->sure, i + 1);
    int fault = use_pair(&s->shared->pairs[i], code == MPROC_RECOVERED);
    atomic_store(&note->sure, 0);
    if (mproc_lock_release(s->locks[i]) != 0)
        return FAULT_RELEASE;
    atomic_store(&note->maybe, 0);
    return fault;
}

static unsigned granted(uint64_t grants)
{
    unsigned sum = 0;
    for (unsigned worker = 0; worker < TORTURE_WORKERS; worker++)
        if (!(grants >> (DOOMED_SHIFT + worker) & 1))
            sum += grants >> (GRANT_BITS * worker) & 0xff;
    return sum;
}

static uint64_t grant_of(const scene *s, unsigned count)
{
    return (uint64_t)count << (GRANT_BITS * s->worker);
}

/* The first one must come: whoever holds some waits only for a short while. */
static int take_permit(scene *s, unsigned already)
{
    int code = mproc_semaphore_acquire(s->permits, mproc_after_ms(already ? SHORT_MS : TORTURE_CALL_MS));
    if (code == -ETIMEDOUT && already)
        return code;
    if (code < 0)
        return FAULT_PERMIT;
    uint64_t one = grant_of(s, 1);
    return granted(atomic_fetch_add(&s->shared->grants, one) + one) > PERMITS ? FAULT_PERMIT_TOO_MANY : 0;
}

/* More are wanted by all together than there are; who gets no more in time gives back what it has. */
static int use_permits(scene *s, unsigned wanted)
{
    unsigned got = 0;
    int code = 0;
    while (got < wanted && code == 0) {
        code = take_permit(s, got);
        got += code == 0;
    }
    if (code > 0)
        return code;
    linger();
    atomic_fetch_sub(&s->shared->grants, grant_of(s, got));
    return mproc_semaphore_release(s->permits, got) == 0 ? 0 : FAULT_PERMIT_RELEASE;
}

static int use_event(scene *s, unsigned how)
{
    int code = how == 0   ? mproc_event_set(s->event)
               : how == 1 ? mproc_event_clear(s->event)
                          : mproc_event_wait(s->event, mproc_after_ms(SHORT_MS));
    return code == 0 || code == -ETIMEDOUT ? 0 : FAULT_EVENT;
}

static int use_condition(scene *s, bool give)
{
    mproc_lock *lock = mproc_condition_lock(s->condition);
    int code = mproc_lock_acquire(lock, mproc_after_ms(TORTURE_CALL_MS));
    if (code < 0)
        return FAULT_CONDITION;
    if (give) {
        s->shared->tokens = s->shared->tokens + 1;
        code = mproc_condition_notify(s->condition, 1);
    } else {
        code = mproc_condition_wait(s->condition, mproc_after_ms(SHORT_MS));
    }
    bool right = code >= 0 || code == -ETIMEDOUT;
    return mproc_lock_release(lock) == 0 && right ? 0 : FAULT_CONDITION;
}

static int use_something(scene *s, note_shared *note, unsigned *seed)
{
    unsigned chance = (unsigned)rand_r(seed) % 16;
    unsigned detail = (unsigned)rand_r(seed);
    if (chance < 6)
        return use_lock(s, note, detail % LOCKS);
    if (chance < 12)
        return use_permits(s, 1 + detail % PERMITS_AT_ONCE);
    if (chance < 14)
        return use_event(s, detail % 3);
    return use_condition(s, detail % 2);
}

static int sync_work(void *context, unsigned worker)
{
    scene *s = context;
    unsigned seed = (unsigned)getpid();
    int fault = 0;
    s->worker = worker;
    while (fault == 0 && !atomic_load(&s->shared->begin.stop)) {
        fault = use_something(s, &s->shared->notes[worker], &seed);
        atomic_fetch_add(&s->shared->begin.progress, 1);
        torture_park(&s->shared->begin);
    }
    return fault;
}

/* ---- what the controller knows ---- */

static void sync_doomed(void *context, unsigned worker)
{
    scene *s = context;
    atomic_fetch_or(&s->shared->grants, UINT64_C(1) << (DOOMED_SHIFT + worker));
}

static void sync_killed(void *context, unsigned worker)
{
    scene *s = context;
    note_shared *note = &s->shared->notes[worker];
    unsigned sure = atomic_exchange(&note->sure, 0);
    unsigned maybe = atomic_exchange(&note->maybe, 0);
    atomic_fetch_and(&s->shared->grants,
                     ~(UINT64_C(0xff) << (GRANT_BITS * worker) | UINT64_C(1) << (DOOMED_SHIFT + worker)));
    if (sure)
        s->sure[sure - 1]++;
    else if (maybe)
        s->maybe[maybe - 1]++;
}

/* Nobody holds anything: all permits are free, and all locks (one whose holder died, too). */
static unsigned sync_quiet(void *context)
{
    scene *s = context;
    unsigned value = 0, held = 0;
    int code = mproc_semaphore_value(s->permits, &value);
    for (unsigned i = 0; i < LOCKS; i++)
        held += mproc_lock_is_held(s->locks[i]);
    if (code == 0 && value == PERMITS && held == 0 && atomic_load(&s->shared->grants) == 0)
        return 0;
    fprintf(stderr,
            "torture: sync: %u of %d permits are free and %u locks held while nobody holds one (%d, %#llx)\n",
            value, PERMITS, held, code, (unsigned long long)atomic_load(&s->shared->grants));
    return 1;
}

static unsigned judge_lock(scene *s, unsigned i)
{
    note_shared mine = {.maybe = 0};
    int fault = use_lock(s, &mine, i);
    unsigned told = atomic_load(&s->shared->pairs[i].told);
    if (fault == 0 && told >= s->sure[i] && told <= s->sure[i] + s->maybe[i])
        return 0;
    fprintf(stderr, "torture: sync: lock %u: fault %d, told %u times of %u deaths and perhaps %u more\n", i,
            fault, told, s->sure[i], s->maybe[i]);
    return 1;
}

static unsigned sync_judge(void *context)
{
    scene *s = context;
    unsigned failures = sync_quiet(s), told = 0, sure = 0, maybe = 0;
    for (unsigned i = 0; i < LOCKS; i++) {
        failures += judge_lock(s, i);
        told += atomic_load(&s->shared->pairs[i].told);
        sure += s->sure[i];
        maybe += s->maybe[i];
    }
    fprintf(stderr, "torture: sync: %lu calls; told %u times of %u deaths and perhaps %u more\n",
            atomic_load(&s->shared->begin.progress), told, sure, maybe);
    return failures + (use_condition(s, true) != 0) + (use_event(s, 0) != 0);
}

static void sync_teardown(void *context)
{
    scene *s = context;
    for (unsigned i = 0; i < LOCKS; i++)
        mproc_lock_close(&s->locks[i]);
    mproc_semaphore_close(&s->permits);
    mproc_event_close(&s->event);
    mproc_condition_close(&s->condition);
    munmap(s->shared, sizeof(*s->shared));
    free(s);
}

#define SYNC                                                                                                 \
    .kills = KILLS, .setup = sync_setup, .shared = sync_torture_shared, .work = sync_work,                   \
    .doomed = sync_doomed, .killed = sync_killed, .quiet = sync_quiet, .judge = sync_judge,                  \
    .teardown = sync_teardown

const torture_case torture_sync = {.name = "sync", SYNC};
const torture_case torture_sync_stopped = {.name = "sync stopped", .stops = true, SYNC};
