/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions as (build-id, offset): found again, refused when they are none, errors that name both builds. */
#include "platform/base.h"

#include <link.h>
#include <pthread.h>

#include "platform/story.h"
#include "process/object.h"
#include "process/process_support.h"

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

/* ---- in a fork child of a program with threads ---- */

/* Older libcs let nobody know without the list: such a child waits. */
#ifdef HAVE__DL_FIND_OBJECT
enum { LOCKED_LISTS = 2 };
#else
enum { LOCKED_LISTS = 0 };
#endif

static gate inside, leave;

static int says_and_waits(struct dl_phdr_info *info, size_t size, void *unused)
{
    char byte;
    (void)info;
    (void)size;
    (void)unused;
    gate_open(&inside);
    return (int)read(leave.read_fd, &byte, 1);
}

static void *looks_at_the_list(void *unused)
{
    dl_iterate_phdr(says_and_waits, NULL);
    return unused;
}

static int finds_functions(mproc_call *call)
{
    mproc__function_id id;
    mproc_fn *fn = NULL;
    char name[64];
    (void)call;
    mproc__function_name(hidden, name, sizeof name);
    if (mproc__function_pack((mproc_fn *)(uintptr_t)strlen, &id) < 0 || mproc__function_pack(hidden, &id) < 0)
        return 1;
    return mproc__function_unpack(&id, &fn) == 0 && fn == hidden ? 0 : 2;
}

static int starts_by_all_methods(mproc_call *call)
{
    (void)call;
    for (int method = FIRST_METHOD; method < PROCESS_METHODS; method++) {
        mproc_process *process;
        int exit_code = -1;
        int rc = mproc_process_start(
            hidden, MPROC_NONE, MPROC_WITH(mproc_process_options, .start = (mproc_start)method), &process);
        if (rc == 0)
            rc = mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code);
        if (rc < 0 || exit_code != 3)
            return method;
        mproc_process_close(&process);
    }
    return 0;
}

/* The loader's lock stays taken in the copy, for good. */
START_TEST(functions_are_found_and_started_though_another_thread_held_the_loaders_list_at_the_fork)
{
    static mproc_fn *const all[] = {finds_functions, starts_by_all_methods};
    pthread_t thread;
    warm();
    inside = gate_make();
    leave = gate_make();
    ck_assert_int_eq(pthread_create(&thread, NULL, looks_at_the_list, NULL), 0);
    gate_await(&inside);
    int exit_code = run(MPROC_START_FORK, all[_i], MPROC_NONE);
    gate_open(&leave);
    pthread_join(thread, NULL);
    ck_assert_int_eq(exit_code, 0);
    gate_destroy(&inside);
    gate_destroy(&leave);
}
END_TEST

/* By what a nursery writes down for its children. */
START_TEST(what_was_noted_of_the_program_is_what_is_found_otherwise)
{
    mproc__object_place place, other;
    uintptr_t address = (uintptr_t)starts_by_all_methods;
    ck_assert(mproc__object_at(address, &place));
    ck_assert_uint_eq(mproc__object_noted(&place), 0);
    mproc__object_note();
    ck_assert_uint_eq(mproc__object_noted(&place), address);
    other = place;
    other.build_id[0] ^= 1;
    ck_assert_uint_eq(mproc__object_noted(&other), 0);
    other = place;
    other.offset = UINT64_C(1) << 40;
    ck_assert_uint_eq(mproc__object_noted(&other), 0);
    other.offset = 0; /* the file's header, no code */
    ck_assert_uint_eq(mproc__object_noted(&other), 0);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("function");
    TCase *identity = support_case(suite, "identity");
    tcase_add_test(identity, a_static_function_is_found_again_by_its_identity);
    tcase_add_test(identity, a_function_of_a_shared_library_is_found_again);
    tcase_add_test(identity, memory_that_is_no_code_is_refused);
    tcase_add_test(identity, another_build_is_refused_and_both_builds_are_named);
    tcase_add_test(identity, an_offset_outside_the_code_is_refused);
    tcase_add_test(identity, stories_name_exported_functions_and_place_the_others);
    tcase_add_test(identity, what_was_noted_of_the_program_is_what_is_found_otherwise);
    tcase_add_loop_test(
        identity, functions_are_found_and_started_though_another_thread_held_the_loaders_list_at_the_fork, 0,
        LOCKED_LISTS);
    return support_run(suite, argc, argv);
}
