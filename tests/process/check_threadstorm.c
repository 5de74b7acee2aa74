/* SPDX-License-Identifier: BSD-2-Clause */
/* THREADSTORM: threads are made and end all the time, signals come a thousand times a second, the program forks, and
 * meanwhile children are started by threads that end at once, joined, stopped, signalled and let go by others. Loops are
 * over method and whether the program's handlers restart system calls. And many at once, and many in turn. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "process/process_support.h"

/* Their allocators keep a lock over a fork that another thread held, and what is freed for a while. */
#ifdef MPROC__SANITIZED
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { ACTORS = 4, ROUNDS = 10, TICK_US = 1000 };
enum { CASES = 2 * ALL_METHODS };

static int case_method(int number)
{
    return number % ALL_METHODS;
}

static bool case_restarts(int number)
{
    return number >= ALL_METHODS;
}

/* ---- children ---- */

static int returns_7(mproc_call *call)
{
    (void)call;
    return 7;
}

static int waits_for_its_end(mproc_call *call)
{
    while (!mproc_call_stopping(call))
        usleep(500);
    return 0;
}

/* ---- what goes on beside ---- */

static struct {
    _Atomic bool stops;
    _Atomic unsigned ticks, threads, forks, failures;
} storm;

static void on_signal(int unused)
{
    (void)unused;
    atomic_fetch_add(&storm.ticks, 1);
}

static void *ends_at_once(void *context)
{
    return context;
}

static void *makes_threads(void *context)
{
    while (!atomic_load(&storm.stops)) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, ends_at_once, NULL) == 0) {
            pthread_join(thread, NULL);
            atomic_fetch_add(&storm.threads, 1);
        }
    }
    return context;
}

/* The program's own children, which it waits for itself. */
static void *forks(void *context)
{
    while (!atomic_load(&storm.stops)) {
        int status = -1;
        pid_t got, pid = fork();
        if (pid == 0)
            _exit(3);
        while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR) {
        }
        if (pid < 0 || got != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 3)
            atomic_fetch_add(&storm.failures, 1);
        atomic_fetch_add(&storm.forks, 1);
        usleep(500);
    }
    return context;
}

/* ---- starting, and the rest ---- */

typedef struct act {
    int method;
    mproc_fn *fn;
    mproc_process *process;
    int rc;
} act;

static void *starts(void *context)
{
    act *of = context;
    of->rc = mproc_process_start(of->fn, MPROC_NONE,
                                 MPROC_WITH(mproc_process_options, .start = (mproc_start)of->method),
                                 &of->process);
    return NULL;
}

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

static bool joins(mproc_process *process, int expected, int also)
{
    int exit_code = -1000;
    int rc = mproc_process_join(process, soon(), &exit_code);
    if (rc == 0 && (exit_code == expected || exit_code == also))
        return true;
    fprintf(stderr, "join: %s, exit code %d instead of %d\n", mproc_errname(rc), exit_code, expected);
    return false;
}

/* By a thread that has ended when its child is used. */
static bool act_round(int method, int round)
{
    act of = {.method = method, .fn = round % 4 == 1 || round % 4 == 2 ? waits_for_its_end : returns_7};
    pthread_t thread;
    if (pthread_create(&thread, NULL, starts, &of) != 0)
        return false;
    pthread_join(thread, NULL);
    if (of.rc < 0) {
        fprintf(stderr, "start: %s\n", mproc_errname(of.rc));
        return false;
    }
    bool right = true;
    switch (round % 4) {
    case 0:
        right = joins(of.process, 7, 7);
        break;
    case 1: /* it may see the flag before the signal */
        right = mproc_process_join(of.process, mproc_after_ms(2), NULL) == -ETIMEDOUT &&
                mproc_process_stop(of.process, soon()) == 0 && joins(of.process, -SIGTERM, 0);
        break;
    case 2:
        right = mproc_process_is_alive(of.process) && mproc_process_signal(of.process, SIGTERM) == 0 &&
                joins(of.process, method == MPROC_START_THREAD ? 0 : -SIGTERM, 1000);
        break;
    default: /* let go of: collected by some later start */
        break;
    }
    mproc_process_close(&of.process);
    return right;
}

static void *acts(void *context)
{
    int method = *(int *)context;
    for (int round = 0; round < ROUNDS; round++)
        if (!act_round(method ? method : FIRST_METHOD + round / 4 % (ALL_METHODS - FIRST_METHOD), round))
            atomic_fetch_add(&storm.failures, 1);
    return NULL;
}

static bool has_no_children(void *unused)
{
    mproc_variant list;
    (void)unused;
    if (mproc_process_children(&list) < 0)
        return false;
    bool none = mproc_variant_count(list) == 0;
    mproc_variant_clear(&list);
    return none;
}

static void tick(unsigned us)
{
    struct itimerval timer = {.it_interval.tv_usec = us, .it_value.tv_usec = us};
    ck_assert_int_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

START_TEST(starts_joins_stops_and_signals_are_right_while_threads_and_signals_come_and_go)
{
    int method = case_method(_i);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = case_restarts(_i) ? SA_RESTART : 0};
    struct sigaction alarm, child;
    pthread_t actors[ACTORS], beside[2];
    warm();
    sigaction(SIGALRM, &action, &alarm);
    sigaction(SIGCHLD, &action, &child);
    tick(TICK_US);
    ck_assert_int_eq(pthread_create(&beside[0], NULL, makes_threads, NULL), 0);
    ck_assert_int_eq(pthread_create(&beside[1], NULL, forks, NULL), 0);
    for (int i = 0; i < ACTORS; i++)
        ck_assert_int_eq(pthread_create(&actors[i], NULL, acts, &method), 0);
    for (int i = 0; i < ACTORS; i++)
        ck_assert_int_eq(pthread_join(actors[i], NULL), 0);
    atomic_store(&storm.stops, true);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(beside[i], NULL), 0);
    tick(0);
    sigaction(SIGALRM, &alarm, NULL);
    sigaction(SIGCHLD, &child, NULL);
    ck_assert_uint_eq(atomic_load(&storm.failures), 0);
    ck_assert_uint_gt(atomic_load(&storm.ticks), 0);
    ck_assert_uint_gt(atomic_load(&storm.threads), 0);
    ck_assert_uint_gt(atomic_load(&storm.forks), 0);
    ck_assert(support_until(has_no_children, NULL, LIMIT_MS));
}
END_TEST

/* ---- many ---- */

/* Pages of this process: what it has touched. */
static long pages_resident(void)
{
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%ld %ld", &size, &resident) != 2)
            resident = 0;
        fclose(file);
    }
    return resident;
}

static int zombies(void)
{
    char path[64];
    int pid, count = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *list = fopen(path, "re");
    while (list && fscanf(list, "%d", &pid) == 1) {
        mproc__process_view view;
        count += mproc__process_view_get(pid, &view) == 0 && view.state == 'Z';
    }
    if (list)
        fclose(list);
    return count;
}

/* Half of them joined, half only closed. CHECK_MANY says how many; an issue's closing takes 10,000 of each method. */
START_TEST(many_starts_in_turn_leave_no_zombie_no_descriptor_and_no_memory)
{
    enum { MANY = 300, WARM_UP = 60, GROWN_PAGES = 64 };
    const char *wish = getenv("CHECK_MANY");
    int many = wish ? atoi(wish) : MANY;
    long before = 0;
    warm();
    for (int i = 0; i < many + WARM_UP; i++) {
        mproc_process *process = start(_i, nothing, MPROC_NONE);
        if (i % 2)
            ck_assert_int_eq(join(process), 0);
        mproc_process_close(&process);
        if (i == WARM_UP)
            before = pages_resident();
    }
    ck_assert_int_le(zombies(), 8); /* those that the next starts collect */
    ck_assert(support_until(has_no_children, NULL, LIMIT_MS));
    ck_assert_int_eq(zombies(), 0);
    if (!SANITIZED)
        ck_assert_int_lt(pages_resident() - before, GROWN_PAGES);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("threadstorm");
    TCase *storms = support_case(suite, "storm");
    tcase_set_timeout(storms, support_ms(60000) / 1000.0);
    if (!SANITIZED) {
        tcase_add_loop_test(
            storms, starts_joins_stops_and_signals_are_right_while_threads_and_signals_come_and_go, 0, CASES);
    }
    TCase *many = support_case(suite, "many");
    tcase_set_timeout(many, getenv("CHECK_MANY") ? 600 : support_ms(30000) / 1000.0);
    tcase_add_loop_test(many, many_starts_in_turn_leave_no_zombie_no_descriptor_and_no_memory, FIRST_METHOD,
                        ALL_METHODS);
    return support_run(suite, argc, argv);
}
