/* SPDX-License-Identifier: BSD-2-Clause */
/* How the nursery finds the children that it has not forked: by what the owner wrote, and only those. The tests of what
 * comes of it, nobody outlives the owner, are in check_nursery.c. */
#include "platform/base.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <mproc/running.h>
#include "process/nursery.h"
#include "process/process.h"
#include "process/process_support.h"

enum { STARTS = 20, SLOT = 4000 };

static bool names_last(void)
{
    uint64_t id;
    int pidfd = mproc__pidfd_open(getpid());
    bool known = mproc__pidfd_id(pidfd, &id) == 0;
    close(pidfd);
    return known;
}

static int sleeps(void *unused)
{
    (void)unused;
    for (;;)
        pause();
    return 0;
}

static bool ended(void *pidfd)
{
    return mproc__pidfd_ended(*(int *)pidfd) == 1;
}

/* ---- who is killed ---- */

static bool kills_without_descriptors(mproc__nursery_shared *slots)
{
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    bool all = mproc__watched_kill(slots);
    setrlimit(RLIMIT_NOFILE, &before);
    return all;
}

static uint64_t name_of(pid_t pid, int pidfd)
{
    mproc__process_view view = {0};
    uint64_t id;
    if (mproc__pidfd_id(pidfd, &id) == 0)
        return id;
    (void)mproc__process_view_get(pid, &view);
    return view.start_ticks | UINT64_C(1) << 63;
}

static int kills_by_name(mproc__nursery_shared *shared, pid_t child, int pidfd)
{
    mproc__slot_shared *slot = &shared->slots[SLOT];
    uint64_t name = name_of(child, pidfd);
    atomic_store(&slot->watched_pid, child);
    if (!mproc__watched_kill(shared)) /* an owner that died between the two */
        return 11;
    atomic_store(&slot->watched_id, name + 1);
    if (!mproc__watched_kill(shared) || mproc__fd_poll(pidfd, POLLIN, mproc_after_ms(20)) != -ETIMEDOUT)
        return 12;
    atomic_store(&slot->watched_id, name);
    if (kills_without_descriptors(shared) || !mproc__watched_kill(shared))
        return 13;
    return support_until(ended, &pidfd, LIMIT_MS) ? 0 : 14;
}

static bool forbid_fstatfs(void)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fstatfs, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = MPROC__COUNT(program), .filter = program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/* What the nursery does when its owner is dead, with slots of its own; `context`: as on a kernel before 6.9. */
static int nursery_with_one_child(void *context)
{
    mproc__nursery_shared *shared = aligned_alloc(MPROC__LINE, sizeof *shared);
    if (!shared || (context && (!forbid_fstatfs() || names_last())))
        return 1;
    memset(shared, 0, sizeof *shared);
    pid_t child = support_fork(sleeps, NULL);
    int pidfd = mproc__pidfd_open(child);
    int code = kills_by_name(shared, child, pidfd);
    support_kill(child);
    close(pidfd);
    free(shared);
    return code;
}

START_TEST(a_watched_child_is_killed_and_not_another_with_its_pid)
{
    ck_assert_int_eq(support_reap(support_fork(nursery_with_one_child, _i ? &_i : NULL), LIMIT_MS), 0);
}
END_TEST

static int gate_reader(mproc_call *call)
{
    return gate_pass(call, 0);
}

START_TEST(a_child_is_watched_from_its_start_until_it_is_collected)
{
    warm();
    gate open = gate_make();
    mproc_process *process = start(_i, gate_reader, MPROC_ARGS(mproc_fd(open.read_fd)));
    mproc__slot_shared *slot = &process->nursery->shared->slots[process->slot];
    ck_assert_int_eq(atomic_load(&slot->watched_pid), mproc_process_pid(process));
    ck_assert_uint_ne(atomic_load(&slot->watched_id), 0);
    gate_open(&open);
    ck_assert_int_eq(join(process), 0);
    ck_assert_uint_eq(atomic_load(&slot->watched_id), 0);
    mproc_process_close(&process);
    gate_destroy(&open);
}
END_TEST

/* ---- what it costs ---- */

static int64_t switches_of(pid_t pid)
{
    mproc_running_stats stats = {.size = sizeof stats};
    ck_assert_int_eq(mproc_running_get((mproc_running){.pid = pid}, &stats), 0);
    return stats.voluntary_switches;
}

START_TEST(a_start_by_fork_does_not_wake_the_nursery)
{
    warm();
    mproc_process *process = start(MPROC_START_FORK, nothing, MPROC_NONE);
    pid_t nursery = process->nursery->pid;
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    ck_assert(support_until_asleep(nursery, LIMIT_MS));
    int64_t before = switches_of(nursery);
    for (int i = 0; i < STARTS; i++)
        ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
    ck_assert_int_lt(switches_of(nursery) - before, STARTS / 4);
}
END_TEST

/* ---- kernels before 6.9 ---- */

/* A program that ignores SIGCHLD: a child that has ended leaves no pid behind, or one that is another's. */
static int watches_one_that_has_ended(void *unused)
{
    mproc__nursery *nursery;
    (void)unused;
    signal(SIGCHLD, SIG_IGN);
    if (!forbid_fstatfs() || names_last() || mproc__nursery_get(&nursery) < 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0)
        sleeps(NULL);
    int pidfd = mproc__pidfd_open(pid);
    if (mproc__pidfd_signal(pidfd, SIGKILL) < 0 || !support_until(ended, &pidfd, LIMIT_MS))
        return 2;
    const pid_t pids[] = {pid, getpid()};
    for (size_t i = 0; i < MPROC__COUNT(pids); i++)
        if (mproc__nursery_watch(nursery, SLOT, pids[i], pidfd) != 0 ||
            atomic_load(&nursery->shared->slots[SLOT].watched_id) != 0)
            return 11 + (int)i;
    return 0;
}

START_TEST(one_that_has_ended_is_not_watched_and_nobody_in_its_stead)
{
    ck_assert_int_eq(support_reap(support_fork(watches_one_that_has_ended, NULL), LIMIT_MS), 0);
    ck_assert(support_until(nobody_is_left, NULL, LIMIT_MS)); /* its nursery */
}
END_TEST

static int says_and_sleeps(mproc_call *call)
{
    gate_say(call, 0);
    return sleeps(NULL);
}

typedef struct owner {
    int method; /* or whether the kernel is to be an older one */
    int write_fd;
} owner;

/* Children that have ended before leave nothing that could be killed in their stead. */
static int owner_without_lasting_names(void *context)
{
    const owner *me = context;
    mproc_process *process;
    mproc_process_options options = {.size = sizeof options, .start = (mproc_start)me->method};
    if (!forbid_fstatfs() || names_last())
        return 1;
    for (int i = 0; i < 3; i++) {
        if (mproc_process_start(nothing, MPROC_NONE, &options, &process) != 0 ||
            mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), NULL) != 0)
            return 2;
        mproc_process_close(&process);
    }
    if (mproc_process_start(says_and_sleeps, MPROC_ARGS(mproc_fd(me->write_fd)), &options, &process) != 0)
        return 3;
    return sleeps(NULL);
}

/* shows: DEATH-9 */
START_TEST(without_lasting_names_nobody_outlives_the_owner_either)
{
    gate said = gate_make();
    owner me = {_i, said.write_fd};
    pid_t pid = support_fork(owner_without_lasting_names, &me);
    gate_await(&said);
    support_kill(pid);
    ck_assert(support_until(nobody_is_left, NULL, 1000));
    gate_destroy(&said);
}
END_TEST

/* The nursery may open nothing more, and no leash makes up for that. */
static int owner_with_a_full_nursery(void *context)
{
    const owner *me = context;
    const struct rlimit few = {30, 30}, none = {3, 3};
    mproc_process *process;
    for (int fd = 0; fd >= 0 && fd < 15;)
        fd = dup(0);
    if (me->method && (!forbid_fstatfs() || names_last()))
        return 1;
    if (setrlimit(RLIMIT_NOFILE, &few) < 0 ||
        mproc_process_start(says_and_sleeps, MPROC_ARGS(mproc_fd(me->write_fd)), NULL, &process) != 0)
        return 2;
    if (process->leash[0] >= 0 || prlimit(process->nursery->pid, RLIMIT_NOFILE, &none, NULL) < 0)
        return 3;
    return write(me->write_fd, "s", 1) == 1 ? sleeps(NULL) : 4;
}

/* shows: DEATH-9 */
START_TEST(a_nursery_without_a_free_descriptor_lets_nobody_outlive_the_owner_either)
{
    gate said = gate_make();
    owner me = {_i, said.write_fd};
    pid_t pid = support_fork(owner_with_a_full_nursery, &me);
    gate_await(&said);
    gate_await(&said);
    support_kill(pid);
    ck_assert(support_until(nobody_is_left, NULL, 1000));
    gate_destroy(&said);
}
END_TEST

static int forks_another(mproc_call *call)
{
    if (fork() == 0) {
        setsid();
        return says_and_sleeps(call);
    }
    return sleeps(NULL);
}

/* It knows nothing of the orphans that come to it, and has to look for them. */
static int owner_of_orphans(void *context)
{
    const owner *me = context;
    const struct rlimit few = {(rlim_t)me->method, (rlim_t)me->method};
    mproc_process *process;
    if (mproc_process_start(forks_another, MPROC_ARGS(mproc_fd(me->write_fd)),
                            MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER),
                            &process) != 0)
        return 1;
    if (prlimit(process->nursery->pid, RLIMIT_NOFILE, &few, NULL) < 0)
        return 2;
    return write(me->write_fd, "s", 1) == 1 ? sleeps(NULL) : 3;
}

/* shows: DEATH-9 */
START_TEST(orphans_are_found_without_a_free_descriptor)
{
    gate said = gate_make();
    owner me = {_i, said.write_fd};
    pid_t pid = support_fork(owner_of_orphans, &me);
    gate_await(&said);
    gate_await(&said);
    support_kill(pid);
    ck_assert(support_until(nobody_is_left, NULL, LIMIT_MS));
    gate_destroy(&said);
}
END_TEST

int main(int argc, char **argv)
{
    if (mproc__process_main(&argc, &argv) < 0)
        return 1;
    Suite *suite = suite_create("watch");
    TCase *who = support_case(suite, "who");
    tcase_add_loop_test(who, a_watched_child_is_killed_and_not_another_with_its_pid, 0, 2);
    tcase_add_loop_test(who, a_child_is_watched_from_its_start_until_it_is_collected, MPROC_START_FORK,
                        MPROC_START_SPAWN + 1);
    tcase_add_loop_test(who, orphans_are_found_without_a_free_descriptor, 0, 4); /* the limit */
    TCase *cost = support_case(suite, "cost");
    tcase_add_test(cost, a_start_by_fork_does_not_wake_the_nursery);
    TCase *older = support_case(suite, "older kernels");
    tcase_add_test(older, one_that_has_ended_is_not_watched_and_nobody_in_its_stead);
    tcase_add_loop_test(older, without_lasting_names_nobody_outlives_the_owner_either, MPROC_START_FORK,
                        MPROC_START_SPAWN + 1);
    tcase_add_loop_test(older, a_nursery_without_a_free_descriptor_lets_nobody_outlive_the_owner_either, 0,
                        2);
    return support_run(suite, argc, argv);
}
