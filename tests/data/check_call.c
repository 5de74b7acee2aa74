/* SPDX-License-Identifier: BSD-2-Clause */
/* A call: arguments checked, outcomes settled. */
#include "platform/base.h"

#include "data/call.h"
#include "data/thing.h"

/* Runs fn over `args` and returns its code; the call is left for a look. */
static int run(mproc_call *call, mproc_fn *fn, mproc_variant args)
{
    mproc__call_init(call, args);
    call->name = "test_fn";
    return mproc__call_run(call, fn);
}

static int add(mproc_call *call)
{
    return mproc_call_return(call, mproc_int(mproc_call_int(call, 0) + mproc_call_int(call, 1)));
}

START_TEST(a_result_is_the_calls_own)
{
    mproc_call call;

    ck_assert_int_eq(run(&call, add, MPROC_ARGS(2, 3)), 0);
    ck_assert_int_eq(call.result.number, 5);
    ck_assert_uint_eq(mproc_call_attempt(&call), 1);
    ck_assert_uint_eq(mproc_call_count(&call), 2);
    mproc__call_fini(&call);
}
END_TEST

START_TEST(an_argument_of_another_kind_fails_the_call_by_name_and_position)
{
    mproc_call call;
    int64_t number = 0;

    ck_assert_int_eq(run(&call, add, MPROC_ARGS(2, "three")), MPROC_EARGUMENT);
    ck_assert_str_eq(mproc_error_text(&call.story), "MPROC_EARGUMENT: test_fn: argument 1 is text, not int");
    ck_assert_int_eq(mproc_error_number(&call.story, MPROC_ERROR_ARGUMENT, &number), 0);
    ck_assert_int_eq(number, 1);
    ck_assert_uint_eq(call.result.kind, MPROC_KIND_NULL);
    ck_assert_int_eq(mproc_call_check(&call), MPROC_EARGUMENT);
    mproc__call_fini(&call);
    ck_assert_int_eq(run(&call, add, MPROC_ARGS(2)), MPROC_EARGUMENT);
    ck_assert_str_eq(mproc_error_text(&call.story),
                     "MPROC_EARGUMENT: test_fn: argument 1 (int) is missing, 1 given");
    mproc__call_fini(&call);
}
END_TEST

static int read_all_kinds(mproc_call *call)
{
    size_t size_bytes;
    bool right = mproc_call_int(call, 0) == 7 && mproc_call_double(call, 1) == 2.5 &&
                 mproc_call_bool(call, 2) && strcmp(mproc_call_text(call, 3), "text") == 0 &&
                 memcmp(mproc_call_bytes(call, 4, &size_bytes), "raw", 3) == 0 && size_bytes == 3 &&
                 mproc_call_lock(call, 5) != NULL && mproc_call_arg(call, 0).number == 7;

    return right && mproc_call_check(call) == 0 ? 0 : 1;
}

START_TEST(each_accessor_gives_its_kind)
{
    mproc_call call;
    void *lock = thing_create(&thing_ops, 1, -1);

    ck_assert_int_eq(
        run(&call, read_all_kinds,
            MPROC_ARGS(7, 2.5, mproc_bool(true), "text", mproc_bytes("raw", 3), mproc_handle(lock))),
        0);
    mproc__call_fini(&call);
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
}
END_TEST

static int read_wrong_kinds(mproc_call *call)
{
    size_t size_bytes = 9;

    if (mproc_call_text(call, 0) || mproc_call_bytes(call, 0, &size_bytes) || size_bytes != 0 ||
        mproc_call_queue(call, 0) || mproc_call_bool(call, 0) || mproc_call_double(call, 9) != 0.0 ||
        mproc_call_arg(call, 9).kind != MPROC_KIND_NULL)
        return 1;
    return 0;
}

START_TEST(a_mismatch_gives_zero_and_the_first_is_told)
{
    mproc_call call;

    ck_assert_int_eq(run(&call, read_wrong_kinds, MPROC_ARGS(7)), MPROC_EARGUMENT);
    ck_assert_str_eq(mproc_error_text(&call.story), "MPROC_EARGUMENT: test_fn: argument 0 is int, not text");
    mproc__call_fini(&call);
}
END_TEST

static int fail_by_word(mproc_call *call)
{
    mproc_call_return(call, mproc_int(1));
    return mproc_call_fail(call, -ENOSPC, "no room for %s", mproc_call_text(call, 0));
}

static int fail_and_return_zero(mproc_call *call)
{
    mproc_call_fail(call, -ENOSPC, "no room");
    return 0;
}

static int fail_with_nothing(mproc_call *call)
{
    return mproc_call_fail(call, 0, "a slip");
}

START_TEST(a_failure_is_told_with_its_text)
{
    mproc_call call;

    ck_assert_int_eq(run(&call, fail_by_word, MPROC_ARGS("you")), -ENOSPC);
    ck_assert_str_eq(mproc_error_text(&call.story), "ENOSPC: no room for you");
    ck_assert_uint_eq(call.result.kind, MPROC_KIND_NULL);
    ck_assert_int_eq(run(&call, fail_and_return_zero, MPROC_NONE), -ENOSPC);
    ck_assert_int_eq(run(&call, fail_with_nothing, MPROC_NONE), -EINVAL);
}
END_TEST

static int return_seven(mproc_call *call)
{
    (void)call;
    return 7;
}

static int return_what_a_call_said(mproc_call *call)
{
    int64_t number;

    return mproc_variant_get_int(mproc_call_arg(call, 0), &number);
}

START_TEST(a_bare_code_is_told_with_the_story_of_the_call_that_gave_it)
{
    mproc_call call;

    ck_assert_int_eq(run(&call, return_seven, MPROC_NONE), 7);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(&call.story), "test_fn returned 7"));
    ck_assert_int_eq(run(&call, return_what_a_call_said, MPROC_ARGS("x")), MPROC_EARGUMENT);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(&call.story), "a value is text, int was asked for"));
}
END_TEST

static int return_invalid(mproc_call *call)
{
    return mproc_call_return(call, mproc_text("\xff"));
}

START_TEST(a_result_that_is_no_value_fails_the_call)
{
    mproc_call call;

    ck_assert_int_eq(run(&call, return_invalid, MPROC_NONE), MPROC_EARGUMENT);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(&call.story), "UTF-8"));
}
END_TEST

static bool always(const mproc_call *call)
{
    return call->runner != NULL;
}

static int remember_progress(mproc_call *call, uint64_t done, uint64_t total)
{
    *(uint64_t *)call->runner = done * 1000 + total;
    return 0;
}

START_TEST(circumstances_come_from_the_runner)
{
    mproc_call call;
    uint64_t seen = 0;

    mproc__call_init(&call, MPROC_NONE);
    ck_assert(!mproc_call_stopping(&call));
    ck_assert_int_eq(mproc_call_progress(&call, 3, 4), 0);
    call.stopping = always;
    call.progress = remember_progress;
    call.runner = &seen;
    ck_assert(mproc_call_stopping(&call));
    ck_assert_int_eq(mproc_call_progress(&call, 3, 4), 0);
    ck_assert_uint_eq(seen, 3004);
    mproc_call_set_self(&call, &seen);
    ck_assert_ptr_eq(mproc_call_self(&call), &seen);
    mproc__call_fini(&call);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("call");
    TCase *all = support_case(suite, "call");

    tcase_add_test(all, a_result_is_the_calls_own);
    tcase_add_test(all, an_argument_of_another_kind_fails_the_call_by_name_and_position);
    tcase_add_test(all, each_accessor_gives_its_kind);
    tcase_add_test(all, a_mismatch_gives_zero_and_the_first_is_told);
    tcase_add_test(all, a_failure_is_told_with_its_text);
    tcase_add_test(all, a_bare_code_is_told_with_the_story_of_the_call_that_gave_it);
    tcase_add_test(all, a_result_that_is_no_value_fails_the_call);
    tcase_add_test(all, circumstances_come_from_the_runner);
    return support_run(suite, argc, argv);
}
