/* SPDX-License-Identifier: BSD-2-Clause */
/* The hunter is hunted: every kind of leak, made on purpose in a suite of its own, must fail that suite by name; a clean
 * suite must pass. The leaking suites run in a second process of this program (`check_support leak KIND`). */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/story.h"
#include "support/faultloop.h"

enum { OUTPUT_BYTES = 8192 };

static int sleep_for_ever(void *context)
{
    (void)context;
    while (pause() != 0)
        ;
    return 0;
}

static int sleep_outside_the_group(void *context)
{
    setsid();
    return sleep_for_ever(context);
}

static int leave_an_orphan(void *context)
{
    support_fork(sleep_outside_the_group, context);
    return 0;
}

static int leave_at_once(void *context)
{
    (void)context;
    return 7;
}

static void *thread_for_ever(void *context)
{
    sleep_for_ever(context);
    return NULL;
}

static void leak_nothing(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    support_reap(support_fork(leave_at_once, NULL), 1000);
}

static void leak_descriptor(void)
{
    ck_assert_int_ge(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
}

static void lose_descriptor(void)
{
    close(STDIN_FILENO);
}

static void leak_child(void)
{
    support_fork(sleep_for_ever, NULL);
}

static void leak_child_of_another_group(void)
{
    support_fork(sleep_outside_the_group, NULL);
}

static void leak_orphan(void)
{
    support_reap(support_fork(leave_an_orphan, NULL), 1000);
}

static void leak_zombie(void)
{
    support_fork(leave_at_once, NULL);
}

__attribute__((unused)) static void leak_thread(void)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, thread_for_ever, NULL), 0);
}

static void leak_mapping(void)
{
    int fd = memfd_create("leak", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    ck_assert_ptr_ne(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
    close(fd);
}

static void leak_shm_name(void)
{
    char name[64];
    snprintf(name, sizeof(name), "/mproc-leak-%s", getenv("MPROC_LEAK_TAG"));
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void leak_runtime_file(void)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/socket", getenv("XDG_RUNTIME_DIR"));
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static void leak_blocked_signal(void)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_BLOCK, &mask, NULL);
}

static const struct leak {
    const char *name;
    void (*make)(void);
    const char *report; /* what the hunter must say; NULL: nothing */
} leaks[] = {
    {"nothing", leak_nothing, NULL},
    {"descriptor", leak_descriptor, "leaked descriptor"},
    {"lost-descriptor", lose_descriptor, "lost descriptor"},
    {"child", leak_child, "leaked child"},
    {"child-of-another-group", leak_child_of_another_group, "leaked child"},
    {"orphan", leak_orphan, "leaked child"},
    {"zombie", leak_zombie, "leaked child"},
#if !SUPPORT_THREAD_SANITIZER /* which looks for them itself */
    {"thread", leak_thread, "leaked thread"},
#endif
    {"mapping", leak_mapping, "leaked mapping"},
    {"shm-name", leak_shm_name, "leaked shm name"},
    {"runtime-file", leak_runtime_file, "leaked runtime file"},
    {"blocked-signal", leak_blocked_signal, "leaked signal: blocked-10"},
};

static const struct leak *leak_to_make;

START_TEST(the_leak)
{
    leak_to_make->make();
}
END_TEST

/* The second process: one suite of one test that leaks what `name` says. */
static int leaking_suite(const char *name, int argc, char **argv)
{
    for (size_t i = 0; i < MPROC__COUNT(leaks); i++)
        if (strcmp(leaks[i].name, name) == 0)
            leak_to_make = &leaks[i];
    if (!leak_to_make)
        return EXIT_FAILURE;
    Suite *suite = suite_create("leak");
    tcase_add_test(support_case(suite, name), the_leak);
    return support_run(suite, argc, argv);
}

/* Runs the second process; returns its exit status and what it printed. */
static int run_leak(const char *name, char *output)
{
    char command[512];
    snprintf(command, sizeof(command), "MPROC_LEAK_TAG=%d MPROC_TEST_RESULTS= /proc/%d/exe leak %s 2>&1",
             (int)getpid(), (int)getpid(), name);
    unsetenv("MPROC_TEST_RESULTS");
    FILE *child = popen(command, "re");
    ck_assert_ptr_nonnull(child);
    size_t length = fread(output, 1, OUTPUT_BYTES - 1, child);
    output[length] = '\0';
    int status = pclose(child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(every_kind_of_leak_is_caught_by_name)
{
    const struct leak *leak = &leaks[_i];
    char output[OUTPUT_BYTES], shm_name[64];
    int status = run_leak(leak->name, output);
    snprintf(shm_name, sizeof(shm_name), "/mproc-leak-%d", (int)getpid());
    shm_unlink(shm_name);
    if (leak->report) {
        ck_assert_msg(status == EXIT_FAILURE, "%s was not caught: %s", leak->name, output);
        ck_assert_msg(strstr(output, leak->report), "%s was not named: %s", leak->name, output);
    } else {
        ck_assert_msg(status == EXIT_SUCCESS, "a clean test failed: %s", output);
    }
}
END_TEST

START_TEST(a_child_reports_its_exit_status)
{
    ck_assert_int_eq(support_reap(support_fork(leave_at_once, NULL), 2000), 7);
}
END_TEST

START_TEST(a_killed_child_reports_the_signal)
{
    pid_t child = support_fork(sleep_for_ever, NULL);
    kill(child, SIGTERM);
    ck_assert_int_eq(support_reap(child, 2000), 256 + SIGTERM);
}
END_TEST

START_TEST(reaping_a_child_that_stays_ends_at_the_deadline)
{
    pid_t child = support_fork(sleep_for_ever, NULL);
    ck_assert_int_eq(support_reap(child, 20), -1);
    ck_assert_int_eq(kill(child, 0), -1);
}
END_TEST

START_TEST(a_sleeping_process_is_seen_asleep_and_a_running_one_is_not)
{
    pid_t child = support_fork(sleep_for_ever, NULL);
    ck_assert(support_until_asleep(child, 2000));
    kill(child, SIGSTOP);
    ck_assert(!support_until_asleep(child, 20));
    support_kill(child);
}
END_TEST

START_TEST(exactly_the_nth_allocation_fails)
{
    support_fail_allocation(2);
    /* volatile: a compiler may leave out an allocation that is never used */
    void *volatile first = malloc(8), *volatile second = calloc(1, 8), *volatile third = malloc(8);
    ck_assert(support_allocation_failed());
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(second);
    ck_assert_ptr_nonnull(third);
    free(first);
    free(third);
}
END_TEST

START_TEST(no_allocation_fails_unasked)
{
    support_fail_allocation(2);
    char *text = strdup("text");
    ck_assert(!support_allocation_failed());
    ck_assert_str_eq(text, "text");
    free(text);
}
END_TEST

/* ---- fault loops ---- */

/* The errno of the second of three; 100 when another failed, too. */
static int second_open_answers(void *context)
{
    int errors[3];
    (void)context;
    fault_window_open();
    for (int i = 0; i < 3; i++)
        errors[i] = open("/dev/null", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
    fault_window_close();
    return errors[0] || errors[2] ? 100 : errors[1];
}

static int counts_interruptions(void *context)
{
    int count = 0;
    (void)context;
    fault_window_open();
    while (poll(NULL, 0, 1) < 0 && errno == EINTR)
        count++;
    fault_window_close();
    return count;
}

typedef struct fault_scene {
    const bool *careless;
    int fd;
} fault_scene;

static int nothing_to_set_up(void *scene)
{
    ((fault_scene *)scene)->fd = -1;
    return 0;
}

/* A library call: two descriptors, of which the second may be refused. */
static int open_two(void *context)
{
    fault_scene *scene = context;
    scene->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (scene->fd < 0)
        return mproc__fail(-errno, "one");
    int second = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int code = second < 0 ? -errno : 0;
    if (second >= 0)
        close(second);
    else if (!*scene->careless)
        close(scene->fd);
    if (code < 0)
        scene->fd = -1;
    return code < 0 ? mproc__fail(code, "two") : 0;
}

static int two_are_fine(void *context, int rc)
{
    return rc < 0 && ((fault_scene *)context)->fd >= 0;
}

static void close_one(void *context)
{
    fault_scene *scene = context;
    if (scene->fd >= 0)
        close(scene->fd);
}

static int loop_over_open(void *careless)
{
    const fault_case fault = {.name = "open two",
                              .argument = careless,
                              .setup = nothing_to_set_up,
                              .call = open_two,
                              .check = two_are_fine,
                              .cleanup = close_one};
    close(STDERR_FILENO); /* Check says what it found wrong */
    close(STDOUT_FILENO);
    fault_system_calls(&fault);
    return 7;
}

START_TEST(a_fault_loop_finds_what_a_careless_call_leaks)
{
    static bool careful = false, careless = true;
    ck_assert_int_eq(support_reap(support_fork(loop_over_open, &careful), 5000), 7);
    ck_assert_int_ne(support_reap(support_fork(loop_over_open, &careless), 5000), 7);
}
END_TEST

START_TEST(exactly_the_nth_system_call_fails_as_planned)
{
    static const int errors[] = {EMFILE, ENFILE, EACCES, ENOMEM};
    fault_outcome outcome;
    pid_t child = support_fork(second_open_answers, NULL);
    ck_assert_int_eq(fault_trace(child, &(fault_plan){.call = 2, .variant = (unsigned)_i}, &outcome), 0);
    ck_assert(outcome.happened);
    ck_assert_str_eq(outcome.system_call, "openat");
    ck_assert_uint_eq(outcome.variants, MPROC__COUNT(errors));
    ck_assert_int_eq(outcome.error, errors[_i]);
    ck_assert_int_eq(support_reap(child, 2000), errors[_i]);
}
END_TEST

START_TEST(every_sleep_is_interrupted_as_often_as_planned)
{
    fault_outcome outcome;
    pid_t child = support_fork(counts_interruptions, NULL);
    ck_assert_int_eq(fault_trace(child, &(fault_plan){.interruptions = 5}, &outcome), 0);
    ck_assert_int_eq(support_reap(child, 2000), 5);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "leak") == 0)
        return leaking_suite(argv[2], argc, argv);
    Suite *suite = suite_create("support");
    TCase *hunter = support_case(suite, "hunter");
    tcase_add_loop_test(hunter, every_kind_of_leak_is_caught_by_name, 0, (int)MPROC__COUNT(leaks));
    TCase *helpers = support_case(suite, "helpers");
    tcase_add_test(helpers, a_child_reports_its_exit_status);
    tcase_add_test(helpers, a_killed_child_reports_the_signal);
    tcase_add_test(helpers, reaping_a_child_that_stays_ends_at_the_deadline);
    tcase_add_test(helpers, a_sleeping_process_is_seen_asleep_and_a_running_one_is_not);
    tcase_add_test(helpers, exactly_the_nth_allocation_fails);
    tcase_add_test(helpers, no_allocation_fails_unasked);
    TCase *faults = support_case(suite, "faults");
    tcase_add_loop_test(faults, exactly_the_nth_system_call_fails_as_planned, 0, 4);
    tcase_add_test(faults, every_sleep_is_interrupted_as_often_as_planned);
    tcase_add_test(faults, a_fault_loop_finds_what_a_careless_call_leaks);
    return support_run(suite, argc, argv);
}
