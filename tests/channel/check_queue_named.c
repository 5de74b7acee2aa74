/* SPDX-License-Identifier: BSD-2-Clause */
/* Queues in shm: places, and a program of its own, which knows nothing but their names: this one, run again as `peer`. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mproc/shm.h>
#include "channel/queue_common.h"
#include "shm/named_common.h"
#include "support/support.h"

#define PLACE     "shm:/check-queue"
#define FILE_NAME "check-queue%jobs"

enum { LARGE = 5000, LIMIT_MS = 10000 };

static mproc_place *place;
static mproc_queue *queue;

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

/* ---- the other program ---- */

/* Answers 0, or the line that is wrong. */
#define PEER(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            return __LINE__ % 251 + 1;                                                                       \
    } while (0)

static int peer_opens(void)
{
    PEER(mproc__place_shm(PLACE, NULL, &place) == 0);
    PEER(mproc_queue_open(place, "jobs", &queue) == 0);
    return 0;
}

/* What the test put, small, large and a variant; an answer to each. */
static int peer_answers(const char *unused)
{
    static uint8_t buffer[LARGE];
    size_t got;
    int64_t number;
    mproc_variant item;
    (void)unused;
    PEER(mproc_queue_get(queue, buffer, sizeof(buffer), soon(), &got) == 0 && got == 4);
    PEER(memcmp(buffer, "ping", 4) == 0);
    PEER(mproc_queue_get(queue, buffer, sizeof(buffer), soon(), &got) == 0 && got == LARGE);
    PEER(buffer[0] == 'x' && buffer[LARGE - 1] == 'x');
    PEER(mproc_queue_get_variant(queue, soon(), &item) == 0);
    PEER(mproc_variant_get_int(item, &number) == 0 && number == 7);
    PEER(mproc_queue_put_variant(queue, mproc_int(8), soon()) == 0);
    memset(buffer, 'y', LARGE);
    PEER(mproc_queue_put(queue, buffer, LARGE, soon()) == 0);
    return 0;
}

/* Asleep in a get when the test puts, or when it kills. */
static int peer_gets(const char *unused)
{
    char buffer[8];
    (void)unused;
    PEER(mproc_queue_get(queue, buffer, sizeof(buffer), mproc_after_ms(support_ms(8000)), NULL) == 0);
    return 0;
}

static int peer_dies_with_a_loan(const char *unused)
{
    mproc_loan loan = MPROC_LOAN_INIT, half = MPROC_LOAN_INIT;
    (void)unused;
    PEER(mproc_queue_take(queue, soon(), &loan) == 0 && loan.delivery == 1);
    PEER(mproc_queue_reserve(queue, LARGE, soon(), &half) == 0);
    kill(getpid(), SIGKILL);
    return 1;
}

static int peer_is_done_with(const char *id)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    loan.id = strtoull(id, NULL, 16);
    PEER(mproc_queue_done(queue, &loan) == 0);
    loan.id = strtoull(id, NULL, 16);
    PEER(mproc_queue_done(queue, &loan) == MPROC_ESTATE);
    return 0;
}

/* The creator of the queue, dead before anybody else came. */
static int peer_leaves_a_queue(const char *persist)
{
    mproc_place_close(&place);
    PEER(mproc__place_shm(PLACE, MPROC_WITH(mproc_place_options, .persist = persist[0] == 'p'), &place) == 0);
    PEER(mproc_queue_create(place, MPROC_WITH(mproc_queue_options, .name = "jobs"), &queue) == 0);
    PEER(mproc_queue_put(queue, "left", 4, MPROC_NOW) == 0);
    kill(getpid(), SIGKILL);
    return 1;
}

typedef struct errand {
    const char *name;
    int (*run)(const char *argument);
} errand;

static const errand errands[] = {
    {"answers", peer_answers},
    {"gets", peer_gets},
    {"dies with a loan", peer_dies_with_a_loan},
    {"is done with", peer_is_done_with},
    {"leaves a queue", peer_leaves_a_queue},
};

static int peer_main(const char *name, const char *argument)
{
    const errand *job = errands;
    while (strcmp(job->name, name) != 0)
        job++;
    int code = job->run == peer_leaves_a_queue ? 0 : peer_opens();
    if (code == 0)
        code = job->run(argument);
    mproc_queue_close(&queue);
    mproc_place_close(&place);
    return code;
}

typedef struct peer_call {
    const char *name, *argument;
} peer_call;

static int runs_peer(void *context)
{
    const peer_call *call = context;
    execl("/proc/self/exe", "peer", "peer", call->name, call->argument, (char *)NULL);
    return 251;
}

static pid_t peer_begin(const char *name, const char *argument)
{
    peer_call call = {name, argument};
    return support_fork(runs_peer, &call);
}

static int peer(const char *name, const char *argument)
{
    return support_reap(peer_begin(name, argument), LIMIT_MS);
}

/* ---- the tests ---- */

static void make(const mproc_queue_options *options)
{
    ck_assert_int_eq(mproc__place_shm(PLACE, NULL, &place), 0);
    int rc = mproc_queue_create(place, options, &queue);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
}

static void drop(void)
{
    mproc_queue_close(&queue);
    mproc_place_close(&place);
}

static size_t items(void)
{
    size_t count = 0;
    ck_assert_int_eq(mproc_queue_counts(queue, &count, NULL, NULL), 0);
    return count;
}

static size_t taken(void)
{
    size_t count = 0;
    ck_assert_int_eq(mproc_queue_counts(queue, NULL, &count, NULL), 0);
    return count;
}

START_TEST(a_program_that_knows_the_name_gets_and_puts)
{
    static uint8_t buffer[LARGE];
    mproc_variant item;
    int64_t number;
    size_t got;
    make(MPROC_WITH(mproc_queue_options, .name = "jobs", .redeliver = _i == 1));
    memset(buffer, 'x', LARGE);
    ck_assert_int_eq(mproc_queue_put(queue, "ping", 4, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_put(queue, buffer, LARGE, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_int(7), MPROC_NOW), 0);
    ck_assert_int_eq(peer("answers", NULL), 0);
    ck_assert_uint_eq(items(), 2);
    ck_assert_int_eq(mproc_queue_get_variant(queue, MPROC_NOW, &item), 0);
    ck_assert(mproc_variant_get_int(item, &number) == 0 && number == 8);
    ck_assert_int_eq(mproc_queue_get(queue, buffer, sizeof(buffer), MPROC_NOW, &got), 0);
    ck_assert(got == LARGE && buffer[0] == 'y' && buffer[LARGE - 1] == 'y');
    ck_assert_ptr_null(queue_verify(queue, 0));
    drop();
}
END_TEST

START_TEST(a_put_wakes_a_program_that_sleeps_in_a_get)
{
    make(MPROC_WITH(mproc_queue_options, .name = "jobs"));
    pid_t child = peer_begin("gets", NULL);
    ck_assert(support_until_asleep(child, LIMIT_MS));
    ck_assert_int_eq(mproc_queue_put(queue, "wake", 4, MPROC_NOW), 0);
    ck_assert_int_eq(support_reap(child, LIMIT_MS), 0);
    drop();
}
END_TEST

/* What an unrelated program had taken comes again, marked; what it had begun to write is room again. */
START_TEST(what_a_killed_program_had_taken_comes_again)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    make(MPROC_WITH(mproc_queue_options, .name = "jobs", .redeliver = true, .max_bytes = 16384));
    ck_assert_int_eq(mproc_queue_put(queue, "once", 4, MPROC_NOW), 0);
    ck_assert_int_eq(peer("dies with a loan", NULL), 256 + SIGKILL);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    ck_assert_uint_eq(loan.delivery, 2);
    ck_assert(loan.data_bytes == 4 && memcmp(loan.data, "once", 4) == 0);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    drop();
}
END_TEST

START_TEST(a_program_killed_in_its_sleep_takes_nothing_along)
{
    char buffer[8];
    make(MPROC_WITH(mproc_queue_options, .name = "jobs"));
    pid_t child = peer_begin("gets", NULL);
    ck_assert(support_until_asleep(child, LIMIT_MS));
    support_kill(child);
    ck_assert_int_eq(mproc_queue_put(queue, "mine", 4, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_get(queue, buffer, sizeof(buffer), MPROC_NOW, NULL), 0);
    ck_assert_mem_eq(buffer, "mine", 4);
    drop();
}
END_TEST

START_TEST(another_program_is_done_with_a_loan_by_its_id)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    char id[32];
    make(MPROC_WITH(mproc_queue_options, .name = "jobs", .redeliver = true));
    ck_assert_int_eq(mproc_queue_put(queue, "item", 4, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), 0);
    snprintf(id, sizeof(id), "%llx", (unsigned long long)loan.id);
    ck_assert_uint_eq(taken(), 1);
    ck_assert_int_eq(peer("is done with", id), 0);
    ck_assert_uint_eq(taken(), 0);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), MPROC_ESTATE);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    drop();
}
END_TEST

START_TEST(the_name_of_a_queue_goes_with_its_last_user)
{
    make(MPROC_WITH(mproc_queue_options, .name = "jobs"));
    ck_assert(named_exists(FILE_NAME));
    mproc_queue_close(&queue);
    ck_assert(!named_exists(FILE_NAME));
    ck_assert_int_eq(mproc_queue_open(place, "jobs", &queue), -ENOENT);
    mproc_place_close(&place);
}
END_TEST

START_TEST(the_queue_of_a_killed_program_is_cleaned_up_unless_it_is_to_stay)
{
    bool stays = _i == 1;
    char buffer[8];
    ck_assert_int_eq(mproc__place_shm(PLACE, NULL, &place), 0);
    ck_assert_int_eq(peer("leaves a queue", stays ? "persist" : "goes"), 256 + SIGKILL);
    ck_assert(named_exists(FILE_NAME));
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    ck_assert_int_eq(named_exists(FILE_NAME), stays);
    if (stays) {
        ck_assert_int_eq(mproc_queue_open(place, "jobs", &queue), 0);
        ck_assert_int_eq(mproc_queue_get(queue, buffer, sizeof(buffer), MPROC_NOW, NULL), 0);
        ck_assert_mem_eq(buffer, "left", 4);
        mproc_queue_close(&queue);
        ck_assert(named_exists(FILE_NAME));
        ck_assert_int_eq(mproc_place_unlink(place, "jobs"), 0);
    }
    mproc_place_close(&place);
}
END_TEST

START_TEST(one_name_is_one_queue_and_one_handle)
{
    mproc_queue *again = NULL, *taken_name = NULL;
    make(MPROC_WITH(mproc_queue_options, .name = "jobs", .max_items = 3));
    ck_assert_int_eq(mproc_queue_create(place, MPROC_WITH(mproc_queue_options, .name = "jobs"), &taken_name),
                     -EEXIST);
    ck_assert_ptr_null(taken_name);
    ck_assert_int_eq(
        mproc_queue_create(place, MPROC_WITH(mproc_queue_options, .name = "jobs", .and_open = true), &again),
        0);
    ck_assert_ptr_eq(again, queue);
    mproc_queue_close(&again);
    drop();
}
END_TEST

START_TEST(a_queue_without_a_name_has_one_of_its_own)
{
    char text[128];
    make(NULL);
    ck_assert_uint_eq(named_count("check-queue%mproc-"), 1);
    ck_assert_int_gt(mproc_describe(queue, text, sizeof(text)), 0);
    ck_assert_ptr_nonnull(strstr(text, "on shm"));
    drop();
    ck_assert_uint_eq(named_count("check-queue%"), 0);
}
END_TEST

START_TEST(what_is_no_queue_is_not_opened_as_one)
{
    mproc_shm *memory;
    ck_assert_int_eq(mproc__place_shm(PLACE, NULL, &place), 0);
    ck_assert_int_eq(mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = "jobs"), &memory), 0);
    ck_assert_int_eq(mproc_queue_open(place, "jobs", &queue), -EINVAL);
    mproc_shm_close(&memory);
    named_write(FILE_NAME, "garbage", 7);
    ck_assert_int_eq(mproc_queue_open(place, "jobs", &queue), MPROC_ECORRUPT);
    ck_assert_int_eq(mproc_queue_open(place, NULL, &queue), -EINVAL);
    ck_assert_int_eq(mproc_queue_open(place, "jobs", NULL), -EINVAL);
    ck_assert_int_eq(mproc_place_unlink(place, "jobs"), 0);
    ck_assert_ptr_null(queue);
    mproc_place_close(&place);
}
END_TEST

/* shows: MEM-1 */
START_TEST(a_full_directory_is_an_error_at_creation_and_never_a_signal)
{
    static uint8_t buffer[LARGE];
    if (!named_own_directory("size=1m")) {
        named_skipped("a /dev/shm of 1 MiB");
        return;
    }
    ck_assert_int_eq(mproc__place_shm(PLACE, NULL, &place), 0);
    ck_assert_int_eq(mproc_queue_create(place,
                                        MPROC_WITH(mproc_queue_options, .name = "jobs", .max_bytes = 1 << 20),
                                        &queue),
                     -ENOSPC);
    ck_assert_ptr_null(queue);
    ck_assert_uint_eq(named_count("check-queue%"), 0);
    mproc_place_close(&place);
    make(MPROC_WITH(mproc_queue_options, .name = "jobs", .max_bytes = 100000));
    size_t count = 0;
    while (mproc_queue_put(queue, buffer, _i ? 100 : LARGE, MPROC_NOW) == 0)
        count++;
    ck_assert_uint_eq(items(), count);
    ck_assert_uint_ge(count * (_i ? 100 : LARGE), 90000);
    while (mproc_queue_get(queue, buffer, sizeof(buffer), MPROC_NOW, NULL) == 0)
        count--;
    ck_assert_uint_eq(count, 0);
    drop();
}
END_TEST

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "peer") == 0)
        return peer_main(argv[2], argc > 3 ? argv[3] : NULL);
    Suite *suite = suite_create("queue_named");
    TCase *programs = support_case(suite, "programs");
    tcase_add_loop_test(programs, a_program_that_knows_the_name_gets_and_puts, 0, 2);
    tcase_add_test(programs, a_put_wakes_a_program_that_sleeps_in_a_get);
    tcase_add_test(programs, what_a_killed_program_had_taken_comes_again);
    tcase_add_test(programs, a_program_killed_in_its_sleep_takes_nothing_along);
    tcase_add_test(programs, another_program_is_done_with_a_loan_by_its_id);
    TCase *names = support_case(suite, "names");
    tcase_add_test(names, the_name_of_a_queue_goes_with_its_last_user);
    tcase_add_loop_test(names, the_queue_of_a_killed_program_is_cleaned_up_unless_it_is_to_stay, 0, 2);
    tcase_add_test(names, one_name_is_one_queue_and_one_handle);
    tcase_add_test(names, a_queue_without_a_name_has_one_of_its_own);
    tcase_add_test(names, what_is_no_queue_is_not_opened_as_one);
    tcase_add_loop_test(names, a_full_directory_is_an_error_at_creation_and_never_a_signal, 0, 2);
    return support_run(suite, argc, argv);
}
