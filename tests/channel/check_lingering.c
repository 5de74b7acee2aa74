/* SPDX-License-Identifier: BSD-2-Clause */
/* Every noun beside a participant that looks dead and is not gone: who waits for the object sleeps, and does not sweep that
 * row again and again, wake itself and look. */
#include "platform/base.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/queue_case.h"
#include "channel/queue_common.h"
#include "platform/platform.h"
#include "support/support.h"

enum {
    BLOCKED_MS = 400,
    BUSY_MS = 6,
    SLEEPERS = 3,
    QUEUES = 2,
    LARGE = 3000,
    SWEEP_AND_SLICE_MS = 50,
    SETTLING = 8
};

static const noun_case *noun;
static void *object;
static _Atomic bool used;
static _Atomic bool *ending; /* shared: the thread is about to end without a word */

static const noun_case *noun_at(unsigned index)
{
    static const noun_case *const queues[QUEUES] = {&queue_case, &queue_priority_case};
    return index < noun_case_count() ? &noun_cases[index] : queues[index - noun_case_count()];
}

static int64_t cpu_ns(void)
{
    struct rusage now;
    getrusage(RUSAGE_SELF, &now);
    return (now.ru_utime.tv_sec + now.ru_stime.tv_sec) * INT64_C(1000000000) +
           (now.ru_utime.tv_usec + now.ru_stime.tv_usec) * INT64_C(1000);
}

/* ---- the people ---- */

static int occupies(void *unused)
{
    (void)unused;
    if (noun->occupy(object) < 0)
        return 1;
    for (;;)
        pause();
}

/* Takes the row of its process; when the first thread sleeps, ends without a word, which looks like a death. */
static void *end_without_a_word(void *unused)
{
    (void)unused;
    (void)noun->use(object); /* what is occupied is not to be had; a participant all the same */
    atomic_store(&used, true);
    if (!support_until_asleep(getpid(), 5000))
        return NULL;
    atomic_store(ending, true);
    syscall(SYS_exit, 0);
    return NULL;
}

static bool is_used(void *unused)
{
    (void)unused;
    return atomic_load(&used);
}

static int lingers(void *unused)
{
    pthread_t thread;
    (void)unused;
    if (pthread_create(&thread, NULL, end_without_a_word, NULL) != 0 || !support_until(is_used, NULL, 5000))
        return 1;
    (void)noun->block(object, MPROC_FOREVER);
    for (;;)
        pause();
}

static bool has_lost_a_thread(void *pid)
{
    char path[64];
    int count = -2; /* "." and ".." */
    snprintf(path, sizeof path, "/proc/%d/task", *(pid_t *)pid);
    DIR *folder = opendir(path);
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return atomic_load(ending) && count == 1;
}

/* A death is answered by the nouns as they please (a barrier breaks); what counts is the CPU. */
static int blocks(void *unused)
{
    (void)unused;
    int64_t before_ns = cpu_ns();
    (void)noun->block(object, mproc_after_ms(BLOCKED_MS));
    return cpu_ns() - before_ns < support_ms(BUSY_MS) * INT64_C(1000000) ? 0 : 2;
}

/* shows: IDLE-1 */
START_TEST(who_waits_beside_a_row_that_lingers_sleeps)
{
    noun = noun_at((unsigned)_i);
    if (!noun->block)
        return;
    ending = mmap(NULL, sizeof *ending, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(ending, MAP_FAILED);
    ck_assert_int_eq(noun->create(NULL, NULL, &object), 0);
    pid_t holder = noun->occupy ? support_fork(occupies, NULL) : 0;
    ck_assert(holder == 0 || support_until_asleep(holder, 5000));
    pid_t slow = support_fork(lingers, NULL);
    ck_assert(support_until(has_lost_a_thread, &slow, 5000));
    pid_t sleepers[SLEEPERS];
    for (int i = 0; i < SLEEPERS; i++)
        sleepers[i] = support_fork(blocks, NULL);
    for (int i = 0; i < SLEEPERS; i++) {
        int status = support_reap(sleepers[i], 10000);
        ck_assert_msg(status == 0, "%s: a waiter ended with %d", noun->name, status);
    }
    support_kill(slow);
    if (holder)
        support_kill(holder);
    mproc__handle_close(&object, noun->type);
    munmap(ending, sizeof *ending);
}
END_TEST

/* ---- a sweep that has to wait for a stopped process ---- */

static int stops_with_the_lock(void *context)
{
    mproc_queue *queue = context;
    if (mproc__side_lock(queue->segment, &queue->shared->get.side, MPROC_NOW) < 0)
        return 1;
    raise(SIGSTOP);
    mproc__side_release(&queue->shared->get.side);
    return 0;
}

static int dies_with_reserved(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    if (mproc_queue_reserve(context, LARGE, mproc_after_ms(support_ms(5000)), &loan) < 0)
        return 1;
    return kill(getpid(), SIGKILL);
}

/* Waits for room that does not come; how often it slept and woke is its answer. */
static int puts_in_vain(void *context)
{
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    if (mproc_queue_put(context, "x", 1, mproc_after_ms(BLOCKED_MS)) != -ETIMEDOUT)
        return 255;
    getrusage(RUSAGE_SELF, &after);
    long slept = after.ru_nvcsw - before.ru_nvcsw;
    return slept < 254 ? (int)slept : 254;
}

/* shows: IDLE-1 */
START_TEST(who_waits_beside_a_row_that_cannot_be_swept_now_wakes_seldom)
{
    int status;
    pid_t sleepers[SLEEPERS];
    mproc_queue *queue =
        queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_items = 1, .max_bytes = 65536));
    ck_assert_ptr_nonnull(queue);
    ck_assert_int_eq(support_reap(support_fork(dies_with_reserved, queue), 5000), 256 + SIGKILL);
    pid_t stopped = support_fork(stops_with_the_lock, queue);
    ck_assert_int_eq(waitpid(stopped, &status, WUNTRACED), stopped);
    ck_assert_int_eq(mproc_queue_put(queue, "full", 4, MPROC_NOW), 0);
    int64_t start_ns = mproc__now_ns();
    for (int i = 0; i < SLEEPERS; i++)
        sleepers[i] = support_fork(puts_in_vain, queue);
    int slept = 0;
    for (int i = 0; i < SLEEPERS; i++) {
        int once = support_reap(sleepers[i], 10000);
        ck_assert_int_le(once, 254);
        slept += once;
    }
    /* One looks for all, and sleeps for the lock in each look; each has some looks of its own first. */
    int slices = (int)((mproc__now_ns() - start_ns) / 1000000 / SWEEP_AND_SLICE_MS);
    ck_assert_int_le(slept, 2 * slices + SLEEPERS * SETTLING);
    kill(stopped, SIGCONT);
    ck_assert_int_eq(support_reap(stopped, 5000), 0);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lingering");
    TCase *lingering = support_case(suite, "lingering");
    tcase_add_loop_test(lingering, who_waits_beside_a_row_that_lingers_sleeps, 0,
                        (int)noun_case_count() + QUEUES);
    tcase_add_test(lingering, who_waits_beside_a_row_that_cannot_be_swept_now_wakes_seldom);
    return support_run(suite, argc, argv);
}
