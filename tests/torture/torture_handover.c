/* SPDX-License-Identifier: BSD-2-Clause */
/* How long after its holder was killed a waiter goes on. One holder, one waiter, and the controller, who sleeps: so at most
 * as many of ours can run as there are CPUs. The waiter becomes the next holder.
 *
 * The promise is for a machine with a CPU for everybody who can run. Where strangers run as well, the time that holder and
 * waiter stood ready in the scheduler's queue meanwhile is not the library's: it is told, and taken off. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <mproc.h>

#include "platform/platform.h"
#include "support/support.h"
#include "torture/torture.h"

enum { KILLS = 1000, LIMIT_MS = 10, HANG_MS = 5000 };

typedef struct moment_shared {
    _Atomic uint32_t holders; /* counted up by each that got it */
    _Atomic int64_t got_ns;   /* when the last one did; written before */
    _Atomic int64_t
        queued_ns; /* that the last one had stood in the scheduler's queue by then, all its life */
} moment_shared;

/* What is held. */
typedef struct hold {
    int (*acquire)(void *object);
    void *object;
    moment_shared *moment;
} hold;

static int acquire_lock(void *object)
{
    return mproc_lock_acquire(object, MPROC_FOREVER);
}

static int acquire_permit(void *object)
{
    return mproc_semaphore_acquire(object, MPROC_FOREVER);
}

/* How long the process has been ready to run without a CPU; of a dead one too, until it is reaped. 0 where the kernel does
 * not say. */
static int64_t queued_of(pid_t pid)
{
    char path[64];
    long long ran_ns, queued_ns = 0;
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lld %lld", &ran_ns, &queued_ns) != 2)
        queued_ns = 0;
    fclose(file);
    return queued_ns;
}

static int hold_until_killed(void *context)
{
    hold *h = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (h->acquire(h->object) < 0)
        return 1;
    atomic_store(&h->moment->got_ns, mproc__now_ns());
    atomic_store(&h->moment->queued_ns, queued_of(getpid()));
    atomic_fetch_add(&h->moment->holders, 1);
    mproc__futex_wake(&h->moment->holders, 1, true);
    for (;;)
        pause();
}

static bool await_holder(hold *h, uint32_t number)
{
    mproc_deadline deadline = mproc_after_ms(support_ms(HANG_MS));
    for (uint32_t now; (now = atomic_load(&h->moment->holders)) < number;)
        if (mproc__futex_wait(&h->moment->holders, now, true, deadline) == -ETIMEDOUT)
            return false;
    return true;
}

static int compare_ns(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

typedef struct times {
    int64_t *passed_ns, *own_ns; /* from the kill to the next hold; the same without the scheduler's queue */
    unsigned count;
} times;

static double percentile_ms(const int64_t *sorted_ns, unsigned count, unsigned percent)
{
    return (double)sorted_ns[count > 0 ? (count - 1) * percent / 100 : 0] / 1e6;
}

static unsigned print_times(const char *name, const times *t)
{
    qsort(t->passed_ns, t->count, sizeof(*t->passed_ns), compare_ns);
    qsort(t->own_ns, t->count, sizeof(*t->own_ns), compare_ns);
    double p99_ms = percentile_ms(t->own_ns, t->count, 99);
    fprintf(
        stderr,
        "torture: %s: %u holders killed, the waiter went on after %.3f ms (median), %.3f (p99), %.3f (most); "
        "without waiting for a CPU %.3f, %.3f, %.3f\n",
        name, t->count, percentile_ms(t->passed_ns, t->count, 50), percentile_ms(t->passed_ns, t->count, 99),
        percentile_ms(t->passed_ns, t->count, 100), percentile_ms(t->own_ns, t->count, 50), p99_ms,
        percentile_ms(t->own_ns, t->count, 100));
    return p99_ms > support_ms(LIMIT_MS);
}

/* One death: 0, and the two times. */
static unsigned measure(hold *h, uint32_t number, pid_t holder, pid_t waiter, times *t)
{
    if (!support_until_asleep(waiter, HANG_MS))
        return 1;
    int64_t queued_ns = queued_of(holder) + queued_of(waiter), killed_ns = mproc__now_ns();
    kill(holder, SIGKILL);
    unsigned failures = !await_holder(h, number);
    int64_t passed_ns = atomic_load(&h->moment->got_ns) - killed_ns;
    queued_ns = queued_of(holder) + atomic_load(&h->moment->queued_ns) - queued_ns;
    t->passed_ns[t->count] = passed_ns;
    t->own_ns[t->count] = queued_ns > passed_ns ? 0 : queued_ns > 0 ? passed_ns - queued_ns : passed_ns;
    t->count++;
    return failures;
}

static unsigned hand_over(const char *name, hold *h, unsigned kills)
{
    times t = {.passed_ns = calloc(kills, sizeof(int64_t)), .own_ns = calloc(kills, sizeof(int64_t))};
    pid_t holder = support_fork(hold_until_killed, h);
    unsigned failures = !t.passed_ns || !t.own_ns || !await_holder(h, 1);
    for (unsigned i = 0; i < kills && failures == 0; i++) {
        pid_t waiter = support_fork(hold_until_killed, h);
        failures = measure(h, i + 2, holder, waiter, &t);
        support_kill(holder);
        holder = waiter;
    }
    support_kill(holder);
    if (failures > 0)
        fprintf(stderr, "torture: %s: a waiter hangs\n", name);
    else
        failures = print_times(name, &t);
    free(t.passed_ns);
    free(t.own_ns);
    return failures;
}

static unsigned with_moment(const char *name, hold *h, unsigned kills)
{
    h->moment = mmap(NULL, sizeof(*h->moment), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (h->moment == MAP_FAILED)
        return 1;
    unsigned failures = hand_over(name, h, kills);
    munmap(h->moment, sizeof(*h->moment));
    return failures;
}

static unsigned lock_run(unsigned kills, unsigned *seed)
{
    mproc_lock *lock;
    (void)seed;
    if (mproc_lock_create(NULL, NULL, &lock) < 0)
        return 1;
    unsigned failures = with_moment("lock handover", &(hold){.acquire = acquire_lock, .object = lock}, kills);
    mproc_lock_close(&lock);
    return failures;
}

static unsigned permit_run(unsigned kills, unsigned *seed)
{
    mproc_semaphore *semaphore;
    (void)seed;
    if (mproc_semaphore_create(NULL, 1, MPROC_WITH(mproc_semaphore_options, .bounded = true), &semaphore) < 0)
        return 1;
    hold h = {.acquire = acquire_permit, .object = semaphore};
    unsigned failures = with_moment("permit handover", &h, kills);
    mproc_semaphore_close(&semaphore);
    return failures;
}

const torture_case torture_lock_handover = {.name = "lock handover", .kills = KILLS, .run = lock_run};
const torture_case torture_permit_handover = {.name = "permit handover", .kills = KILLS, .run = permit_run};
