/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of spares share: finding them, and waiting until there are so many. */
#ifndef MPROC__TESTS_SPARES_SUPPORT_H
#define MPROC__TESTS_SPARES_SUPPORT_H

#include "process/process_support.h"

enum { FEW = 4 };

__attribute__((unused)) static bool is_called(pid_t pid, const char *wanted)
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

__attribute__((unused)) static bool is_zombie(pid_t pid)
{
    mproc__process_view view;
    return mproc__process_view_get(pid, &view) < 0 || view.state == 'Z';
}

/* Children of a process that have that name and live; at most `capacity`. */
__attribute__((unused)) static int find_children(pid_t of, const char *name, pid_t *ret_pids, int capacity)
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

__attribute__((unused)) static pid_t nursery_pid(void)
{
    pid_t pid = -1;
    (void)find_children(getpid(), "mproc-nursery\n", &pid, 1);
    return pid;
}

__attribute__((unused)) static int find_spares(pid_t *ret_pids)
{
    return find_children(nursery_pid(), "mproc-spare\n", ret_pids, MPROC_SPARES_MOST);
}

__attribute__((unused)) static bool has_spares(void *wanted)
{
    pid_t pids[MPROC_SPARES_MOST];
    return find_spares(pids) == *(int *)wanted;
}

__attribute__((unused)) static void await_spares(int count)
{
    ck_assert_msg(support_until(has_spares, &count, support_ms(LIMIT_MS)), "there are not %d", count);
}

/* The nursery lives and keeps so many, all of them ready. */
__attribute__((unused)) static void warm_spares(unsigned count)
{
    ck_assert_int_eq(mproc_set_spares(count), 0);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
    await_spares((int)count);
    support_leaks_begin();
}

#endif
