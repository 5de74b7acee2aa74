/* SPDX-License-Identifier: BSD-2-Clause */
/* What a started function is given: arguments, names, the family's method and key; one body over all methods.
 * */
#include "platform/base.h"

#include <ctype.h>
#include <pthread.h>

#include <mproc/connection.h>
#include "channel/auth.h"
#include "process/process_support.h"

/* ---- arguments ---- */

static int checks_arguments(mproc_call *call)
{
    size_t size_bytes = 0;
    if (gate_pass(call, 0) != 0)
        return 100;
    if (mproc_call_count(call) != 8)
        return 101;
    if (mproc_call_int(call, 1) != -5000000000)
        return 1;
    if (mproc_call_double(call, 2) != 2.5)
        return 2;
    if (strcmp(mproc_call_text(call, 3), "text") != 0)
        return 3;
    const char *bytes = mproc_call_bytes(call, 4, &size_bytes);
    if (size_bytes != 4 || memcmp(bytes, "a\0b", 4) != 0)
        return 4;
    if (!mproc_call_bool(call, 5))
        return 5;
    if (mproc_call_arg(call, 6).kind != MPROC_KIND_NULL)
        return 6;
    mproc_variant list = mproc_call_arg(call, 7);
    int64_t number = 0;
    if (mproc_variant_get_int(mproc_variant_at(list, 1), &number) != 0 || number != 2)
        return 7;
    return mproc_call_check(call);
}

/* shows: PROC-03 START-D */
START_TEST(arguments_arrive_in_order_also_when_the_caller_frees_them_after_start)
{
    warm();
    gate hold = gate_make();
    char *text = strdup("text");
    mproc_variant *list = calloc(2, sizeof *list);
    list[0] = mproc_int(1);
    list[1] = mproc_int(2);
    mproc_process *process =
        start(_i, checks_arguments,
              MPROC_ARGS(mproc_fd(hold.read_fd), INT64_C(-5000000000), 2.5, text, mproc_bytes("a\0b", 4),
                         mproc_bool(true), mproc_null(), mproc_items(list, 2)));
    memset(text, 'x', 4);
    memset(list, 0xff, 2 * sizeof *list);
    free(text);
    free(list);
    gate_open(&hold);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    gate_destroy(&hold);
}
END_TEST

static int counts_text(mproc_call *call)
{
    const char *text = mproc_call_text(call, 0);
    return text && strlen(text) == (size_t)mproc_call_int(call, 1) && text[0] == 'x' ? 0 : 1;
}

/* shows: START-14 */
START_TEST(start_data_larger_than_any_socket_buffer_works)
{
    enum { BYTES = 8 << 20 };
    warm();
    char *text = malloc(BYTES + 1);
    memset(text, 'x', BYTES);
    text[BYTES] = '\0';
    ck_assert_int_eq(run(_i, counts_text, MPROC_ARGS(text, (int)BYTES)), 0);
    free(text);
}
END_TEST

START_TEST(an_argument_that_cannot_travel_is_refused_at_start)
{
    int local = 0;
    warm();
    mproc_process *process = NULL;
    mproc_process_options options = {.size = sizeof options, .start = (mproc_start)_i};
    mproc_variant invalid = mproc_uint(UINT64_MAX);
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_ARGS(invalid), &options, &process), MPROC_EARGUMENT);
    int rc = mproc_process_start(nothing, MPROC_ARGS((void *)&local), &options, &process);
    ck_assert_msg(rc == MPROC_ECANNOTCROSS || rc == MPROC_EARGUMENT, "%s", mproc_errname(rc));
    ck_assert_ptr_null(process);
}
END_TEST

/* shows: START-23 */
START_TEST(more_descriptors_than_one_message_carries_are_refused)
{
    enum { MANY = 300 };
    static mproc_variant items[MANY];
    mproc_process *process = NULL;
    warm();
    for (int i = 0; i < MANY; i++)
        items[i] = mproc_fd(0);
    int rc = mproc_process_start(nothing, mproc_items(items, MANY),
                                 MPROC_WITH(mproc_process_options, .start = (mproc_start)_i), &process);
    ck_assert_int_eq(rc, -EMSGSIZE);
    ck_assert_ptr_null(process);
}
END_TEST

/* Upper-cases what comes until a null comes. */
static int upper_worker(mproc_call *call)
{
    mproc_connection *peer = mproc_call_connection(call, 0);
    char text[64];
    size_t size_bytes;
    for (;;) {
        mproc_variant item;
        int rc = mproc_connection_recv_variant(peer, mproc_after_ms(LIMIT_MS), &item);
        if (rc < 0)
            return rc;
        const char *word = mproc_variant_get_text(item);
        if (!word)
            return 0;
        size_bytes = strlen(word) < sizeof text ? strlen(word) : sizeof text - 1;
        for (size_t i = 0; i < size_bytes; i++)
            text[i] = (char)toupper((unsigned char)word[i]);
        text[size_bytes] = '\0';
        mproc_variant_clear(&item);
        rc = mproc_connection_send_variant(peer, mproc_text(text), mproc_after_ms(LIMIT_MS));
        if (rc < 0)
            return rc;
    }
}

static void ask_upper(mproc_connection *own, const char *word, const char *expected)
{
    mproc_variant answer;
    ck_assert_int_eq(mproc_connection_send_variant(own, mproc_text(word), mproc_after_ms(LIMIT_MS)), 0);
    ck_assert_int_eq(mproc_connection_recv_variant(own, mproc_after_ms(LIMIT_MS), &answer), 0);
    ck_assert_str_eq(mproc_variant_get_text(answer), expected);
    mproc_variant_clear(&answer);
}

/* shows: PROC-40 */
START_TEST(a_worker_with_a_pipe_of_its_own_answers_until_told_to_end)
{
    mproc_connection *own, *its;
    warm();
    ck_assert_int_eq(mproc_connection_pair(&own, &its), 0);
    mproc_process *process = start(_i, upper_worker, MPROC_ARGS(its));
    ask_upper(own, "hello", "HELLO");
    ask_upper(own, "world", "WORLD");
    ck_assert_int_eq(mproc_connection_send_variant(own, mproc_null(), mproc_after_ms(LIMIT_MS)), 0);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    mproc_connection_close(&own);
    mproc_connection_close(&its);
}
END_TEST

/* Arguments: the address. What comes goes back. */
static int echoes_as_a_client(mproc_call *call)
{
    mproc_connection *peer;
    mproc_variant item;
    int rc = mproc_connection_open(mproc_call_text(call, 0), NULL, mproc_after_ms(LIMIT_MS), &peer);
    if (rc < 0)
        return rc;
    rc = mproc_connection_recv_variant(peer, mproc_after_ms(LIMIT_MS), &item);
    if (rc == 0) {
        rc = mproc_connection_send_variant(peer, item, mproc_after_ms(LIMIT_MS));
        mproc_variant_clear(&item);
    }
    mproc_connection_close(&peer);
    return rc;
}

/* shows: THR-01 */
START_TEST(a_listener_is_met_by_clients_of_every_method)
{
    mproc_listener *listener;
    mproc_connection *client;
    warm();
    ck_assert_int_eq(mproc_listener_create(NULL, NULL, &listener), 0);
    mproc_process *process = start(_i, echoes_as_a_client, MPROC_ARGS(mproc_listener_address(listener)));
    ck_assert_int_eq(mproc_listener_accept(listener, mproc_after_ms(support_ms(LIMIT_MS)), &client), 0);
    ask_upper(client, "ECHO", "ECHO");
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    mproc_connection_close(&client);
    mproc_listener_close(&listener);
}
END_TEST

static size_t arguments_read(char *text, size_t size_bytes)
{
    FILE *file = fopen("/proc/self/cmdline", "re");
    size_t length = file ? fread(text, 1, size_bytes, file) : 0;
    if (file)
        fclose(file);
    return length;
}

static int has_the_programs_arguments(mproc_call *call)
{
    char text[4096];
    size_t expected_bytes;
    const void *expected = mproc_call_bytes(call, 0, &expected_bytes);
    size_t length = arguments_read(text, sizeof text);
    return length == expected_bytes && memcmp(text, expected, length) == 0 ? 0 : 1;
}

/* shows: START-13 */
START_TEST(a_child_has_the_programs_arguments)
{
    char text[4096];
    size_t length = arguments_read(text, sizeof text);
    ck_assert_uint_gt(length, 1);
    warm();
    ck_assert_int_eq(run(_i, has_the_programs_arguments, MPROC_ARGS(mproc_bytes(text, length))), 0);
}
END_TEST

/* ---- names and numbers ---- */

static int tells_its_name(mproc_call *call)
{
    mproc_process *self = mproc_process_self();
    const char *expected = mproc_call_text(call, 0);
    char comm[17] = {0};
    pthread_getname_np(pthread_self(), comm, sizeof comm);
    if (!expected || strcmp(mproc_process_name(self), expected) != 0)
        return 1;
    if (mproc_process_pid(self) != getpid())
        return 2;
    return mproc_get_start() == MPROC_START_THREAD || strncmp(comm, expected, 15) == 0 ? 0 : 3;
}

static int names_a_child(mproc_call *call)
{
    (void)call;
    mproc_process *child;
    int exit_code = 99;
    /* The method is that by which this process was started: the default of the first process does not count
     * here. */
    if (mproc_process_start(tells_its_name, MPROC_ARGS("Process-2:1"), NULL, &child) != 0)
        return 10;
    if (mproc_process_join(child, mproc_after_ms(LIMIT_MS), &exit_code) != 0)
        return 11;
    mproc_process_close(&child);
    return exit_code;
}

/* shows: PROC-05 PROC-06 */
START_TEST(names_and_numbers_are_the_same_for_parent_and_child_and_begin_anew_in_it)
{
    mproc_process *process;
    warm();
    ck_assert_int_eq(run(_i, names_a_child, MPROC_NONE), 0);
    process = start(_i, tells_its_name, MPROC_ARGS("Process-3"));
    ck_assert_str_eq(mproc_process_name(process), "Process-3");
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    ck_assert_int_eq(
        mproc_process_start(tells_its_name, MPROC_ARGS("given name"),
                            MPROC_WITH(mproc_process_options, .name = "given name", .start = (mproc_start)_i),
                            &process),
        0);
    ck_assert_str_eq(mproc_process_name(process), "given name");
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
}
END_TEST

static int tells_its_pid(mproc_call *call)
{
    int pid = (int)getpid();
    return write((int)mproc_call_arg(call, 0).number, &pid, sizeof pid) == sizeof pid ? 0 : 1;
}

/* shows: PROC-06 */
START_TEST(the_parent_reads_the_pid_that_the_child_has)
{
    int pid = 0;
    warm();
    gate said = gate_make();
    mproc_process *process = start(_i, tells_its_pid, MPROC_ARGS(mproc_fd(said.write_fd)));
    ck_assert_int_eq(mproc__fd_read_all(said.read_fd, &pid, sizeof pid, mproc_after_ms(LIMIT_MS)), 0);
    ck_assert_int_eq(pid, mproc_process_pid(process));
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    gate_destroy(&said);
}
END_TEST

static int starts_with_its_method(mproc_call *call)
{
    int64_t depth = mproc_call_int(call, 1);
    if ((int64_t)mproc_get_start() != mproc_call_int(call, 0))
        return 1;
    if (depth == 0)
        return 0;
    mproc_process *child;
    int exit_code = 99;
    if (mproc_process_start(starts_with_its_method, MPROC_ARGS(mproc_call_int(call, 0), depth - 1), NULL,
                            &child) != 0)
        return 2;
    if (mproc_process_join(child, mproc_after_ms(LIMIT_MS), &exit_code) != 0)
        return 3;
    mproc_process_close(&child);
    return exit_code;
}

/* shows: START-06 */
START_TEST(a_child_uses_the_method_it_was_started_with_for_its_own_children)
{
    warm();
    ck_assert_int_eq(run(_i, starts_with_its_method, MPROC_ARGS(_i, 2)), 0);
}
END_TEST

static int tells_its_path(mproc_call *call)
{
    int fd = (int)mproc_call_arg(call, 0).number;
    const char *path = mproc_call_text(call, 1);
    int method = (int)mproc_call_int(call, 2);
    dprintf(fd, "[%s]", path);
    for (int i = 0; i < 2 && strlen(path) < 2; i++) {
        char child_path[32];
        mproc_process *child;
        int exit_code = 99;
        snprintf(child_path, sizeof child_path, "%s%d", path, i);
        if (mproc_process_start(tells_its_path, MPROC_ARGS(mproc_fd(fd), child_path, method),
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)method),
                                &child) != 0 ||
            mproc_process_join(child, mproc_after_ms(LIMIT_MS), &exit_code) != 0 || exit_code != 0)
            return 1;
        mproc_process_close(&child);
    }
    return 0;
}

/* shows: PROC-34 */
START_TEST(a_recursion_two_levels_deep_reports_depth_first)
{
    char text[64] = {0};
    warm();
    gate said = gate_make();
    ck_assert_int_eq(run(_i, tells_its_path, MPROC_ARGS(mproc_fd(said.write_fd), "", _i)), 0);
    ck_assert_int_gt(read(said.read_fd, text, sizeof text - 1), 0);
    ck_assert_str_eq(text, "[][0][00][01][1][10][11]");
    gate_destroy(&said);
}
END_TEST

/* Whether a file of this process in /proc holds the key. */
static bool file_has(const char *path, const void *key, size_t size_bytes)
{
    static char text[1 << 18];
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(text, 1, sizeof text, file) : 0;
    if (file)
        fclose(file);
    return length == 0 || memmem(text, length, key, size_bytes) != NULL;
}

static int checks_its_key(mproc_call *call)
{
    size_t size_bytes;
    mproc__key key;
    const void *expected = mproc_call_bytes(call, 0, &size_bytes);
    mproc__key_program(&key);
    if (!key.set || key.size_bytes != size_bytes || memcmp(key.bytes, expected, size_bytes) != 0)
        return 1;
    return file_has("/proc/self/environ", expected, size_bytes) ||
                   file_has("/proc/self/cmdline", expected, size_bytes)
               ? 2
               : 0;
}

/* No call gives a key out and no value can hold one, so that none gets into a message. */
/* shows: AUTH-10 AUTH-11 */
START_TEST(a_child_has_the_key_that_the_program_had_at_its_start)
{
    warm();
    ck_assert_int_eq(mproc_set_key("0123456789abcdef", 16), 0);
    ck_assert_int_eq(run(_i, checks_its_key, MPROC_ARGS(mproc_bytes("0123456789abcdef", 16))), 0);
    ck_assert_int_eq(mproc_set_key("fedcba9876543210", 16), 0);
    ck_assert_int_eq(run(_i, checks_its_key, MPROC_ARGS(mproc_bytes("fedcba9876543210", 16))), 0);
    mproc_set_key(NULL, 0);
}
END_TEST

static int has_no_key(mproc_call *call)
{
    mproc__key key;
    (void)call;
    mproc__key_program(&key);
    return key.set ? 1 : 0;
}

/* Also where the nursery, which is a spawned child, was made with it. */
START_TEST(a_key_that_the_program_has_dropped_is_no_later_childs)
{
    ck_assert_int_eq(mproc_set_key("0123456789abcdef", 16), 0);
    warm();
    ck_assert_int_eq(run(_i, checks_its_key, MPROC_ARGS(mproc_bytes("0123456789abcdef", 16))), 0);
    ck_assert_int_eq(mproc_set_key(NULL, 0), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(run(_i, has_no_key, MPROC_NONE), 0);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("start");
    TCase *arguments = support_case(suite, "arguments");
    tcase_add_loop_test(arguments, arguments_arrive_in_order_also_when_the_caller_frees_them_after_start,
                        FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(arguments, start_data_larger_than_any_socket_buffer_works, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(arguments, an_argument_that_cannot_travel_is_refused_at_start, MPROC_START_SPAWN,
                        PROCESS_METHODS);
    tcase_add_loop_test(arguments, more_descriptors_than_one_message_carries_are_refused, MPROC_START_SPAWN,
                        PROCESS_METHODS);
    tcase_add_loop_test(arguments, a_worker_with_a_pipe_of_its_own_answers_until_told_to_end, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(arguments, a_listener_is_met_by_clients_of_every_method, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(arguments, a_child_has_the_programs_arguments, FIRST_METHOD, ALL_METHODS);
    TCase *family = support_case(suite, "names and numbers");
    tcase_add_loop_test(family, names_and_numbers_are_the_same_for_parent_and_child_and_begin_anew_in_it,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(family, the_parent_reads_the_pid_that_the_child_has, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(family, a_child_uses_the_method_it_was_started_with_for_its_own_children,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(family, a_recursion_two_levels_deep_reports_depth_first, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(family, a_child_has_the_key_that_the_program_had_at_its_start, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(family, a_key_that_the_program_has_dropped_is_no_later_childs, FIRST_METHOD,
                        ALL_METHODS);
    return support_run(suite, argc, argv);
}
