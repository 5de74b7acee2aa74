/* SPDX-License-Identifier: BSD-2-Clause */
/* Suites: the fixture, the results as TAP, a directory that goes with the program. */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

enum { TEST_LIMIT_MS = 20000, LEAK_TEXT_BYTES = 4096, TREE_DESCRIPTORS = 16 };

#ifdef MPROC__SANITIZED
enum { BUILD_SCALE = 5 };
#else
enum { BUILD_SCALE = 1 };
#endif

static char directory[96];

#if SUPPORT_THREAD_SANITIZER
/* What the thread sanitizer is told in every test program. It knows one process and what its own threads did; where that
 * is not enough, its answer is left out:
 * - report_mutex_bugs: a robust mutex whose owner died, or that another process released, is to it one that is unlocked by
 *   the wrong thread; and tests release on purpose what they do not hold, which libc answers with EPERM.
 * - detect_deadlocks: no more than 64 mutexes a thread, then it aborts; tests hold the life words of 120 participants.
 * - die_after_fork: children of programs with threads are what many tests are about.
 * - handle_segv: a test that wants SIGSEGV wants the signal. */
const char *__tsan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0:detect_deadlocks=0:die_after_fork=0:handle_segv=0";
}
#endif

#if defined(MPROC__SANITIZED) && !SUPPORT_THREAD_SANITIZER
static bool leaks_skipped;

/* The leak sanitizer asks before it looks. Without some descriptors (three were too few) it could not, and would end the process
 * with an exit code of its own, or try for ever. */
int __lsan_is_turned_off(void);
__attribute__((visibility("default"))) int __lsan_is_turned_off(void)
{
    enum { NEEDED = 8 };
    int threads[NEEDED], count = 0;
    while (!leaks_skipped && count < NEEDED &&
           (threads[count] = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0)
        count++;
    for (int i = 0; i < count; i++)
        close(threads[i]);
    return count < NEEDED;
}

void support_sanitizer_skip(void)
{
    leaks_skipped = true;
}
#else
void support_sanitizer_skip(void)
{
}
#endif

int support_ms(int milliseconds)
{
    const char *scale = getenv("MPROC_TEST_SCALE");
    int factor = scale ? atoi(scale) : 1;
    return milliseconds * BUILD_SCALE * (factor > 0 ? factor : 1);
}

const char *support_directory(void)
{
    return directory;
}

/* Check's own handlers for the terminal's signals are inherited by the test, and would be by its children. */
static void fixture_setup(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    support_fail_allocation(0);
    support_leaks_begin();
}

static void fixture_teardown(void)
{
    char text[LEAK_TEXT_BYTES];
    support_fail_allocation(0);
    if (support_leaks_find(text, sizeof(text)) == 0)
        return;
    support_children_kill();
    ck_abort_msg("%s", text);
}

TCase *support_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, support_ms(TEST_LIMIT_MS) / 1000.0);
    tcase_add_checked_fixture(tcase, fixture_setup, fixture_teardown);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static int entry_remove(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

/* Also the runtime directory of the tests, so that the sockets they leave are seen: hence two levels. */
static void directory_make(void)
{
    char runtime[sizeof(directory) + 8];
    snprintf(directory, sizeof(directory), "/tmp/mproc-check-XXXXXX");
    if (!mkdtemp(directory)) {
        perror(directory);
        exit(EXIT_FAILURE);
    }
    snprintf(runtime, sizeof(runtime), "%s/run", directory);
    if (mkdir(runtime, 0700) != 0)
        perror(runtime);
    setenv("XDG_RUNTIME_DIR", runtime, 1);
}

static void results_to_file(SRunner *runner)
{
    static char path[4096]; /* Check keeps the pointer */
    const char *results = getenv("MPROC_TEST_RESULTS");
    if (!results || (mkdir(results, 0777) != 0 && errno != EEXIST))
        return;
    snprintf(path, sizeof(path), "%s/%s.tap", results, program_invocation_short_name);
    srunner_set_tap(runner, path);
}

int support_run(Suite *suite, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    directory_make();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    SRunner *runner = srunner_create(suite);
    results_to_file(runner);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    support_children_kill();
    nftw(directory, entry_remove, TREE_DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
