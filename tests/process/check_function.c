/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions as (build-id, offset): found again, refused when they are none, errors that name both builds. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/story.h"
#include "process/launch.h"
#include "support/support.h"

static int hidden(mproc_call *call)
{
    (void)call;
    return 3;
}

START_TEST(a_static_function_is_found_again_by_its_identity)
{
    mproc__function_id id, again;
    mproc_fn *fn = NULL;
    for (int times = 0; times < 3; times++) { /* the second time from memory */
        ck_assert_int_eq(mproc__function_pack(hidden, &id), 0);
        ck_assert_int_eq(mproc__function_unpack(&id, &fn), 0);
        ck_assert_ptr_eq((void *)(uintptr_t)fn, (void *)(uintptr_t)hidden);
    }
    ck_assert_int_eq(mproc__function_pack(hidden, &again), 0);
    ck_assert_mem_eq(id.build_id, again.build_id, sizeof id.build_id);
    ck_assert_uint_eq(id.offset, again.offset);
}
END_TEST

START_TEST(a_function_of_a_shared_library_is_found_again)
{
    mproc__function_id id;
    mproc_fn *fn = NULL, *wanted = (mproc_fn *)(uintptr_t)strlen;
    ck_assert_int_eq(mproc__function_pack(wanted, &id), 0);
    ck_assert_int_eq(mproc__function_unpack(&id, &fn), 0);
    ck_assert(fn == wanted);
}
END_TEST

START_TEST(memory_that_is_no_code_is_refused)
{
    mproc__function_id id;
    int local = 0;
    ck_assert_int_eq(mproc__function_pack((mproc_fn *)(uintptr_t)&local, &id), MPROC_EFUNCTION);
    ck_assert_int_eq(mproc__function_pack(NULL, &id), MPROC_EFUNCTION);
}
END_TEST

START_TEST(another_build_is_refused_and_both_builds_are_named)
{
    mproc__function_id id;
    mproc_fn *fn = NULL;
    char own[3];
    ck_assert_int_eq(mproc__function_pack(hidden, &id), 0);
    snprintf(own, sizeof own, "%02x", id.build_id[1]);
    memset(id.build_id, 0xab, sizeof id.build_id);
    ck_assert_int_eq(mproc__function_unpack(&id, &fn), MPROC_EFUNCTION);
    const char *text = mproc_error_text(mproc_last_error());
    ck_assert_ptr_nonnull(strstr(text, "build abababababababababababababababababababab"));
    ck_assert_ptr_nonnull(strstr(strstr(text, "its own build is"), own));
    ck_assert_ptr_null((void *)(uintptr_t)fn);
}
END_TEST

START_TEST(an_offset_outside_the_code_is_refused)
{
    mproc__function_id id;
    mproc_fn *fn = NULL;
    ck_assert_int_eq(mproc__function_pack(hidden, &id), 0);
    id.offset = UINT64_MAX / 2;
    ck_assert_int_eq(mproc__function_unpack(&id, &fn), MPROC_EFUNCTION);
}
END_TEST

START_TEST(stories_name_exported_functions_and_place_the_others)
{
    char name[64];
    mproc__function_name((mproc_fn *)(uintptr_t)getenv, name, sizeof name);
    ck_assert_msg(strstr(name, "getenv") != NULL, "%s", name);
    mproc__function_name(hidden, name, sizeof name);
    ck_assert_msg(strncmp(name, "check_function+0x", 17) == 0, "%s", name);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("function");
    TCase *identity = support_case(suite, "identity");
    tcase_add_test(identity, a_static_function_is_found_again_by_its_identity);
    tcase_add_test(identity, a_function_of_a_shared_library_is_found_again);
    tcase_add_test(identity, memory_that_is_no_code_is_refused);
    tcase_add_test(identity, another_build_is_refused_and_both_builds_are_named);
    tcase_add_test(identity, an_offset_outside_the_code_is_refused);
    tcase_add_test(identity, stories_name_exported_functions_and_place_the_others);
    return support_run(suite, argc, argv);
}
