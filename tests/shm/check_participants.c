/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is alive, who is dead, and who clears up. The children of these tests take a row each; the test itself row 0. */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/segment_inside.h"
#include "support/support.h"

enum { MINE = 0, THEIRS = 1 };

/* What the guarantees call LIVE on a loaded machine, which one that runs tests is; KILLSWEEP holds to the 50 ms. */
enum { LIVE_MS = 250 };

typedef struct scratch {
    _Atomic int step;
    _Atomic int bystander; /* a pid to clear up */
    _Atomic int busy;      /* what a sweep needs is not to be had */
    mproc__eventcount_shared event;
    _Atomic unsigned sweeps[4]; /* by row */
} scratch;

static mproc__segment *segment;
static scratch *shared;

static int on_sweep(mproc__segment *swept, unsigned row, void *context)
{
    ck_assert_ptr_eq(swept, segment);
    ck_assert_ptr_eq(context, &segment);
    if (row < MPROC__COUNT(shared->sweeps))
        atomic_fetch_add(&shared->sweeps[row], 1);
    return atomic_load(&shared->busy) ? -ETIMEDOUT : 0;
}

static void make(void)
{
    ck_assert_int_eq(
        mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "test", sizeof(scratch), 0, &segment), 0);
    shared = mproc__segment_root(segment);
    ck_assert_int_eq(mproc__segment_join(segment), MINE);
    mproc__segment_on_sweep(segment, on_sweep, &segment);
}

static bool stepped(void *unused)
{
    (void)unused;
    return atomic_load(&shared->step) != 0;
}

static bool row_dead(void *unused)
{
    (void)unused;
    return !mproc__segment_row_alive(segment, THEIRS);
}

/* A child that has joined and said so. */
static pid_t start(support_fn *fn)
{
    atomic_store(&shared->step, 0);
    pid_t child = support_fork(fn, NULL);
    ck_assert(support_until(stepped, NULL, 5000));
    return child;
}

static int say(int step)
{
    atomic_store(&shared->step, step);
    while (pause() != 0) /* ever: it is killed */
        ;
    return 0;
}

static int join_and_wait(void *unused)
{
    (void)unused;
    return mproc__segment_join(segment) == THEIRS ? say(1) : 1;
}

static void is_alive(pid_t child)
{
    ck_assert_int_eq(mproc__segment_row_pid(segment, THEIRS), child);
    ck_assert(mproc__segment_row_alive(segment, THEIRS));
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
    ck_assert_uint_eq(shared->sweeps[THEIRS], 0);
}

/* Dead within LIVE from now, swept once, and the row free. */
static void is_dead_now(void)
{
    ck_assert(support_until(row_dead, NULL, LIVE_MS));
    ck_assert_uint_eq(mproc__segment_sweep(segment), 1);
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
    ck_assert_uint_eq(shared->sweeps[THEIRS], 1);
    ck_assert_uint_eq(shared->sweeps[MINE], 0);
    ck_assert_int_eq(mproc__segment_row_pid(segment, THEIRS), 0);
    ck_assert(mproc__segment_row_alive(segment, MINE));
}

/* ---- the matrix: what is dead, what is not ---- */

/* shows: DEATH-1 */
START_TEST(a_killed_process_is_dead_before_it_is_reaped)
{
    make();
    pid_t child = start(join_and_wait);
    is_alive(child);
    kill(child, SIGKILL);
    is_dead_now();
    support_reap(child, 5000);
    mproc__segment_release(segment);
}
END_TEST

static int join_and_fork(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) != THEIRS)
        return 1;
    pid_t bystander = fork();
    if (bystander == 0)
        for (;;)
            pause();
    atomic_store(&shared->bystander, bystander);
    return say(1);
}

START_TEST(a_killed_process_is_dead_though_its_fork_child_lives)
{
    make();
    pid_t child = start(join_and_fork);
    is_alive(child);
    kill(child, SIGKILL);
    is_dead_now();
    support_reap(child, 5000);
    kill(shared->bystander, SIGKILL);
    ck_assert_int_eq(waitpid(shared->bystander, NULL, 0), shared->bystander); /* the test is a subreaper */
    mproc__segment_release(segment);
}
END_TEST

static int join_and_exec(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) != THEIRS)
        return 1;
    atomic_store(&shared->step, 1);
    execlp("sleep", "sleep", "30", (char *)NULL);
    return 2;
}

START_TEST(a_process_that_became_another_program_is_dead)
{
    make();
    pid_t child = start(join_and_exec);
    ck_assert(support_until(row_dead, NULL, 5000)); /* exec takes its time */
    is_dead_now();
    ck_assert_int_eq(kill(child, 0), 0);
    ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
    support_kill(child);
    mproc__segment_release(segment);
}
END_TEST

static void *say_in_thread(void *unused)
{
    (void)unused;
    say(1);
    return NULL;
}

static int main_thread_ends(void *unused)
{
    (void)unused;
    pthread_t thread;
    if (mproc__segment_join(segment) != THEIRS || pthread_create(&thread, NULL, say_in_thread, NULL) != 0)
        return 1;
    pthread_exit(NULL);
}

static bool row_handed_back(void *unused)
{
    (void)unused;
    return atomic_load(&segment->shared->rows[THEIRS].identity) & MPROC__IDENTITY_HANDED_BACK;
}

START_TEST(a_process_whose_first_thread_ended_is_alive_until_it_is_killed)
{
    make();
    pid_t child = start(main_thread_ends);
    ck_assert(support_until(row_handed_back, NULL, 5000));
    is_alive(child);
    kill(child, SIGKILL);
    is_dead_now();
    support_reap(child, 5000);
    mproc__segment_release(segment);
}
END_TEST

static void *join_in_thread(void *unused)
{
    (void)unused;
    return mproc__segment_join(segment) == THEIRS ? NULL : segment;
}

static int joining_thread_ends(void *unused)
{
    (void)unused;
    pthread_t thread;
    void *failed = segment;
    if (pthread_create(&thread, NULL, join_in_thread, NULL) != 0)
        return 1;
    pthread_join(thread, &failed);
    return failed ? 2 : say(1);
}

START_TEST(a_process_whose_joining_thread_ended_is_alive_until_it_is_killed)
{
    make();
    pid_t child = start(joining_thread_ends);
    ck_assert(row_handed_back(NULL));
    is_alive(child);
    kill(child, SIGKILL);
    is_dead_now();
    support_reap(child, 5000);
    mproc__segment_release(segment);
}
END_TEST

static int thread_ends_then_exec(void *unused)
{
    (void)unused;
    pthread_t thread;
    if (pthread_create(&thread, NULL, join_in_thread, NULL) != 0)
        return 1;
    pthread_join(thread, NULL);
    atomic_store(&shared->step, 1);
    execlp("sleep", "sleep", "30", (char *)NULL);
    return 2;
}

START_TEST(a_handed_back_row_is_dead_after_an_exec_too)
{
    make();
    pid_t child = start(thread_ends_then_exec);
    ck_assert(support_until(row_dead, NULL, 5000));
    is_dead_now();
    support_kill(child);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(a_stopped_process_is_alive)
{
    make();
    pid_t child = start(join_and_wait);
    kill(child, SIGSTOP);
    ck_assert_int_eq(waitpid(child, NULL, WUNTRACED), child);
    is_alive(child);
    kill(child, SIGKILL);
    is_dead_now();
    support_reap(child, 5000);
    mproc__segment_release(segment);
}
END_TEST

static int join_and_leave(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) != THEIRS)
        return 1;
    mproc__segment_release(segment);
    return 0;
}

START_TEST(a_process_that_leaves_frees_its_row_and_is_not_swept)
{
    make();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(support_reap(support_fork(join_and_leave, NULL), 5000), 0);
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
    ck_assert_uint_eq(shared->sweeps[THEIRS], 0);
    ck_assert_uint_eq(mproc__segment_rows(segment), 2);
    mproc__segment_release(segment);
}
END_TEST

/* ---- sweeping ---- */

static int die_in_sweep(mproc__segment *swept, unsigned row, void *context)
{
    (void)swept;
    (void)context;
    atomic_fetch_add(&shared->sweeps[row], 1);
    kill(getpid(), SIGKILL);
    return 0;
}

static int sweep_and_die(void *unused)
{
    (void)unused;
    mproc__segment_on_sweep(segment, die_in_sweep, NULL);
    if (mproc__segment_join(segment) < 0)
        return 1;
    mproc__segment_sweep(segment);
    return 2;
}

/* shows: DEATH-8 */
START_TEST(a_sweeper_killed_while_sweeping_is_followed_by_the_next)
{
    make();
    pid_t child = start(join_and_wait);
    support_kill(child);
    ck_assert_int_eq(support_reap(support_fork(sweep_and_die, NULL), 5000), 256 + SIGKILL);
    ck_assert_int_eq(support_reap(support_fork(sweep_and_die, NULL), 5000), 256 + SIGKILL);
    ck_assert(!mproc__segment_row_alive(segment, THEIRS));
    ck_assert_uint_eq(shared->sweeps[THEIRS], 2);
    ck_assert_uint_eq(mproc__segment_sweep(segment), 3); /* the victim and both sweepers */
    ck_assert_uint_eq(shared->sweeps[THEIRS], 3);
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(a_row_that_cannot_be_swept_now_stays_dead_and_taken_until_it_can)
{
    make();
    support_kill(start(join_and_wait));
    atomic_store(&shared->busy, 1);
    for (unsigned tries = 1; tries <= 3; tries++) {
        ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
        ck_assert_uint_eq(shared->sweeps[THEIRS], tries);
        ck_assert(!mproc__segment_row_alive(segment, THEIRS));
        ck_assert_int_ne(mproc__segment_row_pid(segment, THEIRS), 0);
    }
    ck_assert_int_eq(support_reap(support_fork(join_and_wait, NULL), 5000), 1); /* gets another row */
    atomic_store(&shared->busy, 0);
    ck_assert_uint_ge(mproc__segment_sweep(segment), 1);
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
    ck_assert_int_eq(mproc__segment_row_pid(segment, THEIRS), 0);
    mproc__segment_release(segment);
}
END_TEST

static int leave_unburied(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) != THEIRS)
        return 1;
    mproc__segment_leave_unburied(segment);
    mproc__segment_release(segment);
    return 0;
}

START_TEST(a_row_left_unsettled_is_swept_by_the_next)
{
    make();
    ck_assert_int_eq(support_reap(support_fork(leave_unburied, NULL), 5000), 0);
    ck_assert(!mproc__segment_row_alive(segment, THEIRS));
    is_dead_now();
    mproc__segment_release(segment);
}
END_TEST

static int sleep_until_swept(void *unused)
{
    (void)unused;
    atomic_store(&shared->step, 1);
    while (mproc__segment_row_pid(segment, THEIRS) != 0) {
        uint32_t ticket = mproc__eventcount_prepare(&shared->event);
        if (mproc__segment_wait(segment, &shared->event, ticket, mproc_after_ms(support_ms(4000))) < 0)
            return 1;
    }
    return 0;
}

/* Nobody posts, nobody else looks. */
START_TEST(a_sleeper_sweeps_what_could_not_be_swept_as_soon_as_it_can)
{
    make();
    support_kill(start(join_and_wait));
    atomic_store(&shared->busy, 1);
    pid_t sleeper = start(sleep_until_swept);
    ck_assert(support_until_asleep(sleeper, 2000));
    atomic_store(&shared->busy, 0);
    ck_assert_int_eq(support_reap(sleeper, LIVE_MS), 0);
    ck_assert_uint_lt(shared->sweeps[THEIRS], 400); /* it slept in between */
    mproc__segment_release(segment);
}
END_TEST

/* A visitor that dies on the word of a living process's handed-back row. */
static int die_on_their_word(void *unused)
{
    (void)unused;
    if (mproc__robust_acquire(&segment->shared->rows[THEIRS].life, MPROC_NOW) < 0)
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

START_TEST(a_visitor_that_dies_on_a_handed_back_word_does_not_kill_its_owner)
{
    make();
    pid_t child = start(joining_thread_ends);
    ck_assert_int_eq(support_reap(support_fork(die_on_their_word, NULL), 5000), 256 + SIGKILL);
    is_alive(child);
    kill(child, SIGKILL);
    is_dead_now();
    support_reap(child, 5000);
    mproc__segment_release(segment);
}
END_TEST

static int claim_and_die(void *unused)
{
    (void)unused;
    return die_on_their_word(NULL);
}

START_TEST(a_row_whose_taker_died_before_signing_is_free)
{
    make();
    ck_assert_int_eq(support_reap(support_fork(claim_and_die, NULL), 5000), 256 + SIGKILL);
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
    is_alive(start(join_and_wait));
    support_children_kill();
    mproc__segment_release(segment);
}
END_TEST

static int join_any(void *unused)
{
    (void)unused;
    return mproc__segment_join(segment) >= 0 ? 0 : 1;
}

START_TEST(a_full_table_is_an_error_until_somebody_leaves_or_dies)
{
    static mproc__segment *copies[MPROC__ROWS];
    make();
    int count = 0, code;
    pid_t child = start(join_and_wait);
    do {
        int fd = fcntl(mproc__segment_fd(segment), F_DUPFD_CLOEXEC, 0);
        ck_assert_int_eq(mproc__segment_attach(fd, MPROC_TYPE_QUEUE, &copies[count]), 0);
        code = mproc__segment_join(copies[count++]);
    } while (code >= 0);
    ck_assert_int_eq(code, MPROC_ELIMIT);
    ck_assert_int_eq(count, MPROC__ROWS - 1);
    support_kill(child);
    ck_assert_int_eq(mproc__segment_join(copies[count - 1]), THEIRS);
    mproc__segment_release(copies[0]);
    ck_assert_int_eq(support_reap(support_fork(join_any, NULL), 5000), 0);
    while (--count > 0)
        mproc__segment_release(copies[count]);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(a_thread_home_has_one_row_and_no_dead)
{
    ck_assert_int_eq(mproc__segment_create(MPROC__HOME_THREAD, MPROC_TYPE_QUEUE, "t", 64, 0, &segment), 0);
    ck_assert_int_eq(mproc__segment_join(segment), 0);
    ck_assert_uint_eq(mproc__segment_rows(segment), 1);
    ck_assert_int_eq(mproc__segment_row_pid(segment, 0), getpid());
    ck_assert(mproc__segment_row_alive(segment, 0));
    ck_assert(!mproc__segment_row_alive(segment, 1));
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
    mproc__segment_release(segment);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("participants");
    TCase *matrix = support_case(suite, "matrix");
    tcase_add_test(matrix, a_killed_process_is_dead_before_it_is_reaped);
    tcase_add_test(matrix, a_killed_process_is_dead_though_its_fork_child_lives);
    tcase_add_test(matrix, a_process_that_became_another_program_is_dead);
    tcase_add_test(matrix, a_process_whose_first_thread_ended_is_alive_until_it_is_killed);
    tcase_add_test(matrix, a_process_whose_joining_thread_ended_is_alive_until_it_is_killed);
    tcase_add_test(matrix, a_handed_back_row_is_dead_after_an_exec_too);
    tcase_add_test(matrix, a_stopped_process_is_alive);
    tcase_add_test(matrix, a_process_that_leaves_frees_its_row_and_is_not_swept);
    TCase *sweep = support_case(suite, "sweep");
    tcase_add_test(sweep, a_sweeper_killed_while_sweeping_is_followed_by_the_next);
    tcase_add_test(sweep, a_row_that_cannot_be_swept_now_stays_dead_and_taken_until_it_can);
    tcase_add_test(sweep, a_row_left_unsettled_is_swept_by_the_next);
    tcase_add_test(sweep, a_sleeper_sweeps_what_could_not_be_swept_as_soon_as_it_can);
    tcase_add_test(sweep, a_visitor_that_dies_on_a_handed_back_word_does_not_kill_its_owner);
    tcase_add_test(sweep, a_row_whose_taker_died_before_signing_is_free);
    tcase_add_test(sweep, a_full_table_is_an_error_until_somebody_leaves_or_dies);
    tcase_add_test(sweep, a_thread_home_has_one_row_and_no_dead);
    return support_run(suite, argc, argv);
}
