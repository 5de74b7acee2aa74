/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays in shm: places, and a program of its own, which knows nothing but their names: this one, run again as `peer`. */
#include "platform/base.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "sync/array_common.h"

typedef struct reading {
    double value;
    char unit[8];
} reading;

/* ---- the other program ---- */

/* Answers 0, or the line that is wrong. */
#define PEER(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            return __LINE__ % 251 + 1;                                                                       \
    } while (0)

static int peer_adds(void)
{
    PEER(mproc_array_open(place, "total", &array) == 0);
    PEER(mproc_array_item(array) == MPROC_ITEM_INT64 && mproc_array_count(array) == 2);
    PEER(mproc_array_add_int(array, 0, 40, NULL) == 0);
    PEER(mproc_lock_acquire(mproc_array_lock(array), MPROC_NOW) == -ETIMEDOUT); /* the test holds it */
    return 0;
}

static int peer_reads_structs(void)
{
    PEER(mproc_array_open(place, "readings", &array) == 0);
    PEER(mproc_array_item_bytes(array) == sizeof(reading) && mproc_array_count(array) == 2);
    reading *readings = mproc_array_data(array);
    PEER(readings[1].value == 2.5 && strcmp(readings[1].unit, "V") == 0);
    readings[0] = (reading){7.5, "A"};
    return 0;
}

/* A name leads to the array, not to a lock that one of its handles was given. */
static int peer_gives_the_same_lock(void)
{
    mproc_lock *lock;
    PEER(mproc_array_open(place, "guarded", &array) == 0);
    PEER(!mproc_array_lock(array) && mproc_error_code(mproc_last_error()) == MPROC_ESTATE);
    PEER(mproc_lock_open(place, "guard", &lock) == 0);
    PEER(mproc_array_set_lock(array, lock) == 0);
    mproc_lock_close(&lock);
    PEER(mproc_lock_acquire(mproc_array_lock(array), MPROC_NOW) == -ETIMEDOUT); /* the test holds it */
    return 0;
}

static int peer_dies_with_the_lock(void)
{
    PEER(mproc_array_open(place, "total", &array) == 0);
    PEER(mproc_lock_acquire(mproc_array_lock(array), MPROC_NOW) == 0);
    kill(getpid(), SIGKILL);
    return 1;
}

static int (*const errands[])(void) = {peer_adds, peer_reads_structs, peer_gives_the_same_lock,
                                       peer_dies_with_the_lock};
enum { ADDS, READS_STRUCTS, GIVES_THE_SAME_LOCK, DIES_WITH_THE_LOCK };

static int peer_main(const char *which)
{
    int code = mproc__place_shm("shm:/check-array", NULL, &place) < 0 ? 250 : errands[which[0] - '0']();
    mproc_array_close(&array);
    mproc_place_close(&place);
    return code;
}

static int runs_peer(void *which)
{
    char letter[2] = {(char)('0' + *(int *)which), '\0'};
    execl("/proc/self/exe", "peer", "peer", letter, (char *)NULL);
    return 251;
}

static int peer(int which)
{
    return support_reap(support_fork(runs_peer, &which), 10000);
}

/* ---- the tests ---- */

START_TEST(a_value_is_added_to_by_a_program_that_knows_its_name)
{
    int64_t seen;
    array_make(2, MPROC_ITEM_INT64, 2, MPROC_WITH(mproc_array_options, .name = "total"));
    ck_assert_int_eq(mproc_array_add_int(array, 0, 2, NULL), 0);
    ck_assert_int_eq(mproc_lock_acquire(mproc_array_lock(array), MPROC_NOW), 0);
    ck_assert_int_eq(peer(ADDS), 0);
    ck_assert_int_eq(mproc_lock_release(mproc_array_lock(array)), 0);
    ck_assert(mproc_array_get_int(array, 0, &seen) == 0 && seen == 42);
    ck_assert(mproc_array_get_int(array, 1, &seen) == 0 && seen == 0);
    array_drop();
}
END_TEST

START_TEST(structs_are_shared_with_a_program_that_knows_their_name)
{
    const reading two[] = {{1.5, "V"}, {2.5, "V"}};
    array_make(
        2, MPROC_ITEM_BYTES, 2,
        MPROC_WITH(mproc_array_options, .name = "readings", .item_bytes = sizeof(reading), .initial = two));
    ck_assert_int_eq(peer(READS_STRUCTS), 0);
    const reading *readings = mproc_array_data(array);
    ck_assert(readings[0].value == 7.5 && readings[1].value == 2.5);
    ck_assert_str_eq(readings[0].unit, "A");
    array_drop();
}
END_TEST

START_TEST(a_given_lock_guards_a_named_array_in_every_program_that_gives_it_the_same)
{
    mproc_lock *lock;
    mproc_array *refused = NULL;
    place_make(2);
    ck_assert_int_eq(mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "guard"), &lock), 0);
    array_make(2, MPROC_ITEM_DOUBLE, 3, MPROC_WITH(mproc_array_options, .name = "guarded", .lock = lock));
    ck_assert_ptr_eq(mproc_array_lock(array), lock);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(peer(GIVES_THE_SAME_LOCK), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    mproc_place *threads;
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &threads), 0);
    ck_assert_int_eq(mproc_array_create(threads, MPROC_ITEM_INT8, 1,
                                        MPROC_WITH(mproc_array_options, .lock = lock), &refused),
                     -EINVAL);
    ck_assert_ptr_null(refused);
    mproc_place_close(&threads);
    mproc_lock_close(&lock);
    array_drop();
}
END_TEST

START_TEST(a_program_that_died_with_the_lock_is_told_of)
{
    array_make(2, MPROC_ITEM_INT64, 2, MPROC_WITH(mproc_array_options, .name = "total"));
    ck_assert_int_eq(peer(DIES_WITH_THE_LOCK), 256 + SIGKILL);
    ck_assert_int_eq(mproc_lock_acquire(mproc_array_lock(array), mproc_after_ms(support_ms(5000))),
                     MPROC_RECOVERED);
    ck_assert_int_eq(mproc_lock_release(mproc_array_lock(array)), 0);
    array_drop();
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "peer") == 0)
        return peer_main(argv[2]);
    Suite *suite = suite_create("array_named");
    TCase *programs = support_case(suite, "programs");
    tcase_add_test(programs, a_value_is_added_to_by_a_program_that_knows_its_name);
    tcase_add_test(programs, structs_are_shared_with_a_program_that_knows_their_name);
    tcase_add_test(programs, a_given_lock_guards_a_named_array_in_every_program_that_gives_it_the_same);
    tcase_add_test(programs, a_program_that_died_with_the_lock_is_told_of);
    return support_run(suite, argc, argv);
}
