/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole programs: what they print, what they leave behind, how promptly they end. Each is this program, started again. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc.h>
#include "platform/platform.h"
#include "shm/named_common.h"
#include "support/support.h"

enum { LIMIT_MS = 10000 };

#define PLACE "shm:/check"

/* ---- the programs ---- */

static int fails(mproc_call *call)
{
    return mproc_call_fail(call, -ENOENT, "no model");
}

/* Argument: the semaphore. It finds the same one by its name. */
static int takes_by_name(mproc_call *call)
{
    mproc_semaphore *given = mproc_call_semaphore(call, 0), *found;
    mproc_place *place;
    if (mproc_place_open(PLACE, NULL, &place) < 0 || mproc_semaphore_open(place, "global", &found) < 0)
        return 1;
    if (mproc_semaphore_acquire(found, MPROC_NOW) != 0 ||
        mproc_semaphore_acquire(given, MPROC_NOW) != -ETIMEDOUT)
        return 2;
    int code = mproc_semaphore_release(given, 1);
    mproc_semaphore_close(&found);
    mproc_place_close(&place);
    return code;
}

static int makes_global(mproc_place **ret_place, mproc_semaphore **ret_semaphore)
{
    int code = mproc_place_open(PLACE, NULL, ret_place);
    return code < 0
               ? code
               : mproc_semaphore_create(*ret_place, 1, MPROC_WITH(mproc_semaphore_options, .name = "global"),
                                        ret_semaphore);
}

static int spawns(mproc_semaphore *semaphore)
{
    mproc_process *child;
    int exit_code = -1;
    if (mproc_process_start(takes_by_name, MPROC_ARGS(semaphore),
                            MPROC_WITH(mproc_process_options, .start = MPROC_START_SPAWN), &child) < 0 ||
        mproc_process_join(child, MPROC_FOREVER, &exit_code) < 0)
        return -1;
    mproc_process_close(&child);
    return exit_code;
}

static int clean_program(void)
{
    mproc_place *place;
    mproc_semaphore *semaphore;
    mproc_pool *pool = NULL;
    if (makes_global(&place, &semaphore) < 0)
        return 1;
    if (spawns(semaphore) != 0)
        return 2;
    if (mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = 2, .initializer = fails), &pool) !=
            -ENOENT ||
        pool)
        return 3;
    mproc_semaphore_close(&semaphore);
    mproc_place_close(&place);
    return 0;
}

static int killed_program(void)
{
    mproc_place *place;
    mproc_semaphore *semaphore;
    mproc_shm *shm;
    if (makes_global(&place, &semaphore) < 0 || mproc_shm_create(place, 100, NULL, &shm) < 0)
        return 1;
    raise(SIGKILL);
    return 2;
}

/* Ends by return, while a child that it forked itself goes on and has all its descriptors. Prints that one's pid. */
static int forking_program(void)
{
    static mproc_place *place; /* open to the end, and no leak to a sanitizer */
    static mproc_semaphore *semaphore;
    if (makes_global(&place, &semaphore) < 0 || spawns(semaphore) != 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    dprintf(1, "%d", (int)pid);
    return 0;
}

/* ---- running them ---- */

typedef struct run {
    const char *mode;
    int output, errors; /* files, so that nobody waits for whoever still has them open */
} run;

static int become(void *context)
{
    run *of = context;
    if (dup2(of->output, 1) < 0 || dup2(of->errors, 2) < 0)
        return 126;
    execl("/proc/self/exe", "check_library", of->mode, (char *)NULL);
    return 127;
}

/* Its exit status; *ret_output must be freed. */
static int run_program(const char *mode, char ret_output[64])
{
    run of = {mode, memfd_create("output", MFD_CLOEXEC), memfd_create("errors", MFD_CLOEXEC)};
    char errors[1000] = "";
    ck_assert(of.output >= 0 && of.errors >= 0);
    int status = support_reap(support_fork(become, &of), LIMIT_MS);
    memset(ret_output, 0, 64);
    ck_assert_int_ge(pread(of.output, ret_output, 63, 0), 0);
    ck_assert_int_ge(pread(of.errors, errors, sizeof(errors) - 1, 0), 0);
    ck_assert_str_eq(errors, "");
    close(of.output);
    close(of.errors);
    return status;
}

static bool begin(void)
{
    if (named_own_directory(NULL))
        return true;
    named_skipped("needs a /dev/shm of its own");
    return false;
}

/* ---- tests ---- */

/* shows: TRACK-13 */
START_TEST(a_clean_run_prints_nothing_and_leaves_nothing)
{
    char output[64];
    if (!begin())
        return;
    ck_assert_int_eq(run_program("clean", output), 0);
    ck_assert_str_eq(output, "");
    ck_assert_uint_eq(named_count("check"), 0);
}
END_TEST

/* shows: SHM-10 TRACK-01 DEATH-10 */
START_TEST(what_a_killed_program_left_goes_when_the_next_one_starts)
{
    char output[64];
    if (!begin())
        return;
    ck_assert_int_eq(run_program("killed", output), 256 + SIGKILL);
    ck_assert_uint_eq(named_count("check%"), 2);
    ck_assert_int_eq(run_program("start", output), 0);
    ck_assert_uint_eq(named_count("check%"), 0);
}
END_TEST

/* Reaps what has ended; true when that one child is the only one left. */
static bool only_child(void *pid)
{
    char text[200] = "", wanted[32];
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    FILE *children = fopen("/proc/thread-self/children", "re");
    if (!children) /* a kernel without the list: no_child tells later */
        return kill(*(pid_t *)pid, 0) == 0;
    size_t length = fread(text, 1, sizeof(text) - 1, children);
    fclose(children);
    snprintf(wanted, sizeof(wanted), "%d ", (int)*(pid_t *)pid);
    return length == strlen(wanted) && strcmp(text, wanted) == 0;
}

static bool no_child(void *unused)
{
    (void)unused;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return waitpid(-1, NULL, WNOHANG) < 0;
}

/* A raw fork, not one of the library's.
 * shows: TRACK-11 */
START_TEST(a_program_ends_promptly_and_whole_beside_a_child_that_it_forked_itself)
{
    char output[64];
    if (!begin())
        return;
    int64_t before = mproc__now_ns();
    ck_assert_int_eq(run_program("forking", output), 0);
    ck_assert_int_lt((mproc__now_ns() - before) / 1000000, support_ms(1000));
    pid_t left = atoi(output);
    ck_assert_int_gt(left, 0);
    ck_assert(support_until(only_child, &left, LIMIT_MS));
    /* The child has the name open, so it stays; whatever else the library had started ends by itself. */
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    ck_assert_uint_eq(named_count("check%"), 1);
    support_kill(left);
    ck_assert(support_until(no_child, NULL, LIMIT_MS));
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    ck_assert_uint_eq(named_count("check%"), 0);
}
END_TEST

int main(int argc, char **argv)
{
    if (mproc_init(&argc, &argv) < 0)
        return 125;
    const char *mode = argc == 2 ? argv[1] : "";
    if (strcmp(mode, "clean") == 0)
        return clean_program();
    if (strcmp(mode, "killed") == 0)
        return killed_program();
    if (strcmp(mode, "forking") == 0)
        return forking_program();
    if (strcmp(mode, "start") == 0)
        return 0;
    Suite *suite = suite_create("library");
    TCase *programs = support_case(suite, "programs");
    tcase_add_test(programs, a_clean_run_prints_nothing_and_leaves_nothing);
    tcase_add_test(programs, what_a_killed_program_left_goes_when_the_next_one_starts);
    tcase_add_test(programs, a_program_ends_promptly_and_whole_beside_a_child_that_it_forked_itself);
    return support_run(suite, argc, argv);
}
