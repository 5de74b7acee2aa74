/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process knows of its children: the list of the living, and that the ended do not pile up. */
#include "platform/base.h"

#include <signal.h>

#include "process/process.h"
#include "process/process_support.h"

static int waits_at_gate(mproc_call *call)
{
    return gate_pass(call, 0);
}

/* How often one of this pid and name is among the living children; -1: no list. */
static int times_listed(int pid, const char *name)
{
    mproc_variant list;
    int times = 0;
    if (mproc_process_children(&list) != 0)
        return -1;
    for (size_t i = 0; i < (size_t)list.number; i++) {
        mproc_variant child = mproc_variant_at(list, i);
        if (mproc_variant_equal(mproc_variant_find(child, "pid"), mproc_int(pid)) &&
            strcmp(mproc_variant_get_text(mproc_variant_find(child, "name")), name) == 0)
            times++;
    }
    mproc_variant_clear(&list);
    return times;
}

static bool none_lives(void *unused)
{
    mproc_variant list;
    (void)unused;
    if (mproc_process_children(&list) != 0)
        return false;
    size_t count = mproc_variant_count(list);
    mproc_variant_clear(&list);
    return count == 0;
}

/* shows: PROC-02 PROC-08 */
START_TEST(a_child_is_listed_once_from_start_to_its_end)
{
    warm();
    gate hold = gate_make();
    mproc_process *process = start(_i, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
    int pid = mproc_process_pid(process), exit_code = 77;
    ck_assert(mproc_process_is_alive(process));
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(mproc_process_join(process, MPROC_NOW, &exit_code), -ETIMEDOUT);
    ck_assert_int_eq(exit_code, 77);
    ck_assert_int_eq(times_listed(pid, mproc_process_name(process)), 1);
    gate_open(&hold);
    ck_assert_int_eq(join(process), 0);
    ck_assert(!mproc_process_is_alive(process));
    ck_assert_int_eq(times_listed(pid, mproc_process_name(process)), 0);
    mproc_process_close(&process);
    gate_destroy(&hold);
}
END_TEST

/* One of the fork server is not listed from its end on, and collected when its nursery has told of that, a moment later. */
static bool none_is_kept(void *unused)
{
    char differences[1024];
    return none_lives(unused) && support_leaks_find(differences, sizeof differences) == 0;
}

START_TEST(the_list_has_the_oldest_first_and_those_whose_handles_are_closed)
{
    enum { CHILDREN = 3 };
    mproc_variant list;
    int pids[CHILDREN];
    warm();
    gate hold = gate_make();
    for (int i = 0; i < CHILDREN; i++) {
        mproc_process *process = start(_i, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
        pids[i] = mproc_process_pid(process);
        mproc_process_close(&process);
    }
    ck_assert_int_eq(mproc_process_children(&list), 0);
    ck_assert_int_eq(list.number, CHILDREN);
    for (int i = 0; i < CHILDREN; i++)
        ck_assert(mproc_variant_equal(mproc_variant_find(mproc_variant_at(list, (size_t)i), "pid"),
                                      mproc_int(pids[i])));
    mproc_variant_clear(&list);
    for (int i = 0; i < CHILDREN; i++)
        gate_open(&hold);
    gate_destroy(&hold);
    ck_assert(support_until(none_is_kept, NULL, LIMIT_MS));
}
END_TEST

static bool is_zombie(pid_t pid)
{
    char path[64], text[256] = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool got = fread(text, 1, sizeof text - 1, file) > 0;
    fclose(file);
    const char *end = strrchr(text, ')');
    return got && end && end[1] == ' ' && end[2] == 'Z';
}

/* shows: PROC-29 */
START_TEST(asking_and_starting_collect_those_that_have_ended_also_with_open_handles)
{
    warm();
    for (int how = 0; how < 2; how++) {
        mproc_process *process = start(_i, nothing, MPROC_NONE), *next = NULL;
        pid_t pid = mproc_process_pid(process);
        ck_assert_int_eq(mproc__process_wait(process, mproc_after_ms(support_ms(LIMIT_MS))), 0);
        if (_i != MPROC_START_FORKSERVER) /* the nursery collects its own */
            ck_assert(is_zombie(pid));
        if (how == 0)
            ck_assert(none_lives(NULL));
        else
            next = start(_i, nothing, MPROC_NONE);
        ck_assert(atomic_load(&process->collected));
        ck_assert(!is_zombie(pid));
        ck_assert_int_eq(join(process), 0);
        mproc_process_close(&process);
        if (next)
            ck_assert_int_eq(join(next), 0);
        mproc_process_close(&next);
    }
}
END_TEST

START_TEST(of_many_that_have_ended_each_start_collects_some)
{
    enum { MANY = 20 };
    mproc_process *many[MANY];
    unsigned collected = 0;
    warm();
    gate hold = gate_make();
    for (int i = 0; i < MANY; i++)
        many[i] = start(_i, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
    for (int i = 0; i < MANY; i++)
        gate_open(&hold);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(mproc__process_wait(many[i], mproc_after_ms(support_ms(LIMIT_MS))), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0);
    for (int i = 0; i < MANY; i++)
        collected += atomic_load(&many[i]->collected);
    ck_assert_uint_eq(collected, MANY);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(join(many[i]), 0);
        mproc_process_close(&many[i]);
    }
    gate_destroy(&hold);
}
END_TEST

START_TEST(the_list_fails_cleanly_at_every_allocation)
{
    warm();
    gate hold = gate_make();
    mproc_process *process = start(MPROC_START_FORK, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
    for (unsigned n = 1;; n++) {
        mproc_variant list = mproc_null();
        support_fail_allocation(n);
        int rc = mproc_process_children(&list);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        ck_assert(failed ? rc == -ENOMEM && list.kind == MPROC_KIND_NULL
                         : rc == 0 && mproc_variant_count(list) == 1);
        mproc_variant_clear(&list);
        if (!failed)
            break;
    }
    ck_assert_int_eq(mproc_process_children(NULL), -EINVAL);
    gate_open(&hold);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    gate_destroy(&hold);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("family");
    TCase *list = support_case(suite, "list");
    tcase_add_loop_test(list, a_child_is_listed_once_from_start_to_its_end, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(list, the_list_has_the_oldest_first_and_those_whose_handles_are_closed, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(list, asking_and_starting_collect_those_that_have_ended_also_with_open_handles,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(list, of_many_that_have_ended_each_start_collects_some, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_test(list, the_list_fails_cleanly_at_every_allocation);
    return support_run(suite, argc, argv);
}
