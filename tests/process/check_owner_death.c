/* SPDX-License-Identifier: BSD-2-Clause */
/* However a program ends, what it started by any method goes with it, also children of children, those that left the process
 * group, and external programs; and nothing goes because a mere thread has ended. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <mproc/program.h>
#include "process/process_support.h"

/* LIVE of guarantees.md on a loaded machine, once for each of the two generations. */
enum { GONE_MS = 2 * 250, RELATIVES_MOST = 8 };

typedef struct relative {
    int pid, generation;
} relative;

typedef struct cause {
    const char *name;
    void (*die)(void);
    bool daemons;   /* a normal exit joins the others */
    bool lives_on;  /* as another program, or without its first thread: its pid stays */
    bool own_group; /* before it starts anybody */
    bool large;
} cause;

typedef struct scene {
    const cause *cause;
    int method, say_fd, go_fd;
} scene;

/* ---- how a program ends ---- */

static void is_killed(void)
{
    raise(SIGKILL);
}

static void faults(void)
{
    signal(SIGSEGV, SIG_DFL); /* a sanitizer has its own */
    raise(SIGSEGV);
}

static void aborts(void)
{
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void exits(void)
{
    exit(0);
}

static void exits_at_once(void)
{
    _exit(0);
}

static void becomes_another_program(void)
{
    execlp("sleep", "sleep", "1000", (char *)NULL);
}

static void is_killed_with_its_group(void)
{
    kill(0, SIGKILL);
}

/* As the kernel's killer of the largest finds it: its memory takes the kernel a while. */
static void becomes_large(void)
{
    enum { LARGE_BYTES = 256 << 20 };
    char *large = malloc(LARGE_BYTES);
    if (large)
        for (size_t i = 0; i < LARGE_BYTES; i += 4096)
            ((volatile char *)large)[i] = 1;
}

static void *kills_it_without_its_first_thread(void *first)
{
    pthread_join(*(pthread_t *)first, NULL);
    raise(SIGKILL);
    return NULL;
}

static void loses_its_first_thread_before(void)
{
    static pthread_t first;
    pthread_t last;
    first = pthread_self();
    if (pthread_create(&last, NULL, kills_it_without_its_first_thread, &first) == 0)
        pthread_exit(NULL);
}

static const cause causes[] = {
    {"SIGKILL", is_killed, .lives_on = false},
    {"a fault", faults, .lives_on = false},
    {"abort", aborts, .lives_on = false},
    {"exit", exits, .daemons = true},
    {"_exit", exits_at_once, .lives_on = false},
    {"exec", becomes_another_program, .lives_on = true},
    {"SIGKILL to its group", is_killed_with_its_group, .own_group = true},
    {"SIGKILL when large", is_killed, .large = true},
    {"SIGKILL after its first thread", loses_its_first_thread_before, .lives_on = false},
};

/* ---- the family ---- */

static int tell(int fd, int pid, int generation)
{
    relative who = {pid, generation};
    return write(fd, &who, sizeof who) == sizeof who ? 0 : 1;
}

static int sleeps(mproc_call *call)
{
    if (tell((int)mproc_call_arg(call, 0).number, (int)getpid(), 2) != 0)
        return 1;
    while (!mproc_call_stopping(call))
        poll(NULL, 0, 20);
    return 0;
}

/* Arguments: where to tell, the method, whether to leave the session. A thread's child is a process: a thread of a thread is
 * no other case than a thread. */
static int has_a_child(mproc_call *call)
{
    mproc_process *child;
    int method = (int)mproc_call_int(call, 1), said = (int)mproc_call_arg(call, 0).number;
    mproc_start below = method == MPROC_START_THREAD ? MPROC_START_FORK : (mproc_start)method;
    if (mproc_call_bool(call, 2) && method != MPROC_START_THREAD && setsid() < 0)
        return 1;
    if (!mproc_process_is_daemon(mproc_process_self()) &&
        mproc_process_start(sleeps, MPROC_ARGS(mproc_fd(said)),
                            MPROC_WITH(mproc_process_options, .start = below), &child) != 0)
        return 2;
    if (tell(said, (int)getpid(), 1) != 0)
        return 3;
    while (!mproc_call_stopping(call))
        poll(NULL, 0, 20);
    return 0;
}

static int start_family(const scene *of)
{
    mproc_process *child;
    for (int leaves = 0; leaves < 2; leaves++)
        if (mproc_process_start(has_a_child, MPROC_ARGS(mproc_fd(of->say_fd), of->method, mproc_bool(leaves)),
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)of->method,
                                           .daemon = of->cause->daemons),
                                &child) != 0)
            return 1;
    if (of->cause->daemons)
        return 0;
    for (mproc_program_group group = MPROC_GROUP_SAME; group <= MPROC_GROUP_SESSION; group += 2) {
        if (mproc_process_start_program((const char *const[]){"sleep", "1000", NULL},
                                        MPROC_WITH(mproc_program_options, .group = group), &child) != 0)
            return 2;
        if (tell(of->say_fd, mproc_process_pid(child), 1) != 0)
            return 3;
    }
    return 0;
}

static int owner(void *context)
{
    const scene *of = context;
    char byte;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    if (of->cause->own_group && setpgid(0, 0) < 0)
        return 1;
    if (start_family(of) != 0)
        return 2;
    if (of->cause->large)
        becomes_large();
    if (tell(of->say_fd, (int)getpid(), 0) != 0)
        return 2;
    if (read(of->go_fd, &byte, 1) != 1)
        return 3;
    of->cause->die();
    return 4;
}

/* ---- the test ---- */

static bool ended(void *pidfd)
{
    return mproc__pidfd_ended(*(int *)pidfd) == 1;
}

/* Reaps what has come to this process, a subreaper; the owner itself is left for support_kill. */
static unsigned family_of(const scene *of)
{
    if (of->cause->daemons)
        return 1 + 2;
    return 1 + 2 * 2 + 2;
}

static void check_all_gone(const scene *of, const relative *relatives, int *pidfds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        bool stays = of->cause->lives_on && relatives[i].pid == relatives[count].pid;
        ck_assert_msg(stays || support_until(ended, &pidfds[i], GONE_MS),
                      "%s, method %d: one of generation %d lives", of->cause->name, of->method,
                      relatives[i].generation);
        close(pidfds[i]);
    }
}

/* The owner comes last: relatives[count]. */
static unsigned meet_family(const scene *of, int read_fd, relative relatives[RELATIVES_MOST],
                            int pidfds[RELATIVES_MOST])
{
    unsigned count = 0;
    relative who, self = {0};
    for (unsigned i = 0; i < family_of(of); i++) {
        ck_assert_int_eq(mproc__fd_read_all(read_fd, &who, sizeof who, mproc_after_ms(support_ms(LIMIT_MS))),
                         0);
        if (who.generation == 0) {
            self = who;
            continue;
        }
        ck_assert_int_ge(pidfds[count] = mproc__pidfd_open(who.pid), 0);
        relatives[count++] = who;
    }
    relatives[count] = self;
    return count;
}

/* shows: DEATH-9 */
START_TEST(however_a_program_ends_nothing_that_it_started_outlives_it)
{
    const cause *of_end = &causes[(unsigned)_i / (ALL_METHODS - FIRST_METHOD)];
    relative relatives[RELATIVES_MOST];
    int pidfds[RELATIVES_MOST];
    gate said = gate_make(), go = gate_make();
    scene of = {of_end, FIRST_METHOD + _i % (ALL_METHODS - FIRST_METHOD), said.write_fd, go.read_fd};
    pid_t pid = support_fork(owner, &of);
    unsigned count = meet_family(&of, said.read_fd, relatives, pidfds);
    ck_assert_int_eq(relatives[count].pid, pid);
    gate_open(&go);
    check_all_gone(&of, relatives, pidfds, count);
    if (of_end->lives_on)
        support_kill(pid);
    ck_assert_msg(support_until(nobody_is_left, NULL, GONE_MS), "%s, method %d: somebody is left",
                  of_end->name, of.method);
    gate_destroy(&said);
    gate_destroy(&go);
}
END_TEST

/* ---- a thread is no program ---- */

static struct {
    scene of;
    pthread_t first;
} bereaved;

static void *goes_on_without_it(void *unused)
{
    int exit_code = 99;
    mproc_process *child;
    pthread_join(bereaved.first, NULL);
    /* Through the nursery, which has heard of the thread's end before this. */
    for (int i = 0; i < 2; i++)
        if (mproc_process_start(nothing, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER),
                                &child) != 0 ||
            mproc_process_join(child, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code) != 0 ||
            exit_code != 0)
            _exit(5);
    (void)tell(bereaved.of.say_fd, (int)getpid(), 0);
    for (;;)
        pause();
    return unused;
}

/* Everybody is started by the first thread, which ends. */
static int owner_without_first_thread(void *context)
{
    pthread_t second;
    bereaved.of = *(scene *)context;
    bereaved.first = pthread_self();
    if (start_family(&bereaved.of) != 0 || pthread_create(&second, NULL, goes_on_without_it, NULL) != 0)
        return 1;
    pthread_exit(NULL);
}

/* shows: DEATH-9 */
START_TEST(when_only_the_first_thread_ends_everything_that_it_started_lives_on)
{
    static const cause ends = {"SIGKILL behind its first thread", is_killed, .lives_on = false};
    relative relatives[RELATIVES_MOST];
    int pidfds[RELATIVES_MOST];
    gate said = gate_make();
    scene of = {&ends, _i, said.write_fd, -1};
    pid_t pid = support_fork(owner_without_first_thread, &of);
    unsigned count = meet_family(&of, said.read_fd, relatives, pidfds);
    for (unsigned i = 0; i < count; i++)
        ck_assert_msg(!ended(&pidfds[i]), "one of generation %d is dead", relatives[i].generation);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    check_all_gone(&of, relatives, pidfds, count);
    ck_assert(support_until(nobody_is_left, NULL, GONE_MS));
    gate_destroy(&said);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("owner death");
    TCase *death = support_case(suite, "ends");
    tcase_add_loop_test(death, however_a_program_ends_nothing_that_it_started_outlives_it, 0,
                        (int)MPROC__COUNT(causes) * (ALL_METHODS - FIRST_METHOD));
    tcase_add_loop_test(death, when_only_the_first_thread_ends_everything_that_it_started_lives_on,
                        FIRST_METHOD, ALL_METHODS);
    return support_run(suite, argc, argv);
}
