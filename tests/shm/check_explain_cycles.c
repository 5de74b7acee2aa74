/* SPDX-License-Identifier: BSD-2-Clause */
/* Wait cycles: found, told once, and not told when they are none. */
#include "platform/base.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/explain_common.h"
#include "platform/platform.h"

enum { RING_MAX = 5 };

static mproc__segment *ring[RING_MAX];
static pid_t children[RING_MAX];

/* Child n owns toy n and waits for the next, the last one for `last`. */
static void ring_make(int count, int last)
{
    char name[16];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "ring-%d", i);
        ring[i] = toy_make(name);
    }
    for (int i = 0; i < count; i++) {
        int next = i + 1 < count ? i + 1 : last;
        children[i] = toy_start((toy_child){.owns = ring[i], .waits = next < 0 ? NULL : ring[next]});
    }
}

static void ring_end(int count)
{
    for (int i = 0; i < count; i++) {
        support_kill(children[i]);
        mproc__segment_release(ring[i]);
    }
}

static int cycle_lines(const char *text)
{
    const char *cycle = strstr(text, "wait cycle:\n");
    int lines = 0;
    for (const char *at = cycle; at && strncmp(at = strchr(at, '\n') + 1, "      ", 6) == 0;)
        lines++;
    return lines;
}

/* Of one (it waits for its own) to five. */
START_TEST(a_ring_of_waiters_is_told_once_and_whole)
{
    int count = _i + 1;
    ring_make(count, 0);
    for (int i = 0; i < count; i++)
        ck_assert(toy_stop(children[i]));
    char *text = toy_explain();
    ck_assert_int_eq(toy_found("cycles"), 1);
    ck_assert_int_eq(toy_found("waiting"), count);
    ck_assert_int_eq(cycle_lines(text), count + 1);
    for (int i = 0; i < count; i++) {
        char link[64];
        snprintf(link, sizeof(link), "toy \"ring-%d\", held by\n      %d ", i, (int)children[i]);
        ck_assert(toy_says(link));
    }
    free(text);
    ring_end(count);
}
END_TEST

START_TEST(a_row_of_waiters_is_no_cycle)
{
    ring_make(3, -1);
    free(toy_explain());
    ck_assert_int_eq(toy_found("waiting"), 2);
    ck_assert_int_eq(toy_found("cycles"), 0);
    ring_end(3);
}
END_TEST

/* 0 waits for 1, 1 for 2, 2 for 1. */
START_TEST(one_who_waits_for_a_cycle_is_not_in_it)
{
    ring_make(3, 1);
    char *text = toy_explain();
    ck_assert_int_eq(toy_found("cycles"), 1);
    ck_assert_int_eq(cycle_lines(text), 3);
    ck_assert_ptr_null(strstr(strstr(text, "wait cycle:"), "ring-0"));
    free(text);
    ring_end(3);
}
END_TEST

START_TEST(two_cycles_are_two)
{
    mproc__segment *others[2];
    pid_t pids[2];
    ring_make(2, 0);
    for (int i = 0; i < 2; i++)
        others[i] = toy_make("other");
    for (int i = 0; i < 2; i++)
        pids[i] = toy_start((toy_child){.owns = others[i], .waits = others[1 - i]});
    free(toy_explain());
    ck_assert_int_eq(toy_found("cycles"), 2);
    for (int i = 0; i < 2; i++) {
        support_kill(pids[i]);
        mproc__segment_release(others[i]);
    }
    ring_end(2);
}
END_TEST

START_TEST(waiting_for_a_message_is_not_waiting_for_the_holder)
{
    mproc__segment *toy = toy_make("news");
    mproc__segment *lock = toy_make("lock");
    pid_t reader = toy_start((toy_child){.owns = lock, .waits = toy, .kind = MPROC__WAIT_NOTIFY});
    pid_t writer = toy_start((toy_child){.owns = toy, .waits = lock});
    free(toy_explain());
    ck_assert_int_eq(toy_found("waiting"), 2);
    ck_assert_int_eq(toy_found("cycles"), 0);
    support_kill(reader);
    support_kill(writer);
    mproc__segment_release(toy);
    mproc__segment_release(lock);
}
END_TEST

/* Known by its process only: it counts when it has one thread. */
START_TEST(a_process_of_one_thread_is_its_thread)
{
    ring_make(2, 0);
    atomic_store(&toy_of(ring[0])->owner_pid, children[0]);
    atomic_store(&toy_of(ring[0])->owner_tid, 0);
    free(toy_explain());
    ck_assert_int_eq(toy_found("cycles"), 1);
    ring_end(2);
}
END_TEST

static void *thread_waits(void *segment)
{
    int slot = mproc__waiting_begin(segment, MPROC__WAIT_ACQUIRE);
    atomic_store(&toy_of(segment)->ready, 1);
    while (atomic_load(&toy_of(segment)->ready) == 1)
        sched_yield();
    mproc__waiting_end(segment, slot);
    return NULL;
}

static bool is_ready(void *segment)
{
    return atomic_load(&toy_of(segment)->ready) == 1;
}

START_TEST(a_process_of_two_threads_is_not)
{
    pthread_t thread;
    ring[0] = toy_make("permits");
    atomic_store(&toy_of(ring[0])->owner_pid, getpid());
    ck_assert_int_eq(pthread_create(&thread, NULL, thread_waits, ring[0]), 0);
    ck_assert(support_until(is_ready, ring[0], 5000));
    free(toy_explain());
    ck_assert_int_eq(toy_found("waiting"), 1);
    ck_assert_int_eq(toy_found("cycles"), 0);
    atomic_store(&toy_of(ring[0])->ready, 2);
    pthread_join(thread, NULL);
    mproc__segment_release(ring[0]);
}
END_TEST

static int looks;

static void second_look_frees(void)
{
    if (++looks == 2)
        atomic_store(&toy_of(ring[0])->owner_tid, 0);
}

/* Two toys are two looks; then each is looked at again. */
START_TEST(a_cycle_that_is_gone_at_the_second_look_is_not_told)
{
    ring_make(2, 0);
    looks = 0;
    toy_on_explain = second_look_frees;
    free(toy_explain());
    toy_on_explain = NULL;
    ck_assert_int_ge(looks, 3);
    ck_assert_int_eq(toy_found("cycles"), 0);
    ring_end(2);
}
END_TEST

/* The same threads at the same toys, but one has waited anew. */
static void second_look_renews(void)
{
    if (++looks == 2)
        for (unsigned slot = 0; slot < MPROC__WAITERS; slot++)
            atomic_fetch_add(&ring[0]->shared->waiters[slot].since_ns, 1);
}

START_TEST(a_cycle_in_which_somebody_waits_anew_is_not_told)
{
    ring_make(2, 0);
    looks = 0;
    toy_on_explain = second_look_renews;
    free(toy_explain());
    toy_on_explain = NULL;
    ck_assert_int_ge(looks, 3);
    ck_assert_int_eq(toy_found("cycles"), 0);
    ring_end(2);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("explain_cycles");
    TCase *cycles = support_case(suite, "cycles");
    toy_register();
    tcase_add_loop_test(cycles, a_ring_of_waiters_is_told_once_and_whole, 0, RING_MAX);
    tcase_add_test(cycles, a_row_of_waiters_is_no_cycle);
    tcase_add_test(cycles, one_who_waits_for_a_cycle_is_not_in_it);
    tcase_add_test(cycles, two_cycles_are_two);
    tcase_add_test(cycles, waiting_for_a_message_is_not_waiting_for_the_holder);
    if (!SUPPORT_THREAD_SANITIZER) /* which makes it two */
        tcase_add_test(cycles, a_process_of_one_thread_is_its_thread);
    tcase_add_test(cycles, a_process_of_two_threads_is_not);
    tcase_add_test(cycles, a_cycle_that_is_gone_at_the_second_look_is_not_told);
    tcase_add_test(cycles, a_cycle_in_which_somebody_waits_anew_is_not_told);
    return support_run(suite, argc, argv);
}
