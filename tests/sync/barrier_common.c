/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <sys/mman.h>

#include "barrier_common.h"
#include "platform/platform.h"

mproc_place *place;
mproc_barrier *barrier;
team_page *page;

void barrier_make(int home, unsigned parties, const mproc_barrier_options *options)
{
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    else if (home == 2)
        ck_assert_int_eq(mproc__place_shm("shm:/check-barrier", NULL, &place), 0);
    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_int_eq(mproc_barrier_create(place, parties, options, &barrier), 0);
}

void barrier_drop(void)
{
    mproc_barrier_close(&barrier);
    ck_assert_ptr_null(barrier);
    mproc_place_close(&place);
    munmap(page, sizeof(*page));
}

static void *team_thread(void *argument)
{
    team *them = argument;
    return them->fn(them->context) == 0 ? NULL : page;
}

void team_start(team *them, int home, unsigned count, support_fn *fn, void *context)
{
    *them = (team){.fn = fn, .context = context};
    for (unsigned i = 0; i < count; i++) {
        if (home != 1 && i % 2 == 0)
            them->pid[them->processes++] = support_fork(fn, context);
        else
            ck_assert_int_eq(pthread_create(&them->thread[them->threads++], NULL, team_thread, them), 0);
    }
}

void team_end(team *them)
{
    void *failed;
    for (unsigned i = 0; i < them->threads; i++) {
        pthread_join(them->thread[i], &failed);
        ck_assert_ptr_null(failed);
    }
    for (unsigned i = 0; i < them->processes; i++)
        ck_assert_int_eq(support_reap(them->pid[i], TEAM_LIMIT_MS), 0);
}

int waits_once(void *deadline)
{
    int64_t pid = 0;
    int code = mproc_barrier_wait(barrier, deadline ? *(mproc_deadline *)deadline : MPROC_FOREVER, NULL);
    if (code == MPROC_EBROKEN)
        mproc_error_number(mproc_last_error(), MPROC_ERROR_PID, &pid);
    atomic_store(&page->at_ns, mproc__now_ns());
    unsigned i = atomic_fetch_add(&page->answers, 1);
    if (i >= CODES)
        return 1;
    atomic_store(&page->codes[i], code);
    atomic_store(&page->told_pid[i], pid);
    return 0;
}

void all_pass(int home)
{
    team them;
    page->answers = 0;
    team_start(&them, home, PARTIES, waits_once, NULL);
    team_end(&them);
    ck_assert_uint_eq(answered(0), PARTIES);
}

unsigned answered(int code)
{
    unsigned count = 0;
    for (unsigned i = 0; i < page->answers && i < CODES; i++)
        count += page->codes[i] == code;
    return count;
}

unsigned arrived_now(void)
{
    unsigned count = 0;
    return mproc_barrier_status(barrier, NULL, &count, NULL) == 0 ? count : 999;
}

bool broken_now(void)
{
    bool broken = false;
    return mproc_barrier_status(barrier, NULL, NULL, &broken) == 0 && broken;
}

static bool arrived_are(void *count)
{
    return arrived_now() == *(unsigned *)count;
}

void until_arrived(unsigned count)
{
    ck_assert(support_until(arrived_are, &count, TEAM_LIMIT_MS));
}
