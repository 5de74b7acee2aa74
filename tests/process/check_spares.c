/* SPDX-License-Identifier: BSD-2-Clause */
/* Spares: taken, replaced, too few, killed at any moment, and never in anybody's way. */
#include "platform/base.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "process/nursery.h"
#include "process/process.h"
#include "process/process_support.h"

/* ---- looking at them ---- */

enum { FEW = 4 };

static bool is_called(pid_t pid, const char *wanted)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool found = fgets(name, sizeof name, file) && !strcmp(name, wanted);
    fclose(file);
    return found;
}

static bool is_zombie(pid_t pid)
{
    mproc__process_view view;
    return mproc__process_view_get(pid, &view) < 0 || view.state == 'Z';
}

/* Children of a process that have that name and live; at most `capacity`. */
static int find_children(pid_t of, const char *name, pid_t *ret_pids, int capacity)
{
    char path[64];
    int pid, count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)of, (int)of);
    FILE *list = fopen(path, "re");
    while (list && count < capacity && fscanf(list, "%d", &pid) == 1)
        if (is_called(pid, name) && !is_zombie(pid))
            ret_pids[count++] = pid;
    if (list)
        fclose(list);
    return count;
}

static pid_t nursery_pid(void)
{
    pid_t pid = -1;
    (void)find_children(getpid(), "mproc-nursery\n", &pid, 1);
    return pid;
}

static int find_spares(pid_t *ret_pids)
{
    return find_children(nursery_pid(), "mproc-spare\n", ret_pids, MPROC_SPARES_MOST);
}

static bool has_spares(void *wanted)
{
    pid_t pids[MPROC_SPARES_MOST];
    return find_spares(pids) == *(int *)wanted;
}

static void await_spares(int count)
{
    ck_assert_msg(support_until(has_spares, &count, support_ms(LIMIT_MS)), "there are not %d", count);
}

/* The nursery lives and keeps so many, all of them ready. */
static void warm_spares(unsigned count)
{
    ck_assert_int_eq(mproc_set_spares(count), 0);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
    await_spares((int)count);
    support_leaks_begin();
}

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

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("spares");
    TCase *number = support_case(suite, "how many");
    tcase_add_test(number, there_are_two_from_the_first_forkserver_start_on_and_none_before);
    tcase_add_test(number, their_number_can_be_set_at_any_time_and_more_than_64_are_refused);
    tcase_add_test(number, a_start_takes_one_that_was_there_and_another_takes_its_place);
    return support_run(suite, argc, argv);
}
