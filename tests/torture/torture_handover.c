/* SPDX-License-Identifier: BSD-2-Clause */
/* How long after its holder was killed a waiter goes on. One holder, one waiter, and the controller, who sleeps: so at most
 * as many processes can run as there are CPUs. The waiter becomes the next holder. */
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

static int hold_until_killed(void *context)
{
    hold *h = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (h->acquire(h->object) < 0)
        return 1;
    atomic_store(&h->moment->got_ns, mproc__now_ns());
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

static unsigned print_times(const char *name, int64_t *times_ns, unsigned count)
{
    qsort(times_ns, count, sizeof(*times_ns), compare_ns);
    double p99_ms = (double)times_ns[count * 99 / 100] / 1e6;
    fprintf(stderr,
            "torture: %s: %u holders killed, the waiter went on after %.3f ms (median), %.3f (p99), %.3f "
            "(most)\n",
            name, count, (double)times_ns[count / 2] / 1e6, p99_ms, (double)times_ns[count - 1] / 1e6);
    return p99_ms > support_ms(LIMIT_MS);
}

static unsigned hand_over(const char *name, hold *h, unsigned kills)
{
    int64_t *times_ns = calloc(kills, sizeof(*times_ns));
    pid_t holder = support_fork(hold_until_killed, h);
    unsigned failures = !times_ns || !await_holder(h, 1);
    for (unsigned i = 0; i < kills && failures == 0; i++) {
        pid_t waiter = support_fork(hold_until_killed, h);
        failures = !support_until_asleep(waiter, HANG_MS);
        int64_t killed_ns = mproc__now_ns();
        kill(holder, SIGKILL);
        failures += !await_holder(h, i + 2);
        times_ns[i] = atomic_load(&h->moment->got_ns) - killed_ns;
        support_kill(holder);
        holder = waiter;
    }
    support_kill(holder);
    if (failures > 0)
        fprintf(stderr, "torture: %s: a waiter hangs\n", name);
    else
        failures = print_times(name, times_ns, kills);
    free(times_ns);
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
