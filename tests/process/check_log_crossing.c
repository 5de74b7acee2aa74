/* SPDX-License-Identifier: BSD-2-Clause */
/* The log in children: level, line and place are the same by every start method. */
#include "platform/base.h"

#include "process/process_support.h"

/* (place of the parent's messages) */
static int logs_at_every_level(mproc_call *call)
{
    if (mproc_log_get_level() != MPROC_LOG_INFO)
        return 1;
    mproc_log(MPROC_LOG_ERROR, "worst %d", (int)mproc_call_int(call, 0));
    mproc_log(MPROC_LOG_WARNING, "bad");
    mproc_log(MPROC_LOG_INFO, "known");
    mproc_log(MPROC_LOG_DEBUG, "not asked for");
    return 0;
}

/* Runs it as process "child" with stderr in a file; what the file has then. */
static void stderr_of(int method, char *text, size_t size_bytes)
{
    char path[512];
    mproc_process *process = NULL;
    int exit_code = 99;
    snprintf(path, sizeof path, "%s/stderr", support_directory());
    int saved = dup(2), file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(file, 2);
    int rc = mproc_process_start(
        logs_at_every_level, MPROC_ARGS(7),
        MPROC_WITH(mproc_process_options, .name = "child", .start = (mproc_start)method), &process);
    if (rc == 0)
        rc = mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code);
    mproc_log(MPROC_LOG_WARNING, "parent");
    mproc_log(MPROC_LOG_DEBUG, "silent");
    dup2(saved, 2);
    close(saved);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(exit_code, 0);
    mproc_process_close(&process);
    ssize_t got = pread(file, text, size_bytes - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    close(file);
    unlink(path);
}

/* shows: LOG-01 LOG-02 */
START_TEST(a_child_logs_at_its_parents_level_on_stderr_under_its_own_name)
{
    char text[1024];
    warm();
    mproc_log_to_stderr(MPROC_LOG_INFO);
    stderr_of(_i, text, sizeof text);
    mproc_log_to_stderr((mproc_log_level)0);
    ck_assert_str_eq(text, "[ERROR/child] worst 7\n[WARNING/child] bad\n[INFO/child] known\n"
                           "[WARNING/MainProcess] parent\n");
}
END_TEST

static int tells_its_level(mproc_call *call)
{
    (void)call;
    mproc_log(MPROC_LOG_ERROR, "to nobody");
    return (int)mproc_log_get_level();
}

static void counts(mproc_log_level level, const char *text, void *context)
{
    (void)level;
    (void)text;
    ++*(int *)context;
}

/* shows: LOG-02 */
START_TEST(a_childs_level_is_its_parents_also_where_the_function_cannot_cross)
{
    int heard = 0;
    warm();
    mproc_set_log(counts, MPROC_LOG_DEBUG, &heard);
    ck_assert_int_eq(run(_i, tells_its_level, MPROC_NONE), MPROC_LOG_DEBUG);
    ck_assert_int_eq(heard, _i == MPROC_START_THREAD);
    mproc_set_log(NULL, MPROC_LOG_DEBUG, NULL);
    ck_assert_int_eq(run(_i, tells_its_level, MPROC_NONE), 0);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("log_crossing");
    TCase *all = support_case(suite, "log");
    tcase_add_loop_test(all, a_child_logs_at_its_parents_level_on_stderr_under_its_own_name, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(all, a_childs_level_is_its_parents_also_where_the_function_cannot_cross, FIRST_METHOD,
                        ALL_METHODS);
    return support_run(suite, argc, argv);
}
