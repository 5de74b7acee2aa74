/* SPDX-License-Identifier: BSD-2-Clause */
/* Shareable lists. Loop tests run once for each home: 0 host, 1 thread, 2 shm. */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc/call.h>
#include "data/parcel.h"
#include "platform/platform.h"
#include "shm/shm_list_common.h"

/* The reference's own example, with an int64 at each end of its range. */
enum { BASICS_COUNT = 8 };

static void basics_make(mproc_variant ret_values[BASICS_COUNT])
{
    ret_values[0] = mproc_text("howdy");
    ret_values[1] = mproc_bytes("HoWdY", 5);
    ret_values[2] = mproc_double(-273.154);
    ret_values[3] = mproc_int(INT64_MIN);
    ret_values[4] = mproc_null();
    ret_values[5] = mproc_bool(true);
    ret_values[6] = mproc_bool(false);
    ret_values[7] = mproc_int(INT64_MAX);
}

/* ---- what it holds ---- */

/* shows: SLIST-01 */
START_TEST(every_slot_reads_back_with_its_type_and_value)
{
    mproc_variant basics[BASICS_COUNT], all;
    basics_make(basics);
    mproc_variant expected = mproc_items(basics, BASICS_COUNT);
    list_make(_i, expected, NULL);
    ck_assert_uint_eq(mproc_shm_list_count(list), BASICS_COUNT);
    for (int64_t i = 0; i < BASICS_COUNT; i++)
        ck_assert(holds(list, i, mproc_variant_at(expected, (size_t)i)));
    ck_assert_int_eq(mproc_shm_list_values(list, &all), 0);
    ck_assert(mproc_variant_equal(all, expected));
    ck_assert_int_eq(set(0, mproc_int(1)), 0);
    ck_assert_uint_eq(mproc_shm_list_count(list), BASICS_COUNT);
    mproc_variant_clear(&all);
    list_drop();
}
END_TEST

/* shows: SLIST-02 */
START_TEST(outside_the_list_is_an_error_and_negative_positions_count_from_the_end)
{
    mproc_variant seen = mproc_int(99);
    const int64_t outside[] = {3, 4, -4, -5, -6, -7, INT64_MAX, INT64_MIN};
    list_make(_i, MPROC_ARGS(10, 11, 12), NULL);
    ck_assert(holds(list, -1, mproc_int(12)) && holds(list, -2, mproc_int(11)) &&
              holds(list, -3, mproc_int(10)));
    ck_assert_int_eq(set(-3, mproc_int(20)), 0);
    ck_assert(holds(list, 0, mproc_int(20)));
    for (size_t i = 0; i < MPROC__COUNT(outside); i++) {
        ck_assert_int_eq(mproc_shm_list_get(list, outside[i], &seen), MPROC_EKEY);
        ck_assert_int_eq(set(outside[i], mproc_int(5)), MPROC_EKEY);
    }
    ck_assert_int_eq(seen.number, 99);
    ck_assert(holds(list, 0, mproc_int(20)) && holds(list, 1, mproc_int(11)) &&
              holds(list, 2, mproc_int(12)));
    list_drop();
}
END_TEST

/* shows: SLIST-03 */
START_TEST(a_slot_changes_its_type_within_its_room_and_a_refused_store_changes_nothing)
{
    const char *const fits[] = {"1", "12345678", "1234567\xc3\xa9", "123456789012345", "1234567890123456"};
    list_make(_i, MPROC_ARGS("1234567", 1, "12345678", mproc_bytes("12345678", 8), ""), NULL);
    /* Slots of 8, 8, 16, 16 and 8 bytes. */
    ck_assert_int_eq(set(1, mproc_text("87654321")), 0);
    ck_assert(holds(list, 1, mproc_text("87654321")));
    ck_assert_int_eq(set(1, mproc_text("876543210")), -EMSGSIZE);
    ck_assert_int_eq(set(1, mproc_text("876543\xc3\xa9")), 0); /* 7 letters, 8 bytes */
    ck_assert_int_eq(set(1, mproc_text("8765432\xc3\xa9")), -EMSGSIZE);
    ck_assert_int_eq(set(0, mproc_bytes("123456789", 9)), -EMSGSIZE);
    ck_assert_int_eq(set(0, mproc_bytes("12345678", 8)), 0);
    ck_assert_int_eq(set(4, mproc_text("12345678")), 0);
    for (size_t i = 0; i < MPROC__COUNT(fits); i++) {
        ck_assert_int_eq(set(2, mproc_text(fits[i])), 0);
        ck_assert(holds(list, 2, mproc_text(fits[i])));
    }
    ck_assert_int_eq(set(2, mproc_text("12345678901234567")), -EMSGSIZE);
    ck_assert_int_eq(set(2, mproc_double(0.5)), 0);
    ck_assert_int_eq(set(3, mproc_null()), 0);
    mproc_variant truth = mproc_bool(true);
    truth.number = 5; /* as a program in another language might make it */
    ck_assert_int_eq(set(3, truth), 0);
    ck_assert(holds(list, 0, mproc_bytes("12345678", 8)) && holds(list, 1, mproc_text("876543\xc3\xa9")));
    ck_assert(holds(list, 2, mproc_double(0.5)) && holds(list, 3, mproc_bool(true)));
    ck_assert(holds(list, 4, mproc_text("12345678")));
    list_drop();
}
END_TEST

/* shows: SLIST-04 */
START_TEST(a_value_is_found_and_counted_and_never_taken_for_one_of_another_kind)
{
    size_t index = 77, count = 77;
    list_make(_i, MPROC_ARGS(0, "1", mproc_bytes("1", 1), 1.0, mproc_bool(true), 1, 1, mproc_null(), "", "1"),
              NULL);
    const struct {
        mproc_variant value;
        size_t first, count;
    } wanted[] = {{mproc_int(1), 5, 2},    {mproc_text("1"), 1, 2},  {mproc_bytes("1", 1), 2, 1},
                  {mproc_double(1), 3, 1}, {mproc_bool(true), 4, 1}, {mproc_null(), 7, 1},
                  {mproc_text(""), 8, 1},  {mproc_int(0), 0, 1}};
    for (size_t i = 0; i < MPROC__COUNT(wanted); i++) {
        ck_assert_int_eq(mproc_shm_list_find(list, wanted[i].value, &index), 0);
        ck_assert_uint_eq(index, wanted[i].first);
        ck_assert_int_eq(mproc_shm_list_occurrences(list, wanted[i].value, &count), 0);
        ck_assert_uint_eq(count, wanted[i].count);
    }
    index = 77;
    ck_assert_int_eq(mproc_shm_list_find(list, mproc_int(2), &index), MPROC_EKEY);
    ck_assert_int_eq(mproc_shm_list_find(list, mproc_bool(false), &index), MPROC_EKEY);
    ck_assert_int_eq(mproc_shm_list_find(list, mproc_bytes("", 0), &index), MPROC_EKEY);
    ck_assert_uint_eq(index, 77);
    ck_assert_int_eq(mproc_shm_list_occurrences(list, mproc_int(2), &count), 0);
    ck_assert_uint_eq(count, 0);
    list_drop();
}
END_TEST

/* shows: SLIST-06 */
START_TEST(an_empty_list_has_nothing_to_find)
{
    for (int made_of = 0; made_of < 2; made_of++) {
        mproc_variant seen;
        size_t number = 7;
        list_make(_i, made_of == 0 ? mproc_null() : mproc_items(NULL, 0), NULL);
        ck_assert_uint_eq(mproc_shm_list_count(list), 0);
        ck_assert_int_eq(mproc_shm_list_occurrences(list, mproc_int(4), &number), 0);
        ck_assert_uint_eq(number, 0);
        ck_assert_int_eq(mproc_shm_list_find(list, mproc_null(), &number), MPROC_EKEY);
        ck_assert_int_eq(mproc_shm_list_get(list, 0, &seen), MPROC_EKEY);
        ck_assert_int_eq(mproc_shm_list_get(list, -1, &seen), MPROC_EKEY);
        ck_assert_int_eq(set(0, mproc_int(1)), MPROC_EKEY);
        ck_assert_int_eq(mproc_shm_list_values(list, &seen), 0);
        ck_assert_uint_eq(mproc_variant_count(seen), 0);
        mproc_variant_clear(&seen);
        list_drop();
    }
}
END_TEST

/* shows: SLIST-08 */
START_TEST(what_a_slot_cannot_hold_is_refused_and_trailing_nuls_are_kept)
{
    mproc_variant nested = MPROC_ARGS(1, 2);
    mproc_shm_list *none = NULL;
    list_make(_i, MPROC_ARGS(5, mproc_bytes("a\0b\0\0", 5)), NULL);
    ck_assert(holds(list, 1, mproc_bytes("a\0b\0\0", 5)) && !holds(list, 1, mproc_bytes("a\0b", 3)));
    ck_assert_int_eq(set(1, mproc_bytes("\0\0\0", 3)), 0);
    ck_assert(holds(list, 1, mproc_bytes("\0\0\0", 3)));
    const mproc_variant refused[] = {mproc_uint((uint64_t)INT64_MAX + 1),
                                     nested,
                                     mproc_text("\xff"),
                                     mproc_fd(1),
                                     mproc_pointer(&nested),
                                     mproc_handle(list)};
    for (size_t i = 0; i < MPROC__COUNT(refused); i++) {
        ck_assert_int_eq(set(0, refused[i]), MPROC_EARGUMENT);
        ck_assert_int_eq(mproc_shm_list_create(place, mproc_items(&refused[i], 1), NULL, &none),
                         MPROC_EARGUMENT);
    }
    ck_assert(holds(list, 0, mproc_int(5)));
    ck_assert_int_eq(mproc_shm_list_create(place, mproc_int(5), NULL, &none), MPROC_EARGUMENT);
    ck_assert_ptr_null(none);
    mproc_variant large = {.kind = MPROC_KIND_BYTES, .number = MPROC__SLOT_BYTES_MAX + 1, .data = "x"};
    ck_assert_int_eq(set(0, large), -EMSGSIZE);
    ck_assert_int_eq(mproc_shm_list_create(place, mproc_items(&large, 1), NULL, &none), -EMSGSIZE);
    large.number = -1;
    ck_assert_int_eq(set(0, large), MPROC_EARGUMENT);
    large = (mproc_variant){.kind = MPROC_KIND_TEXT, .number = 1};
    ck_assert_int_eq(set(0, large), MPROC_EARGUMENT);
    list_drop();
}
END_TEST

/* ---- several handles ---- */

START_TEST(a_copy_keeps_values_and_rooms_and_is_independent)
{
    mproc_shm_list *copy;
    mproc_variant formats;
    list_make(_i, MPROC_ARGS("0123456789", 1, mproc_bytes("x", 1)), NULL);
    ck_assert_int_eq(set(0, mproc_double(2.5)), 0);
    ck_assert_int_eq(
        mproc_shm_list_copy(list, place, MPROC_WITH(mproc_shm_list_options, .name = "second"), &copy), 0);
    ck_assert_int_eq(set(1, mproc_int(7)), 0);
    ck_assert_int_eq(mproc_shm_list_set(copy, 2, mproc_text("y"), soon()), 0);
    ck_assert(holds(copy, 0, mproc_double(2.5)) && holds(copy, 1, mproc_int(1)) &&
              holds(copy, 2, mproc_text("y")));
    ck_assert(holds(list, 1, mproc_int(7)) && holds(list, 2, mproc_bytes("x", 1)));
    ck_assert_int_eq(mproc_shm_list_set(copy, 0, mproc_text("0123456789abcdef"), soon()), 0);
    ck_assert_int_eq(mproc_shm_list_formats(copy, &formats), 0);
    ck_assert_uint_eq(mproc_variant_count(formats), 3);
    const char *const kinds[] = {"text", "int", "text"};
    for (size_t i = 0; i < 3; i++) {
        mproc_variant format = mproc_variant_at(formats, i);
        ck_assert_str_eq(mproc_variant_get_text(mproc_variant_find(format, "kind")), kinds[i]);
        ck_assert_int_eq(mproc_variant_find(format, "room").number, i == 0 ? 16 : 8);
    }
    mproc_variant_clear(&formats);
    mproc_shm_list_close(&copy);
    ck_assert_int_eq(mproc_shm_list_copy(list, place, NULL, NULL), -EINVAL);
    ck_assert_int_eq(
        mproc_shm_list_copy(list, place, MPROC_WITH(mproc_shm_list_options, .and_open = true), &copy),
        -EINVAL);
    list_drop();
}
END_TEST

START_TEST(the_description_has_name_and_content)
{
    char text[200], wanted[200];
    list_make(_i, MPROC_ARGS("a", 1, mproc_null()), MPROC_WITH(mproc_shm_list_options, .name = "settings"));
    snprintf(wanted, sizeof(wanted), "shm_list settings of 3 on %s: [\"a\", 1, null]",
             _i == 0   ? "host"
             : _i == 1 ? "thread"
                       : "shm");
    ck_assert_int_eq(mproc_describe(list, text, sizeof(text)), (int)strlen(wanted));
    ck_assert_str_eq(text, wanted);
    for (size_t room = 1; room <= strlen(wanted); room++) {
        ck_assert_int_eq(mproc_describe(list, text, room), (int)strlen(wanted));
        ck_assert_uint_lt(strlen(text), room);
        ck_assert_int_eq(strncmp(text, wanted, strlen(text)), 0);
    }
    list_drop();
}
END_TEST

START_TEST(a_named_list_is_found_while_it_exists)
{
    mproc_shm_list *again, *same = NULL;
    list_make(_i, MPROC_ARGS(1), MPROC_WITH(mproc_shm_list_options, .name = "settings"));
    ck_assert_int_eq(mproc_shm_list_open(place, "settings", &again), 0);
    ck_assert_int_eq(set(0, mproc_int(2)), 0);
    ck_assert(holds(again, 0, mproc_int(2)));
    ck_assert_int_eq(mproc_shm_list_create(place, MPROC_ARGS(1),
                                           MPROC_WITH(mproc_shm_list_options, .name = "settings"), &same),
                     -EEXIST);
    ck_assert_int_eq(mproc_shm_list_create(
                         place, mproc_null(),
                         MPROC_WITH(mproc_shm_list_options, .name = "settings", .and_open = true), &same),
                     0);
    ck_assert_uint_eq(mproc_shm_list_count(same), 1);
    ck_assert_int_eq(mproc_shm_list_open(place, "nothing", &again), -ENOENT);
    mproc_shm_list_close(&same);
    mproc_shm_list_close(&again);
    mproc_shm_list_close(&list);
    ck_assert_int_eq(mproc_shm_list_open(place, "settings", &again), -ENOENT);
    mproc_place_close(&place);
}
END_TEST

static int changes_by_name(void *unused)
{
    (void)unused;
    mproc_shm_list_close(&list); /* the inherited handle; what it opens now is its own */
    if (mproc_shm_list_open(place, "settings", &list) != 0 || !holds(list, 0, mproc_text("parent")))
        return 1;
    return set(1, mproc_text("child"));
}

/* shows: SLIST-05 */
START_TEST(a_list_of_a_shm_place_is_seen_by_name_both_ways_and_copied_under_another)
{
    mproc_shm_list *copy;
    mproc_variant formats;
    char text[200];
    list_make(2, MPROC_ARGS("before", "before", 1), MPROC_WITH(mproc_shm_list_options, .name = "settings"));
    ck_assert_int_eq(set(0, mproc_text("parent")), 0);
    ck_assert_int_eq(support_reap(support_fork(changes_by_name, NULL), 10000), 0);
    ck_assert(holds(list, 1, mproc_text("child")));
    ck_assert_int_eq(
        mproc_shm_list_copy(list, place, MPROC_WITH(mproc_shm_list_options, .name = "other"), &copy), 0);
    ck_assert_int_eq(set(2, mproc_int(9)), 0);
    ck_assert_int_eq(mproc_shm_list_set(copy, 0, mproc_null(), soon()), 0);
    ck_assert(holds(copy, 2, mproc_int(1)) && holds(list, 0, mproc_text("parent")));
    mproc_describe(list, text, sizeof(text));
    ck_assert_str_eq(text, "shm_list settings of 3 on shm: [\"parent\", \"child\", 9]");
    mproc_describe(copy, text, sizeof(text));
    ck_assert_str_eq(text, "shm_list other of 3 on shm: [null, \"child\", 1]");
    ck_assert_int_eq(mproc_shm_list_formats(copy, &formats), 0);
    mproc_variant_print(formats, text, sizeof(text));
    ck_assert_str_eq(text, "[{\"kind\": \"null\", \"room\": 8}, {\"kind\": \"text\", \"room\": 8}, "
                           "{\"kind\": \"int\", \"room\": 8}]");
    mproc_variant_clear(&formats);
    mproc_shm_list_close(&copy);
    list_drop();
}
END_TEST

static int pack(mproc_shm_list *of, mproc__parcel *parcel)
{
    mproc_variant item = mproc_handle(of);
    return mproc__parcel_pack(parcel, true, mproc_items(&item, 1));
}

/* Homes host and shm. A handle travels as a descriptor: it means the same storage after its name is gone, too. */
START_TEST(a_handle_costs_the_same_for_few_and_many_items_and_means_the_same_storage)
{
    size_t sizes[2];
    mproc_shm_list *unlinked;
    mproc__noun_register(&mproc__shm_list_noun);
    for (int i = 0; i < 2; i++) {
        mproc_variant values = mproc_null(), received;
        mproc__parcel parcel;
        for (int item = 0; item < (i == 0 ? 10 : 400); item++)
            ck_assert_int_eq(mproc_variant_append(&values, mproc_int(item)), 0);
        list_make(2 * _i, values, MPROC_WITH(mproc_shm_list_options, .name = "numbers"));
        mproc_variant_clear(&values);
        ck_assert_int_eq(pack(list, &parcel), 0);
        sizes[i] = parcel.size_bytes;
        ck_assert_uint_eq(parcel.fd_count, 1);
        parcel.fds[0] = dup(parcel.fds[0]);
        ck_assert_int_eq(mproc_place_unlink(place, "numbers"), 0);
        ck_assert_int_eq(mproc__parcel_unpack(&parcel, &received), 0);
        mproc__parcel_clear(&parcel, true);
        mproc_shm_list *other = mproc_variant_get_handle(mproc_variant_at(received, 0), MPROC_TYPE_SHM_LIST);
        ck_assert_int_eq(set(-1, mproc_int(-5)), 0);
        ck_assert(holds(other, -1, mproc_int(-5)));
        ck_assert_int_eq(mproc_shm_list_set(other, 0, mproc_int(-6), soon()), 0);
        ck_assert(holds(list, 0, mproc_int(-6)));
        ck_assert_int_eq(mproc_shm_list_open(place, "numbers", &unlinked), -ENOENT);
        mproc_variant_clear(&received);
        list_drop();
    }
    ck_assert_uint_eq(sizes[0], sizes[1]);
}
END_TEST

START_TEST(a_list_of_threads_cannot_cross)
{
    mproc__parcel parcel = {0};
    list_make(1, MPROC_ARGS(1), NULL);
    ck_assert_int_eq(pack(list, &parcel), MPROC_ECANNOTCROSS);
    mproc__parcel_clear(&parcel, false);
    list_drop();
}
END_TEST

/* ---- bad input ---- */

static int all_answer_child(void *unused)
{
    (void)unused;
    mproc_variant seen;
    size_t number;
    mproc_shm_list *copy;
    if (mproc_shm_list_get(list, 0, &seen) != -ECHILD || set(0, mproc_int(1)) != -ECHILD)
        return 1;
    if (mproc_shm_list_find(list, mproc_int(1), &number) != -ECHILD ||
        mproc_shm_list_occurrences(list, mproc_int(1), &number) != -ECHILD)
        return 2;
    if (mproc_shm_list_values(list, &seen) != -ECHILD || mproc_shm_list_formats(list, &seen) != -ECHILD)
        return 3;
    return mproc_shm_list_copy(list, NULL, NULL, &copy) == -ECHILD ? 0 : 4;
}

START_TEST(a_list_of_threads_answers_echild_in_a_fork_child)
{
    list_make(1, MPROC_ARGS(1), NULL);
    ck_assert_int_eq(support_reap(support_fork(all_answer_child, NULL), 10000), 0);
    list_drop();
}
END_TEST

START_TEST(no_memory_is_an_error_that_leaves_nothing)
{
    mproc_shm_list *copy;
    mproc_variant values = mproc_null();
    place_make(_i);
    for (unsigned n = 1, step = 0; step < 4; n++) {
        support_fail_allocation(n);
        int code = step == 0   ? mproc_shm_list_create(place, MPROC_ARGS("some text", 2),
                                                       MPROC_WITH(mproc_shm_list_options, .name = "x"), &list)
                   : step == 1 ? mproc_shm_list_copy(list, place, NULL, &copy)
                   : step == 2 ? mproc_shm_list_values(list, &values)
                               : mproc_shm_list_formats(list, &values);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        ck_assert_int_eq(code, failed ? -ENOMEM : 0);
        if (failed)
            continue;
        ck_assert_uint_gt(n, 2);
        if (step == 1)
            mproc_shm_list_close(&copy);
        mproc_variant_clear(&values);
        n = 0;
        step++;
    }
    list_drop();
}
END_TEST

START_TEST(what_is_no_list_is_refused)
{
    mproc_variant seen;
    size_t number;
    mproc_shm_list *none = NULL;
    list_make(1, MPROC_ARGS(1), NULL);
    for (int i = 0; i < 2; i++) {
        mproc_shm_list *bad = i == 0 ? NULL : (mproc_shm_list *)(void *)place;
        ck_assert_uint_eq(mproc_shm_list_count(bad), 0);
        ck_assert_int_eq(mproc_shm_list_get(bad, 0, &seen), -EINVAL);
        ck_assert_int_eq(mproc_shm_list_set(bad, 0, mproc_int(1), MPROC_NOW), -EINVAL);
        ck_assert_int_eq(mproc_shm_list_find(bad, mproc_int(1), &number), -EINVAL);
        ck_assert_int_eq(mproc_shm_list_occurrences(bad, mproc_int(1), &number), -EINVAL);
        ck_assert_int_eq(mproc_shm_list_values(bad, &seen), -EINVAL);
        ck_assert_int_eq(mproc_shm_list_formats(bad, &seen), -EINVAL);
        ck_assert_int_eq(mproc_shm_list_copy(bad, NULL, NULL, &none), -EINVAL);
    }
    ck_assert_int_eq(mproc_shm_list_get(list, 0, NULL), -EINVAL);
    ck_assert_int_eq(mproc_shm_list_find(list, mproc_int(1), NULL), -EINVAL);
    ck_assert_int_eq(mproc_shm_list_occurrences(list, mproc_int(1), NULL), -EINVAL);
    ck_assert_int_eq(mproc_shm_list_values(list, NULL), -EINVAL);
    ck_assert_int_eq(mproc_shm_list_formats(list, NULL), -EINVAL);
    ck_assert_int_eq(mproc_shm_list_create(NULL, MPROC_ARGS(1), NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_shm_list_create((mproc_place *)(void *)list, MPROC_ARGS(1), NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_shm_list_create(NULL, MPROC_ARGS(1), &(mproc_shm_list_options){.size = 4}, &none),
                     -EINVAL);
    ck_assert_int_eq(mproc_shm_list_open(NULL, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_shm_list_open(NULL, "x", NULL), -EINVAL);
    ck_assert_ptr_null(none);
    mproc_shm_list_close(&none);
    list_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("shm_list");
    TCase *content = support_case(suite, "content");
    tcase_add_loop_test(content, every_slot_reads_back_with_its_type_and_value, 0, 3);
    tcase_add_loop_test(content, outside_the_list_is_an_error_and_negative_positions_count_from_the_end, 0,
                        3);
    tcase_add_loop_test(content, a_slot_changes_its_type_within_its_room_and_a_refused_store_changes_nothing,
                        0, 3);
    tcase_add_loop_test(content, a_value_is_found_and_counted_and_never_taken_for_one_of_another_kind, 0, 3);
    tcase_add_loop_test(content, an_empty_list_has_nothing_to_find, 0, 3);
    tcase_add_loop_test(content, what_a_slot_cannot_hold_is_refused_and_trailing_nuls_are_kept, 0, 3);
    TCase *handles = support_case(suite, "handles");
    tcase_add_loop_test(handles, a_copy_keeps_values_and_rooms_and_is_independent, 0, 3);
    tcase_add_loop_test(handles, the_description_has_name_and_content, 0, 3);
    tcase_add_loop_test(handles, a_named_list_is_found_while_it_exists, 0, 3);
    tcase_add_test(handles, a_list_of_a_shm_place_is_seen_by_name_both_ways_and_copied_under_another);
    tcase_add_loop_test(handles, a_handle_costs_the_same_for_few_and_many_items_and_means_the_same_storage, 0,
                        2);
    tcase_add_test(handles, a_list_of_threads_cannot_cross);
    TCase *bad = support_case(suite, "bad input");
    tcase_add_test(bad, a_list_of_threads_answers_echild_in_a_fork_child);
    tcase_add_loop_test(bad, no_memory_is_an_error_that_leaves_nothing, 0, 3);
    tcase_add_test(bad, what_is_no_list_is_refused);
    return support_run(suite, argc, argv);
}
