/* SPDX-License-Identifier: BSD-2-Clause */
/* Spares: how many, taken and replaced, and what a child finds that was one. */
#include "platform/base.h"

#include <sys/resource.h>

#include "process/spares_support.h"

static int tells_its_pid(mproc_call *call)
{
    int pid = (int)getpid();
    return write((int)mproc_call_arg(call, 0).number, &pid, sizeof pid) == sizeof pid ? 0 : 1;
}

static bool is_among(pid_t pid, const pid_t *pids, int count)
{
    for (int i = 0; i < count; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* ---- how many ---- */

START_TEST(there_are_two_from_the_first_forkserver_start_on_and_none_before)
{
    pid_t pids[MPROC_SPARES_MOST];
    ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
    ck_assert_int_gt(nursery_pid(), 0);
    ck_assert_int_eq(run(MPROC_START_SPAWN, nothing, MPROC_NONE), 0);
    ck_assert_int_eq(find_spares(pids), 0);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
    await_spares(2);
    support_leaks_begin();
}
END_TEST

START_TEST(their_number_can_be_set_at_any_time_and_more_than_64_are_refused)
{
    ck_assert_int_eq(mproc_set_spares(MPROC_SPARES_MOST + 1), -EINVAL);
    ck_assert_int_eq(mproc_set_spares(UINT32_MAX), -EINVAL);
    warm_spares(FEW);
    ck_assert_int_eq(mproc_set_spares(MPROC_SPARES_MOST + 1), -EINVAL);
    await_spares(FEW);
    static const int numbers[] = {1, MPROC_SPARES_MOST, 3, 0, 2};
    for (size_t i = 0; i < MPROC__COUNT(numbers); i++) {
        ck_assert_int_eq(mproc_set_spares((unsigned)numbers[i]), 0);
        await_spares(numbers[i]);
        ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
        await_spares(numbers[i]);
    }
}
END_TEST

/* Whose notes the program could not take when it had no room for their descriptors. */
START_TEST(fewer_are_fewer_also_when_the_program_has_no_descriptors)
{
    struct rlimit before, none;
    warm_spares(MPROC_SPARES_MOST);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = mproc_set_spares(FEW);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(rc, 0);
    await_spares(FEW);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
    await_spares(FEW);
}
END_TEST

START_TEST(a_start_takes_one_that_was_there_and_another_takes_its_place)
{
    pid_t pids[MPROC_SPARES_MOST];
    int pid;
    warm_spares(FEW);
    gate said = gate_make();
    for (int i = 0; i < 3; i++) {
        int count = find_spares(pids);
        ck_assert_int_eq(count, FEW);
        ck_assert_int_eq(run(MPROC_START_FORKSERVER, tells_its_pid, MPROC_ARGS(mproc_fd(said.write_fd))), 0);
        ck_assert_int_eq(read(said.read_fd, &pid, sizeof pid), sizeof pid);
        ck_assert(is_among(pid, pids, count));
        await_spares(FEW);
    }
    gate_destroy(&said);
}
END_TEST

/* ---- what a child finds is of the moment of start ---- */

static int finds(mproc_call *call)
{
    char here[512] = "";
    const char *value = getenv("SPARE_VALUE"), *wanted = mproc_call_text(call, 1);
    bool right = getcwd(here, sizeof here) && !strcmp(here, mproc_call_text(call, 0));
    return right && !strcmp(value ? value : "none", wanted) ? 0 : 1;
}

static void check_finds(const char *directory, const char *value)
{
    await_spares(FEW);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, finds, MPROC_ARGS(directory, value)), 0);
}

START_TEST(a_spare_gets_the_directory_and_the_environment_of_the_start_and_not_of_its_fork)
{
    char here[512];
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    warm_spares(FEW);
    check_finds(here, "none");
    setenv("SPARE_VALUE", "one", 1);
    check_finds(here, "one");
    ck_assert_int_eq(chdir("/"), 0);
    check_finds("/", "one");
    setenv("SPARE_VALUE", "two", 1);
    check_finds("/", "two");
    ck_assert_int_eq(chdir(here), 0);
    unsetenv("SPARE_VALUE");
    check_finds(here, "none");
}
END_TEST

extern char **environ;

static int has_no_environment(mproc_call *call)
{
    (void)call;
    return environ && environ[0] ? 1 : 0;
}

START_TEST(an_empty_environment_is_one_too)
{
    warm_spares(FEW);
    clearenv();
    for (unsigned spares = 0; spares <= FEW; spares += FEW) {
        ck_assert_int_eq(mproc_set_spares(spares), 0);
        await_spares((int)spares);
        ck_assert_int_eq(run(MPROC_START_FORKSERVER, has_no_environment, MPROC_NONE), 0);
    }
}
END_TEST

static int has_its_strings(mproc_call *call)
{
    for (size_t i = 0; i < 3; i++)
        if (!environ[i] || strcmp(environ[i], mproc_call_text(call, i)) != 0)
            return 1;
    setenv("SPARE_VALUE", "set", 1); /* there is room for more */
    return !environ[3] || strcmp(environ[2], "A=2") != 0 || strcmp(getenv("SPARE_VALUE"), "set") != 0;
}

/* As exec carries them over: also one without '=', and a name that comes twice. */
START_TEST(every_string_of_the_environment_comes_along_in_its_place)
{
    static char first[] = "A=1", bare[] = "no assignment", second[] = "A=2";
    static char *strings[] = {first, bare, second, NULL};
    char **before = environ;
    warm_spares(FEW);
    for (unsigned spares = 0; spares <= FEW; spares += FEW) {
        ck_assert_int_eq(mproc_set_spares(spares), 0);
        await_spares((int)spares);
        environ = strings;
        int exit_code = run(MPROC_START_FORKSERVER, has_its_strings, MPROC_ARGS(first, bare, second));
        environ = before;
        ck_assert_int_eq(exit_code, 0);
    }
}
END_TEST

static int goes_elsewhere(mproc_call *call)
{
    (void)call;
    setenv("SPARE_VALUE", "of the preload", 1);
    return chdir("/") == 0 ? 0 : 1;
}

START_TEST(what_a_preloaded_function_does_to_both_is_not_seen)
{
    char here[512];
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    ck_assert_int_eq(mproc_preload(goes_elsewhere, MPROC_PRELOAD_FAIL), 0);
    warm_spares(FEW);
    check_finds(here, "none");
}
END_TEST

static int counts_shared_memory(mproc_call *call)
{
    char line[512], access[8];
    int count = 0;
    (void)call;
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps)
        return 100;
    while (fgets(line, sizeof line, maps))
        count += sscanf(line, "%*s %7s", access) == 1 && !strcmp(access, "rw-s");
    fclose(maps);
    return count;
}

/* The nursery's memory, above all: whoever runs in one child cannot reach the others, nor the program. */
START_TEST(a_child_of_the_nursery_can_write_no_shared_memory_that_it_was_not_given)
{
    warm_spares((unsigned)_i);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, counts_shared_memory, MPROC_NONE), 0);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("spares");
    TCase *number = support_case(suite, "how many");
    tcase_add_test(number, there_are_two_from_the_first_forkserver_start_on_and_none_before);
    tcase_add_test(number, their_number_can_be_set_at_any_time_and_more_than_64_are_refused);
    tcase_add_test(number, fewer_are_fewer_also_when_the_program_has_no_descriptors);
    tcase_add_test(number, a_start_takes_one_that_was_there_and_another_takes_its_place);
    TCase *moment = support_case(suite, "moment of start");
    tcase_add_test(moment, a_spare_gets_the_directory_and_the_environment_of_the_start_and_not_of_its_fork);
    tcase_add_test(moment, an_empty_environment_is_one_too);
    tcase_add_test(moment, every_string_of_the_environment_comes_along_in_its_place);
    tcase_add_test(moment, what_a_preloaded_function_does_to_both_is_not_seen);
    tcase_add_loop_test(moment, a_child_of_the_nursery_can_write_no_shared_memory_that_it_was_not_given, 0,
                        2);
    return support_run(suite, argc, argv);
}
