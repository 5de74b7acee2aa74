/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/pool_common.h"
#include "process/launch.h"

const mproc_start pool_methods[METHODS] = {MPROC_START_FORK, MPROC_START_SPAWN, MPROC_START_FORKSERVER,
                                           MPROC_START_THREAD};

mproc_pool *pool_make(mproc_start start, unsigned workers)
{
    mproc_pool *pool = NULL;
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = start, .workers = workers), &pool);
    ck_assert_msg(rc == 0, "%s: %s", mproc_errname(rc), mproc_error_text(mproc_last_error()));
    return pool;
}

void pool_end(mproc_pool **pool)
{
    int rc = mproc_pool_stop(*pool, true, mproc_after_ms(support_ms(10000)), NULL);
    ck_assert_msg(rc == 0, "%s: %s", mproc_errname(rc), mproc_error_text(mproc_last_error()));
    mproc_pool_close(pool);
    ck_assert_ptr_null(*pool);
}

static bool nothing_left(void *unused)
{
    char left[1000];
    mproc_pool *none = NULL;
    (void)unused;
    mproc_pool_close(&none); /* lets go of what finished in the background */
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return support_leaks_find(left, sizeof left) == 0;
}

void pools_await_gone(void)
{
    char left[1000] = "";
    if (support_until(nothing_left, NULL, 5000))
        return;
    (void)support_leaks_find(left, sizeof left);
    ck_abort_msg("left: %s", left);
}

mproc_future *submit(mproc_pool *pool, mproc_fn *fn, mproc_variant args)
{
    mproc_future *future = NULL;
    int rc = mproc_pool_submit(pool, fn, args, NULL, &future);
    ck_assert_msg(rc == 0, "%s: %s", mproc_errname(rc), mproc_error_text(mproc_last_error()));
    return future;
}

int64_t result_int(mproc_future *future)
{
    mproc_variant value;
    int64_t number = -1;
    int rc = mproc_future_result(future, mproc_after_ms(support_ms(10000)), &value);
    ck_assert_msg(rc == 0, "%s: %s", mproc_errname(rc), mproc_error_text(mproc_last_error()));
    ck_assert_int_eq(mproc_variant_get_int(value, &number), 0);
    mproc_future_close(&future);
    return number;
}

int result_code(mproc_future *future)
{
    int rc = mproc_future_result(future, mproc_after_ms(support_ms(10000)), NULL);
    ck_assert_int_ne(rc, -ETIMEDOUT);
    return rc;
}

int64_t stat_of(mproc_pool *pool, const char *key)
{
    mproc_variant stats;
    int64_t number = -1;
    ck_assert_int_eq(mproc_pool_stats(pool, &stats), 0);
    ck_assert_int_eq(mproc_variant_get_int(mproc_variant_find(stats, key), &number), 0);
    mproc_variant_clear(&stats);
    return number;
}

bool is_running(void *future)
{
    return mproc_future_get_state(future) == MPROC_FUTURE_RUNNING;
}

bool is_finished(void *future)
{
    return mproc_future_get_state(future) > MPROC_FUTURE_RUNNING;
}

void wait_for(mproc_future *future)
{
    ck_assert_int_eq(mproc_future_wait(future, mproc_after_ms(support_ms(10000))), 0);
}

void on_done(mproc_future *future, mproc_future_fn *fn, void *context)
{
    int rc = mproc_future_on_done(future, fn, context);
    ck_assert_msg(rc == 0, "%s: %s", mproc_errname(rc), mproc_error_text(mproc_last_error()));
}

int count_it(mproc_future *future, void *context)
{
    (void)future;
    atomic_fetch_add((_Atomic unsigned *)context, 1);
    return 0;
}

int note_outcome(mproc_future *future, void *context)
{
    mproc_variant value;
    int64_t *ret_number = context;
    int rc = mproc_future_result(future, MPROC_NOW, &value);
    if (rc == 0)
        rc = mproc_variant_get_int(value, ret_number);
    else
        *ret_number = rc;
    return rc < 0 && rc != -ERANGE ? rc : 0;
}

int task_square(mproc_call *call)
{
    int64_t n = mproc_call_int(call, 0);
    return mproc_call_return(call, mproc_int(n * n));
}

int task_echo(mproc_call *call)
{
    return mproc_call_return(call, mproc_call_arg(call, 0));
}

int task_fail(mproc_call *call)
{
    return mproc_call_fail(call, -ERANGE, "too big");
}

int task_pid(mproc_call *call)
{
    return mproc_call_return(call, mproc_int(getpid()));
}

int task_abort(mproc_call *call)
{
    (void)call;
    abort();
}

int task_exit(mproc_call *call)
{
    exit((int)mproc_call_int(call, 0));
}

int task_until_stopped(mproc_call *call)
{
    int64_t looks = 0;
    for (; !mproc_call_stopping(call); looks++)
        usleep(500);
    return mproc_call_return(call, mproc_int(looks));
}

int task_hang(mproc_call *call)
{
    (void)call;
    for (;;)
        pause();
}

int task_large(mproc_call *call)
{
    size_t size = (size_t)mproc_call_int(call, 0);
    char *bytes = malloc(size);
    if (!bytes)
        return -ENOMEM;
    memset(bytes, 'x', size);
    int rc = mproc_call_return(call, mproc_bytes(bytes, size));
    free(bytes);
    return rc;
}

int task_self(mproc_call *call)
{
    return mproc_call_return(call, mproc_text(mproc_call_self(call)));
}

int task_progress(mproc_call *call)
{
    mproc_call_progress(call, 3, 10);
    return task_until_stopped(call);
}

int task_die_once(mproc_call *call)
{
    if (mproc_call_attempt(call) == 1)
        raise(SIGKILL);
    return mproc_call_return(call, mproc_int(mproc_call_attempt(call)));
}

int set_up(mproc_call *call)
{
    static _Thread_local char text[32];
    strncpy(text, mproc_call_text(call, 0), sizeof text - 1);
    mproc_call_set_self(call, text);
    return 0;
}

int set_up_fail(mproc_call *call)
{
    return mproc_call_fail(call, -ENOENT, "no model");
}

int set_up_abort(mproc_call *call)
{
    (void)call;
    abort();
}

static bool service_gone(void *unused)
{
    char path[300], name[32] = "";
    bool gone = true;
    DIR *directory = opendir("/proc/self/task");
    (void)unused;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        gone &= !(file && fgets(name, sizeof name, file) && strncmp(name, "mproc-service", 13) == 0);
        if (file)
            fclose(file);
    }
    if (directory)
        closedir(directory);
    return gone;
}

/* It ends by itself when nobody needs it any more, and nobody waits for its last steps but the hunter of leaks. */
static void service_await(void)
{
    ck_assert(support_until(service_gone, NULL, 5000));
}

int pool_tests_main(int argc, char **argv, const char *name, void (*add)(TCase *))
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create(name);
    TCase *all = support_case(suite, name);
    tcase_add_checked_fixture(all, NULL, service_await);
    add(all);
    return support_run(suite, argc, argv);
}
