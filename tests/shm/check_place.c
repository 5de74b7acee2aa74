/* SPDX-License-Identifier: BSD-2-Clause */
/* Places without a server, and how calls go to one with. */
#include "platform/base.h"

#include "shm/place.h"
#include "support/support.h"

START_TEST(null_is_this_host)
{
    mproc__home home = MPROC__HOME_SERVER;
    mproc_variant names;
    ck_assert_int_eq(mproc__place_home(NULL, &home), 0);
    ck_assert_int_eq(home, MPROC__HOME_HOST);
    ck_assert_str_eq(mproc_place_address(NULL), "host:");
    ck_assert_int_eq(mproc_place_ping(NULL, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_place_names(NULL, &names), 0);
    mproc_variant_clear(&names);
    ck_assert_int_eq(mproc_place_unlink(NULL, "x"), -ENOENT);
    ck_assert_int_eq(mproc_place_unlink(NULL, NULL), -EINVAL);
}
END_TEST

START_TEST(local_places_know_their_home_and_address)
{
    mproc__home homes[] = {MPROC__HOME_HOST, MPROC__HOME_THREAD}, home;
    mproc_place *place;
    ck_assert_int_eq(mproc__place_local(homes[_i], &place), 0);
    ck_assert_int_eq(mproc__place_home(place, &home), 0);
    ck_assert_int_eq(home, homes[_i]);
    ck_assert_str_eq(mproc_place_address(place), _i == 0 ? "host:" : "thread:");
    ck_assert_int_eq(mproc_type_of(place), MPROC_TYPE_PLACE);
    ck_assert_int_eq(mproc_place_ping(place, MPROC_NOW), 0);
    mproc_place_close(&place);
    ck_assert_ptr_null(place);
    mproc_place_close(&place);
}
END_TEST

START_TEST(what_is_no_place_is_refused)
{
    mproc_place *wrong = (mproc_place *)(void *)"sixteen bytes...";
    mproc__home home;
    mproc_variant names;
    ck_assert_int_eq(mproc__place_home(wrong, &home), -EINVAL);
    ck_assert_ptr_null(mproc_place_address(wrong));
    ck_assert_int_eq(mproc_place_ping(wrong, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_place_names(wrong, &names), -EINVAL);
    ck_assert_int_eq(mproc_place_names(NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_place_unlink(wrong, "x"), -EINVAL);
}
END_TEST

START_TEST(no_memory_for_a_place_is_an_error)
{
    for (unsigned n = 1; n <= 2; n++) {
        mproc_place *place = NULL;
        support_fail_allocation(n);
        int code = mproc__place_local(MPROC__HOME_THREAD, &place);
        support_fail_allocation(0);
        ck_assert_int_eq(code, -ENOMEM);
        ck_assert_ptr_null(place);
    }
}
END_TEST

static int served_ping(mproc_place *place, mproc_deadline deadline)
{
    (void)place;
    (void)deadline;
    return -4711;
}

static int served_names(mproc_place *place, mproc_variant *ret_list)
{
    (void)place;
    *ret_list = mproc_int(4711);
    return 0;
}

static int served_unlink(mproc_place *place, const char *name)
{
    (void)place;
    return -(int)name[0];
}

START_TEST(a_server_place_answers_by_its_table)
{
    const mproc__server_place_ops table = {
        .ping = served_ping, .names = served_names, .unlink = served_unlink};
    mproc_place *place;
    mproc_variant names;
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_HOST, &place), 0);
    place->home = MPROC__HOME_SERVER;
    place->server = &table;
    ck_assert_int_eq(mproc_place_ping(place, MPROC_NOW), -4711);
    ck_assert_int_eq(mproc_place_names(place, &names), 0);
    ck_assert_int_eq(names.number, 4711);
    ck_assert_int_eq(mproc_place_unlink(place, "a"), -'a');
    mproc_place_close(&place);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("place");
    TCase *places = support_case(suite, "places");
    tcase_add_test(places, null_is_this_host);
    tcase_add_loop_test(places, local_places_know_their_home_and_address, 0, 2);
    tcase_add_test(places, what_is_no_place_is_refused);
    tcase_add_test(places, no_memory_for_a_place_is_an_error);
    tcase_add_test(places, a_server_place_answers_by_its_table);
    return support_run(suite, argc, argv);
}
