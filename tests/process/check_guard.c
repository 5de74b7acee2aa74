/* SPDX-License-Identifier: BSD-2-Clause */
/* A nursery that is killed between two starts: the next call that is about children has the watch taken up again, so that the
 * owner's death is still its children's. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <mproc/wait.h>
#include "process/family.h"
#include "process/process_support.h"

/* A nursery that is exec'd with this set is stopped before it comes to main. */
#define STOP_EARLY "CHECK_GUARD_STOP"
__attribute__((constructor)) static void stop_early(void)
{
    if (getenv(STOP_EARLY))
        (void)raise(SIGSTOP);
}

/* ---- owners, which are killed ---- */

/* What an owner does after its nursery was killed: one call each. */
typedef int looks(mproc_process *child);

static int joins(mproc_process *child)
{
    return mproc_process_join(child, MPROC_NOW, NULL) == -ETIMEDOUT ? 0 : 10;
}

static int asks(mproc_process *child)
{
    return mproc_process_is_alive(child) ? 0 : 11;
}

static int signals(mproc_process *child)
{
    return mproc_process_signal(child, 0) == 0 ? 0 : 12;
}

static int lists(mproc_process *child)
{
    mproc_variant list = mproc_null();
    int rc = mproc_process_children(&list);
    size_t count = mproc_variant_count(list);
    (void)child;
    mproc_variant_clear(&list);
    return rc == 0 && count == 1 ? 0 : 13;
}

static int waits(mproc_process *child)
{
    mproc_wait_item item = {.handle = child};
    return mproc_wait(&item, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL) == -ETIMEDOUT ? 0 : 14;
}

static looks *const all_looks[] = {joins, asks, signals, lists, waits};

typedef struct owner {
    int method;
    looks *look; /* NULL: it is in a join when the nursery is killed */
    int write_fd;
    bool full; /* there is no descriptor for another nursery, at first */
} owner;

static int sleeps(mproc_call *call)
{
    while (!mproc_call_stopping(call))
        pause();
    return 0;
}

static pid_t present_pid(void)
{
    mproc__nursery *nursery = mproc__nursery_present();
    pid_t pid = nursery ? nursery->pid : -1;
    mproc__nursery_release(nursery);
    return pid;
}

static bool kill_nursery(void)
{
    mproc__nursery *nursery = mproc__nursery_present();
    bool killed = nursery && kill(nursery->pid, SIGKILL) == 0 &&
                  mproc__fd_poll(nursery->pidfd, POLLIN, mproc_after_ms(support_ms(LIMIT_MS))) == 0;
    mproc__nursery_release(nursery);
    return killed;
}

static bool is_renewed(void *before)
{
    pid_t now = present_pid();
    return now > 0 && now != *(pid_t *)before && !mproc__family_unwatched();
}

static bool has_none(void *unused)
{
    (void)unused;
    return present_pid() < 0;
}

/* One descriptor is left, to look whether the first thread sleeps: too few for a nursery, until the join has found that. */
static bool kill_nursery_when_full(void)
{
    struct rlimit before, few;
    int lowest = dup(0);
    close(lowest);
    if (lowest < 0 || getrlimit(RLIMIT_NOFILE, &before) < 0)
        return false;
    few = (struct rlimit){(rlim_t)lowest + 1, before.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &few) == 0 && kill_nursery() && support_until(has_none, NULL, LIMIT_MS) &&
           support_until_asleep(getpid(), LIMIT_MS) && setrlimit(RLIMIT_NOFILE, &before) == 0;
}

/* Beside a join in the first thread, which alone can do something about it. */
static void *kills_and_looks(void *context)
{
    const owner *me = context;
    pid_t before = present_pid();
    if (support_until_asleep(getpid(), LIMIT_MS) && (me->full ? kill_nursery_when_full() : kill_nursery()) &&
        support_until(is_renewed, &before, LIMIT_MS))
        (void)!write(me->write_fd, &before, sizeof before);
    return NULL;
}

static int owner_main(void *context)
{
    const owner *me = context;
    mproc_process *child;
    if (mproc_process_start(sleeps, MPROC_NONE,
                            MPROC_WITH(mproc_process_options, .start = (mproc_start)me->method), &child) != 0)
        return 1;
    pid_t before = present_pid();
    if (!me->look) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, kills_and_looks, context) != 0)
            return 2;
        return mproc_process_join(child, MPROC_FOREVER, NULL);
    }
    if (!kill_nursery())
        return 3;
    int code = me->look(child);
    if (code != 0)
        return code;
    pid_t now = present_pid();
    if (now <= 0 || now == before || write(me->write_fd, &now, sizeof now) != sizeof now)
        return 4;
    for (;;)
        pause();
}

static pid_t pid_read(const gate *from)
{
    pid_t pid = -1;
    ck_assert_int_eq(
        mproc__fd_read_all(from->read_fd, &pid, sizeof pid, mproc_after_ms(support_ms(LIMIT_MS))), 0);
    return pid;
}

/* shows: DEATH-9 */
START_TEST(after_any_call_about_children_the_killed_nurserys_are_watched_again)
{
    gate said = gate_make();
    for (int method = MPROC_START_FORK; method <= MPROC_START_SPAWN; method++) {
        owner me = {method, all_looks[_i], said.write_fd, false};
        pid_t pid = support_fork(owner_main, &me);
        (void)pid_read(&said);
        support_kill(pid);
        ck_assert(support_until(nobody_is_left, NULL, LIMIT_MS));
    }
    gate_destroy(&said);
}
END_TEST

/* shows: DEATH-9 */
START_TEST(one_that_sleeps_in_a_join_takes_the_watch_up_again)
{
    gate said = gate_make();
    owner me = {MPROC_START_FORK + _i / 2, NULL, said.write_fd, _i % 2};
    pid_t pid = support_fork(owner_main, &me);
    (void)pid_read(&said);
    support_kill(pid);
    ck_assert(support_until(nobody_is_left, NULL, LIMIT_MS));
    gate_destroy(&said);
}
END_TEST

/* ---- in the test's own process ---- */

START_TEST(without_children_to_watch_no_nursery_is_made)
{
    warm();
    mproc_process *served = start(MPROC_START_FORKSERVER, sleeps, MPROC_NONE);
    ck_assert(kill_nursery());
    ck_assert_int_eq(mproc_process_join(served, mproc_after_ms(support_ms(LIMIT_MS)), NULL), 0);
    ck_assert(!mproc_process_is_alive(served));
    mproc_process_close(&served);
    ck_assert(!mproc__family_unwatched());
    mproc__nursery *nursery = mproc__guard();
    ck_assert_ptr_null(nursery);
    ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
    support_leaks_begin(); /* another nursery */
}
END_TEST

static bool ends_now(void *process)
{
    return mproc_process_join(process, MPROC_NOW, NULL) == 0;
}

/* The join waits for the child alone. Nothing is left of the nurseries that were stopped, and a later one watches. */
START_TEST(a_new_nursery_that_is_stopped_on_its_way_holds_nobody_up)
{
    warm();
    mproc_process *child = start(MPROC_START_FORK, sleeps, MPROC_NONE);
    setenv(STOP_EARLY, "1", 1);
    ck_assert(kill_nursery());
    ck_assert(mproc_process_is_alive(child));
    ck_assert(mproc__family_unwatched());
    ck_assert_int_eq(mproc_process_join(child, mproc_after_ms(30), NULL), -ETIMEDOUT);
    unsetenv(STOP_EARLY);
    ck_assert(mproc_process_is_alive(child));
    ck_assert(!mproc__family_unwatched());
    setenv(STOP_EARLY, "1", 1);
    ck_assert(kill_nursery());
    ck_assert_int_eq(mproc__pidfd_signal(child->pidfd, SIGKILL), 0);
    ck_assert(support_until(ends_now, child, LIMIT_MS));
    unsetenv(STOP_EARLY);
    mproc_process_close(&child);
    ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
    support_leaks_begin(); /* another nursery */
}
END_TEST

START_TEST(taking_the_watch_up_again_leaves_the_story_and_the_result_of_the_call)
{
    warm();
    mproc_process *child = start(MPROC_START_FORK, sleeps, MPROC_NONE);
    ck_assert_int_eq(mproc_process_children(NULL), -EINVAL);
    ck_assert(kill_nursery());
    ck_assert(mproc__family_unwatched());
    ck_assert(mproc_process_is_alive(child));
    ck_assert(!mproc__family_unwatched());
    ck_assert_int_eq(mproc_error_code(mproc_last_error()), -EINVAL);
    ck_assert_int_eq(mproc_process_stop(child, mproc_after_ms(support_ms(LIMIT_MS))), 0);
    mproc_process_close(&child);
    support_leaks_begin();
}
END_TEST

/* What a start does, and while its child goes on to its first step the nursery dies and another thread's start makes another:
 * that one is given the children of the list, where this is not yet. */
static int begins_beside_another(mproc_process *process, void *other)
{
    process->pid = fork();
    if (process->pid == 0)
        for (;;)
            pause();
    process->pidfd = mproc__pidfd_open(process->pid);
    int rc = mproc__nursery_get(&process->nursery);
    if (rc == 0)
        rc = mproc__nursery_watch(process->nursery, process->slot, process->pid, process->pidfd);
    if (rc < 0 || !kill_nursery())
        return rc < 0 ? rc : -EINVAL;
    *(mproc_process **)other = start(MPROC_START_FORK, sleeps, MPROC_NONE);
    return 0;
}

START_TEST(a_child_whose_nursery_died_in_its_start_is_given_to_the_one_of_another_start)
{
    mproc_process *other = NULL;
    warm();
    mproc_process *child = mproc__process_new(MPROC__PROCESS_CHILD);
    ck_assert_int_eq(mproc__process_enlist(child, begins_beside_another, &other), 0);
    ck_assert(!mproc__family_unwatched());
    ck_assert_ptr_eq(child->nursery, other->nursery);
    ck_assert_int_eq(mproc_process_signal(child, SIGKILL), 0);
    ck_assert_int_eq(join(child), -SIGKILL);
    ck_assert_int_eq(mproc_process_stop(other, mproc_after_ms(support_ms(LIMIT_MS))), 0);
    mproc_process_close(&child);
    mproc_process_close(&other);
    support_leaks_begin();
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("guard");
    TCase *owners = support_case(suite, "owners");
    tcase_add_loop_test(owners, after_any_call_about_children_the_killed_nurserys_are_watched_again, 0,
                        (int)MPROC__COUNT(all_looks));
    tcase_add_loop_test(owners, one_that_sleeps_in_a_join_takes_the_watch_up_again, 0, 4);
    TCase *own = support_case(suite, "own");
    tcase_add_test(own, without_children_to_watch_no_nursery_is_made);
    tcase_add_test(own, a_new_nursery_that_is_stopped_on_its_way_holds_nobody_up);
    tcase_add_test(own, taking_the_watch_up_again_leaves_the_story_and_the_result_of_the_call);
    tcase_add_test(own, a_child_whose_nursery_died_in_its_start_is_given_to_the_one_of_another_start);
    return support_run(suite, argc, argv);
}
