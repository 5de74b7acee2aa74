/* SPDX-License-Identifier: BSD-2-Clause */
/* libcrypto, which is loaded late: half there in a copy, not there at all, loaded before limits. This program is linked without
 * a build-id, so that its functions are known by a hash. */
#include "platform/base.h"

#include <pthread.h>
#include <sys/resource.h>

#include <mproc/connection.h>
#include "platform/digest.h"
#include "platform/story.h"
#include "process/process_support.h"

enum { KEY_BYTES = 16, DONE = 3 };

static int computes(mproc_call *call)
{
    static const uint8_t none[MPROC__MAC_BYTES];
    uint8_t mac[MPROC__MAC_BYTES];
    (void)call;
    if (mproc__digest_load() < 0 || mproc__digest_torn())
        return 1;
    mproc__mac("k", 1, "t", 1, mac);
    return mproc__mac_same(mac, none) ? 2 : DONE;
}

/* ---- the loader, as the linker wraps it ---- */

void *__real_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags);

static _Atomic enum { AS_IT_IS, WAITS, MISSING } way;
static gate inside, leave;

void *__wrap_dlopen(const char *name, int flags)
{
    char byte;
    if (way == WAITS) {
        way = AS_IT_IS;
        gate_open(&inside);
        (void)!read(leave.read_fd, &byte, 1);
    }
    return __real_dlopen(way == MISSING ? "libcrypto-of-nobody.so.0" : name, flags);
}

static void *loads(void *unused)
{
    return mproc__digest_load() == 0 ? &way : unused;
}

static pthread_t loader;

static void load_begins(void)
{
    way = WAITS;
    ck_assert_int_eq(pthread_create(&loader, NULL, loads, NULL), 0);
    gate_await(&inside);
}

static void load_ends(void)
{
    void *good = NULL;
    gate_open(&leave);
    pthread_join(loader, &good);
    ck_assert_ptr_nonnull(good);
}

static void gates_make(void)
{
    inside = gate_make();
    leave = gate_make();
}

static void gates_destroy(void)
{
    gate_destroy(&inside);
    gate_destroy(&leave);
}

/* ---- half loaded ---- */

static int says_why_not(void *unused)
{
    (void)unused;
    if (!mproc__digest_torn() || mproc__digest_load() != -ELIBACC)
        return 1;
    return strstr(mproc_error_text(mproc_last_error()), "another thread was loading it") ? DONE : 2;
}

START_TEST(a_copy_made_beside_a_loading_thread_hears_why_it_cannot_load)
{
    gates_make();
    load_begins();
    ck_assert(!mproc__digest_torn());
    pid_t child = support_fork(says_why_not, NULL);
    load_ends();
    ck_assert_int_eq(support_reap(child, LIMIT_MS), DONE);
    ck_assert_int_eq(computes(NULL), DONE);
    gates_destroy();
}
END_TEST

/* Without a nursery, which would load it to know this program's functions. */
static int forked_status(void)
{
    const mproc__launch_options options = {
        .start = MPROC_START_FORK, .fn = computes, .args = MPROC_NONE, .name = "computes"};
    pid_t pid;
    int pidfd;
    if (mproc__launch(&options, &pid, &pidfd) < 0)
        return -1;
    close(pidfd);
    return support_reap(pid, LIMIT_MS);
}

static _Atomic pid_t starter;

static void *starts(void *ret_code)
{
    starter = mproc__tid();
    *(int *)ret_code = forked_status();
    return NULL;
}

static bool starter_is_there(void *unused)
{
    (void)unused;
    return starter != 0;
}

START_TEST(a_start_by_fork_waits_for_the_thread_that_loads)
{
    pthread_t thread;
    int code = 0;
    gates_make();
    load_begins();
    ck_assert_int_eq(pthread_create(&thread, NULL, starts, &code), 0);
    ck_assert(support_until(starter_is_there, NULL, LIMIT_MS));
    ck_assert(support_until_asleep(starter, LIMIT_MS));
    load_ends();
    pthread_join(thread, NULL);
    ck_assert_int_eq(code, DONE);
    gates_destroy();
}
END_TEST

static bool at_first_fork;
static int forks;

static void before_fork(void)
{
    forks++;
    if (at_first_fork)
        load_begins();
}

static void after_fork(void)
{
    if (at_first_fork)
        load_ends();
    at_first_fork = false;
}

START_TEST(a_start_by_fork_is_made_again_when_the_load_began_at_the_fork)
{
    gates_make();
    ck_assert_int_eq(pthread_atfork(before_fork, after_fork, NULL), 0);
    forks = 0;
    at_first_fork = true;
    ck_assert_int_eq(forked_status(), DONE);
    ck_assert_int_eq(forks, 2);
    gates_destroy();
}
END_TEST

/* ---- not there ---- */

static bool is_missed(int rc)
{
    return rc == -ELIBACC && strstr(mproc_error_text(mproc_last_error()), "libcrypto");
}

/* The stop words, which live as long as the program, come with the first. */
START_TEST(a_start_that_needs_libcrypto_names_it_when_it_is_not_there)
{
    mproc_process *process = NULL;
    way = MISSING;
    for (int times = 0; times < 2; times++) {
        ck_assert(is_missed(mproc_process_start(
            computes, MPROC_NONE, MPROC_WITH(mproc_process_options, .start = (mproc_start)_i), &process)));
        ck_assert_ptr_null(process);
        if (times == 0)
            support_leaks_begin();
    }
}
END_TEST

START_TEST(what_has_a_key_needs_libcrypto_when_it_is_made)
{
    static const char key[KEY_BYTES];
    const mproc_connection_options *options =
        MPROC_WITH(mproc_connection_options, .key = key, .key_bytes = sizeof key);
    mproc_listener *listener = NULL;
    mproc_connection *connection = NULL;
    way = MISSING;
    ck_assert(is_missed(mproc_listener_create("unix:@mproc-nobody", options, &listener)));
    ck_assert(is_missed(mproc_connection_open("unix:@mproc-nobody", options, MPROC_NOW, &connection)));
    ck_assert(!listener && !connection);
}
END_TEST

START_TEST(too_few_descriptors_for_it_are_told_as_that)
{
    struct rlimit old, none;
    getrlimit(RLIMIT_NOFILE, &old);
    none = (struct rlimit){0, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = mproc__digest_load();
    setrlimit(RLIMIT_NOFILE, &old);
    ck_assert_int_eq(rc, -EMFILE);
    ck_assert_int_eq(mproc__digest_load(), 0);
}
END_TEST

/* ---- where it is needed ---- */

START_TEST(a_function_of_an_object_with_a_build_id_needs_no_libcrypto)
{
    mproc__function_id id;
    mproc_fn *fn = NULL, *wanted = (mproc_fn *)(uintptr_t)strlen;
    way = MISSING;
    ck_assert_int_eq(mproc__function_pack(wanted, &id), 0);
    ck_assert_int_eq(mproc__function_unpack(&id, &fn), 0);
    ck_assert(fn == wanted);
    ck_assert(is_missed(mproc__function_pack(computes, &id)));
}
END_TEST

/* Standard streams and the boot socket are open, and one more is not allowed. */
START_TEST(limits_leave_room_for_libcrypto)
{
    mproc_process *process = NULL;
    warm();
    int rc = mproc_process_start(
        computes, MPROC_NONE,
        MPROC_WITH(mproc_process_options, .start = (mproc_start)_i, .limits.descriptors = 4), &process);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    ck_assert_int_eq(join(process), DONE);
    mproc_process_close(&process);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("crypto");
    TCase *all = support_case(suite, "libcrypto");

    tcase_add_test(all, a_copy_made_beside_a_loading_thread_hears_why_it_cannot_load);
    tcase_add_test(all, a_start_by_fork_waits_for_the_thread_that_loads);
    tcase_add_test(all, a_start_by_fork_is_made_again_when_the_load_began_at_the_fork);
    tcase_add_loop_test(all, a_start_that_needs_libcrypto_names_it_when_it_is_not_there, MPROC_START_SPAWN,
                        PROCESS_METHODS);
    tcase_add_test(all, what_has_a_key_needs_libcrypto_when_it_is_made);
    tcase_add_test(all, too_few_descriptors_for_it_are_told_as_that);
    tcase_add_test(all, a_function_of_an_object_with_a_build_id_needs_no_libcrypto);
    tcase_add_loop_test(all, limits_leave_room_for_libcrypto, MPROC_START_SPAWN, PROCESS_METHODS);
    return support_run(suite, argc, argv);
}
