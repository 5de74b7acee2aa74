/* SPDX-License-Identifier: BSD-2-Clause */
/* Spares that die, whose nursery or owner dies, or that there is no room for: a start works all the same, or says
 * why, and nobody is left. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "process/nursery.h"
#include "process/spare.h"
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

static int returns_its_number(mproc_call *call)
{
    return (int)mproc_call_int(call, 0);
}

/* ---- idle ones ---- */

/* Their notes are still first in the queue, and their numbers are others' by then. */
START_TEST(those_killed_idle_are_replaced_and_a_start_takes_one_that_lives)
{
    pid_t before[FEW], after[FEW];
    int pid;
    warm_spares(FEW);
    gate said = gate_make();
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq(find_children(nursery_pid(), "mproc-spare\n", before, FEW), FEW);
        for (int i = 0; i < FEW; i++)
            kill(before[i], SIGKILL);
        ck_assert_int_eq(run(MPROC_START_FORKSERVER, returns_its_number, MPROC_ARGS(7)), 7);
        await_spares(FEW);
        ck_assert_int_eq(find_children(nursery_pid(), "mproc-spare\n", after, FEW), FEW);
        ck_assert_int_eq(run(MPROC_START_FORKSERVER, tells_its_pid, MPROC_ARGS(mproc_fd(said.write_fd))), 0);
        ck_assert_int_eq(read(said.read_fd, &pid, sizeof pid), sizeof pid);
        ck_assert(is_among(pid, after, FEW));
        await_spares(FEW);
    }
    gate_destroy(&said);
}
END_TEST

static bool one_is_taken(void *context)
{
    mproc__nursery *nursery = context;
    for (int i = 0; i < MPROC_SPARES_MOST; i++)
        if ((uint32_t)atomic_load(&nursery->shared->spares[i]) >= MPROC__SPARE_TAKEN)
            return true;
    return false;
}

static void *starts_one(void *unused)
{
    (void)unused;
    return (void *)(intptr_t)run(MPROC_START_FORKSERVER, returns_its_number, MPROC_ARGS(9));
}

/* The nursery is stopped, so that nobody but the start itself can find out. */
START_TEST(a_start_that_takes_a_dead_one_goes_on_with_another)
{
    pid_t pids[FEW];
    pthread_t thread;
    void *exit_code;
    warm_spares(FEW);
    mproc__nursery *nursery = mproc__nursery_present();
    ck_assert_int_eq(find_children(nursery->pid, "mproc-spare\n", pids, FEW), FEW);
    kill(nursery->pid, SIGSTOP);
    for (int i = 0; i < FEW; i++)
        kill(pids[i], SIGKILL);
    ck_assert_int_eq(pthread_create(&thread, NULL, starts_one, NULL), 0);
    bool taken = support_until(one_is_taken, nursery, support_ms(LIMIT_MS));
    kill(nursery->pid, SIGCONT);
    ck_assert(taken);
    ck_assert_int_eq(pthread_join(thread, &exit_code), 0);
    ck_assert_int_eq((intptr_t)exit_code, 9);
    await_spares(FEW);
    mproc__nursery_release(nursery);
}
END_TEST

/* As a group with too little memory would: the only one who calls it here is a child that is to have a limit. */
int setpriority(__priority_which_t which, id_t who, int priority)
{
    raise(SIGKILL);
    return which == PRIO_PROCESS && who == 0 ? priority : -1;
}

START_TEST(a_start_that_kills_its_child_uses_one_of_them_and_ends)
{
    pid_t before[FEW], after[FEW];
    mproc_process *process = NULL;
    mproc_process_options options = {
        .size = sizeof options, .start = MPROC_START_FORKSERVER, .limits.nice = 1};
    warm_spares(FEW);
    for (int round = 0; round < 3; round++) {
        int left = 0;
        ck_assert_int_eq(find_children(nursery_pid(), "mproc-spare\n", before, FEW), FEW);
        ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE, &options, &process), MPROC_EDIED);
        ck_assert_ptr_null(process);
        await_spares(FEW);
        ck_assert_int_eq(find_children(nursery_pid(), "mproc-spare\n", after, FEW), FEW);
        for (int i = 0; i < FEW; i++)
            left += is_among(before[i], after, FEW);
        ck_assert_int_eq(left, FEW - 1);
        ck_assert_int_eq(run(MPROC_START_FORKSERVER, returns_its_number, MPROC_ARGS(8)), 8);
        await_spares(FEW);
    }
}
END_TEST

static long switches_of(pid_t pid)
{
    char path[64], line[128];
    long count = 0, one;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &one) == 1 ||
            sscanf(line, "nonvoluntary_ctxt_switches: %ld", &one) == 1)
            count += one;
    if (file)
        fclose(file);
    return count;
}

static bool stands_still(void *context)
{
    pid_t *pids = context;
    long before = 0, after = 0;
    for (int i = 0; i <= FEW; i++)
        before += switches_of(pids[i]);
    poll(NULL, 0, 100);
    for (int i = 0; i <= FEW; i++)
        after += switches_of(pids[i]);
    return before == after;
}

START_TEST(a_full_nursery_and_its_spares_are_not_woken_by_anything)
{
    pid_t pids[FEW + 1];
    warm_spares(FEW);
    pids[FEW] = nursery_pid();
    ck_assert_int_eq(find_children(pids[FEW], "mproc-spare\n", pids, FEW), FEW);
    ck_assert(support_until(stands_still, pids, support_ms(LIMIT_MS)));
    ck_assert(stands_still(pids));
}
END_TEST

static int fails(mproc_call *call)
{
    (void)call;
    return 1;
}

START_TEST(a_nursery_that_may_have_no_children_makes_none_and_sleeps)
{
    mproc_process *process;
    pid_t pids[FEW + 1], found[FEW];
    ck_assert_int_eq(mproc_preload(fails, MPROC_PRELOAD_FAIL), 0);
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE,
                                         MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER),
                                         &process),
                     MPROC_EEXIT);
    for (int i = 0; i <= FEW; i++)
        pids[i] = nursery_pid();
    ck_assert(support_until(stands_still, pids, support_ms(LIMIT_MS)));
    ck_assert_int_eq(find_spares(found), 0);
    support_leaks_begin();
}
END_TEST

START_TEST(what_interrupts_the_programs_group_leaves_idle_ones_alone)
{
    pid_t pids[FEW];
    signal(SIGINT, SIG_IGN);
    warm_spares(FEW);
    ck_assert_int_eq(find_children(nursery_pid(), "mproc-spare\n", pids, FEW), FEW);
    ck_assert_int_eq(setpgid(0, 0), 0);
    kill(0, SIGINT);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
    int left = 0;
    for (int i = 0; i < FEW; i++)
        left += kill(pids[i], 0) == 0;
    ck_assert_int_eq(left, FEW - 1);
    await_spares(FEW);
}
END_TEST

/* ---- many starts ---- */

enum { STARTERS = 8, STARTS = 12 };

static void *starts_many(void *context)
{
    int base = *(int *)context;
    for (int i = 0; i < STARTS; i++) {
        int number = (base + i) % 256;
        if (run(MPROC_START_FORKSERVER, returns_its_number, MPROC_ARGS(number)) != number)
            return context; /* wrong */
    }
    return NULL;
}

START_TEST(eight_threads_share_two_spares)
{
    pthread_t threads[STARTERS];
    int bases[STARTERS];
    warm_spares(2);
    for (int i = 0; i < STARTERS; i++) {
        bases[i] = 30 * i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, starts_many, &bases[i]), 0);
    }
    for (int i = 0; i < STARTERS; i++) {
        void *wrong;
        ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
        ck_assert_ptr_null(wrong);
    }
    await_spares(2);
}
END_TEST

static int sums(mproc_call *call)
{
    size_t size_bytes = 0;
    const unsigned char *bytes = mproc_variant_get_bytes(mproc_call_arg(call, 0), &size_bytes);
    unsigned sum = 0;
    for (size_t i = 0; i < size_bytes; i++)
        sum += bytes[i];
    return size_bytes == 3u << 20 && sum == 3u << 20 ? 0 : 1;
}

START_TEST(arguments_larger_than_a_socket_takes_arrive_whole)
{
    size_t size_bytes = 3u << 20;
    void *bytes = malloc(size_bytes);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 1, size_bytes);
    for (unsigned spares = 0; spares <= 1; spares++) {
        warm_spares(spares);
        ck_assert_int_eq(run(MPROC_START_FORKSERVER, sums, MPROC_ARGS(mproc_bytes(bytes, size_bytes))), 0);
        await_spares((int)spares);
    }
    free(bytes);
}
END_TEST

/* ---- no room ---- */

START_TEST(without_descriptors_none_is_lost_for_good)
{
    struct rlimit before, low;
    mproc_process *process = NULL;
    int failures = 0;
    warm_spares(FEW);
    getrlimit(RLIMIT_NOFILE, &before);
    int first_free = dup(0);
    close(first_free);
    for (int more = 0; more < 6; more++) {
        low = (struct rlimit){(rlim_t)(first_free + more), before.rlim_max};
        setrlimit(RLIMIT_NOFILE, &low);
        int rc =
            mproc_process_start(nothing, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER), &process);
        setrlimit(RLIMIT_NOFILE, &before);
        ck_assert_msg(rc == 0 || rc == -EMFILE, "%s", mproc_error_text(mproc_last_error()));
        failures += rc < 0;
        if (rc == 0) {
            ck_assert_int_eq(join(process), 0);
            mproc_process_close(&process);
        }
    }
    ck_assert_int_ge(failures, 1);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
    await_spares(FEW);
}
END_TEST

static int starts_in_little_room(void *unused)
{
    struct rlimit low = {60, 60};
    mproc_process *process;
    pid_t pids[FEW];
    int exit_code = -1;
    (void)unused;
    if (setrlimit(RLIMIT_NOFILE, &low) != 0 || mproc_set_spares(MPROC_SPARES_MOST) != 0)
        return 1;
    for (int i = 0; i < 10; i++) {
        if (mproc_process_start(returns_its_number, MPROC_ARGS(i),
                                MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER),
                                &process) != 0 ||
            mproc_process_join(process, mproc_after_ms(LIMIT_MS), &exit_code) != 0 || exit_code != i)
            return 2;
        mproc_process_close(&process);
    }
    exit(find_spares(pids) == 0 ? 0 : 3);
}

START_TEST(a_nursery_with_few_descriptors_keeps_them_for_commands)
{
    ck_assert_int_eq(support_reap(support_fork(starts_in_little_room, NULL), LIMIT_MS), 0);
}
END_TEST

/* ---- the nursery, the owner ---- */

START_TEST(a_killed_nursery_takes_them_along_and_the_next_keeps_as_many)
{
    pid_t pids[FEW];
    int pidfds[FEW];
    warm_spares(FEW);
    pid_t before = nursery_pid();
    ck_assert_int_eq(find_children(before, "mproc-spare\n", pids, FEW), FEW);
    for (int i = 0; i < FEW; i++)
        ck_assert_int_ge(pidfds[i] = mproc__pidfd_open(pids[i]), 0);
    kill(before, SIGKILL);
    for (int i = 0; i < FEW; i++) {
        ck_assert_int_eq(mproc__fd_poll(pidfds[i], POLLIN, mproc_after_ms(support_ms(LIMIT_MS))), 0);
        close(pidfds[i]);
    }
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
    ck_assert_int_ne(nursery_pid(), before);
    await_spares(FEW);
    while (waitpid(-1, NULL, WNOHANG) > 0) /* the killed one's came to this process, a subreaper */
        ;
    support_leaks_begin();
}
END_TEST

typedef struct owner {
    int write_fd;
    bool leaves;
} owner;

static int starts_in_bursts(void *context)
{
    const owner *me = context;
    mproc_process_options options = {.size = sizeof options, .start = MPROC_START_FORKSERVER};
    mproc_process *process;
    if (mproc_set_spares(16) != 0 || mproc_process_start(nothing, MPROC_NONE, &options, &process) != 0)
        return 1;
    await_spares(16);
    if (write(me->write_fd, "s", 1) != 1)
        return 2;
    for (int i = 0; !me->leaves || i < 5; i++) {
        mproc_process_close(&process);
        if (mproc_process_start(nothing, MPROC_NONE, &options, &process) != 0)
            return 3;
    }
    mproc_process_close(&process);
    exit(0);
}

/* Reaps what has come to this process, a subreaper. */
/* shows: DEATH-9 DEATH-10 */
START_TEST(an_owner_killed_while_it_takes_spares_leaves_nobody)
{
    for (int i = 0; i < 12; i++) {
        gate said = gate_make();
        owner context = {said.write_fd, false};
        pid_t pid = support_fork(starts_in_bursts, &context);
        gate_await(&said);
        usleep((useconds_t)(i * 173)); /* nothing is ordered by this: any moment will do */
        support_kill(pid);
        ck_assert_msg(support_until(nobody_is_left, NULL, 1000), "round %d", i);
        gate_destroy(&said);
    }
}
END_TEST

/* At once, without waiting for anybody: they were waited for before the program ended. */
START_TEST(at_the_normal_end_of_a_program_its_spares_are_gone)
{
    gate said = gate_make();
    owner context = {said.write_fd, true};
    ck_assert_int_eq(support_reap(support_fork(starts_in_bursts, &context), LIMIT_MS), 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    gate_destroy(&said);
}
END_TEST

static int has_its_own(void *unused)
{
    mproc_process *process;
    int exit_code = -1;
    (void)unused;
    if (mproc_process_start(returns_its_number, MPROC_ARGS(5),
                            MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER),
                            &process) != 0 ||
        mproc_process_join(process, mproc_after_ms(LIMIT_MS), &exit_code) != 0)
        return 1;
    mproc_process_close(&process);
    await_spares(FEW);
    exit(exit_code == 5 ? 0 : 2);
}

START_TEST(a_fork_child_takes_none_of_its_parents_and_keeps_as_many_of_its_own)
{
    pid_t before[FEW], after[FEW];
    warm_spares(FEW);
    ck_assert_int_eq(find_children(nursery_pid(), "mproc-spare\n", before, FEW), FEW);
    ck_assert_int_eq(support_reap(support_fork(has_its_own, NULL), support_ms(LIMIT_MS)), 0);
    ck_assert_int_eq(find_children(nursery_pid(), "mproc-spare\n", after, FEW), FEW);
    ck_assert_mem_eq(before, after, sizeof before);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("spares' deaths");
    TCase *idle = support_case(suite, "idle");
    tcase_add_test(idle, those_killed_idle_are_replaced_and_a_start_takes_one_that_lives);
    tcase_add_test(idle, a_start_that_takes_a_dead_one_goes_on_with_another);
    tcase_add_test(idle, a_start_that_kills_its_child_uses_one_of_them_and_ends);
    tcase_add_test(idle, a_full_nursery_and_its_spares_are_not_woken_by_anything);
    tcase_add_test(idle, a_nursery_that_may_have_no_children_makes_none_and_sleeps);
    tcase_add_test(idle, what_interrupts_the_programs_group_leaves_idle_ones_alone);
    TCase *many = support_case(suite, "many");
    tcase_add_test(many, eight_threads_share_two_spares);
    tcase_add_test(many, arguments_larger_than_a_socket_takes_arrive_whole);
    TCase *room = support_case(suite, "room");
    tcase_add_test(room, without_descriptors_none_is_lost_for_good);
    tcase_add_test(room, a_nursery_with_few_descriptors_keeps_them_for_commands);
    TCase *death = support_case(suite, "deaths");
    tcase_add_test(death, a_killed_nursery_takes_them_along_and_the_next_keeps_as_many);
    tcase_add_test(death, an_owner_killed_while_it_takes_spares_leaves_nobody);
    tcase_add_test(death, at_the_normal_end_of_a_program_its_spares_are_gone);
    tcase_add_test(death, a_fork_child_takes_none_of_its_parents_and_keeps_as_many_of_its_own);
    return support_run(suite, argc, argv);
}
