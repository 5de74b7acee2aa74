/* SPDX-License-Identifier: BSD-2-Clause */
/* Parties that die: waiting, before they come, in the action, before they go on. Loop tests run at home host and shm: a
 * thread's death is its process's. */
#include "platform/base.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "barrier_common.h"
#include "platform/platform.h"

enum { LIVE_MS = 250, DEATHS = 300 };
enum { HOST, SHM = 2 };

static const int homes[] = {HOST, SHM};

static bool in_live(int64_t since_ns)
{
    return atomic_load(&page->at_ns) - since_ns <= (int64_t)support_ms(LIVE_MS) * 1000000;
}

static int64_t killed(pid_t victim)
{
    int64_t now_ns = mproc__now_ns();
    support_kill(victim);
    return now_ns;
}

static int status_of(support_fn *fn)
{
    return support_reap(support_fork(fn, NULL), TEAM_LIMIT_MS);
}

static int joins_and_stays(void *unused)
{
    (void)unused;
    if (mproc_barrier_join(barrier) != 0)
        return 1;
    atomic_fetch_add(&page->ready, 1);
    for (;;)
        pause();
}

static int waits_for_ever(void *unused)
{
    (void)unused;
    return mproc_barrier_wait(barrier, MPROC_FOREVER, NULL) == 0 ? 0 : 1;
}

static int joins_and_waits(void *unused)
{
    return mproc_barrier_join(barrier) == 0 ? waits_once(unused) : 1;
}

static bool are_ready(void *count)
{
    return atomic_load(&page->ready) == *(unsigned *)count;
}

static pid_t start_joined(void)
{
    unsigned one = 1;
    page->ready = 0;
    pid_t pid = support_fork(joins_and_stays, NULL);
    ck_assert(support_until(are_ready, &one, TEAM_LIMIT_MS));
    return pid;
}

/* All of them heard of `victim`. */
static void all_were_told(unsigned count, pid_t victim)
{
    ck_assert_uint_eq(page->answers, count);
    ck_assert_uint_eq(answered(MPROC_EBROKEN), count);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(page->told_pid[i], victim);
}

static void is_broken_by(pid_t victim)
{
    int64_t pid = 0;
    ck_assert(broken_now());
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_FOREVER, NULL), MPROC_EBROKEN);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(barrier)), "died"));
    ck_assert_int_eq(mproc_error_number(mproc_error_of(barrier), MPROC_ERROR_PID, &pid), 0);
    ck_assert_int_eq(pid, victim);
}

/* Whatever happened, a reset makes it as new. */
static void is_usable_after_reset(void)
{
    ck_assert_int_eq(mproc_barrier_reset(barrier), 0);
    ck_assert(!broken_now());
    for (int round = 0; round < 3; round++)
        all_pass(HOST);
    ck_assert(!broken_now());
    ck_assert_uint_eq(arrived_now(), 0);
}

/* ---- waiting ---- */

START_TEST(a_party_killed_while_it_waits_breaks_it_for_all_at_once)
{
    team them;
    barrier_make(homes[_i / 2], PARTIES, NULL);
    pid_t victim = support_fork(_i % 2 ? joins_and_waits : waits_once, NULL);
    until_arrived(1);
    team_start(&them, HOST, PARTIES - 2, waits_once, NULL);
    until_arrived(PARTIES - 1);
    int64_t since_ns = killed(victim);
    team_end(&them);
    ck_assert(in_live(since_ns));
    all_were_told(PARTIES - 2, victim);
    is_broken_by(victim);
    is_usable_after_reset();
    barrier_drop();
}
END_TEST

START_TEST(two_parties_killed_at_once_break_it_once)
{
    team them;
    barrier_make(HOST, PARTIES, NULL);
    pid_t first = support_fork(waits_for_ever, NULL);
    pid_t second = support_fork(waits_for_ever, NULL);
    team_start(&them, HOST, 2, waits_once, NULL);
    until_arrived(4);
    kill(first, SIGKILL);
    kill(second, SIGKILL);
    team_end(&them);
    ck_assert_uint_eq(answered(MPROC_EBROKEN), 2);
    ck_assert(page->told_pid[0] == first || page->told_pid[0] == second);
    ck_assert_int_eq(page->told_pid[1], page->told_pid[0]);
    support_kill(first);
    support_kill(second);
    is_usable_after_reset();
    barrier_drop();
}
END_TEST

/* ---- before it came ---- */

START_TEST(a_joined_party_killed_before_it_comes_breaks_it_at_once_and_is_named)
{
    team them;
    barrier_make(homes[_i], PARTIES, NULL);
    pid_t victim = start_joined();
    team_start(&them, HOST, PARTIES - 1, waits_once, NULL);
    until_arrived(PARTIES - 1);
    int64_t since_ns = killed(victim);
    team_end(&them);
    ck_assert(in_live(since_ns));
    all_were_told(PARTIES - 1, victim);
    is_broken_by(victim);
    is_usable_after_reset();
    barrier_drop();
}
END_TEST

START_TEST(a_joined_party_killed_between_two_rounds_is_told_to_the_next_who_comes)
{
    barrier_make(homes[_i], PARTIES, NULL);
    all_pass(HOST);
    pid_t victim = start_joined();
    killed(victim);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_NOW, NULL), MPROC_EBROKEN);
    is_broken_by(victim);
    is_usable_after_reset();
    killed(start_joined());
    is_usable_after_reset(); /* a reset buries the dead itself */
    barrier_drop();
}
END_TEST

static int tries_and_dies(void *unused)
{
    (void)unused;
    if (mproc_barrier_wait(barrier, MPROC_NOW, NULL) == -ETIMEDOUT)
        raise(SIGKILL);
    return 1;
}

/* Nobody could know that it would have come. */
START_TEST(the_death_of_who_neither_joined_nor_came_breaks_nothing)
{
    team them;
    barrier_make(HOST, 2, NULL);
    ck_assert_int_eq(status_of(tries_and_dies), 256 + SIGKILL);
    ck_assert(!broken_now());
    ck_assert_int_eq(mproc_barrier_wait(barrier, mproc_after_ms(20), NULL), -ETIMEDOUT);
    ck_assert_int_eq(mproc_barrier_reset(barrier), 0);
    team_start(&them, HOST, 2, waits_once, NULL);
    team_end(&them);
    ck_assert_uint_eq(answered(0), 2);
    barrier_drop();
}
END_TEST

/* ---- in the action ---- */

static int dies_in_it(void *unused)
{
    (void)unused;
    if (atomic_load(&page->acted))
        return 0;
    atomic_store(&page->victim, getpid());
    atomic_store(&page->acted, 1);
    raise(SIGKILL);
    return 1;
}

START_TEST(a_party_killed_in_the_action_breaks_it_for_the_rest)
{
    pid_t pids[PARTIES];
    int dead = 0;
    barrier_make(HOST, PARTIES, MPROC_WITH(mproc_barrier_options, .action = dies_in_it));
    for (int i = 0; i < PARTIES; i++)
        pids[i] = support_fork(waits_once, NULL);
    for (int i = 0; i < PARTIES; i++) {
        int status = support_reap(pids[i], TEAM_LIMIT_MS);
        ck_assert_int_eq(status, pids[i] == page->victim ? 256 + SIGKILL : 0);
        dead += status != 0;
    }
    ck_assert_int_eq(dead, 1);
    all_were_told(PARTIES - 1, page->victim);
    is_broken_by(page->victim);
    is_usable_after_reset();
    barrier_drop();
}
END_TEST

/* ---- after the last one came ---- */

/* One party is stopped in its wait while the round becomes complete. */
static pid_t stop_one_released(support_fn *fn)
{
    pid_t victim = support_fork(fn, NULL);
    until_arrived(1);
    ck_assert(support_until_asleep(victim, TEAM_LIMIT_MS));
    kill(victim, SIGSTOP);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_FOREVER, NULL), 0);
    return victim;
}

START_TEST(a_death_after_the_last_came_breaks_nothing_and_the_next_round_begins)
{
    team them;
    barrier_make(homes[_i], 2, NULL);
    pid_t victim = stop_one_released(waits_once);
    team_start(&them, HOST, 2, waits_once, NULL); /* they wait for it to go */
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_NOW, NULL), -ETIMEDOUT);
    int64_t since_ns = killed(victim);
    team_end(&them);
    ck_assert(in_live(since_ns));
    ck_assert_uint_eq(answered(0), 2);
    ck_assert(!broken_now());
    barrier_drop();
}
END_TEST

START_TEST(a_joined_partys_death_after_the_last_came_breaks_the_next_round_only)
{
    team them;
    barrier_make(homes[_i], 2, NULL);
    pid_t victim = stop_one_released(joins_and_waits); /* and that one answered 0 */
    team_start(&them, HOST, 1, waits_once, NULL);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_NOW, NULL), -ETIMEDOUT);
    int64_t since_ns = killed(victim);
    team_end(&them);
    ck_assert(in_live(since_ns));
    all_were_told(1, victim);
    is_broken_by(victim);
    barrier_drop();
}
END_TEST

/* ---- joined ---- */

static int joins_and_dies(void *unused)
{
    (void)unused;
    if (mproc_barrier_join(barrier) == 0)
        raise(SIGKILL);
    return 1;
}

START_TEST(what_the_dead_had_is_given_back_after_hundreds_of_deaths)
{
    barrier_make(homes[_i], 2, NULL);
    for (int i = 0; i < DEATHS; i++) {
        bool waits = i % 3 == 0;
        pid_t victim = support_fork(waits ? waits_for_ever : joins_and_dies, NULL);
        if (waits) {
            until_arrived(1);
            support_kill(victim);
        } else {
            ck_assert_int_eq(support_reap(victim, TEAM_LIMIT_MS), 256 + SIGKILL);
        }
        ck_assert(broken_now());
        ck_assert_int_eq(mproc_barrier_reset(barrier), 0);
        ck_assert(!broken_now());
        ck_assert_uint_eq(arrived_now(), 0);
    }
    ck_assert_int_eq(mproc_barrier_join(barrier), 0);
    barrier_drop();
}
END_TEST

static int joins_and_closes(void *again)
{
    if (mproc_barrier_join(barrier) != 0 || (again && mproc_barrier_join(barrier) != 0))
        return 1;
    mproc_barrier_close(&barrier);
    return 0;
}

static int joins_and_exits(void *unused)
{
    (void)unused;
    return mproc_barrier_join(barrier) == 0 ? 0 : 1;
}

static int joins_and_execs(void *unused)
{
    (void)unused;
    if (mproc_barrier_join(barrier) == 0)
        execl("/bin/true", "true", (char *)NULL);
    return 1;
}

START_TEST(who_closes_is_no_party_any_more_and_who_ends_or_execs_without_breaks_it)
{
    barrier_make(homes[_i], 2, NULL);
    ck_assert_int_eq(support_reap(support_fork(joins_and_closes, NULL), TEAM_LIMIT_MS), 0);
    ck_assert_int_eq(support_reap(support_fork(joins_and_closes, page), TEAM_LIMIT_MS), 0);
    ck_assert(!broken_now());
    ck_assert_int_eq(status_of(joins_and_exits), 0);
    ck_assert(broken_now());
    ck_assert_int_eq(mproc_barrier_reset(barrier), 0);
    ck_assert_int_eq(status_of(joins_and_execs), 0);
    ck_assert(broken_now());
    barrier_drop();
}
END_TEST

static int does_nothing(void *unused)
{
    (void)unused;
    bool broken = true;
    return mproc_barrier_status(barrier, NULL, NULL, &broken) == 0 && !broken ? 0 : 1;
}

static int closes_only(void *unused)
{
    (void)unused;
    mproc_barrier_close(&barrier);
    return 0;
}

START_TEST(a_parents_join_is_not_its_childs)
{
    team them;
    barrier_make(HOST, 2, NULL);
    ck_assert_int_eq(mproc_barrier_join(barrier), 0);
    ck_assert_int_eq(status_of(does_nothing), 0);
    ck_assert_int_eq(status_of(closes_only), 0);
    ck_assert(!broken_now());
    ck_assert_int_eq(atomic_load(&barrier->shared->joined[mproc__segment_join(barrier->segment)]), 1);
    team_start(&them, HOST, 1, waits_once, NULL);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_FOREVER, NULL), 0);
    team_end(&them);
    barrier_drop();
}
END_TEST

static void *join_in_thread(void *unused)
{
    (void)unused;
    return mproc_barrier_join(barrier) == 0 ? NULL : page;
}

/* The thread that took the row ends in order; the process stays a party. */
static int joins_in_a_thread_that_ends(void *unused)
{
    pthread_t thread;
    void *failed = page;
    (void)unused;
    if (pthread_create(&thread, NULL, join_in_thread, NULL) != 0)
        return 1;
    pthread_join(thread, &failed);
    if (failed)
        return 2;
    atomic_fetch_add(&page->ready, 1);
    for (;;)
        pause();
}

START_TEST(a_process_whose_joining_thread_has_ended_is_a_party_until_it_dies)
{
    unsigned one = 1;
    team them;
    barrier_make(homes[_i], 2, NULL);
    pid_t victim = support_fork(joins_in_a_thread_that_ends, NULL);
    ck_assert(support_until(are_ready, &one, TEAM_LIMIT_MS));
    ck_assert(!broken_now());
    team_start(&them, HOST, 1, waits_once, NULL);
    until_arrived(1);
    int64_t since_ns = killed(victim);
    team_end(&them);
    ck_assert(in_live(since_ns));
    all_were_told(1, victim);
    barrier_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("barrier death");
    TCase *waiting = support_case(suite, "waiting");
    tcase_add_loop_test(waiting, a_party_killed_while_it_waits_breaks_it_for_all_at_once, 0, 4);
    tcase_add_test(waiting, two_parties_killed_at_once_break_it_once);
    TCase *before = support_case(suite, "before");
    tcase_add_loop_test(before, a_joined_party_killed_before_it_comes_breaks_it_at_once_and_is_named, 0, 2);
    tcase_add_loop_test(before, a_joined_party_killed_between_two_rounds_is_told_to_the_next_who_comes, 0, 2);
    tcase_add_test(before, the_death_of_who_neither_joined_nor_came_breaks_nothing);
    TCase *action = support_case(suite, "action");
    tcase_add_test(action, a_party_killed_in_the_action_breaks_it_for_the_rest);
    TCase *after = support_case(suite, "after");
    tcase_add_loop_test(after, a_death_after_the_last_came_breaks_nothing_and_the_next_round_begins, 0, 2);
    tcase_add_loop_test(after, a_joined_partys_death_after_the_last_came_breaks_the_next_round_only, 0, 2);
    TCase *joined = support_case(suite, "joined");
    tcase_add_loop_test(joined, what_the_dead_had_is_given_back_after_hundreds_of_deaths, 0, 2);
    tcase_add_loop_test(joined, who_closes_is_no_party_any_more_and_who_ends_or_execs_without_breaks_it, 0,
                        2);
    tcase_add_test(joined, a_parents_join_is_not_its_childs);
    tcase_add_loop_test(joined, a_process_whose_joining_thread_has_ended_is_a_party_until_it_dies, 0, 2);
    return support_run(suite, argc, argv);
}
