/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions by registered names: in receivers of another build, what is refused, many at once. */
#include "platform/base.h"

#include <dlfcn.h>
#include <pthread.h>

#include "process/program_support.h"

/* ---- a plugin that is replaced while the program runs ---- */

#define PLUGIN "MPROC_TEST_PLUGIN"

static mproc_fn *plugin_function(const char *name)
{
    const char *path = getenv(PLUGIN);
    void *plugin = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    return plugin ? (mproc_fn *)(uintptr_t)dlsym(plugin, name) : NULL;
}

/* First in main, of the first process and of exec'd children: what a program with plugins does. */
static void plugin_register(void)
{
    mproc_fn *fn = plugin_function("upgraded_build");
    if (fn && mproc_register("upgraded.build", fn) < 0)
        fprintf(stderr, "%s\n", mproc_error_text(mproc_last_error()));
}

/* As installers do: a new file in the place of the old one, which lives on in those who have it. */
static void plugin_install(int build)
{
    char to[256], fresh[300], command[1024];
    snprintf(to, sizeof to, "%s/plugin.so", support_directory());
    snprintf(fresh, sizeof fresh, "%s.new", to);
    snprintf(command, sizeof command, "cp '" UPGRADED_DIRECTORY "/upgraded_%d.so' '%s'", build, fresh);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(rename(fresh, to), 0);
    setenv(PLUGIN, to, 1);
}

static void plugin_remove(void)
{
    unlink(getenv(PLUGIN));
    unsetenv(PLUGIN);
}

START_TEST(a_registered_function_of_a_plugin_built_anew_is_found_by_its_name)
{
    plugin_install(1);
    plugin_register();
    mproc_fn *fn = plugin_function("upgraded_build");
    ck_assert_ptr_nonnull((void *)(uintptr_t)fn);
    plugin_install(2);
    warm(); /* the nursery has the new build, too */
    ck_assert_int_eq(run(_i, fn, MPROC_NONE), _i == MPROC_START_FORK || _i == MPROC_START_THREAD ? 1 : 2);
    plugin_remove();
}
END_TEST

START_TEST(without_a_name_that_both_have_the_error_names_both_builds)
{
    mproc_process *process = NULL;
    plugin_install(1);
    plugin_register();
    mproc_fn *other = plugin_function("upgraded_other");
    plugin_install(2);
    warm();
    mproc_process_options options = {.size = sizeof options, .start = (mproc_start)_i};
    ck_assert_int_eq(mproc_process_start(other, MPROC_NONE, &options, &process), MPROC_EFUNCTION);
    story_has("register the function by name");
    ck_assert_int_eq(mproc_register("upgraded.only.here", other), 0);
    ck_assert_int_eq(mproc_process_start(other, MPROC_NONE, &options, &process), MPROC_EFUNCTION);
    story_has("of build ");
    story_has("its own build is ");
    story_has("'upgraded.only.here'");
    ck_assert_ptr_null(process);
    ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0);
    plugin_remove();
}
END_TEST

/* ---- what is refused ---- */

static int other(mproc_call *call)
{
    return (int)mproc_call_int(call, 0);
}

START_TEST(bad_names_and_functions_are_refused_without_effect)
{
    char name[65];
    memset(name, 'n', 64);
    name[64] = '\0';
    ck_assert_int_eq(mproc_register(NULL, nothing), -EINVAL);
    ck_assert_int_eq(mproc_register("name", NULL), -EINVAL);
    ck_assert_int_eq(mproc_register("", nothing), -EINVAL);
    ck_assert_int_eq(mproc_register(name, nothing), -ENAMETOOLONG);
    ck_assert_int_eq(mproc_register("name", (mproc_fn *)(uintptr_t)&name), MPROC_EFUNCTION);
    name[63] = '\0';
    ck_assert_int_eq(mproc_register(name, nothing), 0);
    ck_assert_int_eq(mproc_register(name, nothing), 0);
    ck_assert_int_eq(mproc_register(name, other), -EEXIST);
    story_has("another function");
    ck_assert(mproc__registered_find(name) == nothing);
    ck_assert_ptr_null((void *)(uintptr_t)mproc__registered_find("name"));
}
END_TEST

START_TEST(a_name_given_after_starts_counts_from_then_on_and_the_latest_is_sent)
{
    mproc__function_id id;
    warm();
    ck_assert_int_eq(run(MPROC_START_SPAWN, other, MPROC_ARGS(4)), 4);
    ck_assert_int_eq(mproc__function_pack(other, &id), 0);
    ck_assert_str_eq(id.name, "");
    ck_assert_int_eq(mproc_register("first", other), 0);
    ck_assert_int_eq(mproc_register("second", other), 0);
    ck_assert_int_eq(mproc__function_pack(other, &id), 0);
    ck_assert_str_eq(id.name, "second");
    ck_assert_int_eq(run(MPROC_START_SPAWN, other, MPROC_ARGS(5)), 5);
}
END_TEST

START_TEST(a_name_from_the_wire_without_an_end_is_unknown)
{
    mproc__function_id id;
    mproc_fn *fn = NULL;
    ck_assert_int_eq(mproc__function_pack(other, &id), 0);
    id.build_id[0] ^= 1;
    memset(id.name, 'n', sizeof id.name);
    ck_assert_int_eq(mproc__function_unpack(&id, &fn), MPROC_EFUNCTION);
    ck_assert_ptr_null((void *)(uintptr_t)fn);
}
END_TEST

START_TEST(no_memory_is_an_error_and_the_next_call_works)
{
    mproc__function_id id;
    ck_assert_int_eq(mproc__function_pack(nothing, &id), 0); /* its hash allocates once */
    support_fail_allocation(1);
    ck_assert_int_eq(mproc_register("scarce", nothing), -ENOMEM);
    support_fail_allocation(0);
    ck_assert_ptr_null((void *)(uintptr_t)mproc__registered_find("scarce"));
    ck_assert_int_eq(mproc_register("scarce", nothing), 0);
}
END_TEST

/* ---- threads ---- */

enum { THREADS = 4, NAMES = 200 };

/* Each name is asked for by all threads, half of them for another function: one of the two has it in the end. */
static void *registers(void *context)
{
    mproc_fn *fn = *(int *)context % 2 ? nothing : other;
    char name[16];
    int refused = 0;
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "race-%d", i);
        int rc = mproc_register(name, fn);
        if (rc != 0 && rc != -EEXIST)
            return (void *)-1;
        refused += rc != 0;
        if ((rc == 0) != (mproc__registered_find(name) == fn))
            return (void *)-1;
    }
    *(int *)context = refused;
    return NULL;
}

START_TEST(a_name_is_one_functions_whoever_registers_at_the_same_time)
{
    pthread_t threads[THREADS];
    int contexts[THREADS];
    for (int i = 0; i < THREADS; i++) {
        contexts[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, registers, &contexts[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
    ck_assert_int_eq(contexts[0], contexts[2]); /* the same function, the same refusals */
    ck_assert_int_eq(contexts[1], contexts[3]);
    ck_assert_int_eq(contexts[0] + contexts[1], NAMES);
}
END_TEST

int main(int argc, char **argv)
{
    plugin_register();
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("registered");
    TCase *builds = support_case(suite, "builds");
    tcase_add_loop_test(builds, a_registered_function_of_a_plugin_built_anew_is_found_by_its_name,
                        FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(builds, without_a_name_that_both_have_the_error_names_both_builds, MPROC_START_SPAWN,
                        PROCESS_METHODS);
    TCase *names = support_case(suite, "names");
    tcase_add_test(names, bad_names_and_functions_are_refused_without_effect);
    tcase_add_test(names, a_name_given_after_starts_counts_from_then_on_and_the_latest_is_sent);
    tcase_add_test(names, a_name_from_the_wire_without_an_end_is_unknown);
    tcase_add_test(names, no_memory_is_an_error_and_the_next_call_works);
    tcase_add_test(names, a_name_is_one_functions_whoever_registers_at_the_same_time);
    return support_run(suite, argc, argv);
}
