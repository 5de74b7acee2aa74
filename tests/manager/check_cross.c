/* SPDX-License-Identifier: BSD-2-Clause */
/* Served objects as arguments of processes, by every start method. */
#include "platform/base.h"

#include <mproc/data.h>
#include <mproc/process.h>
#include <mproc/sync.h>
#include "channel/connection.h"
#include "manager/manager_common.h"
#include "manager/proxy.h"
#include "process/launch.h"
#include "sync/nouns.h"
#include "support/support.h"

static const mproc_start methods[] = {MPROC_START_FORK, MPROC_START_SPAWN, MPROC_START_FORKSERVER,
                                      MPROC_START_THREAD};

static int worker(mproc_call *call)
{
    mproc_dict *dict = mproc_call_dict(call, 0);
    mproc_lock *lock = mproc_call_lock(call, 1);
    mproc_place *place = mproc_call_place(call, 2);
    mproc_variant item = mproc_null();
    if (mproc_call_check(call) < 0)
        return 1;
    if (mproc_place_ping(place, mproc_after_ms(support_ms(5000))) != 0)
        return 2;
    for (int i = 0; i < 20; i++) {
        if (mproc_lock_acquire(lock, mproc_after_ms(support_ms(10000))) != 0)
            return 3;
        if (mproc_dict_get(dict, mproc_text("n"), &item) != 0 ||
            mproc_dict_set(dict, mproc_text("n"), mproc_int(item.number + 1)) != 0)
            return 4;
        if (mproc_lock_release(lock) != 0)
            return 5;
    }
    return 0;
}

static int nothing(mproc_call *call)
{
    (void)call;
    return 0;
}

/* What lives as long as the program (nursery, fork server) begins with the first process. */
static void warm(mproc_start method)
{
    mproc_process *process = NULL;
    int exit_code = -1;
    const mproc_process_options options = {.size = sizeof options, .start = method};
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE, &options, &process), 0);
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(support_ms(10000)), &exit_code), 0);
    mproc_process_close(&process);
    support_leaks_begin();
}

/* shows: START-D */
START_TEST(served_objects_are_arguments_under_every_start_method)
{
    enum { EACH = 2 };
    ck_assert_int_eq(mproc_set_key(TEST_KEY, sizeof TEST_KEY - 1), 0);
    warm(methods[_i]);
    pid_t server = common_serve("s", NULL);
    mproc_place *place = common_open("s");
    mproc_dict *dict = NULL;
    mproc_lock *lock = NULL;
    mproc_process *processes[EACH];
    mproc_variant sum = mproc_null();
    int exit_code = -1;
    ck_assert_int_eq(mproc_dict_create(place, NULL, &dict), 0);
    ck_assert_int_eq(mproc_lock_create(place, NULL, &lock), 0);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("n"), mproc_int(0)), 0);
    const mproc_variant args[] = {mproc_handle(dict), mproc_handle(lock), mproc_handle(place)};
    const mproc_process_options options = {.size = sizeof options, .start = methods[_i]};
    for (int i = 0; i < EACH; i++)
        ck_assert_int_eq(mproc_process_start(worker, mproc_items(args, 3), &options, &processes[i]), 0);
    for (int i = 0; i < EACH; i++) {
        ck_assert_int_eq(mproc_process_join(processes[i], mproc_after_ms(support_ms(15000)), &exit_code), 0);
        ck_assert_int_eq(exit_code, 0);
        mproc_process_close(&processes[i]);
    }
    ck_assert_int_eq(mproc_dict_get(dict, mproc_text("n"), &sum), 0);
    ck_assert_int_eq(sum.number, 20 * EACH);
    mproc_lock_close(&lock);
    mproc_dict_close(&dict);
    mproc_place_close(&place);
    common_stop(server);
}
END_TEST

int main(int argc, char **argv)
{
    /* What mproc_init does, which this layer's tests do not link. */
    mproc__nouns_register();
    mproc__connection_register();
    mproc__manager_register();
    if (mproc__process_main(&argc, &argv) < 0)
        return 1;
    Suite *suite = suite_create("cross");
    TCase *start = support_case(suite, "start");
    tcase_add_loop_test(start, served_objects_are_arguments_under_every_start_method, 0,
                        MPROC__COUNT(methods));
    return support_run(suite, argc, argv);
}
