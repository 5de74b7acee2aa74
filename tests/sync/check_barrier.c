/* SPDX-License-Identifier: BSD-2-Clause */
/* Barriers of this host, while everybody lives. Loop tests run once for each home: 0 host, 1 thread, 2 shm
 * (where no action can be). */
#include "platform/base.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "barrier_common.h"
#include "data/parcel.h"
#include "platform/platform.h"

enum { LATE_MS = 250 };

/* ---- rounds ---- */

/* A party that is through round r finds that all came to it, and that nobody came to the round after the next: for that,
 * this one would have had to come to the next. */
static int keeps_step(void *rounds)
{
    for (unsigned r = 0; r < *(unsigned *)rounds; r++) {
        unsigned index = 99;
        atomic_fetch_add(&page->arrived[r], 1);
        if (mproc_barrier_wait(barrier, MPROC_FOREVER, &index) != 0)
            return 1;
        if (atomic_load(&page->arrived[r]) != PARTIES || atomic_load(&page->arrived[r + 2]) != 0)
            return 2;
        if (index >= PARTIES || (atomic_fetch_or(&page->indexes[r], 1u << index) & 1u << index))
            return 3;
    }
    return 0;
}

/* shows: SYNC-29 SYNC-30 */
START_TEST(five_parties_keep_in_step_and_get_an_index_each)
{
    static const unsigned lengths[] = {1, 10, 1000};
    unsigned rounds = lengths[_i / 3];
    team them;
    barrier_make(_i % 3, PARTIES, NULL);
    team_start(&them, _i % 3, PARTIES - 1, keeps_step, &rounds);
    ck_assert_int_eq(keeps_step(&rounds), 0);
    team_end(&them);
    for (unsigned r = 0; r < rounds; r++)
        ck_assert_uint_eq(page->indexes[r], (1u << PARTIES) - 1);
    ck_assert_uint_eq(arrived_now(), 0);
    ck_assert(!broken_now());
    barrier_drop();
}
END_TEST

/* The state of a process that is stopped between its release and its going. */
static void stop_one_released(team *them, int *ret_victim)
{
    team_start(them, 0, 1, waits_once, NULL);
    until_arrived(1);
    ck_assert(support_until_asleep(them->pid[0], TEAM_LIMIT_MS));
    kill(them->pid[0], SIGSTOP);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_FOREVER, NULL), 0);
    *ret_victim = them->pid[0];
}

START_TEST(a_fast_party_cannot_lap_a_stopped_one_and_its_deadline_holds)
{
    team them;
    int victim;
    barrier_make(0, 2, NULL);
    stop_one_released(&them, &victim);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_NOW, NULL), -ETIMEDOUT);
    ck_assert(!broken_now());
    ck_assert_int_eq(mproc_barrier_wait(barrier, mproc_after_ms(20), NULL), -ETIMEDOUT);
    ck_assert(broken_now());
    kill(victim, SIGCONT);
    team_end(&them);
    ck_assert_uint_eq(answered(0), 1); /* its round was complete */
    ck_assert_int_eq(mproc_barrier_reset(barrier), 0);
    ck_assert(!broken_now());
    team_start(&them, 0, 1, waits_once, NULL);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_FOREVER, NULL), 0);
    team_end(&them);
    barrier_drop();
}
END_TEST

START_TEST(one_party_too_many_waits_for_the_next_round)
{
    team them;
    barrier_make(_i, 2, NULL);
    team_start(&them, _i, 4, waits_once, NULL);
    team_end(&them);
    ck_assert_uint_eq(answered(0), 4);
    barrier_drop();
}
END_TEST

/* ---- the action ---- */

static int count_up(void *step)
{
    (void)step;
    atomic_fetch_add(&page->acted, 1);
    return atomic_load(&page->action_code);
}

static int acted_in_step(void *rounds)
{
    for (unsigned r = 0; r < *(unsigned *)rounds; r++) {
        if (mproc_barrier_wait(barrier, MPROC_FOREVER, NULL) != 0)
            return 1;
        /* The action of the next round needs this party. */
        if (atomic_load(&page->acted) != r + 1)
            return 2;
    }
    return 0;
}

START_TEST(the_action_runs_once_a_round_before_anybody_goes_on)
{
    unsigned rounds = 100;
    team them;
    barrier_make(_i, PARTIES, MPROC_WITH(mproc_barrier_options, .action = count_up));
    team_start(&them, _i, PARTIES - 1, acted_in_step, &rounds);
    ck_assert_int_eq(acted_in_step(&rounds), 0);
    team_end(&them);
    ck_assert_uint_eq(page->acted, rounds);
    barrier_drop();
}
END_TEST

/* shows: SYNC-31 */
START_TEST(the_action_runs_in_one_party_and_its_failure_is_that_ones_and_broken_for_the_rest)
{
    static const int codes[] = {-EIO, 7};
    unsigned rounds = 3;
    int code = codes[_i / 2];
    team them;
    barrier_make(_i % 2, PARTIES, MPROC_WITH(mproc_barrier_options, .action = count_up));
    team_start(&them, _i % 2, PARTIES - 1, acted_in_step, &rounds);
    ck_assert_int_eq(acted_in_step(&rounds), 0);
    team_end(&them);
    ck_assert_uint_eq(page->acted, rounds);
    atomic_store(&page->action_code, code);
    team_start(&them, _i % 2, PARTIES, waits_once, NULL);
    team_end(&them);
    ck_assert_uint_eq(page->acted, rounds + 1);
    ck_assert_uint_eq(answered(code < 0 ? code : -ECANCELED), 1);
    ck_assert_uint_eq(answered(MPROC_EBROKEN), PARTIES - 1);
    ck_assert(broken_now());
    atomic_store(&page->action_code, 0);
    ck_assert_int_eq(mproc_barrier_reset(barrier), 0);
    page->answers = 0;
    team_start(&them, _i % 2, PARTIES, waits_once, NULL);
    team_end(&them);
    ck_assert_uint_eq(answered(0), PARTIES);
    barrier_drop();
}
END_TEST

START_TEST(a_barrier_for_other_programs_has_no_action)
{
    mproc_barrier *none = NULL;
    mproc_place *files;
    ck_assert_int_eq(mproc__place_shm("shm:/check-barrier", NULL, &files), 0);
    ck_assert_int_eq(
        mproc_barrier_create(files, 2, MPROC_WITH(mproc_barrier_options, .action = count_up), &none),
        MPROC_EPLACE);
    ck_assert_ptr_null(none);
    mproc_place_close(&files);
}
END_TEST

START_TEST(a_barrier_with_an_action_is_not_given_to_other_programs)
{
    mproc_variant list = mproc_null();
    mproc__parcel parcel = {0};
    barrier_make(_i, 2, MPROC_WITH(mproc_barrier_options, .action = count_up));
    ck_assert_int_eq(mproc_variant_append(&list, mproc_handle(barrier)), 0);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, list), MPROC_ECANNOTCROSS);
    mproc__parcel_clear(&parcel, false);
    mproc_variant_clear(&list);
    barrier_drop();
}
END_TEST

/* ---- breaking ---- */

/* shows: SYNC-32 */
START_TEST(abort_breaks_it_for_present_and_future_waits)
{
    team them;
    barrier_make(_i, PARTIES, NULL);
    team_start(&them, _i, PARTIES - 1, waits_once, NULL);
    until_arrived(PARTIES - 1);
    ck_assert_int_eq(mproc_barrier_abort(barrier), 0);
    team_end(&them);
    ck_assert_uint_eq(answered(MPROC_EBROKEN), PARTIES - 1);
    for (int i = 0; i < PARTIES - 1; i++)
        ck_assert_int_eq(page->told_pid[i], getpid());
    ck_assert(broken_now());
    ck_assert_uint_eq(arrived_now(), 0);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_FOREVER, NULL), MPROC_EBROKEN);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_NOW, NULL), MPROC_EBROKEN);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(barrier)), "aborted"));
    ck_assert_int_eq(mproc_barrier_abort(barrier), 0);
    barrier_drop();
}
END_TEST

/* shows: SYNC-33 */
START_TEST(reset_releases_present_waits_as_broken_and_leaves_it_usable_also_after_abort)
{
    team them;
    barrier_make(_i, PARTIES, NULL);
    ck_assert_int_eq(mproc_barrier_reset(barrier), 0); /* of nobody: nothing */
    all_pass(_i);
    for (int aborted = 0; aborted < 2; aborted++) {
        page->answers = 0;
        team_start(&them, _i, PARTIES - 2, waits_once, NULL);
        until_arrived(PARTIES - 2);
        if (aborted)
            ck_assert_int_eq(mproc_barrier_abort(barrier), 0);
        ck_assert_int_eq(mproc_barrier_reset(barrier), 0);
        ck_assert(!broken_now());
        team_end(&them);
        ck_assert_uint_eq(answered(MPROC_EBROKEN), PARTIES - 2);
        all_pass(_i);
        ck_assert(!broken_now());
    }
    barrier_drop();
}
END_TEST

static void time_out(int home, int limit_ms)
{
    team them;
    page->answers = 0;
    team_start(&them, home, 3, waits_once, NULL);
    until_arrived(3);
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_barrier_wait(barrier, mproc_after_ms(limit_ms), NULL), -ETIMEDOUT);
    int64_t took = mproc__now_ns() - start;
    team_end(&them);
    ck_assert_int_ge(took, (int64_t)limit_ms * 1000000);
    ck_assert_int_lt(took, (int64_t)(limit_ms + support_ms(LATE_MS)) * 1000000);
    ck_assert_uint_eq(answered(MPROC_EBROKEN), 3);
    ck_assert(broken_now());
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_FOREVER, NULL), MPROC_EBROKEN);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(barrier)), "deadline"));
}

/* shows: SYNC-34 */
START_TEST(a_wait_that_times_out_breaks_it_for_all_and_an_own_deadline_overrides_the_default)
{
    enum { DEFAULT_MS = 2000 };
    team them;
    barrier_make(_i, PARTIES, MPROC_WITH(mproc_barrier_options, .timeout_ms = DEFAULT_MS));
    time_out(_i, 50); /* own, shorter */
    ck_assert_int_eq(mproc_barrier_reset(barrier), 0);
    all_pass(_i);
    page->answers = 0;
    int64_t start = mproc__now_ns();
    mproc_deadline longer = mproc_after_ms(60000);
    team_start(&them, _i, 2, waits_once, &longer);
    until_arrived(2);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_FOREVER, NULL), -ETIMEDOUT);
    team_end(&them);
    int64_t took = mproc__now_ns() - start;
    ck_assert_int_ge(took, DEFAULT_MS * INT64_C(1000000));
    ck_assert_int_lt(took, (DEFAULT_MS + support_ms(2000)) * INT64_C(1000000));
    ck_assert_uint_eq(answered(MPROC_EBROKEN), 2); /* they had an own, longer one */
    barrier_drop();
}
END_TEST

START_TEST(a_try_passes_as_the_last_and_has_no_effect_else)
{
    team them;
    barrier_make(_i, 2, NULL);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_NOW, NULL), -ETIMEDOUT);
    ck_assert_int_eq(mproc_barrier_wait(barrier, mproc_after_ms(-3), NULL), -ETIMEDOUT);
    ck_assert(!broken_now());
    ck_assert_uint_eq(arrived_now(), 0);
    team_start(&them, _i, 1, waits_once, NULL);
    until_arrived(1);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_NOW, NULL), 0);
    team_end(&them);
    ck_assert_uint_eq(answered(0), 1);
    barrier_drop();
}
END_TEST

/* ---- the rest ---- */

/* shows: SYNC-35 */
START_TEST(one_party_passes_alone_and_counts_can_be_asked)
{
    unsigned index;
    unsigned parties = 0;
    bool broken = true;
    team them;
    mproc_barrier *none = NULL;
    ck_assert_int_eq(mproc_barrier_create(place, 0, NULL, &none), -EINVAL);
    ck_assert_ptr_null(none);
    barrier_make(_i, 1, NULL);
    for (int i = 0; i < 10; i++) {
        index = 9;
        ck_assert_int_eq(mproc_barrier_wait(barrier, i % 2 ? MPROC_NOW : MPROC_FOREVER, &index), 0);
        ck_assert_uint_eq(index, 0);
    }
    barrier_drop();
    barrier_make(_i, 3, NULL);
    team_start(&them, _i, 2, waits_once, NULL);
    until_arrived(2);
    ck_assert_int_eq(mproc_barrier_status(barrier, &parties, NULL, &broken), 0);
    ck_assert_uint_eq(parties, 3);
    ck_assert(!broken);
    ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_FOREVER, NULL), 0);
    team_end(&them);
    ck_assert_uint_eq(arrived_now(), 0);
    barrier_drop();
}
END_TEST

START_TEST(bad_input_is_refused_without_effect)
{
    mproc_barrier *none = NULL;
    ck_assert_int_eq(mproc_barrier_create(NULL, 2, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_barrier_create(NULL, 65537, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_barrier_create(NULL, (unsigned)-1, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_barrier_create((mproc_place *)&none, 2, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_barrier_create(NULL, 2, &(mproc_barrier_options){.size = 5}, &none), -EINVAL);
    ck_assert_int_eq(mproc_barrier_open(NULL, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_barrier_open(NULL, "nobody", &none), -ENOENT);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(mproc_barrier_wait(NULL, MPROC_NOW, NULL), -EINVAL);
    ck_assert_int_eq(mproc_barrier_join(NULL), -EINVAL);
    ck_assert_int_eq(mproc_barrier_abort(NULL), -EINVAL);
    ck_assert_int_eq(mproc_barrier_reset(NULL), -EINVAL);
    ck_assert_int_eq(mproc_barrier_status(NULL, NULL, NULL, NULL), -EINVAL);
    mproc_barrier_close(&none);
    mproc_barrier_close(NULL);
    ck_assert_int_eq(mproc_barrier_create(NULL, 65536, NULL, &none), 0);
    ck_assert_int_eq(mproc_barrier_wait(none, mproc_after_ms(1), NULL), -ETIMEDOUT);
    mproc_barrier_close(&none);
}
END_TEST

START_TEST(a_named_one_is_found_and_described)
{
    char text[200];
    mproc_barrier *found;
    mproc_barrier *again;
    barrier_make(_i, 3, MPROC_WITH(mproc_barrier_options, .name = "together"));
    ck_assert_int_eq(mproc_barrier_open(place, "together", &found), 0);
    ck_assert_int_eq(
        mproc_barrier_create(place, 3, MPROC_WITH(mproc_barrier_options, .name = "together"), &again),
        -EEXIST);
    ck_assert_int_eq(
        mproc_barrier_create(place, 9,
                             MPROC_WITH(mproc_barrier_options, .name = "together", .and_open = true), &again),
        0);
    ck_assert_int_gt(mproc_describe(found, text, sizeof(text)), 0);
    ck_assert_ptr_nonnull(strstr(text, "together"));
    ck_assert_ptr_nonnull(strstr(text, "0 of 3"));
    mproc_barrier_close(&found);
    mproc_barrier_close(&again);
    barrier_drop();
}
END_TEST

static int all_answer_child(void *unused)
{
    (void)unused;
    if (mproc_barrier_wait(barrier, MPROC_NOW, NULL) != -ECHILD || mproc_barrier_join(barrier) != -ECHILD)
        return 1;
    if (mproc_barrier_abort(barrier) != -ECHILD || mproc_barrier_reset(barrier) != -ECHILD)
        return 2;
    return mproc_barrier_status(barrier, NULL, NULL, NULL) == -ECHILD ? 0 : 3;
}

START_TEST(a_thread_barrier_answers_echild_in_a_fork_child)
{
    barrier_make(1, 2, NULL);
    ck_assert_int_eq(support_reap(support_fork(all_answer_child, NULL), TEAM_LIMIT_MS), 0);
    barrier_drop();
}
END_TEST

START_TEST(a_phase_that_is_none_is_told)
{
    barrier_make(_i, 2, NULL);
    for (uint64_t phase = MPROC__BARRIER_RESETTING + 1; phase < 8; phase++) {
        atomic_store(&barrier->shared->state, phase);
        ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_FOREVER, NULL), MPROC_ECORRUPT);
        ck_assert_int_eq(mproc_barrier_wait(barrier, MPROC_NOW, NULL), MPROC_ECORRUPT);
    }
    barrier_drop();
}
END_TEST

static void *waits_on(void *handle)
{
    return mproc_barrier_wait(handle, MPROC_FOREVER, NULL) == MPROC_EBROKEN ? NULL : handle;
}

START_TEST(closing_it_while_another_thread_waits_does_no_harm)
{
    pthread_t thread;
    void *failed;
    mproc_barrier *other;
    barrier_make(_i, 2, MPROC_WITH(mproc_barrier_options, .name = "together"));
    ck_assert_int_eq(mproc_barrier_open(place, "together", &other), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, waits_on, other), 0);
    until_arrived(1);
    mproc_barrier_close(&other);
    ck_assert_int_eq(mproc_barrier_abort(barrier), 0);
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    barrier_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("barrier");
    TCase *rounds = support_case(suite, "rounds");
    tcase_add_loop_test(rounds, five_parties_keep_in_step_and_get_an_index_each, 0, 9);
    tcase_add_test(rounds, a_fast_party_cannot_lap_a_stopped_one_and_its_deadline_holds);
    tcase_add_loop_test(rounds, one_party_too_many_waits_for_the_next_round, 0, 3);
    TCase *action = support_case(suite, "action");
    tcase_add_loop_test(action, the_action_runs_once_a_round_before_anybody_goes_on, 0, 2);
    tcase_add_loop_test(
        action, the_action_runs_in_one_party_and_its_failure_is_that_ones_and_broken_for_the_rest, 0, 4);
    tcase_add_loop_test(action, a_barrier_with_an_action_is_not_given_to_other_programs, 0, 2);
    tcase_add_test(action, a_barrier_for_other_programs_has_no_action);
    TCase *breaking = support_case(suite, "breaking");
    tcase_add_loop_test(breaking, abort_breaks_it_for_present_and_future_waits, 0, 3);
    tcase_add_loop_test(breaking,
                        reset_releases_present_waits_as_broken_and_leaves_it_usable_also_after_abort, 0, 3);
    tcase_add_loop_test(
        breaking, a_wait_that_times_out_breaks_it_for_all_and_an_own_deadline_overrides_the_default, 0, 3);
    tcase_add_loop_test(breaking, a_try_passes_as_the_last_and_has_no_effect_else, 0, 3);
    TCase *rest = support_case(suite, "the rest");
    tcase_add_loop_test(rest, one_party_passes_alone_and_counts_can_be_asked, 0, 3);
    tcase_add_test(rest, bad_input_is_refused_without_effect);
    tcase_add_loop_test(rest, a_named_one_is_found_and_described, 0, 3);
    tcase_add_loop_test(rest, a_phase_that_is_none_is_told, 0, 3);
    tcase_add_test(rest, a_thread_barrier_answers_echild_in_a_fork_child);
    tcase_add_loop_test(rest, closing_it_while_another_thread_waits_does_no_harm, 0, 3);
    return support_run(suite, argc, argv);
}
